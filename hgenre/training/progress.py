"""How far a fit has come."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hgenre.labels import Labels
from hgenre.nets.spec import NetSpec
from hgenre.training.config import RunConfig
from hgenre.training.loop import Epoch
from hgenre.training.node_nets import flat_spec, net_spec, starts_warm
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import Node, TreeSpec, flat_tree, genres_under


@dataclass(frozen=True)
class Progress:
    """Where training stands: ``net`` is a net's name in the history; ``share_done`` is of the whole fit, in [0, 1]."""

    net: str
    epoch: Epoch
    n_epochs: int
    share_done: float


class Work:
    """How much of a fit is done, counted in songs times epochs times nets."""

    def __init__(
        self, config: RunConfig, labels: Labels, train: LearningSongs, on_progress: Callable[[Progress], None]
    ) -> None:
        self._config = config
        counts = np.bincount(train.genre_idx, minlength=len(labels))
        self._n_songs = dict(zip(labels, counts.tolist(), strict=True))
        self._everything = self.size(flat_tree(labels).root)
        self._on_progress = on_progress
        self._done = 0
        self._total = 1

    def plan(self, tree: TreeSpec | None) -> None:
        """Takes a tree that is not known yet for one of a root and two specialists that share the songs."""
        config, everything = self._config, self._everything
        flat = self._n_trained(flat_spec(config), warm=False) * everything
        fit, together = flat, 0
        if tree is None or not tree.is_flat:
            nodes = (
                [(flat_spec(config), everything), (config.specialist_net or flat_spec(config), everything)]
                if tree is None
                else [(net_spec(config, node, tree), self.size(node)) for node in tree.net_nodes]
            )
            n_nets = 3 if tree is None else len(nodes)
            fit += sum(self._n_trained(spec) * size for spec, size in nodes)
            fit += config.rivals.flat_ensembles * (max(n_nets, 2) - 1) * flat
            fit += config.rivals.shared_trunk * self._n_trained(flat_spec(config)) * everything
            together = config.tree.joint_epochs * n_nets * everything
        self._total = config.optimiser.epochs * fit + together

    def _n_trained(self, spec: NetSpec, *, warm: bool = True) -> int:
        """A net and its forerunner, which a next net has unless it starts warm."""
        return 1 + (spec == self._config.next_net and not (warm and starts_warm(self._config, spec)))

    def epoch(self, name: str, size: int, epoch: Epoch, n_epochs: int) -> None:
        done = self._done + size * epoch.epoch
        self._on_progress(Progress(name, epoch, n_epochs, min(1.0, done / self._total)))

    def finish(self, work: int) -> None:
        self._done += work

    def size(self, node: Node) -> int:
        """Songs that the node's net learns from."""
        return sum(self._n_songs[genre] for child in node.children for genre in genres_under(child))
