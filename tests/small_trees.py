"""Genre trees of every shape for the tests of the heart: a few by name, and a strategy that draws more."""

import numpy as np
from hypothesis import strategies as st

from hgenre.labels import Labels
from hgenre.tree.spec import ROOT, Node, TreeSpec, flat_tree, tree_from_groups

LABELS = Labels(tuple("abcdef"))
FLAT = flat_tree(LABELS)
PLAIN = tree_from_groups(LABELS, {"left": ["a", "b", "c"], "right": ["d", "e", "f"]})
RAGGED = tree_from_groups(LABELS, ["a", {"deep": ["b", {"deeper": ["c", {"deepest": ["d", "e"]}]}]}, {"alone": ["f"]}])
OVERLAPPING = tree_from_groups(
    LABELS, {"one": ["a", "b", "c", "d"], "two": [{"inner": ["c", "d", "e"]}, "a"], "three": ["e", "f", "a"]}
)
CHAINED = tree_from_groups(
    LABELS,
    {"only": {"first": {"link": ["a", {"last": ["b", "c"]}]}, "second": {"bridge": ["d"]}, "third": ["e", "f"]}},
)
"""The root, ``link``'s parent ``first`` and ``second`` have one child each."""

TREES = {"flat": FLAT, "plain": PLAIN, "ragged": RAGGED, "overlapping": OVERLAPPING, "chained": CHAINED}


@st.composite
def genre_trees(draw: st.DrawFn, max_genres: int = 8, max_depth: int = 5) -> TreeSpec:
    """Trees of 2 to ``max_genres`` genres: ragged, groups up to ``max_depth`` below the root, perhaps overlapping,
    perhaps with only children."""
    labels = Labels(tuple(f"genre {i}" for i in range(draw(st.integers(2, max_genres)))))
    n_groups = 0

    def group(genres: list[str], depth: int, name: str = "") -> Node:
        nonlocal n_groups
        n_groups += 1
        name = name or f"group {n_groups}"
        genres = draw(st.permutations(genres))
        children: list[Node | str] = []
        while genres:
            n_taken = draw(st.integers(1, len(genres)))
            taken, genres = genres[:n_taken], genres[n_taken:]
            if depth < max_depth and draw(st.booleans()):
                guests = draw(st.sets(st.sampled_from(labels.genres), max_size=2))
                children.append(group(sorted({*taken, *guests}), depth + 1))
            else:
                children += taken
        return Node(name, tuple(children))

    return TreeSpec(labels, group(list(labels), 0, ROOT))


def random_node_logp(tree: TreeSpec, shape: tuple[int, ...], seed: int, spread: float = 3.0) -> dict[str, np.ndarray]:
    """Log-probabilities (*shape, child) of every net node, from normal logits."""
    random = np.random.default_rng(seed)

    def logp(n_children: int) -> np.ndarray:
        logits = random.normal(0, spread, (*shape, n_children))
        return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)

    return {node.name: logp(len(node.children)) for node in tree.net_nodes}
