"""Groupings trained as trees of CNNs, each net once for all groupings that need it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.compiled.node_outputs import build_logits
from hgenre.data.splits import clusters
from hgenre.evaluate import SongOutcome, compare, scores
from hgenre.grouping.groups import Groups, group_name, tree_of
from hgenre.grouping.partitions import of_groups, renumbered, to_groups
from hgenre.held_out import PAIR, HeldOut, ModelOutputs, song_outcomes, summed_by_child
from hgenre.labels import Labels
from hgenre.nets.build import build_net
from hgenre.nets.spec import NetSpec
from hgenre.studies.grouping.evidence import run_around
from hgenre.training.fit import FLAT, FLAT_STAGE
from hgenre.training.joint import by_node, trunk_logits
from hgenre.training.loop import slice_logits
from hgenre.training.node_fits import CalibratedNet, NodeFits
from hgenre.training.node_nets import flat_spec, net_spec
from hgenre.training.prepare import Prepared
from hgenre.training.progress import Progress
from hgenre.tree.ledger import Cells, item_choices, ledger_of
from hgenre.tree.spec import Node, TreeSpec, flat_tree

SUMMED, TRAINED, ONE_NET = "summed", "trained", "one net"
"""Roots: the flat net summed by group; a net of its own; one net with a head a node, tuned on the tree's loss."""


@dataclass(frozen=True)
class Planned:
    """A grouping to be trained.

    Attributes:
        groups: a fold each.
        is_random: drawn without a look at the music, with the sizes of the best.
        roots: how it is routed; a tree for each.
    """

    name: str
    groups: tuple[Groups, ...]
    is_random: bool = False
    roots: tuple[str, ...] = (SUMMED,)


def plan(
    best: Sequence[tuple[str, tuple[Groups, ...]]],
    given: Sequence[tuple[str, tuple[Groups, ...]]],
    n_random: int,
    labels: Labels,
    seed: int = 0,
) -> list[Planned]:
    """The best groupings, those given, and random ones of the sizes of the first that has groups in some fold.

    Its genres change places at random. Where none has groups there are no random ones.
    """
    every_root = (SUMMED, TRAINED, ONE_NET)
    planned = [
        Planned(name, groups, roots=every_root if i == 0 else (SUMMED,)) for i, (name, groups) in enumerate(best)
    ]
    planned += [
        Planned(name, groups, roots=every_root if i == 0 else (SUMMED,)) for i, (name, groups) in enumerate(given)
    ]
    random = np.random.default_rng(seed)
    grouped = [p.groups for p in planned if any(len(group) > 1 for groups in p.groups for group in groups)]
    rows = np.stack([of_groups(groups, labels) for groups in grouped[0]]) if grouped else np.empty((0, len(labels)))
    for k in range(n_random if grouped else 0):
        drawn = renumbered(rows[:, random.permutation(rows.shape[1])])
        planned.append(Planned(f"random {k + 1}", tuple(to_groups(row, labels) for row in drawn), is_random=True))
    return planned


def train_planned(
    prepared: Prepared,
    held_out: Sequence[Sequence[str]],
    planned: Sequence[Planned],
    *,
    seed: int,
    kept_in: Path,
    on_progress: Callable[[float, str, Progress], None] = lambda share, what, progress: None,
) -> list[dict[str, Any]]:
    """Accuracy of every planned tree and of their rivals, over the songs set aside in all folds.

    A specialist depends on its genres, its songs and its recipe alone, so it is trained once and serves every grouping
    that holds its set of genres; ``kept_in`` keeps it for the next run too.
    """
    answers: dict[tuple[str, str], list[SongOutcome]] = {}
    ledgers: dict[tuple[str, str], list[Cells]] = {}
    n_nets: dict[tuple[str, str], list[int]] = {(FLAT, ""): [1], (PAIR, ""): [2]}
    k, n_done, n_steps = 0, 0, len(held_out) * (1 + sum(len(tree_plan.roots) for tree_plan in planned))

    def report(progress: Progress) -> None:
        on_progress(n_done / n_steps, f"trees, fold {k + 1}/{len(held_out)} ", progress)

    for k, test_ids in enumerate(held_out):
        nets = _FoldNets(
            run_around(prepared, test_ids, seed=seed, kept_in=kept_in, on_progress=report), prepared, test_ids
        )
        for name, logp in nets.rivals().items():
            answers.setdefault((name, ""), []).extend(song_outcomes(nets.held, logp))
        n_done += 1
        for tree_plan in planned:
            tree = tree_of(tree_plan.groups[k], prepared.labels)
            for root in tree_plan.roots:
                model, key = nets.tree(tree, root), (tree_plan.name, root)
                answers.setdefault(key, []).extend(song_outcomes(nets.held, model.log_posterior()))
                ledgers.setdefault(key, []).append(_cells(nets.held, model))
                n_nets.setdefault(key, []).append(1 if root == ONE_NET else len(model.logits))
                n_done += 1
    is_random = {tree_plan.name: tree_plan.is_random for tree_plan in planned}
    return [
        {
            "name": name,
            "root": root,
            "is_random": is_random.get(name, False),
            "accuracy": (own := scores(outcomes, prepared.labels)["song"]).accuracy,
            "interval": list(own.interval),
            "beside_flat": compare(outcomes, answers[FLAT, ""]),
            "ledger": _shares(ledgers[name, root]) if (name, root) in ledgers else None,
            "n_nets": float(np.mean(n_nets[name, root])),
        }
        for (name, root), outcomes in answers.items()
    ]


