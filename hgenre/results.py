"""What a run says of itself: scores of tree and flat net over seeds, machine, command, and the files that hold them."""

import csv
import io
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from hgenre.bundle import Bundle, remove_bundle, save_bundle
from hgenre.errors import HgenreError
from hgenre.evaluate import SongOutcome, compare, middle_scores, scores, scores_json
from hgenre.features import described
from hgenre.held_out import ENSEMBLE, FLAT_ROOT, PAIR, STAGEWISE, TREE, TUNED, HeldOut, is_tuned, n_nets
from hgenre.labels import Labels
from hgenre.metrics.intervals import mean_std
from hgenre.training.config import RunConfig
from hgenre.training.fit import FLAT, TRUNK, Fitted
from hgenre.training.loop import Epoch
from hgenre.training.prepare import Prepared

CHIEF = (TREE, FLAT)
"""The models that every table is about; the others are rivals."""

FAIR_RIVALS = (ENSEMBLE, PAIR, FLAT_ROOT, TRUNK)
"""What else the cost of a tree could buy: a report that lacks one of them says so first."""


def model_scores(answers: Mapping[str, Sequence[SongOutcome]], labels: Labels) -> dict[str, Any]:
    """Scores of tree and flat net as ``results.json`` holds them."""
    return {kind: scores_json(scores(answers[kind], labels)) for kind in CHIEF if kind in answers}


def rivals(answers: Mapping[str, Sequence[SongOutcome]], labels: Labels, folds: Sequence[HeldOut]) -> dict[str, Any]:
    """The tree beside each of its fair rivals, the names of those that are missing, and what joint fine-tuning did.

    ``answers`` are those of all ``folds``.
    """
    if TREE not in answers:
        return {}
    tree = answers[TREE]

    def beside(name: str) -> dict[str, Any]:
        return {"song": scores(answers[name], labels)["song"].to_json(), "comparison": compare(tree, answers[name])}

    most_nets = max(map(n_nets, folds))
    n_models = {ENSEMBLE: max(2, most_nets), PAIR: 2, FLAT_ROOT: most_nets, TRUNK: 1}
    found: dict[str, Any] = {
        "rivals": [{"name": n, "models": n_models[n], **beside(n)} for n in FAIR_RIVALS if n in answers],
        "rivals_missing": [name for name in FAIR_RIVALS if name not in answers],
    }
    if TUNED in answers:
        found["joint"] = {
            **{name: beside(name)["song"] for name in (STAGEWISE, TUNED)},
            "comparison": compare(answers[TUNED], answers[STAGEWISE]),
            "n_kept": sum(map(is_tuned, folds)),
            "n_fits": len(folds),
        }
    return found


def summarise(
    runs: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Sequence[SongOutcome]]],
    best: int,
    prepared: Prepared,
) -> dict[str, Any]:
    """Models over seeds and tree beside flat; the same on one slice a song, and on the configured sets of genres."""
    found = [{kind: answers[kind] for kind in CHIEF if kind in answers} for answers in found]
    models = {}
    for kind in found[best]:
        mean, std = mean_std([run["models"][kind]["song"]["accuracy"] for run in runs])
        spread = {"song_accuracy_mean": mean, "song_accuracy_std": std, "n_seeds": len(runs)}
        models[kind] = {**runs[best]["models"][kind], **spread}
    summary: dict[str, Any] = {
        "runs": list(runs),
        "models": models,
        "views": {"one slice from the middle of every song": _view(found, best, prepared.labels, middle=True)},
    }
    for name, genres in prepared.config.genre_sets.items():
        chosen = {prepared.labels.index(genre) for genre in genres}
        part = [{kind: [o for o in os if o.true_idx in chosen] for kind, os in answers.items()} for answers in found]
        if all(all(answers.values()) for answers in part):
            summary["views"][f"songs of {name}"] = _view(part, best, prepared.labels, middle=False)
            summary["views"][f"songs of {name}, one slice from the middle"] = _view(
                part, best, prepared.labels, middle=True
            )
    if TREE in found[best]:
        summary["comparison"] = compare(found[best][TREE], found[best][FLAT])
    return summary


