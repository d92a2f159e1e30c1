"""``hgenre group compare`` and ``show`` on what a sweep and a derivation left; nothing is trained."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hgenre.cli.group import _print
from hgenre.report.grouping_verdict import verdict
from hgenre.report.groupings import comparison_table, listed, render, render_grouping
from hgenre.studies.grouping.derive import _found
from hgenre.training.grouping_file import grouping_to_json
from tests.conftest import Finished
from tests.planted_groupings import planted_folds, planted_grouping, planted_results

Hgenre = Callable[..., Finished]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(planted_results()))
    return folder


@pytest.fixture
def grouping(tmp_path: Path) -> Path:
    file = tmp_path / "groups" / "grouping.json"
    file.parent.mkdir()
    file.write_text(json.dumps(grouping_to_json(planted_grouping())))
    return file


def test_the_verdict_and_the_table_of_a_sweep_are_printed(hgenre: Hgenre, run: Path) -> None:
    before = sorted(run.iterdir())
    done = hgenre("group", "compare", run)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"- {verdict(planted_results())[0]}\n")
    assert comparison_table(planted_results()) in done.out
    assert sorted(run.iterdir()) == before


def test_json_holds_the_verdict_and_the_rows(hgenre: Hgenre, run: Path) -> None:
    done = hgenre("group", "compare", run, "--json")
    assert json.loads(done.out) == {
        "verdict": verdict(planted_results()),
        "baselines": planted_results()["baselines"],
        "candidates": listed(planted_results()),
    }


def test_a_sweep_is_drawn_and_its_report_shows_the_pictures(hgenre: Hgenre, run: Path) -> None:
    done = hgenre("group", "show", run)
    assert done.status == 0, done.err
    drawn = [Path(line) for line in done.err.splitlines()]
    assert sorted(drawn) == sorted((run / "pictures").iterdir())
    assert len(drawn) == 8
    shown = {
        "Confusions by group": "pictures/confusion.png",
        "Dendrogram": "pictures/dendrogram.png",
        "Where each grouping loses songs": "pictures/ledgers.png",
        "Songs right by number of groups": "pictures/groupings.png",
    }
    assert done.out == render(planted_results(), shown) + "\n"
    assert (run / "report.md").read_text() == render(planted_results(), shown)


def test_pictures_and_report_go_where_they_are_told(hgenre: Hgenre, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "here"
    done = hgenre("group", "show", run, "--out", out)
    assert done.status == 0, done.err
    assert [path.name for path in run.iterdir()] == ["results.json"]
    assert "![Dendrogram](dendrogram.png)" in (out / "report.md").read_text()
    assert (out / "dendrogram.png").is_file()


@pytest.mark.parametrize("of_folder", [False, True])
def test_derived_groups_are_told_and_drawn(hgenre: Hgenre, grouping: Path, of_folder: bool) -> None:
    done = hgenre("group", "show", grouping.parent if of_folder else grouping)
    assert done.status == 0, done.err
    assert done.out == render_grouping(planted_grouping(), str(grouping)) + "\n"
    drawn = sorted((grouping.parent / "pictures").iterdir())
    assert [path.name for path in drawn] == ["confusion.png", "confusion.svg", "dendrogram.png", "dendrogram.svg"]
    assert sorted(map(Path, done.err.splitlines())) == drawn


def test_of_a_folder_with_both_the_sweep_is_shown(hgenre: Hgenre, run: Path) -> None:
    (run / "grouping.json").write_text("{}")
    assert hgenre("group", "show", run).out.startswith("# planted: which genres belong together")


@pytest.mark.parametrize("command", ["compare", "show"])
def test_what_is_no_sweep_is_told(hgenre: Hgenre, tmp_path: Path, command: str) -> None:
    done = hgenre("group", command, tmp_path / "nowhere")
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        f"hgenre: {tmp_path / 'nowhere'} is no sweep: it has no results.json, which hgenre group sweep writes; name "
        "the folder that it was told (--out)\n"
    )
    (tmp_path / "results.json").write_text('{"models": {}}')
    done = hgenre("group", command, tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "results.json compares no groupings, so another command wrote it" in done.err
    (tmp_path / "results.json").write_text('{"candidates": [], "partitions": []}')
    done = hgenre("group", command, tmp_path)
    assert (done.status, done.out) == (1, "")
    lacking = "structure" if command == "compare" else "name"
    assert f"results.json cannot be shown, an entry is missing or of another kind (KeyError('{lacking}'))" in done.err
    assert "; run hgenre group sweep again" in done.err


def test_what_is_no_grouping_file_is_told(hgenre: Hgenre, tmp_path: Path, grouping: Path) -> None:
    done = hgenre("group", "show", tmp_path / "gone.json")
    assert (done.status, done.out) == (2, "")
    assert "gone.json: 1 mistake in the configuration:\n  file: cannot be read: No such file or directory" in done.err
    values = json.loads(grouping.read_text())
    del values["confusion"]
    grouping.write_text(json.dumps(values))
    done = hgenre("group", "show", grouping)
    assert (done.status, done.out) == (1, "")
    assert "grouping.json cannot be shown, an entry is missing or of another kind (KeyError('confusion'))" in done.err


def test_a_place_that_cannot_be_written_is_told(hgenre: Hgenre, run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hgenre("group", "show", run, "--out", tmp_path / "file")
    assert (done.status, done.out) == (1, "")
    assert "confusion.png cannot be written" in done.err


def test_what_was_derived_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """That errors stay inside groups which were made of these very errors is no news."""
    evidence = planted_folds()[0].evidence
    found = _found(evidence, "average", None, "soft", "song", True)
    _print(found)
    printed = capsys.readouterr().out
    assert printed.startswith(found.dendrogram)
    for told in (
        "The mistakes know groups: ",
        "groups: dub+polka+rai, zouk+fado, cumbia\n",
        "stability: adjusted Rand",
    ):
        assert told in printed
    assert "the specialists can win at most" in printed
    assert "the groups follow the confusions" not in printed
    assert "The groups that pay are dub+polka+rai, zouk+fado; " in printed


def test_help_names_every_command(hgenre: Hgenre) -> None:
    told = hgenre("group", "--help").out
    assert all(name in told for name in ("derive", "sweep", "compare", "show"))
    assert hgenre("group", "compare").status == 2
