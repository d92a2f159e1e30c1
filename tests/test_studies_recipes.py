"""Recipes: found in their order, run once, kept, and never given a figure that was not computed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from hgenre.errors import ConfigError, OptionError
from hgenre.studies import recipes as module
from hgenre.studies.protocols import Learners, figures, under_protocol
from hgenre.studies.recipes import SEEDS, learners_of, not_run, recipes, reproduce
from hgenre.training.border import config_from_dict, read_config
from hgenre.training.loop import Epoch
from tests.planted_recipes import REPORTED, write_recipe
from tests.test_run import strict_json

TWO = {"protocols": [], "classical": ["svm", "gaussian_nb"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recipes"


def test_recipes_stand_in_the_order_of_their_rows(folder: Path) -> None:
    paths = {name: write_recipe(folder, name, row=row) for name, row in (("b", 2), ("a", 10), ("c", 1), ("aa", 2))}
    (folder / "notes.txt").write_text("no recipe")
    assert recipes(folder) == {name: paths[name] for name in ("c", "aa", "b", "a")}
    assert list(recipes(folder)) == ["c", "aa", "b", "a"]


def test_every_system_that_is_shipped_has_a_row_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether or not the data and the weights are there."""
    for name in ("HGENRE_DATA", "HGENRE_VGG16"):
        monkeypatch.delenv(name, raising=False)
    found = recipes()
    configs = [read_config(path, resolve=False) for path in found.values()]
    rows = [config.recipe.row for config in configs if config.recipe is not None]
    assert rows == list(range(1, len(found) + 1))
    for name, config in zip(found, configs, strict=True):
        assert config.recipe is not None
        assert config.recipe.reported
        assert config.recipe.differences
        assert (SEEDS / f"{name}.toml").read_text().startswith(f"# hgenre reproduce {name}\n")


def test_what_is_no_recipe_is_named_before_anything_runs(folder: Path) -> None:
    with pytest.raises(OptionError) as none:
        recipes(folder)
    assert none.value.problems == (("recipes", f"found no .toml file in {folder}; name a folder of recipes"),)
    path = write_recipe(folder, "a")
    path.rename(folder / "b.toml")
    with pytest.raises(ConfigError, match=r"b\.toml: 1 mistake in the configuration:\n  name: found 'a', needed the f"):
        recipes(folder)
    (folder / "b.toml").unlink()
    write_recipe(folder, "all")
    with pytest.raises(ConfigError, match=r"all\.toml: .*\n  name: found 'all', needed another name: 'all' means all"):
        recipes(folder)
    (folder / "all.toml").write_text('name = "all"\n')
    for run in (lambda: recipes(folder), lambda: reproduce(folder / "all.toml", folder / "out")):
        with pytest.raises(ConfigError, match="recipe: is missing; say what the configuration reproduces"):
            run()


@pytest.mark.parametrize(
    ("recipe", "problem"),
    [
        (
            {"classical": ["svm", "oracle"]},
            ("recipe.classical", "found 'oracle', needed classifiers: gaussian_nb, sgd, "),
        ),
        (
            {"reported": [REPORTED, {"model": "flat"}]},
            ("recipe.reported.1.model", "found 'flat', needed a model that is trained: svm"),
        ),
        (
            {"reported": [{"model": "knn tree"}], "with_tree": True, "with_net": True},
            ("recipe.reported.0.model", "found 'knn tree', needed a model that is trained: flat, tree, svm, svm tree"),
        ),
    ],
)
def test_models_that_no_recipe_trains_are_named(folder: Path, recipe: dict[str, Any], problem: tuple[str, str]) -> None:
    write_recipe(folder, "a", recipe=recipe)
    with pytest.raises(ConfigError) as caught:
        recipes(folder)
    ((where, what),) = caught.value.problems
    assert where == problem[0]
    assert what.startswith(problem[1])


def test_a_configuration_without_a_recipe_trains_its_flat_net() -> None:
    assert learners_of(config_from_dict({"name": "x"})) == Learners(net=True, tree=False, classical=())


def test_a_recipe_is_what_the_study_says_under_each_protocol(folder: Path, tmp_path: Path) -> None:
    path = write_recipe(folder, "a", recipe={"folds_run": 2})
    shares: list[float] = []
    found = reproduce(path, tmp_path / "out", command="x", on_progress=lambda share, what, own: shares.append(share))
    assert json.loads(json.dumps(found)) == strict_json(tmp_path / "out" / "results.json")
    assert (found["name"], found["command"], found["recipe"]["title"]) == ("a", "x", "the system a")
    assert list(found["protocols"]) == ["slice-random", "song"]
    assert shares == sorted(shares)
    for protocol, own in found["protocols"].items():
        told = under_protocol(read_config(path), protocol, Learners(net=False, classical=("svm",)), n_folds=2)
        wanted = json.loads(json.dumps(figures(told.answers["svm"], told.prepared.labels, protocol)))
        assert json.loads(json.dumps(own["models"])) == {"svm": wanted}
    assert found["protocols"]["song"]["n_songs"]["test"] == [12, 12]


