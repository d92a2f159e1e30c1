"""The regression guard: ratios measured anew against the stored ones.

A ratio has fallen when the difference cannot be noise within the calls: the new median is worse than every stored
round, the stored median better than every new round, and the two medians are further apart than MARGIN. Load that comes
and goes can look the same, so ``scripts/bench --check`` believes only a fall that it sees twice.
"""

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks.rounds import more_is_better

MARGIN = 0.10
"""Share of the stored median."""

Result = Mapping[str, Any]


class Ratio(NamedTuple):
    """One comparison of a row; ``name`` says all that must be equal for two ratios to be comparable."""

    row: str
    name: str
    rounds: tuple[float, ...]
    more_is_better: bool


class Fall(NamedTuple):
    stored: Ratio
    now: Ratio

    def __str__(self) -> str:
        return f"{self.now.name}: {median(self.stored.rounds):.3g} stored, {median(self.now.rounds):.3g} now"


def compare(stored: Sequence[Result], measured: Sequence[Result]) -> tuple[list[Fall], list[str], int]:
    """(falls, names of stored ratios that were not measured now, number of ratios compared)."""
    now = {ratio.name: ratio for ratio in _ratios(measured)}
    before = list(_ratios(stored))
    pairs = [(ratio, now[ratio.name]) for ratio in before if ratio.name in now]
    falls = [Fall(*pair) for pair in pairs if has_fallen(*pair)]
    return falls, [ratio.name for ratio in before if ratio.name not in now], len(pairs)


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
                yield Ratio(result["name"], name, tuple(found["ratios"]), more_is_better(result["unit"]))
