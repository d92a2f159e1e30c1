"""How bad the mistakes are under a fixed outside taxonomy, and answers that make them less bad.

These figures describe the answers of any model under one taxonomy that no model was trained on; they never rank genre
trees against each other. On a tree whose genres each stand in one group below the root, hP = hR = hF is the mean of two
accuracies, of groups and of genres: every tree would be measured by its own groups.

A genre's ancestors are itself and every group that holds it, the root not among them. HiClass 5.0.8 counts names, not
nodes: where a group and a genre share a name it finds one ancestor instead of two. TreeSpec allows no such names.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.labels import Labels
from hgenre.tree.spec import Node, TreeSpec

_TIE = 1e-9


@dataclass(frozen=True)
class HierarchicalScores:
    """Answers to a set of songs under a taxonomy.

    Attributes:
        hP, hR, hF: hierarchical precision, recall and F1 in 0..1: the shared ancestors of truths and answers as a share
            of all ancestors of answers, and of truths, both summed over songs (micro-average); F1 is their harmonic
            mean. Source: Kiritchenko et al. 2006, "Learning and Evaluation in the Presence of Class Hierarchies".
        severity: height of the lowest common ancestor of truth and answer, mean over mistakes; None without a mistake.
        distance: the same, mean over all songs, where a right answer counts 0 (hierarchical distance). Source of both:
            Bertinetto et al. 2020, "Making Better Mistakes".
    """

    hP: float
    hR: float
    hF: float
    severity: float | None
    distance: float

    def to_json(self) -> dict[str, Any]:
        """The scores as plain numbers under their names."""
        return asdict(self)


def hierarchical_scores(
    true_idx: ArrayLike, answer_idx: ArrayLike, labels: Labels, taxonomy: TreeSpec
) -> HierarchicalScores:
    """Scores of answers (song,) against truths (song,), both indices into ``labels``.

    Raises:
        ValueError: the arrays differ in shape or there is no song.
        TreeError: a label is no genre of the taxonomy, which may hold others too.
    """
    truth, answer = np.asarray(true_idx, dtype=np.intp), np.asarray(answer_idx, dtype=np.intp)
    if truth.ndim != 1 or truth.shape != answer.shape or truth.size == 0:
        raise ValueError(f"need truths and answers (song,) of 1 song or more, found {truth.shape} and {answer.shape}")
    shared = shared_ancestors(labels, taxonomy)
    n_shared = int(shared[truth, answer].sum())
    n_answered, n_true = int(shared[answer, answer].sum()), int(shared[truth, truth].sum())
    height = ancestor_heights(labels, taxonomy)[truth, answer]
    wrong = truth != answer
    return HierarchicalScores(
        hP=n_shared / n_answered,
        hR=n_shared / n_true,
        hF=2 * n_shared / (n_answered + n_true),
        severity=float(height[wrong].mean()) if wrong.any() else None,
        distance=float(height.mean()),
    )


def shared_ancestors(labels: Labels, taxonomy: TreeSpec) -> NDArray[np.int64]:
    """How many ancestors two genres share (genre, genre); the diagonal counts a genre's own. Raises TreeError."""
    holds = _holds(labels, taxonomy)[1:]
    return holds.T.astype(np.int64) @ holds + np.eye(len(labels), dtype=np.int64)


def ancestor_heights(labels: Labels, taxonomy: TreeSpec) -> NDArray[np.float64]:
    """Height of two genres' lowest common ancestor (true genre, answered genre), 0 on the diagonal: a cost of mistakes.

    A node's height is the number of steps of its longest way down to a genre. Where groups overlap, the least height of
    a node that holds both genres counts. Raises TreeError as :func:`hierarchical_scores`.
    """
    holds = _holds(labels, taxonomy)
    height = np.array([node_height(node) for node in taxonomy.nodes], dtype=np.float64)
    both = holds[:, :, None] & holds[:, None, :]
    return np.where(np.eye(len(labels), dtype=bool), 0.0, np.where(both, height[:, None, None], np.inf).min(axis=0))


def node_height(child: Node | str) -> int:
    """Steps of the longest way down from a child to a genre; 0 for a genre."""
    return 0 if isinstance(child, str) else 1 + max(node_height(c) for c in child.children)


def least_expected_cost(p: ArrayLike, cost: ArrayLike) -> NDArray[np.intp]:
    """The answer (song,) with the least expected cost under probabilities (song, genre).

    Costs within 1e-9 of the least, as a share of the largest cost, are equal, so that rounding decides nothing; among
    them the likelier genre is answered, then the earlier label. Source: Karthik et al. 2021, "No Cost Likelihood
    Manipulation at Test Time for Making Better Mistakes in Deep Networks".

    Args:
        p: (song, genre).
        cost: (true genre, answered genre), as :func:`ancestor_heights` gives it.

    Raises:
        ValueError: the shapes disagree.
    """
    probabilities, costs = np.asarray(p, dtype=np.float64), np.asarray(cost, dtype=np.float64)
    if probabilities.ndim != 2 or costs.shape != 2 * probabilities.shape[1:]:
        raise ValueError(
            "need probabilities (song, genre) and costs (genre, genre), "
            f"found shapes {probabilities.shape} and {costs.shape}"
        )
    expected = probabilities @ costs
    least = expected <= expected.min(axis=1, keepdims=True) + _TIE * np.abs(costs).max()
    return np.where(least, probabilities, -np.inf).argmax(axis=1)


def _holds(labels: Labels, taxonomy: TreeSpec) -> NDArray[np.bool_]:
    """(node, genre): whether the genre can be reached from the node, the root first."""
    for genre in labels:
        taxonomy.labels.index(genre)
    return np.array([[genre in node.genres for genre in labels] for node in taxonomy.nodes])
