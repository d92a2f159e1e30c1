"""Loudness taken out of slices, then each mel band (coefficient, column) brought to mean 0 and deviation 1."""

from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from hgenre.errors import FeatureError
from hgenre.features.slices import slice_level_db, voiced
from hgenre.features.spec import ArraySpec, CepstralSpec, FeatureSpec, TableSpec

LEVEL_FREE_FLOOR_DB = -60.0
"""Smallest value kept in a level-free slice, in dB re the slice's mean mel power.

A gain moves every value of a spectrogram except those that stand on the -100 dB floor of the logarithm. Above -60 dB
nothing stands there as long as the slice's level is above -40 dB, so the same music at another gain has the same
features; 0.4 % of the values of real clips are below it.
"""

_SMALLEST_STD = 0.05
"""Smallest standard deviation of a band, as a share of the root mean square over bands: an empty band stays quiet."""


@dataclass(frozen=True, eq=False)
class Normalisation:
    """How level-free slices are standardised; travels in the bundle.

    ``kind`` "training": ``mean_db`` and ``std_db`` (mel,) float32 are those of the training songs. Each slice's
    features then depend on that slice alone.
    ``kind`` "song": a song's slices are standardised by ``song_statistics`` of their own; nothing comes from
    training, so ``mean_db`` is 0 and ``std_db`` is 1.
    Both are in dB, or in stored units for imported arrays whose ``db_per_unit`` is unknown, for their cepstra and for
    the columns of tables.

    Raises:
        FeatureError: the arrays differ in shape, hold something that is not finite, or a deviation is not above 0.
    """

    kind: Literal["training", "song"]
    mean_db: np.ndarray
    std_db: np.ndarray

    def __post_init__(self) -> None:
        if self.kind not in ("training", "song"):
            raise FeatureError(f"normalisation of kind {self.kind!r}; known kinds are training and song")
        if self.mean_db.ndim != 1 or self.mean_db.shape != self.std_db.shape:
            raise FeatureError(
                f"normalisation needs mean_db and std_db of one shape (mel,), found {self.mean_db.shape} and "
                f"{self.std_db.shape}"
            )
        if not (np.isfinite(self.mean_db).all() and np.isfinite(self.std_db).all() and (self.std_db > 0).all()):
            raise FeatureError("normalisation needs finite means and finite deviations above 0; fit it again")

    @classmethod
    def per_song(cls, n_mels: int) -> "Normalisation":
        """Normalisation of kind "song" for ``n_mels`` bands."""
        return cls("song", np.zeros(n_mels, np.float32), np.ones(n_mels, np.float32))


def level_free(slices: Any, spec: FeatureSpec, xp: ModuleType = np) -> Any:
    """Slices without their loudness: (slice, mel, frame) -> the same shape, dB re each slice's mean mel power.

    Values are ``LEVEL_FREE_FLOOR_DB`` or more, and a constant slice becomes zeros. Imported arrays whose
    ``db_per_unit`` is unknown are no dB: the slice's mean is subtracted and nothing is clamped. A gain moves
    coefficient 0 of cepstra alone, so the slice's mean of that coefficient is taken off it and nothing is clamped; what
    stands on the -100 dB floor of the logarithm does not move, so there a gain shows. The rows of a table stay as they
    are.
    ``xp`` is the array module, numpy or jax.numpy, so that a compiled program runs these very lines.
    """
    if isinstance(spec, TableSpec):
        return slices
    if isinstance(spec, CepstralSpec):
        first = np.zeros((spec.n_mfcc, 1), np.float32)
        first[0] = 1
        return slices - xp.mean(slices[:, 0], axis=-1)[:, None, None] * first
    if isinstance(spec, ArraySpec) and spec.db_per_unit is None:
        return slices - xp.mean(slices, axis=(-2, -1), keepdims=True)
    return xp.maximum(slices - slice_level_db(slices, xp)[:, None, None], np.float32(LEVEL_FREE_FLOOR_DB))


def fit_normalisation(songs: Iterable[np.ndarray], spec: FeatureSpec) -> Normalisation:
    """Mean and deviation of each mel band over the voiced slices of training songs.

    A quiet band's deviation is floored by those of the others. The columns of a table share no unit, so each has its
    own deviation, or 1 where it does not vary.

    Args:
        songs: one array (slice, mel, frame) a song, or a part of a song; read once, one held at a time.

    Raises:
        FeatureError: no slice is voiced.
    """
    n_values = 0
    total = np.zeros(spec.n_mels)
    total_squares = np.zeros(spec.n_mels)
    shift: np.ndarray | None = None
    for slices in songs:
        kept = level_free(slices[voiced(slices, spec)], spec)
        if isinstance(spec, TableSpec) and len(kept):
            # A column of a million that varies by one would lose its variance between two large sums.
            kept = kept.astype(np.float64)
            shift = kept[:1, :, :1] if shift is None else shift
            kept = kept - shift
        n_values += kept.shape[0] * kept.shape[2]
        total += kept.sum(axis=(0, 2), dtype=np.float64)
        total_squares += np.square(kept).sum(axis=(0, 2), dtype=np.float64)
    if not n_values:
        raise FeatureError("normalisation needs a slice that is not silent, found none in the training songs")
    mean = total / n_values
    std = _floored_std(np.maximum(total_squares / n_values - mean**2, 0), spec)
    if shift is not None:
        mean += shift[0, :, 0]
    return Normalisation("training", mean.astype(np.float32), std.astype(np.float32))


def song_statistics(slices: np.ndarray, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation (mel,) float32 of each band over the voiced slices of one song, made level-free.

    They take the place of the training songs' where the normalisation is of kind "song"; a compiled program is handed
    one pair a slice. 0 and 1 where every slice is silent.
    """
    kept = level_free(np.asarray(slices, np.float32)[voiced(slices, spec)], spec)
    if not len(kept):
        return np.zeros(spec.n_mels, np.float32), np.ones(spec.n_mels, np.float32)
    mean = kept.mean(axis=(0, 2), dtype=np.float64)
    std = _floored_std(kept.var(axis=(0, 2), dtype=np.float64), spec)
    return mean.astype(np.float32), std.astype(np.float32)


def statistics_for(
    slices: np.ndarray, normalisation: Normalisation, spec: FeatureSpec
) -> tuple[np.ndarray, np.ndarray]:
    """(mean_db, std_db), both (mel,), that these slices of one song are standardised with.

    For kind "song" the slices must be all those of the song.
    """
    if normalisation.kind == "song":
        return song_statistics(slices, spec)
    return normalisation.mean_db, normalisation.std_db


def standardise(slices: Any, mean_db: Any, std_db: Any, spec: FeatureSpec, xp: ModuleType = np) -> Any:
    """What the nets see: level-free slices, each band less its mean over its deviation; finite for silence too.

    Args:
        slices: (slice, mel, frame) float32.
        mean_db, std_db: (slice, mel), a row a slice.
        xp: the array module, numpy or jax.numpy, so that a compiled program runs these very lines.
    """
    return (level_free(slices, spec, xp) - mean_db[:, :, None]) / std_db[:, :, None]


def _floored_std(variance: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """Deviations of the bands, none below a share of their root mean square; 1 where no band varies at all."""
    std = np.sqrt(variance)
    if isinstance(spec, TableSpec):
        return np.where(std.astype(np.float32) > 0, std, 1)
    floor = _SMALLEST_STD * np.sqrt(variance.mean())
    return np.maximum(std, floor) if floor > 0 else np.ones_like(variance)
