"""``hgenre predict``: songs in, genres out."""

import csv
import gc
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hgenre.cli.route import Aggregation, Decoder, Unit, chosen_route

if TYPE_CHECKING:
    from hgenre.predict import SongAnswer, SongFault

Writer = Callable[["SongAnswer | SongFault"], None]


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
        raise typer.BadParameter(f"no file with an audio format's ending in {', '.join(map(str, songs))}")

    from hgenre.bundle import load_bundle
    from hgenre.predict import Model, SongFault
    from hgenre.shipped import find_bundle

    bundle = load_bundle(find_bundle(model))
    loaded = Model(bundle, chosen_route(bundle.route, route, unit, vote))
    n_failed = 0
    # What is imported and compiled for the first answer stays; looking for garbage among it takes a tenth of the time.
    gc.disable()
    if as_json:
        write = _json_writer(timeline)
    elif as_csv:
        write = _csv_writer(loaded.genres, timeline)
    else:
        write = _text_writer(timeline)
    for answer in _with_progress(loaded.predict_each(paths), len(paths)):
        gc.enable()
        n_failed += isinstance(answer, SongFault)
        write(answer)
    if n_failed:
        if not as_json:
            print(f"hgenre: {n_failed} of {len(paths)} files have no answer", file=sys.stderr)
        raise typer.Exit(1)


def _files(songs: list[Path]) -> Iterator[Path]:
    """The files as named; of folders, in order of their paths, what looks like audio by its name and is not hidden."""
    from hgenre.data.layouts import AUDIO_EXTENSIONS

    for song in songs:
        if song.is_dir():
            found = (p for p in song.rglob("*") if p.suffix.lower() in AUDIO_EXTENSIONS and not p.name.startswith("."))
            yield from sorted(p for p in found if not p.is_dir())
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


def _json_writer(timeline: bool) -> Writer:
    def write(answer: "SongAnswer | SongFault") -> None:
        # In ASCII, so that the line is JSON whatever the terminal's encoding, also for paths that are not UTF-8.
        print(json.dumps(answer.to_json(timeline=timeline)), flush=True)

    return write


def _csv_writer(genres: tuple[str, ...], timeline: bool) -> Writer:
    from hgenre.predict import SongFault

    facts = ["start_s"] if timeline else ["n_slices", "duration_s", "truncated", *genres]
    header = ["path", "genre", "confidence", *facts, "warnings", "error", "message"]
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(header)

    def write(answer: "SongAnswer | SongFault") -> None:
        if isinstance(answer, SongFault):
            blank = [""] * (len(header) - 3)
            rows.writerow([answer.path, *blank, answer.kind, answer.message])
            return
        last = ["; ".join(answer.warnings), "", ""]
        if timeline:
            rows.writerows([answer.path, s.genre, round(s.p, 6), s.start_s, *last] for s in answer.slices)
        else:
            facts = [answer.n_slices, round(answer.duration_s, 3), answer.truncated]
            p = [round(answer.probabilities[genre], 6) for genre in genres]
            rows.writerow([answer.path, answer.genre, round(answer.confidence, 6), *facts, *p, *last])

    return write


def _text_writer(timeline: bool) -> Writer:
    from hgenre.predict import SongFault

    def write(answer: "SongAnswer | SongFault") -> None:
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
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes:3d}:{tenths / 10:04.1f}"
