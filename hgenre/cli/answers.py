"""Answers as text, JSON or CSV, one song after the other."""

import atexit
import csv
import gc
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hgenre.predict import Model, SongAnswer, SongFault
    from hgenre.tree.answer import Answer
    from hgenre.tree.route import Route

Writer = Callable[["SongAnswer | SongFault"], None]


def print_answers(
    paths: Sequence[Path],
    model: str,
    as_json: bool,
    as_csv: bool,
    timeline: bool,
    *,
    route: "Callable[[Route], Route]" = lambda default: default,
    target_accuracy: float | None = None,
    coverage: float | None = None,
) -> int:
    """Prints an answer, or why there is none, for every file; exit status 1 if one has none.

    Args:
        route: the bundle's route -> the one to take.
        target_accuracy, coverage: as for ``Model``.
    """
    # What is imported and loaded for the first answer stays to the end, and goes with the process: looking for garbage
    # among it takes a quarter of the time.
    gc.disable()
    atexit.register(gc.freeze)
    try:
        loaded = _load(model, route, target_accuracy, coverage)
        return _print_answers(loaded, paths, as_json, as_csv, timeline)
    finally:
        gc.enable()


def _load(
    model: str, route: "Callable[[Route], Route]", target_accuracy: float | None, coverage: float | None
) -> "Model":
    from hgenre.bundle import load_bundle
    from hgenre.predict import Model
    from hgenre.shipped import find_bundle

    bundle = load_bundle(find_bundle(model))
    return Model(bundle, route(bundle.route), target_accuracy=target_accuracy, coverage=coverage)


def _print_answers(model: "Model", paths: Sequence[Path], as_json: bool, as_csv: bool, timeline: bool) -> int:
    from hgenre.predict import SongFault

    n_failed = 0
    if as_json:
        write = _json_writer(timeline)
    elif as_csv:
        write = _csv_writer(model.genres, timeline)
    else:
        write = _text_writer(timeline, model.out_of_reach)
    for answer in _with_progress(model.predict_each(paths), len(paths)):
        gc.enable()
        n_failed += isinstance(answer, SongFault)
        write(answer)
    if n_failed and not as_json:
        print(f"hgenre: {n_failed} of {len(paths)} files have no answer", file=sys.stderr)
    return 1 if n_failed else 0


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
    header = ["path", "genre", "confidence", "answer", "kind", *facts, "warnings", "error", "message"]
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(header)

    def write(answer: "SongAnswer | SongFault") -> None:
        if isinstance(answer, SongFault):
            blank = [""] * (len(header) - 3)
            rows.writerow([answer.path, *blank, answer.kind, answer.message])
            return
        claim = [answer.answer.label or "/".join(answer.answer.genres), answer.answer.kind]
        last = ["; ".join(answer.warnings), "", ""]
        if timeline:
            rows.writerows([answer.path, s.genre, round(s.p, 6), *claim, s.start_s, *last] for s in answer.slices)
        else:
            facts = [answer.n_slices, round(answer.duration_s, 3), answer.truncated]
            p = [round(answer.probabilities[genre], 6) for genre in genres]
            rows.writerow([answer.path, answer.genre, round(answer.confidence, 6), *claim, *facts, *p, *last])

    return write


def _text_writer(timeline: bool, out_of_reach: str) -> Writer:
    """``out_of_reach``, the reason of every song without an answer, is told once."""
    from hgenre.predict import SongFault

    if out_of_reach:
        print(f"hgenre: {out_of_reach}", file=sys.stderr)

    def write(answer: "SongAnswer | SongFault") -> None:
        if isinstance(answer, SongFault):
            print(f"{answer.path}: {answer.message}", file=sys.stderr)
            return
        claim = answer.answer
        if claim.kind == "abstain":
            why = [claim.reason] if claim.reason != out_of_reach else []
            print("   ".join([f"{'not sure':<17}", *why, answer.path]), flush=True)
        else:
            way = " › ".join(f"{name} {p:.0%}" for name, p in claim.path[1:])
            votes = f"{sum(answer.votes[genre] for genre in claim.genres)} of {answer.n_slices} slices"
            p = min(1.0, sum(answer.probabilities[genre] for genre in claim.genres))
            facts = [f"{_words(claim):<12} {p:>4.0%}", *([way] if way else []), votes, answer.path]
            print("   ".join(facts), flush=True)
        for warning in answer.warnings:
            if warning == claim.reason:
                continue
            print(f"{answer.path}: warning: {warning}", file=sys.stderr)
        if timeline:
            for s in answer.slices:
                print(f"  {_clock(s.start_s)}  {s.genre:<12} {s.p:>4.0%}")

    return write


def _words(claim: "Answer") -> str:
    """A genre, the genres of a group with its name, or the genres of a set."""
    return "/".join(claim.genres) + (f" ({claim.label})" if claim.kind == "group" else "")


def _clock(seconds: float) -> str:
    minutes, tenths = divmod(round(10 * seconds), 600)
    return f"{minutes:3d}:{tenths / 10:04.1f}"
