"""``hgenre reproduce`` as a user meets it: recipes of one's own, from their configurations to a page."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hgenre.data.manifest import Manifest
from hgenre.studies import recipes as module
from hgenre.studies.protocols import under_protocol
from tests.conftest import TINY, Finished
from tests.planted_recipes import write_recipe
from tests.test_run import strict_json, toml

Hgenre = Callable[..., Finished]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder's ``mine``, for recipes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    return Path("mine")


def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "under_protocol", lambda *_, **__: pytest.fail("it ran before"))


def test_a_recipe_of_a_net_is_run_drawn_and_told_once(
    hgenre: Hgenre, corpus: Manifest, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {
        "row": 1,
        "title": "a tiny net",
        "source": "four genres, songs apart",
        "reported": [{"percent": 25.0, "n": 24}],
        "n_folds": 3,
    }
    data = {"manifest": str(corpus.root / "manifest.csv"), "protocol": "song", "validation_share": 0.25}
    own = {**TINY, "name": "tiny", "data": data, "recipe": recipe}
    own["optimiser"] = {**TINY["optimiser"], "epochs": 2}
    (folder / "tiny.toml").write_text(toml(own))

    done = hgenre("reproduce", "all", "--recipes", folder)

    assert done.status == 0, done.err
    page = Path("runs") / "mine" / "reproductions.md"
    assert done.out == page.read_text() + "\n"
    assert done.err.endswith(f"written to {page}\n")
    assert "tiny song fold 1/1 flat epoch 1/2 loss" in done.err
    results = strict_json(page.parent / "tiny" / "results.json")
    song = results["protocols"]["song"]["models"]["flat"]["song"]
    assert results["command"] == "hgenre reproduce tiny --recipes mine"
    assert f"| a tiny net | tiny | 25 % | {100 * song['accuracy']:.1f} % | " in done.out
    assert song["n"] == results["protocols"]["song"]["n_songs"]["test"][0] == 8
    curves = results["curves"]["song"]["flat"]
    assert f"| tiny | song | flat | 2 | {curves['loss']:.2f} | {curves['slice_loss']:.2f} |" in done.out
    assert "![Learning curves of tiny: training and validation by epoch](reproductions/tiny.svg)" in done.out
    run = page.parent / "tiny" / "song"
    assert (page.parent / "reproductions" / "tiny.svg").read_text() == (run / "pictures" / "learning.svg").read_text()
    account = run / "report.md"
    assert "The flat model named the genre of" in account.read_text()
    assert strict_json(run / "results.json")["models"]["flat"]["song"]["confusion"] == song["confusion"]

    no_training(monkeypatch)
    written = account.stat().st_mtime_ns
    again = hgenre("reproduce", "all", "--recipes", folder)
    assert (again.status, again.out) == (0, done.out)
    assert account.stat().st_mtime_ns == written
    account.unlink()
    (run / "results.json").write_text("{")
    damaged = hgenre("reproduce", "tiny", "--recipes", folder)
    assert (damaged.status, damaged.out) == (1, "")
    assert f"{run / 'results.json'} cannot be read (" in damaged.err
    assert "run the recipe with --again" in damaged.err


def test_one_recipe_is_printed_and_written_where_that_is_asked_for(hgenre: Hgenre, folder: Path) -> None:
    write_recipe(folder, "a")
    write_recipe(folder, "b", row=2)
    done = hgenre("reproduce", "a", "--recipes", folder, "--out", "here")
    assert done.status == 0, done.err
    assert "| the system a | a | 50 % | " in done.out
    assert "the system b" not in done.out
    assert sorted(path.name for path in Path("here").iterdir()) == ["a"]
    assert hgenre("reproduce", "a", "--recipes", folder, "--out", "here", "--report", "there/a.md").status == 0
    assert Path("there/a.md").read_text().startswith("# Published systems beside ours\n")


def test_all_that_is_shipped_goes_to_the_documentation(
    hgenre: Hgenre, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_recipe(folder, "b", row=1)
    write_recipe(folder, "a", row=2)
    monkeypatch.setattr(module, "SEEDS", folder)
    done = hgenre("reproduce", "all")
    assert done.status == 0, done.err
    assert done.out == (Path("docs") / "reproductions.md").read_text() + "\n"
    assert done.out.index("the system b") < done.out.index("the system a")
    assert "by the recipe of that name in `configs/seeds/`" in done.out
    assert strict_json(Path("runs") / "mine" / "a" / "results.json")["command"] == "hgenre reproduce a"
    no_training(monkeypatch)
    assert json.loads(hgenre("reproduce", "b", "--json").out) == [strict_json(Path("runs/mine/b/results.json"))]
    assert hgenre("reproduce", "all").out == done.out


def test_again_runs_again(hgenre: Hgenre, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_recipe(folder, "a")
    assert hgenre("reproduce", "a", "--recipes", folder).status == 0
    runs: list[str] = []

    def counted(config: Any, protocol: Any, *arguments: Any, **named: Any) -> Any:
        runs.append(protocol)
        return under_protocol(config, protocol, *arguments, **named)

    monkeypatch.setattr(module, "under_protocol", counted)
    assert hgenre("reproduce", "a", "--recipes", folder, "--again").status == 0
    assert runs == ["slice-random", "song"]


def test_a_recipe_that_fails_leaves_the_others_and_says_why(hgenre: Hgenre, folder: Path) -> None:
    write_recipe(folder, "a", recipe={"n_folds": 50, "protocols": ["song"]})
    write_recipe(folder, "b", row=2)
    done = hgenre("reproduce", "all", "--recipes", folder)
    assert done.status == 1
    assert "hgenre: a: no songs are left for " in done.err
    assert "| the system a | a | 50 % | not run: no songs are left for " in done.out
    assert "| the system b | b | 50 % | not" not in done.out
    assert not (Path("runs") / "mine" / "a" / "results.json").exists()
    alone = hgenre("reproduce", "a", "--recipes", folder)
    assert (alone.status, alone.out) == (1, "")
    assert "hgenre: no songs are left for " in alone.err


def test_a_row_without_its_package_says_so(hgenre: Hgenre, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    rows = [{"model": "svm"}, {"name": "boosted", "model": "xgboost", "percent": 72.0, "n": 200}]
    write_recipe(folder, "a", recipe={"reported": rows, "classical": ["svm", "xgboost"]})
    done = hgenre("reproduce", "a", "--recipes", folder)
    assert done.status == 0
    assert "| boosted | a | 72 % | not run: the classifier xgboost needs the package of that name" in done.out


def test_absent_weights_are_a_row(hgenre: Hgenre, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HGENRE_VGG16", raising=False)
    net: dict[str, Any] = {"net": {"kind": "vgg16"}, "pretrained": "$HGENRE_VGG16"}
    recipe = {"with_net": True, "classical": [], "reported": [{"percent": 43.0}]}
    write_recipe(folder, "a", recipe=recipe, **net)
    done = hgenre("reproduce", "a", "--recipes", folder)
    assert done.status == 0
    assert "| the system a | a | 43 % | not run: weights absent |  |  |  |  |" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["polka"], "no recipe 'polka'; known are all, a"),
        (["a", "--recipes", "nowhere"], "hgenre: --recipes: found no .toml file in nowhere; name a folder of recipes"),
        ([], "Missing argument 'name'"),
    ],
)
def test_wrong_usage_has_status_2_and_says_what_is_wrong(
    hgenre: Hgenre, folder: Path, arguments: list[str], said: str
) -> None:
    write_recipe(folder, "a")
    done = hgenre("reproduce", "--recipes", folder, *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in " ".join(done.err.replace("│", " ").split())


@pytest.mark.parametrize("option", ["--out", "--report"])
def test_what_cannot_be_written_is_told_before_the_work(
    hgenre: Hgenre, folder: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_training(monkeypatch)
    write_recipe(folder, "a")
    Path("file").write_text("")
    done = hgenre("reproduce", "a", "--recipes", folder, option, "file/x")
    assert (done.status, done.out) == (1, "")
    assert "nothing can be written there" in done.err
    assert done.err.endswith(f"choose another place ({option})\n")
