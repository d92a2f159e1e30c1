"""Classical classifiers side by side, flat and as trees, on the songs that nets are judged by."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.data.manifest import Manifest
from hgenre.errors import ConfigError, HgenreError
from hgenre.evaluate import compare
from hgenre.held_out import TREE
from hgenre.studies.folds import classifiers_out_of_fold
from hgenre.studies.protocols import (
    Learners,
    OnFrames,
    OnProgress,
    described,
    figures,
    learn,
    model_name,
    prepare_under,
    without_rivals,
)
from hgenre.training.config import RunConfig
from hgenre.training.prepare import fold_ids, fold_protocol
from hgenre.training.progress import Progress
from hgenre.trust import routing_results

CONTROL: ClassifierKind = "svm"
"""Whose tree a tree of nets must beat: it is trained in seconds."""


def baselines(
    config: RunConfig,
    kinds: Sequence[ClassifierKind],
    *,
    mixed: tuple[ClassifierKind, ClassifierKind] | None = None,
    with_net: bool = False,
    manifest: Manifest | None = None,
    n_folds: int = 5,
    folds_run: int | None = None,
    command: str = "",
    cache_dir: Path | None = None,
    on_frames: OnFrames = lambda song, n_songs: None,
    on_progress: OnProgress = lambda share_done, what, progress: None,
) -> dict[str, Any]:
    """Classifiers of every kind under the configuration's protocol, as plain JSON values; a tree each, given groups.

    Args:
        mixed: kinds of the root and of the other nodes of one more tree.
        with_net: the configuration's nets too.

    Returns:
        ``name, command, protocol, labels, n_folds, folds_run, warnings``, what ``described`` says (``seconds`` are of
        a flat classifier and its tree together), ``ledgers``: tree -> ``account``, and ``control``: the tree of nets
        less the tree of ``CONTROL``, or None where one of them is missing.

    Raises:
        ConfigError: ``mixed`` and no groups.
        HgenreError: why the first of them could not be fitted, where nothing else could be either.
    """
    has_groups = config.tree.groups is not None
    if mixed and not has_groups:
        problem = "is missing, and a root and specialists of different kinds make a tree; give the groups"
        raise ConfigError(config.name, [("tree.groups", problem)])
    protocol = fold_protocol(config)
    prepared = prepare_under(
        without_rivals(config), protocol, manifest=manifest, cache_dir=cache_dir, on_frames=on_frames
    )
    held_out = fold_ids(prepared, n_folds)[:folds_run]
    learners = Learners(net=with_net, tree=has_groups, classical=tuple(dict.fromkeys(kinds)))
    n_steps = learners.n + (mixed is not None)

    def report(share: float, what: str, progress: Progress | None) -> None:
        on_progress(share * learners.n / n_steps, what, progress)

    found = learn(prepared, held_out, learners, command=command, on_progress=report)
    results = described(found)
    trees = {name: folds for name, (folds, own_name) in found.models.items() if own_name == TREE}
    warnings = [*prepared.warnings, *found.warnings]
    if mixed:
        root, specialist = mixed
        name = model_name(f"{root} over {specialist}", TREE)
        on_progress(learners.n / n_steps, name, None)
        try:
            folds = classifiers_out_of_fold(prepared, held_out, root, specialist, seed=prepared.config.seeds[0])
        except HgenreError as error:
            results["not_run"][name] = str(error)
        else:
            trees[name] = folds
            results["models"][name] = figures(folds.answers[TREE], prepared.labels, protocol)
            results["seconds"][name] = folds.seconds
            warnings += folds.warnings
    control = model_name(CONTROL, TREE)
    both = {TREE, control} <= set(found.answers)
    ledgers = {
        name: routing_results(folds.heard, flat_name="flat net" if name == TREE else "flat classifier")
        for name, folds in trees.items()
    }
    return {
        "name": config.name,
        "command": command,
        "protocol": protocol,
        "labels": list(prepared.labels),
        "n_folds": n_folds,
        "folds_run": len(held_out),
        **results,
        "ledgers": {name: own["ledger"] for name, own in ledgers.items() if own},
        "control": compare(found.answers[TREE], found.answers[control]) if both else None,
        "warnings": list(dict.fromkeys(warnings)),
    }
