"""Sides take turns, and ratios are of values from the same round."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest

from benchmarks.rounds import Comparison, Round, Row, measure, table
from benchmarks.worker import worker


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
    [found] = measure(row("s", log, 1.0), 3)["comparisons"]
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
    [found] = measure(row(unit, [], limit), 3)["comparisons"]
    assert found["met"] is met
    assert found["target"] == target


def test_the_table_has_a_line_a_comparison_with_medians_and_range() -> None:
    *_, line = table([measure(row("s", [], 1.1), 3)]).splitlines()
    assert line == "| what | ours: 4 s | theirs: 4 s | **1.00** (0.50..1.50) | <= 1.1 | yes |"


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
