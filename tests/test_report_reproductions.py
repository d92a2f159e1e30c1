"""Published figures beside ours: every row once, every figure one that was computed."""

import re
from pathlib import Path
from typing import Any

import pytest

from hgenre.metrics.intervals import wilson
from hgenre.report.markdown import render
from hgenre.report.reproductions import HEADER, ours, render_reproductions, rows_table
from hgenre.report.table import escape
from hgenre.studies.recipes import not_run, recipes, reproduce
from hgenre.train import RunResult
from tests.oracles import newcombe
from tests.planted_recipes import write_recipe


def scored(n_right: int, n: int, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    return {
        "accuracy": n_right / n,
        "n": n,
        "n_right": n_right,
        "interval": interval or wilson(n_right, n),
        "macro_f1": 0.5,
    }


def protocol(**models: dict[str, Any]) -> dict[str, Any]:
    return {
        "models": models,
        "n_songs": {"train": [300, 302], "validation": [30, 30], "test": [100, 100]},
        "seconds": {"nets": 12.4},
        "not_run": {},
    }


def reported(**entries: Any) -> dict[str, Any]:
    return {
        "name": "",
        "model": "flat",
        "protocol": "",
        "figure": "song",
        "percent": None,
        "said": "",
        "n": None,
        "is_same_data": True,
        **entries,
    }


def results(*rows: dict[str, Any], **entries: Any) -> dict[str, Any]:
    recipe = {
        "title": "a system",
        "source": "songs, split",
        "reported": rows,
        "differences": [],
        "folds_run": 2,
        "n_folds": 5,
    }
    flat = {"song": scored(143, 200), "slice": scored(1200, 2000, (0.55, 0.65))}
    return {
        "name": "a",
        "command": "hgenre reproduce a",
        "recipe": recipe,
        "protocols": {"song": protocol(flat=flat)},
    } | entries


def cells(found: dict[str, Any], i: int = 0) -> list[str]:
    """The cells of a row of the table, as plain text."""
    header, _, *rows = rows_table([found]).splitlines()
    assert header == f"| {' | '.join(escape(name) for name in HEADER)} |"
    own = [cell.strip() for cell in rows[i].split("|")[1:-1]]
    assert len(own) == len(HEADER)
    return own


@pytest.mark.parametrize(
    ("n_right", "percent", "n"), [(143, 71.357, 199), (143, 58.3, 200), (60, 48.3, 60), (190, 60, 10)]
)
def test_a_difference_is_beyond_chance_where_newcombes_interval_leaves_out_0(
    n_right: int, percent: float, n: int
) -> None:
    found = results(reported(percent=percent, n=n))
    found["protocols"]["song"]["models"]["flat"]["song"] = scored(n_right, 200)
    low, high = newcombe(n_right, 200, round(percent * n / 100), n)
    # The reported share itself is what is subtracted; it and its count differ by a rounding.
    shift = round(percent * n / 100) / n - percent / 100
    said = re.fullmatch(r"([+-][\d.]+) \(([+-][\d.]+) to ([+-][\d.]+)\), (within|beyond) chance", cells(found)[-1])
    assert said is not None
    difference, *bounds = map(float, said.groups()[:3])
    assert difference == pytest.approx(n_right / 2 - percent, abs=0.051)
    assert bounds == pytest.approx([100 * (low + shift), 100 * (high + shift)], abs=0.2)
    assert said[4] == ("within" if low <= 0 <= high else "beyond")


def test_a_row_says_what_was_reported_and_what_is_ours() -> None:
    low, high = wilson(143, 200)
    assert cells(results(reported(percent=71.357, said="its abstract says 73")))[:7] == [
        "a system",
        "a",
        "71.357 %; its abstract says 73",
        "71.5 %",
        f"{100 * low:.1f} to {100 * high:.1f}",
        "200 songs",
        "song",
    ]
    assert cells(results(reported(name="by slices", figure="slice")))[:7] == [
        "by slices", "a", "–", "60.0 %", "55.0 to 65.0", "2000 slices", "song"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"said": "better"}, ""),
        ({"percent": 60.0, "n": 200, "is_same_data": False}, "other data"),
        ({"percent": 60.0}, "+11.5"),
        # Of slices nobody knows how many songs they are of.
        ({"percent": 47.0, "n": 2995, "figure": "slice"}, "+13.0"),
    ],
)
def test_what_cannot_be_held_against_ours_is_not(entries: dict[str, Any], said: str) -> None:
    assert cells(results(reported(**entries)))[-1] == said


