"""Audio files as streams of slices, read ahead by a few threads in bounded memory."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.audio import AudioFacts, open_audio
from hgenre.errors import TooShortAudioError
from hgenre.features import LogMelSpec, SliceSpec, cut_stream, log_mel_stream

BLOCK_SLICES = 32


class AudioSlices:
    """One audio file as blocks of slices (slice, mel, frame) in dB; ``facts`` and ``warnings`` are there at the end.

    Iterating raises AudioError where the file cannot be used, TooShortAudioError where it holds less than half a slice.
    """

    def __init__(self, path: str | Path, features: LogMelSpec, slices: SliceSpec) -> None:
        self.path = str(path)
        self._features = features
        self._slices = slices
        self.facts: AudioFacts | None = None
        self.warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[np.ndarray]:
        n_frames = n_slices = 0

        def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal n_frames
            for block in blocks:
                n_frames += block.shape[1]
                yield block

        with open_audio(self.path, self._features.sample_rate_hz) as audio:
            frames = counted(log_mel_stream(audio, self._features))
            for block in cut_stream(frames, self._slices, BLOCK_SLICES):
                n_slices += len(block)
                yield block
            self.facts = audio.facts
        self.warnings = self.facts.warnings
        if n_slices == 0:
            needed_s = self._slices.n_frames / self._features.frame_rate_hz / 2
            raise TooShortAudioError(
                self.path,
                f"too short: {self.facts.duration_s:.2f} s of sound, needed at least {needed_s:.2f} s (half a slice)",
            )
        if n_frames < self._slices.n_frames:
            self.warnings = (*self.warnings, "shorter than one slice: repeated to fill it")


class WaveformSlices:
    """A waveform (sample,) in memory as blocks of slices, like ``AudioSlices``."""

    def __init__(self, waveform: np.ndarray, features: LogMelSpec, slices: SliceSpec) -> None:
        self._waveform = waveform
        self._features = features
        self._slices = slices

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from cut_stream(log_mel_stream([self._waveform], self._features), self._slices, BLOCK_SLICES)


def read_ahead(
    songs: Sequence[Iterable[np.ndarray]], n_threads: int = 2, n_blocks: int = 4
) -> Iterator[Iterator[np.ndarray]]:
    """The block streams of songs, in order, while threads work on the next ones.

    At most ``n_threads`` songs are being read and each holds at most ``n_blocks`` finished blocks. An error in a
    song's stream is raised where its blocks are taken.
    """
    if len(songs) == 1:
        yield iter(songs[0])
        return
    stop = threading.Event()
    channels: list[queue.Queue[Any]] = [queue.Queue(n_blocks) for _ in songs]
    lock = threading.Lock()
    waiting = iter(range(len(songs)))

    def put(channel: "queue.Queue[Any]", item: Any) -> bool:
        while not stop.is_set():
            try:
                channel.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        while not stop.is_set():
            with lock:
                i = next(waiting, None)
            if i is None:
                return
            try:
                for block in songs[i]:
                    if not put(channels[i], block):
                        return
                put(channels[i], None)
            except Exception as error:  # handed over to whoever takes this song's blocks
                put(channels[i], error)

    def taken(i: int) -> Iterator[np.ndarray]:
        while (item := channels[i].get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    threads = [threading.Thread(target=work, daemon=True, name=f"read-ahead-{n}") for n in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        for i in range(len(songs)):
            yield taken(i)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
