"""Tables of features: read as they are, bad cells named, repetitions marked, written whole, compared."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgenre.data.feature_table import open_rows, open_table, statistics_table, table_location, write_table
from hgenre.data.frame_source import FrameSource
from hgenre.data.frames import contents, open_frames
from hgenre.data.manifest import Manifest, Song, read_manifest, write_manifest
from hgenre.data.table_comparison import compare_tables
from hgenre.data.table_from_audio import TableSong, rows_of_songs, song_rows, songs_of_sources
from hgenre.errors import FeatureError, HgenreError, ManifestError, OptionError, TooShortAudioError
from hgenre.features import ArraySpec, Cepstra, LogMelSpec, TableSpec, mfcc
from hgenre.features.cepstra import STATISTICS, statistics_columns
from hgenre.features.table import TABLE_FEATURES
from tests.audio_files import tones, write_sound

HEADER = "filename,length,tempo,rolloff,label"


def table(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_song_is_a_row(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "a.wav,661794,120,3e6,x", "b.au,661794,90.5,0.25,y")
    manifest, source = open_table(path)
    assert source.spec == TableSpec(("tempo", "rolloff"), 30.0)
    assert [(s.song_id, s.path, s.genre) for s in source.songs] == [("a", "t.csv#a", "x"), ("b", "t.csv#b", "y")]
    assert manifest.songs == source.songs
    frames = source.frames("a")
    assert frames.dtype == np.float32
    np.testing.assert_array_equal(frames, [[120], [3e6]])


def test_slices_of_a_song_are_its_rows_in_order_and_last_as_long_as_they_say(tmp_path: Path) -> None:
    lines = [f"{song}.{n}.wav,44099,{n},{10 * n},x" for song in ("classical.00001", "b") for n in (1, 0, 10, 2)]
    _, source = open_table(table(tmp_path / "t.csv", *lines))
    assert [song.song_id for song in source.songs] == ["classical.00001", "b"]
    assert source.spec.frame_rate_hz == 1 / 2.0
    np.testing.assert_array_equal(source.frames("b"), [[0, 1, 2, 10], [0, 10, 20, 100]])


@pytest.mark.parametrize(
    ("names", "songs"),
    [
        (["blues.00000.wav", "blues.00001.wav"], ["blues.00000", "blues.00001"]),
        (["track.1.mp3", "track.2.mp3"], ["track.1", "track.2"]),
        (["a.0.wav", "b.wav"], ["a.0", "b"]),
        (["a/b.0.wav", "a/b.1.wav"], ["a/b"]),
        (["a.0", "a.1"], ["a"]),
        (["Mr. Smith", "Mr. Jones", "..wav"], ["Mr. Smith", "Mr. Jones", "..wav"]),
        (["a.0.wav", f"a.{'1' * 5000}.wav"], ["a.0", f"a.{'1' * 5000}"]),
    ],
)
def test_a_number_counts_slices_only_where_every_song_has_a_slice_0(
    names: Sequence[str], songs: Sequence[str], tmp_path: Path
) -> None:
    manifest, _ = open_table(table(tmp_path / "t.csv", *(f"{name},1,2,{i},x" for i, name in enumerate(names))))
    assert [song.song_id for song in manifest.songs] == songs


def test_songs_with_cells_that_are_no_numbers_are_named_by_line_and_column(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv",
        "good.wav,1,2,3,x",
        "empty.wav,1,,3,x",
        "text.wav,1,2,fast,x",
        "nan.wav,1,nan,3,x",
        "inf.wav,1,2,-inf,x",
        "huge.wav,1,2,1e39,x",
        "",
        "ragged.wav,1,2,3",
        "unknown.wav,1,2,3,",
        ",1,2,3,x",
    )
    manifest, source = open_table(path)
    assert [song.song_id for song in source.songs] == ["good"]
    assert source.errors == {
        "empty": "line 3, column tempo: is empty",
        "text": "line 4, column rolloff: 'fast' is no number",
        "nan": "line 5, column tempo: nan is not finite in 32 bits",
        "inf": "line 6, column rolloff: -inf is not finite in 32 bits",
        "huge": "line 7, column rolloff: 1e39 is not finite in 32 bits",
        "ragged": "line 9: 4 cells under a header of 5",
        "unknown": "has no genre",
        "line 11": "filename is empty",
    }
    assert len(manifest.songs) == 8


def test_columns_without_a_name_are_no_features(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "0,7,a.wav,1,x,", "1,8,b.wav,2,y,", header=",Unnamed: 0,filename,tempo,label,")
    _, source = open_table(path)
    assert source.spec == TableSpec(("tempo",), 30.0)
    assert source.errors == {}
    assert source.frames("b") == 2


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    _, source = open_table(table(tmp_path / "t.csv", '"a', 'b.wav",1,2,3,x', "c.wav,1,?,3,x"))
    assert source.errors == {"c": "line 4, column tempo: '?' is no number"}


def test_a_bad_slice_a_second_genre_and_a_repeated_row_each_cost_the_song(tmp_path: Path) -> None:
    lines = ["a.0.wav,1,2,3,x", "a.1.wav,1,?,3,x", "b.0.wav,1,2,3,x", "b.1.wav,1,2,3,y", "c.0.wav,1,2,3,x"]
    _, source = open_table(table(tmp_path / "t.csv", *lines, "c.0.au,1,2,3,x", "d.0.wav,1,2,4,x"))
    assert [song.song_id for song in source.songs] == ["d"]
    assert source.errors == {
        "a": "line 3, column tempo: '?' is no number",
        "b": "has the genres x, y",
        "c": "c.0.wav stands on lines 6 and 7",
    }


def test_repetitions_are_marked_by_name_and_by_value(tmp_path: Path) -> None:
    path = table(
        tmp_path / "t.csv", "disco.00098.au,1,2,3,disco", "disco.00099.au,1,2,4,disco", "pop.00001.au,1,2,3,pop"
    )
    manifest, _ = open_table(path)
    assert [song.duplicate_of for song in manifest.songs] == ["", "disco.00098", "disco.00098"]


def test_facts_are_joined_by_id(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "a.wav,1,2,3,x", "b.wav,1,2,4,y")
    facts = table(tmp_path / "f.csv", "a,z,Ann,training,b", header="id,genre,artist,fault_filtered,duplicate_of")
    songs = open_table(path, join=facts)[0].songs
    assert [(s.genre, s.artist, s.split, s.duplicate_of) for s in songs] == [
        ("x", "Ann", "train", "b"),
        ("y", "", "", ""),
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("song,a,label", "no column filename among song, a, label; needed are filename, label and a column a feature"),
        ("a,b", "no column filename and label among a, b"),
        ("", r"no column filename and label among \(nothing\); needed"),
        ("filename,length,label", "no feature among filename, length, label"),
        ("filename,a,a,label", "a twice among filename, a, a, label"),
    ],
)
def test_a_file_that_is_no_table_is_refused(header: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=rf"t\.csv: line 1: no table of features: {message}"):
        open_table(table(tmp_path / "t.csv", "a,1,2,3", header=header))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"none\.csv: cannot be read as a CSV table: .*No such file"):
        open_table(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(HEADER.encode() + b"\nna\xefve.wav,1,2,3,x\n")
    with pytest.raises(ManifestError, match=r"latin\.csv: not UTF-8 text .* save the table as CSV in UTF-8"):
        open_table(tmp_path / "latin.csv")
    with pytest.raises(ManifestError, match=r"t\.txt: found a table under another name than NAME\.csv, .* rename it"):
        open_table(table(tmp_path / "t.txt", "a.wav,1,2,3,x"))
    with pytest.raises(ManifestError, match=r"t\.csv: no songs below the header$"):
        open_table(table(tmp_path / "t.csv"))


def fma(path: Path, *lines: str, names: str = "feature statistics number track_id") -> Path:
    """FMA's features.csv with the MFCC of one coefficient between two other features."""
    first = ["chroma", *["mfcc"] * 7, "tonnetz"]
    second = ["mean", *STATISTICS, "mean"]
    cells = zip(names.split(), [first, second, ["01"] * 9, [""] * 9], strict=True)
    return table(path, *lines, header="\n".join(",".join([name, *row]) for name, row in cells))


