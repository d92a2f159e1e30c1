"""What trains the nets of one fit, each by itself or several together, on the same songs."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle import Bundle, SeenSong
from hgenre.compiled.node_outputs import build_logits
from hgenre.data.manifest import Song
from hgenre.features import Normalisation, fit_normalisation, to_json
from hgenre.labels import Labels
from hgenre.nets.build import Net, Variables, build_net
from hgenre.nets.pretrained import carry_over, read_vgg16
from hgenre.nets.spec import NetSpec, net_to_json
from hgenre.training.config import OptimiserConfig, RunConfig
from hgenre.training.joint import at_temperature, by_node, joined, parted, shared_trunk, tree_as_net, trunk_logits
from hgenre.training.kept_nets import address, read_net, write_net
from hgenre.training.loop import Epoch, NodeTask, TrainedNet, slice_logits, train_net, validate, warm
from hgenre.training.node_nets import flat_spec, net_spec, starts_warm
from hgenre.training.progress import Work
from hgenre.training.songs import LearningSongs, standard_of
from hgenre.tree.calibration import fit_temperature, slice_weights
from hgenre.tree.spec import Node, TreeSpec, flat_tree, tree_to_json

JOINT_STAGE, TRUNK_STAGE = "all/joint", "rival/shared trunk"
"""Names of what is trained beside the nodes; a node's name holds no slash."""

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


@dataclass(frozen=True)
class CalibratedNet:
    """A net's variables with the temperature that validation songs gave it.

    Attributes:
        address: under which nets like it are kept, see ``kept_nets``.
    """

    variables: Variables
    temperature: float
    address: str


@dataclass(frozen=True)
class Start:
    """What a net begins with in place of the weights that are drawn: ``make`` takes these; ``told`` is its identity."""

    told: str
    make: Callable[[Variables], Variables]


