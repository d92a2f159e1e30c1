"""Fits a tree and its rivals on the same songs: flat nets, groups, root, specialists, shared trunk, temperatures."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
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
from hgenre.nets.build import Net, Variables, build_net
from hgenre.nets.pretrained import carry_over, read_vgg16
from hgenre.nets.spec import NetSpec
from hgenre.training.config import OptimiserConfig, RunConfig
from hgenre.training.joint import at_temperature, by_node, joined, parted, shared_trunk, tree_as_net, trunk_logits
from hgenre.training.loop import Epoch, NodeTask, TrainedNet, slice_logits, train_net, validate, warm
from hgenre.training.node_nets import flat_spec, net_spec, starts_warm
from hgenre.training.progress import Progress, Work
from hgenre.training.songs import LearningSongs, standard_of
from hgenre.tree.calibration import fit_temperature, slice_weights
from hgenre.tree.spec import Node, TreeSpec, flat_tree, tree_from_groups

FLAT = "flat"
TRUNK = "shared trunk"

JOINT_STAGE, TRUNK_STAGE, FLAT_STAGE = "all/joint", "rival/shared trunk", "rival/flat"
"""Names of what is trained beside ``flat`` and the nodes; a node's name holds no slash."""

BEFORE = "/before"
"""What follows the name of a net in the history of its forerunner."""

NORMALISATION_SONGS = 2000
"""More songs would hardly move the means and deviations of mel bands, and reading all of a large corpus costs time."""


@dataclass(frozen=True, eq=False)
class Trunk:
    """One net with one head a node of ``tree``: a rival that shares all layers but the last."""

    tree: TreeSpec
    spec: NetSpec
    variables: Variables
    temperatures: Mapping[str, float]


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
    seed: int,
    with_tree: bool = True,
    about: Mapping[str, Any] | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Fitted:
    """Trains the flat net, finds groups if the configuration gives none, trains every node of the tree, then rivals.

    Normalisation comes from the training songs; early stopping, temperatures and derived groups from validation songs.

    Args:
        facts: song id -> the manifest's row, for the list of songs seen.
        with_tree: train the flat net only when False.
    """
    given = tree_from_groups(labels, config.tree.groups) if config.tree.groups is not None else None
    all_genres = flat_tree(labels)
    run = _Run(config, labels, train, validation, seed, Work(config, labels, train, on_progress))
    run.work.plan(given if with_tree else all_genres)

    flat_net, flat_logits = run.node(FLAT, all_genres.root, flat_spec(config))
    flat = run.bundle(all_genres, {all_genres.root.name: flat_net}, f"{config.name}-flat", facts, about)
    if not with_tree:
        return Fitted(None, flat, run.history, {})

    grouping: dict[str, Any] = {"source": "config"}
    tree = given
    if tree is None:
        tree, grouping = derived_tree(config, labels, validation, *flat_logits)
        run.work.plan(tree)
    if tree.is_flat:
        return Fitted(
            run.bundle(tree, {tree.root.name: flat_net}, config.name, facts, about), flat, run.history, grouping
        )
    nets = {}
    for node in tree.net_nodes:
        spec = net_spec(config, node, tree)
        nets[node.name], _ = run.node(node.name, node, spec, run.warm_start(spec, flat_net))
    result = run.bundle(tree, nets, config.name, facts, about)
    stagewise = tuned = None
    if config.tree.joint_epochs:
        stagewise = result
        tuned, is_better = run.together(result)
        result = tuned if is_better else stagewise

    flat_nets: list[Bundle] = []
    if config.rivals.flat_ensembles:
        for k in range(2, max(len(tree.net_nodes), 2) + 1):
            other, _ = run.node(f"{FLAT_STAGE} {k}", all_genres.root, flat_spec(config))
            flat_nets.append(run.bundle(all_genres, {all_genres.root.name: other}, f"{flat.name}-{k}", facts, about))
    trunk = None
    if config.rivals.shared_trunk:
        trunk = run.trunk(tree, flat_net)
    return Fitted(result, flat, run.history, grouping, stagewise, tuned, tuple(flat_nets), trunk)


