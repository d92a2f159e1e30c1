"""Several nodes seen as one net over genres, so that the loop over one net trains them together.

The outputs are the log posterior of the tree. It is normalised, so cross-entropy on it is the tree's own loss,
``-log p(genre)``: every node on the genre's paths learns from a slice, each by its share (HD-CNN, Yan et al. 2015).
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hgenre.nets.build import LAST_LAYER, Net, Variables, build_net
from hgenre.nets.spec import NetSpec, Precision
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec

Array = Any


@cache
def tree_as_net(tree: TreeSpec, specs: tuple[NetSpec, ...]) -> Net:
    """A tree's nets as one, with (slice, genre) log-probabilities for outputs and variables as ``joined`` puts them.

    In training the norms keep their running statistics and nothing is dropped: a specialist's statistics come from its
    own genres, and a batch of all genres would shift them at the first step.

    Args:
        specs: of the net nodes, root first.
    """
    nets = {node.name: build_net(spec, len(node.children)) for node, spec in zip(tree.net_nodes, specs, strict=True)}

    def init(key: Array, n_mels: int, n_frames: int) -> Variables:
        keys = jax.random.split(key, len(nets))
        return joined({name: net.init(k, n_mels, n_frames) for k, (name, net) in zip(keys, nets.items(), strict=True)})

    def shapes(n_mels: int, n_frames: int) -> Variables:
        return joined({name: net.shapes(n_mels, n_frames) for name, net in nets.items()})

    def apply(variables: Variables, x: Array) -> Array:
        own = parted(variables)
        return log_posterior(tree, {n: jax.nn.log_softmax(net.apply(own[n], x)) for n, net in nets.items()}, jnp)

    def train_apply(variables: Variables, x: Array, key: Array) -> tuple[Array, Any]:
        del key
        return apply(variables, x), variables["batch_stats"]

    frozen = frozenset(f"{name}/{layer}" for name, net in nets.items() for layer in net.frozen)
    return Net(init, shapes, apply, train_apply, frozen)


@cache
def shared_trunk(tree: TreeSpec, spec: NetSpec, precision: Precision = "float32") -> Net:
    """One trunk with one head a node: a net whose last layer holds the children of all nodes side by side.

    The outputs are the tree's (slice, genre) log-probabilities; ``trunk_logits`` has the heads.
    """
    net = trunk_logits(tree, spec, precision)

    def posterior(logits: Array) -> Array:
        return log_posterior(tree, {n: jax.nn.log_softmax(part) for n, part in by_node(tree, logits).items()}, jnp)

    def train_apply(variables: Variables, x: Array, key: Array) -> tuple[Array, Any]:
        logits, batch_stats = net.train_apply(variables, x, key)
        return posterior(logits), batch_stats

    return Net(net.init, net.shapes, lambda variables, x: posterior(net.apply(variables, x)), train_apply, net.frozen)


def trunk_logits(tree: TreeSpec, spec: NetSpec, precision: Precision = "float32") -> Net:
    """The net behind ``shared_trunk``: (slice, head), the nodes' children one after the other, root first."""
    return build_net(spec, sum(len(node.children) for node in tree.net_nodes), precision)


def by_node(tree: TreeSpec, logits: Array) -> dict[str, Array]:
    """The heads (slice, head) of a shared trunk, taken apart: node -> (slice, child)."""
    ends = np.cumsum([len(node.children) for node in tree.net_nodes])
    return {
        node.name: logits[..., end - len(node.children) : end] for node, end in zip(tree.net_nodes, ends, strict=True)
    }


def at_temperature(variables: Variables, temperature: float) -> Variables:
    """The net whose logits are those of ``variables`` divided by ``temperature``."""
    params = variables["params"]
    last = {name: array / np.float32(temperature) for name, array in params[LAST_LAYER].items()}
    return {**variables, "params": {**params, LAST_LAYER: last}}


def joined(variables: Mapping[str, Variables]) -> Variables:
    """The variables of several nets, by collection first and node second."""
    return {kind: {name: own[kind] for name, own in variables.items()} for kind in ("params", "batch_stats")}


def parted(variables: Variables) -> dict[str, Variables]:
    """Inverse of ``joined``."""
    return {name: {kind: variables[kind][name] for kind in variables} for name in variables["params"]}
