"""Waveforms that are in memory already, checked and brought to the model's rate."""

import numpy as np

from hgenre.audio.decoding import MAX_RATE_HZ, MIN_RATE_HZ
from hgenre.errors import EmptyAudioError, NonFiniteAudioError, UnreadableAudioError

LOUDEST = np.float32(1e12)
"""Amplitude re full scale 1.0 beyond which samples are damage, not sound: their power would overflow float32.

Floats in the units of 32-bit integers reach 2e9.
"""

NOT_SOUND = "NaN, infinite or beyond 1e12 of full scale"


def not_sound(samples: np.ndarray) -> np.ndarray:
    """Which samples (sample,) are no numbers that a sound could have: (sample,) bool."""
    return ~(np.abs(samples) <= LOUDEST)


def resample(waveform: np.ndarray, sample_rate_hz: int, target_rate_hz: int) -> np.ndarray:
    """A mono waveform (sample,) of floats as float32 at ``target_rate_hz``, by soxr's HQ recipe as for files.

    Integers are refused, because full scale 1.0 cannot be told from their values.

    Raises:
        UnreadableAudioError: more than one axis, no floats, or a rate that no file has.
        EmptyAudioError, NonFiniteAudioError: no samples; NaN or infinite ones.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1:
        raise UnreadableAudioError(
            "waveform", f"found shape {waveform.shape}, needed mono samples (sample,); mix the channels first"
        )
    if not MIN_RATE_HZ <= sample_rate_hz <= MAX_RATE_HZ:
        raise UnreadableAudioError(
            "waveform", f"found {sample_rate_hz} samples a second; needed {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )
    if not len(waveform):
        raise EmptyAudioError("waveform", "has no samples; needed at least half a slice")
    if waveform.dtype.kind != "f":
        raise UnreadableAudioError(
            "waveform",
            f"found samples of type {waveform.dtype}, needed floats with full scale 1.0; divide integers by their "
            "full scale, such as int16 by 32768",
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and named below
        waveform = waveform.astype(np.float32)
    if n_bad := int(np.count_nonzero(not_sound(waveform))):
        raise NonFiniteAudioError("waveform", f"{n_bad} of {len(waveform)} samples are {NOT_SOUND}")
    if sample_rate_hz == target_rate_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, sample_rate_hz, target_rate_hz, quality="HQ")
