"""How often the answers are right, genre by genre. Every score follows from the confusion matrix."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import HgenreError
from hgenre.labels import Labels
from hgenre.metrics.intervals import wilson

MAX_COUNT = 2**32
"""Of one cell of a confusion from outside: more songs than there are, and sums over 1000 genres are exact."""


@dataclass(frozen=True)
class GenreScore:
    """Precision, recall and F1 of one genre in 0..1, and its ``support``: the number of items that truly have it.

    A genre that was never answered has precision 0; one with no items has recall 0.
    """

    genre: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """How one model answered one set of songs (or slices).

    ``accuracy`` is ``n_right / n`` and ``interval`` its Wilson 95 % interval, all in 0..1. ``macro_f1`` is the plain
    mean over the genres that occur as truth or as answer. ``confusion`` counts (genre, genre), rows are the truth.
    """

    n: int
    n_right: int
    accuracy: float
    interval: tuple[float, float]
    macro_f1: float
    per_genre: tuple[GenreScore, ...]
    confusion: tuple[tuple[int, ...], ...]

    def to_json(self) -> dict[str, Any]:
        """The scores as a dict of plain numbers, strings and sequences."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scores":
        """Scores read back. Only genre names and confusion are believed; all other figures are computed anew.

        Raises:
            HgenreError: ``data`` holds no square confusion matrix of counts over distinct genres.
        """
        try:
            labels = Labels(tuple(str(row["genre"]) for row in data["per_genre"]))
            counts = np.array(data["confusion"])
        except (KeyError, TypeError, ValueError) as mistake:
            raise HgenreError(
                f"scores: need 'per_genre' rows with a 'genre' and a rectangular 'confusion', found {mistake!r}; "
                "run the evaluation again"
            ) from mistake
        whole = counts.shape == (len(labels), len(labels)) and counts.dtype.kind == "i"
        if not whole or not 0 <= counts.min() <= counts.max() <= MAX_COUNT:
            raise HgenreError(
                f"scores: 'confusion' must hold {len(labels)} x {len(labels)} whole counts from 0 to {MAX_COUNT}, a "
                f"row and column a genre; found shape {counts.shape} of {counts.dtype}; run the evaluation again"
            )
        return scores_of(counts, labels)


def confusion(true_idx: ArrayLike, predicted_idx: ArrayLike, n_genres: int) -> NDArray[np.int64]:
    """Counts (genre, genre) of true genre (row) against answer (column), from two index arrays (song,).

    Raises:
        ValueError: the arrays differ in shape or hold an index outside ``0..n_genres - 1``.
    """
    truth, answer = np.asarray(true_idx, dtype=np.intp), np.asarray(predicted_idx, dtype=np.intp)
    if truth.ndim != 1 or truth.shape != answer.shape:
        raise ValueError(f"truth and answers must be (song,) of one length, found {truth.shape} and {answer.shape}")
    both = np.concatenate([truth, answer])
    if both.size and not 0 <= both.min() <= both.max() < n_genres:
        raise ValueError(f"genre indices must lie in 0..{n_genres - 1}, found {both.min()}..{both.max()}")
    return np.bincount(truth * n_genres + answer, minlength=n_genres**2).reshape(n_genres, n_genres)


def score(true_idx: ArrayLike, predicted_idx: ArrayLike, labels: Labels) -> Scores:
    """Scores of answers (song,) against the truth (song,), both indices into ``labels``.

    Raises:
        HgenreError: there is nothing to score.
        ValueError: as :func:`confusion`.
    """
    return scores_of(confusion(true_idx, predicted_idx, len(labels)), labels)


def scores_of(counts: NDArray[np.int64], labels: Labels) -> Scores:
    """Scores that follow from a confusion matrix (genre, genre) of counts; raises HgenreError when it is empty."""
    n, right = int(counts.sum()), np.diag(counts)
    if n == 0:
        raise HgenreError(
            "scores: found no song to score, needed at least 1; check that the split you evaluate has songs"
        )
    support, answered = counts.sum(axis=1), counts.sum(axis=0)
    precision, recall = right / np.maximum(answered, 1), right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + answered, 1)
    return Scores(
        n=n,
        n_right=int(right.sum()),
        accuracy=int(right.sum()) / n,
        interval=wilson(int(right.sum()), n),
        macro_f1=float(f1[support + answered > 0].mean()),
        per_genre=tuple(
            GenreScore(genre, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, genre in enumerate(labels)
        ),
        confusion=tuple(tuple(row) for row in counts.tolist()),
    )


def log_loss(true_idx: ArrayLike, probabilities: ArrayLike) -> float:
    """Mean of ``-ln p(true genre)`` in nats over probabilities (song, genre).

    A probability below float64's epsilon counts as epsilon, as in scikit-learn, so one sure mistake costs 36, not
    infinity.
    """
    truth, p = np.asarray(true_idx, dtype=np.intp), np.asarray(probabilities, dtype=np.float64)
    p_true = np.take_along_axis(p, truth[:, None], axis=1)
    return float(-np.log(np.maximum(p_true, np.finfo(np.float64).eps)).mean())
