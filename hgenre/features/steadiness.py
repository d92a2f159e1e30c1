"""Steady noise: slices in which nothing changes but the scatter that stationary noise has of its own."""

from functools import lru_cache

import numpy as np

from hgenre.features.log_mel import POWER_FLOOR, hann_window, mel_filters
from hgenre.features.spec import FeatureSpec, LogMelSpec

STEADY_VARIANCE_RATIO = 2.5
"""``variance_ratio`` below which a slice is steady.

Each of the 503 readable clips of GTZAN, in the slices of the shipped model, has a slice with 3.6 or more; 0.14 % of all
slices are steady. Synthesised noises, hums, sines and held chords at five sample rates, also through 8 bits, MP3 and
Ogg Vorbis, stay below 1.6. Measured and asserted by
``HGENRE_DATA=/path/to/data scripts/test --real-data tests/test_features_steadiness.py``.
"""

PART_S = 0.125
"""Length of a part, in seconds, over which dB are averaged; parts of twice the length are looked at too.

A sixteenth note at 120 beats a minute. Two lengths, because a beat that repeats once a part leaves no trace in it.
"""

AUDIBLE_DB = 30.0
"""Bands weigh by how far they rise above this much below the loudest; further down a window's leakage may be all."""

_FEWEST_PARTS = 3


def steady(slices: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Whether a slice holds steady noise, a hum or an unchanging chord: (slice, mel, frame) dB -> (slice,) bool.

    A few sounds without an end may pass for music: noise through a filter with edges steeper than a window's leakage
    or through a coder that switches bands on and off, chords whose partials beat in bands too wide to part them. Tones
    with vibrato over hiss may pass for steady. Imported arrays, whose window is unknown, are never steady, nor are
    cepstra, rows of a table and slices that ``variance_ratio`` cannot judge.
    """
    if not isinstance(spec, LogMelSpec):
        return np.zeros(len(slices), bool)
    return variance_ratio(slices, spec) < STEADY_VARIANCE_RATIO


def variance_ratio(slices: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    """How much slices change over time, re stationary Gaussian noise: (slice, mel, frame) dB -> (slice,).

    The variance over time of a band's level in dB, averaged over parts of ``PART_S``, is divided by the variance that
    Gaussian noise has there; the ratio is the mean over audible bands, for parts of one or of two ``PART_S``, whichever
    is larger. About 1 for noise, 0 for sines, larger for music, whatever the level. Infinite where a slice has fewer
    than three of the longer parts, or no band above the floor of the scale.
    """
    n_frames = slices.shape[2]
    part_frames = max(1, round(PART_S * spec.frame_rate_hz))
    if n_frames < _FEWEST_PARTS * 2 * part_frames:
        return np.full(len(slices), np.inf)
    # A product a slice, not one of all slices: BLAS sums in an order that depends on the sizes.
    averages = _averaging(n_frames, part_frames) @ slices.transpose(0, 2, 1)
    whole, short, long = np.split(averages, [1, 1 + n_frames // part_frames], axis=1)
    level_db = np.where(_hears_drift(spec), -np.inf, whole[:, 0])
    lowest_db = np.maximum(level_db.max(axis=1, keepdims=True) - AUDIBLE_DB, 10 * np.log10(POWER_FLOOR) + 1)
    weight = np.maximum(level_db - lowest_db, 0)
    total = weight.sum(axis=1)
    ratio = np.maximum(
        (weight * short.var(axis=1, ddof=1) / _noise_variance(spec, part_frames)).sum(axis=1),
        (weight * long.var(axis=1, ddof=1) / _noise_variance(spec, 2 * part_frames)).sum(axis=1),
    )
    return np.where(total > 0, ratio / np.where(total > 0, total, 1), np.inf)


@lru_cache(maxsize=8)
def _averaging(n_frames: int, part_frames: int) -> np.ndarray:
    """The matrix (average, frame) of means: over all frames, over each whole part, over each whole pair of parts."""
    rows = [np.full(n_frames, 1 / n_frames)]
    for n in (part_frames, 2 * part_frames):
        for start in range(0, n_frames - n + 1, n):
            rows.append(np.zeros(n_frames))
            rows[-1][start : start + n] = 1 / n
    return np.stack(rows).astype(np.float32)


@lru_cache(maxsize=8)
def _hears_drift(spec: LogMelSpec) -> np.ndarray:
    """Bands (mel,) that hear the two lowest bins, where drifts slower than a window end up."""
    return np.asarray(mel_filters(spec)[:, :2].any(axis=1))


@lru_cache(maxsize=8)
def _noise_variance(spec: LogMelSpec, n_frames: int) -> np.ndarray:
    """Variance (mel,) in dB^2 of a band's level averaged over ``n_frames`` frames of white Gaussian noise.

    A band's power is nearly gamma distributed; its shape is found by matching mean and variance (Satterthwaite 1946),
    where the powers of bins one and two apart correlate by (2/3)^2 and (1/6)^2 under a Hann window, and the variance of
    its logarithm is the trigamma function of the shape (Abramowitz and Stegun 6.4.12). The powers of overlapping frames
    correlate by the square of the windows' correlation (Welch 1967). Too large by a quarter where a band hears two or
    three bins, whose sum has fewer deep troughs than a gamma variable.
    """
    filters, window = mel_filters(spec), hann_window(spec.n_fft)
    scatter = np.sum(filters**2, axis=1)
    for apart, correlation in ((1, 2 / 3), (2, 1 / 6)):
        scatter += 2 * correlation**2 * np.sum(filters[:, apart:] * filters[:, :-apart], axis=1)
    shape = np.maximum(1, filters.sum(axis=1) ** 2 / np.maximum(scatter, np.finfo(float).tiny))
    trigamma = 1 / shape + 1 / (2 * shape**2) + 1 / (6 * shape**3)
    shares = 0.0
    for apart in range(n_frames):
        shift = apart * spec.hop_length
        overlap = np.dot(window[shift:], window[: len(window) - shift]) if shift < len(window) else 0.0
        shares += (1 if apart == 0 else 2) * (n_frames - apart) * (overlap / np.dot(window, window)) ** 2
    return (10 / np.log(10)) ** 2 * trigamma * shares / n_frames**2
