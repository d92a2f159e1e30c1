import itertools
import math
from collections import Counter
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgenre.errors import HgenreError, TreeError
from hgenre.grouping.partitions import (
    MAX_GENRES,
    bell,
    group_masks,
    group_sizes,
    n_of_sizes,
    of_groups,
    random_of_sizes,
    renumbered,
    set_partitions,
    to_groups,
)
from hgenre.labels import Labels
from tests.oracles import groupings

NAMES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal")
LABELS = Labels(NAMES)


def growth_string(groups: list[list[str]], names: tuple[str, ...]) -> tuple[int, ...]:
    ordered = sorted(groups, key=lambda group: min(names.index(genre) for genre in group))
    return tuple(next(i for i, group in enumerate(ordered) if genre in group) for genre in names)


@pytest.mark.parametrize("n", range(1, 8))
def test_set_partitions_are_all_there_are_in_lexicographic_order(n: int) -> None:
    found = set_partitions(n)
    assert found.dtype == np.uint8
    assert list(map(tuple, found.tolist())) == sorted(
        growth_string(groups, NAMES[:n]) for groups in groupings(NAMES[:n])
    )


def test_partitions_go_from_one_group_to_single_genres() -> None:
    found = set_partitions(9)
    assert (found[0] == 0).all()
    assert (found[-1] == np.arange(9)).all()
    assert len(found) == bell(9) == 21147


def test_bell_numbers_follow_their_recurrence() -> None:
    numbers = [bell(n) for n in range(20)]
    assert numbers[0] == 1
    for n in range(19):
        assert numbers[n + 1] == sum(math.comb(n, k) * numbers[k] for k in range(n + 1))
    assert (bell(10), bell(MAX_GENRES)) == (115_975, 678_570)


def test_too_many_genres_to_try_all_groupings_are_told_what_to_do() -> None:
    with pytest.raises(
        HgenreError,
        match=r"12 genres can be grouped in 4213597 ways.*at most 11 genres \(678570 ways\).*average linkage",
    ):
        set_partitions(12)


def test_no_genres_have_no_partitions() -> None:
    with pytest.raises(ValueError, match="at least 1 genre, found 0"):
        set_partitions(0)


def test_masks_and_sizes_are_those_of_the_groups() -> None:
    partitions = set_partitions(6)
    masks, sizes = group_masks(partitions), group_sizes(partitions)
    for row, row_masks, row_sizes in zip(partitions, masks, sizes, strict=True):
        groups = to_groups(row, Labels(NAMES[:6]))
        padding = [0] * (6 - len(groups))
        assert row_masks.tolist() == [sum(2 ** NAMES.index(g) for g in group) for group in groups] + padding
        assert row_sizes.tolist() == sorted(map(len, groups), reverse=True) + padding
    assert masks.dtype == np.int32


def test_masks_need_a_bit_a_genre() -> None:
    assert group_masks(np.arange(31, dtype=np.uint8)[None])[0, -1] == 2**30
    with pytest.raises(ValueError, match="at most 31 genres, found 32"):
        group_masks(np.zeros((1, 32), np.uint8))


@given(st.sampled_from(groupings(NAMES)), st.randoms(use_true_random=False))
def test_groups_in_any_order_are_one_partition(groups: list[list[str]], random: Random) -> None:
    shuffled = [random.sample(group, len(group)) for group in random.sample(groups, len(groups))]
    row = of_groups(shuffled, LABELS)
    assert tuple(row.tolist()) == growth_string(groups, NAMES)
    assert row.dtype == np.uint8
    back = to_groups(row, LABELS)
    assert {frozenset(group) for group in back} == {frozenset(group) for group in groups}
    assert back == tuple(sorted((tuple(sorted(group)) for group in groups), key=lambda group: group[0]))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ([NAMES, ("jazz",)], "genre 'jazz' stands in 2 groups"),
        ([NAMES[:6]], "genre 'metal' is in no group"),
        ([NAMES, ("polka",)], "genre 'polka' is not among blues, .*, metal"),
    ],
)
def test_groups_that_are_no_partition_are_refused(groups: list[tuple[str, ...]], said: str) -> None:
    with pytest.raises(TreeError, match=said):
        of_groups(groups, LABELS)


