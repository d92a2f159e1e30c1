"""What a tree's routing and confidence are worth, and what it may honestly answer, on songs that taught it nothing."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from hgenre.account import account
from hgenre.calibrate import Answered, answer_folds, calibrated_answers, songs_of
from hgenre.evaluate import SongOutcome, compare
from hgenre.held_out import TREE, HeldOut, pooled, posteriors, song_outcomes
from hgenre.metrics.classification import log_loss
from hgenre.metrics.intervals import wilson
from hgenre.metrics.reliability import cluster_bootstrap, confidence_report
from hgenre.results import model_scores, rivals
from hgenre.training.fit import FLAT
from hgenre.tree.calibration import Calibration
from hgenre.tree.conformal import coverage_threshold, genre_set, group_path
from hgenre.tree.spec import TreeSpec
from hgenre.tree.stopping import shares_at, stopping_threshold

TARGETS = (0.8, 0.9, 0.95)
"""What is asked for in reports: accuracy of the answers, coverage of the sets."""

N_RESAMPLES = 200

FALLS_SHORT = 0.05
"""A resample falls short where so few right answers would be this unlikely under the accuracy that was asked for."""


def run_results(folds: Sequence[HeldOut]) -> dict[str, Any]:
    """All that a run's kept node outputs tell without its songs, as ``results.json`` holds it.

    Confidence needs folds that learn from each other; ``train-tree`` has none, and learned from validation songs.
    """
    labels = folds[0].labels
    answers: dict[str, list[SongOutcome]] = {}
    for fold in folds:
        for name, logp in posteriors(fold).items():
            answers.setdefault(name, []).extend(song_outcomes(fold, logp))
    found: dict[str, Any] = {
        "labels": list(labels),
        "n_songs": sum(fold.n_songs for fold in folds),
        "n_folds": len(folds),
        "models": model_scores(answers, labels),
    }
    if TREE in answers:
        found["comparison"] = compare(answers[TREE], answers[FLAT])
        found |= rivals(answers, labels, folds) | routing_results(folds)
        if len(folds) > 1:
            found |= confidence_results(folds, answer_folds(folds))
    return found


def routing_results(folds: Sequence[HeldOut], *, flat_name: str = "flat net", seed: int = 0) -> dict[str, Any]:
    """The account of the tree under ``ledger``; nothing where the folds have trees of their own.

    Args:
        flat_name: as for ``account``.
    """
    if (held := pooled(folds)) is None or TREE not in held.models:
        return {}
    tree = held.models[TREE]
    flat = np.array([outcome.genre_idx for outcome in song_outcomes(held, held.models[FLAT].log_posterior())])
    songs = held.song_idx, held.true_idx, held.clusters
    return {"ledger": account(tree.tree, tree.node_logp(), *songs, flat, flat_name=flat_name, seed=seed)}


def confidence_results(held: Sequence[HeldOut], parts: Sequence[Answered], *, seed: int = 0) -> dict[str, Any]:
    """What ``results.json`` holds under ``calibration`` and ``honest``: each song answered with what others taught.

    ``calibration``: ``before`` any temperature and ``after``, as ``confidence_report``. ``honest``: for each of TARGETS
    the answers under that target accuracy, and the sets under that coverage; ``resamples`` repeats both over
    N_RESAMPLES random halves of the artists, and of the songs.
    """
    raw = songs_of(held, calibrated=False)
    before = calibrated_answers(raw, Calibration())
    p_before, p_after = before.probabilities, np.concatenate([part.answers.probabilities for part in parts])
    genre_idx = np.concatenate([part.answers.genre_idx for part in parts])
    reports = {
        "before": confidence_report(p_before, raw.true_idx, before.genre_idx, raw.clusters, seed=seed),
        "after": confidence_report(p_after, raw.true_idx, genre_idx, raw.clusters, seed=seed),
    }

    def change(songs: np.ndarray) -> float:
        truth = raw.true_idx[songs]
        return log_loss(truth, p_after[songs]) - log_loss(truth, p_before[songs])

    low, high = cluster_bootstrap(change, raw.clusters, seed=seed)
    return {
        "calibration": reports,
        "log_loss_change": {"value": change(np.arange(len(raw.true_idx))), "interval": [low, high]},
        "honest": {
            "target_accuracy": {f"{target:g}": target_accuracy_results(parts, target) for target in TARGETS},
            "coverage": {f"{target:g}": coverage_results(parts, target) for target in TARGETS},
        },
        "resamples": {unit: resampled(parts, unit, seed=seed) for unit in ("artists", "songs")},
    }


def target_accuracy_results(parts: Sequence[Answered], target: float) -> dict[str, Any]:
    """How songs are answered under a target accuracy, with thresholds from others: shares, and accuracy of answers."""
    found = []
    for part in parts:
        threshold = stopping_threshold(part.calibration.evidence, target)
        found.append(shares_at(part.evidence, threshold))
    n_songs, n_genre, n_group, n_right = (
        sum(getattr(shares, name) for shares in found) for name in ("n_songs", "n_genre", "n_group", "n_right")
    )
    n_answered = n_genre + n_group
    return {
        "songs": n_songs,
        "answered_by_genre": n_genre / n_songs,
        "answered_by_group": n_group / n_songs,
        "abstained": 1 - n_answered / n_songs,
        "accuracy_of_answers": n_right / n_answered if n_answered else None,
        "interval": list(wilson(n_right, n_answered)) if n_answered else None,
    }


def coverage_results(parts: Sequence[Answered], coverage: float) -> dict[str, Any]:
    """How large sets are under a coverage, with thresholds from others, and how many hold the true genre."""
    n_songs = n_covered = n_genres = 0
    kinds = {"genre": 0, "group": 0, "set": 0, "abstain": 0}
    for part in parts:
        threshold = coverage_threshold(part.calibration.evidence, coverage)
        labels = part.tree.labels
        rows = zip(part.answers.probabilities, part.answers.genre_idx, part.songs.true_idx, strict=True)
        for p, genre_idx, true_idx in rows:
            found = genre_set(p, int(genre_idx), threshold)
            n_songs += 1
            n_covered += int(true_idx) in found
            n_genres += len(found)
            kinds[_kind(part.tree, frozenset(labels.genres[i] for i in found))] += 1
    return {
        "songs": n_songs,
        "coverage": n_covered / n_songs,
        "interval": list(wilson(n_covered, n_songs)),
        "mean_set_size": n_genres / n_songs,
        **{f"answered_by_{kind}": n / n_songs for kind, n in kinds.items() if kind != "abstain"},
        "abstained": kinds["abstain"] / n_songs,
    }


def resampled(
    parts: Sequence[Answered], unit: Literal["artists", "songs"], *, seed: int, n_resamples: int = N_RESAMPLES
) -> dict[str, Any]:
    """Whether the promises hold over random halves of artists or songs: thresholds from one half, answers in the other.

    For each of TARGETS: the mean over resamples; the mean of the bound that a resample falls below with a probability
    of FALLS_SHORT if the promise is just kept and songs are independent; and the share of resamples below theirs. The
    bound is binomial for answers, beta-binomial for sets, whose threshold is as uncertain as their number (Vovk 2012,
    "Conditional validity of inductive conformal predictors"). Songs of an artist are not independent: of halves of
    artists more fall short.
    """
    from scipy.stats import betabinom, binom

    evidence = [song for part in parts for song in part.evidence]
    names, cluster_idx = np.unique(np.concatenate([part.songs.clusters for part in parts]), return_inverse=True)
    if unit == "songs":
        names = cluster_idx = np.arange(len(evidence))
    random = np.random.default_rng(seed)
    rows: dict[str, dict[float, list[tuple[int, int, int]]]] = {
        promise: {target: [] for target in TARGETS} for promise in ("target_accuracy", "coverage")
    }
    for _ in range(n_resamples):
        first = (random.permutation(len(names)) < len(names) // 2)[cluster_idx]
        ours = tuple(song for song, chosen in zip(evidence, first, strict=True) if chosen)
        theirs = tuple(song for song, chosen in zip(evidence, first, strict=True) if not chosen)
        for target in TARGETS:
            shares = shares_at(theirs, stopping_threshold(ours, target))
            n_right, n_answered = shares.n_right, shares.n_answered
            rows["target_accuracy"][target].append(
                (n_right, n_answered, int(binom.ppf(FALLS_SHORT, n_answered, target)))
            )
            threshold = coverage_threshold(ours, target)
            n_covered = sum(song.is_right or song.p_true >= threshold for song in theirs)
            n_lost = max(1, int((len(ours) + 1) * (1 - target)))
            bound = int(betabinom.ppf(FALLS_SHORT, len(theirs), len(ours) + 1 - n_lost, n_lost))
            rows["coverage"][target].append((n_covered, len(theirs), bound))

    def summary(counts: Sequence[tuple[int, int, int]]) -> dict[str, Any]:
        right, n, bound = (column[np.array(counts)[:, 1] > 0] for column in np.array(counts).T)
        found = {"resamples": len(counts), "without_an_answer": len(counts) - len(n)}
        if not len(n):
            return {**found, "mean": None, "mean_bound": None, "share_below_bound": None}
        figures = {"mean": right / n, "mean_bound": bound / n, "share_below_bound": right < bound}
        return {**found, **{name: float(np.mean(values)) for name, values in figures.items()}}

    return {
        promise: {f"{target:g}": summary(counts) for target, counts in by_target.items()}
        for promise, by_target in rows.items()
    }


def _kind(tree: TreeSpec, genres: frozenset[str]) -> str:
    if len(genres) == 1:
        return "genre"
    if len(genres) == len(tree.labels):
        return "abstain"
    return "group" if group_path(tree, genres) else "set"
