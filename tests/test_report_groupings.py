"""What a sweep comes to in words: each figure that of the results, each verdict what the figures allow."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from hgenre.errors import HgenreError
from hgenre.report.grouping_verdict import RIVALS, verdict
from hgenre.report.groupings import COLUMNS, comparison_table, listed, read_sweep, render, render_grouping
from hgenre.training.grouping_file import Grouping
from tests.planted_groupings import LABELS, NONE, planted_grouping, planted_results

USUAL = "average, soft, songs"


def changed(**entries: Any) -> dict[str, Any]:
    return {**copy.deepcopy(planted_results()), **entries}


def with_candidate(name: str, **entries: Any) -> dict[str, Any]:
    """The planted results, of which one candidate alone is left, and that one is other than it was."""
    results = changed()
    results["candidates"] = [row | entries for row in results["candidates"] if row["name"] == name]
    return results


def table_rows(text: str) -> dict[str, list[str]]:
    """Rows of all tables in a text, by their first cell, as plain text."""
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| :--")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]
    return {row[0].split("; the same: ")[0]: row for row in cells}


def beside(difference: float, p: float) -> dict[str, Any]:
    bounds = [difference - 0.02, difference + 0.02]
    return {"difference": difference, "interval": bounds, "mcnemar_p": p, "tree_only": 9, "flat_only": 9, "n": 144}


def test_the_first_sentence_is_whether_confusions_beat_chance() -> None:
    planted, noise = verdict(planted_results()), verdict(planted_results(NONE))
    assert planted[0].startswith('**Grouping by confusions beats random grouping of the same sizes.** "average, soft')
    assert "98.6 % of 144 songs right" in planted[0]
    assert "(all 60; p = 0.017)" in planted[0]
    assert noise[0].startswith(
        "**Grouping by confusions is ahead of random grouping of the same sizes, but within chance.**"
    )
    behind = with_candidate(USUAL, accuracy=0.4)
    behind["candidates"][0]["random"] |= {"p": 0.9, "mean": 0.5}
    assert verdict(behind)[0].startswith("**Grouping by confusions is no better than random grouping of the same")
    assert re.search(r"\(200 drawn; p = 0\.\d{3}\)", noise[0])
    assert "know groups in 2 of 2 folds" in planted[-1]
    assert "know groups in 0 of 2 folds" in noise[-1]


@pytest.mark.parametrize("groups", [None, NONE])
def test_it_says_how_many_groupings_are_good_and_how_many_would_be_by_chance(groups: Any) -> None:
    results = planted_results(groups) if groups else planted_results()
    rows = [row for row in results["candidates"] if row["evidence"].startswith(("soft", "hard"))]
    own = {json.dumps(row["groups"]): row["random"] for row in rows}
    n_small = sum(random["p"] <= 0.05 for random in own.values())
    expected = 0.0
    for random in own.values():
        n = random["n"] + (not random["is_exact"])
        expected += sum(k / n <= 0.05 for k in range(1, n + 1)) / n
    gain = sum({json.dumps(row["groups"]): row["accuracy"] - row["random"]["mean"] for row in rows}.values()) / len(own)
    [said] = [line for line in verdict(results) if line.startswith("Confusions led to")]
    assert said.startswith(
        f"Confusions led to {len(own)} different groupings ({len(rows)} candidates). {n_small} have p ≤ 0.05; if none "
        f"were better than random, {expected:.1f} would be expected. On average they have {100 * gain:+.1f} points"
    )


@pytest.mark.parametrize(
    ("difference", "p", "said"),
    [
        (0.1, 0.001, '**"average, soft, songs" won against {}**, by more than chance explains.'),
        (-0.1, 0.001, '**"average, soft, songs" lost to {}**, by more than chance explains.'),
        (0.1, 0.06, "**No grouping chosen without these songs differs from {} by more than chance explains.**"),
        (0.01, 0.01, "**No grouping chosen without these songs differs from {} by more than chance explains.**"),
    ],
)
@pytest.mark.parametrize(("key", "rival"), RIVALS.items())
def test_each_rival_is_beaten_or_not(difference: float, p: float, said: str, key: str, rival: str) -> None:
    results = with_candidate(USUAL, **{name: beside(0.0, 1.0) for name in RIVALS} | {key: beside(difference, p)})
    [line] = [line for line in verdict(results) if f"{rival}**" in line or f"from {rival} by" in line]
    assert line.startswith(said.format(rival) + " Of all 1 different groupings")
    counts = re.search(r"(\d+) are ahead of it beyond chance and (\d+) behind it; .* at most 0\.0 of each", line)
    assert counts is not None
    assert counts.groups() == (str(int("won" in said)), str(int("lost" in said)))


def test_what_is_won_by_one_and_lost_by_another_is_both_told() -> None:
    results = changed()
    for row in results["candidates"]:
        if row["n_groups"] is None:
            sign = -1 if row["method"] == "exhaustive by probes" else 1
            row["beside_flat"] = beside(0.1 * sign, 0.001)
            row["groups"] = [row["method"]]
    line = next(line for line in verdict(results) if "won against the flat net" in line)
    assert '**"average, soft, songs" won against the flat net**' in line
    assert '**"exhaustive by probes, songs" lost to the flat net**' in line


def test_a_search_that_ends_without_groups_says_that_no_tree_is_of_use() -> None:
    said = verdict(planted_results(NONE))
    line = next(line for line in said if line.startswith("Searched among all 203 groupings"))
    assert line.endswith(
        '"exhaustive by probes, songs" comes to no groups in any fold: by its evidence no tree is of use.'
    )
    assert not any("exhaustive by probes" in line for line in said if "flat" in line)


def test_the_table_has_a_row_a_grouping_and_no_grouping_twice() -> None:
    results = planted_results()
    rows = listed(results)
    assert len({json.dumps(row["groups"]) for row in rows}) == len(rows)
    assert rows[0]["name"] == "manual"
    named = [name for row in rows for name in (row["name"], *row["same"])]
    assert len(named) == len(set(named))
    assert {row["name"] for row in results["candidates"] if row["n_groups"] is None} <= set(named)
    derived = [row for row in results["candidates"] if row["evidence"]]
    inside = sorted({(row["inner_accuracy"], json.dumps(row["groups"])) for row in derived}, reverse=True)
    assert {key for accuracy, key in inside if accuracy > inside[9][0]} <= {json.dumps(row["groups"]) for row in rows}
    assert rows[1]["name"] == USUAL, "of candidates with the same groups the one with its own count is shown"


def test_a_row_holds_what_was_measured() -> None:
    found = table_rows(comparison_table(planted_results()))
    assert found["grouping"] == list(COLUMNS)
    row = next(row for row in planted_results()["candidates"] if row["name"] == "manual")
    flat, random, ledger = row["beside_flat"], row["random"], row["ledger"]
    assert found["manual"] == [
        "manual",
        f"{100 * row['accuracy']:.1f} %",
        "{:.1f} to {:.1f}".format(*(100 * bound for bound in row["interval"])),
        f"{100 * flat['difference']:+.1f}",
        "{:+.1f} to {:+.1f}".format(*(100 * bound for bound in flat["interval"])),
        f"{flat['mcnemar_p']:.0e}",
        f"{100 * random['mean']:.1f} % ± {100 * random['sd']:.1f}",
        f"{random['p']:.3f} exact",
        *(f"{100 * ledger[cell]:.1f}" for cell in "LRB"),
        "3.0",
        "1.00",
        f"{100 * row['inner_accuracy']:.1f} %",
    ]
    assert found["flat probe"][6:] == ["–"] * 8
    drawn = next(row for row in planted_results()["candidates"] if not row["random"]["is_exact"])
    full = table_rows(render(planted_results()).split("## Every candidate")[1])
    assert full[drawn["name"]][7] == f"{drawn['random']['p']:.3f}"
    assert list(full)[1:] == [row["name"] for row in planted_results()["candidates"]]


def test_groups_that_differ_between_folds_are_counted() -> None:
    ways = [[["dub", "rai"], ["polka"]], [["dub"], ["polka", "rai"]], [["dub", "rai"], ["polka"]]]
    ways += [[["dub"], ["rai"], ["polka"]], [["dub", "polka", "rai"]]]
    report = render(with_candidate(USUAL, groups=ways))
    assert (
        "- average, soft, songs: dub+rai, polka (2 of 5 folds); dub, polka+rai (1 of 5 folds); "
        "dub, rai, polka (1 of 5 folds); and 1 others\n"
    ) in report


def test_sections_tell_the_other_trees_all_groupings_and_which_genres_come_together() -> None:
    report = render(planted_results())
    rows = table_rows(report)
    assert rows["manual, auto-flattened"][-1] == "2 of 2 folds"
    assert rows["recursive splitting"][-1] == "0 of 2 folds"
    assert rows["hd-cnn, soft, songs, overlapping"][6] == "–"
    assert rows["2"][1] == "31"
    best = planted_results()["partitions"][1]["best"]
    assert rows["2"][3] == f"{100 * best:.1f} %"
    assert rows["6"][2] == rows["6"][3], "one grouping has no deviation"
    section = report.split("## Which genres come together")[1]
    assert list(table_rows(section.split("## ")[0])) == ["genres", "dub, polka", "dub, rai", "polka, rai", "zouk, fado"]
    nothing = render(changed(together=[[float(i == j) for i in range(6)] for j in range(6)]))
    assert "No two genres are in one group in more than half of the groupings." in nothing


def test_how_it_was_measured_is_told() -> None:
    report = render(changed(warnings=["hd-cnn | 9 groups <left> out"], n_songs=[70, 74], folds_run=1, n_folds=3))
    assert (
        "Protocol artist (no song and no artist stands on two sides of the split): 3 folds, of which 1 took" in report
    )
    assert "144 songs scored, 70 to 74 a fold." in report
    assert "Seed 0: how much the initial weights matter was not measured." in report
    assert "- Warning: hd-cnn \\| 9 groups &lt;left> out" in report
    assert "\n~~~text\nhgenre group sweep planted.toml\n~~~\n" in report
    several = render(planted_results(seeds=(0, 1)))
    assert "Seeds 0, 1: accuracies, random groupings and stability are over all of them" in several
    assert re.search(r"\| manual \| \d\d\.\d % ± \d", several)


def trained_row(name: str, root: str, accuracy: float, **entries: Any) -> dict[str, Any]:
    flat = {"beside_flat": beside(accuracy - 0.5, 0.001 if abs(accuracy - 0.5) > 0.1 else 0.5), "ledger": None}
    row = {"name": name, "root": root, "is_random": False, "accuracy": accuracy, "interval": [0.3, 0.9], **flat}
    row["n_nets"] = 3.5 if root else 1.0
    if root:
        row["ledger"] = {"A": accuracy, "L": 0.2, "R": 0.1, "B": 0.025}
    return row | entries


def test_trained_trees_stand_beside_random_ones_and_rivals() -> None:
    flat = trained_row("flat", "", 0.5)
    flat["beside_flat"] |= {"tree_only": 0, "flat_only": 0}
    rows = [flat, trained_row("flat ensemble of 2 nets", "", 0.56)]
    rows += [trained_row(f"best {k}", "summed", accuracy) for k, accuracy in enumerate((0.7, 0.55, 0.3))]
    rows += [trained_row("best 0", "one net", 0.65)]
    rows += [trained_row(f"random {k}", "summed", accuracy, is_random=True) for k, accuracy in enumerate((0.4, 0.6))]
    report = render(changed(trained=rows))
    section = report.split("## Trained as trees of CNNs")[1].split("## ")[0]
    assert (
        "- Random groupings, 2 of them, have 50.0 % of the songs right on average and 60.0 % at best; better than all "
        "of these: 1 of the 3 others with the same root.\n"
    ) in section
    assert "- Of 4 trees with groups that are not random 2 are ahead of the flat net by more than chance" in section
    assert "and 1 behind it.\n" in section
    assert "- More songs right than the flat ensemble of 2 nets (56.0 %): 2 of them.\n" in section
    assert "than the flat (" not in section
    found = table_rows(section)
    assert found["flat"][1] == "–"
    assert found["flat"][-4:] == ["–"] * 3 + ["1.0"]
    assert found["best 1"][1:4] == ["summed", "55.0 %", "30.0 to 90.0"]
    assert found["best 1"][-4:] == ["20.0", "10.0", "2.5", "3.5"]
    assert "Trained" not in render(planted_results())


def test_names_are_no_markdown_and_no_html() -> None:
    results = json.loads(json.dumps(planted_results()).replace("zouk", "r&b | <b>"))
    report = render(results, {"A [picture]": "pictures/a b.png"})
    assert "r&amp;b \\| &lt;b>+fado" in report
    assert "<b>" not in report
    assert "![A \\[picture\\]](pictures/a%20b.png)" in report
    rows = [line for line in report.splitlines() if line.startswith("| ")]
    assert len({len(re.split(r"(?<!\\)\|", row)) for row in rows if row.startswith("| manual |")}) == 1


@pytest.mark.parametrize("key", ["candidates", "baselines", "structure", "labels", "together", "n_songs", "machine"])
def test_results_that_lack_something_are_refused(key: str) -> None:
    for results in ({k: v for k, v in planted_results().items() if k != key}, changed(**{key: 3})):
        message = (
            "results.json cannot be shown, an entry is missing or of another kind .*; run hgenre group sweep again"
        )
        with pytest.raises(HgenreError, match=message):
            render(results)


def test_a_folder_without_a_sweep_is_told(tmp_path: Path) -> None:
    with pytest.raises(
        HgenreError, match=r"is no sweep: it has no results\.json, which hgenre group sweep writes; name"
    ):
        read_sweep(tmp_path)
    file = tmp_path / "results.json"
    file.write_text("{")
    with pytest.raises(HgenreError, match=r"results\.json cannot be read \(.*\); run hgenre group sweep again"):
        read_sweep(tmp_path)
    foreign: Any
    for foreign in ({"models": {}}, [], {"candidates": []}):
        file.write_text(json.dumps(foreign))
        with pytest.raises(HgenreError, match="compares no groupings, so another command wrote it; name a folder"):
            read_sweep(tmp_path)
    file.write_text(json.dumps(planted_results()))
    assert read_sweep(tmp_path) == planted_results()
    with pytest.raises(HgenreError, match="is no sweep"):
        read_sweep(file)


def test_a_grouping_file_is_told_with_what_is_known_of_it() -> None:
    grouping = planted_grouping()
    report = render_grouping(grouping, "grouping.json")
    assert report.startswith("# planted: groups\n\n- dub+polka+rai\n- zouk+fado\n- cumbia\n")
    assert "- Derived from 144 songs, none of which may test these groups.\n" in report
    assert "- Method average; confusions: soft, songs, 2 folds.\n" in report
    accuracy = grouping.about["flat_accuracy"]
    assert f"- The flat net has {100 * accuracy:.1f} % of these songs right, out of fold.\n" in report
    inside = grouping.about["forecast"]["inside"]["share"]
    assert f"the specialists of dub+polka+rai, zouk+fado, cumbia can win at most {100 * inside:.1f} points (" in report
    assert "adjusted Rand index" in report
    assert "| dub, rai | " in report
    assert report.endswith("\n~~~text\nhgenre group derive planted.toml\n~~~\n")


def test_groups_that_did_not_pay_are_told_beside_what_is_left() -> None:
    own = planted_grouping()
    flattened = {"groups": [], "steps": ["dub+rai is dissolved: it wins 1 and loses <2>"], "net_wins": []}
    report = render_grouping(Grouping(LABELS, [*LABELS], own.songs, {**own.about, "flattened": flattened}), "g.json")
    assert "\n\n- No groups: every genre stands directly under the root.\n- Derived from" in report
    assert "- dub+rai is dissolved: it wins 1 and loses &lt;2>\n" in report


def test_a_grouping_file_may_hold_groups_alone() -> None:
    groups = {"all": ["dub", {"inner": ["zouk", "polka"]}], "rest": ["cumbia", "rai", "fado"]}
    bare = Grouping(LABELS, groups, planted_grouping().songs)
    assert render_grouping(bare, "mine.json") == (
        "# mine.json: groups\n\n- dub+zouk+polka\n- cumbia+rai+fado\n"
        "- Derived from 144 songs, none of which may test these groups.\n"
    )
    broken = Grouping(LABELS, groups, planted_grouping().songs, {"method": "average"})
    with pytest.raises(HgenreError, match=r"mine\.json cannot be shown, .*'evidence'.*; run hgenre group derive again"):
        render_grouping(broken, "mine.json")
