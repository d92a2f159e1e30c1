"""One XLA program from slices to song sums, for a tree of nets.

The program is a pure function of weights and slices; shapes are static, so songs are padded to a few sizes and nothing
recompiles from song to song.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from hgenre.features import FeatureSpec, standardise
from hgenre.tree.posterior import log_posterior, routed_log_posterior, routing_nodes
from hgenre.tree.route import Route
from hgenre.tree.spec import Node, TreeSpec
from hgenre.tree.vote import SongSums, sum_slices

Array = Any
Apply = Callable[[Any, Array], Array]

TILE_SLICES = 8
"""Slices a net answers at once on a CPU, and a specialist everywhere under hard routing: at most 7 rows a node are
padding, none is dropped."""


class Weights(NamedTuple):
    """All numbers a program needs beside the slices."""

    variables: Mapping[str, Any]  # node -> the net's variables
    temperature: Mapping[str, Array]  # node -> scalar
    path_temperature: Array  # scalar, of the whole posterior: a part of it, as hard routing gives, has no use for it


class ProgramAnswer(NamedTuple):
    """Sums a song, and the rows they came from."""

    sums: SongSums
    logp: Array  # (slice, genre) natural log; -inf off the entered path under hard routing


Program = Callable[[Weights, Array, Array, Array, Array, Array], ProgramAnswer]


def build_program(tree: TreeSpec, apply: Mapping[str, Apply], route: Route, features: FeatureSpec) -> Program:
    """The program of a tree, to be jitted or exported.

    Args:
        apply: node -> (variables, x (slice, mel, frame)) -> logits (slice, child), for every net node.
        features: what the slices are.

    The program's arguments are weights; slices (slice, mel, frame) float32 in dB; mean_db and std_db (slice, mel) that
    the level-free slices are standardised with; song_idx (slice,) int32 in [0, slice); voiced (slice,) bool. There are
    as many song rows in the sums as slices.
    """
    decode = _soft if route.decoder == "soft" else _hard

    def program(
        weights: Weights, slices: Array, mean_db: Array, std_db: Array, song_idx: Array, voiced: Array
    ) -> ProgramAnswer:
        x = standardise(slices, mean_db, std_db, features, jnp)

        def node_logp(node: Node, rows: Array) -> Array:
            logits = apply[node.name](weights.variables[node.name], rows)
            return jax.nn.log_softmax(logits / weights.temperature[node.name])

        logp = decode(tree, node_logp, x, song_idx, voiced, route)
        if route.decoder == "soft":
            logp = jax.nn.log_softmax(logp / weights.path_temperature)
        return ProgramAnswer(sum_slices(logp, song_idx, voiced, len(slices)), logp)

    return program


def _soft(tree: TreeSpec, node_logp: Callable, x: Array, song_idx: Array, voiced: Array, route: Route) -> Array:
    del song_idx, voiced, route
    # Unrolled: the same nets stacked under vmap become grouped convolutions, 2.6 to 3.8 times slower on a CPU.
    logp = _by_tiles(lambda rows: {node.name: node_logp(node, rows) for node in tree.net_nodes}, x)
    return log_posterior(tree, logp, xp=jnp)


def _hard(tree: TreeSpec, node_logp: Callable, x: Array, song_idx: Array, voiced: Array, route: Route) -> Array:
    n_slices = len(x)
    width = max(len(node.children) for node in tree.nodes)
    position = {node.name: k for k, node in enumerate(tree.nodes)}
    gone = len(tree.nodes)
    # next_node[k, i]: preorder position of the i-th child of node k, or `gone` where that child is a genre.
    next_node = jnp.array(
        [
            [position[c.name] if isinstance(c, Node) else gone for c in node.children]
            + [gone] * (width - len(node.children))
            for node in tree.nodes
        ]
    )
    routed = {node.name for node in routing_nodes(tree)}
    known: dict[str, Array] = {}
    chosen: dict[str, Array] = {}
    at = jnp.where(voiced, 0, gone)
    for depth, level in enumerate(tree.levels):
        nets = [node for node in level if len(node.children) > 1]
        if depth == 0 and nets:
            logp = _pad_children(_by_tiles(partial(node_logp, tree.root), x), width)
        elif nets:
            logp = _run_entered(nets, [position[n.name] for n in nets], at, node_logp, x, width)
        else:
            logp = jnp.zeros((n_slices, width))
        choice = _song_choice(logp, song_idx, voiced) if route.unit == "song" else jnp.argmax(logp, axis=-1)
        for node in level:
            here = at == position[node.name]
            if node.name in routed:
                chosen[node.name] = jnp.where(here, choice, -1)
            if len(node.children) > 1:
                known[node.name] = jnp.where(here[:, None], logp[:, : len(node.children)], -jnp.inf)
        # At a node with one child the row is all zeros, and the first of equals is chosen.
        at = jnp.where(at == gone, gone, next_node[jnp.minimum(at, gone - 1), choice])
    return routed_log_posterior(tree, known, chosen, xp=jnp)


def _run_entered(
    nodes: list[Node], positions: list[int], at: Array, node_logp: Callable, x: Array, width: int
) -> Array:
    """(slice, child) log-probabilities of the node each slice stands at; zeros where it stands at none of them.

    Slices are sorted by node and answered in tiles of one node each, so no slice is dropped however they crowd and the
    number of tiles that run follows the slices, while all shapes stay static.
    """
    n_slices = len(x)
    tile = min(TILE_SLICES, n_slices)
    which = jnp.argmax(at[:, None] == jnp.array([*positions])[None, :], axis=-1)
    entered = (at[:, None] == jnp.array(positions)[None, :]).any(axis=-1)
    which = jnp.where(entered, which, len(nodes))
    order = jnp.argsort(which, stable=True)
    counts = jnp.bincount(which, length=len(nodes) + 1)[: len(nodes)]
    starts = jnp.cumsum(counts) - counts
    n_tiles = -(-counts // tile)
    last_tile = jnp.cumsum(n_tiles)

    def branch(node: Node) -> Callable[[Array], Array]:
        return lambda rows: _pad_children(node_logp(node, rows), width)

    branches = [branch(node) for node in nodes]

    def answer_tile(t: Array, logp: Array) -> Array:
        k = jnp.searchsorted(last_tile, t, side="right")
        within = (t - (last_tile[k] - n_tiles[k])) * tile + jnp.arange(tile)
        rows = order[jnp.minimum(starts[k] + within, n_slices - 1)]
        answer = jax.lax.switch(k, branches, x[rows])
        return logp.at[jnp.where(within < counts[k], rows, n_slices)].set(answer, mode="drop")

    return jax.lax.fori_loop(0, last_tile[-1], answer_tile, jnp.zeros((n_slices, width)))


def _by_tiles(answer: Callable[[Array], Any], x: Array) -> Any:
    """``answer(x)``, on a CPU tile by tile: what passes between the layers of a net then stays in the core's cache."""
    n_tiles, rest = divmod(len(x), TILE_SLICES)
    if rest or n_tiles < 2:
        return answer(x)

    def tiled(x: Array) -> Any:
        answers = jax.lax.map(answer, x.reshape(n_tiles, TILE_SLICES, *x.shape[1:]))
        return jax.tree.map(lambda rows: rows.reshape(len(x), *rows.shape[2:]), answers)

    return jax.lax.platform_dependent(x, cpu=tiled, default=answer)


def _song_choice(logp: Array, song_idx: Array, voiced: Array) -> Array:
    """(slice,) child that the song's voiced slices vote for; ties by summed probability, then by child order."""
    sums = sum_slices(logp, song_idx, voiced, len(logp))
    leading = sums.votes == sums.votes.max(axis=-1, keepdims=True)
    return jnp.argmax(jnp.where(leading, sums.sum_p, -jnp.inf), axis=-1)[song_idx]


def _pad_children(logp: Array, width: int) -> Array:
    return jnp.pad(logp, ((0, 0), (0, width - logp.shape[-1])), constant_values=-jnp.inf)
