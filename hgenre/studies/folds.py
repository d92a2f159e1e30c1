"""Songs answered by models that have not seen them: the engine under every study."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.baselines.rows import slice_table
from hgenre.baselines.trees import fit_tree
from hgenre.data.splits import clusters
from hgenre.evaluate import SongOutcome
from hgenre.held_out import FLAT, TREE, HeldOut, ModelOutputs, hear, posteriors, song_outcomes
from hgenre.results import about_bundle
from hgenre.training.fit import Fitted, fit
from hgenre.training.loop import Epoch
from hgenre.training.prepare import TRAIN, VALIDATION, Prepared, check_grouping, split_around
from hgenre.training.progress import Progress
from hgenre.tree.spec import TreeSpec, flat_tree, tree_from_groups

Histories = Sequence[Mapping[str, Sequence[Epoch]]]


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What models say of songs set aside, fold by fold.

    Attributes:
        held_out: a fold's song ids each.
        answers: model -> its answers, all folds one after the other.
        heard: a fold's node outputs each.
        histories: a fold's training each; empty where nothing was trained by epochs.
        sizes: a fold's number of songs each: ``train``, ``validation``, ``test``.
        trees: a fold's tree each, None without one.
    """

    held_out: Sequence[Sequence[str]]
    answers: Mapping[str, Sequence[SongOutcome]]
    heard: Sequence[HeldOut]
    histories: Histories
    sizes: Sequence[Mapping[str, int]]
    trees: Sequence[TreeSpec | None]
    seconds: float
    warnings: tuple[str, ...] = ()


def nets_out_of_fold(
    prepared: Prepared,
    held_out: Sequence[Sequence[str]],
    *,
    with_tree: bool = True,
    seed: int = 0,
    command: str = "",
    on_progress: Callable[[int, Progress], None] = lambda k, progress: None,
) -> OutOfFold:
    """The flat net and, if asked for, the tree and its rivals, trained once a fold.

    Args:
        held_out: the song ids that each fold sets aside, see ``fold_ids``.
        on_progress: is told the fold.
    """
    started = time.perf_counter()
    cluster_of = clusters(prepared.songs, by="artist")
    heard, histories, sizes, trees = [], [], [], []
    for k, test_ids in enumerate(held_out):
        fitted = fit_around(prepared, test_ids, seed, command, partial(on_progress, k), with_tree=with_tree)
        seen = [song.split for song in fitted.flat.songs_seen]
        sizes.append({"train": seen.count("train"), "validation": seen.count("validation"), "test": len(test_ids)})
        test = set(test_ids)
        songs = [song for song in prepared.songs if song.song_id in test]
        heard.append(hear(fitted, songs, prepared.source.frames, cluster_of))
        histories.append(fitted.history)
        trees.append(None if fitted.tree is None else fitted.tree.tree)
    return OutOfFold(held_out, _answers(heard), heard, histories, sizes, trees, time.perf_counter() - started)


def fit_around(
    prepared: Prepared,
    test_ids: Sequence[str],
    seed: int,
    command: str,
    on_progress: Callable[[Progress], None],
    *,
    with_tree: bool = True,
) -> Fitted:
    """Fits the configuration's models on all songs but those set aside."""
    split = split_around(prepared, test_ids)
    return fit(
        prepared.config,
        prepared.labels,
        prepared.learning([i for i, side in split.items() if side == TRAIN]),
        prepared.learning([i for i, side in split.items() if side == VALIDATION]),
        {song.song_id: song for song in prepared.songs},
        derived_from=prepared.derived_from,
        seed=seed,
        with_tree=with_tree,
        about=about_bundle(prepared.config, command),
        on_progress=on_progress,
    )


def classifiers_out_of_fold(
    prepared: Prepared,
    held_out: Sequence[Sequence[str]],
    root: ClassifierKind,
    specialist: ClassifierKind | None = None,
    *,
    with_tree: bool = True,
    seed: int = 0,
    on_fold: Callable[[int], None] = lambda k: None,
) -> OutOfFold:
    """A classical classifier over all genres and, where the configuration has groups, a tree of such classifiers.

    They learn from every song that is not set aside: nothing of theirs is chosen on validation songs.

    Args:
        held_out: as for ``nets_out_of_fold``.
        root: of the flat model and the tree's root; ``specialist`` of the other nodes, ``root`` where None.
    """
    started = time.perf_counter()
    labels, groups = prepared.labels, prepared.config.tree.groups
    cluster_of = clusters(prepared.songs, by="artist")
    trees = {FLAT: flat_tree(labels)}
    if with_tree and groups is not None:
        trees[TREE] = tree_from_groups(labels, groups)
    heard, sizes = [], []
    warnings: list[str] = []
    for k, test_ids in enumerate(held_out):
        check_grouping(prepared, test_ids)
        test = set(test_ids)
        training = prepared.learning([song.song_id for song in prepared.songs if song.song_id not in test])
        testing = prepared.learning(test_ids)
        table, test_table = slice_table(training), slice_table(testing)
        genre_idx = training.genre_idx[table.song_idx]
        models = {}
        for name, tree in trees.items():
            kinds = {
                node.name: root if node is tree.root or specialist is None else specialist for node in tree.net_nodes
            }
            fitted = fit_tree(tree, kinds, table.rows, genre_idx, seed)
            logp = {node: own.astype(np.float32) for node, own in fitted.node_logp(test_table.rows).items()}
            models[name] = ModelOutputs(tree, logp, dict.fromkeys(logp, 1.0))
            warnings += fitted.warnings
        voiced, song_idx = np.unique(test_table.song_idx, return_inverse=True)
        heard.append(
            HeldOut(
                labels=labels,
                song_ids=tuple(testing.ids[i] for i in voiced),
                true_idx=testing.genre_idx[voiced],
                clusters=tuple(cluster_of[testing.ids[i]] for i in voiced),
                song_idx=song_idx,
                slice_idx=test_table.slice_idx,
                models=models,
            )
        )
        sizes.append({"train": len(training), "validation": 0, "test": len(testing)})
        on_fold(k)
    return OutOfFold(
        held_out=held_out,
        answers=_answers(heard),
        heard=heard,
        histories=[],
        sizes=sizes,
        trees=[trees.get(TREE)] * len(heard),
        seconds=time.perf_counter() - started,
        warnings=tuple(dict.fromkeys(warnings)),
    )


def _answers(heard: Sequence[HeldOut]) -> dict[str, list[SongOutcome]]:
    answers: dict[str, list[SongOutcome]] = {}
    for held in heard:
        for name, logp in posteriors(held).items():
            answers.setdefault(name, []).extend(song_outcomes(held, logp))
    return answers
