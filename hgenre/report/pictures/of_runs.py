"""Pictures of a run: confusions, how often each genre is right, how every net learned."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hgenre.errors import HgenreError
from hgenre.metrics.classification import Scores
from hgenre.metrics.intervals import wilson
from hgenre.report.figures import percent
from hgenre.report.pictures.saving import BLUE, EDGE, FORMS, ORANGE, lattice, save_figure, short, style, title
from hgenre.results import CHIEF

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "pictures"
"""Where a run's pictures are, in its folder."""

MAX_NUMBERED = 24
"""With more genres than these the cells of a confusion matrix are too small for numbers."""

MAX_NETS = 24

RIVAL = "rival/"

Rows = Sequence[Mapping[str, Any]]


@style()
def confusion_figure(counts: np.ndarray, labels: Sequence[str], heading: str, of: str = "songs") -> "Figure":
    """A confusion matrix: colours are shares of the true genre's row, numbers are counts and these shares.

    Args:
        counts: (genre, genre) whole numbers, rows are the truth. A genre without songs has a grey row.
        of: what is counted.
    """
    from matplotlib.colors import Normalize, PowerNorm
    from matplotlib.figure import Figure

    n_genres, support = len(labels), counts.sum(axis=1, keepdims=True)
    shares = np.ma.masked_invalid(np.divide(counts, support, out=np.full(counts.shape, np.nan), where=support > 0))
    numbered = n_genres <= MAX_NUMBERED
    side = 2.6 + (0.62 * max(n_genres, 4) if numbered else min(0.13 * n_genres, 22))
    figure = Figure(figsize=(side + 1.2, side + 0.3))
    axes = figure.add_subplot()
    # Among many genres a confusion is a small share, and no number beside it says that it is there.
    scale = Normalize(0, 1) if numbered else PowerNorm(0.5, 0, 1)
    image = axes.imshow(shares, cmap="Blues", norm=scale)
    axes.set_facecolor("#dddddd")
    font = 9.5 if numbered else 6.0
    axes.set_xticks(range(n_genres), [short(name) for name in labels], rotation=90, size=font)
    axes.set_yticks(range(n_genres), [short(name) for name in labels], size=font)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="answer", ylabel="true genre")
    if numbered:
        axes.set_xticks(np.arange(n_genres - 1) + 0.5, minor=True)
        axes.set_yticks(np.arange(n_genres - 1) + 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=1.5)
        axes.tick_params(which="minor", length=0)
        for row, column in zip(*np.nonzero(counts), strict=True):
            share = shares[row, column]
            colour = "white" if share > 0.55 else EDGE
            axes.text(column, row - 0.12, str(counts[row, column]), ha="center", va="center", size=10, color=colour)
            axes.text(column, row + 0.2, f"{100 * share:.0f} %", ha="center", va="center", size=7.5, color=colour)
    bar = figure.colorbar(image, ax=axes, label="share of the true genre", shrink=0.7, aspect=30)
    bar.outline.set_visible(False)
    n, right = int(counts.sum()), int(np.trace(counts))
    empty = "; grey: no such " + of if not support.all() else ""
    title(figure, [heading, f"{n} {of} of {n_genres} genres, {percent(right / max(n, 1))} right{empty}"])
    return figure


@style()
def genre_bars_figure(
    slice_counts: np.ndarray, song_counts: np.ndarray, labels: Sequence[str], heading: str
) -> "Figure":
    """Shares of each genre's slices (before the vote) and songs (after it) that are right, songs with Wilson intervals.

    Args:
        slice_counts, song_counts: (genre, genre) confusions, rows are the truth.
    """
    from matplotlib.figure import Figure

    n_genres = len(labels)
    height = 0.52 if n_genres <= MAX_NUMBERED else 0.3
    figure = Figure(figsize=(8, 1.9 + height * n_genres))
    axes = figure.add_subplot()
    place = np.arange(n_genres)
    slices, songs = _recall(slice_counts), _recall(song_counts)
    right, support = np.diag(song_counts), song_counts.sum(axis=1)
    axes.barh(place - 0.2, slices, 0.38, color=ORANGE, label="slices, each for itself")
    axes.barh(place + 0.2, songs, 0.38, color=BLUE, label="songs, after the vote")
    heard = support > 0
    bounds = np.array([wilson(int(r), int(n)) for r, n in zip(right, support, strict=True)])
    apart = np.abs(bounds - songs[:, None])[heard].T
    axes.errorbar(
        songs[heard],
        place[heard] + 0.2,
        xerr=apart,
        fmt="none",
        ecolor=EDGE,
        elinewidth=1,
        capsize=2.5,
        label="95 % interval (Wilson), songs",
    )
    axes.set_yticks(place, [f"{short(name)} ({n})" for name, n in zip(labels, support, strict=True)])
    axes.set(ylim=(n_genres - 0.4, -0.6), xlim=(0, 1), xlabel="right", ylabel="true genre (songs)")
    axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    lattice(axes, "x")
    axes.tick_params(axis="y", length=0)
    figure.legend(loc="outside lower center", ncols=3)
    shares = [np.trace(counts) / max(int(counts.sum()), 1) for counts in (slice_counts, song_counts)]
    title(
        figure,
        [
            heading,
            f"{int(song_counts.sum())} songs, {percent(shares[1])} right; "
            f"{int(slice_counts.sum())} slices, {percent(shares[0])} right",
        ],
    )
    return figure


