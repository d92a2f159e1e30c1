"""Songs that a small net can tell apart: each genre sounds in a band of its own."""

from collections.abc import Callable

import numpy as np

from hgenre.training.songs import LearningSongs
from tests.small_bundles import FEATURES, SLICES


def planted_songs(
    n_songs_of_genre: list[int], seed: int = 0, n_frames: int = 50, contrast_db: float = 12.0, longer_frames: int = 0
) -> LearningSongs:
    """Songs of noise, ``contrast_db`` louder in the bands of their genre; every other one ``longer_frames`` longer."""
    random = np.random.default_rng(seed)
    genre_idx = np.repeat(np.arange(len(n_songs_of_genre)), n_songs_of_genre)
    width = FEATURES.n_mels // len(n_songs_of_genre)
    frames = {}
    for i, genre in enumerate(genre_idx):
        song = random.normal(-30, 4, (FEATURES.n_mels, n_frames + i % 2 * longer_frames)).astype(np.float32)
        song[genre * width : (genre + 1) * width] += contrast_db
        frames[f"song {i}"] = song
    return LearningSongs(tuple(frames), genre_idx, frames.__getitem__, FEATURES, SLICES)


def songs_of(frames: dict[str, np.ndarray], genre_idx: list[int]) -> LearningSongs:
    return LearningSongs(tuple(frames), np.array(genre_idx), frames.__getitem__, FEATURES, SLICES)


def counted(read: Callable[[str], np.ndarray]) -> tuple[Callable[[str], np.ndarray], list[str]]:
    """``read``, and the list of what it was asked for."""
    asked: list[str] = []

    def reading(song_id: str) -> np.ndarray:
        asked.append(song_id)
        return read(song_id)

    return reading, asked
