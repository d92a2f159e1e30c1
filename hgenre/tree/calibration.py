"""Temperatures of the nodes, the path and the song, so that probabilities are as often right as they say.

Each is one number, and they are fitted in this order, each by the log-loss of held-out songs given the ones before:

* a node's divides its logits;
* the path's divides a slice's log-posterior, because the errors of a path's nodes are not independent;
* the song's divides the logarithm of a song's mean probability, because its slices are not independent either.

A node's is fitted when its net is trained, and the last two when songs outside training have been answered. These need
the whole posterior; hard routing gives a part of it, so there the nodes' temperatures alone hold.
"""

from dataclasses import dataclass

import numpy as np

from hgenre.tree.evidence import Evidence
from hgenre.tree.vote import SongAnswers, answer_songs, sum_sorted_slices

TEMPERATURE_RANGE = (0.25, 8.0)

SMALLEST_P = float(np.finfo(np.float32).tiny)
"""The least probability that a float32 program tells from 0."""


@dataclass(frozen=True)
class Calibration:
    """What held-out songs taught a tree about its whole posterior; its nodes' temperatures stand beside it.

    Attributes:
        path_temperature: a slice's log-posterior is ``log_softmax(log_posterior / path_temperature)``.
        song_temperature: a song's probabilities are ``softmax(log mean_p / song_temperature)``.
        source: where the songs come from, for people: ``validation songs``, ``out of fold``.
        evidence: a row a song.
    """

    path_temperature: float = 1.0
    song_temperature: float = 1.0
    source: str = "validation songs"
    evidence: Evidence = ()


def fit_temperatures(logp: np.ndarray, song_idx: np.ndarray, true_idx: np.ndarray) -> tuple[float, float]:
    """The temperatures of path and song, each of whose songs weighs 1 however many slices it has.

    Args:
        logp: (slice, genre) log-posterior of voiced slices.
        song_idx: (slice,) int in [0, song), not falling; a song may have no slice.
        true_idx: (song,) int.
    """
    path = fit_temperature(logp, true_idx[song_idx], slice_weights(song_idx))
    answers = answer_songs(sum_sorted_slices(temper(logp, path), song_idx, len(true_idx)))
    heard = answers.genre_idx >= 0
    log_mean_p = np.log(np.maximum(answers.probabilities[heard], SMALLEST_P))
    return path, fit_temperature(log_mean_p, true_idx[heard])


def cross_fit(logp: np.ndarray, song_idx: np.ndarray, true_idx: np.ndarray, part_of_song: np.ndarray) -> SongAnswers:
    """Every song answered with temperatures that were fitted on the songs of all other parts.

    Args:
        part_of_song: (song,) any values; songs that belong together, as an artist's do, share one. The songs of a
            single part keep temperatures of 1.

    The rest is as for ``fit_temperatures``.
    """
    genre_idx = np.full(len(true_idx), -1)
    probabilities = np.zeros((len(true_idx), logp.shape[-1]))
    for part in np.unique(part_of_song):
        mine = part_of_song == part
        here = mine[song_idx]
        learned = Calibration(*fit_temperatures(logp[~here], song_idx[~here], true_idx))
        answers = apply_calibration(logp[here], song_idx[here], len(true_idx), learned)
        genre_idx[mine] = answers.genre_idx[mine]
        probabilities[mine] = answers.probabilities[mine]
    return SongAnswers(genre_idx, probabilities)


def apply_calibration(logp: np.ndarray, song_idx: np.ndarray, n_songs: int, calibration: Calibration) -> SongAnswers:
    """Every song's answer by majority, and its calibrated probabilities (song, genre); zeros where it has no slice.

    The path's temperature keeps the order of a slice's genres, and so every slice's vote.

    Args:
        logp, song_idx: as for ``fit_temperatures``.
    """
    answers = answer_songs(sum_sorted_slices(temper(logp, calibration.path_temperature), song_idx, n_songs))
    heard = answers.genre_idx >= 0
    probabilities = np.zeros_like(answers.probabilities)
    probabilities[heard] = sharpen(answers.probabilities[heard], calibration.song_temperature)
    return SongAnswers(answers.genre_idx, probabilities)


def temper(logits: np.ndarray, temperature: float) -> np.ndarray:
    """``log_softmax(logits / temperature)`` along the last axis, in float64; log-probabilities are logits too."""
    scaled = np.asarray(logits, np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def sharpen(p: np.ndarray, temperature: float) -> np.ndarray:
    """``softmax(log p / temperature)`` along the last axis; a temperature above 1 makes it blunter."""
    return np.exp(temper(np.log(np.maximum(p, SMALLEST_P, dtype=np.float64)), temperature))


def slice_weights(song_idx: np.ndarray) -> np.ndarray:
    """(slice,) weights under which the slices of every song together weigh 1."""
    return 1.0 / np.bincount(song_idx)[song_idx]


def fit_temperature(logits: np.ndarray, child_idx: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The temperature that minimises the mean negative log-likelihood of ``softmax(logits / temperature)``.

    The source is Guo et al. 2017, "On Calibration of Modern Neural Networks". The loss is convex in ``1 / T``, so a
    golden-section search over ``log T`` within TEMPERATURE_RANGE finds it.

    Args:
        logits: (slice, child); log-probabilities are logits too.
        child_idx: (slice,) index of the true child.
        weights: (slice,) non-negative; a song's slices should together weigh 1. Uniform when None.

    Returns:
        1.0 when there is nothing to fit on.
    """
    if len(logits) == 0:
        return 1.0
    logits = logits.astype(np.float64)
    weights = np.full(len(logits), 1.0 / len(logits)) if weights is None else weights / weights.sum()
    rows = np.arange(len(logits))

    def loss(log_t: float) -> float:
        scaled = logits / np.exp(log_t)
        peak = scaled.max(axis=-1)
        log_z = peak + np.log(np.exp(scaled - peak[:, None]).sum(axis=-1))
        return float(weights @ (log_z - scaled[rows, child_idx]))

    low, high = np.log(TEMPERATURE_RANGE)
    golden = (np.sqrt(5.0) - 1) / 2
    while high - low > 1e-4:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))
