"""``hgenre inspect``: what is in a bundle, its digests verified."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer


def inspect(
    bundle: Annotated[str, typer.Argument(help="Name of a shipped model, or a bundle's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw a bundle's tree and print its specs, results and data statement, after checking its digests."""
    from hgenre.bundle import load_bundle
    from hgenre.bundle.bundle import flatten
    from hgenre.features import to_json
    from hgenre.nets.spec import net_to_json
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
            "n_songs_seen": len(loaded.songs_seen),
            "metrics": loaded.metrics,
            "about": loaded.about,
        }
        print(json.dumps(record))
        return
    print(f"{loaded.name}   {path}   digests verified, {loaded.digest[:12]}\n")
    print(draw_tree(loaded.tree) + "\n")
    print(f"features       {loaded.features}")
    print(f"slices         {loaded.slices.n_frames} frames every {loaded.slices.step_frames}")
    print(f"normalisation  {loaded.normalisation.kind}")
    print(f"route          {'/'.join(asdict(loaded.route).values())}")
    for node, spec in loaded.nets.items():
        size = f"{n_parameters[node]:,} numbers"
        print(f"net {node:<10} {spec.kind} {spec.widths}, {size}, T {loaded.temperatures[node]:.2f}")
    print(f"songs seen     {len(loaded.songs_seen)}")
    _print_metrics(loaded.metrics)
    for key in ("licence", "data_statement", "command"):
        if loaded.about.get(key):
            print(f"{key.replace('_', ' '):<14} {loaded.about[key]}")


def _print_metrics(metrics: Any) -> None:
    for kind, model in metrics.get("models", {}).items():
        song = model["song"]
        low, high = song["interval"]
        protocol = metrics.get("protocol", "?")
        if n_folds := metrics.get("n_folds"):
            protocol += f", out of {n_folds} folds"
        print(f"{kind:<14} {song['accuracy']:.1%} of {song['n']} songs [{low:.1%}, {high:.1%}], protocol {protocol}")
