"""What nets learn from: songs as spectrogram frames on disk, drawn as random slices."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hgenre.errors import FeatureError
from hgenre.features import Normalisation, SliceSpec, cut_slices, repeat_to_slice, statistics_for
from hgenre.features.spec import FeatureSpec


@dataclass(frozen=True)
class LearningSongs:
    """Songs with their genres and a way to their frames; nothing is read until it is asked for.

    Attributes:
        ids: (song,) names.
        genre_idx: (song,) int, positions in the label list.
        frames: song id -> (mel, frame) float32, usually a view of a file.
        features, slices: what the frames are and how they are cut.
    """

    ids: tuple[str, ...]
    genre_idx: np.ndarray
    frames: Callable[[str], np.ndarray]
    features: FeatureSpec
    slices: SliceSpec

    def __len__(self) -> int:
        return len(self.ids)

    def where(self, keep: Sequence[bool] | np.ndarray) -> "LearningSongs":
        """The songs whose entry in ``keep`` (song,) is true."""
        kept = np.flatnonzero(np.asarray(keep))
        ids = tuple(self.ids[i] for i in kept)
        return LearningSongs(ids, self.genre_idx[kept], self.frames, self.features, self.slices)

    def named(self, ids: Sequence[str]) -> "LearningSongs":
        """The songs with these ids, in this collection's order."""
        wanted = set(ids)
        return self.where([song_id in wanted for song_id in self.ids])

    def cut(self, i: int) -> np.ndarray:
        """All slices (slice, mel, frame) of song ``i``; none where it is too short."""
        return cut_slices(self.frames(self.ids[i]), self.slices)

    def whole(self, i: int) -> np.ndarray:
        """The frames (mel, frame) of song ``i``, repeated to a slice where they are fewer.

        Raises:
            FeatureError: they are less than half a slice.
        """
        frames = self.frames(self.ids[i])
        if frames.shape[1] >= self.slices.n_frames:
            return frames
        repeated = repeat_to_slice(frames, self.slices)
        if repeated is None:
            raise FeatureError(
                f"song {self.ids[i]} has {frames.shape[1]} frames, needed half of {self.slices.n_frames}; "
                "leave it out or use shorter slices"
            )
        return repeated

    def random_slice(self, i: int, random: np.random.Generator) -> np.ndarray:
        """One slice (mel, frame) of song ``i`` that starts at a random frame."""
        frames = self.whole(i)
        start = random_start(frames.shape[1], self.slices, random)
        return frames[:, start : start + self.slices.n_frames]


def random_start(n_frames: int, slices: SliceSpec, random: np.random.Generator) -> int:
    """First frame of a random slice of ``n_frames`` frames; nothing is drawn where there is one slice only."""
    spare = n_frames - slices.n_frames
    return int(random.integers(spare + 1)) if spare else 0


Standard = Callable[[LearningSongs, int], tuple[np.ndarray, np.ndarray]]
"""(songs, song) -> (mean_db, std_db), both (mel,), that the song's level-free slices are standardised with."""


def standard_of(normalisation: Normalisation) -> Standard:
    """The training songs' statistics for every song, or each song's own, as the normalisation says."""
    if normalisation.kind == "training":
        return lambda songs, i: (normalisation.mean_db, normalisation.std_db)
    known: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def own(songs: LearningSongs, i: int) -> tuple[np.ndarray, np.ndarray]:
        if songs.ids[i] not in known:
            known[songs.ids[i]] = statistics_for(songs.cut(i), normalisation, songs.features)
        return known[songs.ids[i]]

    return own


@dataclass(frozen=True)
class Batch:
    """Slices that enter a net together."""

    slices: np.ndarray  # (slice, mel, frame) dB; or (slice,) int32, where a device has the frames: their first ones
    mean_db: np.ndarray  # (slice, mel)
    std_db: np.ndarray  # (slice, mel)
    child_idx: np.ndarray  # (slice,)


@dataclass(frozen=True, eq=False)
class ResidentFrames:
    """Songs side by side in one array, to be copied to a device once.

    Attributes:
        frames: (mel, frame) float32, all songs one after the other.
        bounds: (song + 1,) first frame of each song, and the end.
    """

    frames: np.ndarray
    bounds: np.ndarray
    slices: SliceSpec

    def random_start(self, i: int, random: np.random.Generator) -> int:
        """First frame of the slice that ``LearningSongs.random_slice`` draws."""
        start, end = self.bounds[i : i + 2]
        return int(start) + random_start(int(end - start), self.slices, random)


def side_by_side(songs: LearningSongs) -> ResidentFrames:
    """All songs' frames in one array; raises FeatureError where a song is too short."""
    parts = [songs.whole(i) for i in range(len(songs))]
    bounds = np.concatenate([[0], np.cumsum([part.shape[1] for part in parts])])
    return ResidentFrames(np.concatenate(parts, axis=1).astype(np.float32, copy=False), bounds, songs.slices)


def song_weights(genre_idx: np.ndarray, balance: float) -> np.ndarray:
    """(song,) probabilities of being drawn: ``balance`` 0 gives songs, 1 gives genres the same share."""
    n_songs_of_genre = np.bincount(genre_idx)[genre_idx].astype(np.float64)
    weights = n_songs_of_genre**-balance
    return weights / weights.sum()


def random_batches(
    songs: LearningSongs,
    standard: Standard,
    child_of_genre: np.ndarray,
    *,
    n_batches: int,
    batch_size: int,
    balance: float,
    random: np.random.Generator,
    resident: "ResidentFrames | None" = None,
) -> Iterator[Batch]:
    """``n_batches`` batches of random slices of random songs; ``child_of_genre`` (genre,) gives the targets.

    With ``resident`` frames of these songs the same slices are named by their first frames.
    """
    weights = song_weights(songs.genre_idx, balance)
    draw = resident.random_start if resident else songs.random_slice
    for _ in range(n_batches):
        chosen = random.choice(len(songs), size=batch_size, p=weights)
        statistics = [standard(songs, i) for i in chosen]
        yield Batch(
            slices=np.stack([draw(i, random) for i in chosen]).astype(np.int32 if resident else np.float32),
            mean_db=np.stack([mean for mean, _ in statistics]),
            std_db=np.stack([std for _, std in statistics]),
            child_idx=child_of_genre[songs.genre_idx[chosen]],
        )


def spread_slices(songs: LearningSongs, i: int, n_slices: int | None) -> np.ndarray:
    """At most ``n_slices`` slices (slice, mel, frame) of song ``i``, spread evenly over it; all when None."""
    slices = songs.cut(i)
    if n_slices is None or len(slices) <= n_slices:
        return slices
    return slices[np.linspace(0, len(slices) - 1, n_slices).round().astype(int)]
