"""Indexing: three layouts, measured facts, faults that are listed, names that are known."""

import csv
import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner

from hgenre.cli.index import index as index_command
from hgenre.data.index import differences, index_folder, measure
from hgenre.data.known_faults import FMA_SHORT_CLIPS, GTZAN_DUPLICATES, gtzan_original, is_fma_short_clip, is_gtzan
from hgenre.data.layouts import list_songs, split_name
from hgenre.data.manifest import Manifest, Song, read_manifest, write_manifest
from hgenre.errors import ManifestError

APP = typer.Typer(pretty_exceptions_enable=False)
APP.command()(index_command)


def write_sound(path: Path, duration_s: float = 0.5, sample_rate_hz: int = 8000, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(seed).standard_normal(round(duration_s * sample_rate_hz))
    soundfile.write(path, samples, sample_rate_hz)


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """Two genres with a copy, a broken file, an empty one, and files that are not audio."""
    root = tmp_path / "music"
    write_sound(root / "rock" / "one.wav", seed=1)
    write_sound(root / "rock" / "album" / "two.flac", 0.25, 16000, seed=2)
    write_sound(root / "blues" / "copy.wav", seed=1)
    (root / "blues" / "broken.mp3").write_bytes(b"not sound at all" * 50)
    (root / "blues" / "empty.wav").write_bytes(b"")
    (root / "blues" / "cover.jpg").write_bytes(b"\xff\xd8")
    (root / "blues" / "._copy.wav").write_bytes(b"resource fork")
    return root


def test_a_folder_a_genre_is_measured(collection: Path) -> None:
    remarks: list[tuple[str, str]] = []
    manifest = index_folder(collection, on_song=lambda song, remark: remarks.append((song.song_id, remark)))
    found = {song.song_id: song for song in manifest.songs}
    assert list(found) == ["broken", "copy", "empty", "one", "two"]
    sha256 = hashlib.sha256((collection / "rock" / "one.wav").read_bytes()).hexdigest()
    assert found["copy"] == Song("copy", "blues/copy.wav", "blues", sha256=sha256, duration_s=0.5, sample_rate_hz=8000)
    assert found["one"] == replace(found["copy"], song_id="one", path="rock/one.wav", genre="rock", duplicate_of="copy")
    assert (found["two"].path, found["two"].genre) == ("rock/album/two.flac", "rock")
    assert (found["two"].duration_s, found["two"].sample_rate_hz) == (0.25, 16000)
    assert (found["broken"].fault, found["empty"].fault) == ("unreadable", "empty")
    assert found["broken"].sha256
    assert found["broken"].duration_s is None
    assert [song.song_id for song in manifest.usable] == ["copy", "one", "two"]
    assert [song_id for song_id, _ in remarks] == list(found)
    assert {song_id for song_id, remark in remarks if remark} == {"broken", "empty"}


def test_what_is_not_audio_is_told(collection: Path) -> None:
    assert list_songs(collection).skipped == (
        ("blues/._copy.wav", "not an audio file by its name"),
        ("blues/cover.jpg", "not an audio file by its name"),
    )


def test_without_checksums_no_duplicates_are_found(collection: Path) -> None:
    assert {(song.sha256, song.duplicate_of) for song in index_folder(collection, checksums=False).songs} == {("", "")}


def test_stems_that_stand_twice_become_paths(tmp_path: Path) -> None:
    for path in ("rock/a.wav", "pop/a.wav", "pop/b.wav", "pop/b.flac", "pop/c.wav"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    ids = {song.path: song.song_id for song in list_songs(tmp_path).manifest.songs}
    assert ids == {
        "rock/a.wav": "rock/a",
        "pop/a.wav": "pop/a",
        "pop/b.wav": "pop/b.wav",
        "pop/b.flac": "pop/b.flac",
        "pop/c.wav": "c",
    }


def test_genre_folders_inside_a_wrapper_and_audio_without_a_genre(tmp_path: Path) -> None:
    for path in ("Data/genres_original/rock/a.wav", "Data/images_original/rock/a.png", "Data/genres_original/b.wav"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    songs = list_songs(tmp_path).manifest.songs
    assert [(song.path, song.genre) for song in songs] == [
        ("Data/genres_original/b.wav", ""),
        ("Data/genres_original/rock/a.wav", "rock"),
    ]


def test_a_genre_with_a_wrappers_name_is_a_genre_among_others(tmp_path: Path) -> None:
    for path in ("audio/a.wav", "rock/b.wav"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).touch()
    assert [song.genre for song in list_songs(tmp_path).manifest.songs] == ["audio", "rock"]


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    write_sound(tmp_path / "elsewhere" / "a.wav")
    (tmp_path / "music" / "rock").mkdir(parents=True)
    (tmp_path / "music" / "pop").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "music" / "rock" / "again").symlink_to(tmp_path / "music")
    (tmp_path / "music" / "rock" / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    os.mkfifo(tmp_path / "music" / "rock" / "pipe.wav")
    manifest = index_folder(tmp_path / "music")
    assert [(song.path, song.fault) for song in manifest.songs] == [("pop/a.wav", ""), ("rock/gone.wav", "missing")]
    assert ("rock/pipe.wav", "not a regular file") in list_songs(tmp_path / "music").skipped


def test_a_file_name_that_is_not_utf8_is_told(tmp_path: Path) -> None:
    write_sound(tmp_path / "rock" / "a.wav")
    (tmp_path / "rock" / os.fsdecode(b"caf\xe9.wav")).touch()
    listing = list_songs(tmp_path)
    assert [song.song_id for song in listing.manifest.songs] == ["a"]
    assert listing.skipped == ((r"rock/caf\udce9.wav", "its name is not UTF-8; rename it"),)


@pytest.mark.parametrize(
    ("files", "message"),
    [((), "no audio among its 0 files; needed are files such as GENRE/song.mp3"), (("a.txt",), "among its 1 files")],
)
def test_a_folder_without_audio_is_refused(tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ManifestError, match=message):
        list_songs(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such folder or CSV file"):
        list_songs(tmp_path / "none")


def test_gtzan_duplicates_and_its_broken_file_are_known_by_name(tmp_path: Path) -> None:
    write_sound(tmp_path / "rock" / "rock.00016.wav")
    write_sound(tmp_path / "metal" / "metal.00042.wav", seed=1)
    write_sound(tmp_path / "metal" / "metal.00063.wav", seed=2)
    (tmp_path / "jazz").mkdir()
    (tmp_path / "jazz" / "jazz.00054.wav").write_bytes(b"\xcb\x15\x1e\x16" * 99)
    remarks = {}
    manifest = index_folder(tmp_path, on_song=lambda song, remark: remarks.update({song.song_id: remark}))
    assert {song.song_id: song.duplicate_of for song in manifest.songs} == {
        "jazz.00054": "",
        "metal.00042": "",
        "metal.00063": "metal.00042",
        "rock.00016": "metal.00058",
    }
    assert remarks["jazz.00054"].endswith("(a known fault of GTZAN's WAV edition: this file has samples but no header)")


def test_gtzan_names_mean_nothing_among_other_names(tmp_path: Path) -> None:
    for name in ("metal.00063.wav", "my song.wav"):
        (tmp_path / "metal").mkdir(exist_ok=True)
        (tmp_path / "metal" / name).touch()
    assert {song.duplicate_of for song in list_songs(tmp_path).manifest.songs} == {""}


def test_known_names() -> None:
    assert len(GTZAN_DUPLICATES) == 14
    assert gtzan_original("rock.00016") == "metal.00058"
    assert gtzan_original("metal.00058") == ""
    assert is_gtzan(name for pair in GTZAN_DUPLICATES for name in pair)
    assert not is_gtzan(["metal.00058", "metal.58"])
    assert not is_gtzan([])
    assert len(FMA_SHORT_CLIPS) == 21
    assert is_fma_short_clip("098565", 1.6)
    assert is_fma_short_clip("133297", None)
    assert not is_fma_short_clip("098565", 65.31)
    assert not is_fma_short_clip("000002", 1.6)


TRACKS = [
    ["", "album", "artist", "set", "set", "track", "track"],
    ["", "title", "name", "split", "subset", "genre_top", "title"],
    ["track_id", "", "", "", "", "", ""],
    ["2", "AWOL", "AWOL, the", "training", "small", "Hip-Hop", "Food"],
    ["98565", "", "B" * 200_000, "validation", "small", "Rock", "x"],
    ["133297", "", "C", "test", "small", "Rock", "y"],
    ["140", "", "D", "test", "large", "", "two genres"],
]


@pytest.fixture
def fma(tmp_path: Path) -> Path:
    with_table(tmp_path / "fma_metadata" / "tracks.csv", TRACKS)
    for track_id in (2, 98565, 140, 999):
        write_sound(tmp_path / "fma_small" / f"{track_id // 1000:03d}" / f"{track_id:06d}.mp3", seed=track_id)
    (tmp_path / "fma_small" / "133").mkdir()
    (tmp_path / "fma_small" / "133" / "133297.mp3").touch()
    return tmp_path


def with_table(path: Path, rows: list[list[str]]) -> None:
    path.parent.mkdir(exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.mark.parametrize("below", [".", "fma_small"])
def test_fma_with_its_table(fma: Path, below: str) -> None:
    limit = csv.field_size_limit()
    remarks = {}
    manifest = index_folder(fma / below, on_song=lambda song, remark: remarks.update({song.song_id: remark}))
    assert csv.field_size_limit() == limit
    found = {song.song_id: song for song in manifest.songs}
    assert {i: (s.genre, s.artist[:9], s.album, s.split, s.fault) for i, s in found.items()} == {
        "000002": ("Hip-Hop", "AWOL, the", "AWOL", "train", ""),
        "000140": ("", "D", "", "test", ""),
        "000999": ("", "", "", "", ""),
        "098565": ("Rock", "B" * 9, "", "valid", "short_clip"),
        "133297": ("Rock", "C", "", "test", "empty"),
    }
    assert "of 30 s (a known fault of FMA's clips: cut at the wrong place" in remarks["098565"]
    assert "a known fault of FMA's clips" in remarks["133297"]


def test_fma_tables_that_cannot_be_used(fma: Path) -> None:
    table = fma / "elsewhere.csv"
    with_table(table, [["", "set"], ["", "split"], ["2", "test"]])
    with pytest.raises(
        ManifestError, match=r"no column track\.genre_top, artist\.name, album\.title in its two header"
    ):
        list_songs(fma / "fma_small", tracks_csv=table)
    with pytest.raises(ManifestError, match="FMA's table of tracks cannot be read"):
        list_songs(fma / "fma_small", tracks_csv=fma / "none.csv")


def test_a_collection_beside_fmas_table_is_not_fma(fma: Path) -> None:
    write_sound(fma / "mine" / "rock" / "a.wav")
    assert list_songs(fma / "mine").layout == "genre folders"


def test_a_table_of_path_and_genre(tmp_path: Path) -> None:
    write_sound(tmp_path / "x" / "a.wav")
    write_sound(tmp_path / "y" / "b.wav", seed=1)
    table = tmp_path / "list.csv"
    rows = [
        "path,genre,artist,split",
        "x/a.wav,rock,A,Training",
        f"{tmp_path / 'y' / 'b.wav'},pop,B,",
        "c.wav,pop,,test",
    ]
    table.write_text("\n".join(rows), encoding="utf-8")
    manifest = index_folder(table)
    assert [(s.song_id, s.path, s.genre, s.artist, s.split, s.fault) for s in manifest.songs] == [
        ("a", "x/a.wav", "rock", "A", "train", ""),
        ("b", "y/b.wav", "pop", "B", "", ""),
        ("c", "c.wav", "pop", "", "test", "missing"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,genre\n", "columns are file, genre; needed are path and genre"),
        ("path,genre\n", "no songs below the header"),
        ("path,genre,split\n,rock,\na.wav,pop,x\n", r"line 2: path is empty\n  line 3: split 'x' is none of train"),
        ("path,genre\na.wav,rock\n./a.wav,pop\n", r"path a\.wav stands on 2 lines"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "list.csv").write_text(content, encoding="utf-8")
    with pytest.raises(ManifestError, match=message):
        list_songs(tmp_path / "list.csv")


def test_words_for_splits() -> None:
    assert [split_name(word) for word in ("Training ", "validation", "test", "dropped", "")] == [
        "train",
        "valid",
        "test",
        "dropped",
        "",
    ]


def test_a_manifest_is_verified_against_its_files(collection: Path) -> None:
    first = index_folder(collection)
    write_manifest(
        Manifest(tuple(replace(song, artist="A", split="train") for song in first.songs), collection),
        collection / "manifest.csv",
    )
    listing = list_songs(collection)
    assert listing.layout == "manifest"
    measured = measure(listing)
    assert measured.songs == listing.manifest.songs
    assert differences(listing.manifest, measured) == ()

    write_sound(collection / "rock" / "one.wav", 1.0, 16000, seed=5)
    write_sound(collection / "blues" / "broken.mp3")
    write_sound(collection / "rock" / "new.wav")
    (collection / "blues" / "copy.wav").unlink()
    listing = list_songs(collection)
    assert ("rock/new.wav", "not in manifest.csv") in listing.skipped
    found = differences(listing.manifest, measure(listing))
    assert [sentence.replace("...", "")[:24] for sentence in found if "sha256" in sentence] == [
        "broken: sha256 was " + first.songs[0].sha256[:5],
        "one: sha256 was " + first.songs[3].sha256[:8],
    ]
    assert [sentence for sentence in found if "sha256" not in sentence] == [
        "broken: fault was unreadable, now none",
        "copy: fault was none, now missing",
        "one: duration was 0.5 s, now 1 s",
        "one: sample rate was 8000 Hz, now 16000 Hz",
    ]


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(APP, arguments)
    error = None if isinstance(result.exception, SystemExit) else result.exception
    return result.exit_code, result.stdout, error


def test_the_command_writes_the_manifest_and_names_the_faults(collection: Path) -> None:
    status, output, _ = run(str(collection))
    assert status == 0
    assert "3 of 5 songs are readable" in output
    assert "blues/broken.mp3: unreadable: " in output
    assert "blues/empty.wav: empty: " in output
    assert "skipped 1 .jpg files: not an audio file by its name" in output
    assert f"wrote {collection / 'manifest.csv'}" in output
    assert len(read_manifest(collection / "manifest.csv").usable) == 3

    status, output, _ = run(str(collection))
    assert status == 0
    assert "0 differences from the manifest" in output
    assert "nothing written; --out writes the measured manifest" in output


def test_the_command_speaks_json(collection: Path, tmp_path: Path) -> None:
    status, output, _ = run(str(collection), "--json", "--out", str(tmp_path / "m.csv"))
    report = json.loads(output)
    assert status == 0
    assert (report["n_songs"], report["n_readable"]) == (5, 3)
    assert report["genres"] == {"blues": 1, "rock": 2}
    assert [(fault["song_id"], fault["fault"]) for fault in report["faults"]] == [
        ("broken", "unreadable"),
        ("empty", "empty"),
    ]
    assert report["duplicates"] == {"one": "copy"}
    assert report["manifest"] == str(tmp_path / "m.csv")
    assert read_manifest(tmp_path / "m.csv").audio_path(Song("x", "music/rock/one.wav", "")).is_file()


def test_the_command_fails_where_nothing_is_readable(tmp_path: Path) -> None:
    (tmp_path / "rock").mkdir()
    (tmp_path / "rock" / "a.wav").touch()
    status, output, _ = run(str(tmp_path))
    assert status == 1
    assert "0 of 1 songs are readable" in output


def test_the_command_replaces_nothing_unasked_and_names_a_read_only_folder(collection: Path) -> None:
    table = collection / "list.csv"
    table.write_text("path,genre\nrock/one.wav,rock\n", encoding="utf-8")
    (collection / "manifest.csv").write_text("mine", encoding="utf-8")
    _, _, error = run(str(table))
    assert isinstance(error, ManifestError)
    assert "manifest.csv: is there already and will not be replaced unasked" in str(error)
    (collection / "manifest.csv").unlink()
    collection.chmod(0o555)
    _, output, error = run(str(collection))
    collection.chmod(0o755)
    assert isinstance(error, ManifestError)
    assert "the folder is read-only); choose another place (--out)" in str(error)
    assert "readable" not in output


@pytest.mark.real_data
def test_real_gtzan_has_503_readable_clips() -> None:
    data = os.environ.get("HGENRE_DATA")
    if not data:
        pytest.skip("HGENRE_DATA is not set: the real music is elsewhere")
    status, output, _ = run(str(Path(data) / "gtzan"), "--json")
    report = json.loads(output)
    assert status == 0
    assert (report["n_songs"], report["n_readable"]) == (504, 503)
    assert report["differences"] == []
    (fault,) = report["faults"]
    assert fault["path"].endswith("jazz.00054.wav")
    assert "known fault of GTZAN's WAV edition" in fault["reason"]
