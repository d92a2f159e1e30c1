import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from hgenre.account import account
from hgenre.errors import HgenreError
from hgenre.labels import Labels
from hgenre.metrics.classification import score
from hgenre.metrics.intervals import mcnemar_exact, paired_bootstrap
from hgenre.metrics.reliability import confidence_report
from hgenre.report.ledger import ledger_facts
from hgenre.report.markdown import render
from hgenre.report.table import escape, table
from hgenre.tree.draw import draw_tree
from hgenre.tree.spec import TreeSpec, tree_from_json
from tests.small_trees import FLAT, OVERLAPPING, PLAIN, random_node_logp

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
            for name, entry in value.items():
                yield from numbers(name)
                yield from numbers(entry)
        case list():
            for entry in value:
                yield from numbers(entry)
        case str():
            yield from (float(found) for found in re.findall(r"\d+(?:\.\d+)?", value))
        case int() | float():
            yield abs(value)


def ledger_of(tree: TreeSpec = PLAIN, n_songs: int = 97) -> dict[str, Any]:
    """The account of a tree that is right now and then, three slices a song."""
    rng = np.random.default_rng(5)
    truth, song_idx = rng.integers(0, 6, n_songs), np.repeat(np.arange(n_songs), 3)
    node_logp = random_node_logp(tree, (len(song_idx),), seed=6)
    clusters = [f"artist {i // 2}" for i in range(n_songs)]
    return account(tree, node_logp, song_idx, truth, clusters, rng.integers(0, 6, n_songs))


def compared(difference: float, interval: list[float], p: float) -> dict[str, Any]:
    return {
        "difference": difference,
        "interval": interval,
        "mcnemar_p": p,
        "tree_only": 31,
        "flat_only": 17,
        "n": 211,
    }


def kept(mean: float | None, mean_bound: float | None, share_below_bound: float | None) -> dict[str, Any]:
    return {"mean": mean, "mean_bound": mean_bound, "share_below_bound": share_below_bound}


def trusted_example() -> dict[str, Any]:
    """Results with everything that a tree's report can hold."""
    rng = np.random.default_rng(8)
    truth, p = rng.integers(0, 3, 80), rng.dirichlet(np.ones(3), 80)
    song = score(truth, p.argmax(axis=1), LABELS).to_json()
    results = example() | {
        "rivals": [
            {
                "name": "flat ensemble of 3 nets",
                "models": 3,
                "song": song,
                "comparison": compared(0.021, [-0.01, 0.05], 0.3),
            },
            {"name": "flat root", "models": 14, "song": song, "comparison": compared(0.061, [0.013, 0.11], 0.004)},
            {"name": "shared_trunk", "models": 1, "song": song, "comparison": compared(-0.082, [-0.12, -0.02], 2e-5)},
        ],
        "rivals_missing": [],
        "ledger": ledger_of(),
        "joint": {
            "tree with joint fine-tuning": score(truth, (truth + 2) % 3, LABELS).to_json(),
            "tree without joint fine-tuning": song,
            "comparison": compared(0.034, [-0.02, 0.09], 0.41),
            "n_kept": 3,
            "n_fits": 5,
        },
        "calibration": {"before": confidence_report(p, truth), "after": confidence_report((p + 1 / 3) / 2, truth)},
        "honest": {
            "target_accuracy": {
                "0.9": {
                    "songs": 80,
                    "answered_by_genre": 0.41,
                    "answered_by_group": 0.23,
                    "accuracy_of_answers": 0.917,
                },
                "0.95": {
                    "songs": 80,
                    "answered_by_genre": 0.22,
                    "answered_by_group": 0.12,
                    "accuracy_of_answers": None,
                },
            },
            "coverage": {"0.9": {"songs": 80, "coverage": 0.9125, "interval": [0.83, 0.957], "mean_set_size": 1.875}},
        },
        "log_loss_change": {"value": -0.123, "interval": [-0.211, 0.017]},
        "resamples": {
            "artists": {
                "target_accuracy": {
                    "0.8": {"resamples": 40, "without_an_answer": 1, **kept(0.84, 0.73, 0.026)},
                    "0.95": {"resamples": 40, "without_an_answer": 40, **kept(None, None, None)},
                },
            },
            "songs": {"coverage": {"0.8": {"resamples": 40, "without_an_answer": 0, **kept(0.807, 0.719, 0.125)}}},
        },
    }
    return json.loads(json.dumps(results))


