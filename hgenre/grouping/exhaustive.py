"""Every grouping of the genres scored at once: the songs that a summed tree of each has right, and its excess.

A *summed tree* of a partition has the flat net as root, its probabilities summed by group, and a specialist for each
group of two genres or more. What a group does for a song depends on the set of its genres alone, so two tables over
subsets of genres hold all that any partition needs: the group of the largest ``value`` answers the song, and the answer
is ``right`` or wrong. A subset is a bitmask, bit g for genre g, and so an index: the axis ``subset`` has 2 ** n_genres
places and begins with the empty set. Summing the root by group is HD-CNN's way (Z. Yan et al., ICCV 2015).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.grouping.groups import name_order
from hgenre.grouping.partitions import Partitions, group_masks, group_sizes, renumbered
from hgenre.labels import Labels

SummedDecoder = Literal["hard", "soft"]

PARTITIONS_AT_ONCE = 128
"""Partitions of one step of the program: what it holds at a time stays in a core's cache."""


def subset_mass(p_flat: ArrayLike) -> NDArray[np.float64]:
    """Sums (subset, song) of probabilities (song, genre) over the genres of every subset."""
    p = np.asarray(p_flat, np.float64)
    n_songs, n_genres = p.shape
    mass = np.zeros((2**n_genres, n_songs))
    for genre in range(n_genres):
        mass[1 << genre : 2 << genre] = mass[: 1 << genre] + p[:, genre]
    return mass


