"""Temperatures of path and song and the evidence for honest answers, learned from held-out songs, applied to others."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hgenre.bundle import Bundle
from hgenre.held_out import TREE, HeldOut
from hgenre.training.fit import FLAT, Fitted
from hgenre.tree.calibration import Calibration, apply_calibration, cross_fit, fit_temperatures
from hgenre.tree.evidence import Evidence, gather_evidence, thinned
from hgenre.tree.spec import TreeSpec
from hgenre.tree.vote import SongAnswers

N_PARTS = 5
"""Parts that artists are dealt to, in turn, where songs do not come in several folds."""

OUT_OF_FOLD = "out of fold"
FROM_VALIDATION = "validation songs"


@dataclass(frozen=True, eq=False)
class Songs:
    """Held-out songs of one model or of several, by what the nodes at their own temperatures say together.

    The nodes of two folds may differ, as derived groups do; the genres do not.
    """

    logp: np.ndarray  # (slice, genre)
    song_idx: np.ndarray  # (slice,)
    true_idx: np.ndarray  # (song,)
    clusters: np.ndarray  # (song,) names

    def part(self, keep: np.ndarray) -> "Songs":
        """The songs whose entry in ``keep`` (song,) is true."""
        slices = keep[self.song_idx]
        position = np.cumsum(keep) - 1
        return Songs(self.logp[slices], position[self.song_idx[slices]], self.true_idx[keep], self.clusters[keep])


def songs_of(folds: Sequence[HeldOut], name: str = TREE, *, calibrated: bool = True) -> Songs:
    """The songs of all folds, answered by the model of that name; at temperature 1 unless ``calibrated``."""
    starts = np.cumsum([0, *(fold.n_songs for fold in folds)])
    return Songs(
        logp=np.concatenate([fold.models[name].log_posterior(calibrated=calibrated) for fold in folds]),
        song_idx=np.concatenate([fold.song_idx + n for fold, n in zip(folds, starts, strict=False)]),
        true_idx=np.concatenate([fold.true_idx for fold in folds]),
        clusters=np.concatenate([fold.clusters for fold in folds]),
    )


def learn_calibration(songs: Songs, tree: TreeSpec, source: str, part_of_song: np.ndarray | None = None) -> Calibration:
    """The temperatures of path and song, and evidence: each song answered by temperatures from the other parts.

    Songs of one artist alone leave both temperatures at 1: evidence must be of answers as they will be given.

    Args:
        part_of_song: (song,) any values that keep an artist's songs together; N_PARTS parts of whole artists where
            these are fewer than two.
    """
    if part_of_song is None or len(np.unique(part_of_song)) < 2:
        part_of_song = np.unique(songs.clusters, return_inverse=True)[1] % N_PARTS
    rows = (songs.logp, songs.song_idx, songs.true_idx)
    path, song = fit_temperatures(*rows) if len(np.unique(part_of_song)) > 1 else (1.0, 1.0)
    evidence = gather_evidence(tree, cross_fit(*rows, part_of_song), songs.true_idx)
    return Calibration(path, song, source, thinned(evidence))


def calibrated_answers(songs: Songs, calibration: Calibration) -> SongAnswers:
    """Answers and probabilities of the songs under temperatures learned elsewhere."""
    return apply_calibration(songs.logp, songs.song_idx, len(songs.true_idx), calibration)


def calibrated_fit(fitted: Fitted, folds: Sequence[HeldOut], source: str) -> Fitted:
    """The fit with bundles that carry what held-out songs taught about their kind."""

    def calibrated(bundle: Bundle, name: str) -> Bundle:
        learned = learn_calibration(songs_of(folds, name), bundle.tree, source, fold_of_song(folds))
        return replace(bundle, calibration=learned)

    tree = calibrated(fitted.tree, TREE) if fitted.tree is not None else None
    return replace(fitted, tree=tree, flat=calibrated(fitted.flat, FLAT))


@dataclass(frozen=True, eq=False)
class Answered:
    """Songs that were answered with what other songs taught, and nothing of their own."""

    tree: TreeSpec
    songs: Songs
    calibration: Calibration
    answers: SongAnswers

    @cached_property
    def evidence(self) -> Evidence:
        """These songs' own, as the calibration's is of the others."""
        return gather_evidence(self.tree, self.answers, self.songs.true_idx)


def answer_held_out(held: HeldOut, calibration: Calibration) -> Answered:
    """The tree's answers for held-out songs, under a calibration from others."""
    songs = songs_of([held])
    return Answered(held.models[TREE].tree, songs, calibration, calibrated_answers(songs, calibration))


def answer_folds(folds: Sequence[HeldOut]) -> list[Answered]:
    """Every fold's songs, answered with what those of all other folds taught."""
    everything, fold_idx = songs_of(folds), fold_of_song(folds)

    def learned(k: int) -> Calibration:
        others = fold_idx != k
        return learn_calibration(everything.part(others), folds[k].models[TREE].tree, OUT_OF_FOLD, fold_idx[others])

    return [answer_held_out(fold, learned(k)) for k, fold in enumerate(folds)]


def fold_of_song(folds: Sequence[HeldOut]) -> np.ndarray:
    """(song,) position of each song's fold."""
    return np.repeat(np.arange(len(folds)), [fold.n_songs for fold in folds])
