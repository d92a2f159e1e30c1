"""The command line as a user meets it: help at once, exit statuses, results on stdout and nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hgenre
from hgenre.bundle import Bundle
from hgenre.data.manifest import Manifest
from hgenre.shipped import shipped_bundles
from tests.conftest import GENRES, Finished

HEAVY = [
    *("av", "flax", "h5py", "jax", "librosa", "matplotlib", "numpy", "optax", "pandas", "scipy", "sklearn"),
    *("soundfile", "xgboost"),
]
COMMANDS = [
    "predict",
    "index",
    "import-features",
    "train-tree",
    "train",
    "cross-validate",
    "evaluate",
    "why",
    "forecast",
    "leak",
    "ablate",
    "baselines",
    "reproduce",
    "pictures",
    "inspect",
    "models",
    "doctor",
    "demo-corpus",
    "features",
]
LOADED = "import json, sys; print(json.dumps([name for name in sys.argv[1:] if name in sys.modules]))"


def loaded_after(code: str, names: list[str]) -> list[str]:
    """Which of these modules a new process holds once it has run the code, whose output is thrown away."""
    quiet = f"import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()):\n    {code}\n{LOADED}"
    done = subprocess.run([sys.executable, "-c", quiet, *names], capture_output=True, text=True, check=True)
    return list(json.loads(done.stdout))


def test_help_loads_nothing_heavy() -> None:
    code = "from hgenre.cli.commands import app; app(['--help'], standalone_mode=False)"
    assert loaded_after(code, HEAVY) == []


def test_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import hgenre", HEAVY) == []


def test_every_public_name_is_there() -> None:
    for name in hgenre.__all__:
        assert getattr(hgenre, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'hgenre' has no attribute 'nosuch'"):
        hgenre.nosuch  # noqa: B018


def test_help_names_every_command(hgenre: Callable[..., Finished]) -> None:
    done = hgenre("--help")
    assert done.status == 0
    assert all(f" {command} " in done.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(hgenre: Callable[..., Finished], command: str) -> None:
    done = hgenre(command, "--help")
    assert done.status == 0
    assert f"Usage: hgenre {command}" in done.out
    assert done.err == ""


@pytest.mark.parametrize("arguments", [["nosuch"], ["predict"], ["inspect"], ["predict", "a.wav", "--route", "best"]])
def test_wrong_usage_has_status_2_and_no_output(hgenre: Callable[..., Finished], arguments: list[str]) -> None:
    done = hgenre(*arguments)
    assert (done.status, done.out) == (2, "")
    assert "Usage: hgenre" in done.err


def test_inspect_shows_the_tree_and_what_it_knows(hgenre: Callable[..., Finished], bundle_dir: Path) -> None:
    done = hgenre("inspect", bundle_dir)
    assert (done.status, done.err) == (0, "")
    assert "digests verified" in done.out
    assert "├── [percussive]\n│   ├── clatterbop\n│   └── pebbleskip\n└── [drone]" in done.out
    assert re.search(r"^route +soft/slice/majority$", done.out, re.MULTILINE)
    assert re.search(
        r"^net percussive short_chunk, widths \(4, 8\), dropout 0\.\d+, [\d,]+ numbers, T \d", done.out, re.MULTILINE
    )
    assert re.search(r"^tree +\d+\.\d% of \d+ songs \[", done.out, re.MULTILINE)


def test_inspect_as_json(hgenre: Callable[..., Finished], bundle_dir: Path, bundle: Bundle) -> None:
    done = hgenre("inspect", bundle_dir, "--json")
    assert (done.status, done.err) == (0, "")
    record = json.loads(done.out)
    assert record["labels"] == sorted(GENRES)
    assert record["digest"] == bundle.digest
    assert record["path"] == str(bundle_dir)
    assert set(record["nets"]) == {"root", "percussive", "drone"}
    assert record["n_songs_seen"] == len(bundle.songs_seen)
    assert record["route"] == {"decoder": "soft", "unit": "slice", "aggregation": "majority"}


def test_a_damaged_bundle_is_named(hgenre: Callable[..., Finished], bundle_dir: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle_dir, broken)
    weights = bytearray((broken / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (broken / "weights.safetensors").write_bytes(weights)
    done = hgenre("inspect", broken)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(f"hgenre: {broken / 'weights.safetensors'} does not have the sha256 that manifest.json")
    (broken / "manifest.json").write_text("{")
    for command in (["inspect", broken], ["predict", "a.wav", "--model", broken]):
        done = hgenre(*command)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith(f"hgenre: {broken / 'manifest.json'} cannot be read: ")


def test_models_lists_the_shipped_ones(hgenre: Callable[..., Finished]) -> None:
    assert json.loads(hgenre("models", "--json").out) == {n: str(path) for n, path in shipped_bundles().items()}
    done = hgenre("models")
    assert done.status == 0
    assert [line.split()[0] for line in done.out.splitlines()] == list(shipped_bundles())


def test_doctor_finds_a_working_installation(hgenre: Callable[..., Finished], cache_dir: Path) -> None:
    done = hgenre("doctor", "--json")
    assert done.status == 0
    found = json.loads(done.out)
    assert found["problems"] == []
    assert found["places"]["cache"] == str(cache_dir)
    assert found["versions"]["jax"]
    assert set(found["decoders"]) == {"soundfile", "PyAV"}
    assert found["devices"]
    assert "decoders\n  soundfile" in hgenre("doctor").out


def test_doctor_names_what_is_missing(hgenre: Callable[..., Finished], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    done = hgenre("doctor")
    assert done.status == 1
    assert "missing: PyAV cannot be loaded" in done.err
    assert "`pip install --force-reinstall av`" in done.err


@pytest.fixture
def unseen_csv(corpus: Manifest, bundle: Bundle, tmp_path: Path) -> Path:
    """The corpus' manifest beside its songs, with what the tiny tree has seen in split train and the others in test."""
    from hgenre.data.manifest import with_split, write_manifest

    seen = {song.song_id for song in bundle.songs_seen}
    split = {song.song_id: "train" if song.song_id in seen else "test" for song in corpus.songs}
    path = tmp_path / "manifest.csv"
    write_manifest(Manifest(with_split(corpus.songs, split), corpus.root), path)
    return path


