"""Whether confidence means what it says: calibration error, Brier score, and how sure such a figure can be."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.metrics.classification import log_loss
from hgenre.metrics.selective import aurc, curve_points, excess_aurc

N_BINS = 15
"""As Guo et al. 2017, "On Calibration of Modern Neural Networks"."""

_CURVE_POINTS = 20
_ECE_DRAWS = 1000


def expected_calibration_error(
    p: ArrayLike, true_idx: ArrayLike, answer_idx: ArrayLike | None = None, n_bins: int = N_BINS
) -> float:
    """Expected calibration error of the answers, in 0..1: the mean gap of confidence and accuracy over bins of songs.

    The bins hold equally many songs each (Nixon et al. 2019, "Measuring Calibration in Deep Learning"), so that each
    gap is known equally well; Guo et al. 2017 cut at equal steps of confidence. Songs of equal confidence share a bin.
    The error is never negative and grows as songs become few: see :func:`calibrated_error`.

    Args:
        p: (song, genre) probabilities.
        true_idx: (song,) index of the true genre.
        answer_idx: (song,) index of the answer, whose probability is the confidence; a vote's answer need not be the
            likeliest genre. The likeliest when None.

    Raises:
        ValueError: the shapes disagree, an index is no genre, or there is no song.
    """
    confidence, right = confidence_and_right(p, true_idx, answer_idx)
    return _binned_gap(confidence, right, n_bins)


def classwise_calibration_error(p: ArrayLike, true_idx: ArrayLike, n_bins: int = N_BINS) -> float:
    """Classwise ECE in 0..1: the calibration error of each genre's probability (song, genre), mean over genres.

    Source: Kull et al. 2019, "Beyond temperature scaling", here over bins of equally many songs, which Nixon et al.
    2019 call the adaptive calibration error. Raises ValueError as :func:`expected_calibration_error`.
    """
    probabilities, truth = _checked(p, true_idx)
    genres = range(probabilities.shape[1])
    return float(np.mean([_binned_gap(probabilities[:, g], truth == g, n_bins) for g in genres]))


def calibrated_error(p: ArrayLike, answer_idx: ArrayLike | None = None, n_draws: int = 200, *, seed: int) -> float:
    """The ECE that these confidences would show on average if each meant exactly what it says: what noise alone makes.

    Answers are drawn right with their confidence as probability, as the consistency resampling of Bröcker and Smith
    2007, "Increasing the reliability of reliability diagrams". Raises ValueError as
    :func:`expected_calibration_error`.
    """
    n_songs = len(np.asarray(p))
    confidence, _ = confidence_and_right(p, np.zeros(n_songs, dtype=np.intp), answer_idx)
    rng = np.random.default_rng(seed)
    draws = (_binned_gap(confidence, rng.random(n_songs) < confidence, N_BINS) for _ in range(n_draws))
    return float(np.mean(list(draws)))


def brier_score(p: ArrayLike, true_idx: ArrayLike) -> float:
    """Multiclass Brier score in 0..2: squared errors of probabilities (song, genre), their sum a song, mean over songs.

    Source: Brier 1950, "Verification of forecasts expressed in terms of probability". Raises ValueError as
    :func:`expected_calibration_error`.
    """
    probabilities, truth = _checked(p, true_idx)
    return float(((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1).mean())


def cluster_bootstrap(
    statistic: Callable[[NDArray[np.intp]], float],
    clusters: ArrayLike,
    n_draws: int = 1000,
    *,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Basic bootstrap interval (low, high) of a statistic of songs, drawing clusters such as artists as a whole.

    The draws' quantiles are reflected at the statistic's own value (Davison and Hinkley 1997, "Bootstrap Methods and
    their Application", section 5.2), which takes a statistic's bias out. A calibration error needs that: every draw's
    error is larger than it should be, and quantiles that are not reflected miss the songs' own error.

    Args:
        statistic: from (song,) positions, which may repeat, to a number.
        clusters: (song,) names of what is drawn together.

    Raises:
        ValueError: there is no song.
    """
    low, high = np.quantile(_reflected(statistic, clusters, n_draws, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _reflected(
    statistic: Callable[[NDArray[np.intp]], float], clusters: ArrayLike, n_draws: int, seed: int
) -> NDArray[np.float64]:
    """Draws (draw,) of a statistic over whole clusters, reflected at its own value."""
    _, cluster_idx, size = np.unique(np.asarray(clusters), return_inverse=True, return_counts=True)
    if len(cluster_idx) == 0:
        raise ValueError("the bootstrap needs at least 1 song, found 0")
    songs = np.argsort(cluster_idx, kind="stable")
    start = np.cumsum(size) - size
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n_draws):
        drawn = rng.integers(0, len(size), len(size))
        n = size[drawn]
        # Positions start, start + 1, ... of each drawn cluster, one cluster after another.
        positions = np.arange(n.sum()) + np.repeat(start[drawn] - (np.cumsum(n) - n), n)
        draws.append(statistic(songs[positions]))
    return 2 * statistic(np.arange(len(cluster_idx))) - np.array(draws)


def confidence_report(
    p: ArrayLike,
    true_idx: ArrayLike,
    answer_idx: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    *,
    whole: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """What probabilities (song, genre) and the confidence of the answers (song,) are worth, as plain JSON values.

    ``ece`` has its ``value``; ``corrected``, the value with the noise of few songs taken out as far as the bootstrap
    knows it, and its 95 % ``interval``: median and ends of the reflected draws of :func:`cluster_bootstrap` over
    ``clusters`` (song,), single songs when None; and what the same confidences would show if they were ``calibrated``.
    ``risk_coverage`` holds at most 20 pairs: the share of songs that are answered, surest first, and the share of those
    that are wrong. ``log_loss``, ``brier`` and ``classwise_ece`` judge all genres: None unless a song's probabilities
    are ``whole``, that is, sum to 1.

    Raises:
        ValueError: as :func:`expected_calibration_error`.
    """
    confidence, right = confidence_and_right(p, true_idx, answer_idx)

    def ece(songs: NDArray[np.intp]) -> float:
        return _binned_gap(confidence[songs], right[songs], N_BINS)

    names = np.arange(len(right)) if clusters is None else clusters
    ends = np.quantile(_reflected(ece, names, _ECE_DRAWS, seed), [0.025, 0.5, 0.975])
    low, corrected, high = np.clip(ends, 0.0, 1.0).tolist()
    return {
        "log_loss": log_loss(true_idx, p) if whole else None,
        "brier": brier_score(p, true_idx) if whole else None,
        "ece": {
            "value": ece(np.arange(len(right))),
            "corrected": corrected,
            "interval": [low, high],
            "calibrated": calibrated_error(p, answer_idx, seed=seed),
        },
        "classwise_ece": classwise_calibration_error(p, true_idx) if whole else None,
        "aurc": aurc(confidence, right),
        "excess_aurc": excess_aurc(confidence, right),
        "risk_coverage": [list(point) for point in curve_points(confidence, right, _CURVE_POINTS)],
    }


def confidence_and_right(
    p: ArrayLike, true_idx: ArrayLike, answer_idx: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The probability of each song's answer (song,), and whether the answer is right (song,)."""
    probabilities, truth = _checked(p, true_idx)
    answer = probabilities.argmax(axis=1) if answer_idx is None else _checked(p, answer_idx)[1]
    return np.take_along_axis(probabilities, answer[:, None], axis=1)[:, 0], answer == truth


def _binned_gap(confidence: NDArray[np.float64], right: NDArray[np.bool_], n_bins: int) -> float:
    """Mean over songs of the gap between mean confidence and share of right answers in the song's bin."""
    n = len(confidence)
    ordered = np.sort(confidence)
    first, beyond = np.searchsorted(ordered, confidence, "left"), np.searchsorted(ordered, confidence, "right")
    # The bin of the mean rank, in whole numbers, so that equal confidences share one whatever their order.
    bin_idx = (first + beyond) * n_bins // (2 * n)
    return float(np.abs(np.bincount(bin_idx, weights=confidence - right)).sum() / n)


def _checked(p: ArrayLike, genre_idx: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    probabilities, genres = np.asarray(p, dtype=np.float64), np.asarray(genre_idx, dtype=np.intp)
    if probabilities.ndim != 2 or genres.shape != probabilities.shape[:1] or probabilities.size == 0:
        raise ValueError(
            "need probabilities (song, genre) and a genre (song,) for at least 1 song, "
            f"found {probabilities.shape} and {genres.shape}"
        )
    if not 0 <= genres.min() <= genres.max() < probabilities.shape[1]:
        raise ValueError(
            f"genre indices must lie in 0..{probabilities.shape[1] - 1}, found {genres.min()}..{genres.max()}"
        )
    return probabilities, genres
