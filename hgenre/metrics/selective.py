"""What is gained by answering only the songs one is sure of: risk against coverage.

Songs of equal confidence have no order, so every figure is the mean over all their orders.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def risk_coverage(confidence: ArrayLike, right: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The risk-coverage curve: shares of songs answered, surest first, and the share of wrong answers among them.

    Source: Geifman and El-Yaniv 2017, "Selective Classification for Deep Neural Networks".

    Args:
        confidence: (song,), any scale.
        right: (song,) bool.

    Returns:
        coverage (song,) ``1/n .. 1`` and risk (song,) in 0..1.

    Raises:
        ValueError: the shapes differ, a confidence is NaN, or there is no song.
    """
    sure, correct = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=bool)
    if sure.ndim != 1 or sure.shape != correct.shape or sure.size == 0 or np.isnan(sure).any():
        raise ValueError(
            "need a confidence that is a number and right or wrong for at least 1 song (song,), "
            f"found shapes {sure.shape} and {correct.shape} with {int(np.isnan(sure).sum())} NaN"
        )
    _, level, n_level = np.unique(-sure, return_inverse=True, return_counts=True)
    # In a random order each song of a level is wrong with the level's own share of wrong answers.
    wrong = np.repeat(np.bincount(level, weights=~correct) / n_level, n_level)
    answered = np.arange(1, len(wrong) + 1)
    return answered / len(wrong), np.cumsum(wrong) / answered


def curve_points(confidence: ArrayLike, right: ArrayLike, n_points: int) -> list[tuple[float, float]]:
    """(coverage, risk) at ``n_points`` equal steps of coverage up to 1, rounded up to whole songs, each point once."""
    coverage, risk = risk_coverage(confidence, right)
    at = np.unique(-(-len(risk) * np.arange(1, n_points + 1) // n_points)) - 1
    return [(float(coverage[i]), float(risk[i])) for i in at]


def aurc(confidence: ArrayLike, right: ArrayLike) -> float:
    """Area under the risk-coverage curve in 0..1, lower is better: the mean risk over the coverages ``1/n .. 1``.

    Source: Geifman, Uziel and El-Yaniv 2019, "Bias-Reduced Uncertainty Estimation for Deep Neural Classifiers".
    Raises ValueError as :func:`risk_coverage`.
    """
    return float(risk_coverage(confidence, right)[1].mean())


def excess_aurc(confidence: ArrayLike, right: ArrayLike) -> float:
    """AURC beyond that of a confidence that ranks every right answer above every wrong one; 0 is perfect.

    Source: Geifman et al. 2019, who approximate the perfect area; here it is exact. Raises ValueError as
    :func:`risk_coverage`.
    """
    return aurc(confidence, right) - aurc(np.asarray(right, dtype=np.float64), right)
