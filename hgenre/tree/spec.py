"""The genre tree: which groups there are, and which genres each of them can end in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hgenre.errors import TreeError
from hgenre.labels import Labels

ROOT = "root"


@dataclass(frozen=True)
class Node:
    """An internal node: a group of children, each a genre name or a deeper node. One child needs no net."""

    name: str
    children: tuple[Node | str, ...]

    @property
    def genres(self) -> tuple[str, ...]:
        """Genres that can be reached from here, each once, in order of first listing."""
        found: dict[str, None] = {}
        for child in self.children:
            found.update(dict.fromkeys(genres_under(child)))
        return tuple(found)

    def home_child_idx(self, genre: str) -> int:
        """Index of the first child that lists the genre: its home where groups overlap."""
        for i, child in enumerate(self.children):
            if genre in genres_under(child):
                return i
        raise TreeError([f"genre {genre!r} cannot be reached from node {self.name!r}"])

    def home_child_of(self, labels: Labels) -> np.ndarray:
        """(genre,) ``home_child_idx`` of every genre; -1 where it cannot be reached from here."""
        here = set(self.genres)
        return np.array([self.home_child_idx(genre) if genre in here else -1 for genre in labels])


def genres_under(child: Node | str) -> tuple[str, ...]:
    """Genres a child can end in."""
    return (child,) if isinstance(child, str) else child.genres


def child_name(child: Node | str) -> str:
    """The name of a child, whichever kind it is."""
    return child if isinstance(child, str) else child.name


@dataclass(frozen=True)
class TreeSpec:
    """Nested groups over a label list: any depth, groups may overlap, leaves may stand at different depths.

    Raises:
        TreeError: naming every mistake: a genre that is not in the label list, a genre in no group, an empty group,
            a name used twice, a genre listed twice in one group.
    """

    labels: Labels
    root: Node
    nodes: tuple[Node, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(_preorder(self.root)))
        problems = _mistakes(self)
        if problems:
            raise TreeError(problems)

    @property
    def net_nodes(self) -> tuple[Node, ...]:
        """Nodes with a choice to make, root first: these have nets."""
        return tuple(node for node in self.nodes if len(node.children) > 1)

    @property
    def levels(self) -> tuple[tuple[Node, ...], ...]:
        """Nodes by distance from the root: ``levels[0]`` is the root alone."""
        levels: list[tuple[Node, ...]] = []
        frontier: tuple[Node, ...] = (self.root,)
        while frontier:
            levels.append(frontier)
            frontier = tuple(c for node in frontier for c in node.children if isinstance(c, Node))
        return tuple(levels)

    @property
    def is_flat(self) -> bool:
        return len(self.nodes) == 1

    @property
    def is_disjoint(self) -> bool:
        """True when every genre has exactly one path."""
        return sum(isinstance(c, str) for node in self.nodes for c in node.children) == len(self.labels)


def flat_tree(labels: Labels) -> TreeSpec:
    """The tree without groups: every genre is a child of the root."""
    return TreeSpec(labels, Node(ROOT, tuple(labels)))


def home_path(tree: TreeSpec, genre: str) -> tuple[Node | str, ...]:
    """Steps from the root to a genre, both included, through its home where groups overlap."""
    steps: list[Node | str] = [tree.root]
    while isinstance(at := steps[-1], Node):
        steps.append(at.children[at.home_child_idx(genre)])
    return tuple(steps)


def tree_from_groups(labels: Labels, groups: Mapping[str, Any] | Sequence[Any]) -> TreeSpec:
    """A tree from nested groups as a configuration writes them.

    ``{"strings": ["blues", "jazz"], "beat": ["pop", {"urban": ["hiphop", "reggae"]}]}``: a table names groups, a list
    holds genres and tables of deeper groups. A list at the top puts genres directly under the root.
    """
    problems: list[str] = []
    root = Node(ROOT, _children(groups, "groups", problems))
    if problems:
        raise TreeError(problems)
    return TreeSpec(labels, root)


def _children(value: Any, where: str, problems: list[str]) -> tuple[Node | str, ...]:
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        return tuple(Node(str(name), _children(v, f"{where}.{name}", problems)) for name, v in value.items())
    if isinstance(value, Sequence):
        return tuple(child for i, item in enumerate(value) for child in _children(item, f"{where}[{i}]", problems))
    problems.append(f"{where}: found {value!r}, needed a genre, a list or a table of groups")
    return ()


def tree_to_json(tree: TreeSpec) -> dict[str, Any]:
    """The root node as nested ``{"name", "children": [genre or node]}``; labels travel beside it."""
    return _node_to_json(tree.root)


def tree_from_json(labels: Labels, value: Any) -> TreeSpec:
    """Inverse of ``tree_to_json``; raises TreeError on anything else."""
    root = _node_from_json(value)
    if not isinstance(root, Node):
        raise TreeError([f"the root is {value!r}, needed a node with name and children"])
    return TreeSpec(labels, root)


def _node_to_json(node: Node) -> dict[str, Any]:
    return {"name": node.name, "children": [c if isinstance(c, str) else _node_to_json(c) for c in node.children]}


def _node_from_json(value: Any) -> Node | str:
    match value:
        case str():
            return value
        case {"name": str(name), "children": list(children)} if len(value) == 2:
            return Node(name, tuple(_node_from_json(c) for c in children))
    raise TreeError([f"found {value!r}, needed a genre name or an object with name and children"])


def _preorder(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        if isinstance(child, Node):
            yield from _preorder(child)


def _mistakes(tree: TreeSpec) -> list[str]:
    known, problems = set(tree.labels), []
    names = [node.name for node in tree.nodes]
    for name in sorted({n for n in names if names.count(n) > 1}):
        problems.append(f"group {name!r} stands twice")
    for name in sorted(set(names) & known):
        problems.append(f"group {name!r} has the name of a genre")
    for name in names:
        if "/" in name or name in ("", "flat"):
            problems.append(f"group {name!r} needs another name: not empty, without a slash, and not 'flat'")
    for node in tree.nodes:
        leaves = [c for c in node.children if isinstance(c, str)]
        if not node.children:
            problems.append(f"group {node.name!r} is empty")
        for genre in sorted({g for g in leaves if leaves.count(g) > 1}):
            problems.append(f"genre {genre!r} stands twice in group {node.name!r}")
        for genre in sorted(set(leaves) - known):
            problems.append(f"group {node.name!r} holds unknown genre {genre!r}; known are {', '.join(tree.labels)}")
    for genre in tree.labels:
        if genre not in tree.root.genres:
            problems.append(f"genre {genre!r} is in no group")
    return problems
