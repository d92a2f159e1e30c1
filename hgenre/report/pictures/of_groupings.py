"""Pictures of groupings: confusions by group, dendrograms, where trees lose songs, what all groupings reach."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hgenre.grouping.confusion import similarity
from hgenre.grouping.linkage import LinkageMethod, LinkageTree, distance_of, linkage_tree
from hgenre.labels import Labels
from hgenre.report.groupings import listed, reported
from hgenre.report.ledger import SQUARE
from hgenre.report.pictures.of_runs import MAX_NUMBERED
from hgenre.report.pictures.saving import BLUE, EDGE, GREY, ORANGE, PALETTE, lattice, save_figure, short, style, title
from hgenre.tree.spec import tree_from_groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from hgenre.training.grouping_file import Grouping

LOSSES = {"A": BLUE, "L": ORANGE, "R": PALETTE[4], "B": GREY}

KINDS = {
    "by confusions": ("o", BLUE),
    "by embedding or weights": ("s", PALETTE[2]),
    "by probes": ("D", PALETTE[4]),
    "given": ("^", PALETTE[3]),
}
"""How candidates came to their groups, and how their points look."""


def group_order(tree: LinkageTree, group_idx: Sequence[int]) -> list[int]:
    """Label indices, a group's together: those of the dendrogram's leaves where it agrees with the groups.

    Args:
        group_idx: the group (genre,) of each genre.
    """
    place = {leaf: i for i, leaf in enumerate(tree.leaves)}
    members = {group: [place[g] for g in place if group_idx[g] == group] for group in set(group_idx)}
    return sorted(place, key=lambda g: (np.mean(members[group_idx[g]]), min(members[group_idx[g]]), place[g]))


@style()
def grouped_confusion_figure(
    confusion: np.ndarray, labels: Sequence[str], group_idx: Sequence[int], order: Sequence[int], heading: str, of: str
) -> "Figure":
    """A confusion matrix with its groups framed: shares of the true genre, in colours that tell rare ones apart too.

    Args:
        confusion: (genre, genre) counts or mean probabilities, rows the truth. A genre without songs has a grey row.
        group_idx: the group (genre,) of each genre.
        order: label indices in the order of the rows, a group's together.
        of: what is counted.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    n_genres, numbered = len(labels), len(labels) <= MAX_NUMBERED
    in_order = np.asarray(confusion, np.float64)[np.ix_(order, order)]
    total = in_order.sum(axis=1, keepdims=True)
    shares = np.ma.masked_invalid(np.divide(in_order, total, out=np.full(in_order.shape, np.nan), where=total > 0))
    side = 2.6 + (0.55 * max(n_genres, 4) if numbered else min(0.13 * n_genres, 22))
    figure = Figure(figsize=(side + 1.2, side + 0.3))
    axes = figure.add_subplot()
    axes.set_facecolor("#dddddd")
    image = axes.imshow(shares, cmap="Blues", norm=PowerNorm(0.5, 0, 1))
    names, font = [short(labels[g]) for g in order], 9.5 if numbered else 6.0
    axes.set_xticks(range(n_genres), names, rotation=90, size=font)
    axes.set_yticks(range(n_genres), names, size=font)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="answer", ylabel="true genre")
    if numbered:
        for row, column in zip(*np.nonzero(shares.filled(0) >= 0.005), strict=True):
            colour = "white" if shares[row, column] > 0.3 else EDGE
            text = f"{100 * shares[row, column]:.0f}"
            axes.text(column, row, text, ha="center", va="center", size=8.5, color=colour)
    for start, size in _runs([group_idx[g] for g in order]):
        if size > 1:
            axes.add_patch(
                Rectangle((start - 0.5, start - 0.5), size, size, fill=False, ec=ORANGE, lw=2.2, clip_on=False)
            )
    bar = figure.colorbar(image, ax=axes, label="share of the true genre", shrink=0.7, aspect=30)
    bar.outline.set_visible(False)
    numbers = "numbers in percent; " if numbered else ""
    title(figure, [heading, of, f"{numbers}groups of two genres or more are framed"])
    return figure


