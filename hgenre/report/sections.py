"""The sections of a report that say who won, and what a tree's gain, its routing and its confidence are worth."""

from collections.abc import Iterable, Mapping
from typing import Any

from hgenre.report.figures import bullets, interval, is_sure, p_value, paired, percent, points
from hgenre.report.ledger import FOUND, NODE_COLUMNS, ROUTED, SQUARE, ledger_facts, node_rows
from hgenre.report.table import escape, table

Json = Mapping[str, Any]

HONEST = {
    "target_accuracy": "Answers that are right as often as asked for: a genre where one is sure enough, else a group, "
    "else none. An answer is right if it holds the true genre.",
    "coverage": "Sets of genres that hold the true genre as often as asked for.",
}


def lacking_section(results: Json) -> Iterable[str]:
    """Which fair rivals the tree was not held against."""
    if missing := results.get("rivals_missing"):
        yield f"**This report lacks fair rivals of the tree: {escape(', '.join(missing))}.**"


def answer_section(results: Json) -> Iterable[str]:
    """How many songs each model has right, and whether the tree beats the flat one."""
    models, comparison = results["models"], results.get("comparison")
    found = [
        f"{_title(name)} named the genre of **{percent(m['song']['accuracy'])}** of {m['song']['n']} test songs"
        f" (95 % interval {interval(m['song']['interval'])})."
        for name, m in models.items()
    ]
    yield " ".join([*found, _verdict(comparison)] if comparison else found)


def rivals_section(results: Json) -> Iterable[str]:
    """The flat net and the fair rivals beside the tree."""
    if not results.get("rivals"):
        return
    flat = {"name": "flat net", "models": 1, "song": results["models"]["flat"]["song"]}
    header = ["rival", "nets", "songs right", "95 % interval", "tree minus rival", "95 % interval", "McNemar p"]
    rows: list[list[object]] = []
    outcomes: dict[str, list[str]] = {
        "The tree won, by more than chance explains, against": [],
        "The tree lost, by more than chance explains, against": [],
        "Within noise of the tree": [],
    }
    beaten, ahead, even = outcomes.values()
    for rival in [{**flat, "comparison": results["comparison"]}, *results["rivals"]]:
        name, song, comparison = rival["name"], rival["song"], rival["comparison"]
        figures = percent(song["accuracy"]), interval(song["interval"]), *paired(comparison)
        rows.append([name, rival.get("models", "–"), *figures])
        outcome = even if not is_sure(comparison) else beaten if comparison["difference"] > 0 else ahead
        outcome.append(escape(name))
    yield "## Fair rivals (songs)\n\n" + table(header, rows)
    yield bullets(f"{outcome}: {', '.join(names)}." for outcome, names in outcomes.items() if names)


def ledger_section(ledger: Json) -> Iterable[str]:
    """Where the tree's songs were lost: what ``hgenre.account.account`` says of them."""
    if not ledger:
        return
    songs = ledger["songs"]
    yield "## Why (songs)\n\n" + escape(ledger["verdict"])
    if not any(node["routes"] for node in songs["nodes"]):
        return
    square = [
        [routed, *(f"{cell} {songs[cell]}" for cell, _ in row)] for routed, row in zip(ROUTED, SQUARE, strict=True)
    ]
    yield table([f"{songs['n']} songs, one path each", *FOUND], square)
    yield bullets(map(escape, ledger_facts(ledger)))
    yield table(NODE_COLUMNS, node_rows(ledger))
    yield "A song that several nodes of its way send wrong is shared equally among them in the last column."


def joint_section(results: Json) -> Iterable[str]:
    """What joint fine-tuning did to the tree."""
    if not (joint := results.get("joint")):
        return
    names = ("tree with joint fine-tuning", "tree without joint fine-tuning")
    songs = {name: joint[name] for name in names}
    rows = [[name, percent(song["accuracy"]), interval(song["interval"])] for name, song in songs.items()]
    yield "## Joint fine-tuning (songs)\n\n" + table(["model", "songs right", "95 % interval"], rows)
    difference, bounds, p = paired(joint["comparison"])
    meaning = "more than chance explains" if is_sure(joint["comparison"]) else "within noise"
    yield (
        f"With minus without is {difference} points, {meaning} (paired bootstrap 95 % interval {bounds}; exact McNemar "
        f"p = {p}). The tree is with it where validation songs gained by it: in {joint['n_kept']} of {joint['n_fits']} "
        "fits."
    )


