"""Cepstra: what is left of a log-mel spectrum's shape in a few coefficients, and their statistics over a song."""

from collections.abc import Iterable, Iterator
from functools import lru_cache

import numpy as np

from hgenre.errors import FeatureError
from hgenre.features.log_mel import log_mel_stream
from hgenre.features.spec import CepstralSpec, FeatureSpec, log_mel_of

FMA_N_MFCC = 20
"""Coefficients in FMA's feature table."""

STATISTICS = ("kurtosis", "max", "mean", "median", "min", "skew", "std")
"""FMA's seven statistics in the order of the columns of its ``features.csv``.

Defferrard et al., "FMA: A dataset for music analysis" (2017), https://github.com/mdeff/fma, ``features.py``.
"""

# As much as a value of 0 may be off by for scipy.stats.skew and scipy.stats.kurtosis.
_RESOLUTION = 1e-15


def mfcc(log_mel_db: np.ndarray, n_mfcc: int, lifter: int = 0) -> np.ndarray:
    """Mel-frequency cepstral coefficients: (mel, frame) -> (coefficient, frame) float32.

    The first ``n_mfcc`` of an orthonormal DCT-II over the mel axis times ``lifter_weights``; equal to
    ``librosa.feature.mfcc(S=log_mel_db, n_mfcc=n_mfcc, lifter=lifter)``. A frame's coefficients are the same to the
    bit whatever frames stand beside it. Adding a constant to the frames moves coefficient 0 alone.

    Raises:
        FeatureError: fewer than one or more coefficients than mel bands.
    """
    n_mels = len(log_mel_db)
    if not 1 <= n_mfcc <= n_mels:
        raise FeatureError(f"{n_mels} mel bands have 1 to {n_mels} cepstra, found n_mfcc {n_mfcc}")
    basis = _dct_basis(n_mels, n_mfcc, lifter)
    coefficients = np.zeros((n_mfcc, log_mel_db.shape[1]))
    # Band by band, not a matrix product: BLAS sums in an order that depends on the number of frames.
    for column, band in zip(basis.T, log_mel_db, strict=True):
        coefficients += column[:, None] * band
    return coefficients.astype(np.float32)


def frames_stream(waveform_blocks: Iterable[np.ndarray], spec: FeatureSpec) -> Iterator[np.ndarray]:
    """Frames of a waveform that comes in blocks, log-mel or cepstra: yields (mel or coefficient, frame) float32.

    Joined along frames they are the same to the bit whatever the sizes of the blocks.

    Raises:
        FeatureError: such features are not computed from audio.
    """
    for block in log_mel_stream(waveform_blocks, log_mel_of(spec)):
        yield mfcc(block, spec.n_mfcc, spec.lifter) if isinstance(spec, CepstralSpec) else block


def lifter_weights(n_mfcc: int, lifter: int) -> np.ndarray:
    """Factors (coefficient,) of liftering: ``1 + lifter / 2 * sin(pi * (k + 1) / lifter)``, all 1 for ``lifter`` 0.

    As ``librosa.feature.mfcc``; Juang, Rabiner and Wilpon, "On the use of bandpass liftering in speech recognition"
    (1987).
    """
    if lifter == 0:
        return np.ones(n_mfcc)
    return np.asarray(1 + lifter / 2 * np.sin(np.pi * np.arange(1, n_mfcc + 1) / lifter))


def cepstral_statistics(coefficients: np.ndarray) -> np.ndarray:
    """Statistics of each coefficient over a song: (coefficient, frame) -> (statistic * coefficient,) float32.

    ``STATISTICS`` one after the other, each over all coefficients: of 20 coefficients the 140 values that FMA's
    ``features.csv`` has in this order. Deviation and moments are those of the population, kurtosis is the excess. A
    coefficient that does not vary has skew 0 and kurtosis -3, as in FMA's table.

    Raises:
        FeatureError: there is no frame.
    """
    if coefficients.shape[1] == 0:
        raise FeatureError("statistics of cepstra need a frame or more, found none")
    values = coefficients.astype(np.float64)
    mean = values.mean(axis=1)
    apart = values - mean[:, None]
    variance = np.square(apart).mean(axis=1)
    varies = variance > (_RESOLUTION * mean) ** 2
    scale = np.where(varies, variance, 1)
    of = {
        "kurtosis": np.where(varies, (apart**4).mean(axis=1) / scale**2, 0) - 3,
        "max": values.max(axis=1),
        "mean": mean,
        "median": np.median(values, axis=1),
        "min": values.min(axis=1),
        "skew": np.where(varies, (apart**3).mean(axis=1) / scale**1.5, 0),
        "std": np.sqrt(variance),
    }
    return np.concatenate([of[name] for name in STATISTICS]).astype(np.float32)


def statistics_columns(n_mfcc: int = FMA_N_MFCC) -> tuple[str, ...]:
    """Names of the values of ``cepstral_statistics``, such as ``mfcc_kurtosis_01``."""
    return tuple(f"mfcc_{statistic}_{k:02d}" for statistic in STATISTICS for k in range(1, n_mfcc + 1))


@lru_cache(maxsize=8)
def _dct_basis(n_mels: int, n_mfcc: int, lifter: int) -> np.ndarray:
    """Orthonormal DCT-II with liftering: (coefficient, mel) float64, read-only."""
    k, mel = np.arange(n_mfcc)[:, None], np.arange(n_mels)
    basis = np.sqrt(2 / n_mels) * np.cos(np.pi * k * (2 * mel + 1) / (2 * n_mels))
    basis[0] /= np.sqrt(2)
    basis *= lifter_weights(n_mfcc, lifter)[:, None]
    basis.flags.writeable = False
    return basis
