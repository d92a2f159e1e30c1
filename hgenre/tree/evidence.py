"""What songs that a model did not learn from say about its answers: the ground for thresholds."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from hgenre.tree.spec import Node, TreeSpec, genres_under
from hgenre.tree.vote import SongAnswers

MAX_SONGS = 2000
"""Songs of evidence that are kept: a share of 0.9 then has a standard error of 0.7 points."""

DECIMALS = 6
"""Of the probabilities that are kept."""


class SongEvidence(NamedTuple):
    """A held-out song, its truth and what was answered; probabilities are calibrated on other songs."""

    true_idx: int
    genre_idx: int  # the song's vote
    p_true: float  # of the true genre, rounded down
    path_p: tuple[float, ...]  # of the steps of ``answer_path``, never rising


Evidence = tuple[SongEvidence, ...]


def home_path(tree: TreeSpec, genre: str) -> tuple[Node | str, ...]:
    """Steps from the root to a genre, both included, through its home where groups overlap."""
    steps: list[Node | str] = [tree.root]
    while isinstance(at := steps[-1], Node):
        steps.append(at.children[at.home_child_idx(genre)])
    return tuple(steps)


def answer_path(tree: TreeSpec, genre: str) -> tuple[Node | str, ...]:
    """The steps on the way to a genre that leave some genre out: what an answer can be. The genre comes last."""
    return tuple(step for step in home_path(tree, genre) if len(genres_under(step)) < len(tree.labels))


def path_probabilities(steps: Sequence[Node | str], p: Mapping[str, float]) -> tuple[float, ...]:
    """The probability that a song is under each step, from genre -> probability; at most 1, never rising."""
    return tuple(accumulate((sum(p[genre] for genre in genres_under(step)) for step in steps), min, initial=1.0))[1:]


def gather_evidence(tree: TreeSpec, answers: SongAnswers, true_idx: np.ndarray) -> Evidence:
    """The evidence of songs with an answer; at most MAX_SONGS, spread evenly over them.

    Args:
        answers: with probabilities that were calibrated on other songs.
        true_idx: (song,) int.
    """
    heard = np.flatnonzero(answers.genre_idx >= 0)
    if len(heard) > MAX_SONGS:
        heard = heard[np.linspace(0, len(heard) - 1, MAX_SONGS).round().astype(int)]
    genres = tree.labels.genres
    steps = [answer_path(tree, genre) for genre in genres]
    found = []
    for song in heard.tolist():
        p = dict(zip(genres, answers.probabilities[song].tolist(), strict=True))
        voted, true = int(answers.genre_idx[song]), int(true_idx[song])
        path_p = (round(value, DECIMALS) for value in path_probabilities(steps[voted], p))
        p_true = float(np.floor(p[genres[true]] * 10**DECIMALS) / 10**DECIMALS)
        found.append(SongEvidence(true, voted, p_true, tuple(path_p)))
    return tuple(found)
