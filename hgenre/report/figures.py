"""How a report writes its figures, and when it calls a difference sure."""

from collections.abc import Iterable, Mapping
from typing import Any

from hgenre.metrics.intervals import beyond_chance


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def points(share: float) -> str:
    """A difference of shares, with its sign, in points; never minus zero."""
    return f"{100 * share:+z.1f}"


def interval(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{100 * low:.1f} to {100 * high:.1f}"


def p_value(p: float) -> str:
    """A tiny p-value is not written as zero."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}"


def paired(comparison: Mapping[str, Any]) -> tuple[str, str, str]:
    """Difference in points, its interval and McNemar's p of a paired comparison."""
    low, high = comparison["interval"]
    return points(comparison["difference"]), f"{points(low)} to {points(high)}", p_value(comparison["mcnemar_p"])


def is_sure(comparison: Mapping[str, Any]) -> bool:
    """Whether chance explains a paired comparison badly."""
    return beyond_chance(comparison["mcnemar_p"], comparison["interval"])


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