def test_empty_groups_are_no_groups() -> None:
    assert of_groups([*[()] * 9, NAMES[:1], (), NAMES[1:]], LABELS).tolist() == [0, 1, 1, 1, 1, 1, 1]


@given(st.permutations(range(5)))
def test_renumbered_columns_are_the_partitions_of_the_reordered_genres(order: list[int]) -> None:
    partitions, labels = set_partitions(5), Labels(NAMES[:5])
    reordered = Labels(tuple(NAMES[i] for i in order))
    for row, again in zip(partitions, renumbered(partitions[:, order]), strict=True):
        assert tuple(again.tolist()) == tuple(of_groups(to_groups(row, labels), reordered).tolist())


@pytest.mark.parametrize("n", range(1, 8))
def test_counts_by_sizes_are_those_of_the_enumeration(n: int) -> None:
    found = Counter(tuple(size for size in row if size) for row in group_sizes(set_partitions(n)).tolist())
    assert {sizes: n_of_sizes(sizes) for sizes in found} == found


def test_counts_by_sizes_are_exact_for_long_lists() -> None:
    assert n_of_sizes((5, 5)) == 126
    assert n_of_sizes((1, 162)) == 163
    assert n_of_sizes((80, 83)) == math.comb(163, 80)
    assert n_of_sizes((2,) * 50) == math.prod(range(1, 100, 2))


@pytest.mark.parametrize("sizes", [(), (3, 0), (-1, 4)])
def test_sizes_without_a_genre_are_refused(sizes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="sizes of at least 1 genre, found"):
        n_of_sizes(sizes)


@pytest.mark.parametrize("sizes", [(5, 5), (2, 2, 2), (1, 4, 1), (1, 1, 1), (6,)])
def test_few_partitions_are_all_taken_in_order_whatever_the_seed(sizes: tuple[int, ...]) -> None:
    every = set_partitions(sum(sizes))
    wanted = np.array(sorted(sizes, reverse=True) + [0] * (sum(sizes) - len(sizes)))
    expected = every[(group_sizes(every) == wanted).all(axis=1)]
    for seed, n_draws in ((0, len(expected)), (1, 1000)):
        np.testing.assert_array_equal(random_of_sizes(sizes, n_draws, np.random.default_rng(seed)), expected)


@pytest.mark.parametrize(("sizes", "n_draws"), [((5, 5), 125), ((4, 3, 3), 200), ((60, 50, 30, 20, 3), 200)])
def test_random_partitions_are_distinct_and_of_the_sizes(sizes: tuple[int, ...], n_draws: int) -> None:
    found = random_of_sizes(sizes, n_draws, np.random.default_rng(3))
    assert found.dtype == np.uint8
    assert len(found) == len(np.unique(found, axis=0)) == n_draws
    np.testing.assert_array_equal(renumbered(found), found)
    assert (group_sizes(found)[:, : len(sizes)] == sorted(sizes, reverse=True)).all()
    np.testing.assert_array_equal(found, random_of_sizes(sizes, n_draws, np.random.default_rng(3)))
    assert (found != random_of_sizes(sizes, n_draws, np.random.default_rng(4))).any()


@pytest.mark.parametrize("sizes", [(2, 2), (2, 1, 1), (3, 2)])
def test_every_pair_of_partitions_is_drawn_equally_often(sizes: tuple[int, ...]) -> None:
    random, n_rounds = np.random.default_rng(5), 3000
    drawn = Counter(tuple(map(tuple, random_of_sizes(sizes, 2, random).tolist())) for _ in range(n_rounds))
    n_pairs = math.perm(n_of_sizes(sizes), 2)
    expected = n_rounds / n_pairs
    assert len(drawn) == n_pairs
    # Five standard deviations of a binomial count.
    assert all(abs(n - expected) < 5 * math.sqrt(expected) for n in drawn.values())


def test_more_genres_than_a_byte_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 256 genres, found 257"):
        random_of_sizes((200, 57), 10, np.random.default_rng(0))


def test_as_many_genres_as_a_byte_numbers_are_numbered() -> None:
    [row] = random_of_sizes((1,) * 256, 10, np.random.default_rng(0))
    assert row.tolist() == list(range(256))
    assert list(itertools.chain(*to_groups(row, Labels(tuple(map(str, range(256))))))) == list(map(str, range(256)))
