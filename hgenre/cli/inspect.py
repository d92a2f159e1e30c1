"""``hgenre inspect``: what is in a bundle, its digests verified."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hgenre.bundle import Bundle
    from hgenre.features import FeatureSpec

N_COLUMNS = 6

TARGETS = (0.8, 0.9, 0.95)

CAVEATS = {
    "validation songs": "these songs also chose epochs and temperatures: expect a little less of later ones",
    "out of fold": "the models of the folds answered these songs: this one was fitted again, and may differ a little",
}
"""By the source of evidence, how far it is from answers of this very model to songs that it owes nothing to."""


def inspect(
    bundle: Annotated[str, typer.Argument(help="Name of a shipped model, a bundle's folder, or a run's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw a bundle's tree and print its specs, results and data statement, after checking its digests."""
    from hgenre.bundle import load_bundle
    from hgenre.bundle.bundle import flatten
    from hgenre.features import to_json
    from hgenre.nets.spec import NETS, net_to_json
    from hgenre.shipped import find_bundle
    from hgenre.tree.draw import draw_tree
    from hgenre.tree.spec import tree_to_json

    path = find_bundle(bundle)
    loaded = load_bundle(path)
    n_parameters = {node: sum(a.size for a in flatten(v).values()) for node, v in loaded.variables.items()}
    if as_json:
        record = {
            "name": loaded.name,
            "path": str(path),
            "digest": loaded.digest,
            "labels": list(loaded.labels),
            "tree": tree_to_json(loaded.tree),
            "features": to_json(loaded.features),
            "slices": asdict(loaded.slices),
            "normalisation": loaded.normalisation.kind,
            "route": asdict(loaded.route),
            "nets": {
                node: {**net_to_json(spec), "n_numbers": n_parameters[node]} for node, spec in loaded.nets.items()
            },
            "temperatures": dict(loaded.temperatures),
            "calibration": _calibration(loaded),
            "n_songs_seen": len(loaded.songs_seen),
            "metrics": loaded.metrics,
            "about": loaded.about,
        }
        print(json.dumps(record))
        return
    print(f"{loaded.name}   {path}   digests verified, {loaded.digest[:12]}\n")
    print(draw_tree(loaded.tree) + "\n")
    print(f"features       {_features(loaded.features)}")
    print(f"slices         {loaded.slices.n_frames} frames every {loaded.slices.step_frames}")
    print(f"normalisation  {loaded.normalisation.kind}")
    print(f"route          {'/'.join(asdict(loaded.route).values())}")
    for node, spec in loaded.nets.items():
        size = f"{n_parameters[node]:,} numbers"
        read = ", ".join(f"{field} {getattr(spec, field)}" for field in NETS[spec.kind])
        print(f"net {node:<10} {spec.kind}, {read}, {size}, T {loaded.temperatures[node]:.2f}")
    _print_calibration(loaded)
    print(f"songs seen     {len(loaded.songs_seen)}")
    _print_metrics(loaded.metrics)
    for key in ("licence", "data_statement", "command"):
        if loaded.about.get(key):
            print(f"{key.replace('_', ' '):<14} {loaded.about[key]}")


def _features(spec: "FeatureSpec") -> str:
    """The spec as it is, but of many columns the first few."""
    from hgenre.features import TableSpec, described

    if not isinstance(spec, TableSpec):
        return str(spec)
    named = ", ".join(spec.columns[:N_COLUMNS]) + (", ..." if len(spec.columns) > N_COLUMNS else "")
    return f"{described(spec)}, one for {spec.row_s:g} s, {len(spec.columns)} columns: {named}"


def _calibration(bundle: "Bundle") -> dict[str, Any] | None:
    """Temperatures, where they come from, and for TARGETS the threshold and how it answers the songs that chose it."""
    from hgenre.metrics.intervals import wilson
    from hgenre.tree.stopping import shares_at, stopping_threshold

    if (known := bundle.calibration) is None:
        return None
    targets = {}
    for target in TARGETS if known.evidence else ():
        threshold = stopping_threshold(known.evidence, target)
        shares = shares_at(known.evidence, threshold)
        targets[f"{target:g}"] = {
            "threshold": threshold,
            "n_genre": shares.n_genre,
            "n_group": shares.n_group,
            "n_abstained": shares.n_abstained,
            "n_right": shares.n_right,
            "accuracy": shares.accuracy,
            "interval": wilson(shares.n_right, shares.n_answered),
        }
    return {
        "path_temperature": known.path_temperature,
        "song_temperature": known.song_temperature,
        "source": known.source,
        "n_songs": len(known.evidence),
        "target_accuracy": targets,
    }


def _print_calibration(bundle: "Bundle") -> None:
    if (found := _calibration(bundle)) is None:
        print("calibration    nodes only; predict has no evidence for --target-accuracy and --coverage")
        return
    n_songs = found["n_songs"]
    temperatures = f"path T {found['path_temperature']:.2f}, song T {found['song_temperature']:.2f}"
    print(f"calibration    {temperatures}, evidence of {n_songs} songs: {found['source']}")
    if n_songs and found["source"] in CAVEATS:
        print(f"evidence       {CAVEATS[found['source']]}")
    for target, answered in found["target_accuracy"].items():
        line = f"target {float(target):<7.0%} "
        if answered["threshold"] is None:
            print(f"{line}out of reach as far as this evidence tells")
            continue
        n_genre, n_group, n_abstained = (answered[f"n_{kind}"] / n_songs for kind in ("genre", "group", "abstained"))
        low, high = answered["interval"]
        print(
            f"{line}where {answered['threshold']:.1%} likely; of that evidence {n_genre:.0%} by genre, {n_group:.0%} "
            f"by group, {n_abstained:.0%} not at all; {answered['accuracy']:.1%} of answers right "
            f"[{low:.1%}, {high:.1%}]"
        )


def _print_metrics(metrics: Any) -> None:
    for kind, model in metrics.get("models", {}).items():
        song = model["song"]
        low, high = song["interval"]
        protocol = metrics.get("protocol", "?")
        if n_folds := metrics.get("n_folds"):
            protocol += f", out of {n_folds} folds"
        print(f"{kind:<14} {song['accuracy']:.1%} of {song['n']} songs [{low:.1%}, {high:.1%}], protocol {protocol}")
