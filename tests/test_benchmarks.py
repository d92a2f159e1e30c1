"""Sides take turns, and ratios are of values from the same round."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from benchmarks.floors import Limits, Work
from benchmarks.growth import exponents, slope
from benchmarks.rounds import Comparison, Noted, Round, Row, Side, Skipped, measure
from benchmarks.worker import best_batch, worker

LIMITS = Limits(flops_per_s=10.0, bytes_per_s=100.0, python_start_s=0.5)


@contextmanager
def side(label: str, values: list[float], log: list[str]) -> Iterator[Round]:
    remaining = iter(values)

    def run() -> float:
        log.append(label)
        return next(remaining)

    yield run


def row(unit: str, log: list[str], limit: float | None) -> Row:
    ours, theirs = partial(side, "ours", [1.0, 4.0, 9.0], log), partial(side, "theirs", [2.0, 4.0, 6.0], log)
    return Row("name", "what", unit, {"ours": ours, "theirs": theirs}, (Comparison("ours", "theirs", limit),))


def test_sides_take_turns_and_ratios_are_paired() -> None:
    log: list[str] = []
    [found] = measure(row("s", log, 1.0), 3, LIMITS)["comparisons"]
    assert log == ["ours", "theirs"] * 3
    assert (found["lowest"], found["ratio"], found["highest"]) == (0.5, 1.0, 1.5)


@pytest.mark.parametrize(
    ("unit", "limit", "met", "target"),
    [
        ("s", 0.9, False, "<= 0.9"),
        ("s", 1.1, True, "<= 1.1"),
        ("slices/s", 0.9, True, ">= 0.9"),
        ("slices/s", 1.1, False, ">= 1.1"),
        ("s", None, None, None),
    ],
)
def test_a_limit_is_the_largest_time_or_the_smallest_rate(
    unit: str, limit: float | None, met: bool | None, target: str | None
) -> None:
    [found] = measure(row(unit, [], limit), 3, LIMITS)["comparisons"]
    assert found["met"] is met
    assert found["target"] == target


def test_a_side_that_cannot_be_measured_is_skipped_with_its_reason() -> None:
    @contextmanager
    def absent() -> Iterator[Round]:
        raise Skipped("torch is not installed")
        yield

    sides: dict[str, Side] = {"ours": partial(side, "ours", [1.0], []), "theirs": absent}
    found = measure(Row("name", "what", "s", sides, (Comparison("ours", "theirs", 0.5),)), 1, LIMITS)
    assert found["values"] == {"ours": [1.0]}
    assert found["skipped"] == {"theirs": "torch is not installed"}
    assert found["comparisons"] == [
        {"ours": "ours", "baseline": "theirs", "target": "<= 0.5", "skipped": "torch is not installed"}
    ]


def test_a_worker_without_its_package_is_skipped() -> None:
    with pytest.raises(Skipped, match="no_such_package is not installed"), worker("any:thing", needs="no_such_package"):
        pass


@pytest.mark.parametrize(("unit", "floor", "fraction"), [("s", 2.0, 0.5), ("slices/s", 0.5, 8.0)])
def test_the_floor_is_the_least_time_or_the_highest_rate(unit: str, floor: float, fraction: float) -> None:
    work = {"ours": Work("", flops=20.0)}
    measured = measure(replace(row(unit, [], None), work=work), 3, LIMITS)["floors"]["ours"]
    assert (measured["floor"], measured["fraction"]) == (floor, fraction)


def test_the_best_batch_is_that_of_the_highest_rate() -> None:
    rates = {16: 5.0, 32: 9.0, 64: 7.0}
    best = best_batch(lambda size: lambda: rates[size], list(rates))
    assert isinstance(best, Noted)
    assert (best(), best.note) == (9.0, "batch 32")


def test_slope_is_the_exponent_of_a_power_law() -> None:
    assert slope([(n, 3 * n**1.5) for n in (10, 100, 1000)]) == pytest.approx(1.5)


def test_exponents_leave_out_what_one_song_takes() -> None:
    sizes = (10, 100, 1000)
    found = exponents(sizes, [2 + 0.5 * (n - 1) for n in sizes], [0.5, 0.5, 0.5 * 10**0.1], 2.0)
    assert found["time_exponent"] == pytest.approx(1.0)
    assert found["last_time_exponent"] == pytest.approx(math.log10(501.5 / 51.5))
    assert found["last_memory_exponent"] == pytest.approx(0.1)


def test_a_worker_answers_a_value_a_round() -> None:
    with worker("benchmarks.features:by_hgenre", n_clips=1) as run:
        assert run() > 0
        assert run() > 0


def test_a_worker_that_cannot_start_ends_the_benchmark(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(SystemExit, match=r"benchmarks.features:nothing .* has ended"),
        worker("benchmarks.features:nothing"),
    ):
        pass
    assert "nothing" in capfd.readouterr().err
