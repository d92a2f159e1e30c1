"""Audio files as streams of slices, read ahead by a few threads in bounded memory."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.audio import AudioFacts, open_audio
from hgenre.errors import TooShortAudioError
from hgenre.features import FeatureSpec, SliceSpec, cut_stream, frames_stream, log_mel_of

BLOCK_SLICES = 32
REPEATED = "shorter than one slice: repeated to fill it"


class AudioSlices:
    """One audio file as blocks of slices (slice, mel, frame) in dB, or cepstra of dB.

    ``facts`` and ``warnings`` are there at the end.
    Iterating raises AudioError where the file cannot be used, TooShortAudioError where it holds less than half a slice.
    ``on_open`` is called with the number of slices that the file's header promises, if it does, before any is decoded.
    """

    def __init__(
        self,
        path: str | Path,
        features: FeatureSpec,
        slices: SliceSpec,
        on_open: Callable[[int], object] = lambda n_slices: None,
    ) -> None:
        self.path = str(path)
        self._features = features
        self._slices = slices
        self._on_open = on_open
        self.facts: AudioFacts | None = None
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[np.ndarray]:
        n_frames = n_slices = 0

        def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal n_frames
            for block in blocks:
                n_frames += block.shape[1]
                yield block

        with open_audio(self.path, log_mel_of(self._features).sample_rate_hz) as audio:
            if audio.expected_duration_s is not None:
                self._on_open(expected_slices(audio.expected_duration_s, self._features, self._slices))
            frames = counted(frames_stream(audio, self._features))
            for block in cut_stream(frames, self._slices, BLOCK_SLICES):
                n_slices += len(block)
                yield block
            self.facts = audio.facts
        self.warnings = self.facts.warnings
        if n_slices == 0:
            raise too_short(self.path, self.facts.duration_s, self._features, self._slices)
        if n_frames < self._slices.n_frames:
            self.warnings = (*self.warnings, REPEATED)


def expected_slices(duration_s: float, features: FeatureSpec, slices: SliceSpec) -> int:
    """The number of slices of so much sound, give or take one; 1 where it is shorter than a slice."""
    of = log_mel_of(features)
    n_frames = round(duration_s * of.sample_rate_hz - of.n_fft) // of.hop_length + 1
    # By arithmetic alone: what a header promises may be anything.
    return max(1, (n_frames - slices.n_frames) // slices.step_frames + 1)


def too_short(path: str, duration_s: float, features: FeatureSpec, slices: SliceSpec) -> TooShortAudioError:
    """The error of a song with less than half a slice."""
    of = log_mel_of(features)
    n_frames = -(-slices.n_frames // 2)
    needed_s = ((n_frames - 1) * of.hop_length + of.n_fft) / of.sample_rate_hz
    return TooShortAudioError(path, f"holds {duration_s:.2f} s of sound; needed half a slice, {needed_s:.2f} s")


def read_ahead(
    songs: Sequence[Iterable[np.ndarray]], n_threads: int = 2, n_blocks: int = 4
) -> Generator[Iterator[np.ndarray], None, None]:
    """The block streams of songs, in order, while threads work on the next ones.

    At most ``2 * n_threads`` songs are open beside the one being taken, and each holds at most ``n_blocks`` finished
    blocks. An error in a song's stream is raised where its blocks are taken. Each stream is to be taken to its end.
    """
    if len(songs) == 1:
        yield iter(songs[0])
        return
    stop = threading.Event()
    channels: queue.Queue[queue.Queue[Any]] = queue.Queue(2 * n_threads)
    lock = threading.Lock()
    waiting = iter(songs)

    def put(channel: "queue.Queue[Any]", item: Any) -> bool:
        while not stop.is_set():
            try:
                channel.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        while True:
            channel: queue.Queue[Any] = queue.Queue(n_blocks)
            with lock:  # so that channels stand in the order of the songs
                song = next(waiting, None)
                if song is None or not put(channels, channel):
                    return
            try:
                for block in song:
                    if not put(channel, block):
                        return
                put(channel, None)
            except Exception as error:  # handed over to whoever takes this song's blocks
                put(channel, error)

    def taken(channel: "queue.Queue[Any]") -> Iterator[np.ndarray]:
        while (item := channel.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    threads = [threading.Thread(target=work, daemon=True, name=f"read-ahead-{n}") for n in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        for _ in songs:
            yield taken(channels.get())
    finally:
        stop.set()
        for thread in threads:
            thread.join()
