"""Whether each group of a tree is worth its specialist: groups that are not are merged or dissolved, down to no tree.

A group's *net win* is what its specialist changes: the songs answered in the group that the tree has right and the flat
net wrong, less those that only the flat net has right. Where its interval includes 0, songs do not show that the group
is of any use. Songs that groups are chosen by must not be those that the result is measured on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hgenre.grouping.exhaustive import score
from hgenre.grouping.groups import Groups
from hgenre.grouping.partitions import group_masks, of_groups, renumbered, to_groups
from hgenre.labels import Labels
from hgenre.metrics.intervals import wilson


@dataclass(frozen=True)
class NetWin:
    """What a group's specialist changes over ``n`` songs.

    Attributes:
        won, lost: songs answered in the group that only the tree, or only the flat net, has right.
        interval: of ``(won - lost) / n``, 95 %: Wilson's for the share of ``won`` among the songs on which the two
            differ. It excludes 0 where that share's excludes a half.
    """

    group: tuple[str, ...]
    won: int
    lost: int
    n: int
    interval: tuple[float, float]

    @property
    def pays(self) -> bool:
        return self.interval[0] > 0


@dataclass(frozen=True)
class Flattened:
    """What is left of a grouping.

    Attributes:
        groups: every remaining group of two genres or more pays; where there is none the tree is flat.
        steps: what was done to get there, a sentence each.
        net_wins: of the remaining groups of two genres or more.
    """

    groups: Groups
    steps: tuple[str, ...]
    net_wins: tuple[NetWin, ...]

    @property
    def is_flat(self) -> bool:
        return not self.net_wins


def net_wins(
    value: NDArray[np.float64], right: NDArray[np.bool_], groups: Groups, labels: Labels
) -> tuple[NetWin, ...]:
    """The net win of each group of two genres or more; tables (subset, song) as for ``exhaustive.score``."""
    singles = 1 << np.arange(len(labels))
    n_songs = value.shape[1]
    flat_right = right[singles[value[singles].argmax(axis=0)], np.arange(n_songs)]
    masks = group_masks(of_groups(groups, labels)[None])[0]
    masks = masks[masks > 0]
    entered = masks[value[masks].argmax(axis=0)]
    tree_right = right[entered, np.arange(n_songs)]
    found = []
    for group, mask in zip(groups, masks, strict=True):
        if len(group) > 1:
            here = entered == mask
            won, lost = int((here & tree_right & ~flat_right).sum()), int((here & flat_right & ~tree_right).sum())
            found.append(net_win(group, won, lost, n_songs))
    return tuple(found)


def net_win(group: tuple[str, ...], won: int, lost: int, n: int) -> NetWin:
    """A net win with its interval."""
    low, high = wilson(won, won + lost)
    scale = (won + lost) / max(n, 1)
    return NetWin(group, won, lost, n, ((2 * low - 1) * scale, (2 * high - 1) * scale))


def auto_flatten(value: NDArray[np.float64], right: NDArray[np.bool_], groups: Groups, labels: Labels) -> Flattened:
    """Takes away groups that do not pay, the one with the smallest net win first, until all that are left do.

    Its genres go where most songs are right then: each alone, or into another group of two genres or more; of equally
    good ways the first of these, groups by name. Every step leaves one group less, so it ends.

    Args:
        value, right: tables (subset, song) as for ``exhaustive.score``.
    """
    steps: list[str] = []
    while weak := [found for found in net_wins(value, right, groups, labels) if not found.pays]:
        weakest = min(weak, key=lambda found: (found.won - found.lost, sorted(found.group)))
        others = sorted((group for group in groups if group != weakest.group), key=sorted)
        ways: list[Sequence[Sequence[str]]] = [[*others, *((genre,) for genre in weakest.group)]]
        ways += [
            [*(group for group in others if group != other), (*other, *weakest.group)]
            for other in others
            if len(other) > 1
        ]
        partitions = np.stack([of_groups(way, labels) for way in ways])
        chosen = int(score(value, right, partitions).argmax())
        low, high = (100 * bound for bound in weakest.interval)
        steps.append(
            f"{'+'.join(weakest.group)} {'is dissolved' if chosen == 0 else 'is merged'}: it wins {weakest.won} and "
            f"loses {weakest.lost} of {weakest.n} songs (95 % interval {low:+.1f} to {high:+.1f} points)"
        )
        groups = to_groups(renumbered(partitions[chosen][None])[0], labels)
    return Flattened(groups, tuple(steps), net_wins(value, right, groups, labels))


def verdict(found: Flattened) -> str:
    """Whether to use a tree, in one sentence."""
    if found.is_flat:
        return "Do not use a tree here: no group wins more songs than chance explains."
    kept = ", ".join("+".join(won.group) for won in found.net_wins)
    return f"The groups that pay are {kept}; every other genre stands directly under the root."
