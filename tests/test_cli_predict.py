"""``hgenre predict`` as a user meets it."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hgenre.bundle import Bundle, save_bundle
from hgenre.data.manifest import Manifest
from hgenre.predict import STEADY, Model, SongAnswer
from hgenre.tree.calibration import Calibration
from hgenre.tree.evidence import SongEvidence
from tests.audio_files import cut, tones, write_sound
from tests.conftest import Finished, start_hgenre

Run = Callable[..., Finished]


@pytest.fixture(scope="module")
def shelf(corpus: Manifest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 20 good songs and 6 that cannot be judged, some deeper down, with files that are no audio by name."""
    folder = tmp_path_factory.mktemp("shelf")
    for i, song in enumerate(corpus.songs[:20]):
        place = folder / f"disc {i % 2}"
        place.mkdir(exist_ok=True)
        shutil.copy(corpus.audio_path(song), place / f"{i:02}{Path(song.path).suffix}")
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    (folder / "disc 0" / "03 empty.wav").write_bytes(b"")
    (folder / "disc 0" / "05 text.mp3").write_text("twelve bars of blues\n" * 99)
    (folder / "disc 1" / "04 headerless.wav").write_bytes((noise * 32768).astype("<i2").tobytes())
    write_sound(folder / "a clip.wav", noise[:1600], 8000)
    write_sound(folder / "nan.wav", np.full(8000, np.nan, np.float32), 8000, "FLOAT")
    write_sound(folder / "silent.wav", np.zeros(17_000), 8000)
    (folder / "cover.jpg").write_bytes(b"\xff\xd8")
    (folder / "._hidden.mp3").write_bytes(b"\0\5\x16\7")
    (folder / "album.mp3").mkdir()
    return folder


