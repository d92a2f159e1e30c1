"""Fits a tree and its flat rival on the same songs: flat net, groups, root, specialists, temperatures."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from hgenre.bundle import Bundle, SeenSong
from hgenre.compiled.node_outputs import build_logits
from hgenre.data.manifest import Song
from hgenre.features import Normalisation, fit_normalisation
from hgenre.grouping.average_linkage import choose_n_groups, derive_groups
from hgenre.grouping.confusion import soft_confusion
from hgenre.labels import Labels
from hgenre.nets.build import Variables, build_net
from hgenre.nets.spec import NetSpec
from hgenre.training.config import RunConfig
from hgenre.training.loop import Epoch, NodeTask, TrainedNet, slice_logits, train_net
from hgenre.training.songs import LearningSongs, standard_of
from hgenre.tree.calibration import fit_temperature
from hgenre.tree.spec import Node, TreeSpec, flat_tree, genres_under, tree_from_groups

FLAT = "flat"

NORMALISATION_SONGS = 2000
"""More songs would hardly move the means and deviations of mel bands, and reading all of a large corpus costs time."""


@dataclass(frozen=True)
class Progress:
    """Where training stands: ``net`` is ``flat`` or a node's name; ``share_done`` is of the whole fit, in [0, 1]."""

    net: str
    epoch: Epoch
    n_epochs: int
    share_done: float


@dataclass(frozen=True)
class Fitted:
    """What one fit leaves behind; ``history`` maps ``flat`` and node names to epochs."""

    tree: Bundle | None
    flat: Bundle
    history: Mapping[str, tuple[Epoch, ...]]
    grouping: Mapping[str, Any]


