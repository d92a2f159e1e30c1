"""``hgenre inspect`` on what a bundle knows of its own confidence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hgenre.bundle import save_bundle
from hgenre.calibrate import FROM_VALIDATION, OUT_OF_FOLD
from hgenre.cli.inspect import CAVEATS
from hgenre.metrics.intervals import wilson
from hgenre.tree.calibration import Calibration
from hgenre.tree.evidence import SongEvidence
from tests.conftest import Finished
from tests.small_bundles import tiny_bundle

Run = Callable[..., Finished]

SURE = [SongEvidence(0.9, (0.95, 0.9), 2)] * 60
NEARLY = [SongEvidence(0.2, (0.8, 0.35), 1)] * 30
LOST = [SongEvidence(0.1, (0.4, 0.3), 0)] * 10
"""By genre or group at 0.8 all answers are right, at 0.4 nine in ten, below that fewer."""


@pytest.fixture
def calibrated(tmp_path: Path) -> Path:
    calibration = Calibration(1.25, 0.5, "out of fold", (*SURE, *NEARLY, *LOST))
    save_bundle(replace(tiny_bundle(), calibration=calibration), tmp_path / "bundle")
    return tmp_path / "bundle"


def lines(done: Finished) -> list[str]:
    assert (done.status, done.err) == (0, "")
    return [line for line in done.out.splitlines() if line.startswith(("calibration", "evidence", "target"))]


def test_temperatures_source_and_thresholds_are_told(hgenre: Run, calibrated: Path) -> None:
    low, high = wilson(90, 90)
    right = f"100.0% of answers right [{low:.1%}, {high:.1%}]"
    low, high = wilson(90, 100)
    most = f"90.0% of answers right [{low:.1%}, {high:.1%}]"
    assert lines(hgenre("inspect", calibrated)) == [
        "calibration    path T 1.25, song T 0.50, evidence of 100 songs: out of fold",
        f"evidence       {CAVEATS[OUT_OF_FOLD]}",
        f"target 80%     where 40.0% likely; of that evidence 60% by genre, 40% by group, 0% not at all; {most}",
        f"target 90%     where 80.0% likely; of that evidence 60% by genre, 30% by group, 10% not at all; {right}",
        f"target 95%     where 80.0% likely; of that evidence 60% by genre, 30% by group, 10% not at all; {right}",
    ]
    record = json.loads(hgenre("inspect", calibrated, "--json").out)["calibration"]
    assert {**record, "target_accuracy": None} == {
        "path_temperature": 1.25,
        "song_temperature": 0.5,
        "source": "out of fold",
        "n_songs": 100,
        "target_accuracy": None,
    }
    assert list(record["target_accuracy"]) == ["0.8", "0.9", "0.95"]
    assert record["target_accuracy"]["0.9"] == {
        "threshold": 0.8,
        "n_genre": 60,
        "n_group": 30,
        "n_abstained": 10,
        "n_right": 90,
        "accuracy": 1.0,
        "interval": list(wilson(90, 90)),
    }


def test_a_target_out_of_reach_is_told(hgenre: Run, tmp_path: Path) -> None:
    few = Calibration(evidence=tuple(SURE[:22]))
    save_bundle(replace(tiny_bundle(), calibration=few), tmp_path / "few")
    shown = lines(hgenre("inspect", tmp_path / "few"))
    assert shown[1] == f"evidence       {CAVEATS[FROM_VALIDATION]}"
    assert shown[-1] == "target 95%     out of reach as far as this evidence tells"
    found = json.loads(hgenre("inspect", tmp_path / "few", "--json").out)["calibration"]["target_accuracy"]["0.95"]
    assert (found["threshold"], found["accuracy"], found["n_abstained"]) == (None, None, 22)


def test_a_bundle_without_evidence_says_so(hgenre: Run, tmp_path: Path) -> None:
    save_bundle(tiny_bundle(), tmp_path / "none")
    save_bundle(replace(tiny_bundle(), calibration=Calibration()), tmp_path / "empty")
    nothing = "calibration    nodes only; predict has no evidence for --target-accuracy and --coverage"
    assert lines(hgenre("inspect", tmp_path / "none")) == [nothing]
    assert json.loads(hgenre("inspect", tmp_path / "none", "--json").out)["calibration"] is None
    told = "calibration    path T 1.00, song T 1.00, evidence of 0 songs: validation songs"
    assert lines(hgenre("inspect", tmp_path / "empty")) == [told]
    assert json.loads(hgenre("inspect", tmp_path / "empty", "--json").out)["calibration"]["target_accuracy"] == {}
