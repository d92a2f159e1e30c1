"""Classical classifiers side by side on planted songs, and what the report makes of them."""

import json
import sys
from pathlib import Path

import pytest

from hgenre.errors import ConfigError
from hgenre.held_out import TREE
from hgenre.metrics.intervals import wilson
from hgenre.report.baselines import best_sentence, render_baselines
from hgenre.studies.baselines import baselines
from hgenre.studies.folds import classifiers_out_of_fold
from hgenre.studies.protocols import prepare_under
from hgenre.training.config import RunConfig
from hgenre.training.prepare import fold_ids
from tests.planted_tables import planted_table

GROUPS = {"low": ["genre0", "genre1"], "high": ["genre2", "genre3"]}


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    return planted_table(
        tmp_path, n_genres=4, n_slices=6, genre_signal=1.0, song_signal=0.7, tree={"groups": GROUPS}, seed=1
    )


def test_classifiers_stand_side_by_side_flat_and_as_trees(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    done: list[float] = []
    found = baselines(
        config,
        ["majority", "xgboost", "svm", "svm"],
        mixed=("gaussian_nb", "svm"),
        n_folds=2,
        on_progress=lambda share, what, own: done.append(share),
    )
    json.dumps(found, allow_nan=False)
    trees = ["majority tree", "svm tree", "gaussian_nb over svm tree"]
    assert list(found["models"]) == ["majority", "majority tree", "svm", "svm tree", "gaussian_nb over svm tree"]
    assert list(found["ledgers"]) == trees
    assert list(found["seconds"]) == ["majority", "svm", "gaussian_nb over svm tree"]
    assert list(found["not_run"]) == ["xgboost"]
    assert found["control"] is None
    assert done == sorted(done)
    assert done[-1] < 1
    # A ledger's songs are the table's: what the tree has right, and what its flat rival has.
    for name in trees:
        assert found["ledgers"][name]["route"]["n_right"] == found["models"][name]["song"]["n_right"]
    assert found["ledgers"]["svm tree"]["flat"]["n_right"] == found["models"]["svm"]["song"]["n_right"]

    report = render_baselines(found)
    assert "| xgboost | not run | – | – | – | – |" in report
    assert "- xgboost was not run: the classifier xgboost needs the package of that name" in report
    assert f"- svm tree: {found['ledgers']['svm tree']['verdict']}" in report
    assert "The tree of nets has" not in report


def test_a_mixed_tree_that_cannot_be_fitted_is_a_row_and_no_end(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    found = baselines(config, ["gaussian_nb"], mixed=("xgboost", "svm"), n_folds=2)
    assert list(found["models"]) == ["gaussian_nb", "gaussian_nb tree"]
    assert found["not_run"]["xgboost over svm tree"].startswith("the classifier xgboost needs the package")
    assert "| xgboost over svm tree | not run | – | – | – | – |" in render_baselines(found)


def test_a_mixed_tree_has_its_kinds_where_they_were_put(config: RunConfig) -> None:
    found = baselines(config, ["majority"], mixed=("svm", "majority"), n_folds=2)
    prepared = prepare_under(config, "song")
    own = classifiers_out_of_fold(prepared, fold_ids(prepared, 2), "svm", "majority").answers[TREE]
    n_right = sum(prepared.labels.genres[o.genre_idx] == o.song_id.partition(".")[0] for o in own)
    assert found["models"]["svm over majority tree"]["song"]["n_right"] == n_right
    # The root finds the group and a majority picks one of its two genres, about half of the songs.
    ledger = found["ledgers"]["svm over majority tree"]["songs"]
    assert ledger["routing_accuracy"] > 0.7
    assert ledger["accuracy_given_right_routing"] < 0.75


def test_nets_are_held_against_the_tree_of_svms(tmp_path: Path) -> None:
    config = planted_table(
        tmp_path,
        n_genres=4,
        n_songs=16,
        n_slices=4,
        genre_signal=1.0,
        net={"kind": "mlp", "dense_widths": [8]},
        optimiser={"epochs": 2, "batch_size": 16},
        tree={"groups": GROUPS},
    )
    found = baselines(config, ["svm"], with_net=True, n_folds=2, folds_run=1)
    json.dumps(found, allow_nan=False)
    assert list(found["models"]) == ["flat", "tree", "svm", "svm tree"]
    assert list(found["ledgers"]) == ["tree", "svm tree"]
    for name, flat in (("tree", "the flat net,"), ("svm tree", "the flat classifier,")):
        assert flat in found["ledgers"][name]["verdict"]
    nets, svms = (found["models"][name]["song"] for name in ("tree", "svm tree"))
    assert found["control"]["difference"] == pytest.approx(nets["accuracy"] - svms["accuracy"])
    report = render_baselines(found)
    assert f"The tree of nets has {100 * found['control']['difference']:+z.1f} points on the tree of SVMs" in report
    assert f"- the tree of nets: {found['ledgers']['tree']['verdict']}" in report


def test_without_groups_there_are_no_trees(tmp_path: Path) -> None:
    config = planted_table(tmp_path, n_slices=4)
    found = baselines(config, ["gaussian_nb"], n_folds=2)
    assert (list(found["models"]), found["ledgers"]) == (["gaussian_nb"], {})
    assert "Seconds are those" not in render_baselines(found)
    with pytest.raises(ConfigError, match=r"tree\.groups: is missing, and a root and specialists of different kinds"):
        baselines(config, ["gaussian_nb"], mixed=("svm", "knn"))


def test_shuffled_slices_have_the_intervals_of_slices(tmp_path: Path) -> None:
    config = planted_table(tmp_path, n_slices=10, song_signal=10.0, data={"protocol": "slice-random"})
    found = baselines(config, ["gaussian_nb", "knn"], n_folds=2)
    knn = found["models"]["knn"]["slice"]
    low, high = knn["interval"]
    report = render_baselines(found)
    assert "| model | slices right | 95 % interval | seconds |" in report
    assert f"| knn | {100 * knn['accuracy']:.1f} % | {100 * low:.1f} to {100 * high:.1f} | " in report
    assert (
        f"has most slices right, {100 * max(m['slice']['accuracy'] for m in found['models'].values()):.1f} %" in report
    )
    assert "2 folds, of which 2 took their turn as the songs set aside; 240 slices answered." in report


@pytest.mark.parametrize(
    ("n_right", "said"),
    [
        ({"a": 90, "b": 50, "c": 20}, "a has most songs right, 90.0 %; no other interval overlaps."),
        ({"a": 50, "b": 52, "c": 90}, "c has most songs right, 90.0 %; no other interval overlaps."),
        ({"a": 50, "b": 52, "c": 49}, "b has most songs right, 52.0 %; the intervals of a, c overlap its own."),
    ],
)
def test_the_best_is_named_with_those_that_may_be_as_good(n_right: dict[str, int], said: str) -> None:
    models = {name: {"song": {"accuracy": n / 100, "interval": wilson(n, 100)}} for name, n in n_right.items()}
    assert list(best_sentence(models)) == [said]
    assert list(best_sentence({"a": models["a"]})) == []
