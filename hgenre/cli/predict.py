"""``hgenre predict``: songs in, genres out."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgenre.cli.route import Aggregation, Decoder, Unit, chosen_route

if TYPE_CHECKING:
    from hgenre.predict import SongAnswer, SongFault

AUDIO_SUFFIXES = frozenset(
    [
        ".aac",
        ".aif",
        ".aifc",
        ".aiff",
        ".alac",
        ".au",
        ".caf",
        ".flac",
        ".m4a",
        ".m4b",
        ".mka",
        ".mp2",
        ".mp3",
        ".mp4",
        ".oga",
        ".ogg",
        ".opus",
        ".snd",
        ".w64",
        ".wav",
        ".wma",
    ]
)


def predict(
    songs: Annotated[list[Path], typer.Argument(help="Audio files, or folders whose audio files are all answered.")],
    model: Annotated[str, typer.Option(help="Name of a shipped model, or a bundle's folder.")] = "gtzan10-tree",
    route: Decoder = None,
    unit: Unit = None,
    vote: Aggregation = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line a song.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One CSV row a song.")] = False,
    timeline: Annotated[bool, typer.Option(help="The answer of every slice too.")] = False,
) -> None:
    """Name the genre of songs. Every file is answered or named with the reason; exit status 1 if one has no answer."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    paths = list(_files(songs))
    if not paths:
        raise typer.BadParameter(f"no audio file in {', '.join(map(str, songs))}")

    from hgenre.bundle import load_bundle
    from hgenre.predict import Model, SongFault
    from hgenre.shipped import find_bundle

    bundle = load_bundle(find_bundle(model), verify=False)
    loaded = Model(bundle, chosen_route(bundle.route, route, unit, vote))
    n_failed = 0
    write = _json_writer() if as_json else _csv_writer(loaded.genres, timeline) if as_csv else _text_writer(timeline)
    for answer in _with_progress(loaded.predict_each(paths), len(paths)):
        n_failed += isinstance(answer, SongFault)
        write(answer, timeline)
    if n_failed:
        if not as_json:
            print(f"hgenre: {n_failed} of {len(paths)} files have no answer", file=sys.stderr)
        raise typer.Exit(1)


def _files(songs: list[Path]) -> Iterator[Path]:
    """The files as named; of folders the files that look like audio, by name."""
    for song in songs:
        if song.is_dir():
            yield from sorted(p for p in song.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and not p.is_dir())
        else:
            yield song


def _with_progress(answers: Iterator[Any], n_songs: int) -> Iterator[Any]:
    if n_songs < 10 or not sys.stderr.isatty():
        yield from answers
        return
    from rich.console import Console
    from rich.progress import Progress

    from hgenre.cli.progress import columns

    with Progress(*columns(), console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        yield from progress.track(answers, total=n_songs, description="listening")


def _json_writer() -> Callable[["SongAnswer | SongFault", bool], None]:
    from hgenre.predict import SongFault

    def write(answer: "SongAnswer | SongFault", timeline: bool) -> None:
        record = answer.to_json() if isinstance(answer, SongFault) else answer.to_json(timeline=timeline)
        print(json.dumps(record, ensure_ascii=False), flush=True)

    return write


def _csv_writer(genres: tuple[str, ...], timeline: bool) -> Callable[["SongAnswer | SongFault", bool], None]:
    from hgenre.predict import SongFault

    writer = csv.writer(sys.stdout, lineterminator="\n")
    slice_columns = ["start_s"] if timeline else []
    writer.writerow(
        [
            "path",
            *slice_columns,
            "genre",
            "confidence",
            "n_slices",
            "duration_s",
            "truncated",
            *genres,
            "warnings",
            "error",
        ]
    )

    def write(answer: "SongAnswer | SongFault", timeline: bool) -> None:
        blank = [""] * (len(genres) + 4)
        if isinstance(answer, SongFault):
            message = f"{answer.kind}: {answer.message}"
            writer.writerow([answer.path, *([""] if timeline else []), "", *blank, "", message])
        elif timeline:
            for s in answer.slices:
                writer.writerow([answer.path, s.start_s, s.genre, round(s.p, 6), *blank[1:], "", ""])
        else:
            p = [round(answer.probabilities[g], 6) for g in genres]
            facts = [answer.n_slices, round(answer.duration_s, 3), answer.truncated]
            row = [answer.path, answer.genre, round(answer.confidence, 6), *facts, *p, "; ".join(answer.warnings), ""]
            writer.writerow(row)

    return write


def _text_writer(timeline: bool) -> Callable[["SongAnswer | SongFault", bool], None]:
    from hgenre.predict import SongFault

    def write(answer: "SongAnswer | SongFault", timeline: bool) -> None:
        if isinstance(answer, SongFault):
            print(f"{answer.path}: {answer.message}", file=sys.stderr)
            return
        way = " › ".join(f"{name} {p:.0%}" for name, p in answer.tree_path[1:])
        votes = f"{answer.votes[answer.genre]} of {answer.n_slices} slices"
        print(f"{answer.genre:<12} {answer.confidence:>4.0%}   {way}   {votes}   {answer.path}", flush=True)
        for warning in answer.warnings:
            print(f"{answer.path}: warning: {warning}", file=sys.stderr)
        if timeline:
            for s in answer.slices:
                print(f"  {_clock(s.start_s)}  {s.genre:<12} {s.p:>4.0%}")

    return write


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:3d}:{seconds % 60:04.1f}"
