"""From nodes' probabilities to genres' probabilities, against paths that are written out one by one."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hgenre.labels import Labels
from hgenre.tree.posterior import log_posterior, routed_log_posterior, routing_nodes
from hgenre.tree.spec import ROOT, Node, TreeSpec, tree_from_groups
from tests.oracles import genre_probabilities, routed_probabilities
from tests.small_trees import FLAT, LABELS, PLAIN, TREES, genre_trees, random_node_logp

SEEDS = st.integers(0, 2**32 - 1)


def _rows(node_logp: dict[str, np.ndarray]) -> list[dict[str, list[float]]]:
    n_rows = len(next(iter(node_logp.values())))
    return [{name: np.exp(logp[i]).tolist() for name, logp in node_logp.items()} for i in range(n_rows)]


@given(genre_trees(), SEEDS)
@settings(max_examples=80)
def test_posterior_adds_up_the_paths(tree: TreeSpec, seed: int) -> None:
    node_logp = random_node_logp(tree, (4,), seed)
    assume(node_logp)
    p = np.exp(log_posterior(tree, node_logp))
    assert p == pytest.approx(np.array([genre_probabilities(tree, row) for row in _rows(node_logp)]), rel=1e-9)
    assert p.sum(axis=-1) == pytest.approx(np.ones(4), abs=1e-6)


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_posterior_in_float32_under_jax_sums_to_one(tree: TreeSpec) -> None:
    node_logp = random_node_logp(tree, (50,), seed=1, spread=8.0)
    single = {name: jnp.asarray(logp, jnp.float32) for name, logp in node_logp.items()}
    logp = log_posterior(tree, single, jnp)
    assert logp.dtype == jnp.float32
    assert np.exp(np.asarray(logp, np.float64)).sum(axis=-1) == pytest.approx(np.ones(50), abs=1e-5)
    np.testing.assert_allclose(np.exp(logp), np.exp(log_posterior(tree, node_logp)), atol=1e-6)


def test_one_group_of_everything_is_the_flat_net() -> None:
    flat_logp = random_node_logp(FLAT, (5,), seed=2)[ROOT]
    wrapped = TreeSpec(LABELS, Node(ROOT, (Node("all", tuple(LABELS)),)))
    assert np.array_equal(log_posterior(FLAT, {ROOT: flat_logp}), flat_logp)
    assert np.array_equal(log_posterior(wrapped, {"all": flat_logp}), flat_logp)


def test_node_with_one_child_passes_its_probability_on() -> None:
    labels = Labels(("a", "b", "c"))
    chained = tree_from_groups(labels, [{"x": {"y": {"z": ["b"]}}}, "a", "c"])
    bare = tree_from_groups(labels, ["b", "a", "c"])
    logp = random_node_logp(bare, (3,), seed=3)
    assert [node.name for node in chained.net_nodes] == [ROOT]
    assert np.array_equal(log_posterior(chained, logp), log_posterior(bare, logp))


@given(genre_trees(), SEEDS)
@settings(max_examples=30)
def test_order_of_children_and_labels_changes_no_probability(tree: TreeSpec, seed: int) -> None:
    node_logp = random_node_logp(tree, (2,), seed)
    assume(node_logp)
    shuffle = np.random.default_rng(seed).permutation
    orders = {node.name: shuffle(len(node.children)) for node in tree.nodes}
    genre_order = shuffle(len(tree.labels))

    def permuted(node: Node) -> Node:
        children = [permuted(child) if isinstance(child, Node) else child for child in node.children]
        return Node(node.name, tuple(children[i] for i in orders[node.name]))

    other = TreeSpec(Labels(tuple(tree.labels.genres[i] for i in genre_order)), permuted(tree.root))
    other_logp = {name: logp[..., orders[name]] for name, logp in node_logp.items()}
    np.testing.assert_allclose(
        np.exp(log_posterior(other, other_logp)), np.exp(log_posterior(tree, node_logp))[:, genre_order], rtol=1e-9
    )


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_leading_axes_are_free_and_rows_do_not_meet(tree: TreeSpec) -> None:
    node_logp = random_node_logp(tree, (2, 3), seed=4)
    together = log_posterior(tree, node_logp)
    assert together.shape == (2, 3, len(tree.labels))
    for i in range(2):
        for j in range(3):
            alone = log_posterior(tree, {name: logp[i, j] for name, logp in node_logp.items()})
            assert np.array_equal(alone, together[i, j])


def test_impossible_children_stay_impossible_without_a_warning() -> None:
    logp = {ROOT: np.array([[0.0, -np.inf]]), "left": np.log([[0.2, 0.3, 0.5]]), "right": np.full((1, 3), -np.inf)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        p = np.exp(log_posterior(PLAIN, logp))
    assert p == pytest.approx(np.array([[0.2, 0.3, 0.5, 0, 0, 0]]))


@given(genre_trees(), SEEDS)
@settings(max_examples=80)
def test_routed_posterior_is_the_posterior_of_the_entered_path(tree: TreeSpec, seed: int) -> None:
    node_logp = random_node_logp(tree, (6,), seed)
    assume(node_logp)
    chosen = {node.name: node_logp[node.name].argmax(axis=-1) for node in routing_nodes(tree)}
    p = np.exp(routed_log_posterior(tree, node_logp, chosen))
    wanted = routed_probabilities(tree, _rows(node_logp), as_one=False)
    assert p == pytest.approx(np.array(wanted), rel=1e-9, abs=0)
    assert (p.sum(axis=-1) <= 1 + 1e-9).all()
    full = np.exp(log_posterior(tree, node_logp))
    assert (p <= full * (1 + 1e-9)).all()


def test_routed_posterior_ignores_what_was_not_entered() -> None:
    node_logp = random_node_logp(PLAIN, (2,), seed=5)
    chosen = {ROOT: np.array([0, 0])}
    p = np.exp(routed_log_posterior(PLAIN, node_logp, chosen))
    other = np.exp(routed_log_posterior(PLAIN, {**node_logp, "right": np.full((2, 3), -np.inf)}, chosen))
    assert np.array_equal(p, other)
    assert (p[:, 3:] == 0).all()
    assert p.sum(axis=-1) == pytest.approx(np.exp(node_logp[ROOT][:, 0]))