def test_fmas_table_gives_its_mfcc_columns_and_another_file_the_genres(tmp_path: Path) -> None:
    rows = [f"{track},9,{track},1,2,3,4,5,6,9" for track in (2, 3, 5, 10)]
    path = fma(tmp_path / "features.csv", *rows, "12,9,0", "20,9,x,1,2,3,4,5,6,9")
    np.savez(tmp_path / "labels.npz", track_ids=[2, 10, 12, 20], genres=["Rock", "Folk", "Folk", "Rock"])
    _, source = open_table(path, join=tmp_path / "labels.npz")
    assert source.spec == TableSpec(statistics_columns(1), 30.0)
    assert [(s.song_id, s.genre) for s in source.songs] == [("2", "Rock"), ("10", "Folk")]
    np.testing.assert_array_equal(source.frames("10")[:, 0], [10, 1, 2, 3, 4, 5, 6])
    assert source.errors == {
        "12": "line 9: 3 cells under a header of 10",
        "20": "line 10, column mfcc_kurtosis_01: 'x' is no number",
    }

    tracks = table(
        tmp_path / "tracks.csv",
        *("track_id,,,,", "3,Folk,Ann,Songs,training", "5,,Bob,,test"),
        header=",track,artist,album,set\n,genre_top,name,title,split",
    )
    manifest, source = open_table(path, join=tracks)
    assert [(s.song_id, s.genre, s.artist, s.split) for s in source.songs] == [("3", "Folk", "Ann", "train")]
    assert source.errors == {}
    assert [song.song_id for song in manifest.songs] == ["3"]


