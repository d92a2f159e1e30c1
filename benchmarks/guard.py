"""The regression guard: ratios measured anew against the stored ones.

A ratio has fallen when the difference cannot be noise: the new median is worse than every stored round, the stored
median better than every new round, and the two medians are further apart than MARGIN.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks.rounds import more_is_better

MARGIN = 0.10
"""Share of the stored median; two calls on the same quiet machine are closer than this."""

Result = Mapping[str, Any]


class Ratio(NamedTuple):
    name: str
    rounds: tuple[float, ...]
    more_is_better: bool


def compare(stored: Sequence[Result], measured: Sequence[Result]) -> tuple[list[str], list[str], int]:
    """(falls, stored ratios that were not measured now, number of ratios compared), the first two in words."""
    now = {ratio.name: ratio for ratio in _ratios(measured)}
    falls, missing, n_compared = [], [], 0
    for before in _ratios(stored):
        after = now.get(before.name)
        if after is None:
            missing.append(before.name)
            continue
        n_compared += 1
        if has_fallen(before, after):
            falls.append(f"{before.name}: {median(before.rounds):.3g} stored, {median(after.rounds):.3g} now")
    return falls, missing, n_compared


def has_fallen(before: Ratio, after: Ratio) -> bool:
    # Of a rate the inverse, so that lower is better throughout.
    stored, now = (
        [1 / ratio for ratio in found.rounds] if found.more_is_better else list(found.rounds)
        for found in (before, after)
    )
    return median(now) > max(stored) and min(now) > median(stored) and median(now) > (1 + MARGIN) * median(stored)


def _ratios(results: Sequence[Result]) -> Iterator[Ratio]:
    for result in results:
        for found in result.get("comparisons", ()):
            if "ratios" in found:
                name = f"{result['what']}: {found['ours']} / {found['baseline']}"
                yield Ratio(name, tuple(found["ratios"]), more_is_better(result["unit"]))