@pytest.mark.parametrize("results", [example(), trusted_example()], ids=["plain", "trusted"])
def test_every_number_stands_in_the_results(results: dict[str, Any]) -> None:
    allowed = {f"{x * scale:.{digits}f}" for x in numbers(results) for scale in (1, 100) for digits in range(4)}
    allowed |= {f"{x:.0e}" for x in numbers(results)} | {"5", "95"}
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


def test_missing_rivals_are_the_first_thing_said() -> None:
    results = trusted_example()
    assert "lacks" not in render(results)
    results["rivals_missing"] = ["shared trunk", "flat *root*"]
    title, first, second, *_ = render(results).split("\n\n")
    assert title == "# toy run"
    assert first == r"**This report lacks fair rivals of the tree: shared trunk, flat \*root\*.**"
    assert second.startswith("The tree named the genre of **")


def test_rivals_stand_beside_the_tree() -> None:
    results = trusted_example()
    text = render(results)
    right = f"{100 * results['rivals'][0]['song']['accuracy']:.1f} %"
    low, high = results["rivals"][0]["song"]["interval"]
    shown = f"{right} | {100 * low:.1f} to {100 * high:.1f}"
    assert f"| flat ensemble of 3 nets | 3 | {shown} | +2.1 | -1.0 to +5.0 | 0.300 |" in text
    assert rf"| shared\_trunk | 1 | {shown} | -8.2 | -12.0 to -2.0 | 2e-05 |" in text
    assert f"| flat net | 1 | {100 * results['models']['flat']['song']['accuracy']:.1f} % |" in text
    assert "- The tree won, by more than chance explains, against: flat root." in text
    assert r"- The tree lost, by more than chance explains, against: shared\_trunk." in text
    assert re.search(r"- Within noise of the tree: (flat net, )?flat ensemble of 3 nets\.", text)
    assert "No p-value is corrected" in text


def test_the_ledger_is_told() -> None:
    results = trusted_example()
    ledger = results["ledger"]
    songs, text = ledger["songs"], render(results)
    assert f"## Why (songs)\n\n{escape(ledger['verdict'])}\n" in text
    assert f"| sent to its group | A {songs['A']} | L {songs['L']} |\n" in text
    assert f"| sent to another group | R {songs['R']} | B {songs['B']} |\n" in text
    root, left, _ = songs["nodes"]
    assert f"| root | the group | 97 | {root['n_wrong']} | {root['blame']:.1f} |" in text
    assert f"| left | the genre | {left['n_passing']} | {left['n_wrong']} | {left['blame']:.1f} |" in text
    facts = ledger_facts(ledger)
    assert "\n".join(f"- {escape(fact)}" for fact in facts) in text
    assert facts[0].startswith(f"group chosen rightly {100 * songs['routing_accuracy']:.1f} %; genre found, given")
    never_erred = (
        f"right if root alone never erred (A + R) {100 * songs['oracle_router_accuracy']:.1f} %; if it guessed"
    )
    assert facts[1].startswith(never_erred)
    assert facts[1].endswith(f", {100 * ledger['random_router']['A']:.1f} %")
    assert facts[2].startswith(f"covariance {100 * songs['covariance']:+.1f} points")
    assert facts[3].endswith(f"then a vote: {100 * ledger['residue']:+.1f} points beside A")


def test_rescues_are_told_where_groups_overlap() -> None:
    ledger = ledger_of(OVERLAPPING)
    assert ledger["songs"]["rescued"] > 0
    told = f"right (A, and {ledger['songs']['rescued']} rescued by another group that holds their genre)"
    assert told in render(example() | {"ledger": ledger})


