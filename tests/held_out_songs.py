"""Held-out songs of invented models whose logits know the truth, more or less."""

from collections.abc import Sequence

import numpy as np

from hgenre.held_out import STAGEWISE, TREE, TUNED, HeldOut, ModelOutputs
from hgenre.training.fit import FLAT, TRUNK
from hgenre.tree.spec import TreeSpec, flat_tree
from tests.small_trees import PLAIN


def model_of(
    tree: TreeSpec, true_idx: np.ndarray, random: np.random.Generator, signal: float, boast: float
) -> ModelOutputs:
    """Logits (slice, child) around the home child of each slice's genre, all ``boast`` times too large."""
    logits = {}
    for node in tree.net_nodes:
        child_idx = node.home_child_of(tree.labels)[true_idx]
        rows = random.normal(0, 1, (len(true_idx), len(node.children)))
        rows += signal * (child_idx[:, None] == np.arange(len(node.children)))
        logits[node.name] = (boast * rows).astype(np.float32)
    return ModelOutputs(tree, logits, dict.fromkeys(logits, 1.0))


def held_out_songs(
    n_songs: int = 60,
    seed: int = 0,
    tree: TreeSpec = PLAIN,
    signal: float = 1.5,
    boast: float = 3.0,
    others: Sequence[str] = (STAGEWISE, TUNED, f"{FLAT} 2", f"{FLAT} 3", TRUNK),
) -> HeldOut:
    """Songs of 1 to 4 slices, two of an artist."""
    random = np.random.default_rng(seed)
    labels = tree.labels
    true_idx = random.permutation(np.arange(n_songs) % len(labels))
    song_idx = np.repeat(np.arange(n_songs), random.integers(1, 5, n_songs))
    slice_idx = np.concatenate([np.arange(n) for n in np.bincount(song_idx)])

    def model(name: str) -> ModelOutputs:
        of = flat_tree(labels) if name.startswith(FLAT) else tree
        return model_of(of, true_idx[song_idx], random, signal, boast)

    return HeldOut(
        labels=labels,
        song_ids=tuple(f"song {seed}-{i}" for i in range(n_songs)),
        true_idx=true_idx,
        clusters=tuple(f"artist {seed}-{i // 2}" for i in range(n_songs)),
        song_idx=song_idx,
        slice_idx=slice_idx,
        models={name: model(name) for name in (TREE, FLAT, *others)},
    )
