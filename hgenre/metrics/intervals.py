"""How sure a measured accuracy, or the difference between two, can be."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def wilson(n_right: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval (low, high) in 0..1 of the proportion ``n_right / n``; (0, 1) when ``n`` is 0.

    Source: E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927.
    """
    if n == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    p = n_right / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (0.0 if n_right == 0 else centre - half), (1.0 if n_right == n else centre + half)


def difference_of_independent(
    p_a: float, interval_a: tuple[float, float], p_b: float, interval_b: tuple[float, float]
) -> tuple[float, float]:
    """Interval (low, high) in -1..1 of proportion a minus proportion b, measured on different songs.

    Source: R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in
    Medicine 17, 1998, method 10 where the intervals are Wilson's; the same squares for any others.
    """
    below = math.hypot(p_a - interval_a[0], interval_b[1] - p_b)
    above = math.hypot(interval_a[1] - p_a, p_b - interval_b[0])
    return p_a - p_b - below, p_a - p_b + above


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test: ``p`` two-sided, with the songs that only model a, or only model b, has right."""

    p: float
    a_only: int
    b_only: int


def mcnemar_exact(right_a: ArrayLike, right_b: ArrayLike) -> McNemar:
    """Test of two models on the same songs, from two boolean arrays (song,) of right answers.

    Under the hypothesis of equal accuracy each discordant song is a fair coin, so ``p`` is a binomial tail (1 where no
    song is discordant). Source: Q. McNemar, Psychometrika 12, 1947, in its exact form.
    """
    a, b = _paired(right_a, right_b)
    a_only, b_only = int((a & ~b).sum()), int((b & ~a).sum())
    if a_only == b_only:
        return McNemar(1.0, a_only, b_only)
    from scipy.stats import binomtest

    return McNemar(float(binomtest(a_only, a_only + b_only).pvalue), a_only, b_only)


def paired_bootstrap(
    right_a: ArrayLike,
    right_b: ArrayLike,
    n_draws: int = 10_000,
    *,
    seed: int,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of accuracy a minus accuracy b, in -1..1, on the same songs (song,).

    ``clusters`` (song,) names what is drawn as a whole, such as artists, whose songs are no independent evidence;
    without it songs are drawn. Clusters of equal size and equal difference are interchangeable, so how many of each
    kind a draw holds is multinomial: the draws are those of the plain bootstrap, in memory that no library exhausts.

    Raises:
        ValueError: the arrays differ in length or are empty.
    """
    a, b = _paired(right_a, right_b)
    if a.size == 0:
        raise ValueError("the bootstrap needs at least 1 song, found 0")
    difference = a.astype(np.int64) - b
    size = np.ones_like(difference)
    if clusters is not None:
        _, cluster_idx = np.unique(np.asarray(clusters), return_inverse=True)
        difference = np.bincount(cluster_idx, weights=difference).astype(np.int64)
        size = np.bincount(cluster_idx)
    kinds, n_of_kind = np.unique(np.stack([difference, size], axis=1), axis=0, return_counts=True)
    n_clusters = len(difference)
    draws = np.random.default_rng(seed).multinomial(n_clusters, n_of_kind / n_clusters, size=n_draws) @ kinds
    low, high = np.quantile(draws[:, 0] / draws[:, 1], [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def compare_right(
    right_a: ArrayLike, right_b: ArrayLike, clusters: ArrayLike | None = None, *, seed: int = 0
) -> dict[str, Any]:
    """Model a, a tree, less model b, a flat net, on the same songs, as plain JSON values.

    ``difference`` of accuracies, its bootstrap ``interval`` over ``clusters``, exact ``mcnemar_p``, how many songs
    ``tree_only`` and ``flat_only`` has right, ``n`` songs. Arguments as for :func:`paired_bootstrap`.
    """
    a, b = _paired(right_a, right_b)
    mcnemar = mcnemar_exact(a, b)
    return {
        "difference": float(a.mean() - b.mean()),
        "interval": list(paired_bootstrap(a, b, seed=seed, clusters=clusters)),
        "mcnemar_p": mcnemar.p,
        "tree_only": mcnemar.a_only,
        "flat_only": mcnemar.b_only,
        "n": len(a),
    }


def beyond_chance(mcnemar_p: float, interval: Sequence[float]) -> bool:
    """Whether chance explains a difference badly: by McNemar's test at 0.05, and by its interval (low, high) too."""
    low, high = interval
    return bool(mcnemar_p < 0.05 and (low > 0 or high < 0))


def mean_std(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (divisor n - 1) of one figure over seeds; no deviation from one value."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None


def _paired(right_a: ArrayLike, right_b: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    a, b = np.asarray(right_a, dtype=bool), np.asarray(right_b, dtype=bool)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"both models must answer the same songs (song,), found shapes {a.shape} and {b.shape}")
    return a, b
