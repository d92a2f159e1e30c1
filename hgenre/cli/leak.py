"""``hgenre leak``: what a leaky split would have claimed, and what is true."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hgenre.cli.study_options import (
    Classifiers,
    Config,
    Folds,
    FoldsRun,
    NoNet,
    Tree,
    chosen_learners,
    run_study,
    study_of,
)
from hgenre.cli.train import AsJson, Data, command_line


def leak(
    config: Config,
    data: Data = None,
    folds: Folds = None,
    folds_run: FoldsRun = None,
    classifier: Classifiers = None,
    no_net: NoNet = False,
    tree: Tree = False,
    out: Annotated[Path | None, typer.Option(help="Where to write; runs/<name>-leak if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure leaks: the same models with slices, songs and artists kept apart, in one table."""
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.report.protocols import render_leak
    from hgenre.studies.protocols import leak as measure

    study = study_of(config, data, folds, folds_run)
    measured = partial(
        measure,
        study.config,
        chosen_learners(study.config, classifier, no_net=no_net, tree=tree),
        manifest=study.manifest,
        n_folds=study.n_folds,
        folds_run=study.folds_run,
        command=command_line(),
    )
    run_study(out or Path("runs") / f"{study.config.name}-leak", render_leak, as_json, measured)
