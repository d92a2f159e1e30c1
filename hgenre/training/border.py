"""The border where configurations come in: read from TOML, checked, every mistake reported at once."""

import json
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from hgenre.errors import ConfigError
from hgenre.nets.spec import net_problems
from hgenre.training.config import AugmentConfig, CepstraConfig, FeatureConfig, RecipeConfig, RunConfig
from hgenre.training.grouping_file import read_grouping

UNSET = "which is not set"
"""What a path's problem says where the path names an environment variable without a value."""


def read_config(
    path: str | Path, *, manifest: str | Path | None = None, resolve: bool = True, with_grouping: bool = True
) -> RunConfig:
    """The configuration in a TOML file; ``manifest`` takes the place of the one it names.

    Args:
        resolve: False leaves its paths as they are written, whether or not the data are there.
        with_grouping: False leaves the file that ``tree.grouping`` names alone, whether or not it is there.

    Raises:
        ConfigError: naming every mistake with its dotted path: unknown keys, wrong types, values out of range; then
            every path with a variable that is not set.
    """
    path = Path(path)
    config = config_from_dict(_read_toml(path), source=str(path))
    if not resolve:
        return config
    problems: list[tuple[str, str]] = []

    def resolved(key: str, value: str) -> str:
        expanded = os.path.expandvars(value)
        if unset := re.findall(r"\$\{?(\w+)", expanded):
            problems.append((key, f"names the variable {unset[0]}, {UNSET}; set it so that {value} is there"))
        return str(path.parent / Path(expanded).expanduser()) if value else ""

    data = config.data
    if manifest:
        data = replace(data, manifest=str(manifest), arrays=None, table="", join="")
    if data.arrays is not None:
        archive = resolved("data.arrays.archive", data.arrays.archive)
        data = replace(
            data, arrays=replace(data.arrays, archive=archive, join=resolved("data.arrays.join", data.arrays.join))
        )
    data = replace(
        data,
        manifest=str(manifest or resolved("data.manifest", data.manifest)),
        table=resolved("data.table", data.table),
        join=resolved("data.join", data.join),
        lists={side: resolved(f"data.lists.{side}", p) for side, p in data.lists.items()},
    )
    tree = replace(config.tree, grouping=resolved("tree.grouping", config.tree.grouping))
    config = replace(config, data=data, tree=tree, pretrained=resolved("pretrained", config.pretrained))
    if tree.grouping and tree.groups is not None:
        problems.append(("tree.grouping", "stands beside tree.groups; keep one of them"))
    if problems:
        raise ConfigError(str(path), problems)
    if tree.grouping and with_grouping:
        config = replace(config, tree=replace(tree, groups=read_grouping(tree.grouping).groups))
    return config


def config_from_dict(values: Mapping[str, Any], source: str = "configuration") -> RunConfig:
    """A configuration from plain values; the border where types are checked. Raises ConfigError.

    Types are strict: the text "no" is no boolean and "3" no number; a whole number stands for a float, not 2.0 for 2.
    """
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(RunConfig)

    def checked(plain: Mapping[str, Any]) -> RunConfig:
        # As JSON, because of Python's values the strict border takes neither lists for tuples nor tables for classes.
        return adapter.validate_json(json.dumps(dict(plain), default=str), strict=True)

    try:
        config = checked(values)
        problems = _out_of_range(config)
    except ValidationError as error:
        problems = []
        sound = dict(values)
        for item in error.errors():
            parts = [part for part in item["loc"] if not _is_union_branch(part)]
            where = ".".join(str(part) for part in parts) or "configuration"
            problems.append(
                (where, f"{item['msg'].replace('an object', 'a table')}, found {item.get('input')!r}"[:300])
            )
            sound = _without(sound, parts)
        # Where what is left is no configuration either, its ranges cannot be judged.
        with suppress(ValidationError):
            problems += _out_of_range(checked({"name": "unnamed", **sound}))
    if problems:
        raise ConfigError(source, list(dict.fromkeys(problems)))
    return config


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), [("file", f"cannot be read: {error.strerror}")]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), [("file", f"is not TOML: {error}")]) from None


def _without(values: Mapping[str, Any], parts: Sequence[int | str]) -> dict[str, Any]:
    """``values`` without the entry at a path; a mistake inside a list takes the list away."""
    inner = values.get(str(parts[0])) if parts else None
    if isinstance(inner, Mapping) and len(parts) > 1:
        return {**values, str(parts[0]): _without(inner, parts[1:])}
    return {key: value for key, value in values.items() if not parts or key != parts[0]}


