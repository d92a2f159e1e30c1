"""Trees whose nodes are classical classifiers."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hgenre.baselines.pipelines import N_NEIGHBOURS, ClassifierKind, build_classifier, class_logp
from hgenre.errors import FeatureError, OptionError
from hgenre.tree.spec import Node, TreeSpec, child_name, genres_under

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True, eq=False)
class ClassicalTree:
    """A genre tree with a fitted classifier at every node that has a choice to make.

    It lives in memory only. scikit-learn saves by pickle, which runs whatever a file says, so there is no way to write
    or read one; fit it again.

    Attributes:
        classifiers: node -> pipeline whose classes are the node's children, by position.
        warnings: what the classifiers complained of when they were fitted, a sentence each.
    """

    tree: TreeSpec
    classifiers: Mapping[str, "Pipeline"]
    warnings: tuple[str, ...]

    def node_logp(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Node -> (row, child) natural log-probabilities in float64: all finite, and ``exp`` of a row sums to 1."""
        return {node: class_logp(classifier, rows) for node, classifier in self.classifiers.items()}


def fit_tree(
    tree: TreeSpec,
    kinds: Mapping[str, ClassifierKind] | ClassifierKind,
    rows: np.ndarray,
    genre_idx: np.ndarray,
    seed: int,
) -> ClassicalTree:
    """Fits a classifier at every node on the rows of the genres under it; ``flat_tree`` gives a flat classifier.

    Args:
        kinds: one kind for all nodes, or node -> kind for every node with two children or more.
        rows: (row, feature) float64, finite.
        genre_idx: (row,) int, positions in the tree's labels. Where groups overlap, a genre belongs to its home child.

    Raises:
        OptionError: ``kinds`` leaves a node out, or names one that is not there.
        FeatureError: a child has no training row, or a node fewer than its classifier needs.
        HgenreError: XGBoost is wanted and not installed.
    """
    kind_of = _kind_of_node(tree, kinds)
    classifiers, told = {}, []
    for node in tree.net_nodes:
        child_idx = node.home_child_of(tree.labels)[genre_idx]
        here = child_idx >= 0
        _check_rows(node, kind_of[node.name], child_idx[here])
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            classifiers[node.name] = build_classifier(kind_of[node.name], seed).fit(rows[here], child_idx[here])
        told += [f"node {node.name!r}, {kind_of[node.name]}: {warning.message}" for warning in caught]
    return ClassicalTree(tree, classifiers, tuple(told))


def _kind_of_node(tree: TreeSpec, kinds: Mapping[str, ClassifierKind] | ClassifierKind) -> Mapping[str, ClassifierKind]:
    """Node -> kind for every node with a choice to make; raises OptionError as ``fit_tree`` says."""
    names = [node.name for node in tree.net_nodes]
    if isinstance(kinds, str):
        return dict.fromkeys(names, kinds)
    known = ", ".join(names)
    problems = [f"node {name!r} has no classifier; give it one" for name in names if name not in kinds]
    problems += [
        f"there is no node {name!r} with a choice to make; these are {known}"
        for name in sorted(set(kinds) - set(names))
    ]
    if problems:
        raise OptionError([("kinds", problem) for problem in problems])
    return kinds


def _check_rows(node: Node, kind: ClassifierKind, child_idx: np.ndarray) -> None:
    """Raises FeatureError where a child of the node has no training row, or the node too few for its classifier."""
    n_rows = np.bincount(child_idx, minlength=len(node.children))
    for child, n in zip(node.children, n_rows, strict=True):
        if n == 0:
            raise FeatureError(
                f"node {node.name!r} has no training row of {child_name(child)!r} "
                f"({', '.join(genres_under(child))}), needed at least one; give the split more songs or merge the group"
            )
    if kind == "knn" and n_rows.sum() < N_NEIGHBOURS:
        raise FeatureError(
            f"node {node.name!r} has {n_rows.sum()} training rows, knn needs {N_NEIGHBOURS}; give the split more songs "
            "or the node another classifier"
        )
