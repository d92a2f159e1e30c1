"""Genre groups from confusions by average linkage: genres that are taken for each other come together."""

from numpy.typing import ArrayLike

from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.grouping.groups import Groups, n_groups_of_largest_excess
from hgenre.grouping.linkage import distance_of, linkage_groups
from hgenre.labels import Labels


def derive_groups(confusion: ArrayLike, labels: Labels, n_groups: int) -> Groups:
    """Disjoint groups over all genres, by average linkage on ``max similarity - similarity`` of the confusion.

    ``confusion`` is (genre, genre), counts or mean probabilities, rows the truth. Groups and their genres come in
    label order. Ties are broken by genre name, so the groups do not depend on the order of the labels.

    Raises:
        GroupCountError: ``n_groups`` is not in ``1..len(labels)``.
        TreeError: the confusion is not (genre, genre) or holds a value that is not finite or below 0.
    """
    alike = similarity(checked_confusion(confusion, labels))
    return linkage_groups(distance_of(alike), labels, n_groups, "average")


def choose_n_groups(confusion: ArrayLike, labels: Labels) -> int:
    """The group count in ``2..len(labels) - 1`` whose derived groups hold most mistakes beyond chance.

    As :func:`hgenre.grouping.groups.n_groups_of_largest_excess`.

    Raises:
        TreeError: fewer than 3 genres, or as :func:`derive_groups`.
    """
    return n_groups_of_largest_excess(confusion, labels, lambda n_groups: derive_groups(confusion, labels, n_groups))