def test_evaluate_scores_unseen_songs(hgenre: Callable[..., Finished], bundle_dir: Path, unseen_csv: Path) -> None:
    options = ["--manifest", unseen_csv, "--split", "test", "--route", "hard", "--unit", "song"]
    done = hgenre("evaluate", bundle_dir, *options, "--json")
    assert (done.status, done.err) == (0, "")
    result = json.loads(done.out)
    assert result["route"] == {"decoder": "hard", "unit": "song", "aggregation": "majority"}
    tables = hgenre("evaluate", bundle_dir, *options)
    assert tables.status == 0
    assert f"tiny, route hard/song/majority, {result['n_songs']} songs" in tables.out
    assert f"songs   {result['song']['accuracy']:.1%}" in tables.out
    ece = result["confidence"]["ece"]
    assert f"ECE (calibration error) {ece['value']:.1%}, ECE by noise {ece['calibrated']:.1%}, " in tables.out
    assert f"ECE less noise {ece['corrected']:.1%}  [{ece['interval'][0]:.1%}, " in tables.out
    assert "Brier score " not in tables.out
    assert "warning: hard routing gives the probabilities of the groups that slices enter, " in tables.out
    assert f"{1 - result['song']['accuracy']:.1%} of all; area under" in tables.out
    assert all(tables.out.count(genre) == 3 for genre in GENRES)  # no name is cut where no terminal sets a width


