"""The routing ledger: whether an item was lost by choosing the wrong group, or by the specialist inside the right one.

Items are songs or slices. Every net's choice is taken for every item as if the item were there, so that the ledger also
knows what the right specialist would have said of an item that never came to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from hgenre.tree.decode import home_children, routed_children
from hgenre.tree.posterior import NodeLogp
from hgenre.tree.route import Unit
from hgenre.tree.spec import Node, TreeSpec
from hgenre.tree.vote import Aggregation, answer_songs, sum_sorted_slices

Choices = Mapping[str, np.ndarray]


class Shares(NamedTuple):
    """The two-by-two table in shares of all items; the four sum to 1."""

    right: float  # A
    leaf_error: float  # L
    root_error: float  # R
    both: float  # B


@dataclass(frozen=True)
class Cells:
    """The two-by-two table in counts.

    The router is the first node with a choice. What an item needs below it is the right child at every node on the way
    to its genre's home, the first group that lists the genre; a genre directly under the router needs nothing more.

    Attributes:
        right: A, routed right, and all right below.
        leaf_error: L, routed right, and lost below.
        root_error: R, routed wrong, where all would have been right below.
        both: B, routed wrong, and it would have been lost below too.
        rescued: answered right off the way to its home, in another group that lists its genre.
    """

    right: int
    leaf_error: int
    root_error: int
    both: int
    rescued: int = 0

    @property
    def n(self) -> int:
        return self.right + self.leaf_error + self.root_error + self.both

    @property
    def shares(self) -> Shares:
        counts = (self.right, self.leaf_error, self.root_error, self.both)
        return Shares(*(count / max(self.n, 1) for count in counts))

    @property
    def routing_accuracy(self) -> float:
        """r = A + L."""
        return (self.right + self.leaf_error) / max(self.n, 1)

    @property
    def oracle_accuracy(self) -> float:
        """a_o = A + R: the accuracy with a router that is always right."""
        return (self.right + self.root_error) / max(self.n, 1)

    @property
    def accuracy_given_right_routing(self) -> float | None:
        """a_c = A / r; None where nothing was routed right."""
        routed_right = self.right + self.leaf_error
        return self.right / routed_right if routed_right else None

    @property
    def covariance(self) -> float:
        """A - r a_o: above 0 where the items that are hard to route are hard to resolve too."""
        return self.shares.right - self.routing_accuracy * self.oracle_accuracy

    @property
    def hard_accuracy(self) -> float:
        """Accuracy of hard routing: A and the rescues; on a disjoint tree A."""
        return (self.right + self.rescued) / max(self.n, 1)

    def to_json(self) -> dict[str, Any]:
        """Counts of A, L, R, B and rescues, with what follows from them."""
        return {
            "n": self.n,
            "A": self.right,
            "L": self.leaf_error,
            "R": self.root_error,
            "B": self.both,
            "rescued": self.rescued,
            "routing_accuracy": self.routing_accuracy,
            "oracle_router_accuracy": self.oracle_accuracy,
            "accuracy_given_right_routing": self.accuracy_given_right_routing,
            "covariance": self.covariance,
            "hard_accuracy": self.hard_accuracy,
        }


@dataclass(frozen=True)
class NodeErrors:
    """What one node did to the items whose way home passes it.

    Attributes:
        n_passing: those items, wherever they were sent above.
        n_wrong: how many of them the node sends elsewhere.
        blame: items lost, where each item that is answered wrong is shared equally by the nodes on its way home that
            err: the Shapley value of the game in which an item is right when no node errs. With two levels the root has
            R + B / 2 and the specialists have L + B / 2.
    """

    node: str
    n_passing: int
    n_wrong: int
    blame: float

    def to_json(self) -> dict[str, Any]:
        return {"node": self.node, "n_passing": self.n_passing, "n_wrong": self.n_wrong, "blame": self.blame}


@dataclass(frozen=True)
class Ledger:
    """The table over all items, a row for every node with a choice (root first), and a table a genre (label order)."""

    cells: Cells
    per_node: tuple[NodeErrors, ...]
    per_genre: tuple[Cells, ...]


def ledger_of(tree: TreeSpec, choices: Choices, true_idx: np.ndarray) -> Ledger:
    """The ledger of items whose true genre is known.

    Args:
        choices: node -> (item,) child index, for every node with two children or more, also where no item would go.
        true_idx: (item,) int.
    """
    true_idx = np.asarray(true_idx)
    home = {name: child[true_idx] for name, child in home_children(tree).items()}
    passing = np.stack([home[node.name] >= 0 for node in tree.net_nodes])
    wrong = passing & np.stack([choices[node.name] != home[node.name] for node in tree.net_nodes])
    right = answered_right(tree, choices, true_idx)
    blame = np.where(right, 0.0, wrong / np.maximum(wrong.sum(axis=0), 1))
    cell = 2 * wrong[0] + wrong[1:].any(axis=0)
    n_genres = len(tree.labels)
    counts = np.zeros((n_genres, 5), int)
    np.add.at(counts, (true_idx, cell), 1)
    counts[:, 4] = np.bincount(true_idx[right & wrong.any(axis=0)], minlength=n_genres)
    return Ledger(
        cells=Cells(*counts.sum(axis=0).tolist()),
        per_node=tuple(
            NodeErrors(node.name, int(passing[k].sum()), int(wrong[k].sum()), float(blame[k].sum()))
            for k, node in enumerate(tree.net_nodes)
        ),
        per_genre=tuple(Cells(*row) for row in counts.tolist()),
    )


def answered_right(tree: TreeSpec, choices: Choices, true_idx: np.ndarray) -> np.ndarray:
    """(item,) bool: following the choices from the root ends in the true genre, at its home or in another group."""
    right = np.zeros(len(true_idx), bool)

    def walk(node: Node, here: np.ndarray) -> None:
        nonlocal right
        for i, child in enumerate(node.children):
            entered = here if len(node.children) == 1 else here & (choices[node.name] == i)
            if isinstance(child, Node):
                walk(child, entered)
            else:
                right |= entered & (true_idx == tree.labels.index(child))

    walk(tree.root, np.ones(len(true_idx), bool))
    return right


def item_choices(
    tree: TreeSpec,
    node_logp: NodeLogp,
    song_idx: np.ndarray,
    n_songs: int,
    unit: Unit,
    aggregation: Aggregation = "majority",
) -> dict[str, np.ndarray]:
    """Every net's choice for every item: node -> (slice,) or (song,) child index, -1 for a song without slices.

    They are the choices of hard decoding, so that following them gives its answers: at nodes that route as
    ``routed_children``; at nodes of genres only the likeliest genre of the slice, or the song's answer over its slices
    as if all had come there, with ties broken as the decoder's answer breaks them.

    Args:
        node_logp, song_idx, n_songs: as for ``decode``.
        aggregation: of slices at the nodes of genres only, under ``unit="song"``.
    """
    node_logp = {name: np.asarray(logp, np.float64) for name, logp in node_logp.items()}
    choices = routed_children(tree, node_logp, song_idx, n_songs, unit)

    def walk(node: Node, so_far: np.ndarray) -> None:
        alone = len(node.children) == 1
        if not alone and node.name not in choices:
            order = np.argsort([tree.labels.index(str(genre)) for genre in node.children])
            logp = (so_far[:, None] + node_logp[node.name])[:, order]
            if unit == "slice":
                choices[node.name] = order[logp.argmax(axis=-1)]
            else:
                named = answer_songs(sum_sorted_slices(logp, song_idx, n_songs), aggregation).genre_idx
                choices[node.name] = np.where(named < 0, -1, order[named])
        for i, child in enumerate(node.children):
            if isinstance(child, Node):
                walk(child, so_far if alone else so_far + node_logp[node.name][:, i])

    walk(tree.root, np.zeros(len(song_idx)))
    return choices


def random_router(tree: TreeSpec, per_genre: Sequence[Cells], child_p: np.ndarray) -> Shares:
    """The expected table of a router that sends each item to its child c with probability ``child_p[c]``, blindly.

    Independent of the item, so A becomes the sum over genres of ``child_p[home] (A + R)`` of that genre, and so on.

    Args:
        per_genre: of the ledger with any router over the same specialists.
        child_p: (child,) of the first node with a choice; sums to 1.
    """
    home_p = np.asarray(child_p)[home_children(tree)[tree.net_nodes[0].name]]
    n = max(sum(cells.n for cells in per_genre), 1)
    resolved = np.array([cells.right + cells.root_error for cells in per_genre]) / n
    lost = np.array([cells.leaf_error + cells.both for cells in per_genre]) / n
    return Shares(
        right=float(home_p @ resolved),
        leaf_error=float(home_p @ lost),
        root_error=float((1 - home_p) @ resolved),
        both=float((1 - home_p) @ lost),
    )
