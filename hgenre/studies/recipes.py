"""The systems that hgenre grew from: configurations in ``configs/seeds`` that run and stand beside their reports."""

import hashlib
import json
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.errors import ConfigError, OptionError
from hgenre.held_out import FLAT, TREE
from hgenre.results import make_run_folder, write_text
from hgenre.shipped import ROOT
from hgenre.studies.ablate import ablate
from hgenre.studies.cross_validate import write_folds
from hgenre.studies.protocols import Learners, OnFrames, OnProgress, described, model_name, under_protocol
from hgenre.training.border import UNSET, read_config
from hgenre.training.config import FoldProtocol, RunConfig, config_to_dict
from hgenre.training.prepare import fold_ids, fold_protocol, prepare
from hgenre.training.progress import Progress

SEEDS = ROOT / "configs" / "seeds"

ALL = "all"
"""What stands for every recipe, and so names none."""

_PROSE = ("row", "title", "source", "reported", "differences")
"""What a recipe says beside its run; kept results take it as it stands today."""

_SCHEMA_VERSION = 1
"""Of a recipe's results; others are not taken for those of today."""


def recipes(folder: Path = SEEDS) -> dict[str, Path]:
    """Name -> configuration of every recipe in a folder, in the order of their rows.

    Raises:
        OptionError: there is none in the folder.
        ConfigError: a file of the folder is no recipe, or is not called as its configuration.
    """
    rows = {}
    for path in sorted(folder.glob("*.toml")):
        config = _read_recipe(path)
        assert config.recipe is not None
        rows[path.stem] = (config.recipe.row, path)
    if not rows:
        raise OptionError([("recipes", f"found no .toml file in {folder}; name a folder of recipes")])
    return {name: path for name, (_, path) in sorted(rows.items(), key=lambda item: item[1][0])}


def reproduce(
    path: Path,
    out: Path,
    *,
    again: bool = False,
    command: str = "",
    cache_dir: Path | None = None,
    on_frames: OnFrames = lambda song, n_songs: None,
    on_progress: OnProgress = lambda share_done, what, progress: None,
) -> dict[str, Any]:
    """One recipe's results beside what was reported, as plain JSON values; kept in ``out/results.json``.

    A recipe that ran before with the same configuration is not run again unless ``again``, or a classifier of it could
    not be fitted then. ``out/<protocol>/`` holds a run's folder for each protocol under which nets were trained. Where
    data or weights are absent, ``not_run`` says what is, and no figure is given.

    Raises:
        ConfigError: the file is no recipe.
    """
    facts = _facts(path, command)
    if not again and (kept := _kept(out / "results.json", facts["digest"])) is not None:
        return {**kept, "recipe": facts["recipe"]}
    try:
        config = read_config(path)
    except ConfigError as error:
        absent = [where for where, what in error.problems if UNSET in what]
        if len(absent) < len(error.problems):
            raise
        return not_run(path, _absent(absent), command)
    missing = [where for where, place in _files(config).items() if place and not Path(place).is_file()]
    if missing:
        return not_run(path, _absent(missing), command)
    make_run_folder(out)
    started = time.perf_counter()
    run = _without_a_genre if facts["recipe"]["without"] else _under_protocols
    results = {**facts, **run(config, out, command, cache_dir, on_frames, on_progress)}
    results["seconds"] = time.perf_counter() - started
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    return results


def not_run(path: Path, why: str, command: str = "") -> dict[str, Any]:
    """The results of a recipe that could not be run: what was reported, and why there is nothing beside it."""
    return {**_facts(path, command), "not_run": why, "protocols": {}}


def _read_recipe(path: Path) -> RunConfig:
    """The recipe in a file, its paths as they are written; raises ConfigError where it is none."""
    config = read_config(path, resolve=False)
    if config.recipe is None:
        raise ConfigError(str(path), [("recipe", "is missing; say what the configuration reproduces")])
    if config.name != path.stem or config.name == ALL:
        needed = f"the file's name, {path.stem!r}" if path.stem != ALL else f"another name: {ALL!r} means all recipes"
        raise ConfigError(str(path), [("name", f"found {config.name!r}, needed {needed}")])
    learners_of(config)
    return config


def _facts(path: Path, command: str) -> dict[str, Any]:
    """What is known of a recipe before it is run.

    The digest changes with what its file says of the run; not with defaults, nor with what is said about the report.
    """
    config = config_to_dict(_read_recipe(path))
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    written["recipe"] = {key: value for key, value in written["recipe"].items() if key not in _PROSE}
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "schema_version": _SCHEMA_VERSION,
        "name": config["name"],
        "command": command,
        "config": config,
        "recipe": config["recipe"],
        "digest": digest,
    }


