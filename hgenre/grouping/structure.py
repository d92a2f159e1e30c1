"""Whether mistakes know groups at all, or only follow from genres that many songs are taken for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import TreeError
from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.grouping.groups import by_name
from hgenre.grouping.linkage import distance_of, merges
from hgenre.labels import Labels

ALPHA = 0.05
"""How often structure is found where there is none."""


@dataclass(frozen=True)
class Structure:
    """A parametric bootstrap test of groups in ``n_mistakes`` songs.

    Attributes:
        statistic: the largest :func:`hgenre.grouping.groups.excess_within` that average linkage comes to, over 2 to
            ``len(labels) - 1`` groups.
        null_mean: mean of the statistic over ``n_draws`` confusions without structure. It is above 0, because
            linkage finds groups in any noise.
        p: share of them, the observed one counted in, that reach the statistic.
        is_there: ``p`` is at most ALPHA.
    """

    statistic: float
    null_mean: float
    p: float
    is_there: bool
    n_mistakes: int
    n_draws: int


def structure(counts: ArrayLike, labels: Labels, *, n_draws: int = 500, seed: int = 0) -> Structure:
    """Tests whether the mistakes of hard confusions (genre, genre), rows the truth, know groups.

    Under the null hypothesis the genre that is wrongly answered does not depend on the true one: quasi-independence
    (Goodman 1968). Each genre keeps its right answers and its number of mistakes, and these are drawn from
    :func:`quasi_independent`. So neither a genre that draws everybody's mistakes nor genres of unequal size or
    difficulty are structure. Songs count as independent. Two genres that alone are wrongly answered are explained as
    such, and never as a group.

    Raises:
        TreeError: fewer than 3 genres; counts that are not (genre, genre), or not whole numbers of 0 or more.
    """
    if len(labels) < 3:
        raise TreeError([f"structure needs at least 3 genres, found {len(labels)}"])
    c = by_name(checked_confusion(counts, labels), labels)
    if (c != np.round(c)).any():
        raise TreeError(
            ["structure is tested on counts of songs, found values that are not whole; give hard confusions"]
        )
    right = np.diag(np.diag(c))
    n_mistakes = (c - right).sum(axis=1).astype(np.int64)
    statistic = largest_excess(c)
    if not n_mistakes.any():
        return Structure(statistic, 0.0, 1.0, False, 0, n_draws)
    expected = quasi_independent(c)
    rng = np.random.default_rng(seed)
    drawn = np.zeros((n_draws, *c.shape)) + right
    for i in np.flatnonzero(n_mistakes):
        drawn[:, i] += rng.multinomial(n_mistakes[i], expected[i] / expected[i].sum(), size=n_draws)
    null = np.array([largest_excess(draw) for draw in drawn])
    # Equal statistics are reached by different sums.
    p = float((1 + (null >= statistic - 1e-9).sum()) / (1 + n_draws))
    return Structure(statistic, float(null.mean()), p, p <= ALPHA, int(n_mistakes.sum()), n_draws)


def verdict(found: Structure) -> str:
    """Whether groups may be read into the confusion, in one sentence."""
    if found.n_mistakes == 0:
        return "There are no mistakes that could tell whether the genres form groups."
    figures = (
        f"average-linkage groups hold {100 * found.statistic:.1f} points more of the {found.n_mistakes} mistakes than "
        f"their sizes explain, and {100 * found.null_mean:.1f} where mistakes know no groups (p = {found.p:.3g})"
    )
    if found.is_there:
        return f"The mistakes know groups: {figures}."
    return f"No structure: {figures}; groups of these genres would be groups of noise."


def largest_excess(counts: NDArray[np.float64]) -> float:
    """The largest :func:`hgenre.grouping.groups.excess_within` over average linkage's groups, 0 without mistakes."""
    alike = similarity(counts)
    n, total = len(alike), alike.sum()
    if total == 0:
        return 0.0
    merged = merges(distance_of(alike), "average")
    size = np.concatenate([np.ones(n), merged[:, 3]])
    # Every merge moves the ordered pairs between two groups inside, and its distance tells their mean similarity.
    pairs = 2 * size[merged[:, 0].astype(np.intp)] * size[merged[:, 1].astype(np.intp)]
    inside = pairs * (alike.max() - merged[:, 2])
    return float((np.cumsum(inside) / total - np.cumsum(pairs) / (n * (n - 1)))[: n - 2].max())


def quasi_independent(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected mistakes ``a_i b_j`` off the diagonal (genre, genre) that have the rows' and columns' sums of these.

    The maximum-likelihood fit, by iterative proportional fitting (Deming and Stephan 1940). Where it lies on the
    border, as when a genre is taken for one only, what is returned is within 1e-6 of the sums or the last of 10 000
    steps.
    """
    apart = 1.0 - np.eye(len(counts))
    row, column = (counts * apart).sum(axis=1), (counts * apart).sum(axis=0)
    a, b = row, np.where(column > 0, 1.0, 0.0)
    for _ in range(10_000):
        a = np.divide(row, apart @ b, out=np.zeros_like(row), where=row > 0)
        reached = b * (a @ apart)
        if np.abs(reached - column).max() <= 1e-6:
            break
        b = np.divide(column, a @ apart, out=np.zeros_like(column), where=column > 0)
    return np.outer(a, b) * apart