def test_fmas_table_without_genres_or_with_other_headers_is_refused(tmp_path: Path) -> None:
    path = fma(tmp_path / "features.csv", "2,9,1,1,2,3,4,5,6,9")
    with pytest.raises(FeatureError, match=r"features\.csv: holds no genres; join a file that does: FMA's tracks\.csv"):
        open_table(path)
    genres = table(tmp_path / "g.csv", "7,Rock", header="track_id,genre_top")
    with pytest.raises(ManifestError, match="no songs below the header whose genre the joined table knows"):
        open_table(path, join=genres)
    odd = fma(tmp_path / "odd.csv", names="feature statistics number id")
    with pytest.raises(ManifestError, match=r"header lines begin with feature, statistics, number, id; needed are"):
        open_table(odd, join=genres)
    np.savez(tmp_path / "short.npz", track_ids=[2, 3], genres=["Rock"])
    with pytest.raises(FeatureError, match=r"short\.npz: 2 ids and 1 genres; needed is one of each a song"):
        open_table(path, join=tmp_path / "short.npz")
    np.savez(tmp_path / "twice.npz", track_ids=[2, 3, 2], genres=["Rock", "Folk", "Folk"])
    with pytest.raises(FeatureError, match=r"twice\.npz: 1 ids stand twice: 2; keep one of each"):
        open_table(path, join=tmp_path / "twice.npz")


def test_a_manifest_leads_back_to_the_rows_under_its_own_ids(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "a.wav,1,2,3,x", "b.wav,1,?,4,y")
    songs = (Song("first", "t.csv#a", "x"), Song("second", "t.csv#b", "y"), Song("third", "t.csv#c", "y"))
    write_manifest(Manifest(songs, path.parent), tmp_path / "lists" / "m.csv")
    manifest = read_manifest(tmp_path / "lists" / "m.csv")
    assert contents(manifest) == "rows of a feature table"
    source = open_frames(manifest, LogMelSpec(), None, tmp_path / "cache")
    assert [song.song_id for song in source.songs] == ["first"]
    np.testing.assert_array_equal(source.frames("first"), [[2], [3]])
    assert source.errors == {"second": "line 3, column tempo: '?' is no number", "third": "is not in t.csv"}
    with pytest.raises(FeatureError, match="cepstra were asked for, but the songs are rows of a feature table"):
        open_frames(manifest, LogMelSpec(), None, tmp_path / "cache", cepstra=Cepstra())
    mixed = Manifest((*manifest.songs, Song("d", "d.wav", "x")), tmp_path)
    with pytest.raises(FeatureError, match=r"songs of one feature table were needed, .* in other files, \.\./t\.csv"):
        open_rows(mixed)
    assert table_location("t.csv#a#b") == ("t.csv", "a#b")
    assert table_location("T.CSV#a.csv#b") == ("T.CSV", "a.csv#b")
    assert table_location("a.npy#3") is None


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    path = tmp_path_factory.mktemp("table") / "t.csv"
    write_table(path, [("a, b.wav", 7, np.array(values), "x")], ["p", "q", "r"])
    _, source = open_table(path)
    np.testing.assert_array_equal(source.frames("a, b")[:, 0], np.array(values, np.float32))


def test_a_table_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"t\.csv: cannot be written: .* choose another place for it \(--out\)"):
        write_table(tmp_path / "none" / "t.csv", [])
    path = table(tmp_path / "t.csv", "a.wav,1,2,3,x")
    with pytest.raises(ManifestError, match="surrogates not allowed"):
        write_table(path, [("\udcff.wav", 1, np.zeros(2), "x")], ["a", "b"])
    assert os.listdir(tmp_path) == ["t.csv"]
    assert path.read_text().startswith(HEADER)


