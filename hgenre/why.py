"""Why a tree is right or wrong: the routing ledger of many songs, and the ways of one song's slices."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle import Bundle
from hgenre.data.audio_slices import AudioSlices, read_ahead
from hgenre.data.manifest import Manifest, Song
from hgenre.data.splits import clusters
from hgenre.errors import AudioError, ManifestError, SilentAudioError
from hgenre.evaluate import check_songs, compare_right, frames_for, outcomes
from hgenre.features import cut_slices
from hgenre.features.slices import SILENCE_DBFS
from hgenre.metrics.intervals import wilson
from hgenre.predict import SongFault, audio_features
from hgenre.tree.calibration import temper
from hgenre.tree.decode import AnyDecoder, decode
from hgenre.tree.ledger import Ledger, item_choices, ledger_of, random_router
from hgenre.tree.one_song import why_song
from hgenre.tree.posterior import NodeLogp, routing_nodes
from hgenre.tree.route import Route, Unit
from hgenre.tree.spec import TreeSpec, tree_to_json
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
    return {"verdict": _verdict(tree, found), **found}


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


def _verdict(tree: TreeSpec, found: Mapping[str, Any]) -> str:
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
        return f"{cost}; {result}, and there is no flat net to compare it with."
    low, high = (100 * end for end in flat["interval_of_difference"])
    sure = flat["mcnemar_p"] < 0.05 and (low > 0 or high < 0)
    difference = 100 * flat["difference"]
    match (difference > 0, difference < 0):
        case (True, _):
            versus = f"{difference:.1f} points more than the flat net"
        case (_, True):
            versus = f"{-difference:.1f} points fewer than the flat net"
        case _:
            versus = "as many as the flat net"
    noise = "more than chance explains" if sure else "which is within what chance explains"
    return f"{cost}; {result}, {versus}, {noise} (95 % interval of the difference {low:+.1f} to {high:+.1f})."


def why(
    bundle: Bundle,
    manifest: Manifest,
    cache_dir: Path,
    *,
    flat: Bundle | None = None,
    allow_seen: bool = False,
    on_frames: Callable[[Song], None] = lambda _: None,
) -> dict[str, Any]:
    """The account of a bundle over a manifest's songs: ``model, digest, flat_model, labels, tree, n_seen, ledger``
    (see ``account``) and ``warnings``.

    Args:
        flat: the net without groups that the tree is to beat, asked about the same songs.

    Raises:
        LeakError, ManifestError, FeatureError: as ``evaluate``, also where ``flat`` has seen the songs.
    """
    models = [bundle] if flat is None else [bundle, flat]
    seen = [check_songs(model, manifest, allow_seen=allow_seen) for model in models]
    source = frames_for(bundle, manifest, cache_dir, on_frames)
    node_logp, song_idx, _ = listen(
        bundle, ([cut_slices(source.frames(song.song_id), bundle.slices)] for song in source.songs)
    )
    if not len(song_idx):
        reasons = "".join(f"\n  {song_id}: {why}" for song_id, why in list(source.errors.items())[:10])
        raise ManifestError(f"nothing to account for: no song has a slice that is loud enough to judge{reasons}")
    labels, cluster_of = bundle.labels, clusters(source.songs, by="artist")
    flat_genre_idx = None
    if flat is not None:
        flat_source = frames_for(flat, manifest, cache_dir)
        known = {
            o.song_id: flat.labels.genres[o.genre_idx]
            for o in outcomes(flat, source.songs, flat_source.frames, cache_dir)
        }
        index = {genre: i for i, genre in enumerate(labels)}
        flat_genre_idx = np.array([index.get(known.get(song.song_id, ""), -1) for song in source.songs])
    heard = set(song_idx.tolist())
    warnings = [f"{song_id} left out: {reason}" for song_id, reason in source.errors.items()]
    warnings += [f"{song.song_id} left out: silent" for i, song in enumerate(source.songs) if i not in heard]
    for model, songs in zip(models, seen, strict=True):
        if songs:
            warnings.append(
                f"model {model.name} has seen {len(songs)} of these songs: this is no account of its errors"
            )
    return {
        "model": bundle.name,
        "digest": bundle.digest,
        "flat_model": flat and flat.name,
        "labels": list(labels),
        "tree": tree_to_json(bundle.tree),
        "n_seen": len(seen[0]),
        "ledger": account(
            bundle.tree,
            node_logp,
            song_idx,
            np.array([labels.index(song.genre) for song in source.songs]),
            [cluster_of[song.song_id] for song in source.songs],
            flat_genre_idx,
            route=bundle.route,
            path_temperature=bundle.path_temperature,
        ),
        "warnings": warnings,
    }


def why_files(bundle: Bundle, paths: Sequence[str | Path], *, true_genre: str | None = None) -> list[dict[str, Any]]:
    """``why_song`` of audio files, with their ``path`` first; a file that cannot be judged has ``error`` in its place.

    Raises:
        FeatureError: the bundle does not answer audio.
        TreeError: the bundle does not know ``true_genre``.
    """
    features = audio_features(bundle)
    if true_genre is not None:
        bundle.labels.index(true_genre)
    errors: dict[int, AudioError] = {}

    def blocks() -> Iterator[list[np.ndarray]]:
        streams = [AudioSlices(path, features, bundle.slices) for path in paths]
        for i, stream in enumerate(read_ahead(streams)):
            try:
                yield list(stream)
            except AudioError as error:
                errors[i] = error
                yield []

    node_logp, song_idx, slice_idx = listen(bundle, blocks())
    step_s = bundle.slices.step_frames / features.frame_rate_hz
    found = []
    for i, path in enumerate(map(str, paths)):
        mine = song_idx == i
        if i not in errors and not mine.any():
            errors[i] = SilentAudioError(
                path, f"none of its slices is loud enough to judge (above {SILENCE_DBFS:.0f} dB re full scale)"
            )
        if i in errors:
            found.append(SongFault(path, errors[i].kind, errors[i].message).to_json())
            continue
        own = {name: logp[mine] for name, logp in node_logp.items()}
        start_s = (slice_idx[mine] * step_s).round(3).tolist()
        found.append(
            {
                "path": path,
                **why_song(
                    bundle.tree,
                    own,
                    route=bundle.route,
                    path_temperature=bundle.path_temperature,
                    true_genre=true_genre,
                    start_s=start_s,
                ),
            }
        )
    return found


def listen(
    bundle: Bundle, songs: Iterable[Iterable[np.ndarray]]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Every net's log-probabilities for every voiced slice, at its temperature.

    Returns:
        node -> (slice, child) natural log-probabilities; each slice's song (slice,), not falling; each slice's place in
        its song (slice,), silent ones counted.

    Args:
        songs: blocks of slices (slice, mel, frame) in dB a song; a song may have none.
    """
    from hgenre.compiled.node_outputs import node_outputs

    outputs = node_outputs(bundle, songs)
    node_logp = {
        name: temper(logits.astype(np.float64), bundle.temperatures[name]) for name, logits in outputs.logits.items()
    }
    return node_logp, outputs.song_idx, outputs.slice_idx
