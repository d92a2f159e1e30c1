"""``hgenre reproduce``: the systems that hgenre grew from, run again beside what was reported of them."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer


LEARNING = Path("pictures") / "learning.svg"
"""The picture of a run's learning curves, in its folder."""


def reproduce(
    name: Annotated[str, typer.Argument(help="A recipe of configs/seeds/, such as deep-cnn; or all of them: all.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the runs, one a recipe.")] = Path("runs/seeds"),
    report: Annotated[
        Path, typer.Option(help="With all: where the table and the account of every recipe are written.")
    ] = Path("docs/reproductions.md"),
    again: Annotated[bool, typer.Option(help="Run recipes again that have run with the same configuration.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the results instead of the report.")] = False,
) -> None:
    """Run a published system and print its reported figures beside ours, with interval, protocol and differences."""
    from hgenre.cli.progress import training_progress
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.cli.train import draw
    from hgenre.report.markdown import render
    from hgenre.report.reproductions import render_reproductions
    from hgenre.results import write_text
    from hgenre.studies.recipes import recipes
    from hgenre.studies.recipes import reproduce as run

    known = recipes()
    if name != "all" and name not in known:
        raise typer.BadParameter(f"no recipe {name!r}; known are all, {', '.join(known)}")
    wanted = known if name == "all" else {name: known[name]}
    command = shlex.join(["hgenre", *sys.argv[1:]])
    found = []
    with training_progress() as (on_frames, on_fit):
        for k, (recipe, path) in enumerate(wanted.items()):
            found.append(
                run(
                    path,
                    out / recipe,
                    again=again,
                    command=f"hgenre reproduce {recipe}",
                    on_frames=on_frames,
                    on_progress=lambda share, what, progress, k=k, recipe=recipe: on_fit(  # type: ignore[misc]
                        f"{recipe} {what}", (k + share) / len(wanted), progress
                    ),
                )
            )
            for results in sorted((out / recipe).glob("*/results.json")):
                account = results.with_name("report.md")
                if not account.exists() or account.stat().st_mtime_ns < results.stat().st_mtime_ns:
                    pictures = draw(results.parent)
                    write_text(account, render(json.loads(results.read_text(encoding="utf-8")), pictures))
    curves = {}
    if name == "all":
        for results in found:
            drawn = next((out / results["name"] / protocol / LEARNING for protocol in results["protocols"]), None)
            if drawn is not None and drawn.exists():
                beside = Path(report.stem) / f"{results['name']}.svg"
                write_text(report.parent / beside, drawn.read_text(encoding="utf-8"))
                curves[results["name"]] = beside.as_posix()
    text = render_reproductions(found, command, curves)
    if name == "all":
        write_text(report, text)
        print(f"written to {report}", file=sys.stderr)
    print(json.dumps(found) if as_json else text)
