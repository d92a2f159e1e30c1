"""Size-matched random groupings: the right ones, all of them where there are few, and a p-value that means it."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.partitions import group_sizes, renumbered, set_partitions
from hgenre.grouping.permutation import ScoredPartitions

PARTITIONS = set_partitions(6)


def scored(n_folds: int = 3, seed: int = 0) -> ScoredPartitions:
    n_right = np.random.default_rng(seed).integers(0, 50, (n_folds, len(PARTITIONS)))
    return ScoredPartitions(PARTITIONS, n_right, 50 * n_folds)


def position(row: np.ndarray) -> int:
    return int(np.flatnonzero((row == PARTITIONS).all(axis=1))[0])


def test_accuracy_is_that_of_each_folds_own_partition() -> None:
    found = scored()
    rows = [PARTITIONS[i] for i in (3, 77, 150)]
    right = found.n_right[0, 3] + found.n_right[1, 77] + found.n_right[2, 150]
    assert found.accuracy(rows) == right / found.n_songs


def test_all_are_taken_where_few_exist() -> None:
    found = scored()
    row = PARTITIONS[position(np.array([0, 0, 0, 1, 1, 1]))]
    same = np.flatnonzero((group_sizes(PARTITIONS)[:, :2] == 3).all(axis=1))
    assert len(same) == 10
    total = found.n_right.sum(axis=0)
    held = found.against_random([row] * 3, 200, seed=0)
    assert (held.n, held.is_exact) == (10, True)
    assert held.p == np.mean(total[same] >= total[position(row)])
    assert held.mean == pytest.approx(total[same].mean() / found.n_songs)
    assert held.best == total[same].max() / found.n_songs


def test_where_folds_differ_the_genres_change_places_in_all_of_them_alike() -> None:
    """Against every one of the 720 orders of six genres, of which the draws are a sample."""
    found = scored()
    rows = [PARTITIONS[i] for i in (3, 77, 150)]
    totals = [
        sum(int(n[position(renumbered(row[list(order)][None])[0])]) for n, row in zip(found.n_right, rows, strict=True))
        for order in itertools.permutations(range(6))
    ]
    held = found.against_random(rows, 4000, seed=1)
    assert not held.is_exact
    assert held.n == 4000
    assert held.mean == pytest.approx(
        np.mean(totals) / found.n_songs, abs=4 * np.std(totals) / found.n_songs / 4000**0.5
    )
    exact = np.mean(np.array(totals) >= round(found.accuracy(rows) * found.n_songs))
    assert held.p == pytest.approx(exact, abs=0.03)


@given(st.lists(st.integers(0, len(PARTITIONS) - 1), min_size=2, max_size=2), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_p_is_a_share_and_counts_the_grouping_itself(which: list[int], seed: int) -> None:
    held = scored(2, seed).against_random([PARTITIONS[i] for i in which], 50, seed)
    assert 0 < held.p <= 1
    assert held.p >= 1 / (1 + held.n)
    assert 0 <= held.mean <= held.best <= 1


def test_a_grouping_that_knows_nothing_has_any_p_alike() -> None:
    """Over 200 drawn groupings p falls below a tenth about as often as it should."""
    found, random = scored(), np.random.default_rng(3)
    p = [found.against_random([PARTITIONS[i] for i in random.integers(0, 203, 3)], 99, seed=s).p for s in range(200)]
    assert 0.04 < np.mean(np.array(p) <= 0.1) < 0.17
