"""Hierarchical genre recognition in music: a tree of compiled CNNs that routes, resolves and votes.

>>> import hgenre
>>> model = hgenre.load("gtzan10-tree")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hgenre.bundle import Bundle, load_bundle, save_bundle
    from hgenre.data.manifest import Manifest, Song, read_manifest, write_manifest
    from hgenre.errors import HgenreError
    from hgenre.labels import Labels
    from hgenre.predict import Model, SongAnswer, SongFault, load
    from hgenre.train import RunResult, train_tree
    from hgenre.training.border import config_from_dict, read_config
    from hgenre.training.config import RunConfig
    from hgenre.tree.route import Route
    from hgenre.tree.spec import Node, TreeSpec, tree_from_groups

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "hgenre.bundle",
    "HgenreError": "hgenre.errors",
    "Labels": "hgenre.labels",
    "Manifest": "hgenre.data.manifest",
    "Model": "hgenre.predict",
    "Node": "hgenre.tree.spec",
    "Route": "hgenre.tree.route",
    "RunConfig": "hgenre.training.config",
    "RunResult": "hgenre.train",
    "Song": "hgenre.data.manifest",
    "SongAnswer": "hgenre.predict",
    "SongFault": "hgenre.predict",
    "TreeSpec": "hgenre.tree.spec",
    "config_from_dict": "hgenre.training.border",
    "load": "hgenre.predict",
    "load_bundle": "hgenre.bundle",
    "read_config": "hgenre.training.border",
    "read_manifest": "hgenre.data.manifest",
    "save_bundle": "hgenre.bundle",
    "train_tree": "hgenre.train",
    "tree_from_groups": "hgenre.tree.spec",
    "write_manifest": "hgenre.data.manifest",
}

__all__ = [
    "Bundle",
    "HgenreError",
    "Labels",
    "Manifest",
    "Model",
    "Node",
    "Route",
    "RunConfig",
    "RunResult",
    "Song",
    "SongAnswer",
    "SongFault",
    "TreeSpec",
    "config_from_dict",
    "load",
    "load_bundle",
    "read_config",
    "read_manifest",
    "save_bundle",
    "train_tree",
    "tree_from_groups",
    "write_manifest",
]


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that ``import hgenre`` costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'hgenre' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
