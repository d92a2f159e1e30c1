import itertools
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import cut_tree, dendrogram, is_valid_linkage

from hgenre.errors import GroupCountError, TreeError
from hgenre.grouping.linkage import (
    LinkageMethod,
    centroid_distance,
    distance_of,
    linkage_groups,
    linkage_tree,
    weight_distance,
)
from hgenre.labels import Labels
from tests.oracles import agglomerated

LABELS = Labels(("jazz", "rock", "blues", "pop", "metal", "folk", "disco"))
METHODS: tuple[LinkageMethod, ...] = get_args(LinkageMethod)


def drawn(seed: int) -> np.ndarray:
    """Distances (genre, genre) that are no Euclidean ones."""
    d = np.random.default_rng(seed).random((7, 7))
    return (d + d.T) * ~np.eye(7, dtype=bool)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000), n_groups=st.integers(1, 7), euclidean=st.booleans())
@settings(max_examples=25, deadline=None)
def test_groups_agree_with_joining_by_hand(method: LinkageMethod, seed: int, n_groups: int, euclidean: bool) -> None:
    d = centroid_distance(np.random.default_rng(seed).normal(size=(7, 3))) if euclidean else drawn(seed)
    found = {frozenset(map(LABELS.index, group)) for group in linkage_groups(d, LABELS, n_groups, method)}
    assert found == agglomerated(d, n_groups, method)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 10_000), order=st.permutations(range(7)))
@settings(max_examples=15, deadline=None)
def test_a_dendrogram_is_over_label_indices(method: LinkageMethod, seed: int, order: list[int]) -> None:
    d = drawn(seed)
    tree = linkage_tree(d, LABELS, method)
    assert is_valid_linkage(tree.merges)
    assert dendrogram(tree.merges, no_plot=True)["leaves"] == list(tree.leaves)
    for n_groups in range(1, 8):
        cut = cut_tree(tree.merges, n_groups)[:, 0]
        groups = {tuple(g for g, at in zip(LABELS, cut, strict=True) if at == i) for i in range(n_groups)}
        assert groups == set(linkage_groups(d, LABELS, n_groups, method))
    shuffled = Labels(tuple(LABELS.genres[i] for i in order))
    again = linkage_tree(d[np.ix_(order, order)], shuffled, method)
    assert [shuffled.genres[i] for i in again.leaves] == [LABELS.genres[i] for i in tree.leaves]
    np.testing.assert_array_equal(again.merges[:, 2:], tree.merges[:, 2:])


@given(st.integers(0, 10_000))
@settings(max_examples=15, deadline=None)
def test_neighbours_among_the_leaves_are_as_near_as_the_tree_allows(seed: int) -> None:
    d = drawn(seed)
    tree = linkage_tree(d, LABELS, "average")

    def orders(at: int) -> list[list[int]]:
        if at < 7:
            return [[at]]
        a, b = (orders(int(child)) for child in tree.merges[at - 7, :2])
        return [x + y for left, right in ((a, b), (b, a)) for x in left for y in right]

    def length(order: list[int]) -> float:
        return sum(d[i, j] for i, j in itertools.pairwise(order))

    assert length(list(tree.leaves)) == pytest.approx(min(map(length, orders(12))))


def test_distance_of_is_empty_where_genres_are_most_alike() -> None:
    alike = np.array([[0, 0.3, 0.1], [0.3, 0, 0], [0.1, 0, 0]])
    np.testing.assert_allclose(distance_of(alike), [[0, 0, 0.2], [0, 0, 0.3], [0.2, 0.3, 0]])


def test_centroid_distance_is_euclidean() -> None:
    vectors = np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 0.0]])
    np.testing.assert_allclose(centroid_distance(vectors), [[0, 5, 3], [5, 0, 4], [3, 4, 0]])


def test_weight_distance_does_not_see_how_long_a_row_is() -> None:
    rows = np.array([[2.0, 0.0], [0.0, 5.0], [1e-3, 0.0], [0.0, 0.0]])
    square = np.array([[0, 2, 0, 1], [2, 0, 2, 1], [0, 2, 0, 1], [1, 1, 1, 0]])
    np.testing.assert_allclose(weight_distance(rows), np.sqrt(square))


@pytest.mark.parametrize(
    ("distance", "sentence"),
    [
        (np.zeros((6, 6)), r"distances of 7 genres must be square over them, found shape \(6, 6\)"),
        (np.full((7, 7), np.nan), "the distances between genres hold NaN, infinite or negative values"),
        (-np.ones((7, 7)), "the distances between genres hold NaN, infinite or negative values"),
        (np.triu(np.ones((7, 7))), "the distances between genres differ by direction, need symmetric ones"),
    ],
)
def test_impossible_distances_are_refused(distance: np.ndarray, sentence: str) -> None:
    with pytest.raises(TreeError, match=sentence):
        linkage_groups(distance, LABELS, 3, "average")
    with pytest.raises(TreeError, match=sentence):
        linkage_tree(distance, LABELS, "average")


def test_impossible_vectors_are_refused() -> None:
    with pytest.raises(TreeError, match=r"need a vector each, \(genre, feature\), found shape \(7,\)"):
        centroid_distance(np.zeros(7))
    with pytest.raises(TreeError, match="vectors hold NaN or infinite values; did the flat model's training diverge"):
        weight_distance(np.array([[1.0, np.nan], [0.0, 1.0]]))


def test_an_impossible_group_count_names_the_possible_ones() -> None:
    with pytest.raises(GroupCountError, match="cannot make 8 groups of 7 genres, need 1 to 7"):
        linkage_groups(drawn(0), LABELS, 8, "ward")


def test_one_genre_has_no_dendrogram() -> None:
    with pytest.raises(TreeError, match="a dendrogram needs at least 2 genres, found 1"):
        linkage_tree([[0.0]], Labels(("jazz",)), "average")
