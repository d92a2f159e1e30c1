"""Files that programs are kept in: whole or not there, and never more than fit."""

import os
from pathlib import Path

import pytest

import hgenre.compiled.kept as kept
from hgenre.compiled.kept import keep, program_path, read_kept


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_what_is_kept_is_read_and_what_is_damaged_is_not(tmp_path: Path) -> None:
    path = tmp_path / "programs" / "a"
    assert read_kept(path) is None
    keep(path, b"program")
    assert read_kept(path) == b"program"
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1], whole[1:], whole + b"x", b"x" + whole[1:], whole[:-1] + b"x"):
        path.write_bytes(damaged)
        assert read_kept(path) is None
    keep(path, b"another")
    assert read_kept(path) == b"another"
    assert names(path.parent) == ["a"]


def test_every_key_has_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program_path(tmp_path, {"a": 1, "b": 2}, ".x")
    assert path == program_path(tmp_path, {"b": 2, "a": 1}, ".x")
    assert path != program_path(tmp_path, {"a": 1, "b": 3}, ".x")
    assert path.suffix == ".x"
    monkeypatch.setattr(kept, "PROGRAM_VERSION", kept.PROGRAM_VERSION + 1)
    assert path != program_path(tmp_path, {"a": 1, "b": 2}, ".x")


def test_the_least_used_go_when_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_KEPT_BYTES", 3 * (32 + 10))
    for age_s, name in ((500, "oldest"), (400, "older"), (300, "old")):
        keep(tmp_path / name, bytes(10))
        times_s = os.stat(tmp_path / name).st_mtime - age_s
        os.utime(tmp_path / name, (times_s, times_s))
    assert read_kept(tmp_path / "oldest") == bytes(10)
    (tmp_path / "folder").mkdir()
    keep(tmp_path / "new", bytes(10))
    assert names(tmp_path) == ["folder", "new", "old", "oldest"]


def test_folder_that_cannot_be_written_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "programs").write_text("in the way")
    keep(tmp_path / "programs" / "a", b"program")
    assert (tmp_path / "programs").read_text() == "in the way"
    assert read_kept(tmp_path / "programs" / "a") is None
    (tmp_path / "taken").mkdir()
    keep(tmp_path / "taken", b"program")
    assert names(tmp_path) == ["programs", "taken"]
