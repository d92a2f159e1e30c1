"""Answers that are right as often as was asked for: at the deepest node that is sure enough.

A song is answered on the way from the root to the genre it voted for, at the deepest step whose probability reaches a
threshold. An answer is right if it contains the true genre. Where no step reaches the threshold there is no answer.

Climbing to a parent is Goren et al. 2024, "Hierarchical Selective Classification" (NeurIPS). The threshold is the
smallest at which the songs of evidence make it likely that the target is reached, by the binomial bound of Geifman and
El-Yaniv 2017, "Selective Classification for Deep Neural Networks" (NeurIPS), without its correction for the choice
among many thresholds: they share their songs, and a test counts how often a choice falls short.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from hgenre.tree.evidence import DECIMALS, Evidence

CONFIDENCE = 0.9
"""How likely the accuracy of the answers to later songs is to reach the target, over the draw of the evidence."""


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
    """The smallest threshold at which answers are right as often as asked for, with CONFIDENCE; None if there is none.

    At a threshold with ``n`` answers, ``w`` of them wrong, the target is taken as reached when so few wrong answers
    have a probability of at most ``1 - CONFIDENCE`` under an accuracy of just the target: ``Bin(n, 1 - target) <= w``.
    """
    from scipy.special import bdtr

    thresholds, n_answered, n_right = _by_threshold(evidence)
    if not len(thresholds):
        return None
    reached = bdtr(n_answered - n_right, n_answered, 1 - target_accuracy) <= 1 - CONFIDENCE
    return float(thresholds[reached][-1]) if reached.any() else None


def shares_at(evidence: Evidence, threshold: float | None) -> Shares:
    """How the songs of evidence are answered; none of them where the threshold is None."""
    if threshold is None:
        return Shares(len(evidence), 0, 0, 0)
    p, _, song_idx, n_right = _steps(evidence)
    n_reached = np.bincount(song_idx[p >= threshold], minlength=len(evidence))
    n_steps = np.bincount(song_idx, minlength=len(evidence))
    answered = n_reached > 0
    by_genre = answered & (n_reached == n_steps)
    right = answered & (n_reached <= n_right)
    return Shares(len(evidence), int(by_genre.sum()), int((answered & ~by_genre).sum()), int(right.sum()))


def deepest_step(path_p: Sequence[float], threshold: float) -> int:
    """Index of the last probability, never rising along the path, that reaches the threshold; -1 where none does.

    Rounded as evidence is: a threshold of 1 is there to be reached.
    """
    return sum(round(p, DECIMALS) >= threshold for p in path_p) - 1


def _by_threshold(evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every threshold that makes a difference, falling, and how many songs are answered, and right, at each."""
    p, depth, song_idx, n_right = _steps(evidence)
    # As the threshold falls to a step's probability, one song more is answered, and one more or less is right.
    right_more = np.where(depth == 0, n_right[song_idx] > 0, -1 * (depth == n_right[song_idx]))
    order = np.argsort(-p, kind="stable")
    falling, n_answered, n_right_so_far = p[order], (depth == 0)[order].cumsum(), right_more[order].cumsum()
    last_of_equals = np.append(np.diff(falling) < 0, True)[: len(falling)]
    return falling[last_of_equals], n_answered[last_of_equals], n_right_so_far[last_of_equals]


def _steps(evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(step,) of all songs: probability, depth on its path, song; and (song,) how many steps hold the truth."""
    n_steps = np.array([len(song.path_p) for song in evidence], int)
    song_idx = np.repeat(np.arange(len(evidence)), n_steps)
    depth = np.arange(len(song_idx)) - (n_steps.cumsum() - n_steps)[song_idx]
    p = np.fromiter(chain.from_iterable(song.path_p for song in evidence), float, len(song_idx))
    return p, depth, song_idx, np.array([song.n_right for song in evidence], int)