def confidence_section(results: Json) -> Iterable[str]:
    """What probabilities are worth before and after calibration."""
    if not (calibration := results.get("calibration")):
        return
    errors = ["ECE", "ECE by noise", "ECE less noise", "95 % interval", "classwise ECE"]
    header = ["calibration", "log-loss", "Brier", *errors, "AURC"]
    rows = [
        [
            when,
            f"{report['log_loss']:.3f}",
            f"{report['brier']:.3f}",
            f"{report['ece']['value']:.3f}",
            f"{report['ece']['calibrated']:.3f}",
            f"{report['ece']['corrected']:.3f}",
            "{:.3f} to {:.3f}".format(*report["ece"]["interval"]),
            f"{report['classwise_ece']:.3f}",
            f"{report['aurc']:.3f}",
        ]
        for when, report in calibration.items()
    ]
    yield "## What confidence means (songs)\n\n" + table(header, rows)
    yield (
        "Lower is better. ECE is the mean gap of confidence and accuracy; ECE by noise is what the same confidences "
        "would show if each meant exactly what it says; ECE less noise, with its interval, is what is left once the "
        "bootstrap has taken out what few songs add. AURC is the mean share of wrong answers as songs are answered "
        "surest first."
    )
    if change := results.get("log_loss_change"):
        low, high = change["interval"]
        yield f"Log-loss after less before: {change['value']:+.3f} (95 % interval {low:+.3f} to {high:+.3f})."


def honest_section(results: Json) -> Iterable[str]:
    """What the tree answers when it is asked to be right, or to hold the truth, so often."""
    if not (honest := results.get("honest")):
        return
    yield "## Honest answers (songs)"
    for kind, found in honest.items():
        yield HONEST[kind]
        names = list(next(iter(found.values())))
        rows = [[asked, *(_figure(name, row[name]) for name in names)] for asked, row in found.items()]
        yield table(["asked for", *map(_words, names)], rows)


def resamples_section(results: Json) -> Iterable[str]:
    """Whether the promises of honest answers hold over random halves of the artists, and of the songs."""
    if not (resamples := results.get("resamples")):
        return
    rows = [
        [
            _words(kind),
            asked,
            unit,
            row["resamples"],
            row["without_an_answer"],
            _figure("mean", row["mean"]),
            _figure("mean", row["mean_bound"]),
            _figure("share", row["share_below_bound"]),
        ]
        for unit, promises in resamples.items()
        for kind, found in promises.items()
        for asked, row in found.items()
    ]
    counts = ["resamples", "without an answer", "kept on average", "bound, on average", "below their bound"]
    header = ["promise", "asked for", "halves of", *counts]
    yield "### The promises over random halves\n\n" + table(header, rows)
    yield (
        "Thresholds are learned from one half and held against the other. Were the promise just kept and songs "
        "independent, 5 % of the resamples would lie below their bound. Songs of an artist are not independent, so "
        "halves of artists tell what new artists bring."
    )


def _verdict(comparison: Json) -> str:
    difference, (low, high), p = comparison["difference"], comparison["interval"], comparison["mcnemar_p"]
    evidence = (
        f"Tree minus flat is {points(difference)} points (paired bootstrap 95 % interval "
        f"{points(low)} to {points(high)}; exact McNemar p = {p_value(p)}; of {comparison['n']} songs only the tree "
        f"has {comparison['tree_only']} right, only the flat model {comparison['flat_only']})."
    )
    match (is_sure(comparison), difference > 0, difference < 0):
        case (True, True, _):
            verdict = "**The tree won**, by more than chance explains."
        case (True, _, True):
            verdict = "**The tree lost**, by more than chance explains."
        case (_, True, _):
            verdict = "**The tree is ahead, but within noise**: these songs do not show that it is better."
        case (_, _, True):
            verdict = "**The tree lost, but within noise**: these songs do not show that it is worse."
        case _:
            verdict = "**A draw.**"
    return f"{verdict} {evidence}"


def _title(name: str) -> str:
    return {"tree": "The tree", "flat": "The flat model"}.get(name, f"The model {escape(name)}")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _figure(name: str, value: Any) -> str:
    match value:
        case None:
            return "–"
        case [low, high]:
            return interval((low, high))
        case float():
            return f"{value:.2f}" if name.endswith("size") else percent(value)
    return str(value)
