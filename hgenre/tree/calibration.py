"""Temperatures of the nodes, the path and the song, so that probabilities are as often right as they say.

Each is one number, and they are fitted in this order, each by the log-loss of held-out songs given the ones before:

* a node's divides its logits;
* the path's divides a slice's log-posterior, because the errors of a path's nodes are not independent;
* the song's divides the logarithm of a song's mean probability, because its slices are not independent either.

The last two need the whole posterior. Hard routing gives a part of it, so there the nodes' temperatures alone hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hgenre.tree.evidence import Evidence, gather_evidence
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec
from hgenre.tree.vote import Aggregation, SongAnswers, answer_songs, sum_sorted_slices

TEMPERATURE_RANGE = (0.25, 8.0)

SMALLEST_P = float(np.finfo(np.float32).tiny)
"""The least probability that a float32 program tells from 0."""

N_FOLDS = 5
"""Parts that songs are dealt to, in turn, where nobody says which songs belong together."""

NodeLogits = Mapping[str, np.ndarray]


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


def fit_calibration(
    tree: TreeSpec,
    node_logits: NodeLogits,
    song_idx: np.ndarray,
    n_songs: int,
    true_idx: np.ndarray,
    *,
    fold_of_song: np.ndarray | None = None,
    aggregation: Aggregation = "majority",
    source: str = "validation songs",
) -> tuple[dict[str, float], Calibration]:
    """The temperature of every net node, and of path and song with the evidence of the same songs.

    Temperatures come from all the songs, each of which weighs 1 however many slices it has; evidence is cross-fitted.

    Args:
        node_logits: net node -> (slice, child), of voiced slices, before any temperature.
        song_idx: (slice,) int in [0, n_songs), not falling; a song may have no slice.
        true_idx: (song,) int.
        fold_of_song: as for ``cross_fit``; in turn over N_FOLDS when None.
        aggregation: how slices become a song's answer, for the evidence.
    """
    nodes, path, song = _fit(tree, node_logits, song_idx, n_songs, true_idx)
    folds = np.arange(n_songs) % N_FOLDS if fold_of_song is None else fold_of_song
    answers = cross_fit(tree, node_logits, song_idx, n_songs, true_idx, folds, aggregation=aggregation)
    return nodes, Calibration(path, song, source, gather_evidence(tree, answers, true_idx))


def cross_fit(
    tree: TreeSpec,
    node_logits: NodeLogits,
    song_idx: np.ndarray,
    n_songs: int,
    true_idx: np.ndarray,
    fold_of_song: np.ndarray,
    *,
    aggregation: Aggregation = "majority",
) -> SongAnswers:
    """Every song answered with temperatures that were fitted on the songs of all other folds.

    Args:
        fold_of_song: (song,) any values; songs that belong together, as an artist's do, share one. The songs of a
            single fold keep temperatures of 1.

    The rest is as for ``fit_calibration``.
    """
    genre_idx = np.full(n_songs, -1)
    probabilities = np.zeros((n_songs, len(tree.labels)))
    for fold in np.unique(fold_of_song):
        mine = fold_of_song == fold
        here = mine[song_idx]
        others = {name: logits[~here] for name, logits in node_logits.items()}
        nodes, path, song = _fit(tree, others, song_idx[~here], n_songs, true_idx)
        own = {name: logits[here] for name, logits in node_logits.items()}
        answers = apply_calibration(
            tree, own, song_idx[here], n_songs, nodes, Calibration(path, song), aggregation=aggregation
        )
        genre_idx[mine] = answers.genre_idx[mine]
        probabilities[mine] = answers.probabilities[mine]
    return SongAnswers(genre_idx, probabilities)


def apply_calibration(
    tree: TreeSpec,
    node_logits: NodeLogits,
    song_idx: np.ndarray,
    n_songs: int,
    node_temperatures: Mapping[str, float],
    calibration: Calibration | None = None,
    *,
    aggregation: Aggregation = "majority",
) -> SongAnswers:
    """Every song's answer, and its calibrated probabilities (song, genre); zeros where a song has no slice.

    The path's temperature keeps the order of a slice's genres, and so every slice's vote.
    """
    calibration = calibration or Calibration()
    logp = temper(_log_posterior(tree, node_logits, node_temperatures), calibration.path_temperature)
    answers = answer_songs(sum_sorted_slices(logp, song_idx, n_songs), aggregation)
    heard = answers.genre_idx >= 0
    probabilities = np.zeros_like(answers.probabilities)
    probabilities[heard] = sharpen(answers.probabilities[heard], calibration.song_temperature)
    return SongAnswers(answers.genre_idx, probabilities)


def temper(logp: np.ndarray, temperature: float) -> np.ndarray:
    """``log_softmax(logp / temperature)`` along the last axis."""
    scaled = logp / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    return scaled - np.log(np.exp(scaled).sum(axis=-1, keepdims=True))


def sharpen(p: np.ndarray, temperature: float) -> np.ndarray:
    """``softmax(log p / temperature)`` along the last axis; a temperature above 1 makes it blunter."""
    return np.exp(temper(np.log(np.maximum(p, SMALLEST_P, dtype=np.float64)), temperature))


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


def _fit(
    tree: TreeSpec, node_logits: NodeLogits, song_idx: np.ndarray, n_songs: int, true_idx: np.ndarray
) -> tuple[dict[str, float], float, float]:
    """Temperatures of the nodes, the path and the song."""
    slice_true_idx = true_idx[song_idx]
    weights = 1.0 / np.bincount(song_idx, minlength=n_songs)[song_idx]
    nodes = {}
    for node in tree.net_nodes:
        reachable = set(node.genres)
        child_of_genre = np.array([node.home_child_idx(g) if g in reachable else -1 for g in tree.labels])
        child_idx = child_of_genre[slice_true_idx]
        inside = child_idx >= 0
        nodes[node.name] = fit_temperature(node_logits[node.name][inside], child_idx[inside], weights[inside])
    logp = _log_posterior(tree, node_logits, nodes)
    path = fit_temperature(logp, slice_true_idx, weights)
    answers = answer_songs(sum_sorted_slices(temper(logp, path), song_idx, n_songs))
    heard = answers.genre_idx >= 0
    log_mean_p = np.log(np.maximum(answers.probabilities[heard], SMALLEST_P))
    return nodes, path, fit_temperature(log_mean_p, true_idx[heard])


def _log_posterior(tree: TreeSpec, node_logits: NodeLogits, temperatures: Mapping[str, float]) -> np.ndarray:
    names = (node.name for node in tree.net_nodes)
    return log_posterior(tree, {n: temper(node_logits[n].astype(np.float64), temperatures[n]) for n in names})
