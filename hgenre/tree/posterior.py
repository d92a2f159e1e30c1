"""From each node's log-probabilities over its children to log-probabilities over genres.

Every function takes the array module ``xp`` (numpy or jax.numpy), so the compiled path and plain numpy share one
definition. Leading axes are free: a row never looks at another row.
"""

from collections.abc import Mapping
from functools import reduce
from typing import Any

import numpy as np

from hgenre.tree.spec import Node, TreeSpec

Array = Any
NodeLogp = Mapping[str, Array]


def log_posterior(tree: TreeSpec, node_logp: NodeLogp, xp: Any = np) -> Array:
    """``log p(genre) = logsumexp over its paths of the sum of log p(child | node)``.

    Args:
        node_logp: node name -> (..., child) log-probabilities, for every node with two children or more.

    Returns:
        (..., genre) log-probabilities in label order; ``exp`` of a row sums to 1.
    """
    paths: dict[str, list[Array]] = {genre: [] for genre in tree.labels}

    def walk(node: Node, so_far: Array) -> None:
        for i, child in enumerate(node.children):
            logp = so_far if len(node.children) == 1 else so_far + node_logp[node.name][..., i]
            if isinstance(child, str):
                paths[child].append(logp)
            else:
                walk(child, logp)

    first_rows = next(iter(node_logp.values()))[..., 0]
    walk(tree.root, xp.zeros_like(first_rows))
    return xp.stack([reduce(xp.logaddexp, paths[genre]) for genre in tree.labels], axis=-1)


def routed_log_posterior(tree: TreeSpec, node_logp: NodeLogp, chosen: NodeLogp, xp: Any = np) -> Array:
    """The posterior along the entered path only: other branches hold ``-inf``.

    Args:
        node_logp: as for ``log_posterior``; rows of nodes that were not entered may hold anything.
        chosen: node name -> (...,) index of the child that was entered, for every node with nodes below it.

    Returns:
        (..., genre); ``exp`` of a row sums to the probability of the entered group, at most 1.
    """
    gated = {}
    for name, logp in node_logp.items():
        if name in chosen:
            entered = xp.arange(logp.shape[-1]) == chosen[name][..., None]
            gated[name] = xp.where(entered, logp, -xp.inf)
        else:
            gated[name] = logp
    return log_posterior(tree, gated, xp)


def routing_nodes(tree: TreeSpec) -> tuple[Node, ...]:
    """Net nodes whose choice decides which net runs next."""
    return tuple(n for n in tree.net_nodes if any(isinstance(c, Node) for c in n.children))
