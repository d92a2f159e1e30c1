"""What a classical classifier sees of a slice: a row of numbers."""

from dataclasses import dataclass

import numpy as np

from hgenre.errors import FeatureError
from hgenre.features import level_free, mfcc, voiced
from hgenre.features.spec import CepstralSpec, FeatureSpec, TableSpec
from hgenre.training.songs import LearningSongs

N_CEPSTRA = 20
"""Cepstra of a spectrogram that a row tells of, as many as GTZAN's and FMA's feature tables have."""


@dataclass(frozen=True, eq=False)
class SliceTable:
    """The voiced slices of songs as rows.

    Attributes:
        rows: (slice, feature) float64.
        song_idx: (slice,) int, the slice's song; never falling, and songs without a voiced slice are left out.
        slice_idx: (slice,) int, the slice's place in its song, silent slices counted.
    """

    rows: np.ndarray
    song_idx: np.ndarray
    slice_idx: np.ndarray


def slice_table(songs: LearningSongs) -> SliceTable:
    """The rows of all voiced slices of songs.

    Each slice is a row and each row counts alike, as in the published tables, so a longer song counts for more.

    Raises:
        FeatureError: no song has a voiced slice.
    """
    rows, song_idx, slice_idx = [], [], []
    for i in range(len(songs)):
        slices = songs.cut(i)
        heard = np.flatnonzero(voiced(slices, songs.features))
        rows.append(slice_rows(slices[heard], songs.features))
        song_idx.append(np.full(len(heard), i))
        slice_idx.append(heard)
    if not sum(map(len, rows)):
        raise FeatureError(f"none of the {len(songs)} songs has a voiced slice; classifiers need a row or more")
    return SliceTable(np.concatenate(rows), np.concatenate(song_idx), np.concatenate(slice_idx))


def slice_rows(slices: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """A row a slice: (slice, mel, frame) -> (slice, feature) float64, each from its slice alone.

    * Rows of a table are what they are.
    * Cepstra give the mean, then the deviation over frames of every coefficient, without the slice's level.
    * Spectrograms give the same of their level-free bands, then of their first ``N_CEPSTRA`` cepstra (orthonormal
      DCT-II of the level-free bands; as many as there are bands where these are fewer).
    """
    if isinstance(spec, TableSpec):
        return np.asarray(slices[:, :, 0], np.float64)
    free = level_free(slices, spec)
    if isinstance(spec, CepstralSpec):
        return _mean_and_std(free)
    n_slices, n_mels, n_frames = free.shape
    n_cepstra = min(N_CEPSTRA, n_mels)
    side_by_side = free.transpose(1, 0, 2).reshape(n_mels, n_slices * n_frames)
    cepstra = mfcc(side_by_side, n_cepstra).reshape(n_cepstra, n_slices, n_frames)
    return np.concatenate([_mean_and_std(free), _mean_and_std(cepstra.transpose(1, 0, 2))], axis=1)


def _mean_and_std(values: np.ndarray) -> np.ndarray:
    """(slice, band, frame) -> (slice, 2 * band): means, then deviations of the population."""
    # Laid out slice by slice, so that numpy adds each slice's values in one order whatever stands beside it.
    values = np.ascontiguousarray(values, np.float64)
    return np.concatenate([values.mean(axis=2), values.std(axis=2)], axis=1)
