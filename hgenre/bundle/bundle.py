"""A trained tree with everything that an answer needs and everything that makes its claims checkable."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hgenre.features import FeatureSpec, Normalisation, SliceSpec
from hgenre.labels import Labels
from hgenre.nets.spec import NetSpec
from hgenre.tree.calibration import Calibration
from hgenre.tree.route import Route
from hgenre.tree.spec import TreeSpec

SCHEMA_VERSION = 2
"""1 knew no calibration but the nodes'."""

Variables = Mapping[str, Any]


@dataclass(frozen=True)
class SeenSong:
    """A song that a bundle learned from, in any role: weights, early stopping, temperature or grouping."""

    song_id: str
    sha256: str
    split: str


@dataclass(frozen=True, eq=False)
class Bundle:
    """A trained tree.

    Attributes:
        tree: groups over the ordered label list.
        features, slices, normalisation: how a song becomes normalised slices.
        nets: node -> net spec, for every node with a choice.
        variables: node -> the net's variables, nested dicts of arrays.
        temperatures: node -> positive divisor of the logits.
        calibration: temperatures of path and song, and the evidence for thresholds; None where nobody fitted any.
        route: the default decoder, unit and aggregation.
        songs_seen: every song that training looked at.
        metrics: results with their protocol and interval.
        about: licence, data statement, package versions, free text.
    """

    tree: TreeSpec
    features: FeatureSpec
    slices: SliceSpec
    normalisation: Normalisation
    nets: Mapping[str, NetSpec]
    variables: Mapping[str, Variables]
    temperatures: Mapping[str, float]
    calibration: Calibration | None = None
    route: Route = field(default_factory=Route)
    songs_seen: tuple[SeenSong, ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    name: str = "unnamed"
    digest: str = ""
    """sha256 of manifest.json, which holds the weights' own sha256; empty until saved or loaded."""

    @property
    def labels(self) -> Labels:
        return self.tree.labels

    @property
    def path_temperature(self) -> float:
        return self.calibration.path_temperature if self.calibration else 1.0

    @property
    def song_temperature(self) -> float:
        return self.calibration.song_temperature if self.calibration else 1.0


def flatten(variables: Variables, prefix: str = "") -> dict[str, np.ndarray]:
    """Nested dicts of arrays as ``{"a/b/c": array}``."""
    flat: dict[str, np.ndarray] = {}
    for key, value in variables.items():
        name = f"{prefix}/{key}" if prefix else key
        if isinstance(value, Mapping):
            flat.update(flatten(value, name))
        else:
            flat[name] = np.asarray(value)
    return flat


def unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Inverse of ``flatten``."""
    nested: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, leaf = name.split("/")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[leaf] = value
    return nested
