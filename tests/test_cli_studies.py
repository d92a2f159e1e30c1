"""``hgenre leak``, ``hgenre ablate`` and ``hgenre baselines`` as a user meets them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.cli.study_options import ClassifierOption
from hgenre.training.config import config_to_dict
from tests.conftest import Finished
from tests.planted_tables import planted_table
from tests.test_run import strict_json, toml

Hgenre = Callable[..., Finished]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration in the current folder, on a table of three genres in two groups."""
    monkeypatch.chdir(tmp_path)
    return written(tmp_path, {"tree": {"groups": {"both": ["genre0", "genre1"], "one": ["genre2"]}}})


def written(folder: Path, sections: dict[str, Any], **planted: Any) -> Path:
    data = config_to_dict(planted_table(folder, **{"n_slices": 4, "genre_signal": 1.0, **planted}))["data"]
    kept = {key: data[key] for key in ("table", "join", "protocol")}
    off = dict.fromkeys(("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"), 0)
    (folder / "toy.toml").write_text(toml({"name": "toy", "data": kept, "augment": off, **sections}))
    return folder / "toy.toml"


def test_the_classifiers_are_those_that_there_are() -> None:
    assert tuple(ClassifierOption) == get_args(ClassifierKind)


def test_leak_prints_and_keeps_its_table(hgenre: Hgenre, config: Path) -> None:
    done = hgenre("leak", config, "--no-net", "--classifier", "svm", "--tree", "--folds", 2, "--folds-run", 1)
    assert done.status == 0
    folder = Path("runs") / "toy-leak"
    assert done.out == (folder / "report.md").read_text() + "\n"
    assert done.out.startswith("# toy: what leaks\n\n| model | slice-random: slices right | song: slices right | ")
    assert done.err.endswith(f"100%  artist: svm, fold 1/1\nwritten to {folder}\n")
    results = strict_json(folder / "results.json")
    assert (results["n_folds"], results["folds_run"]) == (2, 1)
    assert list(results["protocols"]["song"]["models"]) == ["svm", "svm tree"]
    assert results["command"] == f"hgenre leak {config} --no-net --classifier svm --tree --folds 2 --folds-run 1"


def test_json_is_what_is_kept(hgenre: Hgenre, config: Path) -> None:
    done = hgenre("baselines", config, "--classifier", "svm", "--folds", 2, "--out", "here", "--json")
    assert json.loads(done.out) == strict_json(Path("here") / "results.json")
    assert (Path("here") / "report.md").read_text().startswith("# toy: classical classifiers\n")


def test_baselines_mix_trees(hgenre: Hgenre, config: Path) -> None:
    kinds = ("--classifier", "svm", "--root", "gaussian_nb", "--specialist", "svm")
    done = hgenre("baselines", config, *kinds, "--folds", 2)
    assert done.status == 0
    assert "| gaussian\\_nb over svm tree |" in done.out


def test_ablate_drops_every_genre_in_turn(hgenre: Hgenre, config: Path) -> None:
    done = hgenre("ablate", config, "--drop", "all", "--no-net", "--classifier", "svm", "--folds", 2, "--json")
    found = json.loads(done.out)
    assert list(found["dropped"]) == ["genre0", "genre1", "genre2"]
    assert (found["name"], found["protocol"], found["folds"], found["n_folds"]) == ("toy", "song", 2, 2)


def test_ablate_trains_nets_and_their_tree(hgenre: Hgenre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sections = {
        "net": {"kind": "mlp", "dense_widths": [8]},
        "optimiser": {"epochs": 2, "batch_size": 16},
        "tree": {"groups": {"low": ["genre0", "genre1"], "high": ["genre2", "genre3"]}},
    }
    config = written(tmp_path, sections, n_genres=4, n_songs=16)
    done = hgenre("ablate", config, "--drop", "genre0", "--tree", "--folds", 2, "--folds-run", 1)
    assert done.status == 0
    dropped = strict_json(Path("runs") / "toy-ablate" / "results.json")["dropped"]["genre0"]
    assert list(dropped["models"]) == ["flat", "tree"]
    assert all(row["genre"] != "genre0" for model in dropped["models"].values() for row in model["per_genre"])
    n = dropped["models"]["flat"]["before"]["song"]["n"]
    assert f"- the flat net: of the other genres' {n} songs it has " in done.out
    assert f"- the tree of nets: of the other genres' {n} songs it has " in done.out
    assert "without genre0: fold 1/1 flat epoch 1/2" in done.err


def test_the_recipe_says_what_is_not_said(hgenre: Hgenre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = {"row": 1, "title": "toy", "source": "none", "n_folds": 3, "folds_run": 2}
    own = {"recipe": {**recipe, "with_net": False, "classical": ["gaussian_nb", "majority"]}}
    config = written(tmp_path, own)
    found = json.loads(hgenre("leak", config, "--json").out)
    assert (found["n_folds"], found["folds_run"]) == (3, 2)
    assert list(found["protocols"]["song"]["models"]) == ["gaussian_nb", "majority"]
    found = json.loads(hgenre("leak", config, "--classifier", "svm", "--folds-run", "1", "--json").out)
    assert (list(found["protocols"]["song"]["models"]), found["folds_run"]) == (["svm"], 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["leak"], "Missing argument 'config'"),
        (["leak", "toy.toml", "--no-net"], "--no-net leaves nothing to train; name a --classifier"),
        (["leak", "toy.toml", "--folds", "3", "--folds-run", "4"], "--folds-run 4 is more than the 3 folds there are"),
        (["leak", "toy.toml", "--classifier", "oracle"], "'oracle' is not one of 'gaussian_nb'"),
        (["leak", "nosuch.toml"], "nosuch.toml: 1 mistake in the configuration"),
        (["ablate", "toy.toml"], "Missing option '--drop'"),
        (
            ["ablate", "toy.toml", "--drop", "polka", "--no-net", "--classifier", "svm"],
            "hgenre: --drop: found 'polka', which is no genre of these songs; they have genre0, genre1, genre2",
        ),
        (["baselines", "toy.toml", "--root", "svm"], "--root and --specialist go together"),
    ],
)
def test_wrong_usage_has_status_2_and_says_what_is_wrong(
    hgenre: Hgenre, config: Path, arguments: list[str], said: str
) -> None:
    done = hgenre(*arguments)
    assert (done.status, done.out) == (2, "")
    unwrapped = " ".join(done.err.replace("│", " ").split())
    assert said in unwrapped
    assert not list(Path().glob("runs/*"))


def test_what_cannot_be_written_is_told_before_the_work(hgenre: Hgenre, config: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = hgenre("leak", config, "--no-net", "--classifier", "svm", "--out", tmp_path / "file")
    assert (done.status, done.out) == (1, "")
    assert "nothing can be written there" in done.err
    assert "svm" not in done.err