def test_statistics_are_one_row_a_song_and_say_of_what() -> None:
    spectrogram = np.random.default_rng(0).normal(0, 9, (32, 50)).astype(np.float32)
    of = ArraySpec(32, 10.0, "levels")
    source = statistics_table(FrameSource(of, (Song("a", "a.npy#0", "x"),), lambda _: spectrogram, {}))
    assert source.spec == TableSpec(statistics_columns(), 30.0, of)
    row = source.frames("a")
    assert row.shape == (140, 1)
    assert source.frames("a") is row
    place = statistics_columns().index("mfcc_median_03")
    assert row[place, 0] == pytest.approx(np.median(mfcc(spectrogram, 20)[2]))
    with pytest.raises(
        FeatureError, match="are taken of spectrograms, found statistics of cepstra of ready-made arrays"
    ):
        statistics_table(source)
    small = FrameSource(ArraySpec(16, 10.0, "levels"), (), lambda _: spectrogram, {})
    with pytest.raises(FeatureError, match="20 cepstra were asked for, the spectrograms have 16 mel bands"):
        statistics_table(small)


def test_differences_are_told_in_deviations_of_their_columns(tmp_path: Path) -> None:
    ours = table(
        tmp_path / "o.csv",
        "a.wav,2,0,0,x",
        "b.wav,4,0,5,x",
        "c.wav,1,0,0,x",
        "d.wav,?,0,0,x",
        header="filename,p,c,q,label",
    )
    theirs = table(tmp_path / "t.csv", "a.au,1,0,0,y", "b.au,4,3,0,y", "z.au,7,0,0,y", header="filename,p,c,r,label")
    found = compare_tables(ours, theirs)
    assert (found.n_songs, found.missing) == (2, ("c", "d"))
    std = np.std([1, 4, 7])
    assert found.columns["p"] == pytest.approx((0.5 / std, 1 / std))
    assert found.columns["c"] == pytest.approx((1.5 / np.std([0, 3, 0]), 3 / np.std([0, 3, 0])))
    assert (found.only_ours, found.only_theirs) == (("q",), ("r",))
    other = table(tmp_path / "other.csv", "q.wav,1,1,x", header="filename,p,q,label")
    with pytest.raises(ManifestError, match=r"share 0 songs with as many rows and 2 columns; .* such as 'a' and 'q'"):
        compare_tables(ours, other)


def test_rows_of_slices_start_every_slice_and_end_a_sample_early(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tones(1.3, 22050), 22050)
    rows = song_rows(TableSong(path, "a", "x"), 0.5)
    assert [(filename, length, label) for filename, length, _, label in rows] == [
        ("a.0.wav", 11024, "x"),
        ("a.1.wav", 11024, "x"),
    ]
    [(_, length, whole, _)] = song_rows(TableSong(path, "a", "x"))
    assert (length, whole.shape) == (round(1.3 * 22050), (len(TABLE_FEATURES),))


def test_songs_that_are_too_short_or_known_to_be_bad_are_told(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tones(0.1, 22050), 22050)
    with pytest.raises(TooShortAudioError, match=r"holds 0\.10 s of sound; needed are 0\.2 s"):
        song_rows(TableSong(path, "a", "x"))
    told: list[tuple[str, str]] = []

    def on_done(song: TableSong, error: HgenreError | None) -> None:
        told.append((song.filename, str(error)))

    assert rows_of_songs([TableSong(path, "a", "x", "silent")], 3.0, on_done) == []
    assert told == [("a.wav", f"{path}: the manifest calls it silent")]
    with pytest.raises(OptionError) as caught:
        rows_of_songs([], 0.1)
    assert caught.value.problems == (("slice_s", "found 0.1 s, needed 0.2 s or more"),)


def test_an_interrupt_waits_for_no_song(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    begun: list[str] = []
    ended: list[str] = []

    def rows(song: TableSong, slice_s: float | None) -> list[Any]:
        begun.append(song.song_id)
        if song.song_id != "0":
            release.wait(20)
            ended.append(song.song_id)
        return []

    def interrupt(song: TableSong, error: HgenreError | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("hgenre.data.table_from_audio.song_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        rows_of_songs([TableSong(Path(str(i)), str(i), "") for i in range(9)], None, interrupt)
    assert ended == []
    release.set()
    assert len(begun) <= 3


def test_files_of_one_name_are_named_by_their_paths_and_come_back_as_songs_of_their_own(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a/x.wav", "b/x.wav", "b/x.flac", "y.z.wav")]
    songs = songs_of_sources(paths)
    ids = [str(tmp_path / "a" / "x"), str(paths[1]), str(paths[2]), "y.z"]
    assert [song.song_id for song in songs] == ids
    write_table(tmp_path / "t.csv", [(song.filename, 1, np.array([i]), "g") for i, song in enumerate(songs)], ["p"])
    manifest, source = open_table(tmp_path / "t.csv")
    assert [song.song_id for song in manifest.songs] == ids
    assert source.errors == {}