def _is_union_branch(part: int | str) -> bool:
    return isinstance(part, str) and bool(re.match(r"(dict|list|tuple|NetSpec|\w+Config)(\[|$)", part))


def _out_of_range(config: RunConfig) -> list[tuple[str, str]]:
    data, features, optimiser, augment = config.data, config.features, config.optimiser, config.augment
    nets = [
        ("net", config.net),
        *((name, own) for name in ("specialist_net", "next_net") if (own := getattr(config, name)) is not None),
        *((f"node_nets.{name}", own) for name, own in config.node_nets.items()),
    ]
    cepstra = features.cepstra or CepstraConfig()
    rules: list[tuple[str, Any, bool, str]] = [
        ("name", config.name, bool(re.fullmatch(r"\w[\w.-]*", config.name)), "letters, digits, dot, dash, underscore"),
        ("seeds", config.seeds, len(set(config.seeds)) == len(config.seeds) > 0, "at least one seed, none twice"),
        ("seeds", config.seeds, min(config.seeds, default=0) >= 0, "seeds of 0 or more"),
        ("data.seed", data.seed, data.seed >= 0, "0 or more"),
        ("data.test_share", data.test_share, 0 <= data.test_share < 1, "a share in [0, 1)"),
        ("data.validation_share", data.validation_share, 0 < data.validation_share < 1, "a share in (0, 1)"),
        ("features.slice_s", features.slice_s, features.slice_s > 0, "seconds above 0"),
        ("features.step_s", features.step_s, features.step_s > 0, "seconds above 0"),
        ("features.n_fft", features.n_fft, features.n_fft >= features.hop_length >= 1, "n_fft >= hop_length >= 1"),
        ("features.n_mels", features.n_mels, features.n_mels >= 1, "at least 1"),
        ("features.cepstra.n_mfcc", cepstra.n_mfcc, cepstra.n_mfcc >= 1, "at least 1"),
        ("features.cepstra.lifter", cepstra.lifter, cepstra.lifter >= 0, "0 or more"),
        (
            "features.fmax_hz",
            features.fmax_hz,
            0 <= features.fmin_hz < features.fmax_hz <= features.sample_rate_hz / 2,
            "0 <= fmin_hz < fmax_hz <= sample_rate_hz / 2",
        ),
        ("optimiser.epochs", optimiser.epochs, optimiser.epochs >= 1, "at least 1"),
        ("optimiser.batch_size", optimiser.batch_size, optimiser.batch_size >= 2, "at least 2"),
        ("optimiser.slices_per_song", optimiser.slices_per_song, optimiser.slices_per_song >= 1, "at least 1"),
        ("optimiser.min_steps", optimiser.min_steps, optimiser.min_steps >= 1, "at least 1"),
        (
            "optimiser.steps_per_dispatch",
            optimiser.steps_per_dispatch,
            optimiser.steps_per_dispatch >= 1,
            "at least 1",
        ),
        ("optimiser.learning_rate", optimiser.learning_rate, optimiser.learning_rate > 0, "above 0"),
        ("optimiser.weight_decay", optimiser.weight_decay, optimiser.weight_decay >= 0, "0 or more"),
        ("optimiser.label_smoothing", optimiser.label_smoothing, 0 <= optimiser.label_smoothing < 1, "in [0, 1)"),
        ("optimiser.patience", optimiser.patience, optimiser.patience >= 1, "at least 1"),
        ("optimiser.balance", optimiser.balance, 0 <= optimiser.balance <= 1, "in [0, 1]"),
        ("tree.n_groups", config.tree.n_groups, (config.tree.n_groups or 2) >= 2, "at least 2"),
        ("tree.joint_epochs", config.tree.joint_epochs, config.tree.joint_epochs >= 0, "0 or more"),
        ("tree.joint_learning_rate", config.tree.joint_learning_rate, config.tree.joint_learning_rate > 0, "above 0"),
        *(
            (f"augment.{name}", value, value >= 0, "0 or more")
            for name, value in asdict(augment).items()
        ),
    ]  # fmt: skip
    rules += [
        (f"{name}.{field}", found, False, needed) for name, net in nets for field, found, needed in net_problems(net)
    ]
    rules += [
        (f"{name}.stem", net.stem, False, "'pretrained': only next_net has a net before it to take its head from")
        for name, net in nets
        if net.kind == "vgg16" and net.stem == "new" and name != "next_net"
    ]
    if config.recipe is not None:
        rules += _recipe_rules(config.recipe, config.seeds)
    problems = [(where, f"found {found!r}, needed {needed}") for where, found, fine, needed in rules if not fine]
    for side in set(data.lists) - {"train", "valid", "test"}:
        problems.append((f"data.lists.{side}", "is no split; needed train, test and perhaps valid"))
    if data.lists and data.protocol != "listed":
        problems.append(("data.lists", f"is for protocol 'listed', but data.protocol is {data.protocol!r}"))
    sources = [f"data.{name}" for name in ("manifest", "arrays", "table") if getattr(data, name)]
    problems += [(name, f"stands beside {sources[0]}; keep one of them") for name in sources[1:]]
    if data.join and not data.table:
        problems.append(("data.join", "is for data.table; an archive has data.arrays.join, a manifest its own columns"))
    if data.statistics and data.table:
        problems.append(("data.statistics", "are of spectrograms, and data.table has rows already; keep one of them"))
    if data.table:
        problems += [
            (f"features.{name}", f"found {value!r}, and the rows of data.table are what they are; leave it out")
            for name, value in asdict(features).items()
            if name not in ("cepstra", "normalise") and value != getattr(FeatureConfig, name)
        ]
    if features.cepstra and (data.table or data.statistics):
        problems.append(("features.cepstra", "are of spectrograms, and a table has none; take it away"))
    if config.node_nets and config.tree.groups is None and not config.tree.grouping:
        problems.append(("node_nets", "name nodes, and only tree.groups gives them names; give the groups"))
    if bool(config.pretrained) != ("vgg16" in {net.kind for _, net in nets}):
        found = (
            "is for nets of kind 'vgg16', and there is none" if config.pretrained else "is missing: 'vgg16' needs it"
        )
        problems.append(("pretrained", found))
    if data.table or data.statistics:
        problems += row_problems(config)
    elif features.cepstra:
        problems += _needless(augment, "cepstra", ("gain_db", "tilt_db", "n_freq_masks"))
    given = "groups" if config.tree.groups is not None else "grouping" if config.tree.grouping else ""
    if given and config.tree.n_groups is not None:
        problems.append(("tree.n_groups", f"is for derived groups, but tree.{given} gives them; keep one of them"))
    return problems


