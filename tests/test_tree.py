"""Genre trees: how they are written, checked, drawn and kept."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from hgenre.errors import TreeError
from hgenre.labels import Labels
from hgenre.tree.draw import draw_tree
from hgenre.tree.posterior import routing_nodes
from hgenre.tree.spec import ROOT, Node, TreeSpec, child_name, flat_tree, tree_from_groups, tree_from_json, tree_to_json
from tests.oracles import genre_paths
from tests.small_trees import CHAINED, FLAT, LABELS, OVERLAPPING, PLAIN, RAGGED, genre_trees

AB = Labels(("a", "b"))


def test_tables_lists_and_mixtures_say_the_same() -> None:
    labels = Labels(tuple("abcd"))
    wanted = TreeSpec(labels, Node(ROOT, (Node("x", ("a", Node("y", ("b", "c")))), "d")))
    for groups in (
        [{"x": ["a", {"y": ["b", "c"]}]}, "d"],
        [[{"x": ["a", {"y": ["b", "c"]}]}], ["d"]],
        [{"x": [["a"], {"y": [["b"], "c"]}]}, "d"],
    ):
        assert tree_from_groups(labels, groups) == wanted


def test_table_of_tables_nests_groups() -> None:
    tree = tree_from_groups(LABELS, {"x": {"y": ["a", "b"], "z": ["c"]}, "w": ["d", "e", "f"]})
    assert [node.name for node in tree.nodes] == [ROOT, "x", "y", "z", "w"]
    assert tree.nodes[1].children == (Node("y", ("a", "b")), Node("z", ("c",)))


def test_a_table_may_name_one_genre_without_a_list() -> None:
    assert tree_from_groups(AB, {"x": "a", "y": "b"}).root.children == (Node("x", ("a",)), Node("y", ("b",)))


def test_list_of_all_genres_is_the_flat_tree() -> None:
    assert tree_from_groups(LABELS, list("abcdef")) == flat_tree(LABELS) == FLAT
    assert FLAT.is_flat
    assert not PLAIN.is_flat


@pytest.mark.parametrize(
    ("groups", "problems"),
    [
        ({"x": ["a", "b", "tango"]}, ["group 'x' holds unknown genre 'tango'; known are a, b"]),
        ({"x": ["a"]}, ["genre 'b' is in no group"]),
        ({"x": ["a", "b"], "y": []}, ["group 'y' is empty"]),
        ({}, ["group 'root' is empty", "genre 'a' is in no group", "genre 'b' is in no group"]),
        ({"x": ["a", "b", "a"]}, ["genre 'a' stands twice in group 'x'"]),
        ([{"x": ["a"]}, {"x": ["b"]}], ["group 'x' stands twice"]),
        ({"x": {"root": ["a", "b"]}}, ["group 'root' stands twice"]),
        ({"a": ["a", "b"]}, ["group 'a' has the name of a genre"]),
        ({"x/y": ["a", "b"]}, ["group 'x/y' needs another name: not empty, without a slash"]),
        ({"": ["a", "b"]}, ["group '' needs another name"]),
        ({"flat": ["a", "b"]}, ["group 'flat' needs another name: not empty, without a slash, and not 'flat'"]),
        ({"x": ["a", 7], "y": None}, ["groups.x[1]: found 7", "groups.y: found None"]),
        ({"x": ["tango"], "y": []}, ["unknown genre 'tango'", "group 'y' is empty", "'a' is in no group"]),
    ],
)
def test_every_mistake_in_the_groups_is_named(groups: Any, problems: list[str]) -> None:
    with pytest.raises(TreeError) as caught:
        tree_from_groups(AB, groups)
    assert str(caught.value).startswith("not a genre tree: ")
    for problem in problems:
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ((), "the list of genres is empty"),
        (("a", "b", "a"), "genre 'a' stands twice"),
        (("a", " "), "a genre has an empty name"),
    ],
)
def test_label_lists_with_mistakes_are_refused(names: tuple[str, ...], problem: str) -> None:
    with pytest.raises(TreeError, match=problem):
        Labels(names)


def test_labels_know_their_order() -> None:
    labels = Labels.from_names(["rock", "blues", "rock", "jazz"])
    assert list(labels) == ["blues", "jazz", "rock"]
    assert [labels.index(genre) for genre in labels] == [0, 1, 2]
    with pytest.raises(TreeError, match="'pop' is not among blues, jazz, rock"):
        labels.index("pop")


@given(genre_trees())
@settings(max_examples=60)
def test_tree_survives_json(tree: TreeSpec) -> None:
    again = tree_from_json(tree.labels, json.loads(json.dumps(tree_to_json(tree))))
    assert again == tree
    assert again.nodes == tree.nodes


@pytest.mark.parametrize(
    "value",
    [
        None,
        "a",
        [],
        3.5,
        {},
        {"name": "root"},
        {"name": "root", "children": "ab"},
        {"name": 1, "children": ["a", "b"]},
        {"name": "root", "children": ["a", "b"], "extra": 1},
        {"name": "root", "children": ["a", "b", None]},
        {"name": "root", "children": [["a", "b"]]},
    ],
)
def test_malformed_json_is_no_tree(value: Any) -> None:
    with pytest.raises(TreeError, match=r"needed a (genre name|node)"):
        tree_from_json(AB, value)


def test_json_with_wrong_genres_is_no_tree() -> None:
    with pytest.raises(TreeError, match="unknown genre 'c'"):
        tree_from_json(AB, {"name": "root", "children": ["a", "b", "c"]})


@given(genre_trees())
@settings(max_examples=60)
def test_a_tree_knows_its_own_shape(tree: TreeSpec) -> None:
    assert sorted(node.name for level in tree.levels for node in level) == sorted(node.name for node in tree.nodes)
    assert [list(level) for level in tree.levels] == _by_depth(tree.root)
    assert set(tree.net_nodes) == {node for node in tree.nodes if len(node.children) > 1}
    paths = [genre for _, genre in genre_paths(tree.root)]
    assert tree.is_disjoint == (len(paths) == len(tree.labels))
    for node in tree.nodes:
        below = [genre for _, genre in genre_paths(node)]
        assert node.genres == tuple(dict.fromkeys(below))
        foreign = [genre for genre in tree.labels if genre not in below]
        assert all(node.home_child_of(tree.labels)[tree.labels.index(genre)] == -1 for genre in foreign)
        for genre in node.genres:
            home = next(steps[0][1] for steps, found in genre_paths(node) if found == genre)
            assert node.home_child_idx(genre) == home == node.home_child_of(tree.labels)[tree.labels.index(genre)]


def _by_depth(root: Node) -> list[list[Node]]:
    levels, level = [], [root]
    while level:
        levels.append(level)
        level = [child for node in level for child in node.children if isinstance(child, Node)]
    return levels


def test_home_of_a_foreign_genre_is_refused() -> None:
    left = PLAIN.nodes[1]
    with pytest.raises(TreeError, match="'f' cannot be reached from node 'left'"):
        left.home_child_idx("f")


def test_nodes_that_route_have_a_choice_with_a_node_in_it() -> None:
    assert [node.name for node in routing_nodes(RAGGED)] == [ROOT, "deep", "deeper"]
    assert [node.name for node in routing_nodes(OVERLAPPING)] == [ROOT, "two"]
    assert [node.name for node in routing_nodes(CHAINED)] == ["only", "link"]
    assert routing_nodes(FLAT) == ()
    assert child_name("a") == "a"
    assert child_name(PLAIN.nodes[1]) == "left"


def test_drawing_shows_nodes_in_brackets_and_genres_bare() -> None:
    assert draw_tree(RAGGED).splitlines() == [
        "root",
        "├── a",
        "├── [deep]",
        "│   ├── b",
        "│   └── [deeper]",
        "│       ├── c",
        "│       └── [deepest]",
        "│           ├── d",
        "│           └── e",
        "└── [alone]",
        "    └── f",
    ]


@given(genre_trees())
@settings(max_examples=20)
def test_drawing_has_a_line_for_every_node_and_listing(tree: TreeSpec) -> None:
    lines = draw_tree(tree).splitlines()
    listings = [c for node in tree.nodes for c in node.children]
    assert len(lines) == 1 + len(listings)
    assert [line.split("── ")[-1].strip("[]") for line in lines] == [ROOT, *_names_in_order(tree.root)]


def _names_in_order(node: Node) -> list[str]:
    names = []
    for child in node.children:
        names += [child_name(child), *(_names_in_order(child) if isinstance(child, Node) else [])]
    return names
