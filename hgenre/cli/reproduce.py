"""``hgenre reproduce``: published systems, run again beside what was reported of them."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from hgenre.cli.train import AsJson, command_line, draw

LEARNING = Path("pictures") / "learning.svg"
"""The picture of a run's learning curves, in its folder."""


def reproduce(
    name: Annotated[str, typer.Argument(help="A recipe, such as deep-cnn; or all of them: all.")],
    recipes: Annotated[
        Path | None, typer.Option(help="A folder of recipes of your own, in place of configs/seeds.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the runs, one a recipe; runs/<the recipes' folder> if not given.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Where to write what is printed. If not given, all of configs/seeds go to docs/reproductions.md, all "
            "of your own to the folder of their runs, and one recipe nowhere."
        ),
    ] = None,
    again: Annotated[bool, typer.Option(help="Run recipes again that have run with the same configuration.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run a published system and print its reported figures beside ours, with interval, protocol and differences."""
    from hgenre.cli.progress import training_progress
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.errors import HgenreError
    from hgenre.report.reproductions import render_reproductions
    from hgenre.results import make_run_folder, write_text
    from hgenre.studies.recipes import ALL, SEEDS, not_run
    from hgenre.studies.recipes import recipes as recipes_in
    from hgenre.studies.recipes import reproduce as run
    from hgenre.training.progress import Progress

    folder = recipes or SEEDS
    known = recipes_in(folder)
    if name != ALL and name not in known:
        raise typer.BadParameter(f"no recipe {name!r}; known are {ALL}, {', '.join(known)}")
    wanted = known if name == ALL else {name: known[name]}
    out = out or Path("runs") / folder.resolve().name
    if report is None and name == ALL:
        report = out / "reproductions.md" if recipes else Path("docs") / "reproductions.md"
    if report is not None:
        make_run_folder(report.parent, option="--report")
    found: list[dict[str, Any]] = []
    failed = False
    with training_progress() as (on_frames, on_fit):
        for k, (recipe, path) in enumerate(wanted.items()):

            def tell(share: float, what: str, progress: Progress | None, k: int = k, recipe: str = recipe) -> None:
                on_fit(f"{recipe} {what}", (k + share) / len(wanted), progress)

            command = f"hgenre reproduce {recipe}" + (f" --recipes {folder}" if recipes else "")
            try:
                own = run(path, out / recipe, again=again, command=command, on_frames=on_frames, on_progress=tell)
            except HgenreError as error:
                if name != ALL:
                    raise
                print(f"hgenre: {recipe}: {error}", file=sys.stderr)
                failed, own = True, not_run(path, str(error), command)
            found.append(own)
            for protocol in own["protocols"]:
                _give_account(out / recipe / protocol)
    curves = {} if report is None else _curves(found, out, report)
    text = render_reproductions(found, command_line(), curves, folder=str(recipes or "configs/seeds"))
    if report is not None:
        write_text(report, text, option="--report")
        print(f"written to {report}", file=sys.stderr)
    print(json.dumps(found) if as_json else text)
    if failed:
        raise typer.Exit(1)


def _give_account(folder: Path) -> None:
    """Draws and describes a run of nets, unless that was done since it ended."""
    from hgenre.errors import HgenreError
    from hgenre.report.markdown import render
    from hgenre.results import write_text

    results, account = folder / "results.json", folder / "report.md"
    if not results.exists() or (account.exists() and account.stat().st_mtime_ns >= results.stat().st_mtime_ns):
        return
    try:
        told = json.loads(results.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HgenreError(f"{results} cannot be read ({error}); run the recipe with --again") from None
    write_text(account, render(told, draw(folder)))


def _curves(found: list[dict[str, Any]], out: Path, report: Path) -> dict[str, str]:
    """Recipe -> its learning curves under its first protocol, copied beside the report: path from there."""
    from hgenre.results import write_text

    curves = {}
    for results in found:
        drawn = next((out / results["name"] / protocol / LEARNING for protocol in results["protocols"]), None)
        if drawn is not None and drawn.exists():
            beside = Path(report.stem) / f"{results['name']}.svg"
            write_text(report.parent / beside, drawn.read_text(encoding="utf-8"), option="--report")
            curves[results["name"]] = beside.as_posix()
    return curves
