"""Waveform to log-mel frames on the host, whole or in a stream."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from hgenre.errors import FeatureError
from hgenre.features.spec import LogMelSpec, MelScale

POWER_FLOOR = 1e-10
"""Smallest mel power before the logarithm, -100 dB: ``amin`` of librosa.power_to_db."""

# Products of 8 mel x 128 frames x up to 250 bins stay below the size at which OpenBLAS starts threads of its own
# (2**18 multiplications), so that two threads of ours share two cores; they also skip most zeros of the filters.
_BLOCK_FRAMES = 128
_BAND_MELS = 8


@lru_cache(maxsize=8)
def mel_filters(spec: LogMelSpec) -> np.ndarray:
    """Triangular mel filters of area 1 over Hz: (mel, bin) float64, read-only, ``bin = n_fft // 2 + 1``.

    Equal to ``librosa.filters.mel(norm="slaney", htk=spec.mel_scale == "htk")``. A filter narrower than the bins'
    spacing may be all zeros; its band is then constant at -100 dB.
    Slaney, "Auditory Toolbox" (1998); HTK: Young et al., "The HTK Book" (2006).
    """
    bins_hz = np.fft.rfftfreq(spec.n_fft, 1 / spec.sample_rate_hz)
    edges_hz = mel_edges_hz(spec)
    left, centre, right = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - left) / (centre - left), (right - bins_hz) / (right - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (right - left)
    filters.flags.writeable = False
    return filters


def mel_edges_hz(spec: LogMelSpec) -> np.ndarray:
    """Where the filters begin, peak and end: (mel + 2,) Hz, equally far apart in mel; band ``m`` peaks at ``m + 1``."""
    low, high = _hz_to_mel(np.array([spec.fmin_hz, spec.fmax_hz]), spec.mel_scale)
    return _mel_to_hz(np.linspace(low, high, spec.n_mels + 2), spec.mel_scale)


@lru_cache(maxsize=8)
def hann_window(n_fft: int) -> np.ndarray:
    """Periodic Hann window: (sample,) float64, read-only."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    window.flags.writeable = False
    return window


def log_mel(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Log-mel frames of a mono waveform in dB re full scale 1.0: (sample,) float32 -> (mel, frame) float32.

    Frames are ``1 + (sample - n_fft) // hop_length``, none when the waveform is shorter than ``n_fft``. Values start
    at -100 dB. The transform runs in float64, as librosa's does: in float32 its rounding noise would
    show, a tenth of a dB in quiet bands beside loud ones, and numpy's float32 transform is no faster.

    Raises:
        FeatureError: the waveform has more than one axis.
    """
    if waveform.ndim != 1:
        raise FeatureError(
            f"log_mel needs a mono waveform of shape (sample,), found shape {waveform.shape}; mix the channels first"
        )
    if len(waveform) < spec.n_fft:
        return np.empty((spec.n_mels, 0), np.float32)
    samples = np.lib.stride_tricks.sliding_window_view(waveform, spec.n_fft)[:: spec.hop_length]
    frames = np.empty((spec.n_mels, len(samples)), np.float32)
    for start in range(0, len(samples), _BLOCK_FRAMES):
        frames[:, start : start + _BLOCK_FRAMES] = _block_db(samples[start : start + _BLOCK_FRAMES], spec)
    return frames


def log_mel_stream(waveform_blocks: Iterable[np.ndarray], spec: LogMelSpec) -> Iterator[np.ndarray]:
    """Log-mel frames of a waveform that comes in blocks: yields (mel, frame) float32 arrays.

    Joined along frames they equal ``log_mel`` of the joined waveform to the bit, whatever the sizes of the blocks;
    memory is bounded by the largest block.
    """
    # Every call of log_mel but the last gets a multiple of _BLOCK_FRAMES frames: the same sums in the same order.
    rest = np.empty(0, np.float32)
    for block in waveform_blocks:
        rest = np.concatenate([rest, block])
        n_frames = max(0, 1 + (len(rest) - spec.n_fft) // spec.hop_length) // _BLOCK_FRAMES * _BLOCK_FRAMES
        if n_frames:
            yield log_mel(rest[: (n_frames - 1) * spec.hop_length + spec.n_fft], spec)
            rest = rest[n_frames * spec.hop_length :]
    if len(rest) >= spec.n_fft:
        yield log_mel(rest, spec)


def _block_db(samples: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """Windowed transform, mel power and dB of a few frames: (frame, sample) -> (mel, frame) float32."""
    spectrum = np.fft.rfft(samples * hann_window(spec.n_fft))
    power = spectrum.real**2
    power += spectrum.imag**2
    mel = np.empty((spec.n_mels, len(samples)), np.float32)
    for mels, bins, weights in _filter_bands(spec):
        mel[mels] = weights @ power[:, bins].T
    np.maximum(mel, POWER_FLOOR, out=mel)
    np.log10(mel, out=mel)
    mel *= 10
    return mel


@lru_cache(maxsize=8)
def _filter_bands(spec: LogMelSpec) -> tuple[tuple[slice, slice, np.ndarray], ...]:
    """The mel filters in groups of neighbours: (rows, the bins where they are not zero, their weights)."""
    filters = mel_filters(spec)
    bands = []
    for start in range(0, spec.n_mels, _BAND_MELS):
        mels = slice(start, start + _BAND_MELS)
        used_idx = np.flatnonzero(filters[mels].any(axis=0))
        bins = slice(used_idx[0], used_idx[-1] + 1) if len(used_idx) else slice(0, 0)
        bands.append((mels, bins, np.ascontiguousarray(filters[mels, bins])))
    return tuple(bands)


# Slaney's scale: linear below 1000 Hz (200/3 Hz a mel, so 15 mels), above it 27 mels for each factor of 6.4.
_SLANEY_HZ_PER_MEL = 200 / 3
_SLANEY_KNEE_HZ = 1000.0
_SLANEY_KNEE_MEL = _SLANEY_KNEE_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_LOG_STEP = np.log(6.4) / 27


def _hz_to_mel(hz: np.ndarray, scale: MelScale) -> np.ndarray:
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    above = _SLANEY_KNEE_MEL + np.log(np.maximum(hz, _SLANEY_KNEE_HZ) / _SLANEY_KNEE_HZ) / _SLANEY_LOG_STEP
    return np.where(hz < _SLANEY_KNEE_HZ, hz / _SLANEY_HZ_PER_MEL, above)


def _mel_to_hz(mel: np.ndarray, scale: MelScale) -> np.ndarray:
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    above = _SLANEY_KNEE_HZ * np.exp(_SLANEY_LOG_STEP * np.maximum(mel - _SLANEY_KNEE_MEL, 0))
    return np.where(mel < _SLANEY_KNEE_MEL, mel * _SLANEY_HZ_PER_MEL, above)
