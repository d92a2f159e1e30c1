import numpy as np
import pytest

from hgenre.errors import GroupCountError, TreeError
from hgenre.grouping.groups import Groups, excess_within, group_of_genre, n_groups_of_largest_excess, tree_of
from hgenre.labels import Labels
from hgenre.tree.spec import genres_under, tree_from_groups, tree_from_json, tree_to_json
from tests.planted_confusions import LABELS, PLANTED, planted

ABCD = Labels(("a", "b", "c", "d"))


def test_excess_within_is_zero_for_mistakes_that_know_no_groups() -> None:
    assert excess_within(np.ones((10, 10)), LABELS, PLANTED) == pytest.approx(0.0, abs=1e-12)


def test_excess_within_of_mistakes_that_stay_inside() -> None:
    c = np.kron(np.eye(2), np.ones((2, 2)))
    assert excess_within(c, ABCD, (("a", "b"), ("c", "d"))) == pytest.approx(1 - 4 / 12)
    assert excess_within(c, ABCD, (("a", "c"), ("b", "d"))) == pytest.approx(0 - 4 / 12)


def test_excess_within_needs_groups_that_hold_every_genre() -> None:
    with pytest.raises(TreeError, match="genre 'd' is in no group"):
        excess_within(np.ones((4, 4)), ABCD, (("a", "b"), ("c",)))


def test_the_group_of_a_genre_is_its_position() -> None:
    assert group_of_genre((("d", "a"), ("c", "b")), ABCD).tolist() == [0, 1, 1, 0]


def test_groups_over_other_genres_name_every_one_of_them() -> None:
    with pytest.raises(TreeError) as refused:
        group_of_genre((("a", "b"), ("b", "e")), ABCD)
    assert refused.value.problems == (
        "genre 'b' stands in 2 groups, disjoint ones are needed",
        "genre 'c' is in no group",
        "genre 'd' is in no group",
        "genre 'e' is not among a, b, c, d",
    )


def test_a_count_that_cannot_be_made_is_passed_over() -> None:
    c = planted(LABELS, PLANTED, 0)

    def derive(n_groups: int) -> Groups:
        if n_groups == 4:
            raise GroupCountError(["not four"])
        return (*PLANTED[: n_groups - 1], tuple(g for group in PLANTED[n_groups - 1 :] for g in group))

    assert n_groups_of_largest_excess(c, LABELS, lambda n: derive(min(n, 3))) == 3
    with pytest.raises(GroupCountError, match="none of 2 to 9 groups can be made of this evidence; use another method"):
        n_groups_of_largest_excess(c, LABELS, lambda n: derive(4))


def test_the_tree_of_groups_has_a_node_a_group_and_single_genres_under_the_root() -> None:
    labels = Labels(("rock", "r&b/soul", "folk", "jazz"))
    tree = tree_of((("rock", "jazz"), ("r&b/soul", "folk")), labels)
    assert tree == tree_from_groups(labels, {"rock+jazz": ["rock", "jazz"], "r&b-soul+folk": ["r&b/soul", "folk"]})
    assert tree_of((("rock", "folk"), ("r&b/soul",), ("jazz",)), labels).root.children[1:] == ("r&b/soul", "jazz")
    assert tree_of(tuple((genre,) for genre in labels), labels).is_flat
    assert [node.children for node in tree_of((labels.genres,), labels).nodes[1:]] == [labels.genres]


@pytest.mark.parametrize(
    ("genres", "groups"),
    [
        (("a", "a+b", "b+c", "c"), (("a", "b+c"), ("a+b", "c"))),
        (("a-b", "a/b", "c-d", "c/d"), (("a-b", "c-d"), ("a/b", "c/d"))),
        (("folk", "pop", "folk+pop", "folk+pop'"), (("folk", "pop"), ("folk+pop",), ("folk+pop'",))),
    ],
)
def test_groups_of_one_name_are_told_apart(genres: tuple[str, ...], groups: Groups) -> None:
    """A genre may have a plus sign or a slash of its own."""
    labels = Labels(genres)
    tree = tree_of(groups, labels)
    assert [genres_under(child) for child in tree.root.children] == list(groups)
    assert tree_from_json(labels, tree_to_json(tree)) == tree
