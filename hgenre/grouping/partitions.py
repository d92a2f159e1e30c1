"""Set partitions of the genre list: all of them, those of given group sizes, and the groups that they stand for.

A partition is a restricted growth string: (genre,) uint8, the number of each genre's group, groups numbered in the
order of their first genre. So every partition has one string, and the order of the strings is that of the partitions.
"""

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import HgenreError
from hgenre.grouping.groups import Groups, group_of_genre
from hgenre.labels import Labels

Partitions = NDArray[np.uint8]
"""(partition, genre), a restricted growth string a row."""

MAX_GENRES = 11
"""The longest genre list whose partitions are all made: 678 570; twelve genres have 4 213 597."""


def bell(n: int) -> int:
    """Number of partitions of ``n`` genres, the Bell number, by the triangle of Peirce (1880) and Aitken (1933)."""
    row = [1]
    for _ in range(n):
        below = [row[-1]]
        for value in row:
            below.append(below[-1] + value)
        row = below
    return row[0]


def set_partitions(n_genres: int) -> Partitions:
    """All partitions (partition, genre) in lexicographic order: first one group of all, last every genre alone.

    Raises:
        HgenreError: more than ``MAX_GENRES`` genres.
        ValueError: no genre.
    """
    if n_genres < 1:
        raise ValueError(f"a partition needs at least 1 genre, found {n_genres}")
    if n_genres > MAX_GENRES:
        raise HgenreError(
            f"{n_genres} genres can be grouped in {bell(n_genres)} ways, too many to try them all; exhaustive search "
            f"takes at most {MAX_GENRES} genres ({bell(MAX_GENRES)} ways): derive the groups by a clustering method "
            "such as average linkage, or give fewer genres"
        )
    rows, n_groups = np.zeros((1, 1), np.uint8), np.ones(1, np.intp)
    for _ in range(n_genres - 1):
        # The next genre enters one of the groups or opens a new one.
        n_ways = n_groups + 1
        way = np.arange(n_ways.sum()) - np.repeat(n_ways.cumsum() - n_ways, n_ways)
        rows = np.column_stack([np.repeat(rows, n_ways, axis=0), way.astype(np.uint8)])
        n_groups = np.maximum(np.repeat(n_groups, n_ways), way + 1)
    return rows


def renumbered(group_idx: ArrayLike) -> Partitions:
    """The partitions (partition, genre) of rows that number the groups in any way, by integers below the genre count.

    ``renumbered(partitions[:, order])`` are the partitions of the genre list in another order.
    """
    given = np.asarray(group_idx)
    rows, n_groups = np.arange(len(given)), np.zeros(len(given), np.intp)
    number = np.full(given.shape, -1)
    found = np.empty(given.shape, np.uint8)
    for genre, group in enumerate(given.T):
        opens = number[rows, group] < 0
        number[rows[opens], group[opens]] = n_groups[opens]
        n_groups += opens
        found[:, genre] = number[rows, group]
    return found


def group_masks(partitions: Partitions) -> NDArray[np.int32]:
    """Bitmasks (partition, group) of the groups in the order of their first genre, bit g for genre g; 0 for no group.

    The group axis is as long as the genre axis.

    Raises:
        ValueError: more genres than a mask has bits.
    """
    n_partitions, n_genres = partitions.shape
    if n_genres > 31:
        raise ValueError(f"bitmasks hold at most 31 genres, found {n_genres}")
    rows, masks = np.arange(n_partitions), np.zeros((n_partitions, n_genres), np.int32)
    for genre in range(n_genres):
        masks[rows, partitions[:, genre]] |= 1 << genre
    return masks


def group_sizes(partitions: Partitions) -> NDArray[np.intp]:
    """Number of genres (partition, group) of each group, the largest first; 0 where there are fewer groups.

    The group axis is as long as the genre axis.
    """
    sizes = np.stack([(partitions == group).sum(axis=1) for group in range(partitions.shape[1])], axis=1)
    return np.sort(sizes, axis=1)[:, ::-1]


def to_groups(row: NDArray[np.uint8], labels: Labels) -> Groups:
    """The groups of one partition (genre,), groups and genres in label order."""
    return tuple(
        tuple(genre for genre, group in zip(labels, row, strict=True) if group == number)
        for number in range(int(row.max()) + 1)
    )


def of_groups(groups: Sequence[Sequence[str]], labels: Labels) -> NDArray[np.uint8]:
    """The partition (genre,) that groups of genres, in any order, stand for.

    Raises:
        TreeError: as :func:`hgenre.grouping.groups.group_of_genre`.
    """
    _, number = np.unique(group_of_genre(groups, labels), return_inverse=True)
    return renumbered(number[None])[0]


def n_of_sizes(sizes: Sequence[int]) -> int:
    """Number of partitions whose groups have these sizes, in any order; exact. Ten genres 5-5: 126.

    The multinomial coefficient over the ways to exchange groups of equal size.

    Raises:
        ValueError: no size, or one below 1.
    """
    if not sizes or min(sizes) < 1:
        raise ValueError(f"groups need sizes of at least 1 genre, found {tuple(sizes)}")
    same = math.prod(math.factorial(size) for size in sizes)
    same *= math.prod(math.factorial(n) for n in Counter(sizes).values())
    return math.factorial(sum(sizes)) // same


def random_of_sizes(sizes: Sequence[int], n_draws: int, random: np.random.Generator) -> Partitions:
    """Distinct partitions (partition, genre) whose groups have these sizes, each set of ``n_draws`` equally likely.

    All of them, in lexicographic order and whatever the generator, where at most ``n_draws`` exist; otherwise in the
    order of drawing, so the first few are a smaller sample. The genre list may be longer than can be enumerated.

    Raises:
        ValueError: as :func:`n_of_sizes`, or more genres than a uint8 numbers.
    """
    n_ways = n_of_sizes(sizes)
    if sum(sizes) > 256:
        raise ValueError(f"a uint8 numbers at most 256 genres, found {sum(sizes)}")
    n_wanted = min(n_draws, n_ways)
    places = np.repeat(np.arange(len(sizes)), sizes)
    found = np.empty((0, len(places)), np.uint8)
    while len(found) < n_wanted:
        # Genres dealt to places: every partition of these sizes comes up in equally many ways.
        dealt = random.permuted(np.tile(places, (n_wanted, 1)), axis=1)
        drawn = np.concatenate([found, renumbered(dealt)])
        _, first_idx = np.unique(drawn, axis=0, return_index=True)
        found = drawn[np.sort(first_idx)[:n_wanted]]
    return np.unique(found, axis=0) if n_wanted == n_ways else found