def test_a_song_of_shuffled_slices_is_a_slice() -> None:
    """Each is a song to the program, and Wilson's interval would take slices of one song for independent."""
    flat = {"song": scored(900, 1000), "slice": scored(900, 1000, (0.7, 0.99))}
    found = results(reported(percent=71.4, n=1000), protocols={"slice-random": protocol(flat=flat)})
    own = ours(found, found["recipe"]["reported"][0])
    assert own == {"accuracy": 0.9, "interval": (0.7, 0.99), "n": 1000, "unit": "slice", "protocol": "slice-random"}
    assert cells(found)[3:] == ["90.0 %", "70.0 to 99.0", "1000 slices", "slice-random", "+18.6"]
    text = render_reproductions([found], "x")
    assert "| model | slices right | 95 % interval | macro F1 |" in text
    assert "Protocol slice-random, 2 of 5 folds; slices: 300 to 302 train; 30 validation; 100 test; 12 s." in text
    low, high = wilson(900, 1000)
    assert f"{100 * low:.1f} to {100 * high:.1f}" not in text


def test_the_figure_is_of_the_protocol_that_the_report_names() -> None:
    song, slices = ({"song": scored(n, 100), "slice": scored(n, 100)} for n in (40, 80))
    both = {"slice-random": protocol(svm=slices), "song": protocol(svm=song)}
    found = results(reported(model="svm"), reported(model="svm", protocol="song"), protocols=both)
    assert [cells(found, i)[3:7:3] for i in range(2)] == [["80.0 %", "slice-random"], ["40.0 %", "song"]]


def test_what_could_not_be_fitted_has_no_figure() -> None:
    found = results(reported(model="xgboost", percent=72.0, n=200), reported(model="xgboost tree"))
    found["protocols"]["song"]["not_run"] = {"xgboost": "the classifier xgboost needs the package"}
    for i, said in enumerate(("72 %", "–")):
        assert cells(found, i)[2:] == [said, "not run: the classifier xgboost needs the package", "", "", "", ""]


def test_nets_that_could_not_be_trained_have_no_figure() -> None:
    found = results(
        reported(),
        reported(model="tree"),
    )
    found["protocols"]["song"] = {**protocol(), "not_run": {"nets": "training diverged"}}
    assert [cells(found, i)[3] for i in range(2)] == ["not run: training diverged"] * 2


def comparison(difference: float, low: float, high: float, n: int = 120) -> dict[str, Any]:
    return {
        "difference": difference,
        "interval": [low, high],
        "mcnemar_p": 0.01,
        "tree_only": 9,
        "flat_only": 1,
        "n": n,
    }


def test_a_dropped_genre_has_its_change_in_a_row() -> None:
    genre = {
        "genre": "rock",
        "n": 12,
        **{when: {"accuracy": a} for when, a in (("before", 0.5), ("barred", 0.6), ("after", 0.7))},
    }
    model = {
        "change": comparison(0.05, -0.01, 0.11),
        "change_barred": comparison(0.04, 0.0, 0.08),
        "per_genre": [genre],
    }
    study = {
        "dropped": {"country": {"models": {"svm": model}}},
        "warnings": ["one was left out"],
        "not_run": {"knn": "few"},
    }
    rows = (reported(model="svm", said="+5 to +7"), reported(model="knn"))
    found = results(*rows, ablation=study, protocol="song", protocols={})
    assert cells(found)[2:] == [
        "+5 to +7", "+5.0; +4.0 by barring the answer alone", "-1.0 to +11.0", "120 songs", "song", ""
    ]  # fmt: skip
    assert cells(found, 1)[3:] == ["not run: few", "", "", "", ""]
    text = render_reproductions([found], "x")
    assert "Songs right, protocol song, by the same songs." in text
    assert "| svm: genre | songs | all genres | country barred | trained without country |" in text
    assert "| rock | 12 | 50.0 % | 60.0 % | 70.0 % |" in text
    assert "- one was left out" in text