def tables(
    p_flat: ArrayLike, p_probe_top: ArrayLike, probe_choice: ArrayLike, true_idx: ArrayLike, decoder: SummedDecoder
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """What each subset of genres, as a group, does for each song: ``value`` and ``right``, both (subset, song).

    * ``hard`` enters the group of the largest mass, the flat net's probabilities summed over the group, and its
      specialist answers: ``value`` is the mass.
    * ``soft`` answers the genre of the largest posterior, its group's mass times its probability by the specialist:
      ``value`` is the mass times the specialist's largest probability.

    Args:
        p_flat: (song, genre) probabilities of the flat net.
        p_probe_top: (subset, song) largest probability of the subset's specialist, 1 for a single genre.
        probe_choice: (subset, song) int, the genre that has it. The row of the empty set is never looked at.
        true_idx: (song,) int.

    Raises:
        ValueError: shapes that do not fit.
    """
    mass, truth = subset_mass(p_flat), np.asarray(true_idx)
    top, choice = np.asarray(p_probe_top), np.asarray(probe_choice)
    if top.shape != mass.shape or choice.shape != mass.shape or truth.shape != mass.shape[1:]:
        raise ValueError(
            f"specialists of {mass.shape[1]} songs must be (subset, song) = {mass.shape}, found largest probabilities "
            f"{top.shape}, choices {choice.shape} and truth {truth.shape}"
        )
    holds_truth = (np.arange(len(mass))[:, None] >> truth & 1).astype(bool)
    return mass if decoder == "hard" else mass * top, holds_truth & (choice == truth)


def score(value: ArrayLike, right: ArrayLike, partitions: Partitions) -> NDArray[np.int64]:
    """Number of songs (partition,) that the summed tree of each partition has right.

    One compiled program over all partitions. A song goes to the group of the largest ``value``, of equal ones to that
    with the lowest first genre; it is right where ``right`` says so of this group. Values are compared as they come,
    in float64 too, whatever precision the program has.

    Args:
        value: (subset, song), finite but for the empty set's; from :func:`tables`, as ``right``.
        right: (subset, song) bool.

    Raises:
        ValueError: the tables are not over the subsets of the partitions' genres, or a value is not finite.
    """
    keys = _keys(value, right, partitions)
    return np.asarray(_n_right(keys, group_masks(partitions))).astype(np.int64)


def right_songs(value: ArrayLike, right: ArrayLike, partitions: Partitions) -> NDArray[np.bool_]:
    """Which songs (partition, song) the summed tree of each of a few partitions has right; as :func:`score`."""
    keys = _keys(value, right, partitions)
    largest = np.zeros((len(partitions), keys.shape[1]), keys.dtype)
    for masks in group_masks(partitions).T:
        np.maximum(largest, keys[masks], out=largest)
    return (largest & 1).astype(bool)


def excess(similarity: ArrayLike, partitions: Partitions) -> NDArray[np.float64]:
    """:func:`hgenre.grouping.groups.excess_within` (partition,) of every partition.

    ``similarity`` (genre, genre) is that of :func:`hgenre.grouping.confusion.similarity`. For any number of genres.

    Raises:
        ValueError: the similarity is not over the partitions' genres.
    """
    alike, n_genres = np.asarray(similarity, np.float64), partitions.shape[1]
    if alike.shape != (n_genres, n_genres):
        raise ValueError(f"the similarity of {n_genres} genres must be square over them, found shape {alike.shape}")
    within, n_pairs = np.zeros((2, len(partitions)))
    if not alike.any():
        return within
    for genre in range(n_genres - 1):
        together = partitions[:, genre, None] == partitions[:, genre + 1 :]
        within += together @ alike[genre, genre + 1 :]
        n_pairs += together.sum(axis=1)
    return within / np.triu(alike, 1).sum() - n_pairs / (n_genres * (n_genres - 1) / 2)


def best(scores: ArrayLike, partitions: Partitions, labels: Labels | None = None) -> int:
    """Index of the partition with the largest score.

    Of equally good ones, to 12 decimals, the one with the fewest specialists is taken (groups of two genres or more:
    the flat list before any tree, one group beside single genres before two groups), and of these the lexicographically
    first, over the genres by name where ``labels`` are given, by index where not.
    """
    rounded = np.round(np.asarray(scores, np.float64), 12)
    tied = np.flatnonzero(rounded == rounded.max())
    n_specialists = (group_sizes(partitions[tied]) > 1).sum(axis=1)
    tied = tied[n_specialists == n_specialists.min()]
    rows = renumbered(partitions[tied][:, name_order(labels)]) if labels else partitions[tied]
    return int(tied[np.lexsort(rows.T[::-1])[0]])


def _keys(value: ArrayLike, right: ArrayLike, partitions: Partitions) -> NDArray[np.unsignedinteger]:
    """One integer a subset and song (subset, song): greater where the subset wins the song, odd where it is right.

    A song's subsets are ranked by value, of equal ones the lowest first genre highest; groups of one partition are
    disjoint, so no two of them are equal in both. The empty set has 0, and never wins.
    """
    v, r, n_subsets = np.asarray(value), np.asarray(right, bool), 2 ** partitions.shape[1]
    if v.ndim != 2 or v.shape != r.shape or len(v) != n_subsets:
        raise ValueError(
            f"tables over {partitions.shape[1]} genres must be (subset, song) with {n_subsets} subsets, found "
            f"{v.shape} and {r.shape}"
        )
    if not np.isfinite(v[1:]).all():
        raise ValueError("a value of a subset for a song is NaN or infinite; values must be finite")
    subsets = np.arange(1, n_subsets)
    by_first_genre = subsets[np.argsort(subsets & -subsets)[::-1]]
    ranked = by_first_genre[np.argsort(v[by_first_genre], axis=0, kind="stable")]
    keys = np.zeros(v.shape, np.min_scalar_type(2 * n_subsets - 1))
    np.put_along_axis(keys, ranked, 2 * subsets[:, None].astype(keys.dtype), axis=0)
    keys[1:] += r[1:]
    return keys


@jax.jit
def _n_right(keys: jax.Array, masks: jax.Array) -> jax.Array:
    """Odd largest keys (partition,), over keys (subset, song) and masks (partition, group)."""
    return jax.lax.map(
        lambda groups: (keys[groups].max(axis=0) & 1).sum(dtype=jnp.int32), masks, batch_size=PARTITIONS_AT_ONCE
    )
