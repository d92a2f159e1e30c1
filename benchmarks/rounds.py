"""Rows of the benchmark: sides that take turns, and the ratios between them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

Round = Callable[[], float]
"""Does the work of one round and returns what it measured, in the row's unit."""

Side = Callable[[], AbstractContextManager[Round]]
"""Opens one side of a row, warm and ready for its rounds."""


@dataclass(frozen=True)
class Comparison:
    """The ratio of two sides of a row; ``limit`` is the largest allowed, or the smallest where more is better."""

    ours: str
    baseline: str
    limit: float | None = None


@dataclass(frozen=True)
class Row:
    """What is measured side by side.

    Attributes:
        unit: of the sides' values; more is better where it is a rate, as ``slices/s``.
        sides: label -> side; each is opened once and they take turns round by round.
        n_rounds: unless the command line says otherwise.
    """

    name: str
    what: str
    unit: str
    sides: Mapping[str, Side]
    comparisons: tuple[Comparison, ...]
    n_rounds: int = 9

    @property
    def more_is_better(self) -> bool:
        return self.unit.endswith("/s")


def measure(row: Row, n_rounds: int) -> dict[str, Any]:
    """The row's values a side in interleaved rounds (A B A B ...), with paired ratios, as plain JSON values."""
    values: dict[str, list[float]] = {label: [] for label in row.sides}
    with ExitStack() as stack:
        rounds = {label: stack.enter_context(side()) for label, side in row.sides.items()}
        for _ in range(n_rounds):
            for label, run in rounds.items():
                values[label].append(run())
    return {
        "name": row.name,
        "what": row.what,
        "unit": row.unit,
        "n_rounds": n_rounds,
        "values": values,
        "comparisons": [_compare(row, comparison, values) for comparison in row.comparisons],
    }


def _compare(row: Row, comparison: Comparison, values: Mapping[str, list[float]]) -> dict[str, Any]:
    pairs = zip(values[comparison.ours], values[comparison.baseline], strict=True)
    ratios = [ours / baseline for ours, baseline in pairs]
    ratio, limit = median(ratios), comparison.limit
    met = None if limit is None else ratio >= limit if row.more_is_better else ratio <= limit
    return {
        "ours": comparison.ours,
        "baseline": comparison.baseline,
        "ratio": ratio,
        "lowest": min(ratios),
        "highest": max(ratios),
        "target": None if limit is None else f"{'>=' if row.more_is_better else '<='} {limit:g}",
        "met": met,
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as a markdown table: medians, paired ratios (lowest..highest round), targets."""
    lines = [
        "| what | ours | baseline | ratio (lowest..highest) | target | met |",
        "|---|---|---|---|---|---|",
    ]
    for result in results:
        for found in result["comparisons"]:
            sides = (
                f"{label}: {median(result['values'][label]):.3g} {result['unit']}"
                for label in (found["ours"], found["baseline"])
            )
            ratio = f"**{found['ratio']:.2f}** ({found['lowest']:.2f}..{found['highest']:.2f})"
            met = {None: "", True: "yes", False: "no"}[found["met"]]
            lines.append(f"| {result['what']} | {' | '.join(sides)} | {ratio} | {found['target'] or ''} | {met} |")
    return "\n".join(lines)
