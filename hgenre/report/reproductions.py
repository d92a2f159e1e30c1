"""Published systems beside what hgenre makes of them, in tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hgenre.metrics.intervals import difference_of_independent, wilson
from hgenre.report.figures import bullets, interval, percent, points
from hgenre.report.protocols import LEAKY, NETS
from hgenre.report.sections import answer_section, lacking_section, ledger_section, rivals_section
from hgenre.report.table import escape, table

Json = Mapping[str, Any]

HEADER = ["system", "recipe", "reported", "ours", "95 % interval", "on", "protocol", "the two"]


def render_reproductions(
    found: Sequence[Json], command: str, curves: Mapping[str, str] | None = None, *, folder: str = "configs/seeds"
) -> str:
    """Markdown of recipes' results, see ``hgenre.studies.recipes.reproduce``; every figure in it is read from them.

    Args:
        curves: recipe -> path of a picture of its learning curves, relative to the page.
        folder: where the recipes are.
    """
    seconds = sum(results.get("seconds", 0.0) for results in found)
    parts = [
        "# Published systems beside ours",
        f"Each row is a published figure, and beside it ours, by the recipe of that name in `{folder}/`. "
        f"All of it was written by\n\n~~~text\n{command}\n~~~\n\nin {_time(seconds)} of "
        "training and judging. Each account names the command that runs it alone.",
        rows_table(found),
        bullets(
            [
                "Intervals: Wilson's for songs; for slices drawn over artists, because slices of a song, and songs of "
                "an artist, are no independent evidence.",
                "*the two*: our figure less the reported one, with its interval (Newcombe) where it is known on how "
                "many songs the reported one rests; a difference is *beyond chance* where that interval leaves out 0. "
                "Of reported slices nobody knows how many songs they are of, and nothing is corrected for the number "
                "of rows. Where our songs are of other genres or of another form than the report's, the figures are "
                "not held against each other.",
            ]
        ),
        *_leaks(found),
        *_curves(found),
        *(section for results in found for section in _recipe(results, (curves or {}).get(results["name"]))),
    ]
    return "\n\n".join(parts) + "\n"


def rows_table(found: Sequence[Json]) -> str:
    """A row for each reported figure of each recipe."""
    return table(HEADER, [_row(results, reported) for results in found for reported in results["recipe"]["reported"]])


def ours(results: Json, reported: Json) -> dict[str, Any] | None:
    """Our figure beside a reported one: ``accuracy, interval, n, unit, protocol``; None where there is none.

    A song of the leaky protocol is a slice, and has a slice's interval.
    """
    protocol = reported["protocol"] or next(iter(results["protocols"]), "")
    models = results["protocols"].get(protocol, {}).get("models", {})
    if reported["model"] not in models:
        return None
    unit = "slice" if protocol == LEAKY else reported["figure"]
    figure = models[reported["model"]][unit]
    return {**{key: figure[key] for key in ("accuracy", "interval", "n")}, "unit": unit, "protocol": protocol}


def _row(results: Json, reported: Json) -> list[str]:
    name = reported["name"] or results["recipe"]["title"]
    said = "; ".join(filter(None, [_given(reported["percent"]), reported["said"]])) or "–"
    head = [name, results["name"], said]
    if "not_run" in results:
        return [*head, f"not run: {results['not_run']}", "", "", "", ""]
    cells = _ablated(results, reported["model"]) if "ablation" in results else _measured(results, reported)
    return [*head, *(cells or [f"not run: {_why_not(results, reported['model'])}", "", "", "", ""])]


def _measured(results: Json, reported: Json) -> list[str] | None:
    """Our figure, its interval, on what, under which protocol, and what it is to the reported one."""
    figure = ours(results, reported)
    if figure is None:
        return None
    return [
        percent(figure["accuracy"]),
        interval(figure["interval"]),
        f"{figure['n']} {figure['unit']}s",
        figure["protocol"],
        _beside(figure, reported),
    ]


def _why_not(results: Json, model: str) -> str:
    """Why a model has no figures: the nets, or its kind of classifier, could not be fitted."""
    kind = "nets" if model in NETS else model.split()[0]
    studies = [*results["protocols"].values(), *([results["ablation"]] if "ablation" in results else [])]
    reasons = (own["not_run"].get(kind) for own in studies)
    return next(filter(None, reasons), f"no model {model}")


def _given(value: float | None) -> str:
    return "" if value is None else f"{value:g} %"


def _beside(figure: Json, reported: Json) -> str:
    if reported["percent"] is None:
        return ""
    if not reported["is_same_data"]:
        return "other data"
    theirs = reported["percent"] / 100
    difference = figure["accuracy"] - theirs
    if reported["n"] is None or figure["unit"] == "slice":
        return points(difference)
    low, high = difference_of_independent(
        figure["accuracy"], figure["interval"], theirs, wilson(round(theirs * reported["n"]), reported["n"])
    )
    verdict = "within chance" if low <= 0 <= high else "beyond chance"
    return f"{points(difference)} ({points(low)} to {points(high)}), {verdict}"


def _ablated(results: Json, model: str) -> list[str] | None:
    """The same five cells of what a dropped genre gives the others."""
    (own,) = results["ablation"]["dropped"].values()
    if model not in own["models"]:
        return None
    change, barred = own["models"][model]["change"], own["models"][model]["change_barred"]
    low, high = change["interval"]
    return [
        f"{points(change['difference'])}; {points(barred['difference'])} by barring the answer alone",
        f"{points(low)} to {points(high)}",
        f"{change['n']} {'slices' if results['protocol'] == LEAKY else 'songs'}",
        results["protocol"],
        "",
    ]


def _leaks(found: Sequence[Json]) -> Iterable[str]:
    """Slices right under every protocol, for recipes that ran under several."""
    rows = []
    for results in found:
        by_protocol = results["protocols"]
        if len(by_protocol) < 2:
            continue
        for model in next(iter(by_protocol.values()))["models"]:
            cells = [results["name"], model]
            for protocol in ("slice-random", "song", "artist"):
                figure = by_protocol.get(protocol, {}).get("models", {}).get(model, {}).get("slice")
                cells.append(f"{percent(figure['accuracy'])} {interval(figure['interval'])}" if figure else "–")
            rows.append(cells)
    if rows:
        yield "## What a leaky protocol would have claimed\n\nSlices right, by what stands on one side of a split only."
        yield table(["recipe", "model", "slices shuffled", "songs apart", "artists apart"], rows)


def _curves(found: Sequence[Json]) -> Iterable[str]:
    rows = []
    for results in found:
        for protocol, nets in results.get("curves", {}).items():
            for net, end in nets.items():
                rows.append(
                    [
                        results["name"],
                        protocol,
                        net,
                        f"{end['epoch']:g}",
                        f"{end['loss']:.2f}",
                        f"{end['slice_loss']:.2f}",
                        percent(end["train_accuracy"]),
                        percent(end["slice_accuracy"]),
                    ]
                )
    if rows:
        yield (
            "## How far training and validation came apart\n\nAfter the last epoch, means over folds: slices of the "
            "training batches (dropout on) beside slices of validation songs. The curves are in each run's "
            "`report.md` and `pictures/`."
        )
        header = ["recipe", "protocol", "net", "epochs", "loss", "validation loss", "right", "validation right"]
        yield table(header, rows)


def _tree(account: Json) -> Iterable[str]:
    """The tree beside its fair rivals, and where its songs are lost, under headings a step lower than in a report."""
    parts = (
        lacking_section(account),
        answer_section(account),
        rivals_section(account),
        ledger_section(account.get("ledger", {})),
    )
    yield from (section.replace("## ", "### ", 1) for part in parts for section in part)


def _recipe(results: Json, curves: str | None) -> Iterable[str]:
    recipe = results["recipe"]
    yield f"## {escape(recipe['title'])}\n\n`{results['command']}`"
    yield f"Reported: {escape(recipe['source'])}."
    if "not_run" in results:
        yield f"Not run: {results['not_run']}."
    for protocol, own in results["protocols"].items():
        yield _protocol(protocol, own, recipe)
    for account in results.get("trees", {}).values():
        yield from _tree(account)
    if "ablation" in results:
        yield from _ablation(results)
    if curves:
        yield f"![Learning curves of {results['name']}: training and validation by epoch]({curves})"
    warnings = results.get("warnings", results.get("ablation", {}).get("warnings", []))
    notes = [*recipe["differences"], *warnings[:5]]
    hidden = len(warnings) - 5
    if hidden > 0:
        notes.append(f"and {hidden} more warnings of that kind")
    if notes:
        yield "Why the two differ, and what to know:\n\n" + bullets(escape(note) for note in notes)


def _protocol(protocol: str, own: Json, recipe: Json) -> str:
    figures = ("slice",) if protocol == LEAKY else ("song", "slice")
    sides = "; ".join(f"{_range(counts)} {side}" for side, counts in own["n_songs"].items() if any(counts))
    n_run, n_folds = recipe["folds_run"], recipe["n_folds"]
    folds = f"{n_run} of {n_folds} folds" if n_run < n_folds else f"{n_folds} folds"
    rows = [
        [
            model,
            *(cell for f in figures for cell in (percent(scores[f]["accuracy"]), interval(scores[f]["interval"]))),
            f"{scores['song']['macro_f1']:.3f}",
        ]
        for model, scores in own["models"].items()
    ]
    seconds = sum(own["seconds"].values())
    head = f"Protocol {protocol}, {folds}; {figures[0]}s: {sides}; {seconds:.0f} s."
    header = ["model", *(cell for f in figures for cell in (f"{f}s right", "95 % interval")), "macro F1"]
    return head + "\n\n" + table(header, rows)


def _ablation(results: Json) -> Iterable[str]:
    ((genre, own),) = results["ablation"]["dropped"].items()
    songs = "slices" if results["protocol"] == LEAKY else "songs"
    header = [songs, "all genres", f"{genre} barred", f"trained without {genre}"]
    yield f"{songs.capitalize()} right, protocol {results['protocol']}, by the same {songs}."
    for name, model in own["models"].items():
        rows = [
            [row["genre"], str(row["n"]), *(percent(row[when]["accuracy"]) for when in ("before", "barred", "after"))]
            for row in model["per_genre"]
        ]
        yield table([f"{name}: genre", *header], rows)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
