"""Every way to make groups of what a flat net knows, by name."""

from typing import Literal, assert_never, get_args

from numpy.typing import ArrayLike

from hgenre.errors import TreeError
from hgenre.grouping.average_linkage import derive_groups
from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.grouping.groups import Groups, n_groups_of_largest_excess
from hgenre.grouping.hd_cnn import hd_cnn_groups
from hgenre.grouping.kang_lin import kang_lin_groups
from hgenre.grouping.linkage import centroid_distance, distance_of, linkage_groups, weight_distance
from hgenre.grouping.spectral import spectral_groups
from hgenre.labels import Labels

Method = Literal["average", "complete", "ward", "spectral", "hd-cnn", "kang-lin", "centroids", "nbdt"]
"""Six ways to group genres by their confusions, and ward's linkage of two other things: of the genres' mean embeddings,
``centroids``, and of the last layer's weights, ``nbdt``."""

METHODS: tuple[Method, ...] = get_args(Method)


def derive(
    method: Method,
    confusion: ArrayLike,
    labels: Labels,
    n_groups: int,
    *,
    centroids: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Groups:
    """Disjoint groups over all genres. The order of the labels decides the order of the groups and nothing else.

    Args:
        confusion: (genre, genre), counts or mean probabilities, rows the truth.
        centroids: mean embedding of each genre's songs (genre, feature).
        weights: the last layer's (genre, feature).

    Raises:
        GroupCountError: ``n_groups`` is not in ``1..len(labels)``, or the method does not come to so many.
        TreeError: evidence that the method needs is not given, or cannot be used.
    """
    match method:
        case "average":
            return derive_groups(confusion, labels, n_groups)
        case "complete" | "ward":
            alike = similarity(checked_confusion(confusion, labels))
            return linkage_groups(distance_of(alike), labels, n_groups, method)
        case "spectral":
            return spectral_groups(confusion, labels, n_groups)
        case "hd-cnn":
            return hd_cnn_groups(confusion, labels, n_groups)
        case "kang-lin":
            return kang_lin_groups(confusion, labels, n_groups)
        case "centroids":
            if centroids is None:
                raise TreeError(["centroids groups genres by their mean embeddings, which are not given"])
            return linkage_groups(centroid_distance(centroids), labels, n_groups, "ward")
        case "nbdt":
            if weights is None:
                raise TreeError(["nbdt groups genres by the last layer's weights, which are not given"])
            return linkage_groups(weight_distance(weights), labels, n_groups, "ward")
    assert_never(method)


def choose_n_groups(
    method: Method,
    confusion: ArrayLike,
    labels: Labels,
    *,
    centroids: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> int:
    """The group count in ``2..len(labels) - 1`` at which a method's groups hold most mistakes beyond chance.

    As :func:`hgenre.grouping.groups.n_groups_of_largest_excess`; arguments as :func:`derive`.

    Raises:
        TreeError: fewer than 3 genres, or as :func:`derive`.
    """
    return n_groups_of_largest_excess(
        confusion,
        labels,
        lambda n_groups: derive(method, confusion, labels, n_groups, centroids=centroids, weights=weights),
    )
