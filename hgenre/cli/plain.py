"""The usual ``hgenre predict``, read without typer, which takes a quarter of the time that a song does."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hgenre.cli.files import audio_files

DEFAULT_MODEL = "gtzan10-tree"


class Prediction(NamedTuple):
    """What ``print_answers`` needs to know."""

    paths: list[Path]
    model: str = DEFAULT_MODEL
    as_json: bool = False
    as_csv: bool = False
    timeline: bool = False


def plain_prediction(arguments: Sequence[str]) -> Prediction | None:
    """What a command line of songs, ``--model`` and the form of the answers asks for.

    None for every other one, mistakes among them: typer reads those, and knows what to say.
    """
    if arguments[:1] != ["predict"]:
        return None
    songs: list[Path] = []
    model = DEFAULT_MODEL
    flags = set()
    rest = iter(arguments[1:])
    for argument in rest:
        if argument == "--model":
            model = next(rest, "-")
        elif argument in ("--json", "--csv", "--timeline"):
            flags.add(argument)
        elif argument.startswith("-") or not argument:
            return None
        else:
            songs.append(Path(argument))
    paths = list(audio_files(songs))
    if not paths or model.startswith("-") or {"--json", "--csv"} <= flags:
        return None
    return Prediction(paths, model, "--json" in flags, "--csv" in flags, "--timeline" in flags)
