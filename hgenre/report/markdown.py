"""The account of one run in words and tables."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from hgenre.errors import HgenreError
from hgenre.labels import Labels
from hgenre.report.figures import bullets, interval, percent
from hgenre.report.sections import (
    answer_section,
    confidence_section,
    honest_section,
    joint_section,
    lacking_section,
    ledger_section,
    resamples_section,
    rivals_section,
)
from hgenre.report.table import escape, table
from hgenre.tree.draw import draw_tree
from hgenre.tree.spec import tree_from_json

Json = Mapping[str, Any]

PROTOCOLS = {
    "song": "no song stands on two sides of the split; songs of one artist may",
    "artist": "no song and no artist stands on two sides of the split",
    "listed": "the split is the one that the manifest lists",
    "slice-random": "slices of one song stand on both sides of the split, so these figures are too good",
}

ORIGINS = {
    "config": "The groups were given by the configuration.",
    "derived": "The groups were derived from the flat model's confusions.",
}

HONEST_LIMITS = {
    "folds": "Each fold's honest answers use thresholds from the other folds and their models. A model that is fitted "
    "again on all songs is another one: these figures say what to expect of it, and promise nothing.",
    "split": "Thresholds of honest answers come from validation songs, which also chose epochs, temperatures and "
    "derived groups, so they may ask a little too little. The figures are of test songs, which chose nothing.",
}


def render(results: Json, pictures: Mapping[str, str] | None = None) -> str:
    """Markdown report of one run's ``results.json``. Every figure in it is read from ``results``; none is computed.

    Needed: ``name, command, protocol, labels, n_songs, seeds, machine, seconds`` and ``models`` with ``song`` and
    ``slice`` scores (as ``Scores.to_json``) for ``tree``, ``flat`` or both. Used where present: ``tree``,
    ``comparison``, ``grouping``, ``views`` (models scored on other forms of the same songs) and ``warnings``; and of a
    tree

    - ``rivals``: a list of ``name``, ``models`` (how many nets), ``song`` scores and ``comparison`` (tree minus rival),
      and ``rivals_missing``: names;
    - ``ledger``: ``hgenre.account.account``;
    - ``joint``: ``tree with joint fine-tuning`` and ``tree without joint fine-tuning`` (song scores), ``comparison``
      (with minus without), and in ``n_kept`` of ``n_fits`` the tree is the one with it;
    - ``calibration``: ``before`` and ``after``, each a ``confidence_report``, and ``log_loss_change``: ``value`` and
      ``interval``, after less before;
    - ``honest``: ``target_accuracy`` and ``coverage``, each a dict of figures by what was asked for; shares are floats
      in 0..1, counts are ints, and a float whose name ends in ``size`` is a plain number;
    - ``resamples``: the same two, by what was asked for, as ``hgenre.trust.resampled``.

    Args:
        pictures: caption -> path of an image, relative to the report.

    Raises:
        HgenreError: a needed entry is missing or of another kind.
    """
    try:
        sections = [
            f"# {escape(results['name'])}",
            *lacking_section(results),
            *answer_section(results),
            "## How it was measured\n\n" + _measured(results),
            *_tree(results),
            "## Accuracy\n\n" + _accuracy(results["models"]),
            *rivals_section(results),
            *ledger_section(results.get("ledger", {})),
            *joint_section(results),
            *confidence_section(results),
            *honest_section(results),
            *resamples_section(results),
            *_views(results.get("views", {})),
            "## Each genre (songs)\n\n" + _genres(results["models"]),
            *_confusions(results),
            *_pictures(pictures or {}),
            "## Limits\n\n" + _limits(results),
        ]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as mistake:
        raise HgenreError(
            f"results: cannot be reported, an entry is missing or of another kind ({mistake!r}); "
            "needed is the results.json of a finished training run; run the training again"
        ) from mistake
    return "\n\n".join(sections) + "\n"


def _measured(results: Json) -> str:
    protocol, n, machine = results["protocol"], results["n_songs"], results["machine"]
    meaning = f": {PROTOCOLS[protocol]}" if protocol in PROTOCOLS else ""
    facts = [
        f"protocol {escape(protocol)}{meaning}",
        _songs(n, results.get("n_folds")),
        f"seeds: {', '.join(str(seed) for seed in results['seeds'])}",
        f"machine: {escape('; '.join(f'{key} {value}' for key, value in machine.items()))}",
        f"time: {results['seconds']:.0f} s",
    ]
    return bullets(facts) + "\n\n" + _fenced(results["command"])


def _songs(n: Json, n_folds: int | None) -> str:
    if n_folds is None:
        return f"songs: {n['train']} train, {n['validation']} validation, {n['test']} test"
    sizes = ", ".join(f"{_range(n[side])} {side}" for side in ("train", "validation", "test"))
    return (
        f"out of fold: {n_folds} folds take turns as the test songs, so that every song is answered once, by models "
        f"that have not seen it; songs a fold: {sizes}"
    )


def _range(counts: Iterable[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _tree(results: Json) -> Iterable[str]:
    if "tree" not in results:
        return
    source = results.get("grouping", {}).get("source")
    yield "## The tree\n\n" + _fenced(draw_tree(tree_from_json(Labels(tuple(results["labels"])), results["tree"])))
    if source in ORIGINS:
        yield ORIGINS[source]


def _accuracy(models: Json) -> str:
    header = ["model", "songs right", "95 % interval", "macro F1", "slices right", "songs right over seeds"]
    rows = [
        [
            name,
            percent(m["song"]["accuracy"]),
            interval(m["song"]["interval"]),
            f"{m['song']['macro_f1']:.3f}",
            percent(m["slice"]["accuracy"]),
            _over_seeds(m),
        ]
        for name, m in models.items()
    ]
    return table(header, rows)


def _views(views: Json) -> Iterable[str]:
    """One table of songs right for all views; their macro F1 would mix in genres that a view leaves out."""
    if not views:
        return
    rows = [
        [escape(view), name, str(m["song"]["n"]), percent(m["song"]["accuracy"]), interval(m["song"]["interval"])]
        for view, models in views.items()
        for name, m in models.items()
    ]
    header = ["scored on", "model", "songs", "songs right", "95 % interval"]
    yield "### Other looks at the same songs\n\n" + table(header, rows)


def _over_seeds(model: Json) -> str:
    mean, std, n = model.get("song_accuracy_mean"), model.get("song_accuracy_std"), model.get("n_seeds")
    if mean is None or std is None or n is None or n < 2:
        return "one seed"
    return f"{percent(mean)} ± {100 * std:.1f} ({n} seeds)"


def _genres(models: Json) -> str:
    header = ["genre", "songs", *(f"{name} {figure}" for name in models for figure in ("precision", "recall", "F1"))]
    together = zip(*(m["song"]["per_genre"] for m in models.values()), strict=True)
    rows = [
        [
            same[0]["genre"],
            same[0]["support"],
            *(f"{row[figure]:.2f}" for row in same for figure in ("precision", "recall", "f1")),
        ]
        for same in together
    ]
    return table(header, rows)


def _confusions(results: Json) -> Iterable[str]:
    labels = results["labels"]
    for name, model in results["models"].items():
        rows = [[genre, *counts] for genre, counts in zip(labels, model["song"]["confusion"], strict=True)]
        yield f"## Confusions (songs): {escape(name)}\n\n" + table(["true / answer", *labels], rows)


def _pictures(pictures: Mapping[str, str]) -> Iterable[str]:
    if pictures:
        yield "## Pictures"
    for caption, path in pictures.items():
        yield f"![{escape(caption)}]({quote(path)})"


def _limits(results: Json) -> str:
    n_test = next(iter(results["models"].values()))["song"]["n"]
    protocol, seeds = results["protocol"], results["seeds"]
    limits = [
        f"The intervals say what another {n_test} songs from the same source could change. Music from elsewhere may "
        "score lower.",
        "Slices of one song resemble each other, so slice figures have no interval and compare nothing.",
    ]
    if len(seeds) == 1:
        limits.append("One seed: how much the initial weights matter was not measured.")
    else:
        limits.append("The intervals do not count what the seed changes; the deviation over seeds does.")
    if protocol != "artist":
        limits.append("Artists may stand on both sides of the split, which would flatter every model.")
    if results.get("honest"):
        limits.append(HONEST_LIMITS["folds" if "n_folds" in results else "split"])
    if results.get("rivals"):
        limits.append("No p-value is corrected for how many rivals the tree has.")
    if results.get("comparison"):
        limits.append(
            "The verdict is about these two models as trained here, not about trees and flat models at large."
        )
    return bullets([*limits, *(f"Warning: {escape(warning)}" for warning in results.get("warnings", []))])


def _fenced(text: str) -> str:
    return f"~~~text\n{text}\n~~~"