@style()
def dendrogram_figure(
    tree: LinkageTree, labels: Sequence[str], group_idx: Sequence[int], heading: str, of: str, told: str
) -> "Figure":
    """A dendrogram, its leaves on the left; what lies inside one group has that group's colour.

    Args:
        group_idx: the group (genre,) of each genre.
        of: what the distances come from; ``told`` is what they are.
    """
    from matplotlib.figure import Figure

    n_genres = len(labels)
    figure = Figure(figsize=(8, 1.6 + (0.32 if n_genres <= MAX_NUMBERED else 0.16) * n_genres))
    axes = figure.add_subplot()
    sizes = np.bincount(group_idx)
    colour_of = {group: PALETTE[i % len(PALETTE)] for i, group in enumerate(np.flatnonzero(sizes > 1).tolist())}
    # The two most alike are joined at 0, which is seen if their lines begin before it.
    start = -0.03 * float(tree.merges[:, 2].max()) or -1.0
    at = {leaf: (start, float(row)) for row, leaf in enumerate(tree.leaves)}
    groups = {leaf: {group_idx[leaf]} for leaf in tree.leaves}
    for k, (a, b, distance, _) in enumerate(tree.merges):
        (x_a, y_a), (x_b, y_b) = at[int(a)], at[int(b)]
        own = groups[n_genres + k] = groups[int(a)] | groups[int(b)]
        colour = colour_of.get(min(own), "#606060") if len(own) == 1 else "#606060"
        axes.plot([x_a, distance, distance, x_b], [y_a, y_a, y_b, y_b], color=colour, linewidth=1.8)
        at[n_genres + k] = (float(distance), (y_a + y_b) / 2)
    font = 10 if n_genres <= MAX_NUMBERED else 6.0
    axes.set_yticks(range(n_genres), [short(labels[leaf]) for leaf in tree.leaves], size=font)
    for text, leaf in zip(axes.get_yticklabels(), tree.leaves, strict=True):
        text.set_color(colour_of.get(group_idx[leaf], EDGE))
    axes.set(ylim=(n_genres - 0.5, -0.5), xlabel=told)
    axes.set_xlim(left=start)
    axes.tick_params(axis="y", length=0)
    lattice(axes, "x")
    title(figure, [heading, of, "colours are groups of two genres or more"])
    return figure


@style()
def ledgers_figure(
    names: Sequence[str], shares: Sequence[Mapping[str, float]], flat_accuracy: float, heading: str
) -> "Figure":
    """Where the songs of each grouping's tree end when each takes one path: bars of A, L, R and B.

    Args:
        shares: of songs, by the names of the ledger's cells, a tree each.
        flat_accuracy: of the flat net, drawn as a line.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2.0 + 0.34 * len(names)))
    axes = figure.add_subplot()
    meaning = dict(cell for row in SQUARE for cell in row)
    place, left = np.arange(len(names)), np.zeros(len(names))
    for cell, colour in LOSSES.items():
        width = np.array([own[cell] for own in shares])
        axes.barh(place, width, 0.72, left=left, color=colour, label=f"{cell} {meaning[cell]}")
        left += width
    axes.axvline(flat_accuracy, color=EDGE, linestyle="--", linewidth=1.2, label="the flat net's songs right")
    axes.set_yticks(place, [short(name, 44) for name in names], size=9)
    axes.set(ylim=(len(names) - 0.4, -0.6), xlim=(0, 1), xlabel="songs, one path each")
    axes.xaxis.set_major_formatter(_as_percent)
    axes.tick_params(axis="y", length=0)
    lattice(axes, "x")
    figure.legend(loc="outside lower center", ncols=3)
    title(figure, [heading, "where the songs of each tree end"])
    return figure


@style()
def group_counts_figure(
    partitions: Sequence[Mapping[str, Any]],
    points: Mapping[str, Sequence[tuple[float, float]]],
    lines: Mapping[str, float],
    heading: str,
) -> "Figure":
    """Songs right over the number of groups: all groupings as mean, deviation and best, candidates as points.

    Args:
        partitions: ``n_groups, n, mean, sd, best`` a number of groups.
        points: kind of candidate, of ``KINDS`` -> number of groups (mean over folds) and accuracy of each.
        lines: accuracies of models without groups, by name.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6))
    axes = figure.add_subplot()
    n_groups, mean, sd, best = (
        np.array([row[name] for row in partitions], float) for name in ("n_groups", "mean", "sd", "best")
    )
    axes.fill_between(n_groups, mean - sd, mean + sd, color="#dddddd", label="all groupings: mean ± deviation")
    axes.plot(n_groups, mean, color="#606060", linewidth=1.5)
    axes.plot(n_groups, best, "_", color=EDGE, markersize=14, label="best one for all folds, chosen on these songs")
    for (name, accuracy), dashes in zip(lines.items(), ("--", ":", "-."), strict=False):
        axes.axhline(accuracy, color=EDGE, linestyle=dashes, linewidth=1, label=name)
    # Kinds stand beside each other, so that equal groupings are not drawn over each other.
    for i, (kind, (marker, colour)) in enumerate(KINDS.items()):
        if own := points.get(kind):
            x, y = np.array(own, float).T
            axes.plot(x + 0.12 * (i - 1.5), y, marker, color=colour, markersize=5.5, alpha=0.75, label=kind)
    axes.set(xlabel="number of groups, single genres counted", ylabel="songs right")
    axes.set_xticks(n_groups)
    axes.yaxis.set_major_formatter(_as_percent)
    lattice(axes, "y")
    figure.legend(loc="outside lower center", ncols=3)
    title(
        figure, [heading, f"{sum(int(row['n']) for row in partitions)} groupings, and those that were derived or given"]
    )
    return figure


