"""What held-out songs say about a model's answers: the ground for thresholds.

Thresholds keep their promises where answers are those of one fixed model that owes nothing to the songs of evidence,
and later songs could as well have been among them. The evidence of a bundle is near that, by its source:

* ``validation songs``: no weight was fitted to them, but they chose the epoch, the nodes' temperatures, whether joint
  fine-tuning is kept, and groups where these are derived, so they look a little better than later songs will;
* ``out of fold``: nothing was chosen by them, but they were answered by the models of the folds, and the thresholds are
  used by a model that was fitted again on all songs.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from hgenre.tree.spec import Node, TreeSpec, genres_under, home_path
from hgenre.tree.vote import SongAnswers

MAX_SONGS = 2000
"""Songs of evidence that a bundle keeps: a share of 0.9 then has a standard error of 0.7 points."""

DECIMALS = 6
"""Of the probabilities that are kept."""


class SongEvidence(NamedTuple):
    """What was answered for a held-out song, and how far it holds; probabilities are calibrated on other songs.

    It says all that thresholds need without its tree, so songs of several trees can stand together.
    """

    p_true: float  # of the true genre, rounded down
    path_p: tuple[float, ...]  # of the steps of the vote's ``answer_path``, never rising; the last is the vote itself
    n_right: int  # how many of these steps, from the first, hold the true genre

    @property
    def is_right(self) -> bool:
        """Whether the vote is the true genre."""
        return self.n_right == len(self.path_p)


Evidence = tuple[SongEvidence, ...]


def answer_path(tree: TreeSpec, genre: str) -> tuple[Node | str, ...]:
    """The steps on the way to a genre that leave some genre out: what an answer can be. The genre comes last."""
    return tuple(step for step in home_path(tree, genre) if len(genres_under(step)) < len(tree.labels))


def path_probabilities(steps: Sequence[Node | str], p: Mapping[str, float]) -> tuple[float, ...]:
    """The probability that a song is under each step, from genre -> probability; at most 1, never rising."""
    return tuple(accumulate((sum(p[genre] for genre in genres_under(step)) for step in steps), min, initial=1.0))[1:]


def gather_evidence(tree: TreeSpec, answers: SongAnswers, true_idx: np.ndarray) -> Evidence:
    """The evidence of all songs with an answer.

    Args:
        answers: with probabilities that were calibrated on other songs.
        true_idx: (song,) int.
    """
    genres = tree.labels.genres
    steps = [answer_path(tree, genre) for genre in genres]
    found = []
    for song in np.flatnonzero(answers.genre_idx >= 0).tolist():
        p = dict(zip(genres, answers.probabilities[song].tolist(), strict=True))
        path, truth = steps[int(answers.genre_idx[song])], genres[int(true_idx[song])]
        path_p = (round(value, DECIMALS) for value in path_probabilities(path, p))
        p_true = float(np.floor(p[truth] * 10**DECIMALS) / 10**DECIMALS)
        found.append(SongEvidence(p_true, tuple(path_p), sum(truth in genres_under(step) for step in path)))
    return tuple(found)


def thinned(evidence: Evidence) -> Evidence:
    """At most MAX_SONGS of the songs, spread evenly over them."""
    if len(evidence) <= MAX_SONGS:
        return evidence
    return tuple(evidence[i] for i in np.linspace(0, len(evidence) - 1, MAX_SONGS).round().astype(int))
