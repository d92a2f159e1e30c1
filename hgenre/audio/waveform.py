"""Waveforms that are in memory already, checked and brought to the model's rate."""

import numpy as np

from hgenre.errors import EmptyAudioError, NonFiniteAudioError, UnreadableAudioError


def resample(waveform: np.ndarray, sample_rate_hz: int, target_rate_hz: int) -> np.ndarray:
    """A mono waveform (sample,) as float32 at ``target_rate_hz``, by soxr's HQ recipe as for files.

    Raises:
        UnreadableAudioError: more than one axis, or a rate that is not above 0.
        EmptyAudioError, NonFiniteAudioError: no samples; NaN or infinite ones.
    """
    waveform = np.asarray(waveform)
    if waveform.ndim != 1 or sample_rate_hz <= 0:
        raise UnreadableAudioError(
            "waveform",
            f"found shape {waveform.shape} at {sample_rate_hz} Hz, needed mono samples (sample,) and a rate above 0 Hz",
        )
    if not len(waveform):
        raise EmptyAudioError("waveform", "empty: it has no samples")
    if not np.isfinite(waveform).all():
        n_bad = int((~np.isfinite(waveform)).sum())
        raise NonFiniteAudioError("waveform", f"{n_bad} of {len(waveform)} samples are NaN or infinite")
    waveform = waveform.astype(np.float32)
    if sample_rate_hz == target_rate_hz:
        return waveform
    import soxr

    return soxr.resample(waveform, sample_rate_hz, target_rate_hz, quality="HQ")
