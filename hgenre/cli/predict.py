"""``hgenre predict``: songs in, genres out."""

from pathlib import Path
from typing import Annotated

import typer

from hgenre.cli.files import audio_files
from hgenre.cli.plain import DEFAULT_MODEL
from hgenre.cli.route import Aggregation, Decoder, Unit, chosen_route


def predict(
    songs: Annotated[list[Path], typer.Argument(help="Audio files, or folders whose audio files are all answered.")],
    model: Annotated[
        str, typer.Option(help="Name of a shipped model, a bundle's folder, or a run's folder.")
    ] = DEFAULT_MODEL,
    route: Decoder = None,
    unit: Unit = None,
    vote: Aggregation = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line a song.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="One CSV row a song.")] = False,
    target_accuracy: Annotated[
        float | None,
        typer.Option(help="Share of answers that shall be right: a group, or nothing, where no genre is sure enough."),
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Share of songs whose genre shall be among the answer's, which may be a set.")
    ] = None,
    timeline: Annotated[bool, typer.Option(help="The answer of every slice too.")] = False,
) -> None:
    """Name the genre of songs. Every file is answered or named with the reason; exit status 1 if one has no answer."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    paths = list(audio_files(songs))
    if not paths:
        raise typer.BadParameter(f"no file with an audio format's ending in {', '.join(map(str, songs))}")

    from hgenre.cli.answers import print_answers

    status = print_answers(
        paths,
        model,
        as_json,
        as_csv,
        timeline,
        route=lambda default: chosen_route(default, route, unit, vote),
        target_accuracy=target_accuracy,
        coverage=coverage,
    )
    if status:
        raise typer.Exit(status)
