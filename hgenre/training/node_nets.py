"""Which net a node gets, and what it begins with."""

from hgenre.nets.build import LAST_LAYER, frozen_layers
from hgenre.nets.spec import NetSpec
from hgenre.training.config import RunConfig
from hgenre.tree.spec import Node, TreeSpec


def flat_spec(config: RunConfig) -> NetSpec:
    """The flat net's, and that of every node without one of its own."""
    return config.next_net or config.net


def net_spec(config: RunConfig, node: Node, tree: TreeSpec) -> NetSpec:
    """A node's, in a tree."""
    if tree.is_flat:
        return flat_spec(config)
    if node.name in config.node_nets:
        return config.node_nets[node.name]
    if node is tree.root or config.specialist_net is None:
        return flat_spec(config)
    return config.specialist_net


def starts_warm(config: RunConfig, spec: NetSpec) -> bool:
    """Whether a node's net begins with the flat net's weights: where the configuration wants it and the specs agree.

    Not where the last layer is frozen, because it would stay as it was drawn.
    """
    return config.tree.warm_start and spec == flat_spec(config) and LAST_LAYER not in frozen_layers(spec)
