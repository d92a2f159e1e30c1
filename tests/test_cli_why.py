"""``hgenre why`` as a user meets it: the tables show the account, and every wrong use is named."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.bundle import Bundle
from hgenre.data.manifest import Manifest, rebase, write_manifest
from hgenre.held_out import write_held_out
from hgenre.predict import STEADY
from hgenre.report.ledger import ledger_facts
from hgenre.train import RunResult
from tests.audio_files import write_sound
from tests.conftest import Finished
from tests.held_out_songs import held_out_songs
from tests.small_trees import OVERLAPPING, RAGGED

Hgenre = Callable[..., Finished]


@pytest.fixture(scope="module")
def unseen(bundle: Bundle, corpus: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    seen = {song.song_id for song in bundle.songs_seen}
    kept = replace(corpus, songs=tuple(song for song in corpus.songs if song.song_id not in seen))
    directory = tmp_path_factory.mktemp("unseen")
    write_manifest(rebase(kept, directory), directory / "manifest.csv")
    return directory / "manifest.csv"


def cells(out: str) -> list[list[str]]:
    """The rows of all tables."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│ ")]


def test_tables_show_the_account_and_the_flat_net_beside_the_bundle(
    hgenre: Hgenre, bundle_dir: Path, unseen: Path
) -> None:
    told = json.loads(hgenre("why", bundle_dir, "--manifest", unseen, "--json").out)
    done = hgenre("why", bundle_dir, "--manifest", unseen)
    assert done.status == 0
    found, rows = told["ledger"], cells(done.out)
    assert done.out.startswith(found["verdict"] + "\n")
    songs, n = found["songs"], found["n_songs"]
    share = {cell: f"{100 * songs[cell] / n:.1f} % ({songs[cell]})" for cell in "ALRB"}
    assert ["sent to its group", f"A {share['A']}: right", f"L {share['L']}: lost inside the group"] in rows
    assert [row[0] for row in rows[2:5]] == ["root", "percussive", "drone"]
    assert [row[1] for row in rows[2:5]] == ["the group", "the genre", "the genre"]
    for node, row in zip(songs["nodes"], rows[2:5], strict=True):
        assert row[2:] == [str(node["n_passing"]), str(node["n_wrong"]), f"{node['blame']:.1f}"]
    for genre, row in zip(songs["genres"], rows[5:9], strict=True):
        assert row == [str(genre[key]) for key in ("genre", "n", "A", "L", "R", "B")]
    assert all(fact in done.out.splitlines() for fact in ledger_facts(found))
    accuracies = [f"{100 * row['accuracy']:.1f} % [" for row in found["answers"]]
    shown = [cell for row in rows[9:] for cell in row[1:]]
    assert len(shown) == len(accuracies) == 18
    assert all(cell.startswith(accuracy) for cell, accuracy in zip(shown, accuracies, strict=True))
    assert told["flat_model"] is not None
    assert f"flat net {100 * found['flat']['accuracy']:.1f} % [" in done.out


def test_a_bundle_alone_has_no_flat_net_unless_one_is_named(
    hgenre: Hgenre, bundle_dir: Path, unseen: Path, tmp_path: Path
) -> None:
    alone = shutil.copytree(bundle_dir, tmp_path / "alone")
    done = hgenre("why", alone, "--manifest", unseen)
    assert "there is no flat net to compare it with" in done.out
    assert "flat net " not in done.out.split("\n", 1)[1]
    named = hgenre("why", alone, "--manifest", unseen, "--flat", bundle_dir.parent / "flat", "--json")
    assert json.loads(named.out)["ledger"]["flat"] is not None
    assert hgenre("why", alone, "--manifest", unseen, "--flat", bundle_dir.parent, "--json").out == named.out
    itself = hgenre("why", bundle_dir.parent / "flat", "--manifest", unseen)
    assert itself.out.startswith("There are no groups to choose from")


def test_seen_songs_are_refused_and_a_split_is_chosen(hgenre: Hgenre, bundle_dir: Path, tiny_run: Any) -> None:
    manifest = tiny_run.directory / "manifest.csv"
    done = hgenre("why", bundle_dir, "--manifest", manifest)
    assert (done.status, done.out) == (1, "")
    assert "model tiny has seen" in done.err
    assert hgenre("why", bundle_dir, "--manifest", manifest, "--split", "test").status == 0
    allowed = hgenre("why", bundle_dir, "--manifest", manifest, "--allow-seen")
    assert "warning: model tiny has seen " in allowed.out