def test_every_reported_row_of_every_shipped_recipe_stands_there_once_and_nothing_without_computation() -> None:
    found = [not_run(path, "data absent", f"hgenre reproduce {name}") for name, path in recipes().items()]
    text = render_reproductions(found, "hgenre reproduce all")
    _, _, *rows = rows_table(found).splitlines()
    expected = [
        (row["name"] or own["recipe"]["title"], own["name"]) for own in found for row in own["recipe"]["reported"]
    ]
    assert len(expected) == len(set(expected))
    assert len(rows) == len(expected)
    for row, (name, recipe) in zip(rows, expected, strict=True):
        assert row.startswith(f"| {escape(name)} | {escape(recipe)} | ")
        assert row.endswith(" | not run: data absent |  |  |  |  |")
        assert text.count(f"\n{row}\n") == 1
    for own in found:
        assert text.count(f"\n## {escape(own['recipe']['title'])}\n\n`hgenre reproduce {own['name']}`\n") == 1
        for difference in own["recipe"]["differences"]:
            assert f"- {escape(difference)}" in text
    # What is left of the page without the recipes' own words holds no figure but the intervals' 95.
    ours_alone = "\n".join(row.rpartition(" | not run")[2] for row in rows)
    assert not re.search(r"\d", ours_alone)
    assert "leaky" not in text
    assert "came apart" not in text


def test_a_page_says_no_figure_that_a_recipe_has_not_computed(tmp_path: Path) -> None:
    found = reproduce(write_recipe(tmp_path / "recipes", "a"), tmp_path / "out", command="hgenre reproduce a")
    page = render_reproductions(
        [found, results(reported(), not_run="weights absent", protocols={})], "hgenre reproduce all"
    )
    svm = found["protocols"]["slice-random"]["models"]["svm"]["slice"]
    low, high = svm["interval"]
    figure = f"{100 * svm['accuracy']:.1f} %"
    bounds = f"{100 * low:.1f} to {100 * high:.1f}"
    assert f"| the system a | a | 50 % | {figure} | {bounds} | {svm['n']} slices | slice-random |" in page
    assert f"| svm | {figure} | {bounds} |" in page
    song = found["protocols"]["song"]["models"]["svm"]["slice"]
    leaks = page.split("## What a leaky protocol would have claimed")[1].split("##")[0]
    assert f"| a | svm | {figure} {bounds} | {100 * song['accuracy']:.1f} % " in leaks
    assert "Not run: weights absent." in page
    assert "- other songs" in page


def test_curves_tell_how_far_training_and_validation_came_apart() -> None:
    end = {"epoch": 37.5, "loss": 0.014, "train_accuracy": 0.998, "slice_loss": 1.214, "slice_accuracy": 0.719}
    found = results(reported(), curves={"song": {"flat": end}})
    text = render_reproductions([found], "x", {"a": "reproductions/a.svg"})
    assert "| a | song | flat | 37.5 | 0.01 | 1.21 | 99.8 % | 71.9 % |" in text
    assert "![Learning curves of a: training and validation by epoch](reproductions/a.svg)" in text


def test_a_tree_stands_beside_its_rivals_as_in_its_own_report(tiny_run: RunResult) -> None:
    """Headings a step lower, the rest word by word."""
    page = render_reproductions([results(reported(), trees={"song": tiny_run.results})], "x")
    report = render(tiny_run.results)
    for heading in ("Fair rivals (songs)", "Why (songs)"):
        own = report.split(f"## {heading}\n\n")[1].split("\n## ")[0].strip()
        assert own
        assert f"### {heading}\n\n{own}" in page
    assert "Tree minus flat is" in page


def test_warnings_are_few_and_counted() -> None:
    text = render_reproductions([results(reported(), warnings=[f"{i} left out" for i in range(7)])], "x")
    assert [f"- {i} left out" in text for i in range(7)] == [True] * 5 + [False] * 2
    assert "- and 2 more warnings of that kind" in text


@pytest.mark.parametrize(("seconds", "said"), [(59.6, "60 seconds"), (7000.0, "117 minutes")])
def test_the_page_says_how_it_was_made(seconds: float, said: str) -> None:
    found = [results(reported(), seconds=seconds - 10), results(reported(), seconds=10)]
    text = render_reproductions(found, "hgenre reproduce all --recipes mine", folder="mine")
    assert "by the recipe of that name in `mine/`" in text
    assert f"~~~text\nhgenre reproduce all --recipes mine\n~~~\n\nin {said} of training and judging" in text
