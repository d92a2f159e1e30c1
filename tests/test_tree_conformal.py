"""Sets with a promised coverage, against a count by hand and the promise itself."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from hgenre.tree.conformal import coverage_threshold, genre_set, group_path
from hgenre.tree.evidence import SongEvidence
from hgenre.tree.spec import TreeSpec
from tests.small_trees import CHAINED, OVERLAPPING, PLAIN


def wrong(p_true: float) -> SongEvidence:
    return SongEvidence(p_true, (1.0,), 0)


def right(p_true: float) -> SongEvidence:
    return SongEvidence(p_true, (1.0,), 1)


def test_the_rank_of_the_threshold_counts_the_later_song_too() -> None:
    evidence = tuple(wrong(i / 100) for i in range(1, 20))
    assert coverage_threshold(evidence, 0.9) == 0.02
    assert coverage_threshold(evidence, 0.95) == 0.01
    assert coverage_threshold(evidence, 0.951) == 0.0
    assert coverage_threshold(evidence[:9], 0.9) == 0.01  # though 10 * (1 - 0.9) is below 1 in binary
    assert coverage_threshold(evidence[:8], 0.9) == 0.0
    assert coverage_threshold((), 0.5) == 0.0


def test_a_song_whose_vote_is_right_is_never_lost() -> None:
    evidence = (*(wrong(0.3) for _ in range(2)), *(right(0.01) for _ in range(17)))
    assert coverage_threshold(evidence, 0.9) == 0.3
    assert coverage_threshold(evidence, 0.8) == 1.0


def test_a_set_holds_the_vote_and_all_that_reach_the_threshold() -> None:
    p = [0.1, 0.5, 0.3, 0.1]
    assert genre_set(p, 0, 0.3) == (0, 1, 2)
    assert genre_set(p, 0, 0.9) == (0,)
    assert genre_set(p, 1, 0.0) == (0, 1, 2, 3)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.data())
def test_sets_grow_as_the_threshold_falls_and_are_never_empty(p: list[float], data: st.DataObject) -> None:
    genre_idx = data.draw(st.integers(0, len(p) - 1))
    low, high = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    smaller, larger = (set(genre_set(p, genre_idx, t)) for t in (high, low))
    assert {genre_idx} <= smaller <= larger


@pytest.mark.parametrize(("n_songs", "coverage"), [(19, 0.9), (40, 0.75), (150, 0.9)])
def test_later_songs_are_covered_as_promised_and_hardly_more(n_songs: int, coverage: float) -> None:
    random = np.random.default_rng(n_songs)
    n_trials = 2000
    # Probabilities that say nothing about the truth of half of the songs: the promise does not depend on their worth.
    p = random.dirichlet(np.full(5, 0.5), (n_trials, n_songs + 1))
    likely = (p.cumsum(axis=-1) > random.uniform(size=(n_trials, n_songs + 1, 1))).argmax(axis=-1)
    true_idx = np.where(random.uniform(size=likely.shape) < 0.5, likely, random.integers(0, 5, likely.shape))
    genre_idx = p.argmax(axis=-1)
    p_true = np.take_along_axis(p, true_idx[..., None], axis=-1)[..., 0]
    n_covered = 0
    for trial in range(n_trials):
        rows = zip(p_true[trial, :-1], genre_idx[trial, :-1] == true_idx[trial, :-1], strict=True)
        threshold = coverage_threshold(tuple(right(p) if is_right else wrong(p) for p, is_right in rows), coverage)
        n_covered += true_idx[trial, -1] in genre_set(p[trial, -1].tolist(), genre_idx[trial, -1], threshold)
    assert n_covered >= binom.ppf(1e-3, n_trials, coverage)
    assert n_covered <= binom.ppf(1 - 1e-3, n_trials, coverage + 1 / (n_songs + 1))


def test_a_set_that_is_a_group_is_named() -> None:
    def path(tree: TreeSpec, genres: str) -> list[str]:
        return [node.name for node in group_path(tree, frozenset(genres))]

    assert path(PLAIN, "abc") == ["root", "left"]
    assert path(PLAIN, "fed") == ["root", "right"]
    assert path(PLAIN, "ab") == []
    assert path(PLAIN, "abcdef") == ["root"]
    assert path(OVERLAPPING, "cde") == ["root", "two", "inner"]
    assert path(OVERLAPPING, "acde") == ["root", "two"]
    assert path(CHAINED, "abc") == ["root", "only", "first"]
