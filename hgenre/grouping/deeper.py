"""Trees of any depth by recursive splitting: a node's genres are split into groups as long as that pays.

Every set of genres is split in all possible ways, and the best is kept where songs that did not choose it show that it
has more of them right than the node has alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hgenre.grouping.exhaustive import best, right_songs, score, tables
from hgenre.grouping.flattening import NetWin, net_win
from hgenre.grouping.groups import Groups, group_name
from hgenre.grouping.partitions import set_partitions, to_groups
from hgenre.labels import Labels
from hgenre.tree.spec import ROOT, Node, TreeSpec


class Answers(NamedTuple):
    """What a flat net and the probes of all sets of genres say of songs that they have not seen.

    ``p_flat`` (song, genre), ``probe_p`` (subset, song, genre), ``true_idx`` (song,).
    """

    p_flat: NDArray[np.float64]
    probe_p: NDArray[np.float32]
    true_idx: NDArray[np.intp]


@dataclass(frozen=True)
class Split:
    """One set of genres and whether splitting it paid.

    Attributes:
        groups: the best split over all songs; one genre each where no split has more songs right.
        net_win: of splits that were chosen without the songs that they are measured on, over the set's own songs.
    """

    groups: Groups
    net_win: NetWin

    @property
    def pays(self) -> bool:
        return self.net_win.pays and any(len(group) > 1 for group in self.groups)


def split_recursively(parts: Sequence[Answers], labels: Labels) -> tuple[TreeSpec, tuple[Split, ...]]:
    """The tree whose every split pays, and every split that was tried, those of the root first.

    Args:
        parts: two or more sets of songs; a split is chosen by all but one of them and measured on that one, in turn.

    Raises:
        ValueError: fewer than two parts.
        HgenreError: more genres than can be grouped exhaustively.
    """
    if len(parts) < 2:
        raise ValueError(f"splits are chosen and measured on different songs, found {len(parts)} part of them")
    tried: list[Split] = []
    taken = set(labels)

    def children(genres: tuple[str, ...], is_root: bool) -> tuple[Node | str, ...]:
        if len(genres) < 3:
            return genres
        split = _split(parts, labels, genres, is_root)
        tried.append(split)
        if not split.pays:
            return genres
        return tuple(group[0] if len(group) == 1 else node(group) for group in split.groups)

    def node(genres: tuple[str, ...]) -> Node:
        name = group_name(genres, taken)
        taken.add(name)
        return Node(name, children(genres, False))

    return TreeSpec(labels, Node(ROOT, children(labels.genres, True))), tuple(tried)


def _split(parts: Sequence[Answers], labels: Labels, genres: tuple[str, ...], is_root: bool) -> Split:
    ways = set_partitions(len(genres))[1:]
    found = [_tables(part, labels, genres, is_root) for part in parts]
    n_right = np.stack([score(value, right, ways) for value, right in found])
    own = Labels(genres)
    won = lost = n_songs = 0
    for k, (value, right) in enumerate(found):
        chosen = best(n_right.sum(axis=0) - n_right[k], ways, own)
        split_right, whole_right = right_songs(value, right, ways[[chosen, -1]])
        won += int((split_right & ~whole_right).sum())
        lost += int((whole_right & ~split_right).sum())
        n_songs += len(split_right)
    groups = to_groups(ways[best(n_right.sum(axis=0), ways, own)], own)
    return Split(groups, net_win(genres, won, lost, n_songs))


def _tables(
    part: Answers, labels: Labels, genres: tuple[str, ...], is_root: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """``value`` and ``right`` over the subsets of some genres, of the songs that truly have one of them."""
    idx = np.array([labels.index(genre) for genre in genres])
    place = np.full(len(labels), -1)
    place[idx] = np.arange(len(idx))
    songs = place[part.true_idx] >= 0
    subsets = np.arange(2 ** len(idx))
    masks = ((subsets[:, None] >> np.arange(len(idx)) & 1) << idx).sum(axis=1)
    probes = part.probe_p[masks][:, songs][:, :, idx]
    own = part.p_flat[songs][:, idx] if is_root else probes[-1]
    return tables(own, probes.max(axis=2), probes.argmax(axis=2), place[part.true_idx[songs]], "soft")
