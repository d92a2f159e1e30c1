"""The manifest: round trips, every mistake by line, and writes that never leave half a file."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hgenre.data import manifest as manifest_module
from hgenre.data.manifest import COLUMNS, Manifest, Song, array_location, read_manifest, with_split, write_manifest
from hgenre.errors import ManifestError

CELL = st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=12).map(str.strip)
NAME = CELL.filter(bool)


@st.composite
def songs(draw: st.DrawFn) -> tuple[Song, ...]:
    ids = draw(st.lists(NAME, min_size=1, max_size=6, unique=True))
    return tuple(
        Song(
            song_id,
            f"dir/{idx}.wav",
            draw(CELL),
            draw(CELL),
            draw(CELL),
            draw(st.sampled_from(["", "train", "valid", "test", "dropped"])),
            draw(st.sampled_from(["", "0" * 64, "ab" * 32])),
            draw(st.none() | st.floats(0, 1e5)),
            draw(st.none() | st.integers(1, 192000)),
            draw(CELL.filter(song_id.__ne__)),
            draw(st.sampled_from(["", "unreadable"])),
        )
        for idx, song_id in enumerate(ids)
    )


@given(songs())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
def test_what_is_written_is_read_back(tmp_path: Path, rows: tuple[Song, ...]) -> None:
    written = Manifest(rows, tmp_path)
    write_manifest(written, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv") == written


def test_columns_are_the_contract_in_order() -> None:
    assert ",".join(COLUMNS) == (
        "song_id,path,genre,artist,album,split,sha256,duration_s,sample_rate_hz,duplicate_of,fault"
    )


def test_byte_order_mark_missing_columns_and_own_columns_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("\ufeffsong_id,mood,genre,path\r\na, sad ,rock,x/a.mp3\r\n\r\n", encoding="utf-8")
    assert read_manifest(path) == Manifest((Song("a", "x/a.mp3", "rock"),), tmp_path)


def test_every_mistake_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    rows = [
        "a,a.wav,rock,train,,1.5,22050,",
        "a,b.wav,rock,training,,soon,22050.5,",
        "c,/etc/c.wav,rock,,xyz,-1,0,c",
        ",,rock,,,inf,,",
    ]
    header = "song_id,path,genre,split,sha256,duration_s,sample_rate_hz,duplicate_of"
    path.write_text("\n".join([header, *rows]), encoding="utf-8")
    with pytest.raises(ManifestError) as caught:
        read_manifest(path)
    assert str(caught.value) == "\n".join(
        [
            f"{path}: 12 mistakes in the table:",
            "  line 3: split 'training' is none of train, valid, test, dropped or empty",
            "  line 3: duration_s 'soon' is not a number of seconds, 0 or more",
            "  line 3: sample_rate_hz '22050.5' is not a whole number above 0",
            "  line 3: song_id 'a' stands on line 2 already",
            "  line 4: path '/etc/c.wav' is absolute; paths are relative to the manifest's folder, so that both can "
            "move",
            "  line 4: sha256 'xyz' is not 64 lower-case hexadecimal digits",
            "  line 4: song 'c' is its own duplicate_of",
            "  line 4: duration_s '-1' is not a number of seconds, 0 or more",
            "  line 4: sample_rate_hz '0' is not a whole number above 0",
            "  line 5: song_id is empty",
            "  line 5: path is empty",
            "  line 5: duration_s 'inf' is not a number of seconds, 0 or more",
        ]
    )


def test_more_than_twenty_mistakes_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("song_id,path,genre\n" + ",x,y\n" * 30, encoding="utf-8")
    with pytest.raises(ManifestError, match=r"59 mistakes(.|\n)*and 39 more"):
        read_manifest(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty; needed is a CSV table with a header line"),
        (b"song_id,genre\na,rock\n", "line 1: no column path among song_id, genre; a manifest needs"),
        (b"song_id,path,genre\n", "no songs below the header"),
        (b"song_id,path,genre,path\n", "column 'path' stands twice"),
        (b"song_id,path,genre\na,b\nc,d,e,f\n", r"line 2: 2 cells under a header of 3\n  line 3: 4 cells"),
        (b"song_id,path,genre\na,caf\xe9.wav,rock\n", "not UTF-8 text"),
        (b"song_id,path,genre\na,x\0.wav,rock\n", "line 2: holds a NUL character"),
        (b'song_id,path,genre\na,"x,rock\n', "cannot be read as a CSV table"),
    ],
)
def test_tables_that_are_no_manifest(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(ManifestError, match=message):
        read_manifest(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.csv: cannot be read as a CSV table: .*No such file"):
        read_manifest(tmp_path / "none.csv")


def test_usable_songs_have_a_genre_and_no_fault(tmp_path: Path) -> None:
    sound, faulty, nameless = Song("a", "a", "rock"), Song("b", "b", "pop", fault="empty"), Song("c", "c", "")
    manifest = Manifest((sound, faulty, nameless), tmp_path)
    assert manifest.usable == (sound,)
    assert manifest.labels.genres == ("rock",)
    with pytest.raises(ManifestError, match="has 2 songs, but none with both a genre and a readable file"):
        _ = Manifest((faulty, nameless), tmp_path).labels


def test_labels_are_alphabetical_and_songs_take_the_given_split() -> None:
    manifest = Manifest((Song("a", "a", "rock", split="test"), Song("b", "b", "blues", split="test")), Path())
    assert manifest.labels.genres == ("blues", "rock")
    assert [song.split for song in with_split(manifest.songs, {"b": "train"})] == ["", "train"]


def test_array_paths_are_told_from_audio_paths(tmp_path: Path) -> None:
    assert array_location("features.npy#12") == ("features.npy", "12")
    assert array_location("a/b.npz#blues.00001") == ("a/b.npz", "blues.00001")
    assert array_location("Song #1.mp3") is None
    manifest = Manifest((Song("a", "f.npy#0", "rock"), Song("b", "x/b.mp3", "rock")), tmp_path)
    assert manifest.audio_path(manifest.songs[1]) == tmp_path / "x" / "b.mp3"
    with pytest.raises(ManifestError, match=r"song a is a ready-made array \(f.npy#0\), but audio was asked for"):
        manifest.audio_path(manifest.songs[0])


def test_a_manifest_written_elsewhere_still_finds_its_files(tmp_path: Path) -> None:
    music, elsewhere, link = tmp_path / "music", tmp_path / "else" / "where", tmp_path / "link"
    music.mkdir()
    (music / "a.wav").write_bytes(b"sound")
    elsewhere.mkdir(parents=True)
    link.symlink_to(elsewhere)
    write_manifest(Manifest((Song("a", "a.wav", "rock"),), music), link / "m.csv")
    found = read_manifest(link / "m.csv")
    assert found.songs[0].path == "../../music/a.wav"
    assert found.audio_path(found.songs[0]).read_bytes() == b"sound"


def test_a_write_that_dies_leaves_the_old_manifest_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.csv"
    old = Manifest((Song("a", "a.wav", "rock"),), tmp_path)
    write_manifest(old, path)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest_module.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_manifest(Manifest((replace(old.songs[0], genre="pop"),), tmp_path), path)
    assert read_manifest(path) == old
    assert os.listdir(tmp_path) == ["m.csv"]


def test_a_name_that_is_not_utf8_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="cannot be written: 'utf-8' codec can't encode"):
        write_manifest(Manifest((Song("a", "\udce9.wav", "rock"),), tmp_path), tmp_path / "m.csv")
    assert os.listdir(tmp_path) == []


def test_a_read_only_folder_and_a_folder_as_name_are_refused(tmp_path: Path) -> None:
    manifest = Manifest((Song("a", "a.wav", "rock"),), tmp_path)
    with pytest.raises(ManifestError, match="is a folder; needed is a file name"):
        write_manifest(manifest, tmp_path)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    with pytest.raises(ManifestError, match=r"read-only\); choose another place \(--out\)"):
        write_manifest(manifest, closed / "m.csv")
