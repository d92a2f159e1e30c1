"""``hgenre features``: a table from a folder, bad files named and the rest done, and two tables compared."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hgenre.data.feature_table import open_table
from hgenre.features.table import TABLE_FEATURES
from tests.audio_files import tones, write_sound
from tests.conftest import Finished, start_hgenre

Run = Callable[..., Finished]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two genres: three sound songs of 1 s at two rates, and a text that calls itself sound."""
    for i, (name, rate_hz) in enumerate([("slow/a.wav", 22050), ("slow/b.flac", 16000), ("fast/c.wav", 22050)]):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        write_sound(tmp_path / "music" / name, tones(1.0 + i / 10, rate_hz), rate_hz)
    (tmp_path / "music" / "fast" / "d.wav").write_text("no sound")
    return tmp_path / "music"


def test_a_folder_becomes_a_table_and_what_is_bad_is_named(folder: Path, tmp_path: Path, hgenre: Run) -> None:
    ended = hgenre("features", "table", folder, "--out", tmp_path / "t.csv")
    assert ended.status == 1
    assert ended.out == f"3 rows of 3 of 4 songs: wrote {tmp_path / 't.csv'}\n"
    assert "d.wav: " in ended.err
    manifest, source = open_table(tmp_path / "t.csv")
    assert {song.song_id: song.genre for song in manifest.songs} == {"a": "slow", "b": "slow", "c": "fast"}
    assert source.errors == {}
    assert source.frames("b").shape == (len(TABLE_FEATURES), 1)


def test_slices_as_json_and_a_comparison_with_itself(folder: Path, tmp_path: Path, hgenre: Run) -> None:
    out = tmp_path / "new" / "t.csv"
    ended = hgenre("features", "table", folder / "slow" / "a.wav", "--out", out, "--slice-s", 0.5, "--json")
    assert ended.status == 0
    assert json.loads(ended.out) == {"table": str(out), "n_rows": 2, "n_songs": 1, "faults": []}
    told = hgenre("features", "compare", out, out, "--json")
    report = json.loads(told.out)
    assert (told.status, report["n_songs"], report["missing"]) == (0, 1, [])
    assert report["columns"] == {name: {"median": 0.0, "largest": 0.0} for name in TABLE_FEATURES}
    text = hgenre("features", "compare", out, out).out.splitlines()
    assert text[0].split() == ["column", "median", "largest"]
    assert text[-1] == f"1 songs compared; differences are shares of a column's standard deviation in {out}"


def test_nothing_is_written_where_nothing_is_sound(folder: Path, tmp_path: Path, hgenre: Run) -> None:
    bad = folder / "fast" / "d.wav"
    ended = hgenre("features", "table", bad, "--out", tmp_path / "t.csv", "--json")
    [fault] = json.loads(ended.out)["faults"]
    assert (ended.status, fault["path"], fault["kind"]) == (1, str(bad), "unreadable")
    assert not (tmp_path / "t.csv").exists()


def test_wrong_usage_is_told(folder: Path, tmp_path: Path, hgenre: Run) -> None:
    ended = hgenre("features", "table", folder, "--out", tmp_path)
    assert ended.err == f"hgenre: {tmp_path}: is a folder; needed is a file name, such as {tmp_path / 'songs.csv'}\n"
    ended = hgenre("features", "table", folder, "--out", tmp_path / "t.csv", "--slice-s", 0.01)
    assert ended.status == 2
    assert ended.err == "hgenre: --slice-s: found 0.01 s, needed 0.2 s or more\n"
    ended = hgenre("features", "compare", tmp_path / "none.csv", tmp_path / "none.csv")
    assert ended.status == 1
    assert "none.csv: cannot be read as a CSV table" in ended.err
    table = tmp_path / "t.csv"
    table.write_text("filename,p,q,label\na.wav,1,2,x\nb.wav,1,2,x\n")
    other = tmp_path / "u.csv"
    other.write_text("filename,p,label\na.wav,2,x\n")
    assert hgenre("features", "compare", table, other).out.splitlines()[-2:] == [
        "1 songs missing there, or of other rows: b",
        "1 columns of ours alone: q",
    ]


def test_an_interrupt_leaves_no_file(tmp_path: Path) -> None:
    long = write_sound(tmp_path / "long.wav", tones(1.0, 22050), 22050)
    process = start_hgenre("features", "table", *[long] * 400, "--out", tmp_path / "out" / "t.csv")
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().endswith("hgenre: stopped")
    assert "Traceback" not in err
    assert list((tmp_path / "out").iterdir()) == []
