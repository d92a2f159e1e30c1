import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hgenre.errors import HgenreError
from hgenre.labels import Labels
from hgenre.metrics.classification import score
from hgenre.metrics.intervals import mcnemar_exact, paired_bootstrap
from hgenre.report.markdown import render
from hgenre.report.table import escape, table
from hgenre.tree.draw import draw_tree
from hgenre.tree.spec import tree_from_json

LABELS = Labels(("blues", "jazz", "rock"))


def example(accuracy_tree: float = 0.7, accuracy_flat: float = 0.6, n: int = 211) -> dict[str, Any]:
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 3, n)

    def answers(accuracy: float) -> np.ndarray:
        return np.where(rng.random(n) < accuracy, truth, (truth + 1) % 3)

    tree, flat = answers(accuracy_tree), answers(accuracy_flat)
    test = mcnemar_exact(tree == truth, flat == truth)

    def scored(answer: np.ndarray, mean: float, std: float) -> dict[str, Any]:
        return {
            "song": score(truth, answer, LABELS).to_json(),
            "slice": score(np.repeat(truth, 9), np.repeat(answer, 9), LABELS).to_json(),
            "song_accuracy_mean": mean,
            "song_accuracy_std": std,
            "n_seeds": 4,
        }

    models = {"tree": scored(tree, 0.6831, 0.0172), "flat": scored(flat, 0.5911, 0.0231)}
    results = {
        "name": "toy run",
        "command": "hgenre train toy.toml --seeds 4",
        "protocol": "song",
        "labels": list(LABELS),
        "tree": {"name": "root", "children": ["blues", {"name": "loud|proud", "children": ["jazz", "rock"]}]},
        "n_songs": {"train": 1431, "validation": 173, "test": n},
        "seeds": [11, 12, 13, 14],
        "machine": {"platform": "Linux", "cpus": 16, "devices": "cpu", "jax": "10.42.7"},
        "seconds": 87.0,
        "models": models,
        "comparison": {
            "difference": float(np.mean(tree == truth) - np.mean(flat == truth)),
            "interval": paired_bootstrap(tree == truth, flat == truth, seed=0),
            "mcnemar_p": test.p,
            "tree_only": test.a_only,
            "flat_only": test.b_only,
            "n": n,
        },
        "grouping": {"source": "derived"},
        "views": {"equal form": models},
        "warnings": ["clip 77 is silent"],
    }
    return json.loads(json.dumps(results))


def numbers(value: object) -> Iterator[float]:
    match value:
        case dict():
            for entry in value.values():
                yield from numbers(entry)
        case list():
            for entry in value:
                yield from numbers(entry)
        case str():
            yield from (float(found) for found in re.findall(r"\d+(?:\.\d+)?", value))
        case int() | float():
            yield abs(value)


def test_every_number_stands_in_the_results() -> None:
    results = example()
    allowed = {f"{x * scale:.{digits}f}" for x in numbers(results) for scale in (1, 100) for digits in range(4)}
    allowed |= {f"{x:.0e}" for x in numbers(results)} | {"95"}
    text = re.sub(r"F1", "", render(results))
    found = set(re.findall(r"\d+(?:\.\d+)?(?:e-\d+)?", text))
    assert len(found) > 40
    assert found <= allowed


def test_it_opens_with_the_answer() -> None:
    first = render(example()).split("\n\n")[1]
    assert first.startswith("The tree named the genre of **")
    assert "The flat model named the genre of **" in first
    assert "exact McNemar p = " in first


@pytest.mark.parametrize(
    ("difference", "interval", "p", "verdict"),
    [
        (0.05, [0.01, 0.09], 0.01, "**The tree won**, by more than chance explains."),
        (0.05, [-0.01, 0.11], 0.2, "**The tree is ahead, but within noise**"),
        (0.05, [0.001, 0.1], 0.06, "**The tree is ahead, but within noise**"),
        (0.05, [0.0, 0.1], 0.04, "**The tree is ahead, but within noise**"),
        (-0.05, [-0.11, 0.01], 0.2, "**The tree lost, but within noise**"),
        (-0.05, [-0.09, -0.01], 0.01, "**The tree lost**, by more than chance explains."),
        (0.0, [-0.03, 0.03], 1.0, "**A draw.**"),
    ],
)
def test_the_verdict_is_plain(difference: float, interval: list[float], p: float, verdict: str) -> None:
    results = example()
    results["comparison"] |= {"difference": difference, "interval": interval, "mcnemar_p": p}
    text = render(results)
    assert verdict in text
    assert f"Tree minus flat is {100 * difference:+.1f} points" in text