def test_songs_show_their_ways_and_faults_are_named(
    hgenre: Hgenre, bundle_dir: Path, corpus: Manifest, tmp_path: Path
) -> None:
    song = corpus.songs[0]
    files = corpus.audio_path(song), tmp_path / "none.wav"
    told = hgenre("why", bundle_dir, *files, "--genre", song.genre, "--json")
    good, bad = map(json.loads, told.out.splitlines())
    assert (told.status, bad["error"]["kind"]) == (1, "unreadable")
    done = hgenre("why", bundle_dir, *files, "--genre", song.genre)
    assert done.status == 1
    assert f"{tmp_path / 'none.wav'}: cannot be opened" in done.err
    assert "hgenre: 1 of 2 files have no answer" in done.err
    given = f"predict gives {good['answer']} {good['confidence']:.0%}; ways and nodes below are without the"
    head = f"{files[0]}\n{good['verdict']}\n{given} temperatures of path and song\nway        {good['way'][1][0]} "
    assert done.out.startswith(head)
    rows = cells(done.out)
    root = good["nodes"][0]
    children = ", ".join(f"{c['child']} {c['votes']} ({c['p']:.0%})" for c in root["children"])
    assert rows[0] == ["root", str(root["n_came"]), children]
    for slice_, row in zip(good["slices"], rows[3:], strict=True):
        assert row == [
            f"{slice_['start_s']:.1f} s",
            " › ".join(slice_["way"][1:]),
            f"{slice_['genre']} {slice_['p']:.0%}",
        ]


def test_a_song_of_steady_noise_is_told(hgenre: Hgenre, bundle_dir: Path, tmp_path: Path) -> None:
    noise = write_sound(tmp_path / "noise.wav", np.random.default_rng(0).normal(0, 0.1, 16_000), 8000)
    done = hgenre("why", bundle_dir, noise)
    assert done.out.splitlines()[3] == f"warning: {STEADY}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give audio files, --manifest, or the folder of a run"),
        (["a.wav", "--manifest", "m.csv"], "give audio files, --manifest, or the folder of a run"),
        (["a.wav", "--split", "test"], "--split, --flat and --allow-seen need --manifest"),
        (["--manifest", "m.csv", "--genre", "rock"], "--genre is for audio files; a manifest names the genres"),
    ],
)
def test_wrong_usage_is_named(hgenre: Hgenre, bundle_dir: Path, arguments: list[str], message: str) -> None:
    done = hgenre("why", bundle_dir, *arguments)
    assert (done.status, done.out) == (2, "")
    assert message in " ".join(done.err.replace("│", " ").split())


def test_a_genre_that_the_model_does_not_know_is_named(hgenre: Hgenre, bundle_dir: Path, corpus: Manifest) -> None:
    done = hgenre("why", bundle_dir, corpus.audio_path(corpus.songs[0]), "--genre", "rock")
    assert (done.status, done.out) == (2, "")
    known = "clatterbop, fogsong, moorhum, pebbleskip"
    assert done.err == f"hgenre: --genre: model tiny does not know 'rock'; it knows {known}\n"


def test_a_folder_without_audio_is_named(hgenre: Hgenre, bundle_dir: Path, tmp_path: Path) -> None:
    done = hgenre("why", bundle_dir, tmp_path)
    assert done.status == 2
    assert "no file with an audio format's ending in" in " ".join(done.err.replace("│", " ").split())


def test_a_runs_folder_tells_of_the_songs_it_held_out(hgenre: Hgenre, tiny_run: RunResult) -> None:
    told = json.loads(hgenre("why", tiny_run.directory, "--json").out)
    for key in ("ledger", "comparison", "rivals", "rivals_missing"):
        assert told[key] == json.loads(json.dumps(tiny_run.results[key]))
    assert "calibration" not in told
    done = hgenre("why", tiny_run.directory)
    assert done.status == 0
    assert done.out.startswith(told["ledger"]["verdict"] + "\n")
    assert "| flat root |" in done.out


def test_missing_rivals_are_named(hgenre: Hgenre, tmp_path: Path) -> None:
    write_held_out(tmp_path / "outputs.npz", [held_out_songs(30, others=())])
    out = hgenre("why", tmp_path).out
    missing = "flat ensemble of as many nets, flat ensemble of 2 nets, shared trunk"
    assert f"**This report lacks fair rivals of the tree: {missing}.**" in out