def _recipe_rules(recipe: RecipeConfig, seeds: Sequence[int]) -> list[tuple[str, Any, bool, str]]:
    """(dotted path, what was found, whether it is fine, what is needed) of a recipe."""
    known: Sequence[str] = ("", *recipe.protocols)
    rules: list[tuple[str, Any, bool, str]] = [
        ("seeds", seeds, len(seeds) == 1, "one seed: a recipe is run once"),
        ("recipe.n_folds", recipe.n_folds, recipe.n_folds >= 2, "at least 2"),
        ("recipe.folds_run", recipe.folds_run, 1 <= recipe.folds_run <= recipe.n_folds, "1 to recipe.n_folds"),
        (
            "recipe.protocols",
            recipe.protocols,
            len(set(recipe.protocols)) == len(recipe.protocols),
            "each protocol once",
        ),
        (
            "recipe.without",
            recipe.without,
            not (recipe.without and recipe.protocols),
            "nothing beside recipe.protocols: a genre is dropped under data.protocol",
        ),
        ("recipe.with_net", recipe.with_net, recipe.with_net or bool(recipe.classical), "true, or recipe.classical"),
    ]
    for i, reported in enumerate(recipe.reported):
        place, percent = f"recipe.reported.{i}", reported.percent
        rules += [
            (f"{place}.percent", percent, percent is None or 0 <= percent <= 100, "0 to 100"),
            (f"{place}.n", reported.n, reported.n is None or reported.n >= 1, "at least 1"),
            (f"{place}.protocol", reported.protocol, reported.protocol in known, "one of recipe.protocols, or none"),
        ]
    return rules


def row_problems(config: RunConfig) -> list[tuple[str, str]]:
    """(dotted path, sentence) of what a configuration asks for and rows of features cannot have."""
    problems = _needless(config.augment, "a table of features", ("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"))
    if config.features.normalise == "song":
        problems.append(("features.normalise", "is 'song', and a table's row less its own mean is 0; use 'training'"))
    return problems


def _needless(augment: AugmentConfig, what: str, names: Sequence[str]) -> list[tuple[str, str]]:
    """Augmentation that is made for mel bands, where there are none."""
    return [
        (f"augment.{name}", f"found {getattr(augment, name)}, needed 0: there are no mel bands in {what}")
        for name in names
        if getattr(augment, name)
    ]
