"""Held-out answers of flat nets, by cross-validation inside a training part: what groups are derived from."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hgenre.bundle import SeenSong
from hgenre.data.splits import clusters
from hgenre.grouping.confusion import hard_confusion, soft_confusion
from hgenre.grouping.exhaustive import SummedDecoder
from hgenre.grouping.groups import Groups
from hgenre.grouping.methods import Method, choose_n_groups, derive
from hgenre.labels import Labels
from hgenre.studies.grouping.judged import Judged, judge, read_judged, write_judged
from hgenre.training.fit import FLAT
from hgenre.training.grouping_file import SPLIT
from hgenre.training.node_fits import NodeFits
from hgenre.training.node_nets import flat_spec
from hgenre.training.prepare import TRAIN, VALIDATION, Prepared, fold_ids, split_around
from hgenre.training.progress import Progress, Work
from hgenre.tree.spec import flat_tree

Kind = Literal["soft", "hard"]
Unit = Literal["song", "slice"]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What flat nets say of a training part's songs, each of them by the net that has not seen it.

    Attributes:
        parts: a fold's songs each; every part has songs of every genre.
        songs: every song of the training part. Where a grouping comes from it, none of these may test the grouping.
    """

    labels: Labels
    parts: tuple[Judged, ...]
    songs: tuple[SeenSong, ...]

    @cached_property
    def digest(self) -> str:
        """Of the songs that the evidence comes from: 16 hexadecimal digits."""
        return _digest(f"{song.song_id}\t{song.sha256}" for song in self.songs)

    @property
    def true_idx(self) -> NDArray[np.intp]:
        """(song,) of all parts."""
        return np.concatenate([part.true_idx for part in self.parts])

    @property
    def p(self) -> NDArray[np.float64]:
        """(song, genre) mean probabilities of all parts."""
        return np.concatenate([part.p for part in self.parts])

    @property
    def clusters(self) -> tuple[str, ...]:
        """(song,) artists of all parts."""
        return tuple(cluster for part in self.parts for cluster in part.clusters)

    def answers(self, unit: Unit) -> tuple[NDArray[np.intp], NDArray[np.float64], tuple[str, ...]]:
        """Genres and probabilities, (item,) and (item, genre), and the artists (item,), of songs or of their slices."""
        if unit == "song":
            return self.true_idx, self.p, self.clusters
        return (
            np.concatenate([part.true_idx[part.song_idx] for part in self.parts]),
            np.concatenate([part.slice_p for part in self.parts]).astype(np.float64),
            tuple(part.clusters[i] for part in self.parts for i in part.song_idx),
        )

    def confusion(self, kind: Kind = "soft", unit: Unit = "song") -> NDArray[np.float64]:
        """(genre, genre), rows the truth: mean probabilities or counts of answers, of songs or of their slices."""
        true_idx, p, _ = self.answers(unit)
        if kind == "soft":
            return soft_confusion(true_idx, p, len(self.labels))
        return np.asarray(hard_confusion(true_idx, p.argmax(axis=1), len(self.labels)), np.float64)

    @property
    def centroids(self) -> NDArray[np.float64]:
        """Mean embeddings (genre, feature), every net's features one after the other: squared distances add up."""
        return np.concatenate([part.centroids for part in self.parts], axis=1)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Last layers' weights (genre, feature), every net's rows at length 1, one after the other."""
        return np.concatenate(
            [part.weights / np.linalg.norm(part.weights, axis=1, keepdims=True) for part in self.parts], axis=1
        )

    def groups(self, method: Method, n_groups: int | None, kind: Kind = "soft", unit: Unit = "song") -> Groups:
        """The groups that a method makes of it; without a count as many as hold most mistakes beyond chance.

        Raises as :func:`hgenre.grouping.methods.derive`.
        """
        confusion, labels = self.confusion(kind, unit), self.labels
        vectors = {"centroids": self.centroids, "weights": self.weights}
        return derive(
            method, confusion, labels, n_groups or choose_n_groups(method, confusion, labels, **vectors), **vectors
        )

    def tables(self, decoder: SummedDecoder) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """``value`` and ``right`` (subset, song) of all parts, see :func:`hgenre.grouping.exhaustive.tables`."""
        values, rights = zip(*(part.tables(decoder) for part in self.parts), strict=True)
        return np.concatenate(values, axis=1), np.concatenate(rights, axis=1)


def gather(
    prepared: Prepared,
    *,
    n_folds: int,
    seed: int,
    kept_in: Path,
    with_probes: bool = True,
    on_progress: Callable[[int, Progress], None] = lambda k, progress: None,
) -> Evidence:
    """Cross-validates the flat net over the songs of ``prepared``, which are the training part and nothing else.

    Args:
        kept_in: folder that keeps nets and answers by their content, so that an interrupted run goes on.
        on_progress: is told the fold.
    """
    parts = [
        judge_around(
            prepared, test_ids, seed=seed, kept_in=kept_in, with_probes=with_probes, on_progress=partial(on_progress, k)
        )
        for k, test_ids in enumerate(fold_ids(prepared, n_folds))
    ]
    songs = tuple(SeenSong(song.song_id, song.sha256, SPLIT) for song in prepared.songs)
    return Evidence(prepared.labels, tuple(parts), songs)


def part_of(prepared: Prepared, song_ids: Sequence[str]) -> Prepared:
    """The same with these songs alone."""
    kept = set(song_ids)
    return replace(prepared, songs=tuple(song for song in prepared.songs if song.song_id in kept))


def judge_around(
    prepared: Prepared,
    test_ids: Sequence[str],
    *,
    seed: int,
    kept_in: Path,
    with_probes: bool = True,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Judged:
    """What a flat net that learns from the other songs says of these; from ``kept_in`` where it was said before."""
    run = run_around(prepared, test_ids, seed=seed, kept_in=kept_in, on_progress=on_progress)
    root, spec = flat_tree(prepared.labels).root, flat_spec(prepared.config)
    run.work.plan(flat_tree(prepared.labels))
    cluster_of, tested = clusters(prepared.songs, by="artist"), set(test_ids)
    asked = _digest(
        f"{song.song_id}\t{song.sha256}\t{song.genre}\t{cluster_of[song.song_id]}"
        for song in prepared.songs
        if song.song_id in tested
    )
    said = kept_in / "judged" / f"{run.address_of(FLAT, root, spec)}-{asked}"
    path = said.with_suffix(".probes.npz" if with_probes else ".npz")
    judged = read_judged(path)
    if judged is None:
        flat, _ = run.node(FLAT, root, spec)
        judged = judge(run, flat, prepared.learning(test_ids), cluster_of, with_probes=with_probes)
        write_judged(path, judged)
    return judged


def run_around(
    prepared: Prepared,
    test_ids: Sequence[str],
    *,
    seed: int,
    kept_in: Path,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> NodeFits:
    """What trains nets on all songs but these."""
    split = split_around(prepared, test_ids)
    train, validation = (
        prepared.learning([i for i, side in split.items() if side == wanted]) for wanted in (TRAIN, VALIDATION)
    )
    facts = {song.song_id: song for song in prepared.songs}
    work = Work(prepared.config, prepared.labels, train, on_progress)
    return NodeFits(prepared.config, prepared.labels, train, validation, facts, seed, work, kept_in / "nets")


def _digest(told: Iterable[str]) -> str:
    """16 hexadecimal digits of what is told in any order."""
    return hashlib.sha256("\n".join(sorted(told)).encode()).hexdigest()[:16]
