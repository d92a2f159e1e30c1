"""Published systems beside what hgenre makes of them, in tables."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hgenre.metrics.intervals import difference_of_independent, wilson
from hgenre.report.figures import bullets, interval, percent, points
from hgenre.report.table import escape, table

Json = Mapping[str, Any]

HEADER = ["system", "recipe", "reported", "ours", "95 % interval", "on", "protocol", "the two"]


def render_reproductions(found: Sequence[Json], command: str, curves: Mapping[str, str] | None = None) -> str:
    """Markdown of recipes' results, see ``hgenre.studies.recipes.reproduce``; every figure in it is read from them.

    Args:
        curves: recipe -> path of a picture of its learning curves, relative to the page.
    """
    seconds = sum(results.get("seconds", 0.0) for results in found)
    parts = [
        "# The systems that hgenre grew from",
        f"Each row is a published figure, and beside it ours, by the recipe of that name in `configs/seeds/`. "
        f"All of it was written by\n\n~~~text\n{command}\n~~~\n\nin {_time(seconds)} of "
        "training and judging. `hgenre reproduce NAME` runs one of them.",
        rows_table(found),
        bullets(
            [
                "Intervals: Wilson's for songs; for slices drawn over artists, because slices of a song, and songs of "
                "an artist, are no independent evidence.",
                "*the two*: our figure less the reported one, with its interval (Newcombe) where it is known on how "
                "many the reported one rests; a difference is *beyond chance* where that interval leaves out 0. Where "
                "our songs are of other genres than the report's, the figures are not held against each other.",
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
    """Our figure beside a reported one: ``accuracy``, ``interval``, ``n``, ``protocol``; None where there is none."""
    protocol = reported["protocol"] or next(iter(results["protocols"]), "")
    models = results["protocols"].get(protocol, {}).get("models", {})
    if reported["model"] not in models:
        return None
    figure = models[reported["model"]][reported["figure"]]
    return {**{key: figure[key] for key in ("accuracy", "interval", "n")}, "protocol": protocol}


def _row(results: Json, reported: Json) -> list[str]:
    name = reported["name"] or results["recipe"]["title"]
    said = "; ".join(filter(None, [_given(reported["percent"]), reported["said"]])) or "–"
    head = [name, results["name"], said]
    if "not_run" in results:
        return [*head, f"not run: {results['not_run']}", "", "", "", ""]
    if "ablation" in results:
        return [*head, *_ablated(results)]
    figure = ours(results, reported)
    if figure is None:
        return [*head, f"not run: {_why_not(results, reported['model'])}", "", "", "", ""]
    unit = "slices" if reported["figure"] == "slice" or figure["protocol"] == "slice-random" else "songs"
    return [
        *head,
        percent(figure["accuracy"]),
        interval(figure["interval"]),
        f"{figure['n']} {unit}",
        figure["protocol"],
        _beside(figure, reported),
    ]


def _why_not(results: Json, model: str) -> str:
    """Why a model has no figures: its kind of classifier could not be fitted."""
    reasons = (own.get("not_run", {}).get(model.split()[0]) for own in results["protocols"].values())
    return next(filter(None, reasons), f"no model {model}")


def _given(value: float | None) -> str:
    return "" if value is None else f"{value:g} %"


def _beside(figure: Json, reported: Json) -> str:
    if reported["percent"] is None:
        return ""
    if not reported["is_same_data"]:
        return "other genres"
    theirs = reported["percent"] / 100
    difference = figure["accuracy"] - theirs
    if reported["n"] is None:
        return points(difference)
    low, high = difference_of_independent(
        figure["accuracy"], figure["interval"], theirs, wilson(round(theirs * reported["n"]), reported["n"])
    )
    verdict = "within chance" if low <= 0 <= high else "beyond chance"
    return f"{points(difference)} ({points(low)} to {points(high)}), {verdict}"


def _ablated(results: Json) -> list[str]:
    (own,) = results["ablation"]["dropped"].values()
    model = own["models"]["flat"]
    change, barred = model["change"], model["change_barred"]
    low, high = change["interval"]
    return [
        f"{points(change['difference'])}; {points(barred['difference'])} by barring the answer alone",
        f"{points(low)} to {points(high)}",
        f"{change['n']} songs",
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


def _recipe(results: Json, curves: str | None) -> Iterable[str]:
    recipe = results["recipe"]
    yield f"## {escape(recipe['title'])}\n\n`hgenre reproduce {results['name']}`"
    yield f"Reported: {escape(recipe['source'])}."
    if "not_run" in results:
        yield f"Not run: {results['not_run']}."
    for protocol, own in results["protocols"].items():
        yield _protocol(protocol, own, recipe)
    if "ablation" in results:
        yield _ablation(results)
    if curves:
        yield f"![Learning curves of {results['name']}: training and validation by epoch]({curves})"
    notes = [*recipe["differences"], *results.get("warnings", [])[:5]]
    hidden = len(results.get("warnings", [])) - 5
    if hidden > 0:
        notes.append(f"and {hidden} more warnings of that kind")
    if notes:
        yield "Why the two differ, and what to know:\n\n" + bullets(escape(note) for note in notes)


def _protocol(protocol: str, own: Json, recipe: Json) -> str:
    sides = "; ".join(f"{_range(counts)} {side}" for side, counts in own["n_songs"].items() if any(counts))
    unit = "slices" if protocol == "slice-random" else "songs"
    n_run, n_folds = recipe["folds_run"], recipe["n_folds"]
    folds = f"{n_run} of {n_folds} folds" if n_run < n_folds else f"{n_folds} folds"
    rows = [
        [
            model,
            percent(scores["song"]["accuracy"]),
            interval(scores["song"]["interval"]),
            percent(scores["slice"]["accuracy"]),
            interval(scores["slice"]["interval"]),
            f"{scores['song']['macro_f1']:.3f}",
        ]
        for model, scores in own["models"].items()
    ]
    seconds = sum(own["seconds"].values())
    head = f"Protocol {protocol}, {folds}; {unit}: {sides}; {seconds:.0f} s."
    header = ["model", f"{unit} right", "95 % interval", "slices right", "95 % interval", "macro F1"]
    return head + "\n\n" + table(header, rows)


def _ablation(results: Json) -> str:
    ((genre, own),) = results["ablation"]["dropped"].items()
    model = own["models"]["flat"]
    rows = [
        [row["genre"], str(row["n"]), *(percent(row[when]["accuracy"]) for when in ("before", "barred", "after"))]
        for row in model["per_genre"]
    ]
    header = ["genre", "songs", "all genres", f"{genre} barred", f"trained without {genre}"]
    return f"Songs right, protocol {results['protocol']}, by the same songs.\n\n" + table(header, rows)


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
