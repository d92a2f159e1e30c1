"""Trees of classical classifiers, which answer through the same code as trees of nets."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neural_network import MLPClassifier

import hgenre.baselines
from hgenre.account import account
from hgenre.baselines import trees
from hgenre.baselines.pipelines import ClassifierKind, build_classifier, class_logp
from hgenre.baselines.rows import SliceTable, slice_table
from hgenre.baselines.trees import ClassicalTree, fit_tree
from hgenre.bundle import save_bundle
from hgenre.errors import FeatureError, OptionError
from hgenre.held_out import (
    FLAT_ROOT,
    TREE,
    HeldOut,
    ModelOutputs,
    posteriors,
    read_held_out,
    song_outcomes,
    write_held_out,
)
from hgenre.labels import Labels
from hgenre.training.fit import FLAT
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import ROOT, TreeSpec, flat_tree, tree_from_groups
from tests.planted_songs import planted_songs
from tests.small_trees import CHAINED, LABELS, OVERLAPPING, PLAIN, RAGGED

MIXED: dict[str, ClassifierKind] = {"root": "gaussian_nb", "left": "svm", "right": "logistic_regression"}
SONGS = planted_songs([8] * 6, seed=0, contrast_db=2.0, longer_frames=30)
TEST_SONGS = planted_songs([5] * 6, seed=1, contrast_db=2.0, longer_frames=30)
TABLE, TEST_TABLE = slice_table(SONGS), slice_table(TEST_SONGS)


def fitted(tree: TreeSpec, kinds: Any, table: SliceTable = TABLE, songs: LearningSongs = SONGS) -> ClassicalTree:
    return fit_tree(tree, kinds, table.rows, songs.genre_idx[table.song_idx], seed=0)


def heard(models: dict[str, ClassicalTree]) -> HeldOut:
    """What trees and flat classifiers say of the test songs, as nets would."""

    def outputs(model: ClassicalTree) -> ModelOutputs:
        logits = {node: logp.astype(np.float32) for node, logp in model.node_logp(TEST_TABLE.rows).items()}
        return ModelOutputs(model.tree, logits, dict.fromkeys(logits, 1.0))

    voices, song_idx = np.unique(TEST_TABLE.song_idx, return_inverse=True)
    return HeldOut(
        labels=LABELS,
        song_ids=tuple(TEST_SONGS.ids[i] for i in voices),
        true_idx=TEST_SONGS.genre_idx[voices],
        clusters=tuple(TEST_SONGS.ids[i] for i in voices),
        song_idx=song_idx,
        slice_idx=TEST_TABLE.slice_idx,
        models={name: outputs(model) for name, model in models.items()},
    )


@pytest.mark.parametrize(
    "tree", [PLAIN, RAGGED, OVERLAPPING, CHAINED], ids=["plain", "ragged", "overlapping", "chained"]
)
def test_every_node_is_the_classifier_of_the_rows_under_it(tree: TreeSpec) -> None:
    model = fitted(tree, "gaussian_nb")
    found = model.node_logp(TEST_TABLE.rows)
    assert list(found) == [node.name for node in tree.net_nodes]
    genres = [LABELS.genres[i] for i in SONGS.genre_idx[TABLE.song_idx]]
    for node in tree.net_nodes:
        here = [i for i, genre in enumerate(genres) if genre in node.genres]
        children = [node.home_child_idx(genres[i]) for i in here]
        own = build_classifier("gaussian_nb", 0).fit(TABLE.rows[here], children)
        np.testing.assert_array_equal(found[node.name], class_logp(own, TEST_TABLE.rows))
        np.testing.assert_array_equal(model.classifiers[node.name][0].data_max_, TABLE.rows[here].max(axis=0))


def test_nodes_may_have_classifiers_of_their_own() -> None:
    model = fitted(PLAIN, MIXED)
    assert [type(model.classifiers[node][-1]).__name__ for node in ("root", "left", "right")] == [
        "GaussianNB",
        "SVC",
        "LogisticRegression",
    ]
    assert model.warnings == ()


def test_held_out_songs_are_accounted_for_as_those_of_nets() -> None:
    held = heard({TREE: fitted(PLAIN, MIXED), FLAT: fitted(flat_tree(LABELS), "svm")})
    found = posteriors(held)
    assert set(found) == {TREE, FLAT, FLAT_ROOT}
    for logp in found.values():
        assert np.isfinite(logp).all()
        np.testing.assert_allclose(np.exp(logp).sum(axis=1), 1, atol=1e-9)
    right = {name: [o.genre_idx == o.true_idx for o in song_outcomes(held, logp)] for name, logp in found.items()}
    assert all(np.mean(of) > 0.5 for of in right.values())

    flat_idx = np.array([outcome.genre_idx for outcome in song_outcomes(held, found[FLAT])])
    told = account(PLAIN, held.models[TREE].node_logp(), held.song_idx, held.true_idx, held.clusters, flat_idx)
    for cells, n in ((told["songs"], 30), (told["slices"], len(TEST_TABLE.rows))):
        assert sum(cells[key] for key in "ALRB") == n == cells["n"]
        assert 0 < cells["A"] < n
    assert told["route"]["n_right"] == sum(right[TREE])
    assert told["flat"]["n_right"] == sum(right[FLAT])


def test_outputs_are_kept_and_read_as_those_of_nets(tmp_path: Path) -> None:
    held = heard({TREE: fitted(PLAIN, MIXED), FLAT: fitted(flat_tree(LABELS), "decision_tree")})
    write_held_out(tmp_path / "outputs.npz", [held])
    [again] = read_held_out(tmp_path / "outputs.npz")
    for name, logp in posteriors(held).items():
        np.testing.assert_array_equal(posteriors(again)[name], logp)


@pytest.mark.parametrize("kind", ["decision_tree", "svm", "knn"])
def test_a_tree_of_one_group_answers_as_the_flat_classifier(kind: ClassifierKind) -> None:
    one_group = tree_from_groups(LABELS, {"all": list(LABELS)})
    held = heard({TREE: fitted(one_group, kind), FLAT: fitted(flat_tree(LABELS), kind)})
    np.testing.assert_array_equal(held.models[TREE].logits["all"], held.models[FLAT].logits[ROOT])
    found = posteriors(held)
    np.testing.assert_array_equal(found[TREE], found[FLAT])


def test_a_child_without_a_training_row_is_an_error() -> None:
    here = SONGS.genre_idx[TABLE.song_idx] != LABELS.index("e")
    rows, genre_idx = TABLE.rows[here], SONGS.genre_idx[TABLE.song_idx][here]
    with pytest.raises(
        FeatureError, match=r"^node 'right' has no training row of 'e' \(e\), needed at least one; give "
    ):
        fit_tree(PLAIN, "gaussian_nb", rows, genre_idx, 0)
    lonely = tree_from_groups(LABELS, {"most": list("abcd"), "late": ["e", "f"]})
    early = genre_idx < LABELS.index("e")
    with pytest.raises(FeatureError, match=r"^node 'root' has no training row of 'late' \(e, f\), needed"):
        fit_tree(lonely, "gaussian_nb", rows[early], genre_idx[early], 0)


def test_too_few_rows_for_neighbours_are_an_error() -> None:
    with pytest.raises(
        FeatureError, match=r"^node 'root' has 18 training rows, knn needs 19; give the split more songs"
    ):
        fit_tree(flat_tree(LABELS), "knn", np.zeros((18, 2)), np.arange(18) % 6, 0)
    assert fit_tree(flat_tree(LABELS), "knn", np.eye(19), np.arange(19) % 6, 0).warnings == ()


def test_every_node_needs_a_kind_and_every_kind_a_node() -> None:
    kinds: dict[str, ClassifierKind] = {"root": "svm", "left": "knn", "rigth": "knn", "a": "knn"}
    with pytest.raises(OptionError) as caught:
        fitted(PLAIN, kinds)
    assert caught.value.problems == (
        ("kinds", "node 'right' has no classifier; give it one"),
        ("kinds", "there is no node 'a' with a choice to make; these are root, left, right"),
        ("kinds", "there is no node 'rigth' with a choice to make; these are root, left, right"),
    )


def test_what_a_classifier_complains_of_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    hasty = MLPClassifier((5,), solver="lbfgs", max_iter=1)
    monkeypatch.setattr(trees, "build_classifier", lambda kind, seed: hasty)
    labels = Labels(("a", "b"))
    model = fit_tree(flat_tree(labels), "mlp", TABLE.rows, np.arange(len(TABLE.rows)) % 2, 0)
    [warning] = model.warnings
    assert warning.startswith("node 'root', mlp: lbfgs failed to converge after 1 iteration(s)")


def test_a_classical_tree_is_never_saved(tmp_path: Path) -> None:
    model: Any = fitted(PLAIN, "gaussian_nb")
    with pytest.raises(AttributeError, match="'ClassicalTree' object has no attribute"):
        save_bundle(model, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


def test_the_room_touches_no_file() -> None:
    for path in Path(next(iter(hgenre.baselines.__path__))).glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        names = {node.id for node in nodes if isinstance(node, ast.Name)}
        names |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        names |= {alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
        assert not names & {"open", "Path", "os", "io", "save", "savez", "tofile", "dump", "dumps", "save_model"}, path