def test_a_recipe_runs_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = write_recipe(folder, "a", recipe=TWO), tmp_path / "out"
    first = reproduce(path, out)
    runs: list[str] = []

    def counted(config: Any, protocol: Any, *arguments: Any, **named: Any) -> Any:
        runs.append(protocol)
        return under_protocol(config, protocol, *arguments, **named)

    monkeypatch.setattr(module, "under_protocol", counted)
    assert json.loads(json.dumps(first)) == json.loads(json.dumps(reproduce(path, out)))
    assert runs == []
    again = reproduce(path, out, again=True)
    assert again["protocols"]["song"]["models"] == first["protocols"]["song"]["models"]
    assert runs == ["song"]

    kept = out / "results.json"
    whole = kept.read_text()
    damaged = (whole[: len(whole) // 2], "", "[]", "null", whole.replace('"schema_version": 1', '"schema_version": 0'))
    for text in damaged:
        kept.write_text(text)
        reproduce(path, out)
        assert strict_json(kept)["digest"] == first["digest"]
    kept.write_bytes(b"\xff")
    reproduce(path, out)
    assert runs == ["song"] * (2 + len(damaged))

    write_recipe(folder, "a", recipe={**TWO, "title": "the same by another name"})
    renamed = reproduce(path, out)
    assert renamed["recipe"]["title"] == "the same by another name"
    assert renamed["protocols"]["song"]["models"] == json.loads(json.dumps(first["protocols"]["song"]["models"]))
    assert len(runs) == 2 + len(damaged)

    write_recipe(folder, "a", recipe=TWO, data={"seed": 1})
    assert reproduce(path, out)["digest"] != first["digest"]
    assert len(runs) == 3 + len(damaged)


def test_what_lacked_a_package_is_tried_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_recipe(folder, "a", recipe={**TWO, "classical": ["svm", "xgboost"]})
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "xgboost", None)
        found = reproduce(path, tmp_path / "out")
    assert list(found["protocols"]["song"]["models"]) == ["svm"]
    assert found["protocols"]["song"]["not_run"]["xgboost"].startswith("the classifier xgboost needs the package")
    again = reproduce(path, tmp_path / "out")
    assert list(again["protocols"]["song"]["models"]) == ["svm", "xgboost"]
    assert again["protocols"]["song"]["not_run"] == {}


VGG16: dict[str, Any] = {"recipe": {"with_net": True, "classical": [], "reported": [{}]}, "net": {"kind": "vgg16"}}


@pytest.mark.parametrize(
    ("table", "weights", "said"),
    [
        ("$NOWHERE/table.csv", "$NOWHERE/vgg16.h5", "data and weights absent"),
        ("$NOWHERE/table.csv", "vgg16.h5", "data absent"),
        ("table.csv", "$NOWHERE/vgg16.h5", "weights absent"),
        ("nosuch.csv", "nosuch.h5", "data and weights absent"),
        ("nosuch.csv", "vgg16.h5", "data absent"),
        ("table.csv", "nosuch.h5", "weights absent"),
    ],
)
def test_where_data_or_weights_are_absent_there_are_no_figures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: str, weights: str, said: str
) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    path = write_recipe(folder, "a", data={"table": table}, pretrained=weights, **VGG16)
    for name in ("table.csv", "vgg16.h5"):
        (folder / name).write_text("")
    found = reproduce(path, tmp_path / "out", command="x")
    assert (found["not_run"], found["protocols"]) == (said, {})
    assert found == not_run(path, said, "x")
    assert not (tmp_path / "out").exists()


def test_other_mistakes_are_no_absence(folder: Path, tmp_path: Path) -> None:
    path = write_recipe(folder, "a", recipe={"classical": []})
    with pytest.raises(ConfigError, match=r"recipe\.with_net: found False, needed true, or recipe\.classical"):
        reproduce(path, tmp_path / "out")


def test_a_recipe_may_be_about_a_genre_fewer(folder: Path, tmp_path: Path) -> None:
    without = {**TWO, "without": "genre1", "reported": [{"model": "svm", "said": "better"}]}
    found = reproduce(write_recipe(folder, "a", recipe=without), tmp_path / "out")
    assert (found["protocols"], found["protocol"]) == ({}, "song")
    assert list(found["ablation"]["dropped"]["genre1"]["models"]) == ["svm", "gaussian_nb"]
    path = write_recipe(folder, "b", recipe={**without, "without": "polka"})
    with pytest.raises(ConfigError, match=r"recipe\.without: found 'polka', needed one of the songs' genres genre0, g"):
        reproduce(path, tmp_path / "other")


def test_curves_end_in_the_mean_of_the_folds_last_epochs() -> None:
    def epoch(number: int, value: float) -> Epoch:
        return Epoch(number, value, value + 1, 9.0, 9.0, value + 2, value + 3, 9.0)

    histories = [
        {"flat": [epoch(1, 50.0), epoch(2, 1.0)], "flat/before": [epoch(1, 70.0)], "rival/flat 2": [epoch(1, 70.0)]},
        {"flat": [epoch(1, 60.0), epoch(2, 50.0), epoch(4, 3.0)]},
    ]
    ends = module._last_epochs(histories)
    assert ends == {
        "flat": {"epoch": 3, "loss": 2, "slice_loss": 4, "train_accuracy": 3, "slice_accuracy": 5},
    }