@dataclass(frozen=True)
class _Calibrated:
    """A net's variables with the temperature that validation songs gave it."""

    variables: Variables
    temperature: float


class _Run:
    """One fit's songs and settings, and what trains single nets under them."""

    def __init__(
        self,
        config: RunConfig,
        labels: Labels,
        train: LearningSongs,
        validation: LearningSongs,
        seed: int,
        work: "Work",
    ) -> None:
        self.config, self.labels, self.train, self.validation, self.seed = config, labels, train, validation, seed
        self.work = work
        self.history: dict[str, tuple[Epoch, ...]] = {}
        self.normalisation = (
            fit_normalisation((train.cut(i) for i in spread_songs(len(train))), train.features)
            if config.features.normalise == "training"
            else Normalisation.per_song(train.features.n_mels)
        )
        self.standard = standard_of(self.normalisation)

    def node(
        self,
        name: str,
        node: Node,
        spec: NetSpec,
        start: Callable[[Variables], Variables] | None = None,
    ) -> tuple[_Calibrated, tuple[np.ndarray, np.ndarray]]:
        """Trains one node's net; also its calibrated validation logits (slice, child) and their songs (slice,)."""
        task = node_task(node, self.labels, name)

        def net_of(spec: NetSpec) -> Net:
            return build_net(spec, len(node.children), self.config.optimiser.precision)

        net, trained = self._trained(net_of, spec, task, self.work.size(node), start)
        logits, song_idx = self._validation_logits(net, trained.variables, task)
        temperature = self._temperature(task, logits, song_idx)
        return _Calibrated(trained.variables, temperature), (logits / temperature, song_idx)

    def _trained(
        self,
        net_of: Callable[[NetSpec], Net],
        spec: NetSpec,
        task: NodeTask,
        size: int,
        start: Callable[[Variables], Variables] | None,
    ) -> tuple[Net, TrainedNet]:
        """The net of a spec, trained on a task.

        Without a ``start`` a net begins with its pretrained layers where it has some, and the configuration's next net
        with those of its forerunner, which is trained first.
        """
        config, net = self.config, net_of(spec)
        if start is None and spec == config.next_net:
            forerunner = net_of(config.net)
            shape = self.train.features.n_mels, self.train.slices.n_frames
            # Whether the layers fit is known before an hour is spent on them.
            carry_over(spec, forerunner.shapes(*shape)["params"])(net.shapes(*shape))
            begun = self._pretrained(config.net)
            earlier = self._train(f"{task.name}{BEFORE}", forerunner, task, config.optimiser, begun, size)
            start = carry_over(spec, earlier.variables["params"])
        begun = start or self._pretrained(spec)
        return net, self._train(task.name, net, task, config.optimiser, begun, size)

    def _pretrained(self, spec: NetSpec) -> Callable[[Variables], Variables]:
        """What takes the pretrained layers of a net, if it has some, in place of those drawn."""
        if not self.config.pretrained or spec.kind != "vgg16":
            return lambda drawn: drawn
        return carry_over(spec, read_vgg16(self.config.pretrained))

    def warm_start(self, spec: NetSpec, flat_net: _Calibrated) -> Callable[[Variables], Variables] | None:
        """What puts the flat net's weights below the last layer, for a net that starts warm."""
        return partial(warm, flat_net.variables) if starts_warm(self.config, spec) else None

    def together(self, stagewise: Bundle) -> tuple[Bundle, bool]:
        """The tree with all its nets tuned on the tree's own loss, and whether validation songs gain by that."""
        tree, config = stagewise.tree, self.config
        net = tree_as_net(tree, tuple(stagewise.nets[node.name] for node in tree.net_nodes))
        task = node_task(flat_tree(self.labels).root, self.labels, JOINT_STAGE)
        # From the posterior that songs would get without it: each node at its temperature.
        temperatures: dict[str, float] = dict(stagewise.temperatures)
        before = joined({n: at_temperature(dict(own), temperatures[n]) for n, own in stagewise.variables.items()})
        optimiser = replace(
            config.optimiser, epochs=config.tree.joint_epochs, learning_rate=config.tree.joint_learning_rate
        )
        logits_of = build_logits(net, self.train.features)
        loss_before = validate(logits_of, before, task, self.validation, self.standard).song_loss
        size = len(tree.net_nodes) * self.work.size(flat_tree(self.labels).root)
        trained = self._train(JOINT_STAGE, net, task, optimiser, lambda drawn: before, size)
        is_better = min(epoch.validation_loss for epoch in trained.history) < loss_before
        variables = parted(trained.variables)
        for node in tree.net_nodes:
            own = build_net(stagewise.nets[node.name], len(node.children), config.optimiser.precision)
            node_only = node_task(node, self.labels, node.name)
            temperatures[node.name] = self._temperature(
                node_only, *self._validation_logits(own, variables[node.name], node_only)
            )
        return replace(stagewise, variables=variables, temperatures=temperatures), is_better

    def trunk(self, tree: TreeSpec, flat_net: _Calibrated) -> Trunk:
        """Trains one net with one head a node."""
        config, spec = self.config, flat_spec(self.config)
        everything = flat_tree(self.labels).root
        task = node_task(everything, self.labels, TRUNK_STAGE)

        def net_of(spec: NetSpec) -> Net:
            return shared_trunk(tree, spec, config.optimiser.precision)

        start = self.warm_start(spec, flat_net)
        _, trained = self._trained(net_of, spec, task, self.work.size(everything), start)
        heads = trunk_logits(tree, spec, config.optimiser.precision)
        logits, song_idx = self._validation_logits(heads, trained.variables, task)
        temperatures = {}
        for node in tree.net_nodes:
            node_only = node_task(node, self.labels, node.name)
            child_idx = node_only.child_of_genre[self.validation.genre_idx[song_idx]]
            here = child_idx >= 0
            own = by_node(tree, logits)[node.name]
            temperatures[node.name] = fit_temperature(own[here], child_idx[here], slice_weights(song_idx[here]))
        return Trunk(tree, spec, trained.variables, temperatures)

    def bundle(
        self,
        tree: TreeSpec,
        nets: Mapping[str, _Calibrated],
        name: str,
        facts: Mapping[str, Song],
        about: Mapping[str, Any] | None,
    ) -> Bundle:
        """The trained nets with everything that travels with them."""
        return Bundle(
            tree=tree,
            features=self.train.features,
            slices=self.train.slices,
            normalisation=self.normalisation,
            nets={node.name: net_spec(self.config, node, tree) for node in tree.net_nodes},
            variables={node: own.variables for node, own in nets.items()},
            temperatures={node: own.temperature for node, own in nets.items()},
            songs_seen=tuple(
                SeenSong(song_id, facts[song_id].sha256, split)
                for split, songs in (("train", self.train), ("validation", self.validation))
                for song_id in songs.ids
            ),
            about=about or {},
            name=name,
        )

    def _train(
        self,
        name: str,
        net: Net,
        task: NodeTask,
        optimiser: OptimiserConfig,
        start: Callable[[Variables], Variables],
        size: int,
    ) -> TrainedNet:
        trained = train_net(
            net,
            task,
            self.train,
            self.validation,
            self.standard,
            optimiser,
            self.config.augment,
            seed=_net_seed(self.seed, name),
            start=start,
            on_epoch=lambda epoch: self.work.epoch(name, size, epoch, optimiser.epochs),
        )
        self.work.finish(size * optimiser.epochs)
        self.history[name] = trained.history
        return trained

    def _validation_logits(self, net: Net, variables: Variables, task: NodeTask) -> tuple[np.ndarray, np.ndarray]:
        """Logits (slice, child) of the task's validation songs, and the song (slice,) among them."""
        held_out = task.of(self.validation)
        return slice_logits(build_logits(net, self.train.features), variables, held_out, self.standard, None)

    def _temperature(self, task: NodeTask, logits: np.ndarray, song_idx: np.ndarray) -> float:
        child_idx = task.child_of_genre[task.of(self.validation).genre_idx[song_idx]]
        return fit_temperature(logits, child_idx, slice_weights(song_idx))


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
    return NodeTask(name, len(node.children), node.home_child_of(labels))


def _net_seed(seed: int, name: str) -> int:
    """A seed for each net that does not depend on which other nets there are."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")
