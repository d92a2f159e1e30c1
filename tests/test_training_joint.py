"""Several nodes trained as one net: the posterior it answers with, joint fine-tuning, the trunk that nodes share."""

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest

from hgenre.bundle.bundle import flatten
from hgenre.compiled.node_outputs import node_outputs
from hgenre.data.manifest import Song
from hgenre.features import standardise
from hgenre.nets.spec import NetSpec
from hgenre.training import node_fits as fitting
from hgenre.training.config import RivalsConfig
from hgenre.training.fit import Fitted, fit
from hgenre.training.joint import at_temperature, by_node, joined, parted, shared_trunk, tree_as_net, trunk_logits
from hgenre.training.loop import Validation
from hgenre.training.node_fits import JOINT_STAGE, TRUNK_STAGE
from hgenre.tree.calibration import temper
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec, tree_from_groups
from tests.planted_songs import planted_songs
from tests.small_bundles import FEATURES, SLICES
from tests.small_trees import CHAINED, OVERLAPPING, PLAIN, RAGGED
from tests.test_training_fit import FACTS, GROUPS, LABELS, TRAIN, VALIDATION, config_with

SMALL = NetSpec(widths=(4, 8), dropout=0.5)
LEARNED, HELD_OUT = (planted_songs([n] * 4, seed=n, contrast_db=2.0) for n in (6, 3))
"""Songs that are hard to tell apart, so that there is something left to tune."""

X = np.random.default_rng(0).normal(size=(5, FEATURES.n_mels, SLICES.n_frames)).astype(np.float32)


@pytest.mark.parametrize("tree", [PLAIN, RAGGED, OVERLAPPING, CHAINED])
def test_outputs_are_the_posterior_and_need_nothing_normalised(tree: TreeSpec) -> None:
    net = tree_as_net(tree, (SMALL,) * len(tree.net_nodes))
    variables = net.init(jax.random.key(0), FEATURES.n_mels, SLICES.n_frames)
    logp = np.asarray(net.apply(variables, X))
    assert logp.shape == (5, len(tree.labels))
    np.testing.assert_allclose(np.exp(logp).sum(axis=1), 1, atol=1e-5)
    assert jax.tree.map(np.shape, net.shapes(FEATURES.n_mels, SLICES.n_frames)) == jax.tree.map(np.shape, variables)
    own = parted(variables)
    assert set(own) == {node.name for node in tree.net_nodes}
    assert flatten(joined(own)).keys() == flatten(variables).keys()


def test_tuning_keeps_the_statistics_of_each_nodes_own_genres() -> None:
    net = tree_as_net(PLAIN, (SMALL,) * 3)
    variables = net.init(jax.random.key(0), FEATURES.n_mels, SLICES.n_frames)
    logp, batch_stats = net.train_apply(variables, X, jax.random.key(1))
    np.testing.assert_array_equal(logp, net.apply(variables, X))
    assert batch_stats is variables["batch_stats"]


def test_a_genre_teaches_only_the_nodes_on_its_paths() -> None:
    net = tree_as_net(PLAIN, (SMALL,) * 3)
    variables = net.init(jax.random.key(0), FEATURES.n_mels, SLICES.n_frames)

    def loss(params: Any) -> Any:
        logp, _ = net.train_apply({**variables, "params": params}, X, jax.random.key(1))
        return -logp[:, PLAIN.labels.index("a")].mean()

    gradient = jax.grad(loss)(variables["params"])
    size = {name: sum(np.abs(a).sum() for a in flatten(own).values()) for name, own in gradient.items()}
    assert size["root"] > 0
    assert size["left"] > 0
    assert size["right"] == 0


@pytest.mark.parametrize("tree", [PLAIN, RAGGED, OVERLAPPING, CHAINED])
def test_a_trunks_heads_are_the_nodes_children(tree: TreeSpec) -> None:
    net, heads = shared_trunk(tree, SMALL), trunk_logits(tree, SMALL)
    variables = net.init(jax.random.key(0), FEATURES.n_mels, SLICES.n_frames)
    parts = by_node(tree, np.asarray(heads.apply(variables, X)))
    assert {n: part.shape[1] for n, part in parts.items()} == {n.name: len(n.children) for n in tree.net_nodes}
    np.testing.assert_array_equal(np.concatenate([*parts.values()], axis=1), heads.apply(variables, X))
    node_logp = {n: part - np.logaddexp.reduce(part, axis=1, keepdims=True) for n, part in parts.items()}
    np.testing.assert_allclose(net.apply(variables, X), log_posterior(tree, node_logp), atol=1e-5)
    assert not np.array_equal(net.train_apply(variables, X, jax.random.key(1))[0], net.apply(variables, X))


def test_a_temperature_goes_into_the_last_layer() -> None:
    net = trunk_logits(PLAIN, SMALL)
    variables = net.init(jax.random.key(0), FEATURES.n_mels, SLICES.n_frames)
    cooled = net.apply(at_temperature(variables, 2.5), X)
    np.testing.assert_allclose(cooled, np.asarray(net.apply(variables, X)) / 2.5, atol=1e-6)


