"""``hgenre pictures``: a run, a configuration's songs or single songs drawn."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pictures(
    what: Annotated[
        list[Path], typer.Argument(help="A run's folder; a TOML configuration; or audio files.", show_default=False)
    ],
    data: Annotated[
        Path | None, typer.Option("--data", help="With a configuration: a folder a genre, or a manifest, in its place.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write; RUN/pictures, pictures/<name> or pictures if not given.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Draw pictures, as PNG and SVG.

    Of a run: confusions, each genre before and after the vote, learning curves. Of a configuration's songs: principal
    components, mel spectrograms, mean MFCC of training and test songs. Of a song: waveform with spectral centroid and
    rolloff, mel spectrogram.
    """
    first = what[0]
    is_config = first.suffix == ".toml"
    if data is not None and not is_config:
        raise typer.BadParameter("--data goes with a configuration")
    if len(what) > 1 and any(path.is_dir() or path.suffix == ".toml" for path in what):
        raise typer.BadParameter("give one run's folder, or one configuration, or audio files")
    drawn: dict[str, list[Path]] = {}
    failed: list[dict[str, Any]] = []
    try:
        if is_config:
            _draw_music(first, data, out, drawn)
        elif first.is_dir():
            from hgenre.report.pictures.of_runs import draw_run

            drawn |= draw_run(first, out)
        else:
            failed = _draw_songs(what, out or Path("pictures"), drawn)
    finally:
        # What was drawn before a picture failed is there, and is told.
        _print(drawn, failed, as_json)
    if failed:
        raise typer.Exit(1)


def _draw_music(config_path: Path, data: Path | None, out: Path | None, drawn: dict[str, list[Path]]) -> None:
    from dataclasses import replace

    from hgenre.cli.progress import training_progress
    from hgenre.cli.train import inputs
    from hgenre.report.pictures.of_music import music_figures
    from hgenre.training.prepare import prepare

    config, manifest = inputs(config_path, data)
    if config.data.protocol == "slice-random":
        # It makes a song of every slice, and the pictures are of songs.
        config = replace(config, data=replace(config.data, protocol="song"))
    with training_progress() as (on_frames, _):
        prepared = prepare(config, manifest, on_frames=on_frames)
    folder = out or Path("pictures") / config.name
    for stem, caption, figure in music_figures(prepared):
        drawn[caption] = _save(figure, folder / stem)


def _draw_songs(paths: list[Path], out: Path, drawn: dict[str, list[Path]]) -> list[dict[str, Any]]:
    """Draws every song that can be read; what the others lack."""
    from hgenre.errors import AudioError
    from hgenre.report.pictures.of_music import song_figures

    failed = []
    names: set[str] = set()
    for path in paths:
        try:
            for stem, caption, figure in song_figures(path):
                # Songs of one name from two folders are told apart by a number.
                name = next(n for k in range(len(paths)) if (n := f"{stem}-{k + 1}" if k else stem) not in names)
                names.add(name)
                drawn[f"{caption} of {path}"] = _save(figure, out / name)
        except AudioError as error:
            failed.append({"path": str(path), "error": {"kind": error.kind, "message": error.message}})
    return failed


def _save(figure: "Figure", stem: Path) -> list[Path]:
    from hgenre.report.pictures.saving import save_figure

    return save_figure(figure, stem)


def _print(drawn: dict[str, list[Path]], failed: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"pictures": {name: [str(p) for p in paths] for name, paths in drawn.items()}, "failed": failed})
        )
        return
    for paths in drawn.values():
        print("\n".join(map(str, paths)))
    for song in failed:
        print(f"{song['path']}: {song['error']['message']}", file=sys.stderr)
