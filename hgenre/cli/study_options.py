"""What the commands that train for a table, and keep no model, share."""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from hgenre.cli.train import inputs

if TYPE_CHECKING:
    from hgenre.baselines.pipelines import ClassifierKind
    from hgenre.data.manifest import Manifest
    from hgenre.studies.protocols import Learners
    from hgenre.training.config import RunConfig


class ClassifierOption(StrEnum):
    gaussian_nb = "gaussian_nb"
    sgd = "sgd"
    knn = "knn"
    decision_tree = "decision_tree"
    random_forest = "random_forest"
    svm = "svm"
    logistic_regression = "logistic_regression"
    mlp = "mlp"
    xgboost = "xgboost"
    majority = "majority"


Config = Annotated[Path, typer.Argument(help="A TOML configuration; see configs/.", show_default=False)]
Folds = Annotated[int | None, typer.Option(min=2, help="Parts that songs are split into; the recipe's, or 5.")]
FoldsRun = Annotated[
    int | None, typer.Option(min=1, help="How many of them take a turn as the songs set aside; the recipe's, or all.")
]
Classifiers = Annotated[
    list[ClassifierOption] | None,
    typer.Option("--classifier", help="A classical classifier beside the net; repeat for more. Default: the recipe's."),
]
NoNet = Annotated[bool, typer.Option("--no-net", help="Train no nets: seconds in place of minutes.")]
Tree = Annotated[bool, typer.Option("--tree", help="Train a tree beside each flat model too.")]


class Study(NamedTuple):
    """What a study is of."""

    config: "RunConfig"
    manifest: "Manifest | None"
    n_folds: int
    folds_run: int | None


def study_of(config_path: Path, data: Path | None, folds: int | None, folds_run: int | None) -> Study:
    """Configuration, songs and folds; what the user left out comes from the configuration's recipe."""
    config, manifest = inputs(config_path, data)
    recipe = config.recipe
    n_folds = folds or (recipe.n_folds if recipe else 5)
    if folds_run is not None and folds_run > n_folds:
        raise typer.BadParameter(f"--folds-run {folds_run} is more than the {n_folds} folds there are")
    if folds_run is None and recipe is not None:
        folds_run = min(recipe.folds_run, n_folds)
    return Study(config, manifest, n_folds, folds_run)


def chosen_learners(
    config: "RunConfig", classifiers: Sequence[ClassifierOption] | None, *, no_net: bool, tree: bool
) -> "Learners":
    """What is to be trained: the recipe's learners with what the user set in their place."""
    from hgenre.studies.protocols import Learners
    from hgenre.studies.recipes import learners_of

    own = learners_of(config)
    learners = Learners(own.net and not no_net, own.tree or tree, kinds_of(classifiers) or own.classical)
    if not learners.n:
        raise typer.BadParameter("--no-net leaves nothing to train; name a --classifier")
    return learners


def kinds_of(classifiers: Sequence[ClassifierOption] | None) -> "tuple[ClassifierKind, ...]":
    """The classifiers' names, each once, as the studies know them."""
    return tuple(dict.fromkeys(kind.value for kind in classifiers or ()))


def run_study(
    out: Path, render: Callable[[dict[str, Any]], str], as_json: bool, study: Callable[..., dict[str, Any]]
) -> None:
    """Runs a study with its progress on stderr, keeps ``results.json`` and ``report.md``, prints one of them.

    A study that ends in an error leaves no empty folder.

    Args:
        study: takes ``on_frames`` and ``on_progress``.
    """
    from hgenre.cli.progress import training_progress
    from hgenre.results import make_run_folder, write_text

    make_run_folder(out)
    try:
        with training_progress() as (on_frames, on_fit):
            results = study(
                on_frames=on_frames, on_progress=lambda share, what, progress: on_fit(what, share, progress)
            )
    except BaseException:
        # Of an earlier run's folder, which is not empty, this leaves everything.
        with suppress(OSError):
            out.rmdir()
        raise
    text = json.dumps(results, indent=1, allow_nan=False)
    write_text(out / "results.json", text + "\n")
    report = render(results)
    write_text(out / "report.md", report)
    print(json.dumps(results, allow_nan=False) if as_json else report)
    print(f"written to {out}", file=sys.stderr)
