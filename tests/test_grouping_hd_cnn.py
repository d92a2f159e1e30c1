import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import GroupCountError, TreeError
from hgenre.grouping.hd_cnn import hd_cnn_groups, overlapping_groups
from hgenre.labels import Labels
from tests.planted_confusions import LABELS, planted

HALVES = (LABELS.genres[:5], LABELS.genres[5:])
PAIRS = tuple((LABELS.genres[i], LABELS.genres[i + 5]) for i in range(5))
ABCD = Labels(("a", "b", "c", "d"))


@pytest.mark.parametrize("groups", [HALVES, PAIRS])
def test_affinity_propagation_finds_the_planted_groups(groups: tuple[tuple[str, ...], ...]) -> None:
    assert all(hd_cnn_groups(planted(LABELS, groups, seed), LABELS, len(groups)) == groups for seed in range(8))


def test_two_or_three_genres_have_groups_too() -> None:
    assert hd_cnn_groups([[5, 1], [1, 5]], Labels(("a", "b")), 2) == (("a",), ("b",))
    assert hd_cnn_groups([[5, 3, 0], [3, 5, 1], [1, 0, 5]], Labels(("a", "b", "c")), 2) == (("a", "b"), ("c",))


def test_a_count_that_no_preference_leads_to_is_told() -> None:
    # c and d lie in the same place, so that no preference parts them.
    c = [[3, 0, 0, 0], [0, 3, 0, 0], [0, 1, 3, 0], [0, 1, 0, 3]]
    with pytest.raises(
        GroupCountError,
        match="does not come to 3 groups of these genres, only to 2; ask for another count, or use another method",
    ):
        hd_cnn_groups(c, ABCD, 3)


def test_a_genre_joins_the_groups_that_its_songs_stray_into() -> None:
    p = np.array([[0.7, 0.2, 0.1, 0.0], [0.1, 0.85, 0.0, 0.05], [0.0, 0.0, 0.6, 0.4], [0.06, 0.05, 0.3, 0.59]])
    groups = (("a", "b"), ("c", "d"))
    # With two groups and gamma 5 a tenth of the songs is enough: a gives c and d 0.1, b 0.05, d gives a and b 0.11.
    assert overlapping_groups(p, ABCD, groups) == (("a", "b", "d"), ("a", "c", "d"))
    assert overlapping_groups(p * 20, ABCD, groups) == (("a", "b", "d"), ("a", "c", "d"))
    assert overlapping_groups(p, ABCD, groups, gamma=1) == groups
    assert overlapping_groups(p, ABCD, groups[::-1]) == (("a", "c", "d"), ("a", "b", "d"))


@given(st.integers(0, 10_000), st.floats(0.5, 20))
@settings(max_examples=40, deadline=None)
def test_overlap_is_what_its_definition_says(seed: int, gamma: float) -> None:
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(10, 0.3), size=10)
    for own, joined in zip(PAIRS, overlapping_groups(p, LABELS, PAIRS, gamma), strict=True):
        on_group = {j: sum(p[LABELS.index(j), LABELS.index(g)] for g in own) for j in LABELS}
        assert set(joined) == set(own) | {j for j, u in on_group.items() if u >= 1 / (gamma * 5)}


def test_only_disjoint_groups_can_be_made_to_overlap() -> None:
    with pytest.raises(TreeError, match="genre 'b' stands in 2 groups, disjoint ones are needed"):
        overlapping_groups(np.eye(4), ABCD, (("a", "b"), ("b", "c", "d")))
