"""How far groups stay the same when the songs that they come from change."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import TreeError
from hgenre.grouping.confusion import soft_confusion
from hgenre.grouping.groups import Groups, group_of_genre
from hgenre.labels import Labels


@dataclass(frozen=True)
class Stability:
    """Adjusted Rand indices over all pairs of ``n_groupings``: 1 where all are the same, 0 expected by chance."""

    mean: float
    sd: float
    n_groupings: int


def adjusted_rand(groups_a: Groups, groups_b: Groups, labels: Labels) -> float:
    """The adjusted Rand index of two groupings (Hubert and Arabie 1985), in -0.5..1, 1 where they are the same.

    Raises:
        TreeError: groups that are not disjoint, or do not hold every genre of the labels and no other.
    """
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(group_of_genre(groups_a, labels), group_of_genre(groups_b, labels)))


def stability(groupings: Sequence[Groups], labels: Labels) -> Stability:
    """Mean and standard deviation (over the pairs, which share groupings: no standard error) of adjusted Rand indices.

    Raises:
        TreeError: fewer than two groupings, or as :func:`adjusted_rand`.
    """
    if len(groupings) < 2:
        raise TreeError([f"stability compares at least 2 groupings, found {len(groupings)}"])
    # Songs drawn anew often come to the same groups, so the index is taken once for each two that differ.
    times = Counter(groupings)
    found = [(1.0, math.comb(n, 2)) for n in times.values()]
    found += [(adjusted_rand(a, b, labels), times[a] * times[b]) for a, b in itertools.combinations(times, 2)]
    indices, n_pairs = np.array(found).T
    mean = float(np.average(indices, weights=n_pairs))
    return Stability(mean, float(np.average((indices - mean) ** 2, weights=n_pairs) ** 0.5), len(groupings))


def bootstrap(
    true_idx: ArrayLike,
    p: ArrayLike,
    clusters: ArrayLike,
    derive: Callable[[NDArray[np.float64]], Groups],
    n_draws: int,
    seed: int,
) -> tuple[Groups, ...]:
    """``n_draws`` groupings, each derived from the soft confusion (genre, genre) of songs drawn with replacement.

    Whole clusters are drawn, because songs of one artist are confused alike.

    Args:
        true_idx: genre (song,) of each song.
        p: held-out probabilities (song, genre).
        clusters: what a song is drawn together with, (song,), the artist or the song's own id.
    """
    truth, probabilities = np.asarray(true_idx, dtype=np.intp), np.asarray(p, dtype=np.float64)
    cluster_idx = np.unique(np.asarray(clusters), return_inverse=True)[1]
    n_clusters = int(cluster_idx.max()) + 1
    rng = np.random.default_rng(seed)
    groupings = []
    for _ in range(n_draws):
        times = np.bincount(rng.integers(n_clusters, size=n_clusters), minlength=n_clusters)
        song_idx = np.repeat(np.arange(len(truth)), times[cluster_idx])
        groupings.append(derive(soft_confusion(truth[song_idx], probabilities[song_idx], probabilities.shape[1])))
    return tuple(groupings)


def co_membership(groupings: Sequence[Groups], labels: Labels) -> NDArray[np.float64]:
    """Share of the groupings, in 0..1, in which two genres are in one group: (genre, genre) with ones on the diagonal.

    Raises:
        TreeError: no grouping, or as :func:`adjusted_rand`.
    """
    if not groupings:
        raise TreeError(["co-membership needs at least 1 grouping, found none"])
    group_idx = np.stack([group_of_genre(groups, labels) for groups in groupings])
    return np.asarray((group_idx[:, :, None] == group_idx[:, None, :]).mean(axis=0))
