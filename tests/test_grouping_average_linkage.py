import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import TreeError
from hgenre.grouping.average_linkage import choose_n_groups, derive_groups
from hgenre.grouping.confusion import similarity
from hgenre.labels import Labels
from tests.oracles import agglomerated
from tests.planted_confusions import LABELS, PLANTED, planted


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_planted_groups_are_recovered(seed: int) -> None:
    assert derive_groups(planted(LABELS, PLANTED, seed), LABELS, 4) == PLANTED


@pytest.mark.parametrize(
    "groups", [PLANTED, (LABELS.genres[:5], LABELS.genres[5:]), (*PLANTED[:2], PLANTED[2] + PLANTED[3])]
)
def test_the_planted_group_count_is_chosen(groups: tuple[tuple[str, ...], ...]) -> None:
    assert all(choose_n_groups(planted(LABELS, groups, seed), LABELS) == len(groups) for seed in range(10))


@given(st.integers(0, 10_000), st.integers(1, 7))
@settings(max_examples=40, deadline=None)
def test_groups_agree_with_linkage_by_hand(seed: int, n_groups: int) -> None:
    labels = Labels(tuple("abcdefg"))
    c = np.random.default_rng(seed).random((7, 7))
    alike = similarity(c)
    expected = agglomerated(alike.max() - alike, n_groups, "average")
    found = {frozenset(labels.index(g) for g in group) for group in derive_groups(c, labels, n_groups)}
    assert found == expected


@given(st.permutations(range(10)), st.integers(1, 10), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_labels_changes_only_the_order_of_the_groups(
    order: list[int], n_groups: int, levels: int
) -> None:
    # Few levels make many ties, which must not be broken by position.
    c = np.random.default_rng(levels).integers(0, levels + 1, (10, 10)).astype(float)
    shuffled = Labels(tuple(LABELS.genres[i] for i in order))
    groups = derive_groups(c, LABELS, n_groups)
    again = derive_groups(c[np.ix_(order, order)], shuffled, n_groups)
    assert {frozenset(g) for g in again} == {frozenset(g) for g in groups}
    for group in again:
        assert list(group) == sorted(group, key=shuffled.index)
    firsts = [shuffled.index(group[0]) for group in again]
    assert firsts == sorted(firsts)


@given(st.integers(0, 1000), st.integers(1, 10))
@settings(max_examples=25, deadline=None)
def test_every_genre_stands_in_exactly_one_of_n_groups(seed: int, n_groups: int) -> None:
    groups = derive_groups(np.random.default_rng(seed).integers(0, 2, (10, 10)), LABELS, n_groups)
    assert len(groups) == n_groups
    assert sorted(itertools.chain(*groups)) == list(LABELS)


def test_a_confusion_without_mistakes_still_gives_groups() -> None:
    assert len(derive_groups(np.eye(10), LABELS, 3)) == 3
    assert choose_n_groups(np.eye(10), LABELS) == 2


def test_one_genre_is_one_group() -> None:
    assert derive_groups([[3]], Labels(("jazz",)), 1) == (("jazz",),)


@pytest.mark.parametrize("n_groups", [0, 11, -1])
def test_an_impossible_group_count_names_the_possible_ones(n_groups: int) -> None:
    with pytest.raises(TreeError, match=f"cannot make {n_groups} groups of 10 genres, need 1 to 10"):
        derive_groups(np.eye(10), LABELS, n_groups)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_a_confusion_with_impossible_values_is_refused(bad: float) -> None:
    c = np.eye(10)
    c[0, 1] = bad
    with pytest.raises(TreeError, match="NaN, infinite or negative"):
        derive_groups(c, LABELS, 2)


def test_a_confusion_over_other_genres_is_refused() -> None:
    with pytest.raises(TreeError, match=r"10 genres must be square over them, found shape \(9, 9\)"):
        derive_groups(np.eye(9), LABELS, 2)


def test_two_genres_have_no_group_count_to_choose() -> None:
    with pytest.raises(TreeError, match="need at least 3 genres, found 2"):
        choose_n_groups(np.eye(2), Labels(("jazz", "rock")))
