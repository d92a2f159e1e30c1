"""The leak meter in words: the same models under every protocol, and how much of a leaky claim is leak."""

from collections.abc import Iterable, Mapping
from typing import Any

from hgenre.report.figures import bullets, interval, percent
from hgenre.report.markdown import PROTOCOLS
from hgenre.report.table import escape, table

Json = Mapping[str, Any]

LEAKY, HONEST = "slice-random", ("artist", "song")
"""The protocol whose claim is measured, and those that it is measured by, the strictest first."""

UNHEARD = {"artist": "songs by unheard artists", "song": "unheard songs"}

NETS = {"flat": "the flat net", "tree": "the tree of nets"}


def render_leak(results: Json) -> str:
    """Markdown report of ``hgenre.studies.protocols.leak``."""
    protocols = results["protocols"]
    models = list(dict.fromkeys(name for found in protocols.values() for name in found["models"]))
    header, columns = ["model"], []
    for protocol in protocols:
        for figure in _figures(protocol, results):
            header.append(f"{protocol}: {figure}s right")
            columns.append((protocol, figure))
    rows = [[name, *(_cell(protocols[p]["models"].get(name), figure) for p, figure in columns)] for name in models]
    sections = [
        f"# {escape(results['name'])}: what leaks",
        table(header, rows),
        bullets(filter(None, (leak_sentence(results, name) for name in models))),
        "## How it was measured",
        bullets(_measured(results)),
        f"~~~text\n{results['command']}\n~~~",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def leak_sentence(results: Json, model: str) -> str:
    """What a leaky split would have claimed of a model, and what is true; nothing where one of them is unknown."""
    protocols = results["protocols"]
    honest = next((p for p in HONEST if model in protocols.get(p, {"models": {}})["models"]), None)
    if honest is None or model not in protocols.get(LEAKY, {"models": {}})["models"]:
        return ""
    one = results["one_slice_a_song"]
    claim, truth = (protocols[p]["models"][model]["song" if one else "slice"] for p in (LEAKY, honest))
    items = UNHEARD[honest] if one else f"slices of {UNHEARD[honest]}"
    difference = 100 * (claim["accuracy"] - truth["accuracy"])
    (low, high), (low_true, high_true) = claim["interval"], truth["interval"]
    if low <= high_true and low_true <= high:
        leaked = f"{difference:+.1f} points, which chance could explain: the intervals overlap"
    elif difference > 0:
        leaked = f"{difference:.1f} points of the claim are leak, more than chance explains"
    else:
        leaked = f"nothing leaks, the claim is {-difference:.1f} points too low"
    said = (
        f"{NETS.get(model, escape(model))}: under {LEAKY} it claims {percent(claim['accuracy'])} of "
        f"{'songs' if one else 'slices'}; it names {percent(truth['accuracy'])} of {items}: {leaked}"
    )
    songs = protocols[honest]["models"][model]["song"]
    vote = f". By vote it names {percent(songs['accuracy'])} of these songs ({interval(songs['interval'])})."
    return said + ("." if one else vote)


def _figures(protocol: str, results: Json) -> Iterable[str]:
    if results["one_slice_a_song"]:
        return ("song",)
    return ("slice",) if protocol == LEAKY else ("slice", "song")


def _cell(model: Json | None, figure: str) -> str:
    if model is None:
        return "–"
    return f"{percent(model[figure]['accuracy'])} ({interval(model[figure]['interval'])})"


def _measured(results: Json) -> Iterable[str]:
    run, n_folds = results["folds_run"], results["n_folds"]
    for protocol, found in results["protocols"].items():
        n, items, meaning = found["n_songs"], "songs", PROTOCOLS[protocol]
        if protocol == LEAKY and results["one_slice_a_song"]:
            meaning = (
                "every song has one slice, so this is the protocol song, except that duplicates are not kept together"
            )
        elif protocol == LEAKY:
            items = "slices"
        yield (
            f"{protocol}: {meaning}. {n_folds} folds, of which {run} took their turn as those set aside; "
            f"{sum(n['test'])} {items} answered, about {sum(n['train']) // len(n['train'])} learned from at a time."
        )
        for kind, why in found["not_run"].items():
            yield f"{protocol}: {kind} was not run: {escape(why)}"
    for protocol, why in results["not_run"].items():
        yield f"{protocol} was not run: {escape(why)}"
    yield (
        "Intervals are 95 %: of songs Wilson's, of slices by bootstrap over artists (songs where artists are unknown), "
        "as slices of one song are no independent evidence."
    )
    yield from (f"Warning: {escape(warning)}" for warning in results["warnings"])