def draw_sweep(results: Mapping[str, Any], place: Path) -> dict[str, list[Path]]:
    """Draws a sweep into a folder; caption -> PNG and SVG.

    Raises:
        HgenreError: an entry is missing or of another kind, or nothing can be written.
    """
    return _saved(sweep_figures(results), place, "results.json", "hgenre group sweep")


def draw_grouping(grouping: "Grouping", source: str, place: Path) -> dict[str, list[Path]]:
    """Draws a grouping file into a folder; caption -> PNG and SVG.

    Raises:
        HgenreError: the file holds no confusion, or nothing can be written.
    """
    return _saved(grouping_figures(grouping), place, source, "hgenre group derive")


def sweep_figures(results: Mapping[str, Any]) -> Iterator[tuple[str, str, "Figure"]]:
    """File stem, caption and figure of every picture of a sweep.

    Groups are those of average linkage over all folds' confusions, as many as hold most mistakes beyond chance.
    """
    from hgenre.grouping.average_linkage import choose_n_groups, derive_groups
    from hgenre.grouping.groups import group_of_genre

    name, labels = str(results["name"]), Labels(tuple(results["labels"]))
    confusion = np.array(results["confusion"], np.float64)
    groups = derive_groups(confusion, labels, choose_n_groups(confusion, labels))
    of = "mean probabilities of songs, over the training parts of all folds"
    yield from _confusion_figures(name, confusion, labels, group_of_genre(groups, labels).tolist(), "average", of)
    rows = listed(results)
    flat = results["baselines"][0]["accuracy"]
    yield (
        "ledgers",
        "Where each grouping loses songs",
        ledgers_figure([row["name"] for row in rows], [row["ledger"] for row in rows], flat, f"{name}: groupings"),
    )
    points: dict[str, list[tuple[float, float]]] = {}
    for row in results["candidates"]:
        n_groups = float(np.mean([len(groups) for groups in row["groups"]]))
        points.setdefault(_kind(row), []).append((n_groups, row["accuracy"]))
    lines = {row["name"]: row["accuracy"] for row in results["baselines"]}
    heading = f"{name}: groupings by number of groups"
    yield (
        "groupings",
        "Songs right by number of groups",
        group_counts_figure(results["partitions"], points, lines, heading),
    )


def grouping_figures(grouping: "Grouping") -> Iterator[tuple[str, str, "Figure"]]:
    """File stem, caption and figure of what a grouping file knows: the confusion, and the dendrogram, of its groups."""
    about, labels = grouping.about, grouping.labels
    group_idx = tree_from_groups(labels, grouping.groups).root.home_child_of(labels).tolist()
    method: LinkageMethod = about["method"] if about["method"] in ("complete", "ward") else "average"
    confusion = np.array(about["confusion"], np.float64)
    yield from _confusion_figures(
        str(about["name"]), confusion, labels, group_idx, method, f"evidence: {about['evidence']}"
    )


def _confusion_figures(
    name: str, confusion: np.ndarray, labels: Labels, group_idx: Sequence[int], method: LinkageMethod, of: str
) -> Iterator[tuple[str, str, "Figure"]]:
    tree = linkage_tree(distance_of(similarity(confusion)), labels, method)
    order, genres = group_order(tree, group_idx), labels.genres
    heading = f"{name}: what is taken for what"
    yield "confusion", "Confusions by group", grouped_confusion_figure(confusion, genres, group_idx, order, heading, of)
    told = f"distance ({method} linkage): how much less often two are confused than the most alike"
    yield (
        "dendrogram",
        "Dendrogram",
        dendrogram_figure(tree, genres, group_idx, f"{name}: which genres are confused", of, told),
    )


def _saved(
    figures: Iterator[tuple[str, str, "Figure"]], place: Path, source: str, command: str
) -> dict[str, list[Path]]:
    drawn = {}
    with reported(source, command):
        for stem, caption, figure in figures:
            drawn[caption] = save_figure(figure, place / stem)
    return drawn


def _kind(row: Mapping[str, Any]) -> str:
    match row["evidence"].split(",")[0]:
        case "soft" | "hard":
            return "by confusions"
        case "embedding" | "weights":
            return "by embedding or weights"
        case "":
            return "given"
    return "by probes"


def _runs(values: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Start and length of every run of equal values."""
    start = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[start]:
            yield start, i - start
            start = i


def _as_percent(share: float, _: object) -> str:
    return f"{100 * share:.3g} %"
