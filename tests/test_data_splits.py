"""Splits and the guard: clusters stay whole, shares are kept, order of rows is nothing, leaks are named."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.data.leaks import check_disjoint, overlap
from hgenre.data.manifest import Song
from hgenre.data.splits import Protocol, clusters, folds, read_id_lists, slice_random_split, split_songs
from hgenre.errors import LeakError, ManifestError
from tests.oracles import reachable_songs

SHARES = {"train": 0.7, "valid": 0.1, "test": 0.2}
ID = st.integers(0, 40).map(lambda number: f"s{number:02d}")


@st.composite
def songs(draw: st.DrawFn, min_size: int = 1) -> list[Song]:
    return [
        Song(
            song_id,
            f"{song_id}.wav",
            draw(st.sampled_from(["blues", "pop", "rock"])),
            artist=draw(st.sampled_from(["", "A", " a ", "B", "C", "D & E"])),
            sha256=draw(st.sampled_from(["", "", "", "f" * 64])),
            duplicate_of=draw(st.sampled_from(["", "", ""]) | ID),
        )
        for song_id in draw(st.lists(ID, min_size=min_size, max_size=25, unique=True))
    ]


@pytest.mark.parametrize("by", ["song", "artist"])
@given(rows=songs())
@settings(max_examples=80, deadline=None)
def test_clusters_are_what_can_be_reached(by: Protocol, rows: list[Song]) -> None:
    cluster_of = clusters(rows, by=by)
    for song in rows:
        reached = reachable_songs(song, rows, by)
        assert cluster_of[song.song_id] == min(reached)
        assert {other for other, name in cluster_of.items() if name == cluster_of[song.song_id]} == reached


@given(rows=songs(), order=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_clusters_do_not_depend_on_the_order_of_rows(rows: list[Song], order: Random) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert clusters(shuffled) == clusters(rows)


def test_names_of_one_artist_are_joined_and_unknown_artists_are_not() -> None:
    rows = [Song("a", "", "g", artist="The  Who"), Song("b", "", "g", artist="the who "), Song("c", "", "g")]
    assert clusters([*rows, Song("d", "", "g")]) == {"a": "a", "b": "a", "c": "c", "d": "d"}
    assert clusters(rows, by="song") == {"a": "a", "b": "b", "c": "c"}


def test_two_duplicates_of_an_absent_song_are_joined() -> None:
    rows = [Song("b", "", "g", duplicate_of="z"), Song("a", "", "g", duplicate_of="z")]
    assert clusters(rows, by="song") == {"a": "a", "b": "a"}


@st.composite
def collections(draw: st.DrawFn) -> list[Song]:
    """Artists who each play one genre."""
    rows = []
    for genre in ("blues", "pop", "rock"):
        sizes = draw(st.lists(st.integers(1, 6), min_size=12, max_size=20))
        rows += [
            Song(f"{genre}.{artist_idx}.{idx}", "", genre, artist=f"{genre} {artist_idx}")
            for artist_idx, size in enumerate(sizes)
            for idx in range(size)
        ]
    return rows


@pytest.mark.parametrize("protocol", ["song", "artist"])
@given(rows=collections(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_splits_keep_clusters_whole_and_shares_within_the_largest(
    protocol: Protocol, rows: list[Song], seed: int
) -> None:
    split = split_songs(rows, protocol=protocol, shares=SHARES, seed=seed)
    assert split.keys() == {song.song_id for song in rows}
    check_disjoint(rows, split, protocol=protocol)
    cluster_of = clusters(rows, by=protocol)
    for genre in ("blues", "pop", "rock"):
        members = [song.song_id for song in rows if song.genre == genre]
        largest = max(Counter(cluster_of[song_id] for song_id in members).values())
        for name, share in SHARES.items():
            n_placed = sum(split[song_id] == name for song_id in members)
            assert abs(n_placed - share * len(members)) <= largest + 1e-6


@given(rows=collections(), seed=st.integers(0, 100), order=st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_splits_do_not_depend_on_the_order_of_rows(rows: list[Song], seed: int, order: Random) -> None:
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert split_songs(shuffled, protocol="artist", shares=SHARES, seed=seed) == split_songs(
        rows, protocol="artist", shares=SHARES, seed=seed
    )
    assert folds(shuffled, protocol="song", n_folds=3, seed=seed) == folds(rows, protocol="song", n_folds=3, seed=seed)


def test_another_seed_gives_another_split() -> None:
    rows = [Song(f"{idx}", "", "g") for idx in range(50)]
    first, second = (split_songs(rows, protocol="song", shares=SHARES, seed=seed) for seed in (0, 1))
    assert first != second
    assert Counter(first.values()) == Counter(second.values()) == {"train": 35, "valid": 5, "test": 10}


@given(rows=collections(), n_folds=st.integers(2, 6))
@settings(max_examples=20, deadline=None)
def test_every_song_is_held_out_once_with_its_artist(rows: list[Song], n_folds: int) -> None:
    held_out = folds(rows, protocol="artist", n_folds=n_folds, seed=3)
    assert len(held_out) == n_folds
    assert sorted(song_id for fold in held_out for song_id in fold) == sorted(song.song_id for song in rows)
    fold_of = {song_id: str(idx) for idx, fold in enumerate(held_out) for song_id in fold}
    check_disjoint(rows, fold_of, protocol="artist")


@pytest.mark.parametrize("shares", [{}, {"train": 0.5, "test": 0.4}, {"train": 1.0, "test": 0.0}, {"a": float("nan")}])
def test_wrong_shares_are_refused(shares: Mapping[str, float]) -> None:
    with pytest.raises(ManifestError, match=r"must be above 0 and add up to 1, found (train|a|none)"):
        split_songs([Song("a", "", "g")], protocol="song", shares=shares, seed=0)


def test_too_few_clusters_are_refused() -> None:
    rows = [Song(f"{idx}", "", "g", artist="A") for idx in range(9)]
    rows += [Song(f"x{idx}", "", "h", artist=f"B{idx % 2}") for idx in range(4)]
    with pytest.raises(ManifestError) as caught:
        split_songs(rows, protocol="artist", shares={"train": 0.8, "valid": 0.05, "test": 0.15}, seed=0)
    assert str(caught.value) == (
        "no songs are left for valid, test: every genre is shared out by itself, and songs that belong together stay "
        "together (protocol artist); even h has only 2 artists in 4 songs, and a share of 0.05 needs about 20 in a "
        "genre; give more artists a genre, a larger share, or fewer folds"
    )
    with pytest.raises(ManifestError, match=r"even h has only 1 song, duplicates as one, and a share of 0\.1 needs"):
        split_songs([Song("a", "", "h"), Song("b", "", "h", duplicate_of="a")], protocol="song", shares=SHARES, seed=0)
    with pytest.raises(ManifestError, match="no songs are left for train, valid, test: there are none to share out"):
        split_songs([], protocol="artist", shares=SHARES, seed=0)
    with pytest.raises(ManifestError, match="at least 2 folds, found 1"):
        folds(rows, protocol="song", n_folds=1, seed=0)
    with pytest.raises(ManifestError, match="no songs are left for 1, 2"):
        folds(rows[:9], protocol="artist", n_folds=3, seed=0)


@given(
    parts=st.lists(st.integers(1, 20), min_size=2, max_size=5),
    size=st.integers(1, 4),
    n_genres=st.integers(1, 3),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_as_many_artists_as_were_needed_are_enough(parts: list[int], size: int, n_genres: int, seed: int) -> None:
    shares = {f"{side}": part / sum(parts) for side, part in enumerate(parts)}

    def split(n_genres: int, n_artists: int) -> dict[str, str]:
        rows = [
            Song(f"{genre}.{artist}.{i}", "", f"{genre}", artist=f"{genre} {artist}")
            for genre in range(n_genres)
            for artist in range(n_artists)
            for i in range(size)
        ]
        return split_songs(rows, protocol="artist", shares=shares, seed=seed)

    with pytest.raises(ManifestError, match=f"even 0 has only 1 artist in {size} songs, and a share of") as caught:
        split(1, 1)
    [n_needed] = re.findall(r"needs about (\d+) in a genre", str(caught.value))
    for n_more in (0, 1, 3):
        assert set(split(n_genres, int(n_needed) + n_more).values()) == set(shares)


@given(counts=st.dictionaries(ID, st.integers(0, 12), min_size=1), seed=st.integers(0, 99), whole=st.integers(1, 9))
@settings(max_examples=60, deadline=None)
def test_random_slices_follow_the_shares(counts: dict[str, int], seed: int, whole: int) -> None:
    shares = {"train": whole / 10, "test": 1 - whole / 10}
    split = slice_random_split(counts, shares, seed)
    assert {song_id: len(names) for song_id, names in split.items()} == counts
    placed = Counter(name for names in split.values() for name in names)
    assert all(abs(placed[name] - share * sum(counts.values())) <= 1 for name, share in shares.items())
    assert slice_random_split(dict(sorted(counts.items(), reverse=True)), shares, seed) == split


def test_random_slices_put_songs_on_both_sides() -> None:
    split = slice_random_split({"a": 20, "b": 20}, {"train": 0.5, "test": 0.5}, seed=0)
    assert set(split["a"]) == set(split["b"]) == {"train", "test"}


def test_random_slices_need_shares() -> None:
    with pytest.raises(ManifestError, match="must be above 0 and add up to 1, found train 2"):
        slice_random_split({"a": 3}, {"train": 2.0}, seed=0)


def test_id_lists_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("# published\nblues/blues.00001.wav\n\n 000123.mp3 \n", encoding="utf-8")
    (tmp_path / "b.txt").write_text("blues.00002\n", encoding="utf-8")
    assert read_id_lists({"train": tmp_path / "a.txt", "test": tmp_path / "b.txt"}) == {
        "blues.00001": "train",
        "000123": "train",
        "blues.00002": "test",
    }


def test_id_lists_that_overlap_are_refused(tmp_path: Path) -> None:
    for name, text in {"a": "x\ny\n", "b": "y\nz\n", "c": "#\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(LeakError, match="1 songs stand in two of the lists train, test: y; take each out") as caught:
        read_id_lists({"train": tmp_path / "a", "test": tmp_path / "b"})
    assert caught.value.songs == ("y",)
    with pytest.raises(ManifestError, match="the list of test songs is empty; needed is one song id a line"):
        read_id_lists({"test": tmp_path / "c"})
    with pytest.raises(ManifestError, match="the list of test songs cannot be read"):
        read_id_lists({"test": tmp_path / "none"})


def test_leaks_are_named_with_their_sides() -> None:
    rows = [
        Song("a", "", "g", artist="Slayer"),
        Song("b", "", "g", artist="slayer"),
        Song("c", "", "g", artist="slayer"),
        Song("d", "", "g", sha256="f" * 64),
        Song("e", "", "g", sha256="f" * 64),
        Song("f", "", "g", artist="Dio"),
    ]
    split = {"a": "train", "b": "train", "c": "valid", "d": "train", "e": "test", "f": "train"}
    with pytest.raises(LeakError) as caught:
        check_disjoint(rows, split, protocol="artist")
    assert str(caught.value) == (
        "the split leaks (protocol artist): 1 groups of duplicates and 1 artists on more than one side:\n"
        "  duplicates of d: train (1: d), test (1: e)\n"
        "  artist Slayer: train (2: a, b), valid (1: c)\n"
        "  move each to one side, set their split to dropped, or let hgenre split the songs itself"
    )
    assert caught.value.songs == ("a", "b", "c", "d", "e")
    with pytest.raises(LeakError, match="1 groups of duplicates on more than one side"):
        check_disjoint(rows, split, protocol="song")
    check_disjoint(rows, {**split, "c": "dropped", "e": ""}, protocol="artist")


def test_many_leaks_are_counted() -> None:
    rows = [Song(f"{idx}", "", "g", artist=f"A{idx // 2}") for idx in range(26)]
    split = {song.song_id: ("train", "test")[idx % 2] for idx, song in enumerate(rows)}
    with pytest.raises(LeakError, match=r"13 artists on more than one side(.|\n)*and 3 more"):
        check_disjoint(rows, split, protocol="artist")


@given(rows=songs(min_size=2), side=st.lists(st.sampled_from(["train", "test"]), min_size=25, max_size=25))
@settings(max_examples=80, deadline=None)
def test_the_guard_refuses_exactly_the_splits_that_cut_a_cluster(rows: list[Song], side: list[str]) -> None:
    split = {song.song_id: name for song, name in zip(rows, side, strict=False)}
    cluster_of = clusters(rows)
    leaks = any(len({split[s] for s in split if cluster_of[s] == name}) > 1 for name in cluster_of.values())
    if leaks:
        with pytest.raises(LeakError, match="the split leaks"):
            check_disjoint(rows, split, protocol="artist")
    else:
        check_disjoint(rows, split, protocol="artist")


def test_seen_songs_are_found_by_id_bytes_and_duplicate() -> None:
    seen = [("a", "1" * 64), ("b", "2" * 64), ("metal.00058", "")]
    rows = [
        Song("a", "", "g", sha256="9" * 64),
        Song("renamed", "", "g", sha256="2" * 64),
        Song("rock.00016", "", "g", duplicate_of="metal.00058"),
        Song("new", "", "g", sha256="3" * 64, artist="A"),
    ]
    assert overlap(seen, rows) == ("a", "renamed", "rock.00016")
    assert overlap([], rows) == ()