class NodeFits:
    """One fit's songs and settings, and what trains single nets under them."""

    def __init__(
        self,
        config: RunConfig,
        labels: Labels,
        train: LearningSongs,
        validation: LearningSongs,
        facts: Mapping[str, Song],
        seed: int,
        work: Work,
        kept_in: Path | None = None,
    ) -> None:
        self.config, self.labels, self.train, self.validation, self.seed = config, labels, train, validation, seed
        self.facts, self.work, self.kept_in = facts, work, kept_in
        self.history: dict[str, tuple[Epoch, ...]] = {}
        self.normalisation = (
            fit_normalisation((train.cut(i) for i in spread_songs(len(train))), train.features)
            if config.features.normalise == "training"
            else Normalisation.per_song(train.features.n_mels)
        )
        self.standard = standard_of(self.normalisation)

    def node(
        self, name: str, node: Node, spec: NetSpec, start: Start | None = None
    ) -> tuple[CalibratedNet, tuple[np.ndarray, np.ndarray]]:
        """One node's net, trained or found; also its calibrated validation logits (slice, child), their songs (slice,).

        A net that is kept under the same address, because everything that it follows from is the same, is not trained
        again.
        """
        task = node_task(node, self.labels, name)

        def net_of(spec: NetSpec) -> Net:
            return build_net(spec, len(node.children), self.config.optimiser.precision)

        place, size = self.address_of(name, node, spec, start), self.work.size(node)
        net = net_of(spec)
        trained = self._once(place, net, name, size, lambda: self._trained(net_of, spec, task, size, start))
        logits, song_idx = self._validation_logits(net, trained.variables, task)
        temperature = self._temperature(task, logits, song_idx)
        return CalibratedNet(trained.variables, temperature, place), (logits / temperature, song_idx)

    def _once(self, place: str, net: Net, name: str, size: int, train: Callable[[], TrainedNet]) -> TrainedNet:
        """The net that is kept under this address, or what ``train`` makes of it, which is kept then."""
        if self.kept_in is None:
            return train()
        shapes = net.shapes(self.train.features.n_mels, self.train.slices.n_frames)
        trained = read_net(self.kept_in, place, shapes)
        if trained is None:
            trained = train()
            write_net(self.kept_in, place, trained)
        else:
            self.work.finish(size * self.config.optimiser.epochs)
            self.history[name] = trained.history
        return trained

    def address_of(
        self, name: str, node: Node, spec: NetSpec, start: Start | None = None, heads: TreeSpec | None = None
    ) -> str:
        """Of all that a node's net follows from: songs and their children, features, recipe, seed, what it begins with.

        Normalisation comes from all training songs, so nets of one set of genres differ between folds by it too.

        Args:
            heads: of a shared trunk, the tree whose nodes it has heads for.
        """
        config, features, task = self.config, self.train.features, node_task(node, self.labels, name)
        child_of, parts = task.child_of_genre, (task.of(self.train), task.of(self.validation))
        # With their genres, because a genre of few songs is drawn as often as others, whatever child it shares.
        songs = [
            [(i, self.facts[i].sha256, self.labels.genres[g]) for i, g in zip(part.ids, part.genre_idx, strict=True)]
            for part in parts
        ]
        forerunner = config.net if start is None and spec == config.next_net else None
        begun = start.told if start else file_told(config.pretrained) if (forerunner or spec).kind == "vgg16" else ""
        standard = hashlib.sha256(self.normalisation.mean_db.tobytes() + self.normalisation.std_db.tobytes())
        return address(
            {
                "seed": net_seed(self.seed, task.name),
                "children": {genre: int(i) for genre, i in zip(self.labels, child_of, strict=True) if i >= 0},
                "songs": songs,
                "features": to_json(features),
                "slices": asdict(self.train.slices),
                "normalisation": [self.normalisation.kind, standard.hexdigest()],
                "net": net_to_json(spec),
                "heads": heads and tree_to_json(heads),
                "forerunner": forerunner and net_to_json(forerunner),
                "start": begun,
                "optimiser": asdict(config.optimiser),
                "augment": asdict(config.augment),
            }
        )

    def _trained(
        self,
        net_of: Callable[[NetSpec], Net],
        spec: NetSpec,
        task: NodeTask,
        size: int,
        start: Start | None,
    ) -> TrainedNet:
        """The net of a spec, trained on a task.

        Without a ``start`` a net begins with its pretrained layers where it has some, and the configuration's next net
        with those of its forerunner, which is trained first.
        """
        config, net = self.config, net_of(spec)
        begun = start.make if start else self._pretrained(spec)
        if start is None and spec == config.next_net:
            forerunner = net_of(config.net)
            shape = self.train.features.n_mels, self.train.slices.n_frames
            # Whether the layers fit is known before an hour is spent on them.
            carry_over(spec, forerunner.shapes(*shape)["params"])(net.shapes(*shape))
            drawn = self._pretrained(config.net)
            earlier = self._train(f"{task.name}{BEFORE}", forerunner, task, config.optimiser, drawn, size)
            begun = carry_over(spec, earlier.variables["params"])
        return self._train(task.name, net, task, config.optimiser, begun, size)

    def _pretrained(self, spec: NetSpec) -> Callable[[Variables], Variables]:
        """What takes the pretrained layers of a net, if it has some, in place of those drawn."""
        if not self.config.pretrained or spec.kind != "vgg16":
            return lambda drawn: drawn
        return carry_over(spec, read_vgg16(self.config.pretrained))

    def warm_start(self, spec: NetSpec, flat_net: CalibratedNet) -> Start | None:
        """The flat net's weights below the last layer, for a net that starts warm."""
        if not starts_warm(self.config, spec):
            return None
        return Start(flat_net.address, partial(warm, flat_net.variables))

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

    def trunk(self, tree: TreeSpec, flat_net: CalibratedNet) -> Trunk:
        """Trains one net with one head a node."""
        config, spec = self.config, flat_spec(self.config)
        everything = flat_tree(self.labels).root
        task = node_task(everything, self.labels, TRUNK_STAGE)

        def net_of(spec: NetSpec) -> Net:
            return shared_trunk(tree, spec, config.optimiser.precision)

        start = self.warm_start(spec, flat_net)
        place, size = self.address_of(TRUNK_STAGE, everything, spec, start, tree), self.work.size(everything)
        trained = self._once(
            place, net_of(spec), TRUNK_STAGE, size, lambda: self._trained(net_of, spec, task, size, start)
        )
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
        nets: Mapping[str, CalibratedNet],
        name: str,
        about: Mapping[str, Any] | None,
        derived_from: Sequence[SeenSong] = (),
    ) -> Bundle:
        """The trained nets with everything that travels with them.

        Args:
            derived_from: songs that the tree's groups come from.
        """
        learned = [
            SeenSong(song_id, self.facts[song_id].sha256, split)
            for split, songs in (("train", self.train), ("validation", self.validation))
            for song_id in songs.ids
        ]
        known = {song.song_id for song in learned}
        return Bundle(
            tree=tree,
            features=self.train.features,
            slices=self.train.slices,
            normalisation=self.normalisation,
            nets={node.name: net_spec(self.config, node, tree) for node in tree.net_nodes},
            variables={node: own.variables for node, own in nets.items()},
            temperatures={node: own.temperature for node, own in nets.items()},
            songs_seen=(*learned, *(song for song in derived_from if song.song_id not in known)),
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
            seed=net_seed(self.seed, name),
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


def file_told(path: str) -> str:
    """The identity of a file of weights: the sha256 of its bytes; empty without one."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path else ""


def node_task(node: Node, labels: Labels, name: str) -> NodeTask:
    """What a node's net has to tell apart; a genre in overlapping children counts for its home."""
    return NodeTask(name, len(node.children), node.home_child_of(labels))


def net_seed(seed: int, name: str) -> int:
    """A seed for each net that does not depend on which other nets there are."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:4], "big")
