"""Answers that are right as often as was asked for: at the deepest node that is sure enough.

A song is answered on the way from the root to the genre it voted for, at the deepest step whose probability reaches a
threshold. An answer is right if it contains the true genre. Where no step reaches the threshold there is no answer.

Climbing to a parent is Goren et al. 2024, "Hierarchical Selective Classification" (NeurIPS). Whether a threshold
reaches the target is told by the exact binomial tail of Geifman and El-Yaniv 2017, "Selective Classification for Deep
Neural Networks" (NeurIPS). The luckiest of many thresholds would promise too much, so they are tried in a fixed order,
surest answers first, and the first that fails ends it: one that falls short is taken only if the first such one passes,
which is guarded by its one test (fixed sequence testing, in Angelopoulos, Bates, Candès, Jordan and Lei 2021, "Learn
then Test: Calibrating Predictive Algorithms to Achieve Risk Control").
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from hgenre.tree.evidence import DECIMALS, Evidence

CONFIDENCE = 0.9
"""How likely, at least, the answers to later songs are as accurate as asked for, over the draw of the evidence.

That is so where the songs of evidence and later ones are independent draws from one source, answered by one fixed
model; how far a bundle's evidence is from that, ``tree/evidence.py`` says. Songs of one artist are not independent, so
where artists have many songs, answers fall short more often.
"""

N_THRESHOLDS = 20
"""That are tried: more would let a few more songs be answered, and stop a little more often at one unlucky song."""


@dataclass(frozen=True)
class Shares:
    """How songs are answered at a threshold; ``n_right`` of the answers, by genre or by group, hold the truth."""

    n_songs: int
    n_genre: int
    n_group: int
    n_right: int

    @property
    def n_answered(self) -> int:
        return self.n_genre + self.n_group

    @property
    def n_abstained(self) -> int:
        return self.n_songs - self.n_answered

    @property
    def accuracy(self) -> float | None:
        """Share of the answers that are right; None where there are none."""
        return self.n_right / self.n_answered if self.n_answered else None


def stopping_threshold(evidence: Evidence, target_accuracy: float) -> float | None:
    """The threshold at which answers are as accurate as asked for, with CONFIDENCE; None if the evidence shows none.

    Thresholds are those that answer evenly spaced numbers of the songs of evidence: from the least number that can
    pass, all of them right, to all songs. One with ``n`` answers, ``w`` of them wrong, passes where no more than ``w``
    wrong answers are at most ``1 - CONFIDENCE`` likely if the accuracy is the target: ``Bin(n, 1 - target) <= w``. The
    last before the first that does not pass is taken.
    """
    from scipy.special import bdtr

    n_least = math.floor(math.log(1 - CONFIDENCE) / math.log(target_accuracy)) + 1
    if n_least > len(evidence):
        return None
    surest = np.sort([song.path_p[0] for song in evidence])[::-1]
    thresholds = surest[np.linspace(n_least, len(evidence), N_THRESHOLDS).round().astype(int) - 1]
    n_reached = _n_reached(evidence, thresholds)
    n_answered = (n_reached > 0).sum(axis=0)
    n_wrong = (n_reached > _n_right(evidence)[:, None]).sum(axis=0)
    passed = bdtr(n_wrong, n_answered, 1 - target_accuracy) <= 1 - CONFIDENCE
    n_passed = int(np.append(passed, False).argmin())
    return float(thresholds[n_passed - 1]) if n_passed else None


def shares_at(evidence: Evidence, threshold: float | None) -> Shares:
    """How the songs of evidence are answered; none of them where the threshold is None."""
    if threshold is None or not evidence:
        return Shares(len(evidence), 0, 0, 0)
    n_reached = _n_reached(evidence, np.array([threshold]))[:, 0]
    answered = n_reached > 0
    by_genre = answered & (n_reached == [len(song.path_p) for song in evidence])
    right = answered & (n_reached <= _n_right(evidence))
    return Shares(len(evidence), int(by_genre.sum()), int((answered & ~by_genre).sum()), int(right.sum()))


def deepest_step(path_p: Sequence[float], threshold: float) -> int:
    """Index of the last probability, never rising along the path, that reaches the threshold; -1 where none does.

    Rounded as evidence is: a threshold of 1 is there to be reached.
    """
    return sum(round(p, DECIMALS) >= threshold for p in path_p) - 1


def _n_reached(evidence: Evidence, thresholds: np.ndarray) -> np.ndarray:
    """How many steps of each song's path reach each threshold, (song, threshold)."""
    p = np.array(list(zip_longest(*(song.path_p for song in evidence), fillvalue=-1.0)))
    return np.asarray((p[:, :, None] >= thresholds).sum(axis=0))


def _n_right(evidence: Evidence) -> np.ndarray:
    """How many steps of each song's path hold the truth, (song,)."""
    return np.array([song.n_right for song in evidence])
