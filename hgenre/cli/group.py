"""``hgenre group``: which genres belong together, derived, compared with controls, and drawn."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hgenre.studies.grouping.derive import Derived

group = typer.Typer(no_args_is_help=True, help="Which genres belong together, and whether it matters.")


class MethodOption(StrEnum):
    average = "average"
    complete = "complete"
    ward = "ward"
    spectral = "spectral"
    hd_cnn = "hd-cnn"
    kang_lin = "kang-lin"
    centroids = "centroids"
    nbdt = "nbdt"
    exhaustive_confusions = "exhaustive-confusions"
    exhaustive_probes = "exhaustive-probes"


class KindOption(StrEnum):
    soft = "soft"
    hard = "hard"


class UnitOption(StrEnum):
    song = "song"
    slice = "slice"


Config = Annotated[Path, typer.Argument(help="A TOML configuration; see configs/.", show_default=False)]
Data = Annotated[Path | None, typer.Option("--data", help="A folder a genre, or a manifest, in place of the config's.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]


@group.command()
def derive(
    config: Config,
    data: Data = None,
    method: Annotated[MethodOption, typer.Option(help="How groups are made.")] = MethodOption.average,
    groups: Annotated[
        int | None, typer.Option(min=2, help="How many; without, tree.n_groups, or else the confusions choose.")
    ] = None,
    kind: Annotated[KindOption, typer.Option(help="Mean probabilities, or counts of answers.")] = KindOption.soft,
    unit: Annotated[UnitOption, typer.Option(help="What is counted.")] = UnitOption.song,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the training songs that are answered in turn.")] = 5,
    auto_flatten: Annotated[
        bool, typer.Option("--auto-flatten", help="Take away groups whose specialists do not pay.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Write groups even where the mistakes know none.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="A folder; runs/<name>-groups if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Derive groups from confusions inside the training part; a config's tree.grouping takes the file."""
    from hgenre.cli.progress import training_progress
    from hgenre.cli.train import command_line, inputs
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.studies.grouping.derive import FILE, derive_groups, derived_to_json

    # The file that tree.grouping names may be the one that is to be written.
    loaded, manifest = inputs(config, data, with_grouping=False)
    directory = out or Path("runs") / f"{loaded.name}-groups"
    with training_progress() as (on_frames, on_fit):
        found = derive_groups(
            loaded,
            manifest,
            method=method.value,
            n_groups=groups,
            kind=kind.value,
            unit=unit.value,
            flatten=auto_flatten,
            without_structure=anyway,
            n_folds=folds,
            out=directory,
            command=command_line(),
            on_frames=on_frames,
            on_progress=lambda k, progress: on_fit(
                f"fold {k + 1}/{folds} ", (k + progress.share_done) / folds, progress
            ),
        )
    path = directory / FILE if found.grouping else None
    if as_json:
        print(json.dumps({**derived_to_json(found), "file": path and str(path)}))
    else:
        _print(found)
    if path:
        print(f"written to {path}; take it into training with tree.grouping", file=sys.stderr)
    else:
        advice = "" if found.structure.is_there or anyway else "; --anyway writes them all the same"
        print(f"no groups were written{advice}", file=sys.stderr)


def _print(found: "Derived") -> None:
    from hgenre.grouping.flattening import verdict as flattening_verdict
    from hgenre.grouping.forecast import verdict
    from hgenre.grouping.structure import verdict as structure_verdict

    print(f"{found.dendrogram}\n")
    print(
        f"{found.n_songs} songs of the training part, {found.n_right / found.n_songs:.1%} answered rightly out of fold"
    )
    print(structure_verdict(found.structure))
    print("groups: " + ", ".join("+".join(group) for group in found.groups))
    if found.bootstraps:
        print(
            f"stability: adjusted Rand index {found.bootstraps.mean:.2f} on average between groups of "
            f"{found.bootstraps.n_groupings} sets of songs drawn anew (1: always the same, 0: as chance has it)"
        )
    # Whether errors stay inside groups more than by chance is no question where these very errors made the groups.
    print(verdict(found.forecast))
    if found.flattened:
        print("\n".join([*found.flattened.steps, flattening_verdict(found.flattened)]))