def test_tuning_starts_from_what_songs_would_get_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the nodes' temperatures differ."""
    seen: list[Any] = []
    temperatures = {"flat": 1.0, "root": 0.4, "insect": 3.0, "mammal": 2.0}
    left = [*temperatures.values()]
    monkeypatch.setattr(fitting, "fit_temperature", lambda *_: left.pop(0) if left else 1.0)

    def spy(logits_of: Any, variables: Any, *rest: Any) -> Validation:
        seen.append(variables)
        return Validation(-1.0, 1.0, -1.0, 1.0)

    monkeypatch.setattr(fitting, "validate", spy)
    config = config_with(tree={"groups": GROUPS, "joint_epochs": 1})
    fitted = fit(replace(config, rivals=RivalsConfig(False, False)), LABELS, TRAIN, VALIDATION, FACTS, seed=0)
    assert fitted.stagewise is not None
    assert {"flat": 1.0, **fitted.stagewise.temperatures} == temperatures
    tree, slices = fitted.stagewise.tree, VALIDATION.cut(0)
    net = tree_as_net(tree, tuple(fitted.stagewise.nets[node.name] for node in tree.net_nodes))
    normalisation = fitted.flat.normalisation
    mean_db, std_db = (np.tile(bands, (len(slices), 1)) for bands in (normalisation.mean_db, normalisation.std_db))
    x = standardise(slices, mean_db, std_db, FEATURES)
    outputs = node_outputs(fitted.stagewise, [[slices]])
    node_logp = {n: temper(z.astype(float), fitted.stagewise.temperatures[n]) for n, z in outputs.logits.items()}
    np.testing.assert_allclose(net.apply(seen[0], x), log_posterior(tree, node_logp), atol=1e-4)


@pytest.fixture(scope="module")
def tuned() -> Fitted:
    plain = {"n_freq_masks": 0, "n_time_masks": 0, "gain_db": 0.0, "tilt_db": 0.0}
    config = config_with(tree={"groups": GROUPS, "joint_epochs": 8, "joint_learning_rate": 5e-3}, augment=plain)
    facts = {song_id: Song(song_id, f"{song_id}.wav", "ant") for song_id in (*LEARNED.ids, *HELD_OUT.ids)}
    return fit(replace(config, rivals=RivalsConfig(False, False)), LABELS, LEARNED, HELD_OUT, facts, seed=0)


def test_all_nodes_are_tuned_together_and_the_stagewise_tree_is_kept(tuned: Fitted) -> None:
    assert tuned.tree is not None
    assert tuned.stagewise is not None
    assert tuned.tree is tuned.tuned
    assert len(tuned.history[JOINT_STAGE]) == 8
    assert not tuned.flat_nets
    assert tuned.trunk is None
    before, after = (flatten(bundle.variables) for bundle in (tuned.stagewise, tuned.tree))
    assert before.keys() == after.keys()
    moved = {name.split("/")[0] for name in before if not np.array_equal(before[name], after[name])}
    assert moved == {"root", "insect", "mammal"}
    assert all(np.array_equal(before[name], after[name]) for name in before if "/batch_stats/" in name)
    assert song_loss(tuned.tree) < song_loss(tuned.stagewise)


def song_loss(bundle: Any) -> float:
    """Mean slice loss over the held-out songs at the bundle's temperatures."""
    outputs = node_outputs(bundle, [[HELD_OUT.cut(i)] for i in range(len(HELD_OUT))])
    node_logp = {name: temper(logits, bundle.temperatures[name]) for name, logits in outputs.logits.items()}
    logp = log_posterior(bundle.tree, node_logp)
    return float(-logp[np.arange(len(logp)), HELD_OUT.genre_idx[outputs.song_idx]].mean())


def test_tuning_that_validation_songs_gain_nothing_by_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_with(tree={"groups": GROUPS, "joint_epochs": 1})
    monkeypatch.setattr(fitting, "validate", lambda *_: Validation(-1.0, 1.0, -1.0, 1.0))
    fitted = fit(replace(config, rivals=RivalsConfig(False, False)), LABELS, TRAIN, VALIDATION, FACTS, seed=0)
    assert fitted.tree is fitted.stagewise
    assert fitted.tuned is not None
    assert fitted.tuned is not fitted.tree
    assert len(fitted.history[JOINT_STAGE]) == 1


def test_rivals_have_as_many_nets_as_the_tree() -> None:
    config = config_with(tree={"groups": [{"insect": ["ant", "bee"]}, "cat", "dog"]})
    fitted = fit(config, LABELS, TRAIN, planted_songs([2, 2, 2, 2], seed=2), FACTS, seed=0)
    assert fitted.tree is not None
    assert len(fitted.tree.nets) == 2
    [other] = fitted.flat_nets
    assert other.tree == fitted.flat.tree
    assert other.name == "tiny-flat-2"
    mine, theirs = flatten(fitted.flat.variables), flatten(other.variables)
    assert not np.array_equal(mine["root/params/logits/kernel"], theirs["root/params/logits/kernel"])
    assert fitted.trunk is not None
    assert fitted.trunk.tree == tree_from_groups(LABELS, [{"insect": ["ant", "bee"]}, "cat", "dog"])
    assert set(fitted.trunk.temperatures) == {"root", "insect"}
    assert set(fitted.history) == {"flat", "root", "insect", "rival/flat 2", TRUNK_STAGE}
