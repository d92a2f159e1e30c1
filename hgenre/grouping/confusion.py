"""Which genres a model takes for one another."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import TreeError
from hgenre.labels import Labels


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


def hard_confusion(true_idx: ArrayLike, answer_idx: ArrayLike, n_genres: int) -> NDArray[np.int64]:
    """Songs (genre, genre) of each true genre (row) that were answered with each genre (column), from (song,) both."""
    truth, answer = np.asarray(true_idx, dtype=np.intp), np.asarray(answer_idx, dtype=np.intp)
    if truth.shape != answer.shape or truth.ndim != 1:
        raise ValueError(f"a song needs a genre and an answer, found {truth.shape} genres and {answer.shape} answers")
    counts = np.zeros((n_genres, n_genres), dtype=np.int64)
    np.add.at(counts, (truth, answer), 1)
    return counts


def similarity(confusion: ArrayLike) -> NDArray[np.float64]:
    """How readily two genres are taken for each other: symmetric (genre, genre) in 0..1 with an empty diagonal.

    Each row of the confusion (counts or mean probabilities) is first made to sum to 1, so a large genre weighs no more
    than a small one; then both directions are averaged.
    """
    c = np.asarray(confusion, dtype=np.float64)
    # Summed from the smallest on, a row comes to the same in the last bit whatever the order of the genres.
    row = np.sort(c, axis=1).sum(axis=1, keepdims=True)
    rates = np.divide(c, row, out=np.zeros_like(c), where=row > 0)
    both = (rates + rates.T) / 2
    np.fill_diagonal(both, 0.0)
    return both


def checked_confusion(confusion: ArrayLike, labels: Labels) -> NDArray[np.float64]:
    """A confusion (genre, genre) over the labels.

    Raises:
        TreeError: it is not (genre, genre), or holds a value that is not finite or below 0.
    """
    c = np.asarray(confusion, dtype=np.float64)
    if c.shape != (len(labels), len(labels)):
        raise TreeError([f"a confusion of {len(labels)} genres must be square over them, found shape {c.shape}"])
    if not (np.isfinite(c).all() and (c >= 0).all()):
        raise TreeError(
            ["the confusion holds NaN, infinite or negative values; did the flat model's training diverge?"]
        )
    return c
