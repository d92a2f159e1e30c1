"""Classical classifiers: those that scikit-learn and XGBoost give, behind a scaling learned from training rows."""

import sys
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier

from hgenre.baselines.pipelines import P_FLOOR, ClassifierKind, build_classifier, class_logp
from hgenre.errors import HgenreError, OptionError

KINDS: tuple[ClassifierKind, ...] = get_args(ClassifierKind)
SEED = 3
PLAIN: dict[ClassifierKind, Any] = {
    "gaussian_nb": GaussianNB(),
    "sgd": SGDClassifier(max_iter=5000, random_state=SEED),
    "knn": KNeighborsClassifier(19),
    "decision_tree": DecisionTreeClassifier(random_state=SEED),
    "random_forest": RandomForestClassifier(1000, max_depth=10, random_state=SEED),
    "svm": SVC(decision_function_shape="ovo"),
    "logistic_regression": LogisticRegression(max_iter=5000),
    "mlp": MLPClassifier((100,), solver="lbfgs", alpha=1e-5, max_iter=2000, random_state=SEED),
    "xgboost": XGBClassifier(n_estimators=1000, learning_rate=0.05, n_jobs=1, random_state=SEED),
    "majority": DummyClassifier(strategy="most_frequent"),
}
"""The classifiers of the published tables, as one would write them down."""