def test_a_tiny_p_value_is_not_zero() -> None:
    results = example()
    results["comparison"]["mcnemar_p"] = 3.2e-9
    assert "McNemar p = 3e-09" in render(results)


def test_it_tells_how_it_was_measured() -> None:
    text = render(example())
    for part in (
        "protocol song: no song stands on two sides of the split; songs of one artist may",
        "1431 train, 173 validation, 211 test",
        "seeds: 11, 12, 13, 14",
        "cpus 16",
        "hgenre train toy.toml --seeds 4",
        "time: 87 s",
        "68.3 % ± 1.7 (4 seeds)",
        "derived from the flat model's confusions",
        "| equal form | tree |",
        "Warning: clip 77 is silent",
    ):
        assert part in text


def test_out_of_fold_results_say_so_and_how_large_the_folds_were() -> None:
    results = example()
    results["n_folds"] = 3
    results["n_songs"] = {"train": [90, 91, 89], "validation": [20, 20, 20], "test": [71, 70, 72]}
    text = render(results)
    assert "out of fold: 3 folds take turns as the test songs" in text
    assert "89 to 91 train, 20 validation, 70 to 72 test" in text


def test_tables_hold_the_scores() -> None:
    results = example()
    text = render(results)
    blues = results["models"]["tree"]["song"]["per_genre"][0], results["models"]["flat"]["song"]["per_genre"][0]
    figures = [f"{g[name]:.2f}" for g in blues for name in ("precision", "recall", "f1")]
    assert f"| blues | {blues[0]['support']} | {' | '.join(figures)} |" in text
    for model in ("tree", "flat"):
        first = results["models"][model]["song"]["confusion"][0]
        assert f"| blues | {' | '.join(map(str, first))} |" in text


def test_a_flat_run_has_no_tree_and_no_verdict() -> None:
    results = example()
    for name in ("tree", "comparison", "grouping", "views", "warnings"):
        del results[name]
    del results["models"]["tree"]
    results["seeds"] = [0]
    results["models"]["flat"] |= {"n_seeds": 1, "song_accuracy_std": None}
    text = render(results)
    assert "tree" not in text.lower()
    assert "**A draw" not in text
    assert "one seed" in text
    assert "One seed: how much" in text


def test_the_leaking_protocol_is_called_so() -> None:
    assert "slices of one song stand on both sides" in render(example() | {"protocol": "slice-random"})


def test_artists_are_no_caveat_where_they_are_kept_apart() -> None:
    caveat = "Artists may stand on both sides"
    assert caveat in render(example())
    assert caveat not in render(example() | {"protocol": "artist"})


@pytest.mark.parametrize("name", ["models", "n_songs", "labels", "seconds"])
def test_missing_entries_are_named(name: str) -> None:
    results = example()
    del results[name]
    with pytest.raises(
        HgenreError, match=rf"results: cannot be reported.*KeyError\('{name}'\).*run the training again"
    ):
        render(results)


@pytest.mark.parametrize("models", [[], "flat", {"flat": None}, {"flat": {"song": {}}}])
def test_entries_of_another_kind_are_refused(models: object) -> None:
    with pytest.raises(HgenreError, match="results: cannot be reported"):
        render(example() | {"models": models})


def test_the_tree_is_drawn() -> None:
    results = example()
    assert draw_tree(tree_from_json(Labels(tuple(results["labels"])), results["tree"])) in render(results)


def test_table_aligns_and_escapes() -> None:
    assert table(["genre", "n"], [["r|b", 3]]) == "| genre | n |\n| :-- | --: |\n| r\\|b | 3 |"
    assert escape("<b>\nR&B_*") == "&lt;b> R&amp;B\\_\\*"
