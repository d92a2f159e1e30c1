"""Bundles and slices in miniature: nets of two layers, 12 mel bands, 20 frames."""

from functools import cache
from typing import Any

import jax
import numpy as np

from hgenre.bundle import Bundle, SeenSong
from hgenre.features import FeatureSpec, LogMelSpec, Normalisation, SliceSpec
from hgenre.nets.build import build_net
from hgenre.nets.spec import NetSpec
from hgenre.tree.route import Route
from hgenre.tree.spec import TreeSpec
from tests.small_trees import PLAIN

FEATURES = LogMelSpec(sample_rate_hz=8000, n_fft=256, hop_length=128, n_mels=12, fmin_hz=0.0, fmax_hz=4000.0)
SLICES = SliceSpec(n_frames=20, step_frames=20)
NET = NetSpec(widths=(4, 8))
SEEN = (SeenSong("song 1", "1" * 64, "train"), SeenSong("søng 2", "", "validation"))
ROUTES = {"soft": Route(), "hard by slice": Route("hard"), "hard by song": Route("hard", "song")}


@cache
def tiny_bundle(
    tree: TreeSpec = PLAIN, seed: int = 0, kind: Any = "training", features: FeatureSpec = FEATURES
) -> Bundle:
    """A bundle with random weights, large enough that slices differ in their answers."""
    random = np.random.default_rng(seed)

    def variables(n_children: int) -> Any:
        shapes = build_net(NET, n_children).shapes(features.n_mels, SLICES.n_frames)
        drawn = jax.tree.map(lambda a: random.normal(0, 0.3, a.shape).astype(np.float32), shapes)
        return {**drawn, "batch_stats": jax.tree.map(lambda a: 0.5 + np.abs(a), drawn["batch_stats"])}

    normalisation = Normalisation(
        kind,
        random.normal(0, 3, features.n_mels).astype(np.float32) if kind == "training" else np.zeros(12, np.float32),
        random.uniform(5, 10, features.n_mels).astype(np.float32) if kind == "training" else np.ones(12, np.float32),
    )
    return Bundle(
        tree=tree,
        features=features,
        slices=SLICES,
        normalisation=normalisation,
        nets={node.name: NET for node in tree.net_nodes},
        variables={node.name: variables(len(node.children)) for node in tree.net_nodes},
        temperatures={node.name: float(random.uniform(0.5, 2)) for node in tree.net_nodes},
        songs_seen=SEEN,
        metrics={"protocol": "song", "models": {}},
        about={"licence": "none", "notes": ["a", 1, None]},
        name="tiny",
    )


def sounding(n_slices: int, seed: int, level_db: float = -20.0) -> np.ndarray:
    """Slices (slice, mel, frame) in dB of something that is heard: each with a spectrum of its own."""
    random = np.random.default_rng(seed)
    spectrum = random.normal(0, 8, (n_slices, FEATURES.n_mels, 1))
    return (level_db + spectrum + random.normal(0, 3, (n_slices, FEATURES.n_mels, SLICES.n_frames))).astype(np.float32)


def silent(n_slices: int) -> np.ndarray:
    """Slices at the floor of the logarithm."""
    return np.full((n_slices, FEATURES.n_mels, SLICES.n_frames), -100.0, np.float32)
