"""Genre groups from confusions: genres that are taken for each other come together."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import TreeError
from hgenre.grouping.confusion import similarity
from hgenre.labels import Labels

Groups = tuple[tuple[str, ...], ...]


def derive_groups(confusion: ArrayLike, labels: Labels, n_groups: int) -> Groups:
    """Disjoint groups over all genres, by average linkage on ``max similarity - similarity`` of the confusion.

    ``confusion`` is (genre, genre), counts or mean probabilities, rows the truth. Groups and their genres come in
    label order. Ties are broken by genre name, so the groups do not depend on the order of the labels.

    Raises:
        TreeError: ``n_groups`` is not in ``1..len(labels)``, or the confusion is not (genre, genre) or holds a value
            that is not finite or below 0.
    """
    c = _checked(confusion, labels)
    if not 1 <= n_groups <= len(labels):
        raise TreeError([f"cannot make {n_groups} groups of {len(labels)} genres, need 1 to {len(labels)}"])
    if n_groups == len(labels):
        return tuple((genre,) for genre in labels)
    from scipy.cluster.hierarchy import cut_tree, linkage

    by_name = np.array(sorted(range(len(labels)), key=lambda i: labels.genres[i]))
    alike = similarity(c[np.ix_(by_name, by_name)])
    distance = (alike.max() - alike)[np.triu_indices(len(labels), k=1)]
    group_by_name = cut_tree(linkage(distance, method="average"), n_groups)[:, 0]
    group_idx = group_by_name[np.argsort(by_name)]
    in_label_order = dict.fromkeys(group_idx.tolist())
    return tuple(tuple(g for g, i in zip(labels, group_idx, strict=True) if i == group) for group in in_label_order)


def choose_n_groups(confusion: ArrayLike, labels: Labels) -> int:
    """The group count in ``2..len(labels) - 1`` whose derived groups have the largest :func:`excess_within`.

    Of equally good counts the smallest is taken; it is 2 where the confusion holds no mistakes.

    Raises:
        TreeError: fewer than 3 genres, or as :func:`derive_groups`.
    """
    if len(labels) < 3:
        raise TreeError([f"groups need at least 3 genres, found {len(labels)}"])
    return max(
        range(2, len(labels)),
        key=lambda n: round(excess_within(confusion, labels, derive_groups(confusion, labels, n)), 12),
    )


def excess_within(confusion: ArrayLike, labels: Labels, groups: Sequence[Sequence[str]]) -> float:
    """Share of the mistakes that stay inside a group, minus what groups of these sizes hold by chance.

    In -1..1: 0 for groups that have nothing to do with the mistakes, and for a confusion without mistakes. Each genre's
    mistakes are weighed as in :func:`hgenre.grouping.confusion.similarity`. Chance is the share of pairs of distinct
    genres that lie inside a group, so neither one huge group nor many small ones win by their size alone. Groups are
    disjoint.
    """
    alike = similarity(_checked(confusion, labels))
    if not alike.any():
        return 0.0
    group_of = {genre: i for i, group in enumerate(groups) for genre in group}
    group_idx = np.array([group_of[genre] for genre in labels])
    inside = (group_idx[:, None] == group_idx) & ~np.eye(len(labels), dtype=bool)
    return float(alike[inside].sum() / alike.sum() - inside.sum() / (len(labels) * (len(labels) - 1)))


def _checked(confusion: ArrayLike, labels: Labels) -> NDArray[np.float64]:
    c = np.asarray(confusion, dtype=np.float64)
    if c.shape != (len(labels), len(labels)):
        raise TreeError([f"a confusion of {len(labels)} genres must be square over them, found shape {c.shape}"])
    if not (np.isfinite(c).all() and (c >= 0).all()):
        raise TreeError(
            ["the confusion holds NaN, infinite or negative values; did the flat model's training diverge?"]
        )
    return c
