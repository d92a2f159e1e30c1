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

N_SWEEPS = 40
"""Times that every mistake meets one or two others; each sweep is mixed anew, so some log2 of their number suffices."""


@dataclass(frozen=True)
class Structure:
    """An exact conditional test of groups in ``n_mistakes`` songs.

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
    (Goodman 1968). Given how many mistakes each genre's songs make, and how often each genre is wrongly answered, all
    ways to deal these answers to these songs are then equally likely, but for those that make an answer right, and
    :func:`dealt_mistakes` draws from them. So neither a genre that draws everybody's mistakes nor genres of unequal
    size or difficulty are structure. Songs count as independent. Two genres that alone are wrongly answered leave one
    way to deal, and are never found to be a group.

    Raises:
        TreeError: fewer than 3 genres; counts that are not (genre, genre), or not whole numbers of 0 or more.
    """
    if len(labels) < 3:
        raise TreeError([f"structure needs at least 3 genres, found {len(labels)}"])
    c = by_name(checked_confusion(counts, labels), labels)
    if (c != np.round(c)).any():
        raise TreeError(["structure is tested on counts of songs, found values that are not whole; count hard answers"])
    right = np.diag(np.diag(c))
    statistic = largest_excess(c)
    null = np.array([largest_excess(right + wrong) for wrong in dealt_mistakes(c - right, n_draws, seed)])
    # Equal statistics may be sums in different orders.
    p = float((1 + (null >= statistic - 1e-9).sum()) / (1 + n_draws))
    return Structure(statistic, float(null.mean()), p, p <= ALPHA, int((c - right).sum()), n_draws)


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


def dealt_mistakes(mistakes: NDArray[np.float64], n_draws: int, seed: int) -> NDArray[np.int64]:
    """Mistakes (draw, genre, genre) with the rows' and columns' sums of these (genre, genre) and an empty diagonal.

    Each wrong answer is a card. By turns all songs meet in pairs and in threes, where their cards go round by none, one
    or two places, as it happens, unless an answer would become right by that. Such moves lead from any of these tables
    to any other (Aoki and Takemura 2005, "Markov chain Monte Carlo exact tests for incomplete two-way contingency
    tables"), and none is likelier than its way back, so in the long run every way to deal is equally likely.
    """
    n_genres = len(mistakes)
    true_idx, answer_idx = np.nonzero(mistakes)
    times = mistakes[true_idx, answer_idx].astype(np.intp)
    true_of = np.repeat(true_idx, times).astype(np.int16)
    answers = np.tile(np.repeat(answer_idx, times).astype(np.int16), (n_draws, 1))
    rng = np.random.default_rng(seed)
    for sweep in range(N_SWEEPS):
        n_meet = 2 + sweep % 2
        n_hands = len(true_of) // n_meet
        met = rng.permutation(len(true_of))[: n_hands * n_meet].reshape(n_meet, n_hands)
        held = answers[:, met]
        turn = rng.integers(n_meet, size=(n_draws, 1, n_hands))
        given = np.take_along_axis(held, (np.arange(n_meet)[:, None] + turn) % n_meet, axis=1)
        stays_wrong = (given != true_of[met]).all(axis=1, keepdims=True)
        answers[:, met] = np.where(stays_wrong, given, held)
    cells = true_of.astype(np.intp) * n_genres + answers
    dealt = np.stack([np.bincount(row, minlength=n_genres**2) for row in cells])
    return dealt.reshape(n_draws, n_genres, n_genres)