def planted(n_rows: int, n_classes: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (row, feature) around the centre of their class, in units that differ by six orders; class 0 comes often."""
    random = np.random.default_rng(seed)
    class_idx = np.concatenate([np.arange(n_rows - n_rows // 5) % n_classes, np.zeros(n_rows // 5, int)])
    rows = random.normal(0, 1, (n_rows, 6))
    rows[np.arange(n_rows), class_idx] += apart
    return rows * 10.0 ** np.arange(-3, 3), class_idx


TRAIN_ROWS, TRAIN_CLASSES = planted(150, 5, 2.0, seed=0)
TEST_ROWS, TEST_CLASSES = planted(400, 5, 2.0, seed=1)


@cache
def fitted(kind: ClassifierKind) -> Any:
    return build_classifier(kind, SEED).fit(TRAIN_ROWS, TRAIN_CLASSES)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_plain_classifier(kind: ClassifierKind) -> None:
    scaler = MinMaxScaler().fit(TRAIN_ROWS)
    plain = PLAIN[kind].fit(scaler.transform(TRAIN_ROWS), TRAIN_CLASSES)
    answers = class_logp(fitted(kind), TEST_ROWS).argmax(axis=1)
    np.testing.assert_array_equal(answers, plain.predict(scaler.transform(TEST_ROWS)))


def test_an_svms_scores_alone_would_answer_otherwise_where_votes_tie() -> None:
    svm = fitted("svm")
    tied = svm.decision_function(TEST_ROWS).argmax(axis=1) != svm.predict(TEST_ROWS)
    assert 0 < tied.sum() < 10


@pytest.mark.parametrize("kind", ["sgd", "svm"])
def test_two_classes_have_one_score_and_two_probabilities(kind: ClassifierKind) -> None:
    rows, classes = planted(80, 2, 1.0, seed=2)
    classifier = build_classifier(kind, SEED).fit(rows, classes)
    logp, scores = class_logp(classifier, TEST_ROWS), classifier.decision_function(TEST_ROWS)
    np.testing.assert_array_equal(logp.argmax(axis=1), classifier.predict(TEST_ROWS))
    inside = np.abs(scores) < 10
    np.testing.assert_allclose((logp[:, 1] - logp[:, 0])[inside], scores[inside], atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_log_probabilities_are_normalised_and_floored(kind: ClassifierKind) -> None:
    logp = class_logp(fitted(kind), TEST_ROWS)
    assert logp.shape == (400, 5)
    assert logp.dtype == np.float64
    np.testing.assert_allclose(np.exp(logp).sum(axis=1), 1, atol=1e-12)
    assert logp.min() >= np.log(P_FLOOR / (1 + 5 * P_FLOOR))


def test_probabilities_above_the_floor_are_the_classifiers_own() -> None:
    forest = fitted("random_forest")
    p, logp = forest.predict_proba(TEST_ROWS), class_logp(forest, TEST_ROWS)
    assert (p == 0).any()
    np.testing.assert_allclose(np.exp(logp), p, atol=5 * P_FLOOR)
    np.testing.assert_allclose(
        np.exp(class_logp(fitted("majority"), TEST_ROWS[:1]))[0], np.bincount(TRAIN_CLASSES) / 150
    )


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_never_matter(kind: ClassifierKind) -> None:
    batch = class_logp(fitted(kind), TEST_ROWS)
    elsewhere = TEST_ROWS.copy()
    elsewhere[10:] += 1e3
    np.testing.assert_allclose(class_logp(fitted(kind), elsewhere)[:10], batch[:10], rtol=1e-9)
    alone = np.concatenate([class_logp(fitted(kind), TEST_ROWS[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, batch[:10], rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_scaling_is_that_of_the_training_rows(kind: ClassifierKind) -> None:
    scaler = fitted(kind)[0]
    np.testing.assert_array_equal(scaler.data_min_, TRAIN_ROWS.min(axis=0))
    np.testing.assert_array_equal(scaler.data_max_, TRAIN_ROWS.max(axis=0))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_planted_is_found(kind: ClassifierKind) -> None:
    rows, classes = planted(150, 3, 6.0, seed=4)
    test_rows, test_classes = planted(300, 3, 6.0, seed=5)
    answers = class_logp(build_classifier(kind, 0).fit(rows, classes), test_rows).argmax(axis=1)
    if kind == "majority":
        assert set(answers) == {0}
    else:
        assert (answers == test_classes).mean() > 0.95


@pytest.mark.parametrize("kind", ["sgd", "decision_tree", "mlp", "xgboost"])
def test_the_same_seed_gives_the_same_classifier(kind: ClassifierKind) -> None:
    again = build_classifier(kind, SEED).fit(TRAIN_ROWS, TRAIN_CLASSES)
    np.testing.assert_array_equal(class_logp(again, TEST_ROWS), class_logp(fitted(kind), TEST_ROWS))


def test_another_seed_gives_another_net() -> None:
    other = build_classifier("mlp", SEED + 1).fit(TRAIN_ROWS, TRAIN_CLASSES)
    assert not np.allclose(class_logp(other, TEST_ROWS), class_logp(fitted("mlp"), TEST_ROWS))


@pytest.mark.parametrize("kind", ["gaussian_nb", "knn", "decision_tree", "svm", "logistic_regression", "majority"])
def test_the_order_of_training_rows_does_not_matter_where_nothing_is_drawn(kind: ClassifierKind) -> None:
    order = np.random.default_rng(6).permutation(len(TRAIN_ROWS))
    shuffled = build_classifier(kind, SEED).fit(TRAIN_ROWS[order], TRAIN_CLASSES[order])
    p, expected = np.exp(class_logp(shuffled, TEST_ROWS)), np.exp(class_logp(fitted(kind), TEST_ROWS))
    # The solvers of SVM and logistic regression stop within their tolerances, from wherever they come.
    np.testing.assert_allclose(p, expected, atol=2e-3 if kind in ("svm", "logistic_regression") else 1e-9)


def test_without_xgboost_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(HgenreError, match=r"^the classifier xgboost .* run `pip install 'hgenre\[baselines\]'` or"):
        build_classifier("xgboost", 0)
    assert build_classifier("gaussian_nb", 0).fit(TRAIN_ROWS, TRAIN_CLASSES)


def test_an_unknown_kind_is_told_with_those_there_are() -> None:
    forest: Any = "forest"
    with pytest.raises(OptionError, match=r"^kind: found 'forest', needed one of the classifiers gaussian_nb, sgd, "):
        build_classifier(forest, 0)
