"""Groupings of the same sizes that know nothing of the music: what a grouping's score is held against."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgenre.grouping.partitions import Partitions, group_sizes, n_of_sizes, random_of_sizes, renumbered


@dataclass(frozen=True)
class AgainstRandom:
    """A grouping's accuracy beside that of size-matched random groupings.

    Attributes:
        mean, sd, best: accuracies of the random ones.
        n: how many there are; all that exist where ``is_exact``.
        p: share of them that are at least as good, the grouping itself counted in.
    """

    mean: float
    sd: float
    best: float
    n: int
    is_exact: bool
    p: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class ScoredPartitions:
    """All partitions of a genre list, and how many songs each has right in every fold.

    Attributes:
        n_right: (fold, partition) songs right.
        n_songs: over all folds.
    """

    def __init__(self, partitions: Partitions, n_right: NDArray[np.int64], n_songs: int) -> None:
        self.partitions, self.n_right, self.n_songs = partitions, n_right, n_songs
        self._keys = _keys(partitions)

    def accuracy(self, rows: Sequence[NDArray[np.uint8]]) -> float:
        """Share of songs right with a fold's own partition (genre,) in each fold."""
        return float(self._n_right(np.stack(rows)[:, None])[0]) / self.n_songs

    def against_random(self, rows: Sequence[NDArray[np.uint8]], n_draws: int, seed: int) -> AgainstRandom:
        """A fold's own partition each, held against random ones.

        The genres change places, in all folds alike, so that groupings that agree between folds are held against
        groupings that agree as much. Where the folds have one partition and at most ``n_draws`` have its sizes, these
        are all taken, and p is exact.
        """
        given = np.stack(rows)
        observed = self._n_right(given[:, None])[0]
        sizes = [int(size) for size in group_sizes(given[:1])[0] if size]
        is_exact = bool((given == given[0]).all()) and n_of_sizes(sizes) <= n_draws
        random = np.random.default_rng(seed)
        if is_exact:
            drawn = random_of_sizes(sizes, n_draws, random)
            n_right = self._n_right(np.repeat(drawn[None], len(given), axis=0))
            p = float((n_right >= observed).mean())
        else:
            order = random.permuted(np.tile(np.arange(given.shape[1]), (n_draws, 1)), axis=1)
            n_right = self._n_right(np.stack([renumbered(row[order]) for row in given]))
            p = float((1 + (n_right >= observed).sum()) / (1 + n_draws))
        accuracies = n_right / self.n_songs
        return AgainstRandom(
            float(accuracies.mean()), float(accuracies.std()), float(accuracies.max()), len(n_right), is_exact, p
        )

    def _n_right(self, rows: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Songs right (draw,) over all folds, from partitions (fold, draw, genre)."""
        found = [
            n_right[np.searchsorted(self._keys, _keys(own))] for n_right, own in zip(self.n_right, rows, strict=True)
        ]
        return np.stack(found).sum(axis=0)


def _keys(partitions: Partitions) -> NDArray[np.int64]:
    """One number a partition, in lexicographic order."""
    n_genres = partitions.shape[1]
    places = np.array([n_genres**k for k in reversed(range(n_genres))], np.int64)
    return partitions.astype(np.int64) @ places
