"""Spectral clustering of genres: parts of the graph of similarities that little ties to the rest."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import TreeError
from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.grouping.groups import Groups, by_name, check_n_groups, groups_by_name
from hgenre.labels import Labels

WEAKEST_TIE = 1e-3
"""Times the mean similarity: what is added between any two genres.

Where nothing ties two parts of a graph, the eigenvectors that tell them apart are not unique. Amini et al. 2013,
"Pseudo-likelihood methods for community detection in large sparse networks", add a constant to every pair for this.
"""


def spectral_groups(confusion: ArrayLike, labels: Labels, n_groups: int) -> Groups:
    """Disjoint groups over all genres, by normalised cuts of the similarities (genre, genre) of the confusion.

    scikit-learn's, with groups read off the eigenvectors by pivoted QR (Damle, Minden and Ying 2019, "Simple, direct,
    and efficient multi-way spectral clustering"), which draws nothing at random. A genre that is confused with none
    in particular has no part of its own to be: it joins a group, where linkage would leave it alone.

    Raises:
        GroupCountError: ``n_groups`` is not in ``1..len(labels)``.
        TreeError: the confusion is not (genre, genre), holds a value that is not finite or below 0, or no mistakes.
    """
    alike = connected(by_name(similarity(checked_confusion(confusion, labels)), labels))
    check_n_groups(n_groups, labels)
    if n_groups in (1, len(labels)):
        return groups_by_name(np.arange(len(labels)) if n_groups > 1 else np.zeros(len(labels)), labels)
    from sklearn.cluster import SpectralClustering

    found = SpectralClustering(
        n_groups, affinity="precomputed", assign_labels="cluster_qr", random_state=0
    ).fit_predict(alike)
    return groups_by_name(found, labels)


def connected(alike: NDArray[np.float64]) -> NDArray[np.float64]:
    """Similarities (genre, genre) with WEAKEST_TIE added off the diagonal.

    Raises:
        TreeError: all are 0.
    """
    if not alike.any():
        raise TreeError(
            ["the confusion holds no mistakes, so nothing ties or parts its genres; give more songs, or use a linkage"]
        )
    apart = ~np.eye(len(alike), dtype=bool)
    return alike + WEAKEST_TIE * alike[apart].mean() * apart
