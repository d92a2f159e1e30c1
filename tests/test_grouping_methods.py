from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import GroupCountError, TreeError
from hgenre.grouping.groups import Groups
from hgenre.grouping.methods import METHODS, Method, choose_n_groups, derive
from hgenre.labels import Labels
from tests.planted_confusions import EIGHT, LABELS, PLANTED, planted, planted_vectors

SHAPES: tuple[tuple[Labels, Groups], ...] = (
    (LABELS, (("blues", "country", "rock"), ("classical", "jazz"), ("disco", "hiphop", "metal", "pop", "reggae"))),
    (LABELS, (LABELS.genres[:5], LABELS.genres[5:])),
    (LABELS, (LABELS.genres[:6], LABELS.genres[6:8], LABELS.genres[8:])),
    (LABELS, tuple((LABELS.genres[i], LABELS.genres[i + 5]) for i in range(5))),
    (EIGHT, (EIGHT.genres[:3], EIGHT.genres[3:6], EIGHT.genres[6:])),
    (EIGHT, (EIGHT.genres[::2], EIGHT.genres[1::2])),
)


def derived(method: Method, labels: Labels, groups: Groups, n_groups: int, seed: int) -> Groups:
    """What a method makes of planted evidence; weights have lengths that say nothing."""
    vectors = planted_vectors(labels, groups, seed)
    lengths = np.random.default_rng(seed).uniform(0.2, 5, (len(labels), 1))
    return derive(method, planted(labels, groups, seed), labels, n_groups, centroids=vectors, weights=vectors * lengths)


@pytest.mark.parametrize(("labels", "groups"), SHAPES)
@pytest.mark.parametrize("method", METHODS)
def test_planted_groups_are_recovered(method: Method, labels: Labels, groups: Groups) -> None:
    for seed in range(6):
        assert derived(method, labels, groups, len(groups), seed) == groups


@pytest.mark.parametrize("method", [m for m in METHODS if m != "kang-lin"])
def test_a_planted_genre_alone_is_recovered(method: Method) -> None:
    assert all(derived(method, LABELS, PLANTED, 4, seed) == PLANTED for seed in range(6))


@pytest.mark.parametrize("method", METHODS)
def test_the_planted_group_count_is_chosen(method: Method) -> None:
    for labels, groups in (SHAPES[0], SHAPES[5]):
        c, vectors = planted(labels, groups, 3), planted_vectors(labels, groups, 3)
        assert choose_n_groups(method, c, labels, centroids=vectors, weights=vectors) == len(groups)


def made(method: Method, evidence: dict[str, np.ndarray], labels: Labels, n_groups: int) -> Groups | str:
    """The groups, or the message where a method does not come to so many."""
    try:
        return derive(
            method,
            evidence["confusion"],
            labels,
            n_groups,
            centroids=evidence["centroids"],
            weights=evidence["weights"],
        )
    except GroupCountError as refused:
        return str(refused)


@pytest.mark.parametrize("method", METHODS)
@given(
    order=st.permutations(range(8)), n_groups=st.integers(1, 8), seed=st.integers(0, 10_000), n_levels=st.integers(2, 9)
)
@settings(max_examples=25, deadline=None)
def test_the_order_of_the_labels_changes_only_the_order_of_the_groups(
    method: Method, order: list[int], n_groups: int, seed: int, n_levels: int
) -> None:
    # Few levels make many ties, which must not be broken by position.
    rng = np.random.default_rng(seed)
    evidence = {
        "confusion": rng.integers(0, n_levels, (8, 8)) + np.eye(8),
        "centroids": rng.integers(0, n_levels, (8, 2)),
        "weights": rng.normal(0, 1, (8, 3)),
    }
    evidence["confusion"][0, 1] += 1
    shuffled = Labels(tuple(EIGHT.genres[i] for i in order))
    there = {name: matrix[order] for name, matrix in evidence.items()}
    there["confusion"] = there["confusion"][:, order]
    groups, again = made(method, evidence, EIGHT, n_groups), made(method, there, shuffled, n_groups)
    if isinstance(groups, str):
        assert again == groups
        return
    assert len(groups) == n_groups
    assert sorted(genre for group in groups for genre in group) == sorted(EIGHT)
    assert {frozenset(g) for g in again} == {frozenset(g) for g in groups}
    for group in again:
        assert list(group) == sorted(group, key=shuffled.index)
    firsts = [shuffled.index(group[0]) for group in again]
    assert firsts == sorted(firsts)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_refuses_impossible_evidence(method: Method) -> None:
    vectors = np.eye(10)
    for n_groups in (0, 11):
        with pytest.raises(GroupCountError, match=f"cannot make {n_groups} groups of 10 genres, need 1 to 10"):
            derive(method, np.ones((10, 10)), LABELS, n_groups, centroids=vectors, weights=vectors)
    with pytest.raises(TreeError, match=r"square over them, found shape \(9, 9\)|vectors hold NaN"):
        derive(method, np.eye(9), LABELS, 3, centroids=vectors * np.nan, weights=vectors * np.nan)


@pytest.mark.parametrize("method", ["spectral", "hd-cnn"])
def test_a_graph_needs_mistakes(method: str) -> None:
    with pytest.raises(TreeError, match="holds no mistakes, so nothing ties or parts its genres; give more songs, or"):
        derive(cast(Method, method), np.eye(10), LABELS, 3)


def test_evidence_that_a_method_needs_is_asked_for() -> None:
    with pytest.raises(TreeError, match="centroids groups genres by their mean embeddings, which are not given"):
        derive("centroids", np.eye(10), LABELS, 3, weights=np.eye(10))
    with pytest.raises(TreeError, match="nbdt groups genres by the last layer's weights, which are not given"):
        choose_n_groups("nbdt", np.eye(10), LABELS, centroids=np.eye(10))
