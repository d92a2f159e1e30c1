"""What nets learn from: random slices, balanced draws, and frames that are read only when they are wanted."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import FeatureError
from hgenre.features import Normalisation, cut_slices, fit_normalisation, song_statistics
from hgenre.training.songs import (
    Batch,
    LearningSongs,
    ResidentFrames,
    random_batches,
    side_by_side,
    song_weights,
    spread_slices,
    standard_of,
)
from tests.planted_songs import counted, planted_songs, songs_of
from tests.small_bundles import FEATURES, SLICES

N_MELS, N_FRAMES = FEATURES.n_mels, SLICES.n_frames
PLAIN = standard_of(Normalisation("training", np.zeros(N_MELS, np.float32), np.ones(N_MELS, np.float32)))


def numbered(n_frames: int, song: int = 0) -> np.ndarray:
    """Frames that tell where they come from: every value of frame ``t`` is ``1000 song + t``."""
    return np.tile(1000.0 * song + np.arange(n_frames, dtype=np.float32), (N_MELS, 1))


@given(st.integers(N_FRAMES, 3 * N_FRAMES), st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_random_slice_is_a_whole_piece_of_the_song(n_frames: int, seed: int) -> None:
    songs = songs_of({"a": numbered(n_frames)}, [0])
    piece = songs.random_slice(0, np.random.default_rng(seed))
    assert piece.shape == (N_MELS, N_FRAMES)
    assert np.array_equal(np.diff(piece[0]), np.ones(N_FRAMES - 1))
    assert piece.min() >= 0
    assert piece.max() <= n_frames - 1


def test_random_slices_start_everywhere() -> None:
    songs, random = songs_of({"a": numbered(N_FRAMES + 3)}, [0]), np.random.default_rng(0)
    starts = {songs.random_slice(0, random)[0, 0] for _ in range(100)}
    assert starts == {0, 1, 2, 3}


def test_short_songs_are_repeated_and_very_short_ones_refused() -> None:
    songs = songs_of({"short": numbered(13), "tiny": numbered(9)}, [0, 0])
    piece = songs.random_slice(0, np.random.default_rng(0))
    assert piece[0].tolist() == [*range(13), *range(7)]
    assert np.array_equal(songs.cut(0)[0], piece)
    assert len(songs.cut(1)) == 0
    with pytest.raises(FeatureError, match="song tiny has 9 frames, needed half of 20; leave it out or use shorter"):
        songs.random_slice(1, np.random.default_rng(0))


def test_frames_side_by_side_name_the_slices_that_would_be_drawn() -> None:
    songs = songs_of({"a": numbered(31), "b": numbered(20, 1), "short": numbered(13, 2)}, [0, 1, 1])
    resident = side_by_side(songs)
    assert resident.frames.shape == (N_MELS, 31 + 20 + N_FRAMES)

    def draw(resident: ResidentFrames | None) -> list[Batch]:
        random = np.random.default_rng(3)
        options = {"n_batches": 5, "batch_size": 8, "balance": 1.0, "random": random, "resident": resident}
        return list(random_batches(songs, PLAIN, np.array([0, 1]), **options))  # type: ignore[arg-type]

    for cut, named in zip(draw(None), draw(resident), strict=True):
        assert named.slices.dtype == np.int32
        found = np.stack([resident.frames[:, first : first + N_FRAMES] for first in named.slices])
        np.testing.assert_array_equal(found, cut.slices)
        np.testing.assert_array_equal(named.child_idx, cut.child_idx)


def test_songs_are_chosen_by_flag_and_by_name() -> None:
    songs = songs_of({name: numbered(30, i) for i, name in enumerate("abc")}, [0, 1, 1])
    assert songs.where([True, False, True]).ids == ("a", "c")
    assert songs.where(np.array([False, True, False])).genre_idx.tolist() == [1]
    assert songs.named(["c", "a", "unknown"]).ids == ("a", "c")
    assert songs.named(["c"]).cut(0)[0, 0, 0] == 2000
    assert len(songs.where([False] * 3)) == 0


@pytest.mark.parametrize("n_slices", [1, 2, 3, None])
def test_few_slices_are_spread_over_the_song(n_slices: int | None) -> None:
    songs = songs_of({"a": numbered(7 * N_FRAMES + 3)}, [0])
    spread = spread_slices(songs, 0, n_slices)
    starts = spread[:, 0, 0] / N_FRAMES
    wanted = {1: [0], 2: [0, 6], 3: [0, 3, 6], None: list(range(7))}[n_slices]
    assert starts.tolist() == wanted
    assert np.array_equal(spread_slices(songs, 0, 99), songs.cut(0))


def test_song_weights_by_hand() -> None:
    genre_idx = np.array([0, 0, 0, 2])
    assert song_weights(genre_idx, 0.0) == pytest.approx([0.25] * 4)
    assert song_weights(genre_idx, 1.0) == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    half = np.array([3**-0.5] * 3 + [1])
    assert song_weights(genre_idx, 0.5) == pytest.approx(half / half.sum())


def batches_of(songs: LearningSongs, n_batches: int, balance: float, seed: int = 0) -> list[Batch]:
    return list(
        random_batches(
            songs,
            PLAIN,
            np.array([5, 7, -1]),
            n_batches=n_batches,
            batch_size=16,
            balance=balance,
            random=np.random.default_rng(seed),
        )
    )


@pytest.mark.parametrize(("balance", "share"), [(0.0, 0.1), (1.0, 0.5)])
def test_draws_have_the_shares_that_balance_asks_for(balance: float, share: float) -> None:
    songs = songs_of({f"{i}": numbered(N_FRAMES, i) for i in range(20)}, [0] * 18 + [1] * 2)
    batches = batches_of(songs, 250, balance)
    children = np.concatenate([batch.child_idx for batch in batches])
    assert set(children.tolist()) == {5, 7}
    assert (children == 7).mean() == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 4000))
    drawn = np.concatenate([batch.slices[:, 0, 0] for batch in batches]) // 1000
    assert np.array_equal(children == 7, drawn >= 18)
    assert len(set(drawn.tolist())) == 20


def test_batches_follow_the_seed() -> None:
    songs = planted_songs([3, 4])
    first, again, other = (batches_of(songs, 2, 1.0, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first.slices, again.slices)
    assert not np.array_equal(first.slices, other.slices)
    assert first.slices.shape == (16, N_MELS, N_FRAMES)
    assert first.slices.dtype == np.float32
    assert first.mean_db.shape == first.std_db.shape == (16, N_MELS)


def test_standard_is_the_training_songs_or_each_songs_own() -> None:
    songs = planted_songs([2, 2])
    fitted = fit_normalisation((songs.cut(i) for i in range(len(songs))), FEATURES)
    for i in range(len(songs)):
        mean_db, std_db = standard_of(fitted)(songs, i)
        assert mean_db is fitted.mean_db
        assert std_db is fitted.std_db
    own = standard_of(Normalisation.per_song(N_MELS))
    for i in (1, 3, 1):
        for ours, theirs in zip(
            own(songs, i), song_statistics(cut_slices(songs.frames(songs.ids[i]), SLICES), FEATURES), strict=True
        ):
            assert np.array_equal(ours, theirs)


def test_a_songs_own_statistics_are_found_once() -> None:
    songs = planted_songs([2])
    frames, asked = counted(songs.frames)
    own = standard_of(Normalisation.per_song(N_MELS))
    for _ in range(3):
        own(replace(songs, frames=frames), 1)
    assert asked == ["song 1"]


def test_nothing_is_read_before_it_is_drawn_and_only_what_is_drawn(tmp_path: Path) -> None:
    """20 songs of 4.8 MB each, of which batches may touch only slices."""
    shape = (20, N_MELS, 100_000)
    corpus = np.memmap(tmp_path / "corpus.f32", np.float32, "w+", shape=shape)
    frames, asked = counted(lambda song_id: corpus[int(song_id)])
    songs = LearningSongs(tuple(map(str, range(20))), np.arange(20) % 2, frames, FEATURES, SLICES)
    tracemalloc.start()
    try:
        kept = songs.where(songs.genre_idx == 0).named([str(i) for i in range(10)])
        assert asked == []
        drawn = random_batches(
            kept, PLAIN, np.array([0]), n_batches=30, batch_size=16, balance=1.0, random=np.random.default_rng(0)
        )
        n_batches = 0
        for batch in drawn:
            n_batches += 1
            assert batch.slices.shape == (16, N_MELS, N_FRAMES)
            assert len(asked) == 16 * n_batches
        assert len(spread_slices(kept, 0, 5)) == 5
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_batches == 30
    assert set(asked) <= set(kept.ids)
    batch_bytes = 16 * N_MELS * N_FRAMES * 4
    assert peak_bytes < 20 * batch_bytes < shape[1] * shape[2] * 4