def _under_protocols(
    config: RunConfig,
    out: Path,
    command: str,
    cache_dir: Path | None,
    on_frames: OnFrames,
    on_progress: OnProgress,
) -> dict[str, Any]:
    recipe = config.recipe
    assert recipe is not None
    protocols: Sequence[FoldProtocol] = recipe.protocols or (fold_protocol(config),)
    results: dict[str, Any] = {"protocols": {}, "labels": [], "warnings": [], "curves": {}, "trees": {}}
    for i, protocol in enumerate(protocols):

        def report(share: float, what: str, progress: Progress | None, i: int = i, protocol: str = protocol) -> None:
            on_progress((i + share) / len(protocols), f"{protocol} {what}", progress)

        found = under_protocol(
            config,
            protocol,
            learners_of(config),
            n_folds=recipe.n_folds,
            folds_run=recipe.folds_run,
            command=command,
            cache_dir=cache_dir,
            on_frames=on_frames,
            on_progress=report,
        )
        results["protocols"][protocol] = described(found)
        results["labels"] = list(found.prepared.labels)
        results["warnings"] += [*found.prepared.warnings, *found.warnings]
        if found.nets is not None:
            account = write_folds(
                out / protocol,
                found.prepared,
                [found.nets],
                n_folds=recipe.n_folds,
                command=command,
                seconds=found.nets.seconds,
            )
            results["curves"][protocol] = _last_epochs(found.nets.histories)
            if learners_of(config).tree:
                told = ("models", "comparison", "rivals", "rivals_missing", "ledger")
                results["trees"][protocol] = {key: account[key] for key in told if key in account}
    results["warnings"] = list(dict.fromkeys(results["warnings"]))
    return results


def _without_a_genre(
    config: RunConfig,
    out: Path,
    command: str,
    cache_dir: Path | None,
    on_frames: OnFrames,
    on_progress: OnProgress,
) -> dict[str, Any]:
    recipe = config.recipe
    assert recipe is not None
    prepared = prepare(config, cache_dir=cache_dir, on_frames=on_frames)
    if recipe.without not in prepared.labels.genres:
        problem = f"found {recipe.without!r}, needed one of the songs' genres {', '.join(prepared.labels)}"
        raise ConfigError(config.name, [("recipe.without", problem)])
    held_out = fold_ids(prepared, recipe.n_folds)[: recipe.folds_run]
    found = ablate(prepared, held_out, [recipe.without], learners_of(config), command=command, on_progress=on_progress)
    return {"protocols": {}, "protocol": fold_protocol(config), "ablation": found, "labels": list(prepared.labels)}


def learners_of(config: RunConfig) -> Learners:
    """What the configuration's recipe trains; its flat net alone where it has no recipe.

    Raises:
        ConfigError: the recipe names classifiers that there are not, or figures of models that it does not train.
    """
    recipe = config.recipe
    if recipe is None:
        return Learners()
    known = get_args(ClassifierKind)
    kinds = cast(tuple[ClassifierKind, ...], recipe.classical)
    names = (FLAT, TREE) if recipe.with_tree else (FLAT,)
    models = [model_name(kind, name) for kind in (*([None] * recipe.with_net), *kinds) for name in names]
    problems = [
        ("recipe.classical", f"found {kind!r}, needed classifiers: {', '.join(known)}")
        for kind in kinds
        if kind not in known
    ]
    problems += [
        (f"recipe.reported.{i}.model", f"found {reported.model!r}, needed a model that is trained: {', '.join(models)}")
        for i, reported in enumerate(recipe.reported)
        if reported.model not in models
    ]
    if problems:
        raise ConfigError(config.name, problems)
    return Learners(recipe.with_net, recipe.with_tree, kinds)


def _last_epochs(histories: Sequence[Mapping[str, Sequence[Any]]]) -> dict[str, dict[str, float]]:
    """Net -> means over folds of the last epoch's figures: how far training and validation came apart."""
    names = ("epoch", "loss", "slice_loss", "train_accuracy", "slice_accuracy")
    nets = [name for name in histories[0] if "/" not in name]
    ends = {net: [history[net][-1] for history in histories if net in history] for net in nets}
    return {net: {n: sum(getattr(e, n) for e in own) / len(own) for n in names} for net, own in ends.items()}


def _files(config: RunConfig) -> dict[str, str]:
    """The files that the configuration reads, by their place in it."""
    data = config.data
    files = {"data.manifest": data.manifest, "data.table": data.table, "data.join": data.join}
    if data.arrays is not None:
        files |= {"data.arrays.archive": data.arrays.archive, "data.arrays.join": data.arrays.join}
    return {**files, "pretrained": config.pretrained}


def _absent(places: Sequence[str]) -> str:
    things = ["weights" if place == "pretrained" else "data" for place in places]
    return f"{' and '.join(sorted(set(things)))} absent"


def _kept(path: Path, digest: str) -> dict[str, Any] | None:
    """The results of an earlier run with the same configuration; None where there are none that can be read.

    Nor where a classifier could not be fitted: the package that it lacked may be there now.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fits = isinstance(results, dict) and results.get("schema_version") == _SCHEMA_VERSION
    if not fits or results.get("digest") != digest:
        return None
    studies = [*results["protocols"].values(), results.get("ablation", {})]
    return None if any(study.get("not_run") for study in studies) else results
