"""Where one song's slices went, and at which node its answer was won or lost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from hgenre.tree.calibration import sharpen, temper
from hgenre.tree.decode import decode, home_children
from hgenre.tree.ledger import item_choices
from hgenre.tree.posterior import NodeLogp
from hgenre.tree.route import Route
from hgenre.tree.spec import Node, TreeSpec, child_name
from hgenre.tree.vote import answer_songs, sum_sorted_slices


class Way(NamedTuple):
    """A path from the root to a genre, with the song's probability (mean over slices) of being under each step."""

    choices: tuple[tuple[Node, int], ...]
    p: tuple[float, ...]
    genre: str

    @property
    def steps(self) -> list[list[Any]]:
        """[name, probability] from the root to the genre."""
        names = [child_name(node.children[i]) for node, i in self.choices]
        return [[name, p] for name, p in zip([self.choices[0][0].name, *names], (1.0, *self.p), strict=True)]


def why_song(
    tree: TreeSpec,
    node_logp: NodeLogp,
    *,
    route: Route | None = None,
    path_temperature: float = 1.0,
    song_temperature: float = 1.0,
    true_genre: str | None = None,
    start_s: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Where the slices of one song went, and at which node its answer was won or lost, as JSON values.

    Args:
        node_logp: as for ``account``, of one song's slices, at least one.
        route: how the tree answers; soft by majority when None.
        path_temperature: of the posterior, under ``soft``; it changes what ``slices`` say, not the ways.
        song_temperature: of the mean over slices, under ``soft``; it changes the confidence alone.
        start_s: (slice,) where each slice begins.

    Returns:
        * ``answer``, its ``confidence`` as ``predict`` calibrates it, ``true_genre`` (or null), ``n_slices``;
          ``verdict``, one sentence;
        * ``way``: ``[name, probability]`` from the root down to the answer, on its likeliest path; ``runner_up``: the
          same for the likeliest path to another genre;
        * ``decided``: ``outcome, node, child, p, rival, rival_p``, and ``by_vote``: whether the slices' vote at the
          node goes elsewhere than to the child. ``lost``: the first node on the way to the true genre's home whose vote
          does, and if there is none the node that is least sure of that way. ``won``, or ``open`` where no truth is
          given: the node on the answer's path with the smallest margin. Probabilities are the node's own, mean over all
          slices;
        * ``nodes``: ``node``; ``n_came``, slices that come there when each goes its own way; ``children``: ``child,
          votes, p``, of all slices as if they had come;
        * ``slices``: ``start_s`` (or null), ``way`` (names, the likeliest child at each node), and the slice's vote
          ``genre`` with its probability ``p``.

    Raises:
        TreeError: the tree does not know ``true_genre``.
    """
    if true_genre is not None:
        tree.labels.index(true_genre)
    route = route or Route()
    node_logp = {name: np.asarray(logp, np.float64) for name, logp in node_logp.items()}
    node_p = {name: np.exp(logp).mean(axis=0) for name, logp in node_logp.items()}
    n_slices = len(next(iter(node_logp.values())))
    song = np.zeros(n_slices, int), 1
    logp = decode(tree, node_logp, *song, decoder=route.decoder, unit=route.unit)
    if route.decoder == "soft":
        logp = temper(logp, path_temperature)
    answers = answer_songs(sum_sorted_slices(logp, *song), route.aggregation)
    answer_idx, p = int(answers.genre_idx[0]), answers.probabilities[0]
    if route.decoder == "soft":
        p = sharpen(p, song_temperature)
    answer = tree.labels.genres[answer_idx]
    voted = {k: int(v[0]) for k, v in item_choices(tree, node_logp, *song, "song", route.aggregation).items()}
    preferred = item_choices(tree, node_logp, *song, "slice")

    ways = sorted(_ways(tree, node_logp), key=lambda way: -way.p[-1])
    entered = next(way for way in ways if way.genre == answer)
    runner_up = next((way for way in ways if way.genre != answer), None)
    slice_ways = [_followed(tree, {name: int(child[i]) for name, child in preferred.items()}) for i in range(n_slices)]
    decided = _decided(tree, node_p, voted, entered, true_genre)
    votes = {name: np.bincount(preferred[name], minlength=len(p)) for name, p in node_p.items()}
    return {
        "answer": answer,
        "confidence": float(p[answer_idx]),
        "true_genre": true_genre,
        "n_slices": n_slices,
        "verdict": _song_verdict(answer, true_genre, decided),
        "way": entered.steps,
        "runner_up": runner_up and runner_up.steps,
        "decided": decided,
        "nodes": [
            {
                "node": node.name,
                "n_came": sum(node.name in way for way in slice_ways),
                "children": [
                    {
                        "child": child_name(child),
                        "votes": int(votes[node.name][i]),
                        "p": float(node_p[node.name][i]),
                    }
                    for i, child in enumerate(node.children)
                ],
            }
            for node in tree.net_nodes
        ],
        "slices": [
            {
                "start_s": None if start_s is None else start_s[i],
                "way": slice_ways[i],
                "genre": tree.labels.genres[int(row.argmax())],
                "p": float(np.exp(row.max())),
            }
            for i, row in enumerate(logp)
        ],
    }


def _ways(tree: TreeSpec, node_logp: NodeLogp) -> Iterator[Way]:
    def walk(node: Node, so_far: np.ndarray, way: Way) -> Iterator[Way]:
        for i, child in enumerate(node.children):
            logp = so_far if len(node.children) == 1 else so_far + node_logp[node.name][:, i]
            longer = Way((*way.choices, (node, i)), (*way.p, float(np.exp(logp).mean())), "")
            if isinstance(child, Node):
                yield from walk(child, logp, longer)
            else:
                yield longer._replace(genre=child)

    yield from walk(tree.root, np.zeros(len(next(iter(node_logp.values())))), Way((), (), ""))


def _followed(tree: TreeSpec, choice: Mapping[str, int]) -> list[str]:
    """Names from the root to the genre that the choices lead to."""
    steps: list[Node | str] = [tree.root]
    while isinstance(node := steps[-1], Node):
        steps.append(node.children[choice.get(node.name, 0)])
    return [child_name(step) for step in steps]


def _decided(
    tree: TreeSpec,
    node_p: Mapping[str, np.ndarray],
    voted: Mapping[str, int],
    entered: Way,
    true_genre: str | None,
) -> dict[str, Any]:
    """The node that decided, the child that stood for the right (or given) answer there, and its rival."""

    def rival(node: Node, i: int) -> int:
        return int(np.argmax(np.where(np.arange(len(node.children)) == i, -1.0, node_p[node.name])))

    def described(outcome: Literal["won", "lost", "open"], node: Node, i: int, other: int) -> dict[str, Any]:
        p = node_p[node.name]
        child, against = child_name(node.children[i]), child_name(node.children[other])
        pair = {"child": child, "p": float(p[i]), "rival": against, "rival_p": float(p[other])}
        return {"outcome": outcome, "node": node.name, **pair, "by_vote": voted[node.name] != i}

    if true_genre is None or entered.genre == true_genre:
        choices = [(node, i) for node, i in entered.choices if node.name in node_p]
        node, i = min(choices, key=lambda at: node_p[at[0].name][at[1]] - node_p[at[0].name][rival(*at)])
        return described("open" if true_genre is None else "won", node, i, rival(node, i))
    truth = tree.labels.index(true_genre)
    home = [
        (n, int(at[truth])) for n, at in ((n, home_children(tree)[n.name]) for n in tree.net_nodes) if at[truth] >= 0
    ]
    for node, i in home:
        if voted[node.name] != i:
            return described("lost", node, i, voted[node.name])
    node, i = min(home, key=lambda at: node_p[at[0].name][at[1]])
    return described("lost", node, i, rival(node, i))


def _song_verdict(answer: str, true_genre: str | None, decided: Mapping[str, Any]) -> str:
    child, rival = (f"{decided[who]} ({decided[p]:.0%})" for who, p in (("child", "p"), ("rival", "rival_p")))
    match decided["outcome"]:
        case "open":
            return f"Answered {answer}; nearest to another answer at {decided['node']}: {child} before {rival}."
        case "won":
            return f"Answered {answer}, and rightly; the closest call was at {decided['node']}: {child} before {rival}."
        case _ if decided["by_vote"]:
            return (
                f"Answered {answer}, not {true_genre}: lost at {decided['node']}, which chose {rival} before {child}."
            )
        case _:
            return (
                f"Answered {answer}, not {true_genre}: every node on its way chose rightly, but not by enough; the "
                f"least sure was {decided['node']}, with {child} against {rival}."
            )
