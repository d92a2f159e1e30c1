"""One way to frames, from audio through the cache or from ready-made arrays."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hgenre.audio import read_audio
from hgenre.data import frames as room
from hgenre.data.feature_table import statistics_table
from hgenre.data.frames import holds_arrays, open_frames
from hgenre.data.import_features import import_arrays
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import FeatureError
from hgenre.evaluate import frames_for
from hgenre.features import ArraySpec, Cepstra, CepstralSpec, LogMelSpec, SliceSpec, TableSpec, log_mel, mfcc
from tests.audio_files import tones, write_sound
from tests.small_bundles import tiny_bundle

SPEC = LogMelSpec(8000, 512, 256, 16, 0.0, 4000.0)
SLICES = SliceSpec(30, 31)


def song_of(path: Path, genre: str = "noise") -> Song:
    return Song(path.stem, path.name, genre, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.fixture
def audio(tmp_path: Path) -> Manifest:
    """A good song, one of less than half a slice, one that changed since it was indexed, one that never was sound."""
    good = song_of(write_sound(tmp_path / "good.wav", tones(2.0, 8000), 8000))
    short = song_of(write_sound(tmp_path / "short.wav", tones(0.2, 8000), 8000))
    changed = replace(song_of(write_sound(tmp_path / "changed.wav", tones(1.0, 8000), 8000)), sha256="0" * 64)
    (tmp_path / "text.wav").write_text("no sound")
    faulty = Song("faulty", "faulty.wav", "noise", fault="unreadable")
    return Manifest((good, short, changed, song_of(tmp_path / "text.wav"), faulty), tmp_path)


@pytest.fixture
def arrays(tmp_path: Path) -> Manifest:
    """Two songs of 40 frames and one of 10, as an archive imported them."""
    values = np.random.default_rng(0).normal(-40, 10, (3, 16, 40)).astype(np.float32)
    np.savez(tmp_path / "given.npz", mel=values, ids=["a", "b", "c"], genres=["x", "y", "x"])
    return import_arrays(
        tmp_path / "given.npz", tmp_path / "imported", frame_rate_hz=31.25, scale="dB", db_per_unit=1.0
    )


def test_frames_of_audio_are_its_log_mel(audio: Manifest, tmp_path: Path) -> None:
    done: list[str] = []
    source = open_frames(audio, SPEC, SLICES, tmp_path / "cache", on_done=lambda song: done.append(song.song_id))
    assert source.spec == SPEC
    assert [song.song_id for song in source.songs] == ["good"]
    waveform, _ = read_audio(tmp_path / "good.wav", 8000)
    np.testing.assert_array_equal(source.frames("good"), log_mel(waveform, SPEC))
    assert sorted(done) == ["changed", "good", "short", "text"]


def test_songs_that_cannot_be_used_are_named_with_the_reason(audio: Manifest, tmp_path: Path) -> None:
    errors = open_frames(audio, SPEC, SLICES, tmp_path / "cache").errors
    assert set(errors) == {"short", "changed", "text"}
    assert errors["short"] == "too short: 5 frames, needed half of a slice's 30"
    assert errors["changed"].startswith("manifest: ")
    assert "changed.wav: changed since it was indexed" in errors["changed"]
    assert errors["text"].startswith("unreadable: ")
    assert "no decoder can read it" in errors["text"]


def test_without_slices_no_song_is_too_short(audio: Manifest, tmp_path: Path) -> None:
    source = open_frames(audio, SPEC, None, tmp_path / "cache")
    assert [song.song_id for song in source.songs] == ["good", "short"]


def test_a_second_time_nothing_is_decoded(audio: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = replace(audio, songs=audio.songs[:1])
    first = open_frames(good, SPEC, SLICES, tmp_path / "cache").frames("good")
    monkeypatch.setattr(room, "audio_frames", None)
    np.testing.assert_array_equal(open_frames(good, SPEC, SLICES, tmp_path / "cache").frames("good"), first)


def test_a_cache_entry_that_is_lost_meanwhile_is_named(audio: Manifest, tmp_path: Path) -> None:
    source = open_frames(audio, SPEC, None, tmp_path / "cache")
    for entry in (tmp_path / "cache").rglob("*.npy"):
        entry.unlink()
    with pytest.raises(FeatureError, match=r"the cache entry of good in .* was lost or damaged; run the command again"):
        source.frames("good")


def test_arrays_are_given_as_they_were_imported(arrays: Manifest, tmp_path: Path) -> None:
    assert holds_arrays(arrays)
    source = open_frames(arrays, SPEC, None, tmp_path / "cache")
    assert source.spec != SPEC
    assert source.spec.frame_rate_hz == 31.25
    with np.load(tmp_path / "given.npz") as given:
        for i, song in enumerate(source.songs):
            np.testing.assert_array_equal(source.frames(song.song_id), given["mel"][i])
    assert not (tmp_path / "cache").exists()


def test_arrays_of_less_than_half_a_slice_are_named(arrays: Manifest, tmp_path: Path) -> None:
    source = open_frames(arrays, SPEC, SliceSpec(81, 81), tmp_path / "cache")
    assert source.songs == ()
    assert source.errors["a"] == "too short: 40 frames, needed half of a slice's 81"


def test_audio_is_no_array(audio: Manifest, tmp_path: Path) -> None:
    assert not holds_arrays(audio)
    assert not holds_arrays(Manifest((), tmp_path))


def test_arrays_and_audio_do_not_mix(arrays: Manifest, audio: Manifest, tmp_path: Path) -> None:
    mixed = replace(arrays, songs=(*arrays.songs, audio.songs[0]))
    with pytest.raises(FeatureError, match=r"song good: good\.wav is not a ready-made array"):
        open_frames(mixed, SPEC, SLICES, tmp_path / "cache")


def test_cepstra_of_audio_are_those_of_its_log_mel(audio: Manifest, tmp_path: Path) -> None:
    source = open_frames(audio, SPEC, SLICES, tmp_path / "cache", cepstra=Cepstra(13, 22))
    assert source.spec == CepstralSpec(SPEC, 13, 22)
    log_mel_frames = open_frames(audio, SPEC, SLICES, tmp_path / "cache").frames("good")
    np.testing.assert_array_equal(source.frames("good"), mfcc(log_mel_frames, 13, 22))
    assert source.errors.keys() == {"short", "changed", "text"}


def test_cepstra_of_arrays_are_made_once(arrays: Manifest, tmp_path: Path) -> None:
    source = open_frames(arrays, SPEC, SliceSpec(81, 81), tmp_path / "cache", cepstra=Cepstra(5))
    assert source.errors["a"] == "too short: 40 frames, needed half of a slice's 81"
    source = open_frames(arrays, SPEC, None, tmp_path / "cache", cepstra=Cepstra(5))
    plain = open_frames(arrays, SPEC, None, tmp_path / "cache")
    assert isinstance(plain.spec, ArraySpec)
    assert source.spec == CepstralSpec(plain.spec, 5)
    np.testing.assert_array_equal(source.frames("b"), mfcc(plain.frames("b"), 5))
    assert source.frames("b") is source.frames("b")
    with pytest.raises(ValueError, match="read-only"):
        source.frames("b")[0, 0] = 1
    with pytest.raises(FeatureError, match="16 mel bands have as many cepstra at most, found n_mfcc 17"):
        open_frames(arrays, SPEC, None, tmp_path / "cache", cepstra=Cepstra(17))


@pytest.mark.parametrize("made", ["cepstra", "statistics"])
def test_a_bundle_gets_the_frames_that_it_was_trained_on(made: str, arrays: Manifest, tmp_path: Path) -> None:
    plain = open_frames(arrays, SPEC, None, tmp_path / "cache")
    if made == "cepstra":
        source = open_frames(arrays, SPEC, None, tmp_path / "cache", cepstra=Cepstra(12))
    else:
        source = statistics_table(plain, 12)
    bundle = tiny_bundle(features=source.spec)
    found = frames_for(bundle, arrays, tmp_path / "cache")
    assert found.spec == source.spec
    for song in arrays.usable:
        np.testing.assert_array_equal(found.frames(song.song_id), source.frames(song.song_id))
    table = replace(arrays, songs=(Song("a", "t.csv#a", "x"),))
    with pytest.raises(
        FeatureError, match=r"songs are rows of a feature table, model tiny needs ready-made arrays; give"
    ):
        frames_for(bundle, table, tmp_path / "cache")
    other = Manifest(arrays.songs, arrays.root)
    spec = tmp_path / "imported" / "spec.json"
    spec.write_text(spec.read_text().replace('"dB"', '"other"'))
    with pytest.raises(FeatureError, match=r"imported: the songs are .*'other'.*, model tiny needs .*'dB'"):
        frames_for(bundle, other, tmp_path / "cache")


@pytest.mark.parametrize(
    ("header", "row_s", "message"),
    [
        (
            "filename,b,a,label",
            30.0,
            "the table has the columns in another order, model tiny needs its 2 columns alone",
        ),
        ("filename,a,c,label", 30.0, "the table lacks b and has also c, model tiny needs"),
        ("filename,a,b,label", 3.0, "a row stands for 30 s, model tiny needs rows of 3 s; give a manifest of the kind"),
    ],
)
def test_a_table_of_other_columns_or_rows_is_told(header: str, row_s: float, message: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{header}\nx.wav,1,2,g\n")
    bundle = tiny_bundle(features=TableSpec(("a", "b"), row_s))
    with pytest.raises(FeatureError, match=message):
        frames_for(bundle, Manifest((Song("x", "t.csv#x", "g"),), tmp_path), tmp_path / "cache")
