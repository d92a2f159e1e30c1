"""What counts as a fall of a stored ratio, and the file and the document that results go to."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as bench
from benchmarks.guard import Ratio, compare, has_fallen
from benchmarks.tables import report, write_tables

ABOUT = {
    "date": "2026-01-02",
    "command": ["scripts/bench"],
    "machine": "Abacus, 2 cores",
    "limits": {"gflop_per_s": 100.0, "gbyte_per_s": 10.0, "python_start_ms": 5.0},
    "versions": {"python": "3.11"},
}


def result(ratios: list[float], *, name: str = "training", unit: str = "s") -> dict[str, Any]:
    found = {"ours": "ours", "baseline": "theirs", "target": "<= 1.1", "ratio": ratios[0], "ratios": ratios}
    return {
        "name": name,
        "what": f"{name} row",
        "unit": unit,
        "values": {"ours": [1.0, 2.0, 9.0], "theirs": [4.0]},
        "notes": {"ours": "batch 64"},
        "skipped": {},
        "floors": {"ours": {"floor": 0.5, "fraction": 0.25, "counted": ""}},
        "comparisons": [{**found, "lowest": min(ratios), "highest": max(ratios), "met": True}],
        "measured": ABOUT,
    }


def _measures(monkeypatch: pytest.MonkeyPatch, *ratios: float) -> None:
    """Makes each measurement find the next of these ratios in every row."""
    remaining = iter(ratios)

    def measured(names: list[str], **_: Any) -> list[dict[str, Any]]:
        ratio = next(remaining)
        return [result([ratio], name=name) for name in names]

    monkeypatch.setattr(bench, "_measured", measured)


def skipped() -> dict[str, Any]:
    found = result([1.0])
    comparison = {"ours": "ours", "baseline": "gone", "target": None, "skipped": "torch is not installed"}
    return {**found, "comparisons": [comparison]}


@pytest.mark.parametrize(
    ("stored", "now", "fallen"),
    [
        ([0.50, 0.48, 0.53], [0.50, 0.49, 0.52], False),
        ([0.50, 0.48, 0.53], [0.70, 0.68, 0.71], True),
        ([0.50, 0.48, 0.53], [0.54, 0.54, 0.54], False),  # outside the stored rounds, by less than the margin
        ([0.50, 0.30, 0.90], [0.70, 0.68, 0.71], False),  # within the stored rounds
        ([0.50, 0.48, 0.53], [0.70, 0.45, 0.90], False),  # a round of now is as good as the stored median
        ([0.50, 0.48, 0.53], [0.20, 0.20, 0.20], False),
    ],
)
def test_a_fall_is_beyond_noise(stored: list[float], now: list[float], fallen: bool) -> None:
    assert has_fallen(Ratio("", "", tuple(stored), False), Ratio("", "", tuple(now), False)) is fallen
    rates = [tuple(1 / ratio for ratio in ratios) for ratios in (stored, now)]
    assert has_fallen(Ratio("", "", rates[0], True), Ratio("", "", rates[1], True)) is fallen


def test_falls_and_what_is_missing_are_named() -> None:
    stored = [result([0.5]), result([0.5], name="routing"), result([0.5], name="answer")]
    falls, missing, n_compared = compare(stored, [result([0.8]), result([0.5], name="routing"), skipped()])
    assert [str(fall) for fall in falls] == ["training row: ours / theirs: 0.5 stored, 0.8 now"]
    assert missing == ["answer row: ours / theirs"]
    assert n_compared == 2


def test_the_table_has_a_line_a_comparison() -> None:
    table = report([result([1.0, 0.5, 1.5]), skipped()]).splitlines()
    assert table[2] == (
        "| training row | ours (batch 64): 2 s | theirs: 4 s | **1.00** (0.50..1.50) | <= 1.1 | yes | 0.5 s (25%) |"
    )
    assert table[3].startswith("| training row | ours (batch 64): 2 s | gone | skipped: torch is not installed | ")
    assert table[-1].startswith("* 2026-01-02, `scripts/bench`. Abacus, 2 cores: 100 GFLOP/s")


def test_growth_has_a_table_of_its_own() -> None:
    growth = {
        "name": "growth",
        "what": "predict",
        "n_songs": [10, 100],
        "seconds": [1.0, 5.0],
        "peak_gib": [0.5, 0.5],
        "one_song": {"seconds": 0.6, "peak_gib": 0.5},
        "time_exponent": 1.01,
        "last_time_exponent": 0.7,
        "last_memory_exponent": 0.0,
        "measured": ABOUT,
    }
    assert "| 100 | 5 | 50 | 0.50 |" in report([growth])
    assert "exponent 1.01" in report([growth])


def test_tables_go_between_the_markers(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("before\n<!-- table: scripts/bench -->\nold\n<!-- end of table -->\nafter\n")
    for _ in range(2):
        write_tables(document, [result([1.0])])
    text = document.read_text()
    assert text.startswith("before\n<!-- table: scripts/bench -->\n\n| what |")
    assert text.endswith("\n\n<!-- end of table -->\nafter\n")
    assert "old" not in text
    assert text.count("| what |") == 1


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("nothing\n")
    with pytest.raises(SystemExit, match="has no place for the tables"):
        write_tables(document, [result([1.0])])


@pytest.mark.parametrize(("taken", "status"), [([0.5], 0), ([0.9, 0.8], 1), ([0.9, 0.5], 0)])
def test_check_exits_with_1_where_a_ratio_has_fallen_twice(
    taken: list[float],
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps({"rows": [result([0.5])]}))
    _measures(monkeypatch, *taken)
    monkeypatch.setattr(sys, "argv", ["bench", "--check", str(stored)])
    with pytest.raises(SystemExit) as end:
        bench.main()
    assert end.value.code == status
    assert ("fallen: training row" in capsys.readouterr().err) is bool(status)


def test_only_renews_its_rows_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = tmp_path / "stored.json"
    stored.write_text(json.dumps({"rows": [result([0.5]), result([0.6], name="routing")]}))
    _measures(monkeypatch, 0.9)
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "routing", "--json", str(stored)])
    bench.main()
    rows = json.loads(stored.read_text())["rows"]
    assert [(row["name"], row["comparisons"][0]["ratio"]) for row in rows] == [("training", 0.5), ("routing", 0.9)]


def test_a_file_without_results_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", "--from", str(tmp_path / "none.json")])
    with pytest.raises(SystemExit, match=r"none\.json holds no results"):
        bench.main()