def test_a_run_without_a_tree_tells_of_its_flat_net(hgenre: Hgenre, tmp_path: Path) -> None:
    songs = held_out_songs(30)
    write_held_out(tmp_path / "outputs.npz", [replace(songs, models={"flat": songs.models["flat"]})])
    done = hgenre("why", tmp_path)
    song = json.loads(hgenre("why", tmp_path, "--json").out)["models"]["flat"]["song"]
    assert done.status == 0
    assert done.out.startswith(f"The flat model named the genre of **{100 * song['accuracy']:.1f} %** of 30 test songs")
    assert done.out.endswith("The run has no tree, so no group is chosen and nothing is lost by routing.\n\n")


def test_in_a_deeper_tree_the_first_choice_alone_is_taken_for_right(hgenre: Hgenre, tmp_path: Path) -> None:
    write_held_out(tmp_path / "outputs.npz", [held_out_songs(60, tree=RAGGED, others=())])
    found = json.loads(hgenre("why", tmp_path, "--json").out)["ledger"]
    first_right = found["songs"]["oracle_router_accuracy"]
    [oracle] = [r for r in found["answers"] if (r["decoder"], r["aggregation"]) == ("oracle", "majority")]
    assert oracle["accuracy"] > first_right
    assert (
        f"right if root alone never erred (A + R) {100 * first_right:.1f} %; if it guessed"
        in hgenre("why", tmp_path).out
    )


def test_a_tiny_p_value_is_not_written_as_zero(hgenre: Hgenre, tmp_path: Path) -> None:
    songs, weak = held_out_songs(90, signal=9.0, others=()), held_out_songs(90, signal=0.0)
    write_held_out(tmp_path / "outputs.npz", [replace(songs, models={**songs.models, "flat": weak.models["flat"]})])
    assert re.search(r"\(exact McNemar p = [1-9]e-\d\d\)", hgenre("why", tmp_path).out)


def test_folds_with_trees_of_their_own_have_no_account(hgenre: Hgenre, tmp_path: Path) -> None:
    folds = [held_out_songs(30, seed=0, others=()), held_out_songs(30, seed=1, tree=OVERLAPPING, others=())]
    write_held_out(tmp_path / "outputs.npz", folds)
    out = hgenre("why", tmp_path).out
    assert out.startswith("The tree named the genre of **")
    assert "\nEach fold derived groups of its own, and an account is of one tree" in out
    assert "| flat net |" in out


@pytest.mark.parametrize("kind", ["tree", "flat"])
def test_a_runs_folder_stands_for_its_bundle(
    hgenre: Hgenre, bundle_dir: Path, unseen: Path, corpus: Manifest, tmp_path: Path, kind: str
) -> None:
    run, bundle = bundle_dir.parent, bundle_dir
    if kind == "flat":
        run = tmp_path
        bundle = Path(shutil.copytree(bundle_dir.parent / "flat", run / "flat"))
    for question in (["--manifest", unseen], [corpus.audio_path(corpus.songs[0])]):
        done = hgenre("why", run, *question, "--json")
        assert done.status == 0
        assert done.out == hgenre("why", bundle, *question, "--json").out


def test_a_folder_that_holds_no_bundle_is_named(hgenre: Hgenre, corpus: Manifest, tmp_path: Path) -> None:
    done = hgenre("why", tmp_path, corpus.audio_path(corpus.songs[0]))
    assert (done.status, done.out) == (1, "")
    assert f"{tmp_path} holds no bundle: manifest.json is missing" in done.err


def test_folds_tell_what_confidence_is_worth(hgenre: Hgenre, tmp_path: Path) -> None:
    folds = [held_out_songs(30, seed=seed, others=()) for seed in range(3)]
    write_held_out(tmp_path / "outputs.npz", folds)
    told = json.loads(hgenre("why", tmp_path, "--json").out)
    assert told["n_songs"] == told["ledger"]["n_songs"] == 90
    assert told["rivals_missing"] == ["flat ensemble of as many nets", "flat ensemble of 2 nets", "shared trunk"]
    done = hgenre("why", tmp_path)
    assert f"Log-loss after less before: {told['log_loss_change']['value']:+.3f}" in done.out
    assert "The promises over random halves" in done.out


@pytest.mark.parametrize("option", [["--split", "test"], ["--flat", "x"], ["--genre", "rock"], ["--allow-seen"]])
def test_a_runs_folder_takes_no_choice_of_songs(hgenre: Hgenre, tiny_run: RunResult, option: list[str]) -> None:
    done = hgenre("why", tiny_run.directory, *option)
    assert done.status == 2
    assert "a run's folder takes --json only" in done.err


def test_a_wrong_name_is_told_before_what_else_is_missing(hgenre: Hgenre) -> None:
    done = hgenre("why", "nowhere")
    assert done.status == 1
    assert "no model 'nowhere': no such folder" in done.err
