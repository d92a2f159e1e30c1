"""Invented sound, slices and models: what is timed depends on their shapes only, except for how slices are routed."""

from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

from hgenre.bundle import Bundle, save_bundle
from hgenre.features import LogMelSpec, Normalisation, SliceSpec, standardise
from hgenre.labels import Labels
from hgenre.nets.build import LAST_LAYER, build_net
from hgenre.nets.spec import NetSpec
from hgenre.tree.spec import TreeSpec, flat_tree, tree_from_groups

FEATURES = LogMelSpec()
SLICES = SliceSpec.from_seconds(3.0, 3.0, FEATURES)
GROUPS = {
    "strings": ["blues", "country", "jazz", "classical"],
    "beat": ["disco", "hiphop", "pop"],
    "loud": ["metal", "reggae", "rock"],
}
LABELS = Labels(tuple(sorted(genre for genres in GROUPS.values() for genre in genres)))
SMALLEST_GROUP_SHARE = 0.15


def waveforms(n_clips: int, seed: int, duration_s: float = 30.0, sample_rate_hz: int = 16000) -> Iterator[np.ndarray]:
    """Clips of coloured noise under a few tones: (sample,) float32 each."""
    random = np.random.default_rng(seed)
    t_s = np.arange(round(duration_s * sample_rate_hz), dtype=np.float32) / sample_rate_hz
    for _ in range(n_clips):
        noise = random.standard_normal(len(t_s), dtype=np.float32)
        tones = sum(np.sin(2 * np.pi * hz * t_s, dtype=np.float32) for hz in random.uniform(80, 4000, 4))
        yield (0.05 * noise + 0.1 * np.asarray(tones)).astype(np.float32)


def slices(n_slices: int, seed: int) -> np.ndarray:
    """Slices (slice, mel, frame) float32 in dB, each with a spectrum of its own."""
    random = np.random.default_rng(seed)
    spectra = random.normal(-30, 8, (n_slices, FEATURES.n_mels, 1))
    return (spectra + random.normal(0, 6, (n_slices, FEATURES.n_mels, SLICES.n_frames))).astype(np.float32)


def tree_bundle(scratch: Path) -> Path:
    """The folder of a bundle with random weights: a root and three specialists over ten genres."""
    return _saved(tree_from_groups(LABELS, GROUPS), scratch / "tree", NetSpec())


def flat_bundle(scratch: Path, spec: NetSpec) -> Path:
    """The folder of a bundle with random weights: one net over ten genres."""
    return _saved(flat_tree(LABELS), scratch / f"flat-{spec.kind}", spec)


def _saved(tree: TreeSpec, directory: Path, spec: NetSpec) -> Path:
    if not directory.exists():
        save_bundle(_bundle(tree, spec, 0, directory.name), directory)
    return directory


def _bundle(tree: TreeSpec, spec: NetSpec, seed: int, name: str) -> Bundle:
    variables = {}
    for i, node in enumerate(tree.net_nodes):
        key = jax.random.fold_in(jax.random.key(seed), i)
        net = build_net(spec, len(node.children))
        variables[node.name] = jax.device_get(net.init(key, FEATURES.n_mels, SLICES.n_frames))
    normalisation = Normalisation(
        "training", np.full(FEATURES.n_mels, -3, np.float32), np.full(FEATURES.n_mels, 10, np.float32)
    )
    bundle = Bundle(
        tree=tree,
        features=FEATURES,
        slices=SLICES,
        normalisation=normalisation,
        nets={node.name: spec for node in tree.net_nodes},
        variables=variables,
        temperatures={node.name: 1.0 for node in tree.net_nodes},
        name=name,
    )
    _spread_over_children(bundle, slices(256, seed))
    return bundle


def _spread_over_children(bundle: Bundle, rows: np.ndarray) -> None:
    """Brings the root's logits over these slices to mean 0 and deviation 1: random nets send all slices one way."""
    root = bundle.tree.root
    apply = jax.jit(build_net(bundle.nets[root.name], len(root.children)).apply)
    normalisation = bundle.normalisation
    shape = (len(rows), FEATURES.n_mels)
    x = standardise(
        rows, np.broadcast_to(normalisation.mean_db, shape), np.broadcast_to(normalisation.std_db, shape), FEATURES
    )
    last = bundle.variables[root.name]["params"][LAST_LAYER]
    logits = np.asarray(apply(bundle.variables[root.name], x))
    last["kernel"] = last["kernel"] / logits.std(axis=0)
    last["bias"] = (last["bias"] - logits.mean(axis=0)) / logits.std(axis=0)
    shares = np.bincount(np.argmax(apply(bundle.variables[root.name], x), axis=1)) / len(rows)
    if not bundle.tree.is_flat and shares.min() < SMALLEST_GROUP_SHARE:
        raise SystemExit(f"benchmark: the root sends shares {shares.round(2)} of slices; choose another seed")
