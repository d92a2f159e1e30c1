"""Fits a tree and its rivals on the same songs: flat nets, groups, root, specialists, shared trunk, temperatures."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hgenre.bundle import Bundle, SeenSong
from hgenre.data.manifest import Song
from hgenre.grouping.average_linkage import choose_n_groups, derive_groups
from hgenre.grouping.confusion import soft_confusion
from hgenre.grouping.groups import tree_of
from hgenre.labels import Labels
from hgenre.training.config import RunConfig
from hgenre.training.loop import Epoch
from hgenre.training.node_fits import NodeFits, Trunk
from hgenre.training.node_nets import flat_spec, net_spec
from hgenre.training.progress import Progress, Work
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import TreeSpec, flat_tree, tree_from_groups

FLAT = "flat"
TRUNK = "shared trunk"

FLAT_STAGE = "rival/flat"
"""What the names of further flat nets begin with in the history."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What one fit leaves behind.

    Attributes:
        tree, flat: None for the tree where none was asked for.
        history: ``flat``, node and rivals' names -> epochs.
        stagewise, tuned: the tree before and after its nets were tuned together, of which ``tree`` is the one that
            validation songs prefer; None where they were not tuned.
        flat_nets: further flat nets, which differ from ``flat`` by their seed alone; with it they are as many nets as
            the tree has.
        trunk: the shared trunk.
    """

    tree: Bundle | None
    flat: Bundle
    history: Mapping[str, tuple[Epoch, ...]]
    grouping: Mapping[str, Any]
    stagewise: Bundle | None = None
    tuned: Bundle | None = None
    flat_nets: tuple[Bundle, ...] = ()
    trunk: Trunk | None = None


def fit(
    config: RunConfig,
    labels: Labels,
    train: LearningSongs,
    validation: LearningSongs,
    facts: Mapping[str, Song],
    *,
    derived_from: Sequence[SeenSong] = (),
    seed: int,
    with_tree: bool = True,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Fitted:
    """Trains the flat net, finds groups if the configuration gives none, trains every node of the tree, then rivals.

    Normalisation comes from the training songs; early stopping, temperatures and derived groups from validation songs.

    Args:
        facts: song id -> the manifest's row, for the list of songs seen.
        derived_from: songs that the configuration's groups were derived from: the tree has seen them too.
        with_tree: train the flat net only when False.
    """
    given = tree_from_groups(labels, config.tree.groups) if config.tree.groups is not None else None
    all_genres = flat_tree(labels)
    run = NodeFits(config, labels, train, validation, facts, seed, Work(config, labels, train, on_progress))
    run.work.plan(given if with_tree else all_genres)

    flat_net, flat_logits = run.node(FLAT, all_genres.root, flat_spec(config))
    flat = run.bundle(all_genres, {all_genres.root.name: flat_net}, f"{config.name}-flat", about)
    if not with_tree:
        return Fitted(None, flat, run.history, {})

    grouping: dict[str, Any] = {"source": "file" if config.tree.grouping else "config"}
    tree = given
    if tree is None:
        tree, grouping = derived_tree(config, labels, validation, *flat_logits)
        run.work.plan(tree)
    if tree.is_flat:
        return Fitted(run.bundle(tree, {tree.root.name: flat_net}, config.name, about), flat, run.history, grouping)
    nets = {}
    for node in tree.net_nodes:
        spec = net_spec(config, node, tree)
        nets[node.name], _ = run.node(node.name, node, spec, run.warm_start(spec, flat_net))
    result = run.bundle(tree, nets, config.name, about, derived_from)
    stagewise = tuned = None
    if config.tree.joint_epochs:
        stagewise = result
        tuned, is_better = run.together(result)
        result = tuned if is_better else stagewise

    flat_nets: list[Bundle] = []
    if config.rivals.flat_ensembles:
        for k in range(2, max(len(tree.net_nodes), 2) + 1):
            other, _ = run.node(f"{FLAT_STAGE} {k}", all_genres.root, flat_spec(config))
            flat_nets.append(run.bundle(all_genres, {all_genres.root.name: other}, f"{flat.name}-{k}", about))
    trunk = None
    if config.rivals.shared_trunk:
        trunk = run.trunk(tree, flat_net)
    return Fitted(result, flat, run.history, grouping, stagewise, tuned, tuple(flat_nets), trunk)


def derived_tree(
    config: RunConfig, labels: Labels, songs: LearningSongs, logits: np.ndarray, song_idx: np.ndarray
) -> tuple[TreeSpec, dict[str, Any]]:
    """A tree whose groups are average-linkage clusters of the flat net's soft confusions on held-out songs."""
    if len(labels) < 3:
        return flat_tree(labels), {"source": "derived", "groups": [], "note": "two genres need no groups"}
    p = np.asarray(jax.nn.softmax(logits, axis=-1), np.float64)
    total = np.zeros((len(songs), len(labels)))
    np.add.at(total, song_idx, p)
    heard = total.sum(axis=1) > 0
    confusion = soft_confusion(
        songs.genre_idx[heard], total[heard] / total[heard].sum(axis=1, keepdims=True), len(labels)
    )
    n_groups = config.tree.n_groups or choose_n_groups(confusion, labels)
    groups = derive_groups(confusion, labels, n_groups)
    single_genres_last = sorted(groups, key=lambda group: len(group) == 1)
    return (
        tree_of(single_genres_last, labels),
        {
            "source": "derived",
            "method": "average linkage of the flat net's soft confusions on validation songs",
            "groups": [list(group) for group in groups],
            "confusion": confusion.round(6).tolist(),
        },
    )
