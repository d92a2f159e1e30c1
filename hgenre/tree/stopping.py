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

import numpy as np

from hgenre.tree.evidence import DECIMALS, Evidence, answer_path
from hgenre.tree.spec import TreeSpec, genres_under

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


def stopping_threshold(tree: TreeSpec, evidence: Evidence, target_accuracy: float) -> float | None:
    """The smallest threshold at which answers are right as often as asked for, with CONFIDENCE; None if there is none.

    At a threshold with ``n`` answers, ``w`` of them wrong, the target is taken as reached when so few wrong answers
    have a probability of at most ``1 - CONFIDENCE`` under an accuracy of just the target: ``Bin(n, 1 - target) <= w``.
    """
    from scipy.special import bdtr

    thresholds, n_answered, n_right = _by_threshold(tree, evidence)
    if not len(thresholds):
        return None
    reached = bdtr(n_answered - n_right, n_answered, 1 - target_accuracy) <= 1 - CONFIDENCE
    return float(thresholds[reached][-1]) if reached.any() else None


def shares_at(tree: TreeSpec, evidence: Evidence, threshold: float | None) -> Shares:
    """How the songs of evidence are answered; none of them where the threshold is None."""
    n_genre = n_group = n_right = 0
    genres_of = _genres_of_steps(tree)
    for song in evidence:
        if threshold is not None and (stop := deepest_step(song.path_p, threshold)) >= 0:
            genres = genres_of[song.genre_idx][stop]
            n_genre += len(genres) == 1
            n_group += len(genres) > 1
            n_right += song.true_idx in genres
    return Shares(len(evidence), n_genre, n_group, n_right)


def deepest_step(path_p: Sequence[float], threshold: float) -> int:
    """Index of the last probability, never rising along the path, that reaches the threshold; -1 where none does.

    Rounded as evidence is: a threshold of 1 is there to be reached.
    """
    return sum(round(p, DECIMALS) >= threshold for p in path_p) - 1


def _by_threshold(tree: TreeSpec, evidence: Evidence) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every threshold that makes a difference, falling, and how many songs are answered, and right, at each."""
    genres_of = _genres_of_steps(tree)
    changes = []  # as the threshold falls to a step's probability: one song more is answered, one more or less is right
    for song in evidence:
        right = [song.true_idx in genres for genres in genres_of[song.genre_idx]]
        for i, p in enumerate(song.path_p):
            changes.append((p, i == 0, right[i] - (i > 0 and right[i - 1])))
    falling, answered, right_more = np.array(sorted(changes, reverse=True), float).reshape(-1, 3).T
    last_of_equals = np.append(np.diff(falling) < 0, True)[: len(falling)]
    n_answered, n_right = (change.cumsum().astype(int) for change in (answered, right_more))
    return falling[last_of_equals], n_answered[last_of_equals], n_right[last_of_equals]


def _genres_of_steps(tree: TreeSpec) -> list[list[set[int]]]:
    """For each genre, what each step of its answer path holds, as positions in the label list."""
    paths = [answer_path(tree, genre) for genre in tree.labels]
    return [[{tree.labels.index(genre) for genre in genres_under(step)} for step in path] for path in paths]