class _FoldNets:
    """The nets of one fold, made when they are first asked for, and what they say of the songs set aside."""

    def __init__(self, run: NodeFits, prepared: Prepared, test_ids: Sequence[str]) -> None:
        self.run, self.spec = run, flat_spec(run.config)
        self.test = prepared.learning(test_ids)
        self.everything = flat_tree(run.labels)
        self.flat_net, _ = run.node(FLAT, self.everything.root, self.spec)
        logits, song_idx = self._outputs(self.flat_net, self.spec, len(run.labels))
        root = self.everything.root.name
        self.flat = ModelOutputs(self.everything, {root: logits}, {root: self.flat_net.temperature})
        ids, renumbered_idx = np.unique(song_idx, return_inverse=True)
        cluster_of = clusters(prepared.songs, by="artist")
        self.held = HeldOut(
            labels=run.labels,
            song_ids=tuple(self.test.ids[i] for i in ids),
            true_idx=self.test.genre_idx[ids],
            clusters=tuple(cluster_of[self.test.ids[i]] for i in ids),
            song_idx=renumbered_idx,
            slice_idx=np.arange(len(song_idx)) - np.searchsorted(song_idx, song_idx),
            models={},
        )
        self.specialists: dict[tuple[str, ...], tuple[np.ndarray, float]] = {}

    def rivals(self) -> dict[str, np.ndarray]:
        """(slice, genre) log-probabilities of the flat net, and of two flat nets averaged."""
        first = self.flat.log_posterior()
        other, _ = self.run.node(f"{FLAT_STAGE} 2", self.everything.root, self.spec)
        root = self.everything.root.name
        second = replace(
            self.flat, logits={root: self._heard(other, self.spec, len(self.run.labels))},
            temperatures={root: other.temperature},
        ).log_posterior()  # fmt: skip
        return {FLAT: first, PAIR: np.logaddexp(first, second) - np.log(2)}

    def tree(self, tree: TreeSpec, root: str) -> ModelOutputs:
        """A tree of this fold's nets."""
        if tree.is_flat:
            return self.flat
        if root == ONE_NET:
            return self._one_net(tree)
        logits, temperatures = {}, {}
        for node in tree.net_nodes:
            if node is not tree.root:
                logits[node.name], temperatures[node.name] = self._specialist(node, tree)
        name = tree.root.name
        if len(tree.root.children) > 1:
            logits[name], temperatures[name] = self._summed(tree) if root == SUMMED else self._root(tree)
        return ModelOutputs(tree, logits, temperatures)

    def _specialist(self, node: Node, tree: TreeSpec) -> tuple[np.ndarray, float]:
        if node.genres not in self.specialists:
            spec = net_spec(self.run.config, node, tree)
            # By its genres alone, so that every grouping with this set finds the same net.
            net, _ = self.run.node(group_name(node.genres), node, spec, self.run.warm_start(spec, self.flat_net))
            self.specialists[node.genres] = self._heard(net, spec, len(node.children)), net.temperature
        return self.specialists[node.genres]

    def _summed(self, tree: TreeSpec) -> tuple[np.ndarray, float]:
        """The flat net's probabilities, summed by child."""
        return summed_by_child(self.flat.log_posterior(), tree).astype(np.float32), 1.0

    def _root(self, tree: TreeSpec) -> tuple[np.ndarray, float]:
        spec = net_spec(self.run.config, tree.root, tree)
        net, _ = self.run.node(tree.root.name, tree.root, spec, self.run.warm_start(spec, self.flat_net))
        return self._heard(net, spec, len(tree.root.children)), net.temperature

    def _one_net(self, tree: TreeSpec) -> ModelOutputs:
        trunk = self.run.trunk(tree, self.flat_net)
        heads = build_logits(trunk_logits(tree, trunk.spec), self.test.features)
        logits, _ = slice_logits(heads, trunk.variables, self.test, self.run.standard, None)
        return ModelOutputs(tree, by_node(tree, logits), trunk.temperatures)

    def _heard(self, net: CalibratedNet, spec: NetSpec, n_children: int) -> np.ndarray:
        return self._outputs(net, spec, n_children)[0]

    def _outputs(self, net: CalibratedNet, spec: NetSpec, n_children: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits (slice, child) of the voiced slices of the songs set aside, and the songs (slice,)."""
        logits_of = build_logits(build_net(spec, n_children), self.test.features)
        return slice_logits(logits_of, net.variables, self.test, self.run.standard, None)


def _cells(held: HeldOut, model: ModelOutputs) -> Cells:
    """The ledger of a tree, by song."""
    choices = item_choices(model.tree, model.node_logp(), held.song_idx, held.n_songs, "song")
    return ledger_of(model.tree, choices, held.true_idx).cells


def _shares(folds: Sequence[Cells]) -> dict[str, float]:
    """A, L, R and B in shares of the songs of all folds."""
    counts = np.array([[c.right, c.leaf_error, c.root_error, c.both] for c in folds]).sum(axis=0)
    return {name: float(share) for name, share in zip("ALRB", counts / counts.sum(), strict=True)}
