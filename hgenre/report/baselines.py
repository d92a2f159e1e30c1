"""Classical classifiers side by side, in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from hgenre.report.figures import bullets, interval, is_sure, paired, percent
from hgenre.report.markdown import PROTOCOLS
from hgenre.report.protocols import LEAKY, NETS
from hgenre.report.table import escape, table

Json = Mapping[str, Any]


def render_baselines(results: Json) -> str:
    """Markdown report of ``hgenre.studies.baselines.baselines``."""
    models, seconds = results["models"], results["seconds"]
    # A song of the leaky protocol is a slice, and Wilson's interval would take slices of one song for independent.
    figures = ("slice",) if results["protocol"] == LEAKY else ("song", "slice")
    header = ["model", *(cell for f in figures for cell in (f"{f}s right", "95 % interval")), "seconds"]
    time_of = {"flat" if kind == "nets" else kind: took for kind, took in seconds.items()}
    rows = [
        [
            name,
            *(cell for figure in figures for cell in _right(model[figure])),
            f"{time_of[name]:.1f}" if name in time_of else "–",
        ]
        for name, model in models.items()
    ]
    rows += [[kind, "not run", *["–"] * (len(header) - 2)] for kind in results["not_run"]]
    sections = [
        f"# {escape(results['name'])}: classical classifiers",
        table(header, rows),
        bullets([*best_sentence(models, figures[0]), *_trees(results), *_control(results)]),
        "## How it was measured",
        bullets(_measured(results)),
        f"~~~text\n{results['command']}\n~~~",
    ]
    return "\n\n".join(sections) + "\n"


def best_sentence(models: Json, figure: str = "song") -> Iterable[str]:
    """Which model has most songs (or slices) right, and which of the others these songs do not tell from it."""
    if len(models) < 2:
        return
    best = max(models, key=lambda name: models[name][figure]["accuracy"])
    low = models[best][figure]["interval"][0]
    near = [name for name, m in models.items() if name != best and m[figure]["interval"][1] >= low]
    untold = f"; the intervals of {escape(', '.join(near))} overlap its own" if near else "; no other interval overlaps"
    yield f"{escape(best)} has most {figure}s right, {percent(models[best][figure]['accuracy'])}{untold}."


def _right(scores: Json) -> tuple[str, str]:
    return percent(scores["accuracy"]), interval(scores["interval"])


def _trees(results: Json) -> Iterable[str]:
    for name, ledger in results["ledgers"].items():
        yield f"{NETS.get(name, escape(name))}: {escape(ledger['verdict'])}"


def _control(results: Json) -> Iterable[str]:
    if (control := results["control"]) is None:
        return
    difference, bounds, _ = paired(control)
    meaning = "more than chance explains" if is_sure(control) else "within chance"
    yield f"The tree of nets has {difference} points on the tree of SVMs ({bounds}), {meaning}."


def _measured(results: Json) -> Iterable[str]:
    protocol, n = results["protocol"], results["n_songs"]["test"]
    yield (
        f"{protocol}: {PROTOCOLS[protocol]}. {results['n_folds']} folds, of which {results['folds_run']} took their "
        f"turn as the songs set aside; {sum(n)} {'slices' if protocol == LEAKY else 'songs'} answered."
    )
    if results["ledgers"]:
        yield (
            "Seconds are those of a flat model and its tree together. A tree of classifiers of two kinds is held "
            "against its root's flat classifier."
        )
    yield "Intervals of songs are Wilson's, of slices by bootstrap over artists (songs where artists are unknown)."
    yield from (f"{kind} was not run: {escape(why)}" for kind, why in results["not_run"].items())
    yield from (f"Warning: {escape(warning)}" for warning in results["warnings"])
