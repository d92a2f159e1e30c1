import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.confusion import similarity
from hgenre.grouping.exhaustive import SummedDecoder, best, excess, right_songs, score, subset_mass, tables
from hgenre.grouping.groups import excess_within
from hgenre.grouping.partitions import of_groups, random_of_sizes, renumbered, set_partitions, to_groups
from hgenre.labels import Labels
from tests.oracles import n_right_of_largest, summed_tree_answer

NAMES = ("blues", "classical", "country", "disco", "hiphop", "jazz")
LABELS = Labels(NAMES)
ALL = set_partitions(len(NAMES))
DECODERS: tuple[SummedDecoder, ...] = ("hard", "soft")


@dataclass(frozen=True)
class Songs:
    """Invented answers of a flat net (song, genre) and of a probe a subset (subset, song, genre), and the truth."""

    p_flat: np.ndarray
    p_probe: np.ndarray
    true_idx: np.ndarray

    def tables(self, decoder: SummedDecoder) -> tuple[np.ndarray, np.ndarray]:
        return tables(self.p_flat, self.p_probe.max(axis=2), self.p_probe.argmax(axis=2), self.true_idx, decoder)

    def reordered(self, order: list[int]) -> "Songs":
        subsets = [
            sum(2 ** order[i] for i in range(len(order)) if subset >> i & 1) for subset in range(2 ** len(order))
        ]
        return Songs(self.p_flat[:, order], self.p_probe[subsets][:, :, order], np.argsort(order)[self.true_idx])


def songs_of(n_songs: int, seed: int) -> Songs:
    random, n = np.random.default_rng(seed), len(NAMES)
    members = np.arange(2**n)[:, None] >> np.arange(n) & 1
    weights = random.random((2**n, n_songs, n)) ** 2 * members[:, None]
    weights[0] = 1
    p_flat = random.random((n_songs, n)) ** 2
    true_idx = np.where(random.random(n_songs) < 0.5, p_flat.argmax(axis=1), random.integers(0, n, n_songs))
    return Songs(p_flat / p_flat.sum(axis=1, keepdims=True), weights / weights.sum(axis=2, keepdims=True), true_idx)


SONGS = songs_of(23, seed=1)


@pytest.mark.parametrize("decoder", DECODERS)
def test_every_summed_tree_is_scored_as_by_hand(decoder: SummedDecoder) -> None:
    by_genre = [dict(zip(NAMES, map(float, p), strict=True)) for p in SONGS.p_flat]
    probes = [
        {
            frozenset(genres): {
                g: float(SONGS.p_probe[sum(2 ** NAMES.index(a) for a in genres), song, NAMES.index(g)]) for g in genres
            }
            for size in range(1, len(NAMES) + 1)
            for genres in itertools.combinations(NAMES, size)
        }
        for song in range(len(by_genre))
    ]
    expected = [
        [
            summed_tree_answer(to_groups(row, LABELS), p, probe, decoder) == NAMES[truth]
            for p, probe, truth in zip(by_genre, probes, SONGS.true_idx, strict=True)
        ]
        for row in ALL
    ]
    value, right = SONGS.tables(decoder)
    np.testing.assert_array_equal(right_songs(value, right, ALL), expected)
    found = score(value, right, ALL)
    np.testing.assert_array_equal(found, np.sum(expected, axis=1))
    assert found.dtype == np.int64
    assert len(set(found.tolist())) > 3


@given(st.integers(0, 10_000), st.integers(1, 4))
@settings(max_examples=30)
def test_of_equal_values_the_group_with_the_lowest_first_genre_wins(seed: int, n_levels: int) -> None:
    random = np.random.default_rng(seed)
    value, right = random.integers(0, n_levels, (16, 7)) / 4, random.random((16, 7)) < 0.5
    partitions = set_partitions(4)
    expected = [
        n_right_of_largest(
            value.tolist(), right.tolist(), [[g for g in range(4) if row[g] == group] for group in set(row.tolist())]
        )
        for row in partitions
    ]
    assert score(value, right, partitions).tolist() == expected
    assert right_songs(value, right, partitions).sum(axis=1).tolist() == expected


@pytest.mark.parametrize("decoder", DECODERS)
@given(order=st.permutations(range(len(NAMES))))
@settings(max_examples=10)
def test_the_order_of_the_genres_changes_no_score(decoder: SummedDecoder, order: list[int]) -> None:
    again = SONGS.reordered(order)
    np.testing.assert_array_equal(
        score(*again.tables(decoder), renumbered(ALL[:, order])), score(*SONGS.tables(decoder), ALL)
    )


@pytest.mark.parametrize("decoder", DECODERS)
def test_single_genres_are_the_flat_net_and_one_group_is_its_probe(decoder: SummedDecoder) -> None:
    found = right_songs(*SONGS.tables(decoder), ALL[[0, -1]])
    np.testing.assert_array_equal(found[0], SONGS.p_probe[-1].argmax(axis=1) == SONGS.true_idx)
    np.testing.assert_array_equal(found[1], SONGS.p_flat.argmax(axis=1) == SONGS.true_idx)


def test_values_are_compared_in_float64() -> None:
    value = np.array([[0.0], [0.5], [0.5 + 1e-15], [1.0]])
    right = np.array([[False], [False], [True], [False]])
    assert score(value, right, set_partitions(2)).tolist() == [0, 1]


def test_the_empty_set_never_wins() -> None:
    value, right = -np.ones((4, 3)), np.zeros((4, 3), bool)
    right[0] = True
    for anything in (9.0, np.nan):
        value[0] = anything
        assert score(value, right, set_partitions(2)).tolist() == [0, 0]
        assert not right_songs(value, right, set_partitions(2)).any()


