"""Any tree of genres made of a flat net and linear probes: what it says of songs, before a net of it is trained.

The root is the flat net, its probabilities summed by child (HD-CNN: Z. Yan et al., ICCV 2015); every other node is the
probe of its genres, summed by child too. Where children overlap, a genre's probability counts at the first that lists
it.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import Node, TreeSpec


def mask_of(node: Node, tree: TreeSpec) -> int:
    """The genres under a node as a bitmask, bit g for genre g of the tree's labels."""
    return sum(1 << tree.labels.index(genre) for genre in node.genres)


def summed_node_logp(tree: TreeSpec, p_flat: ArrayLike, probe_p: ArrayLike) -> dict[str, NDArray[np.float64]]:
    """Node -> (song, child) log-probabilities, for every node with two children or more.

    Args:
        p_flat: (song, genre) probabilities of the flat net.
        probe_p: (subset, song, genre) probabilities of the probe of each subset of genres.
    """
    flat, probes = np.asarray(p_flat, np.float64), np.asarray(probe_p)
    found = {}
    for node in tree.net_nodes:
        p = flat if node is tree.root else np.asarray(probes[mask_of(node, tree)], np.float64)
        home = node.home_child_of(tree.labels)
        children = np.stack([p[:, home == child].sum(axis=1) for child in range(len(node.children))], axis=1)
        children = np.maximum(children, np.finfo(np.float64).tiny)
        found[node.name] = np.log(children / children.sum(axis=1, keepdims=True))
    return found


def summed_posterior(tree: TreeSpec, p_flat: ArrayLike, probe_p: ArrayLike) -> NDArray[np.float64]:
    """(song, genre) log-probabilities of the whole tree; arguments as :func:`summed_node_logp`."""
    return np.asarray(log_posterior(tree, summed_node_logp(tree, p_flat, probe_p)))
