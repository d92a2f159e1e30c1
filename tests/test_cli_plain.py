"""The command line read without typer asks for the same as typer's, and leaves to it what it does not know."""

from pathlib import Path
from typing import Any

import pytest

import hgenre.cli.answers
from hgenre.cli.commands import app
from hgenre.cli.plain import plain_prediction

PLAIN = [
    ["a.mp3"],
    ["a.mp3", "b.mp3", "--json"],
    ["--csv", "a.mp3"],
    ["--json", "--timeline", "a.mp3", "--json"],
    ["a.mp3", "--model", "some/bundle", "--timeline"],
    ["--model", "one", "a.mp3", "--model", "two"],
    ["folder", "a.mp3"],
    ["a b.mp3", "caf\udce9.wav"],
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("folder/c.wav", "folder/deep/d.flac", "folder/notes.txt", "folder/.hidden.wav"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("empty").mkdir()


@pytest.mark.parametrize("arguments", PLAIN, ids=" ".join)
def test_it_reads_what_typer_reads(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def print_answers(*asked: Any, route: Any, target_accuracy: Any, coverage: Any) -> int:
        assert target_accuracy is coverage is None
        seen.append(asked)
        return 0

    monkeypatch.setattr(hgenre.cli.answers, "print_answers", print_answers)
    app(["predict", *arguments], standalone_mode=False)
    plain = plain_prediction(["predict", *arguments])
    assert plain is not None
    assert seen == [tuple(plain)]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--help"],
        ["predict"],
        ["predict", "--help"],
        ["predict", "a.mp3", "--help"],
        ["predict", "a.mp3", "--json", "--csv"],
        ["predict", "a.mp3", "--model"],
        ["predict", "a.mp3", "--model", "--json"],
        ["predict", "a.mp3", "--model=other"],
        ["predict", "a.mp3", "--route", "hard"],
        ["predict", "a.mp3", "--target-accuracy", "0.9"],
        ["predict", "a.mp3", "--coverage=0.9"],
        ["predict", "a.mp3", "--no-timeline"],
        ["predict", "a.mp3", "-v"],
        ["predict", "--", "-a.mp3"],
        ["predict", "-"],
        ["predict", ""],
        ["predict", "empty"],
        ["index", "folder"],
    ],
    ids=" ".join,
)
def test_the_rest_is_left_to_typer(arguments: list[str]) -> None:
    assert plain_prediction(arguments) is None
