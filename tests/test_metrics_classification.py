import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import HgenreError
from hgenre.labels import Labels
from hgenre.metrics.classification import Scores, confusion, log_loss, score

LABELS = Labels(("blues", "jazz", "metal", "rock"))

answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60).map(
    lambda pairs: (np.array([t for t, _ in pairs]), np.array([p for _, p in pairs]))
)


@settings(deadline=None)
@given(answers)
def test_scores_agree_with_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

    truth, answer = pair
    scores = score(truth, answer, LABELS)
    np.testing.assert_array_equal(scores.confusion, confusion_matrix(truth, answer, labels=range(4)))
    expected = precision_recall_fscore_support(truth, answer, labels=range(4), zero_division=0)
    found = [[g.precision, g.recall, g.f1, g.support] for g in scores.per_genre]
    np.testing.assert_allclose(found, np.transpose(expected), atol=1e-12)
    assert scores.accuracy == pytest.approx(accuracy_score(truth, answer), abs=1e-12)
    assert scores.macro_f1 == pytest.approx(f1_score(truth, answer, average="macro", zero_division=0), abs=1e-12)
    assert (scores.n, scores.n_right) == (len(truth), int((truth == answer).sum()))
    assert scores.interval[0] <= scores.accuracy <= scores.interval[1]


@settings(deadline=None)
@given(answers)
def test_scores_come_back_from_json_unchanged(pair: tuple[np.ndarray, np.ndarray]) -> None:
    scores = score(*pair, LABELS)
    assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def test_rows_of_the_confusion_are_the_truth() -> None:
    counts = confusion([0, 0, 1], [1, 1, 0], 3)
    assert counts.tolist() == [[0, 2, 0], [1, 0, 0], [0, 0, 0]]


def test_a_genre_that_does_not_occur_leaves_macro_f1_alone() -> None:
    assert score([0, 1], [0, 1], LABELS).macro_f1 == 1.0


def test_nothing_to_score_says_what_to_check() -> None:
    with pytest.raises(HgenreError, match="found no song to score, needed at least 1; check that the split"):
        score([], [], LABELS)


@pytest.mark.parametrize("answer", [[0, 4], [0, -1]])
def test_an_index_outside_the_labels_is_refused(answer: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must lie in 0\.\.3"):
        score([0, 1], answer, LABELS)


def test_arrays_of_different_length_are_refused() -> None:
    with pytest.raises(ValueError, match="of one length"):
        confusion([0, 1], [0], 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"confusion": [[1, 0], [0, 1]]}, "must hold 4 x 4 whole counts"),
        ({"confusion": [[0.5] * 4] * 4}, "must hold 4 x 4 whole counts"),
        ({"confusion": [[-1] * 4] * 4}, "must hold 4 x 4 whole counts"),
        ({"confusion": [[2**62] * 4] * 4}, "4 x 4 whole counts from 0 to 4294967296, a row"),
        ({"confusion": [[0] * 4] * 4}, "no song to score"),
        ({"confusion": [[1], [1, 2]]}, "need 'per_genre' rows"),
        ({"per_genre": [{}]}, "need 'per_genre' rows"),
        ({"per_genre": None}, "need 'per_genre' rows"),
    ],
)
def test_damaged_scores_are_refused(change: dict[str, object], message: str) -> None:
    data = score([0, 1, 2, 3], [0, 1, 2, 2], LABELS).to_json() | change
    with pytest.raises(HgenreError, match=message):
        Scores.from_json(data)


def test_log_loss_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import log_loss as oracle

    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(4), size=50)
    truth = rng.integers(0, 4, size=50)
    assert log_loss(truth, p) == pytest.approx(oracle(truth, p, labels=range(4)), rel=1e-12)


def test_log_loss_of_a_sure_mistake_is_finite() -> None:
    assert log_loss([0], [[0.0, 1.0]]) == pytest.approx(52 * math.log(2))
