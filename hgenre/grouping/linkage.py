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
    """The whole dendrogram over distances (genre, genre), its leaves in :func:`leaf_order`.

    Raises:
        TreeError: there is only one genre, or as :func:`linkage_groups`.
    """
    d = _checked(distance, labels)
    if len(labels) < 2:
        raise TreeError([f"a dendrogram needs at least 2 genres, found {len(labels)}"])
    order, d = name_order(labels), by_name(d, labels)
    found = merges(d, method)
    leaves = leaf_order(found, d)
    place = {leaf: i for i, leaf in enumerate(leaves)}
    for i, (a, b) in enumerate(found[:, :2].astype(np.intp).tolist()):
        place[len(labels) + i] = min(place[a], place[b])
        # scipy draws the first of the two on the left.
        found[i, :2] = [order[v] if v < len(labels) else v for v in sorted((a, b), key=lambda v: place[v])]
    return LinkageTree(found, tuple(order[leaves].tolist()))


def leaf_order(merges: NDArray[np.float64], distance: NDArray[np.float64]) -> list[int]:
    """The leaves (genre,) of a linkage matrix, turned so that neighbours' distances have the smallest possible sum.

    Bar-Joseph, Gifford and Jaakkola 2001, "Fast optimal leaf ordering for hierarchical clustering"; what scipy has
    under this name falls short of it (scipy issue 11227). The path through a group from its first leaf to its last is
    as short as the paths through its halves and the step between them allow.
    """
    n = len(distance)
    children = merges[:, :2].astype(np.intp).tolist()
    leaves, shortest = [[i] for i in range(n)], [np.zeros((1, 1))] * n
    for a, b in children:
        step = distance[np.ix_(leaves[a], leaves[b])]
        across = _min_plus(_min_plus(shortest[a], step), shortest[b])
        barred = [np.full((len(leaves[v]), len(leaves[v])), np.inf) for v in (a, b)]
        shortest.append(np.block([[barred[0], across], [across.T, barred[1]]]))
        leaves.append(leaves[a] + leaves[b])

    def path(v: int, first: int, last: int) -> list[int]:
        if v < n:
            return [v]
        a, b = children[v - n]
        if first in leaves[b]:
            return path(v, last, first)[::-1]
        to_step, from_step = shortest[a][leaves[a].index(first)], shortest[b][:, leaves[b].index(last)]
        length = to_step[:, None] + distance[np.ix_(leaves[a], leaves[b])] + from_step
        i, j = divmod(int(length.argmin()), len(leaves[b]))
        return path(a, first, leaves[a][i]) + path(b, leaves[b][j], last)

    first, last = divmod(int(shortest[-1].argmin()), n)
    return path(len(leaves) - 1, leaves[-1][first], leaves[-1][last])


def merges(distance: NDArray[np.float64], method: LinkageMethod) -> NDArray[np.float64]:
    """scipy's linkage matrix (merge, 4) of distances (genre, genre), which are taken as symmetric."""
    from scipy.cluster.hierarchy import linkage

    return np.asarray(linkage(distance[np.triu_indices(len(distance), k=1)], method=method))


def _min_plus(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The shortest ways (from, to) over ``x`` (from, via) and then ``y`` (via, to)."""
    return np.asarray((x[:, :, None] + y).min(axis=1))


def _checked(distance: ArrayLike, labels: Labels) -> NDArray[np.float64]:
    d = np.asarray(distance, dtype=np.float64)
    if d.shape != (len(labels), len(labels)):
        raise TreeError([f"distances of {len(labels)} genres must be square over them, found shape {d.shape}"])
    if not (np.isfinite(d).all() and (d >= 0).all()):
        raise TreeError(["the distances between genres hold NaN, infinite or negative values"])
    if not np.allclose(d, d.T):
        raise TreeError(["the distances between genres differ by direction, need symmetric ones"])
    return d
