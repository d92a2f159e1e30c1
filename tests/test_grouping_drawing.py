"""Dendrograms as text: every genre has its line, every join its place."""

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.drawing import draw_dendrogram
from hgenre.grouping.linkage import linkage_tree
from hgenre.labels import Labels


def test_a_small_one() -> None:
    labels = Labels(("a", "bb", "c"))
    distance = np.array([[0, 4, 1], [4, 0, 4], [1, 4, 0.0]])
    assert draw_dendrogram(linkage_tree(distance, labels, "average"), labels, width=8) == "\n".join(
        [
            "bb ────────┐",
            "           │",
            "c  ──┐     │",
            "     ├─────┘",
            "a  ──┘",
        ]
    )


@given(st.integers(2, 9), st.integers(0, 99), st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_genre_and_every_join_is_there_once(n_genres: int, seed: int, alike: bool) -> None:
    """Also where all distances are equal, and joins would be drawn over each other."""
    labels = Labels(tuple(f"g{i}" for i in range(n_genres)))
    points = np.random.default_rng(seed).normal(size=(n_genres, 3))
    distance = 1.0 - np.eye(n_genres) if alike else np.sqrt(((points[:, None] - points) ** 2).sum(axis=-1))
    drawn = draw_dendrogram(linkage_tree(distance, labels, "average"), labels)
    assert sorted(re.findall(r"g\d", drawn)) == sorted(labels)
    assert drawn.count("┐") + drawn.count("┤") == drawn.count("┘") + drawn.count("┤") == n_genres - 1
    assert drawn.count("├") == n_genres - 2
