"""train-tree, train and cross-validate from the command line: what a run leaves, what it refuses, what it survives."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import hgenre.studies.cross_validate as study
import hgenre.studies.folds as folds_study
import hgenre.training.border as settings
from hgenre import load_bundle, read_manifest
from hgenre.data.manifest import Manifest, write_manifest
from hgenre.errors import ConfigError
from hgenre.report.markdown import render
from hgenre.train import RunResult, train_tree
from hgenre.training.border import config_from_dict
from hgenre.training.config import RunConfig
from tests.conftest import GENRES, TINY, Finished

RUN_FILES = ["bundle", "config.json", "flat", "history.csv", "manifest.csv", "outputs.npz", "results.json"]
REPORTED = sorted([*RUN_FILES, "pictures", "report.md"])
"""What the command leaves: the run and its account in words and pictures."""


def toml(values: dict[str, Any], prefix: str = "") -> str:
    """Nested tables of plain values as TOML."""
    plain = "".join(f"{key} = {inline(value)}\n" for key, value in values.items() if not isinstance(value, dict))
    tables = (toml(value, f"{prefix}{key}.") for key, value in values.items() if isinstance(value, dict))
    return (f"[{prefix[:-1]}]\n" if prefix else "") + plain + "".join(tables)


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {inline(inner)}' for key, inner in value.items())} }}"
    return f"[{', '.join(map(inline, value))}]" if isinstance(value, list | tuple) else json.dumps(value)


def without_groups() -> dict[str, Any]:
    return {key: value for key, value in TINY.items() if key != "tree"}


def strict_json(path: Path) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{path} holds {constant}, which is not JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def weights_digest(bundle_dir: Path) -> str:
    return str(strict_json(bundle_dir / "manifest.json")["weights_sha256"])


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(toml(TINY))
    return path


@pytest.fixture(scope="module")
def music(corpus: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a genre and nothing else; one file of it is no sound."""
    folder = tmp_path_factory.mktemp("data") / "my music"
    for genre in GENRES:
        shutil.copytree(corpus.root / genre, folder / genre)
    (folder / GENRES[0] / "broken.mp3").write_text("no sound")
    return folder


