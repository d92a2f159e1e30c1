"""``hgenre forecast`` on everything it takes for results and for a tree, and what it says to everything else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.bundle import Bundle, save_bundle
from hgenre.data.manifest import Manifest
from hgenre.evaluate import evaluate
from hgenre.grouping.forecast import chance_verdict, forecast, verdict
from hgenre.labels import Labels
from hgenre.metrics.classification import Scores, scores_of
from hgenre.shipped import ROOT as SHIPPED
from hgenre.train import RunResult
from hgenre.training.border import read_config
from hgenre.tree.draw import draw_tree
from hgenre.tree.spec import TreeSpec, genres_under, tree_from_groups, tree_to_json
from tests.conftest import Finished
from tests.small_bundles import tiny_bundle
from tests.small_trees import LABELS, PLAIN

Hgenre = Callable[..., Finished]

CONFIG = 'name = "groups"\n[data]\nmanifest = "$NOWHERE/m.csv"\nprotocol = "listed"\nlists = {train = "$NOWHERE/t"}\n'


def scored(labels: Labels = LABELS) -> Scores:
    return scores_of(np.random.default_rng(2).integers(1, 9, (len(labels), len(labels))), labels)


def results(labels: Labels = LABELS, **entries: Any) -> dict[str, Any]:
    """What a run of train-tree leaves, as far as a forecast reads it."""
    song = scored(labels).to_json()
    return {"labels": list(labels), "protocol": "artist", "models": {"flat": {"song": song}}, **entries}


@pytest.fixture
def written(tmp_path: Path) -> Callable[[object], Path]:
    def write(content: object) -> Path:
        path = tmp_path / "results.json"
        path.write_text(json.dumps(content))
        return path

    return write


Written = Callable[[object], Path]


def test_tables_show_the_forecast(hgenre: Hgenre, written: Written) -> None:
    done = hgenre("forecast", written(results(tree=tree_to_json(PLAIN))))
    assert (done.status, done.err) == (0, "")
    found = forecast(scored(), PLAIN)
    assert done.out.startswith(draw_tree(PLAIN) + f"\n\n{found.n} songs, answered by the flat net\n")
    assert done.out.endswith(f"\n{verdict(found)}\n{chance_verdict(found)}\n")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in done.out.splitlines() if "│ " in line]
    inside, root, left = found.inside, found.nodes[0], found.nodes[1]
    low, high = (100 * bound for bound in inside.interval)
    share = [str(inside.n), f"{inside.share:.1%}", f"{low:.1f} to {high:.1f}"]
    assert ["error inside groups: specialists can win at most", *share] in rows
    nodes = {row[0]: row[1:4] for row in rows if len(row) == 7}
    assert nodes["root"] == [str(found.n), "0", str(root.error.n)]
    assert nodes["left"] == [str(left.n_entered), str(left.n_strays), str(left.error.n)]
    assert nodes["a"][:2] == [str(found.genres[0].right.of), f"{found.genres[0].right.share:.1%}"]


def test_json_holds_the_forecast(hgenre: Hgenre, written: Written) -> None:
    told = json.loads(hgenre("forecast", written(results(tree=tree_to_json(PLAIN))), "--json").out)
    found = forecast(scored(), PLAIN)
    assert told == json.loads(json.dumps(found.to_json())) | {
        "router": "the flat net",
        "labels": list(LABELS),
        "tree": tree_to_json(PLAIN),
        "verdict": verdict(found),
        "chance_verdict": chance_verdict(found),
        "notes": [],
    }


def test_a_run_and_an_evaluation_are_understood_as_they_are_written(
    hgenre: Hgenre, tiny_run: RunResult, corpus: Manifest, cache_dir: Path, written: Written
) -> None:
    file, bundle_dir = tiny_run.directory / "results.json", tiny_run.directory / "bundle"
    own, given = (json.loads(hgenre("forecast", file, *rest, "--json").out) for rest in ([], ["--tree", bundle_dir]))
    assert own == given
    assert own["n"] == tiny_run.results["models"]["flat"]["song"]["n"]
    evaluation = written(evaluate(tiny_run.flat, corpus, cache_dir, allow_seen=True))
    told = json.loads(hgenre("forecast", evaluation, "--tree", bundle_dir, "--json").out)
    assert (told["n"], told["router"]) == (len(corpus.songs), f"model {tiny_run.flat.name}")
    assert told["notes"] == [
        f"{len(tiny_run.flat.songs_seen)} of these songs were seen in training, so these confusions are too few"
    ]


def test_a_bundle_may_list_the_genres_in_another_order(hgenre: Hgenre, written: Written, tmp_path: Path) -> None:
    backwards = Labels(LABELS.genres[::-1])
    bundle: Bundle = tiny_bundle(TreeSpec(backwards, PLAIN.root))
    save_bundle(bundle, tmp_path / "bundle")
    done = hgenre("forecast", written(results()), "--tree", tmp_path / "bundle", "--json")
    assert json.loads(done.out)["across"]["n"] == forecast(scored(), PLAIN).across.n


@pytest.mark.parametrize("config", sorted((SHIPPED / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_the_tree_of_every_shipped_configuration_is_read_without_its_data(
    hgenre: Hgenre, written: Written, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HGENRE_DATA", raising=False)
    groups = read_config(config, resolve=False).tree.groups
    if groups is None:
        pytest.skip("derives its groups")
    listed = groups if isinstance(groups, list) else [groups]
    labels = Labels.from_names(
        genre for item in listed for genre in ([item] if isinstance(item, str) else _genres(item))
    )
    done = hgenre("forecast", written(results(labels)), "--tree", config, "--json")
    assert (done.status, done.err) == (0, "")
    assert json.loads(done.out)["across"]["n"] == forecast(scored(labels), tree_from_groups(labels, groups)).across.n


def _genres(group: dict[str, Any]) -> list[str]:
    return [genre for children in group.values() for child in children for genre in genres_under(child)]


def test_lists_that_are_not_there_are_not_looked_for(hgenre: Hgenre, written: Written, tmp_path: Path) -> None:
    config = tmp_path / "groups.toml"
    config.write_text(CONFIG + '[tree.groups]\nleft = ["a", "b", "c"]\nright = ["d", "e", "f"]\n')
    done = hgenre("forecast", written(results()), "--tree", config, "--json")
    assert json.loads(done.out)["tree"] == tree_to_json(PLAIN)


@pytest.mark.parametrize(
    ("entries", "note"),
    [
        ({"grouping": {"source": "config"}}, None),
        ({"grouping": {"source": "derived"}}, "derived from confusions on validation songs, which are not counted"),
        ({"grouping": {"source": "derived"}, "n_folds": 5}, "optimistic: the groups were derived from confusions on"),
        ({"protocol": "slice-random"}, "slices of one song stood on both sides of the split"),
    ],
)
def test_what_flatters_the_forecast_is_said(
    hgenre: Hgenre, written: Written, entries: dict[str, Any], note: str | None
) -> None:
    done = hgenre("forecast", written(results(tree=tree_to_json(PLAIN), **entries)))
    assert done.status == 0
    assert done.out.count("note: ") == (note is not None)
    assert (note or "") in done.out


def test_given_groups_are_not_called_derived(hgenre: Hgenre, written: Written, tmp_path: Path) -> None:
    config = tmp_path / "groups.toml"
    config.write_text('name = "x"\n[tree.groups]\nleft = ["a", "b", "c"]\nright = ["d", "e", "f"]\n')
    file = written(results(grouping={"source": "derived"}, n_folds=5))
    assert json.loads(hgenre("forecast", file, "--tree", config, "--json").out)["notes"] == []


def damaged(**change: Any) -> dict[str, Any]:
    return results(models={"flat": {"song": scored().to_json() | change}}, tree=tree_to_json(PLAIN))


NEITHER = "results.json holds no confusion of a flat net's answers for songs, neither at models.flat.song"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "results.json holds no JSON object; give the results.json of a run"),
        ({}, NEITHER),
        ({"models": {"tree": {}}}, NEITHER),
        ({"models": {"flat": {"song": 3}}}, NEITHER),
        ({"song": scored().to_json()}, NEITHER),
        (damaged(confusion=[[1]]), "results.json: scores: 'confusion' must hold 6 x 6 whole counts"),
        (damaged(confusion=[[0.5] * 6] * 6), "results.json: scores: 'confusion' must hold 6 x 6 whole counts"),
        (damaged(confusion=[[2**62] * 6] * 6), "results.json: scores: 'confusion' must hold 6 x 6 whole counts"),
        (damaged(confusion=[[0] * 6] * 6), "results.json: scores: found no song to score"),
        (damaged(per_genre=[{"genre": "a"}] * 6), "results.json: not a genre tree: genre 'a' stands twice"),
        (results() | {"labels": ["a"]}, "labels are ['a'], but the scores are over ['a', 'b', 'c', 'd', 'e', 'f']"),
        (results(), "results.json names no tree of its own; give one with --tree"),
        (results(tree=3), "results.json does not fit the genres of"),
        (results(tree={"name": "root", "children": ["a", "polka"]}), "group 'root' holds unknown genre 'polka'"),
    ],
)
def test_unsound_results_are_refused_by_name(hgenre: Hgenre, written: Written, content: Any, message: str) -> None:
    done = hgenre("forecast", written(content))
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("hgenre: ")
    assert message in done.err


@pytest.mark.parametrize("text", ["", "{", "\xff", "[" * 100_000])
def test_what_is_no_json_is_refused(hgenre: Hgenre, tmp_path: Path, text: str) -> None:
    (tmp_path / "results.json").write_text(text, encoding="latin-1")
    done = hgenre("forecast", tmp_path / "results.json")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"hgenre: {tmp_path / 'results.json'} is not JSON (")
    assert done.err.endswith("); give the results.json of a run\n")


def test_a_deep_tree_from_outside_is_refused(hgenre: Hgenre, tmp_path: Path) -> None:
    text = json.dumps(results(tree="HERE"))
    (tmp_path / "results.json").write_text(text.replace('"HERE"', '{"name": "x", "children": [' * 450 + "]}" * 450))
    done = hgenre("forecast", tmp_path / "results.json")
    assert (done.status, done.out) == (1, "")
    assert "Traceback" not in done.err


def test_results_that_are_not_there_are_named(hgenre: Hgenre) -> None:
    done = hgenre("forecast", "nosuch.json")
    assert (done.status, done.out) == (1, "")
    assert done.err == "hgenre: nosuch.json cannot be read: No such file or directory; give the results.json of a run\n"


@pytest.mark.parametrize(
    ("tree", "status", "message"),
    [
        ("nosuch", 1, "hgenre: no model 'nosuch': no such folder, and not among the shipped ones ("),
        ("nosuch.toml", 2, "hgenre: nosuch.toml: 1 mistake in the configuration:\n  file: cannot be read: No such"),
        ("none.toml", 1, "hgenre: none.toml gives no groups, its tree is to be derived in training; write them under"),
        ("other.toml", 1, "hgenre: other.toml does not fit the genres of results.json, a, b, c, d, e, f: not a genre"),
        ("wrong.toml", 2, "hgenre: wrong.toml: 1 mistake in the configuration:\n  what: "),
        ("gtzan10-tree", 1, "the confusion is over the genres a, b, c, d, e, f, the tree over blues, classical, "),
    ],
)
def test_a_tree_that_does_not_serve_is_named(
    hgenre: Hgenre, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: str, status: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results.json").write_text(json.dumps(results()))
    Path("none.toml").write_text('name = "none"\n')
    Path("other.toml").write_text('name = "other"\n[tree.groups]\nloud = ["a", "polka"]\n')
    Path("wrong.toml").write_text('name = "wrong"\nwhat = 3\n')
    done = hgenre("forecast", "results.json", "--tree", tree)
    assert (done.status, done.out) == (status, "")
    assert message in done.err


def test_wrong_usage_has_status_2(hgenre: Hgenre) -> None:
    for arguments in ([], ["a.json", "--route", "hard"]):
        done = hgenre("forecast", *arguments)
        assert (done.status, done.out) == (2, "")
        assert "Usage: hgenre forecast" in done.err
