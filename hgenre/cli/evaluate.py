"""``hgenre evaluate``: a bundle's score on songs it has not seen."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgenre.cli.files import songs_of
from hgenre.cli.route import Aggregation, Decoder, Unit, chosen_route

if TYPE_CHECKING:
    from rich.console import Console


def evaluate(
    bundle: Annotated[str, typer.Argument(help="Name of a shipped model, a bundle's folder, or a run's folder.")],
    manifest: Annotated[Path, typer.Option(help="The songs, in the contract's columns; see `hgenre index`.")],
    split: Annotated[str | None, typer.Option(help="Only songs whose split column holds this.")] = None,
    route: Decoder = None,
    unit: Unit = None,
    vote: Aggregation = None,
    allow_seen: Annotated[bool, typer.Option(help="Score songs the model has seen too; the result says so.")] = False,
    taxonomy: Annotated[
        str | None,
        typer.Option(help="Also judge mistakes under a taxonomy: gtzan10-fma, or a TOML file that holds groups."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Score a model on a manifest's songs: accuracy, per-genre precision, recall and F1, confusions, confidence."""
    from hgenre.bundle import load_bundle
    from hgenre.cli.progress import training_progress
    from hgenre.data.cache import default_cache_dir
    from hgenre.evaluate import evaluate as run
    from hgenre.shipped import find_bundle
    from hgenre.taxonomy import read_taxonomy

    loaded = load_bundle(find_bundle(bundle))
    outside = None if taxonomy is None else read_taxonomy(taxonomy, loaded.labels)
    songs = songs_of(manifest, split)
    n_songs = len(songs.usable)
    with training_progress() as (on_frames, _):
        result = run(
            loaded,
            songs,
            default_cache_dir(),
            route=chosen_route(loaded.route, route, unit, vote),
            allow_seen=allow_seen,
            taxonomy=outside,
            on_frames=lambda song: on_frames(song, n_songs),
        )
    if as_json:
        print(json.dumps(result))
    else:
        _print_tables(result)


def _print_tables(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    # A file or a pipe has no width to keep to.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    song, by_slice, middle = result["song"], result["slice"], result["middle_slice"]
    low, high = song["interval"]
    console.print(f"{result['model']}, route {'/'.join(result['route'].values())}, {result['n_songs']} songs")
    console.print(f"songs   {song['accuracy']:.1%}  [{low:.1%}, {high:.1%}]   slices {by_slice['accuracy']:.1%}")
    console.print(f"one slice from the middle of every song: {middle['accuracy']:.1%}")
    _print_confidence(console, result["confidence"])
    table = Table("genre", "precision", "recall", "F1", "songs")
    for genre in song["per_genre"]:
        figures = (f"{genre[k]:.2f}" for k in ("precision", "recall", "f1"))
        table.add_row(escape(genre["genre"]), *figures, str(genre["support"]))
    console.print(table)
    confusion = Table("true \\ answered", *(Column(escape(genre), overflow="fold") for genre in result["labels"]))
    for genre, row in zip(result["labels"], song["confusion"], strict=True):
        confusion.add_row(escape(genre), *(str(n) if n else "·" for n in row))
    console.print(confusion)
    if "taxonomy" in result:
        _print_taxonomy(console, result["taxonomy"])
    for warning in result["warnings"]:
        console.print(f"warning: {warning}", markup=False)


def _print_confidence(console: "Console", confidence: dict[str, Any]) -> None:
    ece = confidence["ece"]
    low, high = ece["interval"]
    console.print(
        f"confidence: ECE (calibration error) {ece['value']:.1%}, ECE by noise {ece['calibrated']:.1%}, "
        f"ECE less noise {ece['corrected']:.1%}  [{low:.1%}, {high:.1%}]"
    )
    if confidence["log_loss"] is not None:
        console.print(f"log-loss {confidence['log_loss']:.2f}, Brier score {confidence['brier']:.2f}")
    curve = confidence["risk_coverage"]
    wrong = [next(point for point in curve if point[0] >= share) for share in (0.25, 0.5, 0.75, 1.0)]
    shares = ", ".join(f"{risk:.1%} of the surest {coverage:.0%}" for coverage, risk in wrong[:-1])
    console.print(f"wrong: {shares}, {wrong[-1][1]:.1%} of all; area under that curve (AURC) {confidence['aurc']:.3f}")


def _print_taxonomy(console: "Console", found: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(f"under {escape(found['name'])}", "accuracy", "hP", "hR", "hF", "severity", "distance")
    for name, row in (("answers", found), ("of least expected cost", found["least_cost"])):
        if row is None:
            continue
        severity = "-" if row["severity"] is None else f"{row['severity']:.2f} of {found['height']}"
        shares = (f"{row[k]:.1%}" for k in ("accuracy", "hP", "hR", "hF"))
        table.add_row(name, *shares, severity, f"{row['distance']:.2f}")
    console.print(table)
