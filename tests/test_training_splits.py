"""How a run splits its songs: test, validation and training never share a song, a duplicate or an artist."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.data.frame_source import FrameSource
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import ConfigError, LeakError, ManifestError
from hgenre.features import SliceSpec
from hgenre.labels import Labels
from hgenre.training.border import config_from_dict
from hgenre.training.prepare import Prepared, inner_split, slices_apart, split_for
from tests.oracles import reachable_songs
from tests.small_bundles import FEATURES

GENRES = ("a", "b")


def prepared(songs: tuple[Song, ...], **data: Any) -> Prepared:
    config = config_from_dict({"name": "x", "data": data})
    source = FrameSource(FEATURES, songs, lambda song_id: pytest.fail("no frame is needed"), {})
    return Prepared(
        config, Manifest(songs, Path()), Labels(GENRES), songs, source, SliceSpec(20, 20), Path("cache"), ()
    )


@st.composite
def collections(draw: st.DrawFn) -> tuple[Song, ...]:
    """12 to 40 songs, some by one artist, some duplicates by id or by checksum."""
    songs = []
    for i in range(draw(st.integers(12, 40))):
        songs.append(
            Song(
                song_id=f"{i}",
                path=f"{i}.wav",
                genre=GENRES[i % 2],
                artist=draw(st.sampled_from(["", "", "Ada", "Bo", "Cy", "Di", "Ed"])),
                sha256=draw(st.sampled_from(["", f"{i:064x}", f"{i:064x}", "f" * 64])),
                duplicate_of=draw(st.sampled_from(["", "", "", str(max(0, i - 1)), "x1"])) if i else "",
            )
        )
    return tuple(songs)


@given(collections(), st.sampled_from(["song", "artist"]), st.integers(0, 99))
@settings(max_examples=40)
def test_no_song_or_its_kin_stands_on_two_sides(songs: tuple[Song, ...], protocol: str, seed: int) -> None:
    try:
        split = split_for(prepared(songs, protocol=protocol, seed=seed, test_share=0.3, validation_share=0.3))
    except ManifestError:
        return
    assert set(split) == {song.song_id for song in songs}
    assert set(split.values()) == {"train", "valid", "test"}
    for song in songs:
        kin = reachable_songs(song, songs, protocol)
        assert {split[song_id] for song_id in kin} == {split[song.song_id]}


@given(collections(), st.integers(0, 99))
@settings(max_examples=20)
def test_validation_is_cut_from_the_training_part_without_leaks(songs: tuple[Song, ...], seed: int) -> None:
    try:
        split = inner_split(songs, "artist", 0.25, seed)
    except ManifestError:
        return
    assert set(split.values()) == {"train", "valid"}
    for song in songs:
        assert {split[i] for i in reachable_songs(song, songs, "artist")} == {split[song.song_id]}


SONGS = tuple(Song(f"{i}", f"{i}.wav", GENRES[i % 2], artist=f"artist {i}", sha256=f"{i:064x}") for i in range(40))


def test_shares_are_met_and_the_seed_decides() -> None:
    split = split_for(prepared(SONGS, test_share=0.25, validation_share=0.2))
    counts = {side: list(split.values()).count(side) for side in ("train", "valid", "test")}
    assert counts == {"train": 24, "valid": 6, "test": 10}
    assert split == split_for(prepared(SONGS[::-1], test_share=0.25, validation_share=0.2))
    assert split != split_for(prepared(SONGS, test_share=0.25, validation_share=0.2, seed=1))


def listed(sides: str) -> tuple[Song, ...]:
    names = {"r": "train", "v": "valid", "e": "test", "-": "", "d": "dropped"}
    return tuple(replace(song, split=names[side]) for song, side in zip(SONGS, sides, strict=False))


def test_listed_protocol_takes_the_manifests_own_sides() -> None:
    split = split_for(prepared(listed("rrrrvvee-d"), protocol="listed"))
    assert split == {**dict.fromkeys("0123", "train"), **dict.fromkeys("45", "valid"), **dict.fromkeys("67", "test")}


def test_listed_protocol_cuts_a_validation_part_where_none_is_listed() -> None:
    split = split_for(prepared(listed("r" * 20 + "e" * 4), protocol="listed", validation_share=0.2))
    assert [song_id for song_id, side in split.items() if side == "test"] == ["20", "21", "22", "23"]
    assert list(split.values()).count("valid") == 4


@pytest.mark.parametrize(("sides", "missing"), [("rrvv", "test"), ("eevv", "train")])
def test_listed_protocol_needs_both_sides(sides: str, missing: str) -> None:
    with pytest.raises(ManifestError, match=f"the manifest's split column names no song for '{missing}'"):
        split_for(prepared(listed(sides), protocol="listed"))


def test_listed_protocol_refuses_a_duplicate_on_two_sides() -> None:
    songs = listed("rrrvve")
    songs = (*songs[:-1], replace(songs[-1], duplicate_of="0"))
    with pytest.raises(LeakError):
        split_for(prepared(songs, protocol="listed"))


def test_nothing_set_aside_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.test_share: is 0: no song is left for the result"):
        split_for(prepared(SONGS, test_share=0.0))


def test_fixed_lists_take_the_place_of_the_split_column(tmp_path: Path) -> None:
    songs = tuple(Song(f"{i}", f"{i}.wav", GENRES[i % 2], artist=f"{i}", split="dropped") for i in range(8))
    (tmp_path / "train.txt").write_text("# the list\n0\n1\n2\n3\n")
    (tmp_path / "valid.txt").write_text("4\n5\n")
    (tmp_path / "test.txt").write_text("6\n")
    lists = {side: str(tmp_path / f"{side}.txt") for side in ("train", "valid", "test")}
    split = split_for(prepared(songs, protocol="listed", lists=lists))
    assert split == dict.fromkeys("0123", "train") | dict.fromkeys("45", "valid") | {"6": "test"}
    (tmp_path / "test.txt").write_text("unknown\n")
    with pytest.raises(ManifestError, match=r"the list .*test.txt names no song for 'test'"):
        split_for(prepared(songs, protocol="listed", lists=lists))


def test_slices_apart_split_at_random_stand_on_all_sides() -> None:
    songs = tuple(Song(f"{i}", f"{i}.wav", GENRES[i % 2], artist="one") for i in range(4))
    frames = {song.song_id: np.arange(96 * 205, dtype=np.float32).reshape(96, 205) + i for i, song in enumerate(songs)}
    slices = SliceSpec(20, 20)
    source = slices_apart(FrameSource(FEATURES, songs, frames.__getitem__, {}), slices)
    assert len(source.songs) == 4 * 10
    np.testing.assert_array_equal(source.frames("2/3"), frames["2"][:, 60:80])
    split = split_for(prepared(source.songs, protocol="slice-random", test_share=0.3, validation_share=0.2))
    counts = [list(split.values()).count(side) for side in ("train", "valid", "test")]
    assert counts == [22, 6, 12]
    assert {song.song_id.split("/")[0] for song in source.songs if split[song.song_id] == "test"} == set("0123")