def test_a_reader_that_leaves_early_ends_the_run_quietly(shelf: Path) -> None:
    process = start_hgenre("predict", str(shelf), "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=120) == 1
    assert "BrokenPipe" not in said
    assert "Traceback" not in said


FAULTS = {
    "a clip.wav": "too_short",
    "03 empty.wav": "empty",
    "05 text.mp3": "unreadable",
    "04 headerless.wav": "unreadable",
    "nan.wav": "non_finite",
    "silent.wav": "silent",
}


@pytest.fixture(scope="module")
def in_order(shelf: Path) -> list[Path]:
    wanted = (".wav", ".mp3", ".ogg", ".flac")
    found = [p for p in shelf.rglob("*") if p.suffix in wanted and p.is_file() and not p.name.startswith(".")]
    return sorted(found)


@pytest.fixture
def song(corpus: Manifest) -> Path:
    return corpus.audio_path(corpus.songs[0])


def test_json_lines_name_every_song_in_order(
    hgenre: Run, shelf: Path, bundle_dir: Path, in_order: list[Path], model: Model
) -> None:
    done = hgenre("predict", shelf, "--model", bundle_dir, "--json")
    assert done.status == 1
    records = [json.loads(line) for line in done.out.splitlines()]
    assert [record["path"] for record in records] == [str(path) for path in in_order]
    assert len(records) == 26
    for record, answer in zip(records, model.predict(in_order), strict=True):
        assert record == json.loads(json.dumps(answer.to_json()))
    faults = {Path(record["path"]).name: record["error"]["kind"] for record in records if "error" in record}
    assert faults == FAULTS


def test_text_names_answers_on_stdout_and_faults_on_stderr(
    hgenre: Run, shelf: Path, bundle_dir: Path, in_order: list[Path], model: Model
) -> None:
    done = hgenre("predict", shelf, "--model", bundle_dir)
    assert done.status == 1
    answers = [answer for answer in model.predict(in_order) if isinstance(answer, SongAnswer)]
    lines = done.out.splitlines()
    assert len(lines) == len(answers) == 20
    assert sum(line.startswith("not sure") for line in lines) < 10
    for line, answer in zip(lines, answers, strict=True):
        pattern = r"\w+ +\d+%   (percussive|drone) +\d+% › \w+ \d+%   [1-3] of 3 slices   "
        if answer.answer.kind == "abstain":
            pattern = f"not sure +{re.escape(STEADY)}   "
        assert re.fullmatch(pattern + re.escape(answer.path), line), line
    assert STEADY not in done.err
    for name in FAULTS:
        assert re.search(rf"^{re.escape(str(shelf))}.*{re.escape(name)}: \S", done.err, re.MULTILINE)
    assert done.err.endswith("hgenre: 6 of 26 files have no answer\n")


def test_csv_has_a_row_a_song(hgenre: Run, shelf: Path, bundle_dir: Path, in_order: list[Path], model: Model) -> None:
    done = hgenre("predict", shelf, "--model", bundle_dir, "--csv")
    assert done.status == 1
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert list(rows[0]) == [
        *("path", "genre", "confidence", "answer", "kind", "n_slices", "duration_s", "truncated"),
        *model.genres,
        *("warnings", "error", "message"),
    ]
    assert [row["path"] for row in rows] == [str(path) for path in in_order]
    for row in rows:
        assert None not in row
        if kind := FAULTS.get(Path(row["path"]).name):
            assert row["error"] == kind
            assert row["message"]
            assert row["genre"] == row["confidence"] == ""
        else:
            assert row["error"] == row["message"] == ""
            claim = ("", "abstain") if row["warnings"] == STEADY else (row["genre"], "genre")
            assert (row["answer"], row["kind"]) == claim
            assert row["confidence"] == row[row["genre"]]
            assert sum(float(row[genre]) for genre in model.genres) == pytest.approx(1, abs=1e-5)
            assert (row["n_slices"], row["truncated"]) == ("3", "False")


def test_timelines_have_a_row_a_slice(hgenre: Run, song: Path, bundle_dir: Path) -> None:
    missing = song.with_name("missing.wav")
    files = [song, missing, "--model", bundle_dir, "--timeline"]
    [record, fault] = [json.loads(line) for line in hgenre("predict", *files, "--json").out.splitlines()]
    assert fault["error"]["kind"] == "unreadable"
    rows = list(csv.DictReader(io.StringIO(hgenre("predict", *files, "--csv").out)))
    facts = ["answer", "kind", "start_s", "warnings", "error", "message"]
    assert list(rows[0]) == ["path", "genre", "confidence", *facts]
    told = [(float(row["start_s"]), row["genre"], float(row["confidence"])) for row in rows[:-1]]
    assert told == [(one["start_s"], one["genre"], round(one["p"], 6)) for one in record["slices"]]
    assert (rows[-1]["path"], rows[-1]["error"]) == (str(missing), "unreadable")
    lines = hgenre("predict", *files).out.splitlines()
    assert len(lines) == 1 + len(record["slices"]) == 4
    for line, one in zip(lines[1:], record["slices"], strict=True):
        assert line.split() == [f"0:{one['start_s']:04.1f}", one["genre"], f"{one['p']:.0%}"]


def test_routes_are_the_users_choice(hgenre: Run, song: Path, bundle_dir: Path) -> None:
    def probabilities(*options: str) -> list[float]:
        done = hgenre("predict", song, "--model", bundle_dir, "--json", *options)
        assert done.status == 0
        return list(json.loads(done.out)["probabilities"].values())

    assert sum(probabilities()) == pytest.approx(1)
    entered = probabilities("--route", "hard", "--unit", "song", "--vote", "mean_probability")
    assert sorted(entered)[:2] == [0, 0]
    assert 0.5 <= sum(entered) < 1


@pytest.fixture(scope="module")
def careful_dir(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose evidence was right by group at 0.9, and wrong by genre."""
    evidence = tuple(SongEvidence(0.02, (0.9, 0.0), 1) for _ in range(30))
    calibration = Calibration(song_temperature=2.0, evidence=evidence)
    place = tmp_path_factory.mktemp("careful") / "bundle"
    save_bundle(replace(bundle, calibration=calibration), place)
    return place


@pytest.mark.parametrize("option", ["--target-accuracy", "--coverage"])
def test_honest_answers_read_alike_in_every_form(
    hgenre: Run, careful_dir: Path, shelf: Path, in_order: list[Path], option: str
) -> None:
    files = [*in_order[-8:], shelf / "missing.wav"]
    ask = ["predict", *files, "--model", careful_dir, option, 0.9]
    *records, fault = [json.loads(line) for line in hgenre(*ask, "--json").out.splitlines()]
    assert fault["error"]["kind"] == "unreadable"
    *rows, last = csv.DictReader(io.StringIO(hgenre(*ask, "--csv").out))
    assert list(last)[:6] == ["path", "genre", "confidence", "answer", "kind", "n_slices"]
    assert (last["answer"], last["kind"], last["error"]) == ("", "", "unreadable")
    as_text = hgenre(*ask)
    good = [record for record in records if "error" not in record]
    assert len(good) == len(as_text.out.splitlines()) > 4
    for record, line in zip(good, as_text.out.splitlines(), strict=True):
        [row] = [row for row in rows if row["path"] == record["path"]]
        claim, p = record["answer"], record["probabilities"]
        genres = claim["genres"]
        assert (row["genre"], row["kind"]) == (record["genre"], claim["kind"])
        assert row["answer"] == (claim["label"] or "/".join(genres))
        assert record["genre"] == max(p, key=p.__getitem__)
        if claim["kind"] == "abstain":
            assert line == f"not sure            {record['warnings'][-1]}   {record['path']}"
            assert record["warnings"][-1] not in as_text.err
            continue
        name = "/".join(genres) + (f" ({claim['label']})" if claim["kind"] == "group" else "")
        votes = f"{sum(record['votes'][genre] for genre in genres)} of {record['n_slices']} slices"
        way = " › ".join(f"{step} {p:.0%}" for step, p in claim["path"][1:])
        facts = [f"{name:<12} {sum(p[genre] for genre in genres):>4.0%}", way, votes, record["path"]]
        assert line == "   ".join(filter(None, facts))
    assert {record["answer"]["kind"] for record in good} & {"group", "set"}
    timeline = csv.DictReader(io.StringIO(hgenre(*ask, "--csv", "--timeline").out))
    assert list(next(timeline))[:6] == ["path", "genre", "confidence", "answer", "kind", "start_s"]


@pytest.mark.parametrize("option", ["--target-accuracy", "--coverage"])
def test_what_is_out_of_reach_is_told_once(hgenre: Run, careful_dir: Path, corpus: Manifest, option: str) -> None:
    files = [corpus.audio_path(song) for song in corpus.songs[:3]]
    ask = ["predict", *files, "--model", careful_dir, option, 0.99]
    [reason] = {warning for line in hgenre(*ask, "--json").out.splitlines() for warning in json.loads(line)["warnings"]}
    done = hgenre(*ask)
    assert (done.status, done.err) == (0, f"hgenre: {reason}\n")
    assert done.out.splitlines() == [f"not sure            {path}" for path in files]
    [in_csv] = {row["warnings"] for row in csv.DictReader(io.StringIO(hgenre(*ask, "--csv").out))}
    assert in_csv == reason


def test_a_set_stands_without_the_way_of_the_vote(
    hgenre: Run, bundle: Bundle, model: Model, song: Path, tmp_path: Path
) -> None:
    [answer] = model.predict(song)
    assert isinstance(answer, SongAnswer)
    lowest, *three = sorted(answer.probabilities, key=answer.probabilities.__getitem__)
    between = (answer.probabilities[lowest] + answer.probabilities[three[0]]) / 2
    evidence = (SongEvidence(between, (0.9, 0.0), 1),) * 30
    assert bundle.calibration
    save_bundle(replace(bundle, calibration=replace(bundle.calibration, evidence=evidence)), tmp_path / "sets")
    done = hgenre("predict", song, "--model", tmp_path / "sets", "--coverage", 0.9)
    genres = "/".join(genre for genre in model.genres if genre != lowest)
    assert re.fullmatch(rf"{genres} +\d+%   \d of {answer.n_slices} slices   {re.escape(str(song))}\n", done.out)


@pytest.mark.parametrize("form", ["mp3", "wav", "ogg"])
def test_a_truncated_file_is_answered_with_a_warning(hgenre: Run, bundle_dir: Path, tmp_path: Path, form: str) -> None:
    damaged = cut(write_sound(tmp_path / f"song.{form}", tones(6.0)), 0.6)
    done = hgenre("predict", damaged, "--model", bundle_dir)
    assert done.status == 0
    assert len(done.out.splitlines()) == 1
    assert f"{damaged}: warning: truncated: " in done.err
    record = json.loads(hgenre("predict", damaged, "--model", bundle_dir, "--json").out)
    assert record["truncated"] is True
    assert record["warnings"][0].startswith("truncated: ")


def test_a_short_song_is_answered_with_a_warning(hgenre: Run, bundle_dir: Path, tmp_path: Path) -> None:
    short = write_sound(tmp_path / "short.wav", tones(0.7))
    done = hgenre("predict", short, "--model", bundle_dir)
    assert done.status == 0
    assert done.err == f"{short}: warning: shorter than one slice: repeated to fill it\n"


def test_names_need_no_encoding(hgenre: Run, song: Path, bundle_dir: Path, tmp_path: Path) -> None:
    for name in (b"caf\xe9.wav", "日本の歌 🎵.wav".encode(), b'line\nbreak, "quoted".wav'):
        text = os.path.join(tmp_path, os.fsdecode(name))
        shutil.copy(song, text)
        as_json = hgenre("predict", text, "--model", bundle_dir, "--json")
        assert as_json.status == 0
        assert as_json.out.isascii()
        assert json.loads(as_json.out)["path"] == text
        for options in ([], ["--csv"]):
            assert hgenre("predict", text, "--model", bundle_dir, *options).status == 0


def test_a_poor_terminal_gets_escapes_and_no_traceback(
    song: Path, bundle_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    with start_hgenre("predict", song, song.with_name("né.wav"), "--model", bundle_dir) as process:
        out, err = process.communicate()
    assert process.returncode == 1
    assert r" \u203a " in out
    assert r"n\xe9.wav: cannot be opened (No such file or directory)" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["missing.mp3"], 1, "missing.mp3: cannot be opened (No such file or directory); needed a readable audio file"),
        (["empty"], 2, "no file with an audio format's ending in empty"),
        (["a.wav", "--json", "--csv"], 2, "choose one of --json and --csv"),
        (["a.wav", "--model", "nosuch"], 1, "hgenre: no model 'nosuch': no such folder, and not among the shipped"),
        (["a.wav", "--model", "empty"], 1, "hgenre: empty holds no bundle: manifest.json is missing"),
        (["a.wav", "--target-accuracy", "high"], 2, "Invalid value for '--target-accuracy'"),
        (
            ["a.wav", "--target-accuracy", "2"],
            2,
            "hgenre: --target-accuracy: found 2.0, needed a share between 0 and 1",
        ),
        (
            ["a.wav", "--coverage", "0.9", "--target-accuracy", "0.9"],
            2,
            "hgenre: --coverage: asks for something else than a target accuracy does; choose one of them",
        ),
        (
            ["a.wav", "--coverage", "0.9", "--route", "hard"],
            2,
            "hgenre: --coverage: needs the probabilities of all gen",
        ),
        (
            ["a.wav", "--coverage", "0", "--target-accuracy", "1", "--route", "hard"],
            2,
            "hgenre: --target-accuracy: found 1.0, needed a share between 0 and 1 hgenre: --coverage: found 0.0, ",
        ),
        (["a.wav", "--vote", "loudest"], 2, "Invalid value for '--vote'"),
    ],
)
def test_what_cannot_be_done_is_named(
    hgenre: Run,
    bundle_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    status: int,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    model = [] if "--model" in arguments else ["--model", bundle_dir]
    done = hgenre("predict", *arguments, *model)
    assert (done.status, done.out) == (status, "")
    assert message in " ".join(done.err.replace("│", "").split())


def test_a_model_from_before_honest_answers_says_what_to_do(
    hgenre: Run, song: Path, bundle: Bundle, tmp_path: Path
) -> None:
    save_bundle(replace(bundle, calibration=None), tmp_path / "old")
    done = hgenre("predict", song, "--model", tmp_path / "old", "--target-accuracy", 0.9)
    assert (done.status, done.out) == (1, "")
    assert done.err == (
        "hgenre: model tiny holds no evidence of held-out songs, so it can be asked for no target accuracy; train it "
        "again with this hgenre, or leave that out\n"
    )


def test_prediction_loads_no_training_library(song: Path, bundle_dir: Path, hgenre: Run) -> None:
    hgenre("predict", song, "--model", bundle_dir)  # so that the program is there already
    code = (
        "import sys\nfrom hgenre.cli.commands import app\n"
        f"app(['predict', {str(song)!r}, '--model', {str(bundle_dir)!r}], standalone_mode=False)\n"
        "heavy = 'flax h5py librosa matplotlib optax pandas sklearn'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_interrupt_ends_it_quietly(song: Path, bundle_dir: Path) -> None:
    process = start_hgenre("predict", *[song] * 5000, "--model", bundle_dir, "--json")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    # Not communicate, which passes over what came along with the first line.
    out = process.stdout.read()
    assert process.stderr is not None
    err = process.stderr.read()
    assert process.wait(timeout=60) == 130
    process.stdout.close()
    process.stderr.close()
    assert "Traceback" not in err
    assert "Exception" not in err
    lines = [first, *out.splitlines()]
    assert len(lines) < 5000
    assert all(json.loads(line)["path"] == str(song) for line in lines)


def test_a_reader_that_leaves_ends_it_quietly(song: Path, bundle_dir: Path) -> None:
    process = start_hgenre("predict", *[song] * 5000, "--model", bundle_dir)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 1
    assert "Traceback" not in err
    assert "Exception" not in err


def peak_mb(path: Path, bundle_dir: Path) -> float:
    """The most memory that a process which answers one file ever held."""
    code = (
        "import resource, sys\nfrom hgenre.cli.commands import app\napp(sys.argv[1:], standalone_mode=False)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, "predict", str(path), "--model", str(bundle_dir), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["duration_s"] == pytest.approx(soundfile.info(path).duration)
    kilobytes = int(done.stderr.splitlines()[-1])
    return kilobytes / 1024 if sys.platform != "darwin" else kilobytes / 1024**2


def test_an_hour_takes_hardly_more_memory_than_a_minute(bundle_dir: Path, tmp_path: Path) -> None:
    minute = np.random.default_rng(0).integers(-3000, 3000, 60 * 8000, dtype=np.int16)
    short = write_sound(tmp_path / "minute.wav", minute, 8000)
    with soundfile.SoundFile(tmp_path / "hour.wav", "w", 8000, 1, "PCM_16") as file:
        for _ in range(60):
            file.write(minute)
    assert peak_mb(tmp_path / "hour.wav", bundle_dir) - peak_mb(short, bundle_dir) < 200