def test_a_tree_without_groups_has_no_routing_table() -> None:
    text = render(example() | {"ledger": ledger_of(FLAT)})
    assert "There are no groups to choose from" in text
    assert "sent to its group" not in text


def test_a_router_that_is_never_right_has_no_accuracy_below() -> None:
    results = trusted_example()
    results["ledger"]["songs"]["accuracy_given_right_routing"] = None
    assert "genre found, given the right group –\n" in render(results)


def test_joint_fine_tuning_stands_beside_the_tree_without_it() -> None:
    results = trusted_example()
    without = results["joint"]["tree without joint fine-tuning"]["accuracy"]
    text = render(results)
    assert "| tree with joint fine-tuning | 0.0 % |" in text
    assert f"| tree without joint fine-tuning | {100 * without:.1f} % |" in text
    assert "The tree is with it where validation songs gained by it: in 3 of 5 fits." in text
    assert "With minus without is +3.4 points, within noise (paired bootstrap 95 % interval -2.0 to +9.0; " in text
    results["joint"]["comparison"] |= {"interval": [0.01, 0.09], "mcnemar_p": 0.01}
    assert "With minus without is +3.4 points, more than chance explains (" in render(results)


def test_confidence_is_shown_before_and_after_calibration() -> None:
    results = trusted_example()
    text = render(results)
    for when in ("before", "after"):
        found = results["calibration"][when]
        low, high = found["ece"]["interval"]
        figures = [found["log_loss"], found["brier"], *(found["ece"][k] for k in ("value", "calibrated", "corrected"))]
        last = [found["classwise_ece"], found["aurc"]]
        row = [when, *(f"{x:.3f}" for x in figures), f"{low:.3f} to {high:.3f}", *(f"{x:.3f}" for x in last)]
        assert f"| {' | '.join(row)} |" in text


def test_limits_say_where_thresholds_come_from() -> None:
    assert "Thresholds of honest answers come from validation songs, which also chose" in render(trusted_example())
    sizes = {"train": [500, 501], "validation": [80, 79], "test": [100, 111]}
    out_of_fold = render(trusted_example() | {"n_folds": 2, "n_songs": sizes})
    assert "Each fold's honest answers use thresholds from the other folds and their models." in out_of_fold
    assert "come from validation songs" not in out_of_fold
    assert "onest answers" not in render(example())


def test_honest_answers_are_shown_as_asked_for() -> None:
    text = render(trusted_example())
    assert "| asked for | songs | answered by genre | answered by group | accuracy of answers |" in text
    assert "| 0.9 | 80 | 41.0 % | 23.0 % | 91.7 % |\n| 0.95 | 80 | 22.0 % | 12.0 % | – |" in text
    assert "| 0.9 | 80 | 91.2 % | 83.0 to 95.7 | 1.88 |" in text


def test_resamples_stand_beside_what_chance_allows() -> None:
    text = render(trusted_example())
    assert "| target accuracy | 0.8 | artists | 40 | 1 | 84.0 % | 73.0 % | 2.6 % |" in text
    assert (
        "| target accuracy | 0.95 | artists | 40 | 40 | – | – | – |\n| coverage | 0.8 | songs | 40 | 0 | 80.7 % |"
        in text
    )
    assert "5 % of the resamples would lie below their bound" in text


def test_a_change_of_log_loss_has_its_sign_and_interval() -> None:
    told = "Log-loss after less before: -0.123 (95 % interval -0.211 to +0.017)."
    assert told in render(trusted_example())


def test_old_results_have_none_of_these_sections() -> None:
    text = render(example())
    for section in ("lacks", "rival", "Why", "oint fine-tuning", "confidence", "Honest"):
        assert section not in text


@pytest.mark.parametrize("name", ["rivals", "ledger", "joint", "calibration", "honest"])
def test_sections_of_another_kind_are_refused(name: str) -> None:
    for damaged in (3, "text", {"x": 3}, [3]):
        with pytest.raises(HgenreError, match="results: cannot be reported"):
            render(trusted_example() | {name: damaged})


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
