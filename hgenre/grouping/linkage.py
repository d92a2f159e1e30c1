"""Agglomerative clustering of genres: the two nearest groups are joined, again and again."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import TreeError
from hgenre.grouping.groups import Groups, by_name, check_n_groups, groups_by_name, name_order
from hgenre.labels import Labels

LinkageMethod = Literal["average", "complete", "ward"]
"""Groups are as far apart as their pairs on average, as their farthest pair, or as joining them adds to the variance.

Ward's takes the distances for Euclidean ones, which those between vectors are and ``max similarity - similarity`` is
not; there it is a heuristic, as everywhere where confusions are clustered by it.
"""


@dataclass(frozen=True, eq=False)
class LinkageTree:
    """What a dendrogram is drawn from.

    Attributes:
        merges: (merge, 4) as scipy has it: the two joined, of which numbers below the genre count are label indices and
            the others earlier merges, their distance, and the number of genres that are together then.
        leaves: label indices (genre,) in the order in which no two lines cross and neighbours are most alike.
    """

    merges: NDArray[np.float64]
    leaves: tuple[int, ...]


def distance_of(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """``max similarity - similarity`` (genre, genre), with an empty diagonal."""
    distance = similarity.max() - similarity
    np.fill_diagonal(distance, 0.0)
    return distance


def centroid_distance(vectors: ArrayLike) -> NDArray[np.float64]:
    """Euclidean distances (genre, genre) between the genres' vectors (genre, feature).

    Raises:
        TreeError: the vectors are not (genre, feature), or hold a value that is not finite.
    """
    from scipy.spatial.distance import pdist, squareform

    v = np.asarray(vectors, dtype=np.float64)
    if v.ndim != 2:
        raise TreeError([f"genres need a vector each, (genre, feature), found shape {v.shape}"])
    if not np.isfinite(v).all():
        raise TreeError(["the genres' vectors hold NaN or infinite values; did the flat model's training diverge?"])
    return np.asarray(squareform(pdist(v)))


def weight_distance(rows: ArrayLike) -> NDArray[np.float64]:
    """Distances (genre, genre) between the last layer's weights (genre, feature), each row at length 1.

    Ward's linkage of them is the induced hierarchy of Wan et al. 2021, "NBDT: Neural-Backed Decision Tree" (ICLR). A
    row of zeros stays one.

    Raises:
        TreeError: as :func:`centroid_distance`.
    """
    w = np.asarray(rows, dtype=np.float64)
    length = np.linalg.norm(w, axis=-1, keepdims=True)
    return centroid_distance(np.divide(w, length, out=np.zeros_like(w), where=length != 0))


def linkage_groups(distance: ArrayLike, labels: Labels, n_groups: int, method: LinkageMethod) -> Groups:
    """Disjoint groups over all genres, from distances (genre, genre). Ties are broken by genre name.

    Raises:
        GroupCountError: ``n_groups`` is not in ``1..len(labels)``.
        TreeError: the distances are not symmetric over the genres, or hold a value that is not finite or below 0.
    """
    d = _checked(distance, labels)
    check_n_groups(n_groups, labels)
    if n_groups == len(labels):
        return tuple((genre,) for genre in labels)
    from scipy.cluster.hierarchy import cut_tree

    return groups_by_name(cut_tree(merges(by_name(d, labels), method), n_groups)[:, 0], labels)


def linkage_tree(distance: ArrayLike, labels: Labels, method: LinkageMethod) -> LinkageTree:
    """The whole dendrogram over distances (genre, genre); leaves in the order of Bar-Joseph et al. 2001.

    Raises:
        TreeError: there is only one genre, or as :func:`linkage_groups`.
    """
    from scipy.cluster.hierarchy import leaves_list, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    d = _checked(distance, labels)
    if len(labels) < 2:
        raise TreeError([f"a dendrogram needs at least 2 genres, found {len(labels)}"])
    order, d = name_order(labels), by_name(d, labels)
    found = np.asarray(optimal_leaf_ordering(merges(d, method), squareform(d, checks=False)))
    leaves = order[leaves_list(found)]
    joined = found[:, :2].astype(np.intp)
    found[:, :2] = np.where(joined < len(labels), order[np.minimum(joined, len(labels) - 1)], joined)
    return LinkageTree(found, tuple(leaves.tolist()))


def merges(distance: NDArray[np.float64], method: LinkageMethod) -> NDArray[np.float64]:
    """scipy's linkage matrix (merge, 4) of distances (genre, genre), which are taken as symmetric."""
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(distance[np.triu_indices(len(distance), k=1)], method=method))


def _checked(distance: ArrayLike, labels: Labels) -> NDArray[np.float64]:
    d = np.asarray(distance, dtype=np.float64)
    if d.shape != (len(labels), len(labels)):
        raise TreeError([f"distances of {len(labels)} genres must be square over them, found shape {d.shape}"])
    if not (np.isfinite(d).all() and (d >= 0).all()):
        raise TreeError(["the distances between genres hold NaN, infinite or negative values"])
    if not np.allclose(d, d.T):
        raise TreeError(["the distances between genres differ by direction, need symmetric ones"])
    return d
