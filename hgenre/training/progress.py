"""How far a fit has come."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hgenre.labels import Labels
from hgenre.training.config import RunConfig
from hgenre.training.loop import Epoch
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
        joint_epochs, rivals = self._config.tree.joint_epochs, self._config.rivals
        # A next net has a forerunner to train; one that starts warm has none, and then there is less to do than said.
        n_epochs = self._config.optimiser.epochs * (2 if self._config.next_net else 1)
        total = n_epochs * self._everything
        if tree is None or not tree.is_flat:
            n_nets = 3 if tree is None else len(tree.net_nodes)
            nodes = 2 * self._everything if tree is None else sum(self.size(node) for node in tree.net_nodes)
            n_others = rivals.flat_ensembles * (max(n_nets, 2) - 1) + rivals.shared_trunk
            total += n_epochs * (nodes + n_others * self._everything) + joint_epochs * n_nets * self._everything
        self._total = total

    def epoch(self, name: str, size: int, epoch: Epoch, n_epochs: int) -> None:
        done = self._done + size * epoch.epoch
        self._on_progress(Progress(name, epoch, n_epochs, min(1.0, done / self._total)))

    def finish(self, work: int) -> None:
        self._done += work

    def size(self, node: Node) -> int:
        """Songs that the node's net learns from."""
        return sum(self._n_songs[genre] for child in node.children for genre in genres_under(child))
