"""A dropped genre in words: what the other genres gained, and how much of it needed no learning."""

from collections.abc import Iterable, Mapping
from typing import Any

from hgenre.report.figures import bullets, is_sure, paired, percent, points
from hgenre.report.markdown import PROTOCOLS
from hgenre.report.protocols import LEAKY, NETS
from hgenre.report.table import escape, table

Json = Mapping[str, Any]

HEADER = (
    "songs",
    "before",
    "barred",
    "after",
    "barred less before",
    "after less barred",
    "after less before",
    "95 % interval",
    "McNemar p",
)
"""What a row says after its first cell."""


def render_ablation(results: Json) -> str:
    """Markdown report of ``hgenre.studies.ablate.ablate``, with ``name, command, protocol`` and ``folds``."""
    dropped = results["dropped"]
    rows = [[f"{genre}: {name}", *_row(m)] for genre, d in dropped.items() for name, m in d["models"].items()]
    sections = [
        f"# {escape(results['name'])}: a genre fewer",
        table(["dropped: model", *HEADER], rows),
        bullets(
            [
                "before: the model with all genres, on the songs of the other genres.",
                "barred: the same model, the dropped genre's probability set to 0 in every slice before the vote.",
                "after: a model that was trained without the dropped genre, the same songs set aside.",
            ]
        ),
    ]
    for genre, found in dropped.items():
        sections += [
            f"## Without {escape(genre)}",
            bullets(ablation_sentence(genre, name, model) for name, model in found["models"].items()),
            *(
                table([f"{name}: genre", *HEADER], [[row["genre"], *_row(row)] for row in model["per_genre"]])
                for name, model in found["models"].items()
            ),
        ]
    sections += ["## How it was measured", bullets(_measured(results)), f"~~~text\n{results['command']}\n~~~"]
    return "\n\n".join(filter(None, sections)) + "\n"


def ablation_sentence(genre: str, name: str, model: Json) -> str:
    """What a model gained by a genre fewer, and how much of it is only one wrong answer fewer to give."""
    before, after, change = model["before"]["song"], model["after"]["song"], model["change"]
    difference, bounds, _ = paired(change)
    return (
        f"{NETS.get(name, escape(name))}: of the other genres' {before['n']} songs it has "
        f"{percent(after['accuracy'])} right without {escape(genre)}, {percent(before['accuracy'])} with it: "
        f"{difference} points ({bounds}), {_sure(change)}. {points(model['change_barred']['difference'])} come without "
        f"training, by barring the answer {escape(genre)} ({_sure(model['change_barred'])}); learning without it adds "
        f"{points(model['change_learned']['difference'])} ({_sure(model['change_learned'])})."
    )


def _sure(comparison: Json) -> str:
    return "more than chance explains" if is_sure(comparison) else "within chance"


def _row(found: Json) -> Iterable[str]:
    """Of a model, whose figures are of songs and slices, or of one of its genres."""
    at = [found[when].get("song", found[when]) for when in ("before", "barred", "after")]
    difference, bounds, p = paired(found["change"])
    return (
        str(found["change"]["n"]),
        *(percent(songs["accuracy"]) for songs in at),
        points(found["change_barred"]["difference"]),
        points(found["change_learned"]["difference"]),
        difference,
        bounds,
        p,
    )


def _measured(results: Json) -> Iterable[str]:
    protocol = results["protocol"]
    yield (
        f"{protocol}: {PROTOCOLS[protocol]}. {results['folds']} folds, of which {results['n_folds']} took their turn "
        "as the songs set aside."
    )
    if protocol == LEAKY:
        yield "A song of these tables is a slice, and McNemar's p takes slices of one song for independent: too small."
    yield (
        "Intervals are paired bootstraps over artists (songs where artists are unknown); no p-value is corrected for "
        "how many genres were dropped or looked at."
    )
    yield from (f"{what} was not run: {escape(why)}" for what, why in results["not_run"].items())
    yield from (f"Warning: {escape(warning)}" for warning in results["warnings"])
