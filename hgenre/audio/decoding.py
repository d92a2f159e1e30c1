"""What every decoder hands over, and the step from channels to mono."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from os import SEEK_SET
from typing import BinaryIO, Literal

import numpy as np

# From below telephone speech to the highest PCM rate sold; a header outside it is damaged or hostile, and block sizes
# (memory) grow with the rate.
MIN_RATE_HZ = 1_000
MAX_RATE_HZ = 768_000


class DecoderRefusal(Exception):
    """A decoder cannot open a file; the stream turns it into an error with the path."""


class CallbackFile:
    """The file as C decoders call back into it: they may read and seek, and never see an exception.

    A hostile header sends them before the first byte or past 2**63, and disks fail; raised inside a callback, Python's
    error would be printed on stderr and lost. A failed read is the end of the file: the stated sizes tell of the loss.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.tell = file.tell
        self._read = file.read
        self._seek = file.seek

    def read(self, n_bytes: int) -> bytes:
        try:
            return self._read(n_bytes)
        except OSError:
            return b""

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        try:
            return self._seek(offset, whence)
        except (OSError, ValueError):
            return -1


@dataclass(frozen=True)
class Decoding:
    """One file being decoded: ``chunks`` are mono float32 ``(sample,)`` at ``sample_rate_hz``, in order, read once.

    ``n_stated_samples`` is the decoder's own count from the container, where it is exact; ``n_expected_samples`` is one
    to plan by, which may be wrong. ``faults`` grows while ``chunks`` is read: one sentence for each damaged place.
    """

    decoder: Literal["soundfile", "pyav"]
    codec: str
    sample_rate_hz: int
    n_channels: int
    chunks: Iterator[np.ndarray]
    close: Callable[[], None]
    n_stated_samples: int | None = None
    n_expected_samples: int | None = None
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not MIN_RATE_HZ <= self.sample_rate_hz <= MAX_RATE_HZ:
            self.close()
            raise DecoderRefusal(
                f"its header states {self.sample_rate_hz} samples a second; needed {MIN_RATE_HZ} to {MAX_RATE_HZ}"
            )


def to_mono(channels: np.ndarray) -> np.ndarray:
    """The mean over channels: float32 ``(channel, sample)`` to ``(sample,)``, as a new array.

    Whole-channel additions, because a mean along the short axis of interleaved samples takes 25 times as long.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # the stream reports what is not finite
        total = np.array(channels[0])
        for channel in channels[1:]:
            total += channel
        if len(channels) > 1:
            total /= len(channels)
    return total
