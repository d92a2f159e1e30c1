"""Rows of the benchmark: sides that take turns, and the ratios between them."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from benchmarks.floors import Limits, Work, floor_s

Round = Callable[[], float]
"""Does the work of one round and returns what it measured, in the row's unit."""

Side = Callable[[], AbstractContextManager[Round]]
"""Opens one side of a row, warm and ready for its rounds; raises Skipped where it cannot be measured."""


class Skipped(Exception):
    """Why a side cannot be measured here."""


@dataclass(frozen=True)
class Noted:
    """A round with something to say of itself, as the batch it was tuned to."""

    run: Round
    note: str

    def __call__(self) -> float:
        return self.run()


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
        work: label -> what the side cannot do without, a round where the unit is a time, one item where it is a rate.
        n_rounds: unless the command line says otherwise.
    """

    name: str
    what: str
    unit: str
    sides: Mapping[str, Side]
    comparisons: tuple[Comparison, ...]
    work: Mapping[str, Work] = field(default_factory=dict)
    n_rounds: int = 9


def more_is_better(unit: str) -> bool:
    return unit.endswith("/s")


def measure(row: Row, n_rounds: int, limits: Limits) -> dict[str, Any]:
    """The row's values a side in interleaved rounds (A B A B ...), with paired ratios and floors, as JSON values."""
    values: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    skipped: dict[str, str] = {}
    with ExitStack() as stack:
        rounds = {}
        for label, side in row.sides.items():
            try:
                rounds[label] = stack.enter_context(side())
            except Skipped as reason:
                skipped[label] = str(reason)
        for label, run in rounds.items():
            values[label] = []
            if note := getattr(run, "note", ""):
                notes[label] = note
        for _ in range(n_rounds):
            for label, run in rounds.items():
                values[label].append(run())
    return {
        "name": row.name,
        "what": row.what,
        "unit": row.unit,
        "n_rounds": n_rounds,
        "values": values,
        "notes": notes,
        "skipped": skipped,
        "floors": {
            label: _floor(row.unit, work, limits, median(values[label]))
            for label, work in row.work.items()
            if label in values
        },
        "comparisons": [_compare(row.unit, comparison, values, skipped) for comparison in row.comparisons],
    }


def _compare(
    unit: str, comparison: Comparison, values: Mapping[str, list[float]], skipped: Mapping[str, str]
) -> dict[str, Any]:
    limit, rate = comparison.limit, more_is_better(unit)
    found: dict[str, Any] = {
        "ours": comparison.ours,
        "baseline": comparison.baseline,
        "target": None if limit is None else f"{'>=' if rate else '<='} {limit:g}",
    }
    reasons = [skipped[label] for label in (comparison.ours, comparison.baseline) if label in skipped]
    if reasons:
        return {**found, "skipped": "; ".join(reasons)}
    pairs = zip(values[comparison.ours], values[comparison.baseline], strict=True)
    ratios = [ours / baseline for ours, baseline in pairs]
    ratio = median(ratios)
    met = None if limit is None else ratio >= limit if rate else ratio <= limit
    return {**found, "ratio": ratio, "lowest": min(ratios), "highest": max(ratios), "ratios": ratios, "met": met}


def _floor(unit: str, work: Work, limits: Limits, value: float) -> dict[str, Any]:
    """The least time or the highest rate that the machine's limits allow, and the share of it that was reached."""
    seconds = floor_s(work, limits)
    floor, fraction = (1 / seconds, value * seconds) if more_is_better(unit) else (seconds, seconds / value)
    return {"floor": floor, "fraction": fraction, "counted": work.counted}
