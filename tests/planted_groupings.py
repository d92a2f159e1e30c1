"""Folds of a sweep whose groups are known, because they were put there: numbers alone, nothing is trained."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from hgenre.bundle import SeenSong
from hgenre.grouping.partitions import bell, set_partitions
from hgenre.labels import Labels
from hgenre.studies.grouping.candidates import candidates
from hgenre.studies.grouping.derive import _found, derived_to_json
from hgenre.studies.grouping.evidence import Evidence
from hgenre.studies.grouping.judged import Judged
from hgenre.studies.grouping.sweep import Fold, scored
from hgenre.training.grouping_file import Grouping
from tests.oracles import summed_tree_answer
from tests.planted_confusions import Groups, together

LABELS = Labels(("dub", "zouk", "polka", "cumbia", "rai", "fado"))
PLANTED: Groups = (("dub", "polka", "rai"), ("zouk", "fado"), ("cumbia",))
"""Sixty groupings have sizes 3, 2 and 1, so one of them can be rarer than one in twenty."""
NONE: Groups = tuple((genre,) for genre in LABELS)

N_A_GENRE = 12


def planted_judged(seed: int, groups: Groups = PLANTED, labels: Labels = LABELS, n_a_genre: int = N_A_GENRE) -> Judged:
    """Songs that a flat net takes for others of their group, and probes that know better inside a group alone."""
    rng, n = np.random.default_rng(seed), len(labels)
    true_idx = np.repeat(np.arange(n), n_a_genre)
    same = together(labels, groups)[true_idx]
    truth = np.eye(n)[true_idx]
    song_idx = np.repeat(np.arange(len(true_idx)), 2)
    slices = _softmax(
        (rng.normal(0, 1.2, same.shape) + 1.5 * truth + 2.5 * same)[song_idx] + rng.normal(0, 0.3, (2 * len(truth), n))
    )
    p = slices.reshape(-1, 2, n).mean(axis=1)
    probe_p = np.zeros((2**n, len(truth), n))
    for subset in range(1, 2**n):
        held = (subset >> np.arange(n) & 1).astype(bool)
        inside = together(labels, groups)[np.ix_(held, held)].all()
        logits = rng.normal(0, 1, truth.shape) + (4.0 if inside else 1.0) * truth
        probe_p[subset] = _softmax(np.where(held, logits, -np.inf))
    centroids, weights = (
        together(labels, groups) @ rng.normal(0, 3, (n, 8)) + rng.normal(0, 0.3, (n, 8)) for _ in "cw"
    )
    return Judged(
        song_ids=tuple(f"{seed}-{i}" for i in range(len(truth))),
        true_idx=true_idx,
        clusters=tuple(f"{seed}-{i // 2}" for i in range(len(truth))),
        p=p,
        slice_p=slices.astype(np.float32),
        song_idx=song_idx,
        probe_p=probe_p.astype(np.float32),
        centroids=centroids,
        weights=weights,
        l2=0.01,
    )


def planted_folds(groups: Groups = PLANTED, n_folds: int = 2, seeds: tuple[int, ...] = (0,)) -> list[Fold]:
    """Folds of some seeds, each with evidence in two parts."""
    found = []
    for seed in seeds:
        for k in range(n_folds):
            first = 100 * seed + 10 * k
            parts = tuple(planted_judged(first + i, groups) for i in (1, 2))
            songs = tuple(SeenSong(i, "0" * 64, "grouping") for part in parts for i in part.song_ids)
            found.append(Fold(seed, planted_judged(first, groups), Evidence(LABELS, parts, songs)))
    return found


def in_label_order(judged: Judged, order: list[int]) -> Judged:
    """The same songs over the labels in another order: the new list's genre k is the old one's ``order[k]``."""
    n = len(order)
    # Bit k of a new subset is bit order[k] of the old one.
    subsets = sum((np.arange(2**n) >> k & 1) << old for k, old in enumerate(order))
    return replace(
        judged,
        true_idx=np.argsort(order)[judged.true_idx],
        p=judged.p[:, order],
        slice_p=judged.slice_p[:, order],
        probe_p=judged.probe_p[subsets][:, :, order],
        centroids=judged.centroids[order],
        weights=judged.weights[order],
    )


@cache
def planted_results(groups: Groups = PLANTED, n_folds: int = 2, seeds: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """What a sweep leaves: of these folds, with a grouping given that is not theirs. Not to be changed."""
    folds, partitions = planted_folds(groups, n_folds, seeds), set_partitions(len(LABELS))
    given = {"manual": (("dub", "zouk"), ("polka", "cumbia"), ("rai", "fado"))}
    found, missing = candidates([fold.evidence for fold in folds], partitions, given)
    return {
        "name": "planted",
        "command": "hgenre group sweep planted.toml",
        "protocol": "artist",
        "labels": list(LABELS),
        "seeds": list(seeds),
        "machine": {"platform": "none", "cpus": 2, "devices": ["cpu"], "jax": "0"},
        "features": "no features",
        "warnings": missing,
        "n_folds": n_folds,
        "folds_run": n_folds,
        "n_inner": 2,
        "n_songs": [len(LABELS) * N_A_GENRE] * n_folds,
        "n_partitions": bell(len(LABELS)),
        **scored(folds, found, partitions, n_draws=200),
        "seconds": 12.3,
    }


def _softmax(logits: np.ndarray) -> np.ndarray:
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(p / p.sum(axis=-1, keepdims=True))


def probes_of(judged: Judged, labels: Labels = LABELS) -> list[dict[frozenset[str], dict[str, float]]]:
    """What the probe of each set of genres says, a song each."""
    sets = {subset: [g for g in range(len(labels)) if subset >> g & 1] for subset in range(1, len(judged.probe_p))}
    return [
        {
            frozenset(labels.genres[g] for g in held): {
                labels.genres[g]: float(judged.probe_p[subset, song, g]) for g in held
            }
            for subset, held in sets.items()
        }
        for song in range(len(judged.true_idx))
    ]


def songs_right(
    judged: Judged,
    probes: Sequence[Mapping[frozenset[str], Mapping[str, float]]],
    groups: Sequence[Sequence[str]],
    decoder: str,
    labels: Labels = LABELS,
) -> list[bool]:
    """Whether the summed tree of some groups has each song right, told song by song."""
    return [
        summed_tree_answer(groups, dict(zip(labels, p, strict=True)), known, decoder) == labels.genres[truth]
        for p, known, truth in zip(judged.p.tolist(), probes, judged.true_idx, strict=True)
    ]


@cache
def planted_grouping() -> Grouping:
    """What ``hgenre group derive`` writes of the evidence of one fold."""
    evidence = planted_folds()[0].evidence
    found = _found(evidence, "average", None, "soft", "song", True)
    about = {
        "name": "planted",
        "command": "hgenre group derive planted.toml",
        "method": "average",
        "evidence": "soft, songs",
        "n_folds": 2,
        "digest": evidence.digest,
        "confusion": evidence.confusion().round(6).tolist(),
        **derived_to_json(found),
    }
    groups = [{"+".join(group): list(group)} if len(group) > 1 else group[0] for group in found.groups]
    return Grouping(LABELS, groups, evidence.songs, about)
