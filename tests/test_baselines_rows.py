"""Rows of slices: what a classical classifier is told of a slice, whatever stands beside it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dct

from hgenre.baselines.rows import slice_rows, slice_table
from hgenre.errors import FeatureError
from hgenre.features import ArraySpec, LogMelSpec, SliceSpec, level_free
from hgenre.features.spec import CepstralSpec, FeatureSpec, TableSpec
from hgenre.training.songs import LearningSongs
from tests.planted_songs import songs_of
from tests.small_bundles import FEATURES

WIDE = LogMelSpec(n_mels=48)
DB_ARRAYS = ArraySpec(32, 43.0, "dB", 1.0)
IMAGES = ArraySpec(24, 43.0, "grey levels")
CEPSTRA = CepstralSpec(of=WIDE, n_mfcc=13)
TABLE = TableSpec(("tempo", "rolloff_mean"), 3.0)


def drawn(spec: FeatureSpec, n_slices: int = 5, n_frames: int = 9, seed: int = 0) -> np.ndarray:
    n_frames = 1 if spec == TABLE else n_frames
    return np.random.default_rng(seed).normal(-30, 6, (n_slices, spec.n_mels, n_frames)).astype(np.float32)


@pytest.mark.parametrize("spec", [WIDE, DB_ARRAYS, IMAGES, FEATURES], ids=["log-mel", "dB", "images", "12 bands"])
def test_spectrograms_give_mean_and_deviation_of_bands_and_of_20_cepstra(spec: FeatureSpec) -> None:
    slices = drawn(spec)
    rows = slice_rows(slices, spec)
    n_cepstra = min(20, spec.n_mels)
    assert rows.dtype == np.float64
    assert rows.shape == (5, 2 * spec.n_mels + 2 * n_cepstra)
    for row, one in zip(rows, level_free(slices, spec), strict=True):
        bands = [one[band].astype(float) for band in range(spec.n_mels)]
        frames = [dct(one[:, frame].astype(float), norm="ortho")[:n_cepstra] for frame in range(9)]
        coefficients = [np.array([frame[k] for frame in frames]) for k in range(n_cepstra)]
        expected = [
            *(x.mean() for x in bands),
            *(x.std() for x in bands),
            *(x.mean() for x in coefficients),
            *(x.std() for x in coefficients),
        ]
        np.testing.assert_allclose(row, expected, rtol=1e-5, atol=1e-4)


def test_cepstra_give_mean_and_deviation_of_coefficients() -> None:
    slices = drawn(CEPSTRA)
    rows = slice_rows(slices, CEPSTRA)
    assert rows.shape == (5, 26)
    np.testing.assert_allclose(rows[:, 0], 0, atol=1e-5)
    np.testing.assert_allclose(rows[:, 1:13], slices.mean(axis=2)[:, 1:], rtol=1e-5)
    np.testing.assert_allclose(rows[:, 13:], slices.std(axis=2), rtol=1e-5)


def test_rows_of_a_table_are_what_they_are() -> None:
    slices = drawn(TABLE)
    np.testing.assert_array_equal(slice_rows(slices, TABLE), slices.reshape(5, 2))


@pytest.mark.parametrize("spec", [WIDE, DB_ARRAYS, IMAGES, CEPSTRA, TABLE])
def test_a_slices_row_is_the_same_alone_and_among_others(spec: FeatureSpec) -> None:
    slices = drawn(spec, n_slices=20, n_frames=37)
    rows = slice_rows(slices, spec)
    for i in range(20):
        np.testing.assert_array_equal(slice_rows(slices[i : i + 1], spec)[0], rows[i])


@given(gain_db=st.floats(-12, 12), seed=st.integers(0, 99))
def test_a_gain_changes_no_row_of_a_spectrogram(gain_db: float, seed: int) -> None:
    slices = drawn(WIDE, seed=seed)
    louder = slice_rows(slices + np.float32(gain_db), WIDE)
    np.testing.assert_allclose(louder, slice_rows(slices, WIDE), atol=1e-3)


def test_a_table_of_slices_holds_the_voiced_ones_and_where_they_stand() -> None:
    loud = drawn(FEATURES, 1, 60)[0]
    paused = loud.copy()
    paused[:, 20:40] = -100
    silent, short = np.full_like(loud, -100), loud[:, :5]
    songs = songs_of({"silent": silent, "paused": paused, "short": short, "loud": loud}, [0, 1, 0, 1])
    table = slice_table(songs)
    assert table.song_idx.tolist() == [1, 1, 3, 3, 3]
    assert table.slice_idx.tolist() == [0, 2, 0, 1, 2]
    np.testing.assert_array_equal(table.rows, slice_rows(songs.cut(3)[[0, 2, 0, 1, 2]], FEATURES))


def test_a_table_row_that_is_not_finite_is_left_out() -> None:
    frames = {"song": np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]], np.float32)}
    songs = LearningSongs(("song",), np.array([0]), frames.__getitem__, TABLE, SliceSpec(1, 1))
    table = slice_table(songs)
    assert table.rows.tolist() == [[1.0, 4.0], [3.0, 6.0]]
    assert table.slice_idx.tolist() == [0, 2]


@pytest.mark.parametrize("frames", [{}, {"silent": np.full((12, 60), -100, np.float32)}])
def test_songs_without_a_voice_are_an_error(frames: dict[str, Any]) -> None:
    expected = f"^none of the {len(frames)} songs has a voiced slice; classifiers need a row or more$"
    with pytest.raises(FeatureError, match=expected):
        slice_table(songs_of(frames, [0] * len(frames)))
