"""Songs' answers from slices, against counting by hand."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.tree.vote import LOGP_FLOOR, Aggregation, SongSums, answer_songs, sum_slices, sum_sorted_slices
from tests.oracles import song_answer

N_SLICES, N_SONGS, N_GENRES = 24, 5, 4
AGGREGATIONS: tuple[Aggregation, ...] = ("majority", "mean_probability", "mean_log_probability")
SUM_SLICES = jax.jit(sum_slices, static_argnums=3)


def _sums(p: np.ndarray, song_idx: np.ndarray, voiced: np.ndarray) -> SongSums:
    with np.errstate(divide="ignore"):
        return SUM_SLICES(np.log(p).astype(np.float32), song_idx.astype(np.int32), voiced, N_SONGS)


def _drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.full(N_GENRES, 0.5), N_SLICES)
    return p, random.integers(0, N_SONGS, N_SLICES), random.random(N_SLICES) < 0.8


@given(st.integers(0, 100_000))
@settings(max_examples=60)
def test_every_aggregation_agrees_with_counting_by_hand(seed: int) -> None:
    p, song_idx, voiced = _drawn(seed)
    sums = _sums(p, song_idx, voiced)
    for aggregation in AGGREGATIONS:
        answers = answer_songs(sums, aggregation)
        for song in range(N_SONGS):
            mine = p[(song_idx == song) & voiced]
            if not len(mine):
                assert answers.genre_idx[song] == -1
                assert (answers.probabilities[song] == 0).all()
                continue
            assert answers.genre_idx[song] == song_answer(mine.tolist(), aggregation)
            assert answers.probabilities[song] == pytest.approx(mine.mean(axis=0), abs=1e-6)
            assert answers.probabilities[song].sum() == pytest.approx(1, abs=1e-6)


@given(st.integers(0, 100_000))
@settings(max_examples=30)
def test_sums_in_numpy_are_those_of_the_program_also_for_a_song_without_slices(seed: int) -> None:
    p, song_idx, voiced = _drawn(seed)
    p[: N_SLICES // 2, 1] = 0.0
    song_idx = np.sort(song_idx)
    voiced[song_idx == seed % N_SONGS] = False
    with np.errstate(divide="ignore"):
        ours = sum_sorted_slices(np.log(p[voiced]), song_idx[voiced], N_SONGS)
    for mine, compiled in zip(ours, _sums(p, song_idx, voiced), strict=True):
        np.testing.assert_allclose(mine, compiled, rtol=1e-5)


def test_equal_votes_go_to_the_larger_summed_probability() -> None:
    p = np.array([[0.6, 0.4, 0, 0], [0.1, 0.9, 0, 0], [0.3, 0.3, 0.3, 0.1]])
    sums = _sums(np.resize(p[:2], (N_SLICES, 4)), np.zeros(N_SLICES, int), np.arange(N_SLICES) < 2)
    assert np.asarray(sums.votes)[0].tolist() == [1, 1, 0, 0]
    assert answer_songs(sums).genre_idx[0] == 1


def test_equal_votes_and_equal_sums_go_to_the_earlier_label() -> None:
    p = np.array([[0.25, 0, 0.75, 0], [0.25, 0.75, 0, 0], [0.25, 0, 0, 0.75]])
    sums = _sums(np.resize(p, (N_SLICES, 4)), np.zeros(N_SLICES, int), np.arange(N_SLICES) < 3)
    assert np.asarray(sums.sum_p)[0].tolist() == [0.75, 0.75, 0.75, 0.75]
    assert answer_songs(sums).genre_idx[0] == 1  # genre 0 has as much probability, but no vote
    assert answer_songs(sums, "mean_probability").genre_idx[0] == 0


def test_slice_without_a_favourite_votes_for_the_earliest() -> None:
    sums = _sums(np.full((N_SLICES, 4), 0.25), np.zeros(N_SLICES, int), np.ones(N_SLICES, bool))
    assert np.asarray(sums.votes)[0].tolist() == [N_SLICES, 0, 0, 0]


def test_silent_slices_have_no_say_whatever_they_hold() -> None:
    p, song_idx, voiced = _drawn(7)
    voiced[song_idx == 2] = False
    quiet = np.where(voiced[:, None], p, np.array([0.0, 0.0, 0.0, 1.0]))
    for ours, theirs in zip(_sums(p, song_idx, voiced), _sums(quiet, song_idx, voiced), strict=True):
        assert np.array_equal(ours, theirs)
    assert answer_songs(_sums(p, song_idx, voiced)).genre_idx[2] == -1


@given(st.integers(0, 100_000), st.integers(0, N_SLICES))
@settings(max_examples=30)
def test_sums_of_chunks_add_up(seed: int, cut: int) -> None:
    p, song_idx, voiced = _drawn(seed)
    first = np.arange(N_SLICES) < cut
    parts = _sums(p, song_idx, voiced & first) + _sums(p, song_idx, voiced & ~first)
    whole = _sums(p, song_idx, voiced)
    assert np.array_equal(parts.votes, whole.votes)
    assert np.array_equal(parts.n_voiced, whole.n_voiced)
    np.testing.assert_allclose(parts.sum_p, whole.sum_p, atol=1e-5)
    np.testing.assert_allclose(parts.sum_logp, whole.sum_logp, rtol=1e-5)


def test_no_single_slice_has_a_veto() -> None:
    p = np.array([[0.0, 1.0, 0, 0], *[[0.9, 0.1, 0, 0]] * 20])
    sums = _sums(np.resize(p, (N_SLICES, 4)), np.zeros(N_SLICES, int), np.arange(N_SLICES) < 21)
    assert np.asarray(sums.sum_logp)[0, 0] == pytest.approx(LOGP_FLOOR + 20 * np.log(0.9), rel=1e-5)
    assert answer_songs(sums, "mean_log_probability").genre_idx[0] == 0


def test_songs_that_are_not_there_have_no_answer() -> None:
    p, song_idx, voiced = _drawn(9)
    answers = answer_songs(_sums(p, np.minimum(song_idx, 1), voiced))
    assert answers.genre_idx[2:].tolist() == [-1, -1, -1]