@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect", "forecast"])
def test_a_runs_folder_stands_for_its_bundle(
    hgenre: Callable[..., Finished], bundle_dir: Path, unseen_csv: Path, corpus: Manifest, command: str
) -> None:
    asked: dict[str, Callable[[Path], list[Any]]] = {
        "predict": lambda model: [corpus.audio_path(corpus.songs[0]), "--model", model],
        "evaluate": lambda model: [model, "--manifest", unseen_csv, "--split", "test"],
        "inspect": lambda model: [model],
        "forecast": lambda model: [bundle_dir.parent / "results.json", "--tree", model],
    }
    done = hgenre(command, *asked[command](bundle_dir.parent), "--json")
    assert done.status == 0
    assert done == hgenre(command, *asked[command](bundle_dir), "--json")


def test_evaluate_judges_mistakes_under_a_taxonomy(
    hgenre: Callable[..., Finished], bundle_dir: Path, unseen_csv: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f"groups = [{list(GENRES[:2])}, {{ drone = {list(GENRES[2:])} }}]", encoding="utf-8")
    options = ["--manifest", unseen_csv, "--split", "test", "--taxonomy", own]
    found = json.loads(hgenre("evaluate", bundle_dir, *options, "--json").out)["taxonomy"]
    assert (found["name"], found["height"]) == ("own", 2)
    tables = hgenre("evaluate", bundle_dir, *options).out
    assert "\nlog-loss " in tables
    assert "of least expected cost" not in hgenre("evaluate", bundle_dir, *options, "--route", "hard").out
    for name, row in (("answers", found), ("of least expected cost", found["least_cost"])):
        severity = "-" if row["severity"] is None else f"{row['severity']:.2f} of 2"
        cells = [name, *(f"{row[k]:.1%}" for k in ("accuracy", "hP", "hR", "hF")), severity, f"{row['distance']:.2f}"]
        assert " ".join(cells) in " ".join(tables.replace("│", "").split())
    missing = hgenre("evaluate", bundle_dir, "--manifest", unseen_csv, "--taxonomy", "gtzan10-fma")
    assert (missing.status, missing.out) == (2, "")
    assert "groups: lacks clatterbop, fogsong, moorhum, pebbleskip, which the model answers" in missing.err


def test_evaluate_refuses_seen_songs_unless_told_to(
    hgenre: Callable[..., Finished], bundle_dir: Path, bundle: Bundle, unseen_csv: Path
) -> None:
    done = hgenre("evaluate", bundle_dir, "--manifest", unseen_csv)
    assert (done.status, done.out) == (1, "")
    n_seen = len(bundle.songs_seen)
    assert done.err.startswith(f"hgenre: model tiny has seen {n_seen} of the 24 songs, among them ")
    allowed = hgenre("evaluate", bundle_dir, "--manifest", unseen_csv, "--allow-seen")
    assert allowed.status == 0
    assert f"{n_seen} of these songs were seen in training" in " ".join(allowed.out.split())


def test_evaluate_names_the_splits_there_are(
    hgenre: Callable[..., Finished], bundle_dir: Path, unseen_csv: Path
) -> None:
    done = hgenre("evaluate", bundle_dir, "--manifest", unseen_csv, "--split", "valid")
    assert (done.status, done.out) == (2, "")
    told = " ".join(done.err.replace("│", "").split())
    assert "has split 'valid'; found are 'test', 'train'" in told


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(130)])
def test_an_interrupt_leaves_at_once(
    end: BaseException, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import hgenre.cli.commands

    class Left(Exception):
        pass

    def interrupted(prog_name: str) -> None:
        print("half a result")
        raise end

    def leave(status: int) -> None:
        raise Left(status)

    monkeypatch.setattr(hgenre.cli.commands, "app", interrupted)
    monkeypatch.setattr(os, "_exit", leave)
    with pytest.raises(Left, match=r"^130$"):
        hgenre.cli.main()
    assert capfd.readouterr() == ("half a result\n", "hgenre: stopped\n")
