"""The demo corpus on disk, and the command that writes it."""

import csv
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from hgenre.cli.demo_corpus import demo_corpus
from hgenre.demo.corpus import InventedSong, artist_name, invented_songs, write_corpus
from hgenre.demo.invented_genres import STYLES
from hgenre.errors import ManifestError


@pytest.fixture(scope="module")
def songs() -> list[InventedSong]:
    return list(invented_songs(4, seed=0))


@pytest.fixture(scope="module")
def corpus(songs: list[InventedSong], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(songs, tmp_path_factory.mktemp("corpora") / "demo").parent


def test_folders_are_genres_and_nothing_is_left_beside(corpus: Path) -> None:
    assert sorted(os.listdir(corpus)) == sorted([*STYLES, "manifest.csv"])
    assert os.listdir(corpus.parent) == ["demo"]


def test_manifest_tells_the_truth(corpus: Path, songs: list[InventedSong]) -> None:
    with (corpus / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(songs) == 32
    for row, song in zip(rows, songs, strict=True):
        assert row["song_id"] == song.song_id
        assert row["path"] == f"{song.genre}/{song.song_id}.{song.form}"
        assert row["genre"] == song.genre
        assert row["artist"] == song.artist
        assert row["sha256"] == hashlib.sha256((corpus / row["path"]).read_bytes()).hexdigest()
        assert float(row["duration_s"]) == pytest.approx(len(song.waveform) / song.sample_rate_hz, abs=1e-3)
        assert int(row["sample_rate_hz"]) == song.sample_rate_hz


@pytest.mark.parametrize(("form", "container"), [("wav", "WAV"), ("flac", "FLAC"), ("ogg", "OGG"), ("mp3", "MP3")])
def test_every_form_holds_the_song(corpus: Path, songs: list[InventedSong], form: str, container: str) -> None:
    own = [song for song in songs if song.form == form]
    assert len(own) == 8
    for song in own:
        path = corpus / song.genre / f"{song.song_id}.{form}"
        assert soundfile.info(path).format == container
        decoded, sample_rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
        assert sample_rate_hz == song.sample_rate_hz
        assert decoded.shape[1] == song.waveform.shape[1]
        if form in ("wav", "flac"):
            np.testing.assert_allclose(decoded, song.waveform, atol=1 / 32768)
        else:
            assert len(decoded) == pytest.approx(len(song.waveform), abs=2304)  # two MP3 frames of padding
            loudness, wanted = np.sqrt(np.mean(decoded**2)), np.sqrt(np.mean(song.waveform**2))
            assert loudness == pytest.approx(wanted, rel=0.1)


def test_a_folder_with_files_is_refused_and_left_alone(songs: list[InventedSong], tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    with pytest.raises(ManifestError, match=rf"^{re.escape(str(tmp_path))}: .*needs a new or empty folder.*remove"):
        write_corpus(songs, tmp_path)
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_an_empty_folder_is_filled(songs: list[InventedSong], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    manifest_path = write_corpus(songs[:1], tmp_path / "empty")
    assert manifest_path == tmp_path / "empty" / "manifest.csv"
    assert manifest_path.is_file()


def test_a_folder_that_cannot_be_made_is_named(songs: list[InventedSong], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ManifestError, match=r"file/demo: the demo corpus cannot be written \(Not a directory\); give"):
        write_corpus(songs, tmp_path / "file" / "demo")


def test_an_interrupted_corpus_leaves_nothing(songs: list[InventedSong], tmp_path: Path) -> None:
    def interrupted() -> Iterator[InventedSong]:
        yield songs[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_corpus(interrupted(), tmp_path / "demo")
    assert os.listdir(tmp_path) == []


def test_another_seed_shares_no_song_and_no_artist() -> None:
    names = [
        {name for song in invented_songs(1, seed) for name in (song.song_id, song.artist)} for seed in (0, 1, 10, 11)
    ]
    assert len(set.union(*names)) == sum(map(len, names)) == 4 * 2 * len(STYLES)
    assert {"clatterbop.00000", "Amber Anvils"} <= names[0]
    assert {"clatterbop.11.00000", "Amber Anvils (seed 11)"} <= names[3]


def test_no_two_artists_share_a_name() -> None:
    assert len({artist_name(number) for number in range(1000)}) == 1000


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(demo_corpus)
    return app


def test_command_prints_the_manifest_and_nothing_else(app: typer.Typer, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "demo"), "--songs-per-genre", "1", "--seed", "3"])
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'demo' / 'manifest.csv'}\n"
    assert "synthesising" in result.stderr
    assert len(list((tmp_path / "demo").glob("*/*"))) == 8


@pytest.mark.parametrize("options", [["--songs-per-genre", "0"], ["--seed", "-1"]])
def test_command_refuses_numbers_out_of_range(app: typer.Typer, tmp_path: Path, options: list[str]) -> None:
    result = CliRunner().invoke(app, [str(tmp_path / "demo"), *options])
    assert result.exit_code == 2
    assert options[0] in result.stderr
    assert not (tmp_path / "demo").exists()
