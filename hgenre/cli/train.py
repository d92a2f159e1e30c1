"""``hgenre train-tree``, ``hgenre train``, ``hgenre cross-validate``: from music to models and their results."""

import json
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hgenre.data.manifest import Manifest
    from hgenre.train import RunResult
    from hgenre.training.config import RunConfig

Config = Annotated[Path | None, typer.Argument(help="A TOML configuration; see configs/. Without one, defaults serve.")]
Data = Annotated[Path | None, typer.Option("--data", help="A folder a genre, or a manifest, in place of the config's.")]
Out = Annotated[Path | None, typer.Option("--out", help="Where to write; runs/<name> if not given.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print results.json instead of the report.")]


def train_tree(config: Config = None, data: Data = None, out: Out = None, as_json: AsJson = False) -> None:
    """Train root, specialists and the flat net, score them on songs set aside, write a report."""
    _train(config, data, out, as_json, with_tree=True)


def train(config: Config = None, data: Data = None, out: Out = None, as_json: AsJson = False) -> None:
    """Train the flat net alone."""
    _train(config, data, out, as_json, with_tree=False)


def cross_validate(
    config: Config = None,
    data: Data = None,
    out: Out = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts that take turns as the songs set aside.")] = 5,
    refit: Annotated[bool, typer.Option(help="Fit once more on all songs at the end, and save that model.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score a configuration out of fold: every song is answered by models that have not seen it (nor its artist)."""
    from hgenre.cli.progress import training_progress
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.report.markdown import render
    from hgenre.results import write_text
    from hgenre.studies.cross_validate import cross_validate as run

    loaded, manifest = inputs(config, data)
    directory = out or Path("runs") / f"{loaded.name}-folds"
    n_fits = folds * len(loaded.seeds) + refit
    with training_progress() as (on_frames, on_fit):
        results = run(
            loaded,
            manifest,
            n_folds=folds,
            refit=refit,
            out=directory,
            command=command_line(),
            on_frames=on_frames,
            on_progress=lambda n_done, what, progress: on_fit(what, (n_done + progress.share_done) / n_fits, progress),
        )
    report = render(results, draw(directory))
    write_text(directory / "report.md", report)
    print(json.dumps(results) if as_json else report)


def _train(config_path: Path | None, data: Path | None, out: Path | None, as_json: bool, *, with_tree: bool) -> None:
    from hgenre.cli.progress import training_progress
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.report.markdown import render
    from hgenre.results import write_text
    from hgenre.train import train_tree as run

    config, manifest = inputs(config_path, data)
    n_seeds = len(config.seeds)
    with training_progress() as (on_frames, on_fit):
        result: RunResult = run(
            config,
            manifest,
            out=out,
            with_tree=with_tree,
            command=command_line(),
            on_frames=on_frames,
            on_progress=lambda seed, progress: on_fit(
                f"seed {seed} " if n_seeds > 1 else "",
                (config.seeds.index(seed) + progress.share_done) / n_seeds,
                progress,
            ),
        )
    report = render(result.results, draw(result.directory))
    write_text(result.directory / "report.md", report)
    print(json.dumps(result.results) if as_json else report)
    print(f"written to {result.directory}", file=sys.stderr)


def draw(directory: Path) -> dict[str, str]:
    """Draws a run's pictures into its folder: caption -> path of the PNG in that folder; none, and why, on failure."""
    from hgenre.report.pictures.of_runs import draw_run

    try:
        drawn = draw_run(directory)
    except Exception as error:  # whatever a drawing library raises, the run's results are written and stand
        print(f"warning: {directory}: pictures could not be drawn ({type(error).__name__}: {error})", file=sys.stderr)
        return {}
    return {caption: png.relative_to(directory).as_posix() for caption, (png, _) in drawn.items()}


def inputs(
    config_path: Path | None, data: Path | None, *, with_grouping: bool = True
) -> "tuple[RunConfig, Manifest | None]":
    """The configuration (or the default one, named after the data) and the manifest that --data gives.

    ``with_grouping`` as for ``read_config``.
    """
    from hgenre.training.border import config_from_dict, read_config

    if config_path is None and data is None:
        raise typer.BadParameter("give a configuration, or --data DIR with a folder a genre")
    if data is None:
        assert config_path is not None
        return read_config(config_path, with_grouping=with_grouping), None
    manifest = _manifest(data)
    if config_path is not None:
        return read_config(config_path, manifest=data, with_grouping=with_grouping), manifest
    name = "".join(c if c.isalnum() or c in "._-" else "-" for c in data.resolve().stem) or "music"
    has_artists = any(song.artist for song in manifest.usable)
    defaults: dict[str, Any] = {"name": name, "data": {"protocol": "artist" if has_artists else "song"}}
    return config_from_dict(defaults), manifest


def _manifest(data: Path) -> "Manifest":
    from hgenre.data.index import index_folder
    from hgenre.data.manifest import read_manifest

    if data.is_file():
        return read_manifest(data)
    if (data / "manifest.csv").is_file():
        return read_manifest(data / "manifest.csv")
    print(f"indexing {data}", file=sys.stderr)
    return index_folder(data)


def command_line() -> str:
    """The command as it was given, to be told with what came of it."""
    return shlex.join(["hgenre", *sys.argv[1:]])
