"""The account of a tree: what routing and what specialists cost over many songs, and in one sentence."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hgenre.metrics.intervals import beyond_chance, compare_right, wilson
from hgenre.tree.calibration import temper
from hgenre.tree.decode import AnyDecoder, decode
from hgenre.tree.ledger import Ledger, item_choices, ledger_of, random_router
from hgenre.tree.posterior import NodeLogp, routing_nodes
from hgenre.tree.route import Route, Unit
from hgenre.tree.spec import TreeSpec
from hgenre.tree.vote import Aggregation, answer_songs, sum_sorted_slices

AGGREGATIONS: tuple[Aggregation, ...] = ("majority", "mean_probability", "mean_log_probability")
BEAM_WIDTH = 2
WAYS: tuple[tuple[AnyDecoder, Unit], ...] = (
    ("soft", "slice"),
    ("hard", "slice"),
    ("hard", "song"),
    ("beam", "slice"),
    ("beam", "song"),
    ("oracle", "slice"),
)
"""Decoders and units that differ; soft and oracle know no unit."""


def account(
    tree: TreeSpec,
    node_logp: NodeLogp,
    song_idx: np.ndarray,
    true_idx: np.ndarray,
    clusters: Sequence[str],
    flat_genre_idx: np.ndarray | None = None,
    *,
    route: Route | None = None,
    path_temperature: float = 1.0,
    flat_name: str = "flat net",
    seed: int = 0,
) -> dict[str, Any]:
    """The account of a tree over songs it has not seen, as JSON values; ``results.json`` holds it under ``ledger``.

    Args:
        node_logp: node -> (slice, child) natural log-probabilities, for every node with two children or more; voiced
            slices only.
        song_idx: (slice,) int, not falling; songs without a slice are left out.
        true_idx: (song,) int.
        clusters: (song,) what the bootstrap draws as a whole: songs of one artist and duplicates share it.
        flat_genre_idx: (song,) the flat net's answers for the same songs, -1 for none.
        route: how the tree answers; soft by majority when None.
        path_temperature: of the posterior, under ``soft``.
        flat_name: what the verdict calls the flat net.

    Returns:
        * ``n_songs``, ``n_slices``; ``verdict``, one sentence;
        * ``songs`` and ``slices``, the ledgers by song (the song's vote decides at every node) and by slice:
          ``Cells.to_json``; ``nodes``: ``node, routes, n_passing, n_wrong, blame`` (items), root first; ``genres``:
          ``genre, n, A, L, R, B, rescued``;
        * ``random_router``: ``A, L, R, B`` in shares of songs, expected of a router that guesses each child as
          often as the tree's own chooses it;
        * ``residue``: accuracy of slices that find their own way and then vote, less A by song: what no ledger of songs
          explains;
        * ``answers``: a row for every decoder, unit and aggregation: ``decoder, unit, beam_width`` (or null),
          ``aggregation, n_right, accuracy, interval``;
        * ``route``: the row of ``answers`` by which the tree answers;
        * ``flat``: null, or the flat net's ``n_right, accuracy, interval``, and tree (as routed) less flat on the same
          songs: ``difference, interval_of_difference, mcnemar_p, tree_only, flat_only``.

    Raises:
        ValueError: no song has a slice.
    """
    heard = np.flatnonzero(np.bincount(song_idx, minlength=len(true_idx)))
    if not len(heard):
        raise ValueError("an account needs at least 1 song with a slice, found none")
    song_idx, true_idx = np.searchsorted(heard, song_idx), np.asarray(true_idx)[heard]
    node_logp = {name: np.asarray(logp, np.float64) for name, logp in node_logp.items()}
    route, n_songs = route or Route(), len(heard)

    right: dict[tuple[AnyDecoder, Unit, Aggregation], np.ndarray] = {}
    for decoder, unit in WAYS:
        logp = decode(
            tree,
            node_logp,
            song_idx,
            n_songs,
            decoder=decoder,
            unit=unit,
            beam_width=BEAM_WIDTH,
            true_idx=true_idx,
        )
        if decoder == "soft":
            logp = temper(logp, path_temperature)
        sums = sum_sorted_slices(logp, song_idx, n_songs)
        for aggregation in AGGREGATIONS:
            right[decoder, unit, aggregation] = answer_songs(sums, aggregation).genre_idx == true_idx

    def choices(unit: Unit) -> dict[str, np.ndarray]:
        return item_choices(tree, node_logp, song_idx, n_songs, unit, route.aggregation)

    def answer(decoder: AnyDecoder, unit: Unit, aggregation: Aggregation) -> dict[str, Any]:
        width = BEAM_WIDTH if decoder == "beam" else None
        facts = {"decoder": decoder, "unit": unit, "beam_width": width, "aggregation": aggregation}
        return {**facts, **_accuracy(right[decoder, unit, aggregation])}

    by_song = ledger_of(tree, choices("song"), true_idx)
    by_slice = ledger_of(tree, choices("slice"), true_idx[song_idx])
    router = tree.net_nodes[0]
    child_p = np.bincount(choices("song")[router.name], minlength=len(router.children)) / n_songs
    answered: tuple[AnyDecoder, Unit, Aggregation] = (
        route.decoder,
        route.unit if route.decoder == "hard" else "slice",
        route.aggregation,
    )
    found: dict[str, Any] = {
        "n_songs": n_songs,
        "n_slices": len(song_idx),
        "songs": _ledger_json(tree, by_song),
        "slices": _ledger_json(tree, by_slice),
        "random_router": dict(zip("ALRB", random_router(tree, by_song.per_genre, child_p), strict=True)),
        "residue": float(right["hard", "slice", route.aggregation].mean()) - by_song.cells.shares.right,
        "answers": [answer(*way) for way in right],
        "route": answer(*answered),
        "flat": None,
    }
    if flat_genre_idx is not None:
        flat_right = np.asarray(flat_genre_idx)[heard] == true_idx
        versus = compare_right(right[answered], flat_right, np.asarray(clusters)[heard], seed=seed)
        versus["interval_of_difference"] = versus.pop("interval")
        del versus["n"]
        found["flat"] = {**_accuracy(flat_right), **versus}
    return {"verdict": _verdict(tree, found, flat_name), **found}


def _accuracy(right: np.ndarray) -> dict[str, Any]:
    n_right = int(right.sum())
    return {"n_right": n_right, "accuracy": n_right / len(right), "interval": list(wilson(n_right, len(right)))}


def _ledger_json(tree: TreeSpec, ledger: Ledger) -> dict[str, Any]:
    routing = {node.name for node in routing_nodes(tree)}
    counted = ("n", "A", "L", "R", "B", "rescued")
    per_genre = (cells.to_json() for cells in ledger.per_genre)
    return {
        **ledger.cells.to_json(),
        "nodes": [{**row.to_json(), "routes": row.node in routing} for row in ledger.per_node],
        "genres": [
            {"genre": genre, **{key: cells[key] for key in counted}}
            for genre, cells in zip(tree.labels, per_genre, strict=True)
        ],
    }


def _verdict(tree: TreeSpec, found: Mapping[str, Any], flat_name: str) -> str:
    """What routing and specialists cost, and whether the tree beats the flat net, in one sentence."""
    n_songs, songs, right, flat = found["n_songs"], found["songs"], found["route"]["accuracy"], found["flat"]

    def lost(routes: bool) -> float:
        return 100 * sum(node["blame"] for node in songs["nodes"] if node["routes"] == routes) / n_songs

    if tree.is_flat or not routing_nodes(tree):
        cost = "There are no groups to choose from, so nothing is lost by routing"
    else:
        cost = (
            f"When every song goes one way down the tree, choosing the wrong group costs {lost(True):.1f} points of "
            f"accuracy and naming the wrong genre inside a group costs {lost(False):.1f} (a song lost at several nodes "
            "is shared by them)"
        )
    result = f"as it answers, the tree has {100 * right:.1f} % of {n_songs} songs right"
    if flat is None:
        return f"{cost}; {result}, and there is no {flat_name} to compare it with."
    low, high = (100 * end for end in flat["interval_of_difference"])
    difference = 100 * flat["difference"]
    match (difference > 0, difference < 0):
        case (True, _):
            versus = f"{difference:.1f} points more than the {flat_name}"
        case (_, True):
            versus = f"{-difference:.1f} points fewer than the {flat_name}"
        case _:
            versus = f"as many as the {flat_name}"
    sure = beyond_chance(flat["mcnemar_p"], flat["interval_of_difference"])
    noise = "more than chance explains" if sure else "which is within what chance explains"
    return f"{cost}; {result}, {versus}, {noise} (95 % interval of the difference {low:+.1f} to {high:+.1f})."
