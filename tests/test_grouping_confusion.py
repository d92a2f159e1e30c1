import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.confusion import hard_confusion, similarity, soft_confusion


def test_soft_confusion_is_the_mean_row_of_each_genre() -> None:
    p = np.array([[0.8, 0.2, 0.0], [0.4, 0.4, 0.2], [0.0, 0.1, 0.9]])
    np.testing.assert_allclose(soft_confusion([0, 0, 2], p, 3), np.array([[0.6, 0.3, 0.1], [0, 0, 0], [0, 0.1, 0.9]]))


def test_soft_confusion_of_sure_answers_is_the_confusion_in_rates() -> None:
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(5)
    truth, answer = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    np.testing.assert_allclose(
        soft_confusion(truth, np.eye(4)[answer], 4), confusion_matrix(truth, answer, normalize="true")
    )


def test_soft_confusion_needs_a_column_a_genre() -> None:
    with pytest.raises(ValueError, match=r"must be \(song, genre\) = \(2, 3\), found \(2, 4\)"):
        soft_confusion([0, 1], np.ones((2, 4)), 3)


def test_similarity_weighs_genres_alike_whatever_their_size() -> None:
    c = np.array([[8.0, 2.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
    expected = np.array([[0, 0.225, 0], [0.225, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(similarity(c), expected)
    np.testing.assert_allclose(similarity(c * np.array([[100], [1], [7]])), expected)


@given(st.integers(0, 10_000), st.permutations(range(9)))
@settings(max_examples=40, deadline=None)
def test_similarity_is_the_same_to_the_last_bit_whatever_the_order_of_the_genres(seed: int, order: list[int]) -> None:
    c = np.random.default_rng(seed).random((9, 9))
    at = np.ix_(order, order)
    np.testing.assert_array_equal(similarity(c[at]), similarity(c)[at])


def test_hard_confusion_counts_songs() -> None:
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(6)
    truth, answer = rng.integers(0, 4, 200), rng.integers(0, 3, 200)
    counts = hard_confusion(truth, answer, 5)
    np.testing.assert_array_equal(counts, confusion_matrix(truth, answer, labels=range(5)))
    assert counts.dtype == np.int64


def test_hard_confusion_needs_an_answer_a_song() -> None:
    with pytest.raises(ValueError, match=r"needs a genre and an answer, found \(2,\) genres and \(3,\) answers"):
        hard_confusion([0, 1], [0, 1, 1], 3)
