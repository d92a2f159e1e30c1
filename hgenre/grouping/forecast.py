"""What a tree can win: told from a flat net's held-out confusions, before anything is trained."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgenre.errors import HgenreError
from hgenre.metrics.classification import Scores
from hgenre.metrics.intervals import wilson
from hgenre.tree.spec import Node, TreeSpec


@dataclass(frozen=True)
class Share:
    """``n`` songs out of ``of``: ``share`` in 0..1 (0 where ``of`` is 0) and its Wilson 95 % interval."""

    n: int
    of: int
    share: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class NodeForecast:
    """A node with a choice to make, in a tree whose every choice is the flat net's.

    Attributes:
        depth: 0 at the root.
        n_entered: songs whose answer leads through this node.
        n_strays: those of them whose true genre cannot be reached from here: lost above, whatever this node does.
        error: songs, out of all, that are lost here: the node holds their true genre, the child that they enter does
            not.
        chance_error: mean of ``error.share`` over all ways to deal the genres to the places of the tree.
    """

    node: str
    depth: int
    n_entered: int
    n_strays: int
    error: Share
    chance_error: float


@dataclass(frozen=True)
class GenreForecast:
    """The songs that truly have a genre: answered rightly, taken for another inside its group, or across groups."""

    genre: str
    right: Share
    inside: Share
    across: Share


@dataclass(frozen=True)
class Forecast:
    """What the nodes of a tree can win and lose when the flat net routes, over ``n`` songs.

    ``right.n + inside.n + across.n = n``, and the same holds for every genre's own songs. Songs count as independent
    in every interval.

    Attributes:
        right: the flat net's own accuracy.
        inside: the true genre can still be reached in the group that the answer enters: what specialists can win at
            most. What they do win is not foretold.
        across: the true genre is out of reach: what only a better router can win.
        ceiling: accuracy of hard routing with perfect specialists, ``right + inside``. A decoder that weighs several
            groups is not bound by it.
        inside_of_errors: ``inside`` out of all errors.
        chance_inside_of_errors: mean of ``inside_of_errors`` over all ways to deal the genres to the places of the
            tree: every ordered pair of genres is equally likely then, so it is the share of pairs that are inside.
        nodes: the router, which is the first node with a choice, and the specialists in preorder.
    """

    n: int
    right: Share
    inside: Share
    across: Share
    ceiling: Share
    inside_of_errors: Share
    chance_inside_of_errors: float
    nodes: tuple[NodeForecast, ...]
    genres: tuple[GenreForecast, ...]

    def to_json(self) -> dict[str, Any]:
        """The forecast as a dict of plain numbers, strings and sequences."""
        return asdict(self)


def forecast(flat: Scores, tree: TreeSpec) -> Forecast:
    """What a tree can win over the flat net, from the confusion of the flat net's answers for held-out songs.

    A song enters the home child of its answer at every node. An error is charged to the deepest node on this way that
    still holds the true genre: to the router, and the error is across groups, or to a specialist below, and it is
    inside. A flat tree has no specialists, so all its error is the router's.

    Raises:
        HgenreError: scores and tree are over different genres.
    """
    genres = tuple(row.genre for row in flat.per_genre)
    if set(genres) != set(tree.labels):
        raise HgenreError(
            f"the confusion is over the genres {', '.join(sorted(genres))}, the tree over "
            f"{', '.join(sorted(tree.labels))}; give a tree of the same genres"
        )
    order = [genres.index(genre) for genre in tree.labels]
    counts = np.array(flat.confusion)[np.ix_(order, order)]
    entered, held, charged = _ways(tree)
    wrong = ~np.eye(len(genres), dtype=bool)
    errors, pairs = np.zeros((2, len(tree.nodes)), dtype=np.int64)
    np.add.at(errors, charged[wrong], counts[wrong])
    np.add.at(pairs, charged[wrong], 1)

    choosing = [i for i, node in enumerate(tree.nodes) if len(node.children) > 1] or [0]
    router, n, n_wrong, n_pairs = choosing[0], int(counts.sum()), int(errors.sum()), max(int(pairs.sum()), 1)
    n_inside = n_wrong - int(errors[router])
    inside = np.where(wrong & (charged != router), counts, 0).sum(axis=1)
    right, support = np.diag(counts), counts.sum(axis=1)
    depth = {node.name: d for d, level in enumerate(tree.levels) for node in level}
    return Forecast(
        n=n,
        right=_share(n - n_wrong, n),
        inside=_share(n_inside, n),
        across=_share(n_wrong - n_inside, n),
        ceiling=_share(n - n_wrong + n_inside, n),
        inside_of_errors=_share(n_inside, n_wrong),
        chance_inside_of_errors=float(pairs.sum() - pairs[router]) / n_pairs,
        nodes=tuple(
            NodeForecast(
                tree.nodes[i].name,
                depth[tree.nodes[i].name],
                int(counts[:, entered[i]].sum()),
                int(counts[np.ix_(~held[i], entered[i])].sum()),
                _share(errors[i], n),
                float(n_wrong * pairs[i] / (n * n_pairs)),
            )
            for i in choosing
        ),
        genres=tuple(
            GenreForecast(genre, *(_share(kind[g], support[g]) for kind in (right, inside, support - right - inside)))
            for g, genre in enumerate(tree.labels)
        ),
    )


def verdict(found: Forecast, router: str = "the flat net") -> str:
    """The forecast in one sentence: what is left for specialists, and for whom the rest is."""
    if len(found.nodes) == 1:
        return (
            f"This tree has no specialists: all {_points(found.across)} points of error of {router} "
            f"({_interval(found.across)}) are the router's."
        )
    return (
        f"With {router} as router the specialists can win at most {_points(found.inside)} points "
        f"({_interval(found.inside)}); anything beyond must come from a better router."
    )


def chance_verdict(found: Forecast) -> str:
    """Whether the groups have to do with the confusions at all, in one sentence."""
    inside, chance = found.inside_of_errors, found.chance_inside_of_errors
    if len(found.nodes) == 1 or inside.of == 0:
        return "There is no error, or no specialist, that could tell whether the groups follow the confusions."
    low, high = inside.interval
    if low > chance:
        meaning = "the groups follow the confusions"
    elif high < chance:
        meaning = "the groups part what is confused"
    else:
        meaning = "these songs do not show that the groups have to do with the confusions"
    return (
        f"Of all errors {_points(inside)} % stay inside a group ({_interval(inside)}); groups of these sizes drawn at "
        f"random hold {100 * chance:.1f} % on average: {meaning}."
    )


def _ways(tree: TreeSpec) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.intp]]:
    """Which answers enter and which genres are held (node, genre), and the node charged (true genre, answered genre).

    Nodes are positions in ``tree.nodes``.
    """
    answers = {tree.root.name: set(tree.labels)}
    entered, held = np.zeros((2, len(tree.nodes), len(tree.labels)), dtype=bool)
    charged = np.zeros((len(tree.labels), len(tree.labels)), dtype=np.intp)
    for i, node in enumerate(tree.nodes):
        home = {genre: node.home_child_idx(genre) for genre in answers[node.name]}
        for j, child in enumerate(node.children):
            if isinstance(child, Node):
                answers[child.name] = {genre for genre, idx in home.items() if idx == j}
        reached = set(node.genres)
        entered[i] = [genre in home for genre in tree.labels]
        held[i] = [genre in reached for genre in tree.labels]
        # Parents come first, so what a child still holds is charged to the child in the end.
        charged[np.ix_(held[i], entered[i])] = i
    return entered, held, charged


def _share(n: int, of: int) -> Share:
    n, of = int(n), int(of)
    return Share(n, of, n / of if of else 0.0, wilson(n, of))


def _points(share: Share) -> str:
    return f"{100 * share.share:.1f}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"95 % interval {100 * low:.1f} to {100 * high:.1f}"
