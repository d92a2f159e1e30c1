"""``hgenre baselines``: classical classifiers side by side, flat and as trees."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hgenre.cli.study_options import (
    ClassifierOption,
    Config,
    Folds,
    FoldsRun,
    kinds_of,
    run_study,
    study_of,
)
from hgenre.cli.train import AsJson, Data, command_line


def baselines(
    config: Config,
    data: Data = None,
    classifier: Annotated[
        list[ClassifierOption] | None,
        typer.Option("--classifier", help="A classical classifier; repeat for more. Default: all of them."),
    ] = None,
    root: Annotated[
        ClassifierOption | None, typer.Option(help="With --specialist: one more tree, with this at its root.")
    ] = None,
    specialist: Annotated[
        ClassifierOption | None, typer.Option(help="With --root: what stands at that tree's other nodes.")
    ] = None,
    folds: Folds = None,
    folds_run: FoldsRun = None,
    with_net: Annotated[bool, typer.Option("--with-net", help="Train the configuration's nets beside them.")] = False,
    out: Annotated[Path | None, typer.Option(help="Where to write; runs/<name>-baselines if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare classical classifiers, flat and as trees where the configuration has groups; no model is saved."""
    if (root is None) != (specialist is None):
        raise typer.BadParameter("--root and --specialist go together")
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.report.baselines import render_baselines
    from hgenre.studies.baselines import baselines as side_by_side

    study = study_of(config, data, folds, folds_run)
    mixed = (kinds_of([root])[0], kinds_of([specialist])[0]) if root and specialist else None
    measured = partial(
        side_by_side,
        study.config,
        kinds_of(classifier or list(ClassifierOption)),
        mixed=mixed,
        with_net=with_net,
        manifest=study.manifest,
        n_folds=study.n_folds,
        folds_run=study.folds_run,
        command=command_line(),
    )
    run_study(out or Path("runs") / f"{study.config.name}-baselines", render_baselines, as_json, measured)
