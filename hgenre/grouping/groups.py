"""Groups of genres: how they are written, and how far mistakes stay inside them."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import GroupCountError, TreeError
from hgenre.grouping.confusion import checked_confusion, similarity
from hgenre.labels import Labels
from hgenre.tree.spec import ROOT, Node, TreeSpec

Groups = tuple[tuple[str, ...], ...]
"""Groups by their first genres, and the genres of each, in label order."""


def group_of_genre(groups: Sequence[Sequence[str]], labels: Labels) -> NDArray[np.intp]:
    """Position in ``groups`` of each genre's group, (genre,) in label order.

    Raises:
        TreeError: the groups are not disjoint, or do not hold every genre of the labels and no other.
    """
    listed = Counter(genre for group in groups for genre in group)
    problems = [f"genre {g!r} stands in {n} groups, disjoint ones are needed" for g, n in listed.items() if n > 1]
    problems += [f"genre {g!r} is in no group" for g in labels if g not in listed]
    problems += [f"genre {g!r} is not among {', '.join(labels)}" for g in listed if g not in labels.genres]
    if problems:
        raise TreeError(problems)
    position = {genre: i for i, group in enumerate(groups) for genre in group}
    return np.array([position[genre] for genre in labels], dtype=np.intp)


def group_name(genres: Sequence[str], taken: Collection[str] = ()) -> str:
    """The genres joined by plus signs, and no slash, which a node's name must not hold.

    Genres' own plus signs and slashes can make two groups' names alike, so primes follow a name that is ``taken``.
    """
    name = "+".join(genres).replace("/", "-")
    while name in taken:
        name += "'"
    return name


def tree_of(groups: Sequence[Sequence[str]], labels: Labels) -> TreeSpec:
    """The two-level tree of groups in this order, each named by its genres; a genre alone stands under the root."""
    taken, children = set(labels), list[Node | str]()
    for group in groups:
        if len(group) == 1:
            children.append(group[0])
        else:
            name = group_name(group, taken)
            taken.add(name)
            children.append(Node(name, tuple(group)))
    return TreeSpec(labels, Node(ROOT, tuple(children)))


def name_order(labels: Labels) -> NDArray[np.intp]:
    """Indices of the genres in the order of their names, (genre,).

    Methods see the genres in this order, so that ties do not depend on the order of the labels.
    """
    return np.array(sorted(range(len(labels)), key=lambda i: labels.genres[i]), dtype=np.intp)


def by_name(matrix: NDArray[np.float64], labels: Labels) -> NDArray[np.float64]:
    """A matrix (genre, genre) with rows and columns in :func:`name_order`."""
    order = name_order(labels)
    return matrix[np.ix_(order, order)]


def groups_by_name(group_idx: ArrayLike, labels: Labels) -> Groups:
    """Groups from the number of each genre's group, (genre,) in :func:`name_order`."""
    number = dict(zip(sorted(labels), np.asarray(group_idx).tolist(), strict=True))
    return tuple(tuple(g for g in labels if number[g] == i) for i in dict.fromkeys(number[g] for g in labels))


def check_n_groups(n_groups: int, labels: Labels) -> None:
    """Raises GroupCountError where disjoint groups of all genres cannot be so many."""
    if not 1 <= n_groups <= len(labels):
        raise GroupCountError([f"cannot make {n_groups} groups of {len(labels)} genres, need 1 to {len(labels)}"])


def excess_within(confusion: ArrayLike, labels: Labels, groups: Sequence[Sequence[str]]) -> float:
    """Share of the mistakes that stay inside a group, minus what groups of these sizes hold by chance.

    In -1..1: 0 for groups that have nothing to do with the mistakes, and for a confusion without mistakes. Each genre's
    mistakes are weighed as in :func:`hgenre.grouping.confusion.similarity`. Chance is the share of pairs of distinct
    genres that lie inside a group, so neither one huge group nor many small ones win by their size alone. Groups are
    disjoint.

    Raises:
        TreeError: as :func:`hgenre.grouping.confusion.checked_confusion` and :func:`group_of_genre`.
    """
    alike = similarity(checked_confusion(confusion, labels))
    group_idx = group_of_genre(groups, labels)
    if not alike.any():
        return 0.0
    inside = (group_idx[:, None] == group_idx) & ~np.eye(len(labels), dtype=bool)
    return float(alike[inside].sum() / alike.sum() - inside.sum() / (len(labels) * (len(labels) - 1)))


def n_groups_of_largest_excess(confusion: ArrayLike, labels: Labels, derive: Callable[[int], Groups]) -> int:
    """The group count in ``2..len(labels) - 1`` whose derived groups have the largest :func:`excess_within`.

    Counts that ``derive`` cannot make are passed over. Of equally good counts the smallest is taken; it is 2 where the
    confusion holds no mistakes.

    Raises:
        GroupCountError: fewer than 3 genres, or no count can be made.
    """
    if len(labels) < 3:
        raise GroupCountError([f"groups need at least 3 genres, found {len(labels)}"])
    excess = {}
    for n_groups in range(2, len(labels)):
        try:
            excess[n_groups] = round(excess_within(confusion, labels, derive(n_groups)), 12)
        except GroupCountError:
            continue
    if not excess:
        raise GroupCountError(
            [f"none of 2 to {len(labels) - 1} groups can be made of this evidence; use another method"]
        )
    return max(excess, key=lambda n_groups: excess[n_groups])
