"""The one door for sound: any audio file to mono float32 at one rate, in blocks or whole."""

import math
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Self

import numpy as np

from hgenre.audio import truncation
from hgenre.audio.decoding import DecoderRefusal, Decoding
from hgenre.audio.mpeg import read_at
from hgenre.audio.waveform import NOT_SOUND, not_sound
from hgenre.errors import EmptyAudioError, NonFiniteAudioError, UnreadableAudioError


@dataclass(frozen=True)
class AudioFacts:
    """What is known of a file once it is decoded: ``n_samples`` a channel at the native ``sample_rate_hz``.

    ``truncated`` says that the file promises more than it holds or is damaged; ``warnings`` says how, in sentences.
    """

    path: str
    decoder: Literal["soundfile", "pyav"]
    codec: str
    sample_rate_hz: int
    n_channels: int
    n_samples: int
    duration_s: float
    truncated: bool
    warnings: tuple[str, ...]


class AudioStream:
    """An open audio file: iterate once for its mono float32 blocks ``(sample,)``, then read ``facts``.

    ``sample_rate_hz`` is the rate of the blocks; the resampler may make the first ones shorter. Iterating raises
    EmptyAudioError (no samples), UnreadableAudioError (nothing decodes) and NonFiniteAudioError (NaN or infinite).
    """

    def __init__(
        self, path: str, file: BinaryIO, decoding: Decoding, sample_rate_hz: int | None, block_s: float
    ) -> None:
        self.path = path
        self.sample_rate_hz = sample_rate_hz or decoding.sample_rate_hz
        self._file = file
        self._decoding = decoding
        self._n_block_samples = max(1, round(block_s * decoding.sample_rate_hz))
        self._facts: AudioFacts | None = None
        self._resampled = self._resample()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[np.ndarray]:
        return self._resampled

    @property
    def facts(self) -> AudioFacts:
        """What the file turned out to be; RuntimeError before the last block is read."""
        if self._facts is None:
            raise RuntimeError(f"{self.path}: facts are complete only after the last block; iterate to the end first")
        return self._facts

    @property
    def expected_duration_s(self) -> float | None:
        """What the file's header lets one expect before anything is decoded; None where it says nothing."""
        n_samples = self._decoding.n_expected_samples
        return None if n_samples is None else n_samples / self._decoding.sample_rate_hz

    def close(self) -> None:
        self._resampled.close()
        self._decoding.close()
        self._file.close()

    def _resample(self) -> Generator[np.ndarray, None, None]:
        native_hz = self._decoding.sample_rate_hz
        if native_hz == self.sample_rate_hz:
            yield from self._native_blocks()
            return
        import soxr

        resampler = soxr.ResampleStream(native_hz, self.sample_rate_hz, 1, dtype="float32", quality="HQ")
        for block in self._native_blocks():
            resampled = resampler.resample_chunk(block)
            if len(resampled):
                yield resampled
        tail = resampler.resample_chunk(np.empty(0, np.float32), last=True)
        if len(tail):
            yield tail

    def _native_blocks(self) -> Iterator[np.ndarray]:
        n_samples = 0
        for block in _joined(self._decoding.chunks, self._n_block_samples):
            if not_sound(block).any():
                raise self._non_finite(block, n_samples)
            n_samples += len(block)
            yield block
        if n_samples == 0:
            raise self._no_samples()
        self._facts = self._account(n_samples)

    def _non_finite(self, block: np.ndarray, n_before: int) -> NonFiniteAudioError:
        first_idx = n_before + int(np.flatnonzero(not_sound(block))[0])
        n_samples, n_bad = n_before + len(block), int(np.count_nonzero(not_sound(block)))
        for rest in self._decoding.chunks:
            n_samples += len(rest)
            n_bad += int(np.count_nonzero(not_sound(rest)))
        return NonFiniteAudioError(
            self.path,
            f"{n_bad} of {n_samples} samples are {NOT_SOUND}, the first at sample {first_idx} "
            f"({first_idx / self._decoding.sample_rate_hz:.3f} s); needed finite samples only; export the file again",
        )

    def _no_samples(self) -> EmptyAudioError | UnreadableAudioError:
        if self._decoding.faults:
            return UnreadableAudioError(
                self.path,
                f"its {self._decoding.codec} header is sound but nothing behind it decodes: "
                f"{'; '.join(self._decoding.faults)}; get a whole copy of the file",
            )
        missing = truncation.missing_bytes(self._file)
        return EmptyAudioError(
            self.path,
            f"its {self._decoding.codec} header has 0 samples behind it{f' ({missing})' if missing else ''}; "
            f"needed at least 1; get a whole copy of the file",
        )

    def _account(self, n_samples: int) -> AudioFacts:
        decoding = self._decoding
        problems = [*decoding.faults]
        if missing := truncation.missing_bytes(self._file):
            problems.append(missing)
        if fewer := _fewer_samples(self._file, decoding, n_samples):
            problems.append(fewer)
        return AudioFacts(
            path=self.path,
            decoder=decoding.decoder,
            codec=decoding.codec,
            sample_rate_hz=decoding.sample_rate_hz,
            n_channels=decoding.n_channels,
            n_samples=n_samples,
            duration_s=n_samples / decoding.sample_rate_hz,
            truncated=bool(problems),
            warnings=tuple(problems),
        )