@style()
def learning_curves_figure(rows: Rows, heading: str, *, keep: str = "best") -> "Figure":
    """Loss and accuracy by epoch, two panels a net: a thin line a fit, a thick one for the median of fits.

    Args:
        rows: of ``history.csv``; rivals' nets are left out. With the columns ``slice_loss``, ``slice_accuracy`` and
            ``train_accuracy`` training stands beside validation in the same unit, slices; without them validation
            songs stand in.
        keep: ``best`` marks the epoch with the lowest ``validation_loss``, ``last`` the last one.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    nets = [net for net in dict.fromkeys(str(row["net"]) for row in rows) if not net.startswith(RIVAL)]
    shown = nets[:MAX_NETS]
    told_by_slice = all("slice_loss" in row for row in rows)
    validation = "validation slices" if told_by_slice else "validation songs"
    losses = {"loss": BLUE, "slice_loss" if told_by_slice else "validation_loss": ORANGE}
    accuracies = {"train_accuracy": BLUE, "slice_accuracy": ORANGE} if told_by_slice else {"accuracy": ORANGE}
    n_storeys = max(1, math.ceil(len(shown) / 4))
    n_columns, n_rows = max(1, math.ceil(len(shown) / n_storeys)), 2 * n_storeys
    figure = Figure(figsize=(max(3.3 * n_columns, 6.5), 2.3 * n_rows + 1.1))
    panels = figure.subplots(n_rows, n_columns, squeeze=False)
    for place, net in enumerate(shown):
        row, column = 2 * (place // n_columns), place % n_columns
        above, below = panels[row, column], panels[row + 1, column]
        fits = _fits([r for r in rows if str(r["net"]) == net])
        _curves(above, fits, losses, keep)
        _curves(below, fits, accuracies, keep)
        above.set_title(short(net))
        above.set_ylim(bottom=0)
        above.tick_params(labelbottom=False)
        below.set(ylim=(0, 1), xlabel="epoch")
        below.sharex(above)
        below.xaxis.get_major_locator().set_params(integer=True)
        if column == 0:
            above.set_ylabel("loss, nats")
            below.set_ylabel("right")
        below.yaxis.set_major_formatter(lambda share, _: f"{100 * share:.0f} %")
    for place in range(len(shown), n_storeys * n_columns):
        for beneath in (0, 1):
            panels[2 * (place // n_columns) + beneath, place % n_columns].set_axis_off()
    n_fits = len({str(row["seed"]) for row in rows})
    marks = [
        Line2D([], [], color=BLUE, label="training batches"),
        Line2D([], [], color=ORANGE, label=validation),
        Line2D([], [], color=EDGE, marker="o", linestyle="none", markersize=4, label="epoch kept"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=3)
    fits_told = f"{n_fits} fits (folds or seeds), the median thick" if n_fits > 1 else "one fit"
    n_nets = f"{len(nets)} nets" if len(nets) != 1 else "one net"
    nets_told = n_nets if len(shown) == len(nets) else f"the first {len(shown)} of {n_nets}"
    title(figure, [heading, f"{nets_told}; {fits_told}"])
    return figure


def draw_run(folder: Path, out: Path | None = None) -> dict[str, list[Path]]:
    """Draws a run's folder into ``out`` (``pictures/`` in it when None); caption -> PNG and SVG.

    Raises:
        HgenreError: the folder holds no run, or nothing can be written.
    """
    place = out or folder / FOLDER
    drawn = {}
    kinds = ("confusion-songs", "confusion-slices", "genres")
    stale = {"learning", *(f"{kind}-{model}" for kind in kinds for model in CHIEF)}
    for stem, caption, figure in run_figures(*read_run(folder)):
        drawn[caption] = save_figure(figure, place / stem)
        stale.discard(stem)
    # What an earlier run in this folder had, such as a tree, is none of this one's.
    for stem in stale if out is None else ():
        for form in FORMS:
            (place / f"{stem}.{form}").unlink(missing_ok=True)
    return drawn


def read_run(folder: Path) -> tuple[Mapping[str, Any], Rows, str]:
    """A run's results, the rows of its history (none where there is no file), and which epoch it kept.

    Raises:
        HgenreError: ``results.json`` is missing or damaged.
    """
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        history = folder / "history.csv"
        rows = list(csv.DictReader(history.read_text(encoding="utf-8").splitlines())) if history.is_file() else []
        config = folder / "config.json"
        optimiser = json.loads(config.read_text(encoding="utf-8")).get("optimiser", {}) if config.is_file() else {}
        keep = str(optimiser.get("keep", "best"))
    except FileNotFoundError:
        raise HgenreError(
            f"{folder} is no run: it has no results.json, which train-tree, train and cross-validate write; "
            "name the folder that one of them was told (--out)"
        ) from None
    except (OSError, ValueError, AttributeError) as error:
        raise HgenreError(f"{folder}: the run's files cannot be read ({error}); run the training again") from None
    return results, rows, keep


def run_figures(results: Mapping[str, Any], rows: Rows, keep: str) -> Iterator[tuple[str, str, "Figure"]]:
    """File stem, caption and figure of every picture of a run, from its ``results.json`` and ``history.csv``.

    Raises:
        HgenreError: an entry is missing or of another kind.
    """
    try:
        name, labels = str(results["name"]), [str(label) for label in results["labels"]]
        for model in (model for model in CHIEF if model in results["models"]):
            counts = {
                unit: np.array(Scores.from_json(results["models"][model][unit]).confusion) for unit in ("song", "slice")
            }
            for unit, found in counts.items():
                figure = confusion_figure(
                    found, labels, f"{name}: confusions of {unit}s by the {model} model", f"{unit}s"
                )
                yield f"confusion-{unit}s-{model}", f"Confusions of {unit}s, {model}", figure
            heading = f"{name}: each genre before and after the vote, {model} model"
            figure = genre_bars_figure(counts["slice"], counts["song"], labels, heading)
            yield f"genres-{model}", f"Each genre before and after the vote, {model}", figure
        if rows:
            yield (
                "learning",
                "Learning curves",
                learning_curves_figure(rows, f"{name}: how each net learned", keep=keep),
            )
    except (KeyError, TypeError, ValueError, AttributeError) as mistake:
        raise HgenreError(
            f"the run cannot be drawn, an entry is missing or of another kind ({mistake!r}); needed are the "
            "results.json and history.csv of a finished training run; run the training again"
        ) from mistake


def _recall(counts: np.ndarray) -> np.ndarray:
    """Share right of each true genre (genre,); 0 for one without songs."""
    return np.asarray(np.diag(counts) / np.maximum(counts.sum(axis=1), 1))


def _fits(rows: Rows) -> list[Mapping[str, np.ndarray]]:
    """One net's history a fit: column -> (epoch,)."""
    by_seed: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        by_seed.setdefault(str(row["seed"]), []).append(row)
    columns = [name for name in rows[0] if name not in ("seed", "net")]
    return [{name: np.array([float(row[name]) for row in own]) for name in columns} for own in by_seed.values()]


def _curves(axes: "Axes", fits: Sequence[Mapping[str, np.ndarray]], colours: Mapping[str, str], keep: str) -> None:
    alone = len(fits) == 1
    for column, colour in colours.items():
        for fit in fits:
            axes.plot(
                fit["epoch"], fit[column], color=colour, linewidth=1.8 if alone else 0.7, alpha=1 if alone else 0.45
            )
        if not alone:
            # While half of the fits still learn: a median of the stragglers is not that of all.
            longest = int(np.median([len(fit["epoch"]) for fit in fits]))
            padded = np.full((len(fits), longest), np.nan)
            for line, fit in zip(padded, fits, strict=True):
                line[: len(fit[column])] = fit[column][:longest]
            axes.plot(np.arange(1, longest + 1), np.nanmedian(padded, axis=0), color=colour, linewidth=2)
    for fit in fits:
        kept = len(fit["epoch"]) - 1 if keep == "last" else int(fit["validation_loss"].argmin())
        axes.plot(fit["epoch"][kept], fit[column][kept], "o", color=EDGE, markersize=4 if alone else 3)
    lattice(axes, "y")