def test_a_folder_a_genre_is_all_it_takes(
    hgenre: Callable[..., Finished], music: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = settings.config_from_dict
    monkeypatch.setattr(settings, "config_from_dict", lambda values: read({**without_groups(), **values}))
    monkeypatch.chdir(tmp_path)

    done = hgenre("train-tree", "--data", music)

    assert done.status == 0, done.err
    run = tmp_path / "runs" / "my-music"
    assert sorted(os.listdir(run)) == REPORTED
    assert f"written to {Path('runs/my-music')}" in done.err
    assert done.out.rstrip("\n") == (run / "report.md").read_text(encoding="utf-8").rstrip("\n")
    results = strict_json(run / "results.json")
    assert results["protocol"] == "song"
    assert results["labels"] == sorted(GENRES)
    assert sum(results["n_songs"].values()) == 24
    assert results["grouping"]["source"] == "derived"
    assert [w for w in results["warnings"] if w.startswith("broken left out: unreadable")]
    for kind in ("tree", "flat"):
        assert results["models"][kind]["song"]["n"] == results["n_songs"]["test"]
    report = (run / "report.md").read_text(encoding="utf-8")
    assert "The tree named the genre of" in report
    assert "The flat model named the genre of" in report
    assert "Tree minus flat is" in report
    assert "derived from the flat model's confusions" in report
    # Every name of a run is as the configuration says, so that the run can be repeated.
    assert read(strict_json(run / "config.json")).name == "my-music"
    tree, flat = load_bundle(run / "bundle"), load_bundle(run / "flat")
    assert not tree.tree.is_flat
    assert flat.tree.is_flat
    assert {song.split for song in tree.songs_seen} == {"train", "validation"}
    assert len(tree.songs_seen) == results["n_songs"]["train"] + results["n_songs"]["validation"]
    with (run / "history.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["net"] for row in rows} == {"flat", *(node.name for node in tree.tree.net_nodes)}
    assert {int(row["epoch"]) for row in rows} <= set(range(1, 9))


def test_a_configuration_and_a_manifest_give_json_on_stdout_alone(
    hgenre: Callable[..., Finished], config_path: Path, corpus: Manifest, tmp_path: Path
) -> None:
    data = corpus.root / "manifest.csv"
    done = hgenre("train-tree", config_path, "--data", data, "--out", tmp_path / "out", "--json")
    assert done.status == 0, done.err
    results = json.loads(done.out)
    assert results == strict_json(tmp_path / "out" / "results.json")
    assert results["command"].startswith(f"hgenre train-tree {config_path} --data ")
    assert results["grouping"] == {"source": "config"}
    assert [child["name"] for child in results["tree"]["children"]] == ["percussive", "drone"]
    assert load_bundle(tmp_path / "out" / "bundle").about["command"] == results["command"]


def test_a_run_keeps_its_split_so_that_its_result_can_be_had_again(
    hgenre: Callable[..., Finished], tiny_run: RunResult
) -> None:
    manifest = tiny_run.directory / "manifest.csv"
    kept = read_manifest(manifest)
    assert {song.song_id for song in kept.songs if song.split in ("train", "valid")} == {
        song.song_id for song in tiny_run.bundle.songs_seen
    }
    assert all(kept.audio_path(song).is_file() for song in kept.songs)
    for name, kind in (("bundle", "tree"), ("flat", "flat")):
        done = hgenre("evaluate", tiny_run.directory / name, "--manifest", manifest, "--split", "test", "--json")
        assert done.status == 0, done.err
        stated = json.loads(json.dumps(tiny_run.results["models"][kind]))
        scored = json.loads(done.out)
        assert {view: scored[view]["confusion"] for view in ("song", "slice")} == {
            view: stated[view]["confusion"] for view in ("song", "slice")
        }


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_run: RunResult, tiny_config: RunConfig, corpus: Manifest, tmp_path: Path
) -> None:
    wanted = weights_digest(tiny_run.directory / "bundle")
    again = train_tree(tiny_config, corpus, out=tmp_path / "again")
    assert weights_digest(tmp_path / "again" / "bundle") == wanted
    assert again.results["models"] == tiny_run.results["models"]
    train_tree(replace(tiny_config, seeds=(1,)), corpus, out=tmp_path / "other")
    assert weights_digest(tmp_path / "other" / "bundle") != wanted


def test_several_seeds_are_told_apart_and_one_of_them_is_kept(
    tiny_run: RunResult, tiny_config: RunConfig, corpus: Manifest, tmp_path: Path
) -> None:
    results = train_tree(replace(tiny_config, seeds=(0, 1)), corpus, out=tmp_path / "run").results
    assert [run["seed"] for run in results["runs"]] == [0, 1]
    assert results["runs"][0]["models"] == tiny_run.results["runs"][0]["models"]
    accuracies = [run["models"]["tree"]["song"]["accuracy"] for run in results["runs"]]
    assert results["models"]["tree"]["song_accuracy_mean"] == pytest.approx(np.mean(accuracies))
    assert results["models"]["tree"]["n_seeds"] == 2
    assert results["kept_seed"] in (0, 1)


def test_train_alone_gives_the_flat_net_of_the_same_run(
    hgenre: Callable[..., Finished], tiny_run: RunResult, config_path: Path, corpus: Manifest, tmp_path: Path
) -> None:
    out = tmp_path / "flat only"
    done = hgenre("train", config_path, "--data", corpus.root, "--out", out)
    assert done.status == 0, done.err
    assert sorted(os.listdir(out)) == [name for name in REPORTED if name != "bundle"]
    assert weights_digest(out / "flat") == weights_digest(tiny_run.directory / "flat")
    assert "The flat model named the genre of" in done.out
    assert "Tree minus flat" not in done.out


def test_train_takes_the_tree_of_an_older_run_away(
    hgenre: Callable[..., Finished], tiny_run: RunResult, config_path: Path, corpus: Manifest, tmp_path: Path
) -> None:
    shutil.copytree(tiny_run.directory, tmp_path / "run")
    done = hgenre("train", config_path, "--data", corpus.root, "--out", tmp_path / "run")
    assert done.status == 0, done.err
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.parametrize("refit", [False, True])
def test_every_song_is_answered_once_by_a_model_that_saw_neither_it_nor_its_artist(
    hgenre: Callable[..., Finished],
    corpus: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refit: bool,
) -> None:
    folds: list[tuple[set[str], tuple[str, ...]]] = []
    hear = folds_study.hear

    def spy(fitted: Any, songs: Any, frames: Any, cluster_of: Any) -> Any:
        for bundle in (fitted.tree, fitted.flat):
            folds.append(({song.song_id for song in bundle.songs_seen}, tuple(song.song_id for song in songs)))
        return hear(fitted, songs, frames, cluster_of)

    monkeypatch.setattr(folds_study, "hear", spy)
    config = tmp_path / "config.toml"
    config.write_text(toml({**TINY, "data": {"protocol": "artist", "validation_share": 0.5}}))
    flags = ["--refit"] if refit else []
    done = hgenre("cross-validate", config, "--data", corpus.root, "--out", tmp_path / "cv", "--folds", 3, *flags)
    assert done.status == 0, done.err

    artist = {song.song_id: song.artist for song in corpus.songs}
    assert len(folds) == 2 * 3
    for seen, held_out in folds:
        assert seen | set(held_out) == set(artist)
        assert not seen & set(held_out)
        assert not {artist[i] for i in seen} & {artist[i] for i in held_out}
    assert sorted(i for _, held_out in folds[::2] for i in held_out) == sorted(artist)
    results = strict_json(tmp_path / "cv" / "results.json")
    assert results["protocol"] == "artist"
    for kind in ("tree", "flat"):
        assert np.sum(results["models"][kind]["song"]["confusion"], axis=1).tolist() == [6, 6, 6, 6]
    assert "Tree minus flat is" in done.out
    assert (tmp_path / "cv" / "report.md").is_file()
    assert (tmp_path / "cv" / "bundle").exists() == refit
    if refit:
        final = load_bundle(tmp_path / "cv" / "bundle")
        assert {song.song_id for song in final.songs_seen} == set(artist)
        assert final.metrics["models"]["tree"]["song"] == results["models"]["tree"]["song"]


def test_imported_arrays_go_all_the_way_but_audio_is_refused(
    hgenre: Callable[..., Finished], corpus: Manifest, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    genres = np.repeat(["high", "low"], 8)
    slope = np.where(genres == "high", 1, -1)[:, None, None] * np.arange(16)[None, :, None]
    levels = (slope + random.normal(-40, 4, (16, 16, 60))).astype(np.float32)
    np.savez(tmp_path / "given.npz", mel=levels, ids=[f"song {i}" for i in range(16)], genres=genres)
    given = ["--frame-rate-hz", 30, "--scale", "dB", "--db-per-unit", 1]
    assert hgenre("import-features", tmp_path / "given.npz", "--out", tmp_path / "in", *given).status == 0
    config = tmp_path / "arrays.toml"
    config.write_text(toml({**without_groups(), "name": "arrays"}))
    data = tmp_path / "in" / "manifest.csv"

    done = hgenre("train-tree", config, "--data", data, "--out", tmp_path / "run", "--json")

    assert done.status == 0, done.err
    results = json.loads(done.out)
    assert results["features"] == "ready-made arrays"
    assert results["models"]["tree"]["song"]["accuracy"] == 1
    bundle = load_bundle(tmp_path / "run" / "bundle")
    seen = {song.song_id for song in bundle.songs_seen}
    manifest = read_manifest(data)
    unseen = replace(manifest, songs=tuple(song for song in manifest.songs if song.song_id not in seen))
    write_manifest(unseen, tmp_path / "in" / "unseen.csv")
    scored = hgenre("evaluate", tmp_path / "run" / "bundle", "--manifest", tmp_path / "in" / "unseen.csv", "--json")
    assert scored.status == 0, scored.err
    assert json.loads(scored.out)["song"]["confusion"] == results["models"]["tree"]["song"]["confusion"]

    song = corpus.audio_path(corpus.songs[0])
    refused = hgenre("predict", song, "--model", tmp_path / "run" / "bundle")
    assert refused.status == 1
    assert refused.out == ""
    assert refused.err.startswith(
        "hgenre: model arrays was trained on ready-made arrays (dB), and audio is answered by"
    )


def test_a_wrong_configuration_is_refused_with_every_mistake(hgenre: Callable[..., Finished], tmp_path: Path) -> None:
    config = tmp_path / "bad.toml"
    config.write_text('name = "x y"\nwhat = 3\n[optimiser]\nepochs = "many"\nbatch_size = 1\n[tree]\nn_groups = 1\n')
    for command in ("train-tree", "train", "cross-validate"):
        done = hgenre(command, config)
        assert (done.status, done.out) == (2, "")
        assert done.err.startswith(f"hgenre: {config}: 5 mistakes in the configuration:\n")
        for where in ("name", "what", "optimiser.epochs", "optimiser.batch_size", "tree.n_groups"):
            assert f"\n  {where}: " in done.err


def test_groups_that_do_not_fit_the_genres_are_wrong_usage(
    hgenre: Callable[..., Finished], corpus: Manifest, tmp_path: Path
) -> None:
    config = tmp_path / "groups.toml"
    config.write_text(toml({**TINY, "tree": {"groups": {"a": ["clatterbop", "polka"]}}}))
    done = hgenre("train-tree", config, "--data", corpus.root, "--out", tmp_path / "out")
    assert (done.status, done.out) == (2, "")
    assert "group 'a' holds unknown genre 'polka'" in done.err
    assert "genre 'moorhum' is in no group" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "give a configuration, or --data DIR"),
        (["nosuch.toml"], 2, "nosuch.toml: 1 mistake in the configuration:\n  file: cannot be read: No such file"),
        (["--data", "nosuch"], 1, "hgenre: nosuch: no such folder or CSV file"),
        (["--data", "empty"], 1, "hgenre: empty: no audio among its 0 files"),
        (["--data", "one"], 1, "the songs have one genre only, 'fogsong'; a classifier needs at least two"),
        (["--data", "few"], 1, "no songs are left for test: every genre is shared out by itself, and songs"),
        (["tiny.toml"], 2, "hgenre: tiny: 1 mistake in the configuration:\n  data.manifest: is missing"),
        (["tiny.toml", "--data", "few", "--out", "tiny.toml"], 1, "tiny.toml: nothing can be written there (File ex"),
    ],
)
def test_wrong_usage_is_named(
    hgenre: Callable[..., Finished],
    config_path: Path,
    corpus: Manifest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder, genres in (("one", ["fogsong"]), ("few", ["fogsong", "moorhum"])):
        for genre in genres:
            (tmp_path / folder / genre).mkdir(parents=True)
            source = corpus.audio_path(next(song for song in corpus.songs if song.genre == genre))
            shutil.copy(source, tmp_path / folder / genre)
    done = hgenre("train-tree", *arguments)
    assert (done.status, done.out) == (status, "")
    assert message in done.err.replace("│", "")


KILLED = """
import os, signal, sys
from pathlib import Path
import jax
import hgenre.data.cache, hgenre.train
from hgenre.data.manifest import read_manifest
from hgenre.training.border import read_config

def kill(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

where, config, manifest, out, cache_dir, n_devices = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", int(n_devices))
match where:
    case "filling the cache":
        put = hgenre.data.cache.FeatureCache.put
        n_put = 0
        def put_five(self, sha256, frames):
            global n_put
            n_put += 1
            put(self, sha256, frames) if n_put <= 5 else kill()
        hgenre.data.cache.FeatureCache.put = put_five
    case "naming a first entry":
        os.replace = kill
    case "writing the run":
        hgenre.train.write_history = kill
hgenre.train.train_tree(read_config(config), read_manifest(manifest), out=out, cache_dir=Path(cache_dir))
"""


@pytest.mark.parametrize("where", ["filling the cache", "naming a first entry", "writing the run"])
def test_after_a_kill_the_next_run_completes(
    where: str, tiny_run: RunResult, config_path: Path, corpus: Manifest, tmp_path: Path, cache_dir: Path
) -> None:
    own_cache = tmp_path / "cache"
    own_cache.mkdir()
    # What is compiled already, for as many devices, need not be compiled again.
    (own_cache / "xla").symlink_to(cache_dir / "xla")
    n_devices = len(jax.local_devices())
    out = tmp_path / "run"
    arguments = [where, config_path, corpus.root / "manifest.csv", out, own_cache, n_devices]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    n_entries = len(list((own_cache / "features").rglob("*.npy")))
    fewest, most = {"filling the cache": (4, 5), "naming a first entry": (0, 0)}.get(where, (24, 24))
    assert fewest <= n_entries <= most

    result = train_tree(config_from_dict(TINY), corpus, out=out, cache_dir=own_cache)

    assert len(list((own_cache / "features").rglob("*.npy"))) == 24
    assert sorted(os.listdir(out)) == RUN_FILES
    assert weights_digest(out / "bundle") == weights_digest(tiny_run.directory / "bundle")
    assert strict_json(out / "results.json")["models"] == json.loads(json.dumps(result.results["models"]))


def test_the_leaky_protocol_says_what_it_is(tiny_config: RunConfig, corpus: Manifest, tmp_path: Path) -> None:
    leaky = replace(tiny_config, data=replace(tiny_config.data, protocol="slice-random"))
    results = train_tree(leaky, corpus, out=tmp_path / "leaky", with_tree=False).results
    assert "these figures are too good" in render(results)
    assert "take slices of one song for independent, so they claim too much" in render(results)
    assert results["models"]["flat"]["song"]["n"] == results["models"]["flat"]["slice"]["n"]
    seen = load_bundle(tmp_path / "leaky" / "flat").songs_seen
    assert {song.song_id.count("/") for song in seen} == {1}
    assert not (tmp_path / "leaky" / "manifest.csv").exists()
    with pytest.raises(ConfigError, match="leave --refit out, or use song or artist"):
        study.cross_validate(leaky, corpus, out=tmp_path / "folds", refit=True)
    folded = study.cross_validate(leaky, corpus, out=tmp_path / "folds", n_folds=2)
    assert folded["protocol"] == "slice-random"
    assert folded["models"]["flat"]["song"]["n"] > len(corpus.songs)
    assert "these figures are too good" in render(folded)
