"""The category hierarchy of HD-CNN: clusters of a Laplacian eigenmap, which overlap where songs go astray.

Yan et al. 2015, "HD-CNN: Hierarchical Deep Convolutional Neural Networks for Large Scale Visual Recognition" (ICCV).
"""

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import GroupCountError
from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.grouping.groups import Groups, by_name, check_n_groups, group_of_genre, groups_by_name
from hgenre.grouping.spectral import connected
from hgenre.labels import Labels

GAMMA = 5.0
"""Gamma of the paper's experiments: a genre joins a group that gets a fifth of an even share of its songs."""

NAME_TIE = 1e-3
"""Times the largest distance: how much less the last genre by name is liked as an exemplar than the first.

Two genres that are each other's nearest would be equally good exemplars, and the messages would never settle.
"""


def hd_cnn_groups(confusion: ArrayLike, labels: Labels, n_groups: int) -> Groups:
    """Disjoint groups over all genres, by affinity propagation in a Laplacian eigenmap of the confusion.

    The paper's distance is ``D = 1 - F`` of the confusion in rates, its diagonal 0 and both directions averaged. The
    graph of the eigenmap (Belkin and Niyogi 2003) has the weights ``1 - D``, which are
    :func:`hgenre.grouping.confusion.similarity`. What the paper leaves open is chosen so: the map has a dimension less
    than there are groups, and the preference of affinity propagation (Frey and Dueck 2007) that leads to so many is
    found by bisection, as in apcluster's ``apclusterK`` (Bodenhofer et al. 2011).

    Raises:
        GroupCountError: ``n_groups`` is not in ``1..len(labels)``, or no preference leads to it.
        TreeError: the confusion is not (genre, genre), holds a value that is not finite or below 0, or no mistakes.
    """
    alike = connected(by_name(similarity(checked_confusion(confusion, labels)), labels))
    check_n_groups(n_groups, labels)
    if n_groups in (1, len(labels)):
        return groups_by_name(np.arange(len(labels)) if n_groups > 1 else np.zeros(len(labels)), labels)
    nearness = _nearness(alike, n_groups)
    # Below the one bound a second group cannot pay for itself, at the other every genre is its own exemplar.
    low, high, preference, met = len(labels) * nearness.min(), 0.0, float(np.median(nearness)), set[int]()
    for _ in range(40):
        groups = groups_by_name(_exemplars(nearness, preference), labels)
        if len(groups) == n_groups:
            return groups
        met.add(len(groups))
        low, high = (preference, high) if len(groups) < n_groups else (low, preference)
        preference = (low + high) / 2
    raise GroupCountError(
        [
            f"affinity propagation does not come to {n_groups} groups of these genres, only to "
            f"{', '.join(map(str, sorted(met)))}; ask for another count, or use another method"
        ]
    )


def overlapping_groups(
    confusion: ArrayLike, labels: Labels, groups: Sequence[Sequence[str]], gamma: float = GAMMA
) -> Groups:
    """The disjoint groups, each with the genres added whose songs put at least ``1 / (gamma * K)`` of them on it.

    What a genre's songs put on a group is the paper's ``u_k(j)``: the mean over the songs of genre ``j`` of the
    probabilities of the ``K`` groups' own genres, so ``confusion`` (genre, genre) is best mean probabilities. Groups
    keep the order of the disjoint ones; where a genre stands in several, the first need not be its own.

    Raises:
        TreeError: as :func:`hd_cnn_groups` of the confusion; the groups are not disjoint or do not hold every genre.
    """
    c, own = checked_confusion(confusion, labels), group_of_genre(groups, labels)
    row = c.sum(axis=1, keepdims=True)
    rates = np.divide(c, row, out=np.zeros_like(c), where=row > 0)
    belongs = own[:, None] == np.arange(len(groups))
    joins = belongs | (rates @ belongs >= 1 / (gamma * len(groups)))
    return tuple(tuple(g for g, j in zip(labels, column, strict=True) if j) for column in joins.T)


def _nearness(alike: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    """Negative squared distances (genre, genre) in the eigenmap of a graph with these weights."""
    degree = alike.sum(axis=1)
    scale = 1 / np.sqrt(degree)
    # The generalised problem L f = lambda D f, by way of the symmetric matrix that has the same eigenvalues.
    _, vectors = np.linalg.eigh(np.eye(len(alike)) - alike * scale[:, None] * scale)
    places = (vectors * scale[:, None])[:, 1:n_groups]
    return -((places[:, None] - places) ** 2).sum(axis=-1)


def _exemplars(nearness: NDArray[np.float64], preference: float) -> NDArray[np.intp]:
    """Number of each genre's group (genre,), by affinity propagation; all the same where it finds no exemplar."""
    from sklearn.cluster import affinity_propagation
    from sklearn.exceptions import ConvergenceWarning

    n = len(nearness)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        _, group_idx = affinity_propagation(
            nearness,
            preference=preference + NAME_TIE * nearness.min() * np.arange(n) / n,
            max_iter=1000,
            random_state=0,
        )
    return np.asarray(group_idx)
