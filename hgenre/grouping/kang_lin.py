"""Levels of classes from a confusion alone: each is joined with the one that it is most often confused with.

After the idea of Kang and Lin 2021, "Computing Class Hierarchies from Classifiers" (arXiv 2112.01187), not after its
letter: how they weigh confusions and what ends a level is not followed.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.grouping.groups import Groups, by_name, check_n_groups, groups_by_name
from hgenre.labels import Labels


def kang_lin_groups(confusion: ArrayLike, labels: Labels, n_groups: int) -> Groups:
    """Disjoint groups over all genres, cut from a hierarchy that begins with all genres alone.

    On every level each class is joined with the one it is most often confused with, with all of them where several
    are, and what hangs together is a class of the next level. Two classes are confused as much as their genres are on
    average, in rates and in both directions. Classes that are confused with none wait for the top. Inside the level
    that would leave fewer than ``n_groups`` the most confused are joined first, until so many are left. From the
    second level on no genre is alone that was ever confused with another. Ties are broken by genre name.

    Raises:
        GroupCountError: ``n_groups`` is not in ``1..len(labels)``.
        TreeError: the confusion is not (genre, genre) or holds a value that is not finite or below 0.
    """
    alike = by_name(similarity(checked_confusion(confusion, labels)), labels)
    check_n_groups(n_groups, labels)
    class_idx = np.arange(len(labels))
    while class_idx.max() + 1 > n_groups:
        class_idx = _next_level(class_idx, alike, n_groups)
    return groups_by_name(class_idx, labels)


def _next_level(class_idx: NDArray[np.intp], alike: NDArray[np.float64], n_classes: int) -> NDArray[np.intp]:
    """Number of each genre's class (genre,) one level up, or where so many classes are left."""
    holds = np.eye(class_idx.max() + 1)[:, class_idx]
    size = holds.sum(axis=1)
    # Rounded, because what is equal must be found equal.
    confused = np.round(holds @ alike @ holds.T / np.outer(size, size), 12)
    np.fill_diagonal(confused, -1.0)
    most = confused.max(axis=1, keepdims=True)
    # At the top, where none of those left was ever taken for another, all are equally near.
    linked = (confused == most) & ((most > 0) | (most.max() <= 0))
    links = sorted((-confused[i, j], i, j) for i, j in np.argwhere(linked | linked.T).tolist() if i < j)
    joined, n_left = np.arange(len(size)), len(size)
    for _, i, j in links:
        if n_left > n_classes and joined[i] != joined[j]:
            joined[joined == joined[j]] = joined[i]
            n_left -= 1
    return np.unique(joined, return_inverse=True)[1][class_idx]
