"""Sets of genres that hold a song's true genre as often as was asked for, whatever the probabilities are worth.

Split conformal prediction (Vovk, Gammerman and Shafer 2005, "Algorithmic Learning in a Random World") with the sets of
Sadinle, Lei and Wasserman 2019, "Least Ambiguous Set-Valued Classifiers with Bounded Error Levels" (JASA 114): all
genres whose probability reaches one threshold, which makes the smallest sets on average. The song's vote belongs to its
set whatever its probability, so no set is empty; this is a nested family (Gupta, Kuchibhotla and Ramdas 2022, "Nested
conformal prediction and quantile out-of-bag ensemble methods"), to which the guarantee extends.
"""

from collections.abc import Sequence

import numpy as np

from hgenre.tree.evidence import Evidence
from hgenre.tree.spec import Node, TreeSpec


def coverage_threshold(evidence: Evidence, coverage: float) -> float:
    """The largest threshold at which a later song's set holds its genre with probability ``coverage`` or more.

    Exact for every number of songs, on average over them, if one fixed model answers all and the later song could as
    well have been one of them; the evidence of a bundle only comes near that, as ``tree/evidence.py`` says. Of ``n``
    songs of evidence it is the ``floor((n + 1) * (1 - coverage))``-th smallest probability above which a song's set
    loses its true genre; 0, so that sets hold all genres, if that is the 0-th. A song whose vote is right never loses
    it.
    """
    lost_above = sorted(1.0 if song.is_right else song.p_true for song in evidence)
    # 0.1 in binary is a little less: 10 * (1 - 0.9) must be 1.
    rank = int((len(evidence) + 1) * (1 - coverage) + 1e-9)
    return lost_above[rank - 1] if rank else 0.0


def genre_set(p: Sequence[float] | np.ndarray, genre_idx: int, threshold: float) -> tuple[int, ...]:
    """Positions of the genres whose probability (genre,) reaches the threshold, and of the vote, in label order."""
    return tuple(i for i, value in enumerate(p) if value >= threshold or i == genre_idx)


def group_path(tree: TreeSpec, genres: frozenset[str]) -> tuple[Node, ...]:
    """Nodes from the root to the first one that can end in these genres and in no other; empty where none does."""

    def down(node: Node, above: tuple[Node, ...]) -> tuple[Node, ...]:
        here = (*above, node)
        if frozenset(node.genres) == genres:
            return here
        deeper = (down(child, here) for child in node.children if isinstance(child, Node))
        return next(filter(None, deeper), ())

    return down(tree.root, ())