@pytest.mark.parametrize("sizes", [(3, 2, 2), (4, 2, 2), (4, 4, 2, 1)])
def test_keys_are_wide_enough_for_their_subsets(sizes: tuple[int, ...]) -> None:
    n_genres = sum(sizes)
    value = np.random.default_rng(0).permuted(np.tile(np.arange(2**n_genres), (9, 1)), axis=1).T
    right = value % 3 == 0
    partitions = random_of_sizes(sizes, 20, np.random.default_rng(1))
    groups = [[[g for g in range(n_genres) if row[g] == i] for i in range(len(sizes))] for row in partitions]
    expected = [n_right_of_largest(value.tolist(), right.tolist(), each) for each in groups]
    assert score(value, right, partitions).tolist() == expected


def test_subset_mass_is_the_sum_over_its_genres() -> None:
    mass = subset_mass(SONGS.p_flat)
    for subset in range(64):
        for song in range(3):
            expected = math.fsum(float(SONGS.p_flat[song, g]) for g in range(6) if subset >> g & 1)
            assert mass[subset, song] == pytest.approx(expected, abs=1e-15)
    np.testing.assert_allclose(mass + mass[::-1], 1.0)


def test_a_choice_outside_its_subset_is_never_right() -> None:
    value, right = tables([[0.75, 0.25]], [[1], [1], [1], [1]], [[1], [1], [1], [1]], [1], "hard")
    assert value.tolist() == [[0], [0.75], [0.25], [1]]
    assert right.tolist() == [[False], [False], [True], [True]]


def test_tables_of_other_shapes_are_refused() -> None:
    top, choice = np.ones((4, 1)), np.zeros((4, 1), int)
    for bad in ((top[:3], choice, [0]), (top, choice.T, [0]), (top, choice, [0, 1])):
        with pytest.raises(ValueError, match=r"1 songs must be \(subset, song\) = \(4, 1\), found largest"):
            tables([[0.5, 0.5]], *bad, "hard")
    with pytest.raises(ValueError, match=r"over 3 genres must be \(subset, song\) with 8 subsets, found \(4, 1\)"):
        score(top, top, set_partitions(3))
    with pytest.raises(ValueError, match=r"with 4 subsets, found \(4, 1\) and \(4, 2\)"):
        right_songs(top, np.ones((4, 2)), set_partitions(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        score(np.array([[0], [1], [bad], [1]]), np.ones((4, 1)), set_partitions(2))


@given(st.integers(0, 10_000), st.integers(1, 3))
@settings(max_examples=20)
def test_excess_is_excess_within_of_every_partition(seed: int, n_levels: int) -> None:
    c = np.random.default_rng(seed).integers(0, n_levels, (5, 5))
    labels, partitions = Labels(NAMES[:5]), set_partitions(5)
    expected = [excess_within(c, labels, to_groups(row, labels)) for row in partitions]
    np.testing.assert_allclose(excess(similarity(c), partitions), expected, atol=1e-12)


def test_excess_of_a_confusion_without_mistakes_is_zero() -> None:
    assert excess(np.zeros((6, 6)), ALL).tolist() == [0.0] * len(ALL)
    assert excess(np.zeros((1, 1)), set_partitions(1)).tolist() == [0.0]


def test_excess_of_many_genres() -> None:
    labels = Labels(tuple(f"{i:03}" for i in range(163)))
    c = np.random.default_rng(2).random((163, 163))
    partitions = random_of_sizes((100, 40, 23), 3, np.random.default_rng(0))
    expected = [excess_within(c, labels, to_groups(row, labels)) for row in partitions]
    np.testing.assert_allclose(excess(similarity(c), partitions), expected, atol=1e-12)


def test_excess_needs_a_row_a_genre() -> None:
    with pytest.raises(ValueError, match=r"6 genres must be square over them, found shape \(5, 5\)"):
        excess(np.zeros((5, 5)), ALL)


def test_planted_groups_have_the_largest_excess() -> None:
    groups = (("blues", "country"), ("classical", "jazz"), ("disco", "hiphop"))
    planted = of_groups(groups, LABELS)
    alike = similarity((planted[:, None] == planted) + 0.1)
    assert to_groups(ALL[best(excess(alike, ALL), ALL)], LABELS) == groups


def test_the_best_is_the_largest_score() -> None:
    assert all(best(np.arange(len(ALL)) == i, ALL) == i for i in range(len(ALL)))


def test_of_equally_good_ones_the_fewest_specialists_are_best() -> None:
    assert best(np.zeros(len(ALL)), ALL) == len(ALL) - 1
    rows = renumbered([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 2], [0, 1, 2, 3]])
    assert best([2, 2, 2, 1], rows) == 1
    assert best([2, 1, 2, 1], rows) == 2
    assert best([2, 1, 1, 1], rows) == 0


def test_scores_that_rounding_parts_are_equally_good() -> None:
    rows = renumbered([[0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 2]])
    assert best([0.3, 0.1 + 0.2, 0.3 - 1e-9], rows) == 1


@given(st.permutations(range(5)), st.sets(st.integers(0, 51), min_size=1, max_size=8))
def test_ties_do_not_depend_on_the_order_of_the_labels(order: list[int], tied: set[int]) -> None:
    partitions, labels = set_partitions(5), Labels(NAMES[:5])
    scores = np.isin(np.arange(len(partitions)), list(tied))
    reordered = Labels(tuple(NAMES[i] for i in order))
    expected = best(scores, partitions, labels)
    assert best(scores, renumbered(partitions[:, order]), reordered) == expected
