"""Which genres a model takes for one another."""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def soft_confusion(true_idx: ArrayLike, probabilities: ArrayLike, n_genres: int) -> NDArray[np.float64]:
    """Mean probabilities (genre, genre) that songs of each true genre (row) got, from probabilities (song, genre).

    Softer than counts: on few songs it still tells a near miss from a far one. The row of a genre without songs is 0.
    To derive groups use held-out answers on training songs, never test songs.
    """
    truth, p = np.asarray(true_idx, dtype=np.intp), np.asarray(probabilities, dtype=np.float64)
    if p.shape != (len(truth), n_genres):
        raise ValueError(f"probabilities must be (song, genre) = {(len(truth), n_genres)}, found {p.shape}")
    total = np.zeros((n_genres, n_genres))
    np.add.at(total, truth, p)
    return total / np.maximum(np.bincount(truth, minlength=n_genres), 1)[:, None]


def similarity(confusion: ArrayLike) -> NDArray[np.float64]:
    """How readily two genres are taken for each other: symmetric (genre, genre) in 0..1 with an empty diagonal.

    Each row of the confusion (counts or mean probabilities) is first made to sum to 1, so a large genre weighs no more
    than a small one; then both directions are averaged.
    """
    c = np.asarray(confusion, dtype=np.float64)
    row = c.sum(axis=1, keepdims=True)
    rates = np.divide(c, row, out=np.zeros_like(c), where=row > 0)
    both = (rates + rates.T) / 2
    np.fill_diagonal(both, 0.0)
    return both