@group.command()
def sweep(
    config: Config,
    data: Data = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts that take turns as the songs set aside.")] = 5,
    folds_run: Annotated[
        int | None, typer.Option(min=1, help="How many of them take a turn; all if not given.")
    ] = None,
    inner: Annotated[int, typer.Option(min=2, help="Folds inside each training part.")] = 3,
    draws: Annotated[int, typer.Option(min=1, help="Random groupings that each grouping is held against.")] = 1000,
    train: Annotated[
        int,
        typer.Option(min=0, max=3, help="Train so many of the best groupings as trees of CNNs, and those given too."),
    ] = 0,
    train_random: Annotated[int, typer.Option(min=0, help="How many random groupings are trained beside them.")] = 5,
    taxonomy: Annotated[
        str | None, typer.Option(help="An outside grouping to compare: a TOML file, or a shipped one's name.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A folder; runs/<name>-sweep if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare methods, group counts and controls: derived in every fold's training part, measured on its songs."""
    from hgenre.cli.progress import training_progress
    from hgenre.cli.train import command_line, inputs
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.report.groupings import render
    from hgenre.results import write_text
    from hgenre.studies.grouping.sweep import Sizes
    from hgenre.studies.grouping.sweep import sweep as run

    loaded, manifest = inputs(config, data)
    if folds_run is not None and folds_run > folds:
        raise typer.BadParameter(f"--folds-run {folds_run} is more than the {folds} folds there are")
    directory = out or Path("runs") / f"{loaded.name}-sweep"
    with training_progress() as (on_frames, on_fit):
        results = run(
            loaded,
            manifest,
            sizes=Sizes(folds, folds_run or folds, inner, draws, train, train_random),
            taxonomy=taxonomy,
            out=directory,
            command=command_line(),
            on_frames=on_frames,
            on_progress=lambda share, what, progress: on_fit(what, share, progress),
        )
    report = render(results)
    write_text(directory / "report.md", report)
    print(json.dumps(results, allow_nan=False) if as_json else report)
    print(f"written to {directory}", file=sys.stderr)


@group.command()
def compare(
    run: Annotated[Path, typer.Argument(help="A folder that a sweep wrote.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Print the verdict and the table of a sweep that is done: groupings beside their controls."""
    from hgenre.report.figures import bullets
    from hgenre.report.grouping_verdict import verdict
    from hgenre.report.groupings import LEGEND, comparison_table, listed, read_sweep, reported

    results = read_sweep(run)
    with reported(f"{run / 'results.json'}", "hgenre group sweep"):
        said, rows = verdict(results), listed(results)
        told = [bullets(said), comparison_table(results), bullets(LEGEND)]
        found = {"verdict": said, "baselines": results["baselines"], "candidates": rows}
    print(json.dumps(found) if as_json else "\n\n".join(told))


@group.command()
def show(
    what: Annotated[Path, typer.Argument(help="A folder that a sweep wrote, or a grouping file.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("--out", help="A folder; if not given pictures/ beside the results or the file.")
    ] = None,
) -> None:
    """Draw a sweep or derived groups, as PNG and SVG, and print what is known of them."""
    from hgenre.report.groupings import read_sweep, render, render_grouping
    from hgenre.report.pictures.of_groupings import draw_grouping, draw_sweep
    from hgenre.report.pictures.of_runs import FOLDER
    from hgenre.results import write_text
    from hgenre.training.grouping_file import FILE, read_grouping

    is_derived = (what / FILE).is_file() and not (what / "results.json").exists()
    file = what / FILE if is_derived else what
    if file.is_file() or what.suffix == ".json":
        place = out or file.parent / FOLDER
        grouping = read_grouping(file)
        report = render_grouping(grouping, str(file))
        drawn = draw_grouping(grouping, str(file), place)
    else:
        place = out or what / FOLDER
        results = read_sweep(what)
        drawn = draw_sweep(results, place)
        folder = out or what
        report = render(results, {name: png.relative_to(folder).as_posix() for name, (png, _) in drawn.items()})
        write_text(folder / "report.md", report)
    print(report)
    for paths in drawn.values():
        print("\n".join(map(str, paths)), file=sys.stderr)