def open_audio(path: str | Path, sample_rate_hz: int | None = None, block_s: float = 30.0) -> AudioStream:
    """The file at ``path`` as a stream of mono float32 blocks of about ``block_s`` seconds.

    Blocks are ``(sample,)`` at ``sample_rate_hz`` (None: the file's own rate), full scale 1.0. Joined, they are what
    ``soxr.resample`` (quality HQ) gives for the whole file; only one block is in memory at a time. Files are read by
    soundfile, then by PyAV where soundfile cannot. Raises UnreadableAudioError and EmptyAudioError; reading the
    blocks may raise these and NonFiniteAudioError.
    """
    if (sample_rate_hz is not None and sample_rate_hz < 1) or not 0 < block_s < math.inf:
        raise ValueError(f"need sample_rate_hz >= 1 and 0 < block_s < inf, found {sample_rate_hz} and {block_s}")
    file = _open_regular(path)
    try:
        return AudioStream(str(path), file, _open_decoding(str(path), file), sample_rate_hz, block_s)
    except BaseException:
        file.close()
        raise


def read_audio(path: str | Path, sample_rate_hz: int | None = None) -> tuple[np.ndarray, AudioFacts]:
    """The whole file as one mono float32 waveform ``(sample,)`` at ``sample_rate_hz``, and its facts.

    As ``open_audio``, with all blocks joined; an hour at 16 kHz takes 230 MB.
    """
    with open_audio(path, sample_rate_hz) as stream:
        blocks = list(stream)
        return np.concatenate(blocks or [np.empty(0, np.float32)]), stream.facts


def _open_regular(path: str | Path) -> BinaryIO:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "neither a file nor a directory"
            raise UnreadableAudioError(path, f"is {kind}; needed an audio file; name the file itself")
        if status.st_size == 0:
            raise EmptyAudioError(path, "has 0 bytes; needed an audio file; get a whole copy of the file")
        return open(path, "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableAudioError(
            path, f"cannot be opened ({reason}); needed a readable audio file; check the path and its permissions"
        ) from None


def _open_decoding(path: str, file: BinaryIO) -> Decoding:
    """The first decoder that takes the file. Each is imported when it is needed: together they cost 0.15 s."""
    from hgenre.audio.soundfile_decoder import open_soundfile

    try:
        return open_soundfile(file)
    except DecoderRefusal as refusal:
        by_soundfile = refusal
    try:
        from hgenre.audio.pyav_decoder import open_pyav

        return open_pyav(file)
    except (DecoderRefusal, ImportError) as refusal:
        by_pyav = refusal
    missing = truncation.missing_bytes(file)
    raise UnreadableAudioError(
        path,
        f"no decoder can read it. soundfile: {by_soundfile}; PyAV: {by_pyav}. "
        f"Its first bytes are {read_at(file, 0, 8)!r}{f' and it is {missing}' if missing else ''}; "
        f"needed WAV, AU, AIFF, FLAC, OGG, MP3, M4A, WMA or Opus; "
        f"get a whole copy, or convert the file to one of these",
    )


def _joined(chunks: Iterator[np.ndarray], n_block_samples: int) -> Iterator[np.ndarray]:
    """The chunks joined into blocks of at least ``n_block_samples`` (the last may be shorter)."""
    pending: list[np.ndarray] = []
    n_pending = 0
    for chunk in chunks:
        pending.append(chunk)
        n_pending += len(chunk)
        if n_pending >= n_block_samples:
            yield np.concatenate(pending)
            pending, n_pending = [], 0
    if n_pending:
        yield np.concatenate(pending)


def _fewer_samples(file: BinaryIO, decoding: Decoding, n_samples: int) -> str | None:
    """A sentence when fewer samples decoded than a header states; None when they are all there or not stated."""
    stated = truncation.stated_samples(file)
    if stated is None and decoding.n_stated_samples is not None:
        stated = truncation.StatedSamples(decoding.n_stated_samples, 0, "container")
    if stated is None or n_samples >= stated.n_samples - stated.n_tolerance:
        return None
    return f"truncated: its {stated.source} states {stated.n_samples} samples, {n_samples} decode"
