"""``hgenre ablate``: what the other genres gain when one is left out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from hgenre.studies.protocols import OnFrames, OnProgress


def ablate(
    config: Config,
    drop: Annotated[
        list[str], typer.Option(help="A genre to leave out; repeat for others, each left out alone. all: each in turn.")
    ],
    data: Data = None,
    folds: Folds = None,
    folds_run: FoldsRun = None,
    classifier: Classifiers = None,
    no_net: NoNet = False,
    tree: Tree = False,
    out: Annotated[Path | None, typer.Option(help="Where to write; runs/<name>-ablate if not given.")] = None,
    as_json: AsJson = False,
) -> None:
    """Leave a genre out: what the others gain, by one wrong answer fewer to give and by learning without it."""
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    from hgenre.report.ablation import render_ablation
    from hgenre.studies.ablate import ablate as without
    from hgenre.studies.protocols import prepare_under, without_rivals
    from hgenre.training.prepare import fold_ids, fold_protocol

    study = study_of(config, data, folds, folds_run)
    learners = chosen_learners(study.config, classifier, no_net=no_net, tree=tree)
    protocol = fold_protocol(study.config)

    def measured(on_frames: "OnFrames", on_progress: "OnProgress") -> dict[str, Any]:
        prepared = prepare_under(without_rivals(study.config), protocol, manifest=study.manifest, on_frames=on_frames)
        dropped = list(prepared.labels) if drop == ["all"] else drop
        held_out = fold_ids(prepared, study.n_folds)[: study.folds_run]
        found = without(prepared, held_out, dropped, learners, command=command_line(), on_progress=on_progress)
        facts = {"name": study.config.name, "command": command_line(), "protocol": protocol, "folds": study.n_folds}
        return {**facts, **found}

    run_study(out or Path("runs") / f"{study.config.name}-ablate", render_ablation, as_json, measured)