def _view(
    found: Sequence[Mapping[str, Sequence[SongOutcome]]], best: int, labels: Labels, *, middle: bool
) -> dict[str, Any]:
    """Scores of every model on a selection of outcomes, with their spread over seeds."""
    view = {}
    for kind in found[best]:
        by_seed = [
            {"song": middle_scores(answers[kind], labels)} if middle else scores(answers[kind], labels)
            for answers in found
        ]
        mean, std = mean_std([s["song"].accuracy for s in by_seed])
        shown = scores_json(by_seed[best])
        # One slice a song: the song's score is the slice's.
        shown.setdefault("slice", shown["song"])
        view[kind] = {**shown, "song_accuracy_mean": mean, "song_accuracy_std": std, "n_seeds": len(found)}
    return view


def describe_run(prepared: Prepared, command: str, protocol: str) -> dict[str, Any]:
    """Name, command, machine and songs of a run."""
    import jax

    warnings = list(prepared.warnings)
    if protocol == "slice-random":
        warnings.append(
            "every slice counts as a song here: intervals of songs and McNemar's p take slices of one song for "
            "independent, so they claim too much"
        )
    return {
        "name": prepared.config.name,
        "command": command,
        "protocol": protocol,
        "labels": list(prepared.labels),
        "seeds": list(prepared.config.seeds),
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "devices": [str(device) for device in jax.local_devices()],
            "jax": jax.__version__,
        },
        "features": described(prepared.source.spec),
        "warnings": warnings,
    }


def about_bundle(config: RunConfig, command: str) -> dict[str, Any]:
    """Licence, data statement and versions that travel in a bundle."""
    from importlib.metadata import version

    return {
        "command": command,
        "licence": config.licence,
        "data_statement": config.data_statement,
        "versions": {name: version(name) for name in ("hgenre", "jax", "flax", "optax", "numpy")},
    }


def save_fit(directory: Path, fitted: Fitted, metrics: Mapping[str, Any]) -> dict[str, Bundle]:
    """Saves ``bundle/`` (the tree, if there is one) and ``flat/`` with their results; returns them by those names.

    A run without a tree removes the bundle of an earlier run with one, so that what stands there belongs together.
    """
    saved = {}
    for place, kind, bundle in (("bundle", "tree", fitted.tree), ("flat", "flat", fitted.flat)):
        if bundle is not None:
            own = {**metrics, "models": {kind: metrics["models"][kind]}}
            saved[place] = save_bundle(replace(bundle, metrics=own), directory / place)
        else:
            remove_bundle(directory / place)
    return saved


def write_history(path: Path, seeds: Sequence[Any], histories: Sequence[Mapping[str, Sequence[Epoch]]]) -> None:
    """One row an epoch of every net."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", "net", *(field.name for field in fields(Epoch))])
    for seed, history in zip(seeds, histories, strict=True):
        for net, epochs in history.items():
            writer.writerows([seed, net, *(round(v, 6) for v in asdict(epoch).values())] for epoch in epochs)
    write_text(path, text.getvalue())


def make_run_folder(directory: Path, *, option: str = "--out") -> None:
    """Makes the folder of a run before the work that leads up to its results; raises HgenreError where it cannot."""
    write_text(directory / ".writable", "", option=option)
    (directory / ".writable").unlink()


def write_text(path: Path, text: str, *, option: str = "--out") -> None:
    """Writes beside and renames into place; raises HgenreError where the disk refuses.

    Args:
        option: Of the command line, by which the user chooses the place.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise HgenreError(
            f"{path.parent}: nothing can be written there ({error.strerror}); choose another place ({option})"
        ) from None
    finally:
        with suppress(OSError):
            beside.unlink()