def fit(
    config: RunConfig,
    labels: Labels,
    train: LearningSongs,
    validation: LearningSongs,
    facts: Mapping[str, Song],
    *,
    seed: int,
    with_tree: bool = True,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Fitted:
    """Trains the flat net, finds the groups if the configuration gives none, trains every node of the tree.

    Normalisation comes from the training songs; early stopping, temperatures and derived groups from validation songs.

    Args:
        facts: song id -> the manifest's row, for the list of songs seen.
        with_tree: train the flat net only when False.
    """
    normalisation = (
        fit_normalisation((train.cut(i) for i in spread_songs(len(train))), train.features)
        if config.features.normalise == "training"
        else Normalisation.per_song(train.features.n_mels)
    )
    given = tree_from_groups(labels, config.tree.groups) if config.tree.groups is not None else None
    flat_spec = flat_tree(labels)
    work = _Work(config, labels, train, given if with_tree else flat_spec, on_progress)
    history: dict[str, tuple[Epoch, ...]] = {}
    seen = tuple(
        SeenSong(song_id, facts[song_id].sha256, split)
        for split, songs in (("train", train), ("validation", validation))
        for song_id in songs.ids
    )

    def net_for(
        name: str, node: Node, spec: NetSpec, start: Variables | None = None
    ) -> tuple[TrainedNet, float, tuple[np.ndarray, np.ndarray]]:
        net = build_net(spec, len(node.children), config.optimiser.precision)
        task = node_task(node, labels, name)
        standard = standard_of(normalisation)
        trained = train_net(
            net,
            task,
            train,
            validation,
            standard,
            config.optimiser,
            config.augment,
            seed=_net_seed(seed, name),
            start=start,
            on_epoch=lambda epoch: work.epoch(name, node, epoch),
        )
        work.finish(node)
        history[name] = trained.history
        held_out = task.of(validation)
        logits, song_idx = slice_logits(build_logits(net, train.features), trained.variables, held_out, standard, None)
        child_idx = task.child_of_genre[held_out.genre_idx[song_idx]]
        temperature = fit_temperature(logits, child_idx, 1.0 / np.bincount(song_idx)[song_idx])
        return trained, temperature, (logits / temperature, song_idx)

    def bundle_of(tree: TreeSpec, nets: Mapping[str, tuple[TrainedNet, float]], name: str) -> Bundle:
        return Bundle(
            tree=tree,
            features=train.features,
            slices=train.slices,
            normalisation=normalisation,
            nets={node.name: _net_spec(config, node, tree) for node in tree.net_nodes},
            variables={node: trained.variables for node, (trained, _) in nets.items()},
            temperatures={node: temperature for node, (_, temperature) in nets.items()},
            songs_seen=seen,
            about=about or {},
            name=name,
        )

    flat_net, flat_temperature, flat_held_out = net_for(FLAT, flat_spec.root, config.net)
    flat = bundle_of(flat_spec, {flat_spec.root.name: (flat_net, flat_temperature)}, f"{config.name}-flat")
    if not with_tree:
        return Fitted(None, flat, history, {})

    grouping: dict[str, Any] = {"source": "config"}
    tree = given
    if tree is None:
        tree, grouping = derived_tree(config, labels, validation, *flat_held_out)
        work.plan(tree)
    nets = {}
    for node in tree.net_nodes:
        if tree.is_flat:
            nets[node.name] = (flat_net, flat_temperature)
            continue
        spec = _net_spec(config, node, tree)
        start = flat_net.variables if config.tree.warm_start and spec == config.net else None
        trained, temperature, _ = net_for(node.name, node, spec, start)
        nets[node.name] = (trained, temperature)
    return Fitted(bundle_of(tree, nets, config.name), flat, history, grouping)


def spread_songs(n_songs: int) -> list[int]:
    """At most NORMALISATION_SONGS positions, spread evenly over the songs."""
    return np.unique(np.linspace(0, n_songs - 1, min(n_songs, NORMALISATION_SONGS)).round().astype(int)).tolist()


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
    named = {"+".join(group).replace("/", "-"): list(group) for group in groups if len(group) > 1}
    alone = [group[0] for group in groups if len(group) == 1]
    return (
        tree_from_groups(labels, [named, *alone]),
        {
            "source": "derived",
            "method": "average linkage of the flat net's soft confusions on validation songs",
            "groups": [list(group) for group in groups],
            "confusion": confusion.round(6).tolist(),
        },
    )


def node_task(node: Node, labels: Labels, name: str) -> NodeTask:
    """What a node's net has to tell apart; a genre in overlapping children counts for its home."""
    here = set(node.genres)
    child_of_genre = np.array([node.home_child_idx(genre) if genre in here else -1 for genre in labels])
    return NodeTask(name, len(node.children), child_of_genre)


def _net_spec(config: RunConfig, node: Node, tree: TreeSpec) -> NetSpec:
    if node is tree.root or config.specialist_net is None:
        return config.net
    return config.specialist_net


def _net_seed(seed: int, name: str) -> int:
    """A seed for each net that does not depend on which other nets there are."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")


class _Work:
    """How much of a fit is done, counted in songs times epochs."""

    def __init__(
        self,
        config: RunConfig,
        labels: Labels,
        train: LearningSongs,
        tree: TreeSpec | None,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._n_epochs = config.optimiser.epochs
        counts = np.bincount(train.genre_idx, minlength=len(labels))
        self._n_songs = dict(zip(labels, counts.tolist(), strict=True))
        self._on_progress = on_progress
        self._done = 0.0
        everything = self._size(flat_tree(labels).root)
        # A tree that is not known yet is taken to have a root and specialists that share the songs.
        self._total = 3 * everything if tree is None else everything
        self._everything = everything
        if tree is not None:
            self.plan(tree)

    def plan(self, tree: TreeSpec) -> None:
        nodes = () if tree.is_flat else tree.net_nodes
        self._total = self._everything + sum(self._size(node) for node in nodes)

    def epoch(self, name: str, node: Node, epoch: Epoch) -> None:
        part = self._size(node) * epoch.epoch / self._n_epochs
        self._on_progress(Progress(name, epoch, self._n_epochs, min(1.0, (self._done + part) / self._total)))

    def finish(self, node: Node) -> None:
        self._done += self._size(node)

    def _size(self, node: Node) -> int:
        return sum(self._n_songs[genre] for child in node.children for genre in genres_under(child))
