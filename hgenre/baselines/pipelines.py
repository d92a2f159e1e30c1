"""The classical classifiers by name, each behind the scaling that it was published with."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hgenre.errors import HgenreError, OptionError

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

ClassifierKind = Literal[
    "gaussian_nb",
    "sgd",
    "knn",
    "decision_tree",
    "random_forest",
    "svm",
    "logistic_regression",
    "mlp",
    "xgboost",
    "majority",
]

N_NEIGHBOURS = 19
"""Training rows that ``knn`` asks."""

P_FLOOR = 1e-6
"""Smallest probability of a class before a row is normalised: no row costs a class more than a factor of a million.

A decision tree, or nineteen neighbours, say 0 of most classes, and one such row would end every path through that
class. The floor is ours; it moves no class past another, so no answer of a classifier changes.
"""


def build_classifier(kind: ClassifierKind, seed: int) -> "Pipeline":
    """An unfitted classifier behind a ``MinMaxScaler``, which learns its ranges from the rows it is fitted on.

    Scaler and settings are those of the widely copied notebook for GTZAN's feature tables (A. Olteanu, "Work w/ Audio
    Data: Visualise, Classify, Recommend", Kaggle, 2020), except that the notebook scales before it splits, and

    * ``logistic_regression`` may take 5000 iterations in place of 100, in which it does not converge;
    * ``mlp`` has one hidden layer of 100 in place of 5000 and 10, and up to 2000 iterations in place of 200: the
      larger net is at no minimum after 200;
    * ``majority``, which says the classes' shares among the training rows whatever it hears, is not in the notebook.

    All run in one thread, so the same rows in the same order and the same seed give the same classifier.

    Raises:
        HgenreError: XGBoost is not installed.
        OptionError: there is no such kind.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler

    return make_pipeline(MinMaxScaler(), _classifier(kind, seed))


def class_logp(classifier: "Pipeline", rows: np.ndarray) -> np.ndarray:
    """Natural log-probabilities (row, class) of a fitted classifier, its answer first in each row.

    Where a classifier knows probabilities they are its own; ``sgd`` and ``svm`` give the softmax of their scores (the
    margins of one class against the rest; the votes of all pairs of classes) as a classifier that is calibrated on a
    part of its rows would be another classifier, with another accuracy. None is below ``P_FLOOR`` before its row is
    normalised to a sum of 1.
    """
    if hasattr(classifier, "predict_proba"):
        p = np.asarray(classifier.predict_proba(rows), np.float64)
    else:
        p = _softmax_of_scores(classifier, rows)
    p = np.maximum(p, P_FLOOR)
    return np.log(p / p.sum(axis=1, keepdims=True))


def _softmax_of_scores(classifier: "Pipeline", rows: np.ndarray) -> np.ndarray:
    scores = classifier.decision_function(rows)
    if scores.ndim == 1:  # two classes: the score of the second
        scores = np.stack([np.zeros_like(scores), scores], axis=1)
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    # An SVM breaks a tie of votes by the order of classes, its scores by the margins: the two change places.
    row, first, answer = np.arange(len(p)), p.argmax(axis=1), classifier.predict(rows)
    p[row, first], p[row, answer] = p[row, answer], p[row, first]
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _classifier(kind: ClassifierKind, seed: int) -> Any:
    match kind:
        case "gaussian_nb":
            from sklearn.naive_bayes import GaussianNB

            return GaussianNB()
        case "sgd":
            from sklearn.linear_model import SGDClassifier

            return SGDClassifier(max_iter=5000, random_state=seed)
        case "knn":
            from sklearn.neighbors import KNeighborsClassifier

            return KNeighborsClassifier(n_neighbors=N_NEIGHBOURS)
        case "decision_tree":
            from sklearn.tree import DecisionTreeClassifier

            return DecisionTreeClassifier(random_state=seed)
        case "random_forest":
            from sklearn.ensemble import RandomForestClassifier

            return RandomForestClassifier(n_estimators=1000, max_depth=10, random_state=seed)
        case "svm":
            from sklearn.svm import SVC

            return SVC()
        case "logistic_regression":
            from sklearn.linear_model import LogisticRegression

            return LogisticRegression(max_iter=5000)
        case "mlp":
            from sklearn.neural_network import MLPClassifier

            return MLPClassifier(
                solver="lbfgs", alpha=1e-5, hidden_layer_sizes=(100,), max_iter=2000, random_state=seed
            )
        case "xgboost":
            try:
                from xgboost import XGBClassifier
            except ImportError as error:
                raise HgenreError(
                    f"the classifier xgboost needs the package of that name, which cannot be imported ({error}); "
                    "run `pip install 'hgenre[baselines]'` or take another classifier"
                ) from None
            return XGBClassifier(n_estimators=1000, learning_rate=0.05, n_jobs=1, random_state=seed)
        case "majority":
            from sklearn.dummy import DummyClassifier

            return DummyClassifier(strategy="prior")
    known = ", ".join(ClassifierKind.__args__)
    raise OptionError([("kind", f"found {kind!r}, needed one of the classifiers {known}")])
