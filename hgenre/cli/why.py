"""``hgenre why``: what routing and what specialists cost, over many songs or in one."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgenre.cli.files import audio_files, songs_of
from hgenre.shipped import find_bundle

if TYPE_CHECKING:
    from rich.console import Console

WAYS = {
    ("soft", "slice"): "soft: every path counts",
    ("hard", "slice"): "hard: every slice takes one path",
    ("hard", "song"): "hard: the song takes one path",
    ("beam", "slice"): "beam: a slice's {width} best paths",
    ("beam", "song"): "beam: the song's {width} best paths",
    ("oracle", "slice"): "oracle: always the right group",
}

NO_TREE = "The run has no tree, so no group is chosen and nothing is lost by routing."
SEVERAL_TREES = "Each fold derived groups of its own, and an account is of one tree: there is none of all folds."


def why(
    bundle: Annotated[str, typer.Argument(help="Name of a shipped model, a bundle's folder, or a run's folder.")],
    songs: Annotated[list[Path] | None, typer.Argument(help="Audio files or folders: the way of each song.")] = None,
    manifest: Annotated[Path | None, typer.Option(help="Songs with genres: the account of all of them.")] = None,
    split: Annotated[str | None, typer.Option(help="Only songs whose split column holds this.")] = None,
    flat: Annotated[
        str | None,
        typer.Option(help="The net without groups to compare with, or its run. Default: `flat` beside the bundle."),
    ] = None,
    genre: Annotated[str | None, typer.Option(help="The true genre of the audio files.")] = None,
    allow_seen: Annotated[bool, typer.Option(help="Count songs the model has seen too; the result says so.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object (a line a song).")] = False,
) -> None:
    """Say why a tree is right or wrong: what choosing the group costs, and what choosing the genre inside it costs.

    Of a run's folder without songs: over those that the run held out, beside the tree's rivals; of a cross-validation
    also what confidence is worth. With audio files or --manifest: over these, by the run's bundle.
    """
    if not songs and manifest is None and (Path(bundle) / "outputs.npz").is_file():
        if split is not None or flat is not None or genre is not None or allow_seen:
            raise typer.BadParameter("a run's folder takes --json only: its held-out songs are known")
        _why_run(Path(bundle), as_json)
        return
    if bool(songs) == (manifest is not None):
        find_bundle(bundle)  # a wrong name is the first thing to be told
        raise typer.BadParameter("give audio files, --manifest, or the folder of a run with its outputs.npz")
    if songs:
        if split is not None or flat is not None or allow_seen:
            raise typer.BadParameter("--split, --flat and --allow-seen need --manifest")
        _why_files(bundle, songs, genre, as_json)
    else:
        if genre is not None:
            raise typer.BadParameter("--genre is for audio files; a manifest names the genres of its songs")
        assert manifest is not None
        _why_manifest(bundle, manifest, split, flat, allow_seen, as_json)


def _why_files(bundle: str, songs: list[Path], genre: str | None, as_json: bool) -> None:
    from hgenre.bundle import load_bundle
    from hgenre.why import why_files

    paths = list(audio_files(songs))
    if not paths:
        raise typer.BadParameter(f"no file with an audio format's ending in {', '.join(map(str, songs))}")
    found = why_files(load_bundle(find_bundle(bundle)), paths, true_genre=genre)
    for song in found:
        if as_json:
            print(json.dumps(song))
        elif "error" in song:
            print(f"{song['path']}: {song['error']['message']}", file=sys.stderr)
        else:
            _print_song(song)
    if n_failed := sum("error" in song for song in found):
        if not as_json:
            print(f"hgenre: {n_failed} of {len(found)} files have no answer", file=sys.stderr)
        raise typer.Exit(1)


def _why_manifest(
    bundle: str, manifest: Path, split: str | None, flat: str | None, allow_seen: bool, as_json: bool
) -> None:
    from hgenre.bundle import load_bundle
    from hgenre.cli.progress import training_progress
    from hgenre.data.cache import default_cache_dir
    from hgenre.why import why as run

    place = find_bundle(bundle)
    beside = place.resolve().parent / "flat"
    has_rival = beside.is_dir() and place.resolve() != beside
    flat_place = find_bundle(flat, of_run=["flat"]) if flat is not None else beside if has_rival else None
    loaded, rival = load_bundle(place), load_bundle(flat_place) if flat_place else None
    songs = songs_of(manifest, split)
    n_songs = len(songs.usable)
    with training_progress() as (on_frames, _):
        result = run(
            loaded,
            songs,
            default_cache_dir(),
            flat=rival,
            allow_seen=allow_seen,
            on_frames=lambda song: on_frames(song, n_songs),
        )
    if as_json:
        print(json.dumps(result))
    else:
        print_account(_console(), result["ledger"])
        for warning in result["warnings"]:
            print(f"warning: {warning}")


def _why_run(folder: Path, as_json: bool) -> None:
    from hgenre.held_out import FILE, read_held_out
    from hgenre.report import sections
    from hgenre.trust import run_results

    result = run_results(read_held_out(folder / FILE))
    if as_json:
        print(json.dumps(result))
        return
    if ledger := result.get("ledger"):
        print_account(_console(), ledger)
        print()
    else:
        print(" ".join(sections.answer_section(result)))
        print(SEVERAL_TREES if "comparison" in result else NO_TREE)
        print()
    for section in (
        sections.lacking_section,
        sections.rivals_section,
        sections.joint_section,
        sections.confidence_section,
        sections.honest_section,
        sections.resamples_section,
    ):
        for paragraph in section(result):
            print(paragraph + "\n")


def print_account(console: "Console", found: dict[str, Any]) -> None:
    """The verdict, then the tables of ``hgenre.account.account``."""
    from rich.markup import escape
    from rich.table import Table

    from hgenre.report.figures import p_value, percent
    from hgenre.report.ledger import FOUND, NODE_COLUMNS, ROUTED, SQUARE, ledger_facts, node_rows

    songs, slices = found["songs"], found["slices"]
    console.print(escape(found["verdict"]) + "\n")

    square = Table(f"{songs['n']} songs, one path each", *FOUND)
    for routed, row in zip(ROUTED, SQUARE, strict=True):
        square.add_row(routed, *(f"{cell} {_share(cell, songs)} ({songs[cell]}): {meaning}" for cell, meaning in row))
    console.print(square)
    console.print(escape("\n".join(ledger_facts(found))))
    console.print(
        f"{slices['n']} slices, each for itself: {', '.join(f'{cell} {_share(cell, slices)}' for cell in 'ALRB')}; "
        f"group chosen rightly {percent(slices['routing_accuracy'])}\n"
    )

    nodes = Table(*NODE_COLUMNS)
    for node in node_rows(found):
        nodes.add_row(*map(escape, node))
    console.print(nodes)

    genres = Table("genre", "songs", *(f"{cell} {meaning}" for row in SQUARE for cell, meaning in row))
    for row in songs["genres"]:
        genres.add_row(escape(row["genre"]), *(str(row[key]) for key in ("n", "A", "L", "R", "B")))
    console.print(genres)

    answers = Table("songs right, by decoder", "majority of slices", "mean probability", "mean log-probability")
    for (decoder, unit), label in WAYS.items():
        cells = [row for row in found["answers"] if (row["decoder"], row["unit"]) == (decoder, unit)]
        answers.add_row(label.format(width=cells[0]["beam_width"]), *map(_accuracy, cells))
    console.print(answers)
    if flat := found["flat"]:
        low, high = flat["interval_of_difference"]
        console.print(
            f"flat net {_accuracy(flat)}; tree less flat {100 * flat['difference']:+.1f} points "
            f"[{100 * low:+.1f}, {100 * high:+.1f}]; right in the tree only {flat['tree_only']}, in the flat net only "
            f"{flat['flat_only']} songs (exact McNemar p = {p_value(flat['mcnemar_p'])})"
        )


def _print_song(song: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    console = _console()
    console.print(escape(f"{song['path']}\n{song['verdict']}"))
    given = f"predict gives {song['answer']} {song['confidence']:.0%}"
    console.print(escape(f"{given}; ways and nodes below are without the temperatures of path and song"))
    for warning in song["warnings"]:
        console.print(escape(f"warning: {warning}"))
    for name in ("way", "runner_up"):
        if steps := song[name]:
            way = " › ".join(f"{step} {p:.0%}" for step, p in steps[1:])
            console.print(escape(f"{name.replace('_', '-'):<10} {way}"))
    nodes = Table("node", "slices that came", "children: votes of all slices, mean probability")
    for node in song["nodes"]:
        children = (f"{c['child']} {c['votes']} ({c['p']:.0%})" for c in node["children"])
        nodes.add_row(escape(node["node"]), str(node["n_came"]), escape(", ".join(children)))
    console.print(nodes)
    slices = Table("starts at", "way of the slice", "its vote")
    for row in song["slices"]:
        way = " › ".join(row["way"][1:])
        slices.add_row(f"{row['start_s']:.1f} s", escape(way), escape(f"{row['genre']} {row['p']:.0%}"))
    console.print(slices)


def _console() -> "Console":
    from rich.console import Console

    # A file or a pipe has no width to keep to.
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False)


def _share(cell: str, ledger: dict[str, Any]) -> str:
    return f"{100 * ledger[cell] / ledger['n']:.1f} %"


def _accuracy(row: dict[str, Any]) -> str:
    right, low, high = (f"{100 * share:.1f} %" for share in (row["accuracy"], *row["interval"]))
    return rf"{right} \[{low}, {high}]"
