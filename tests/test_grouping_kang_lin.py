import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.confusion import similarity
from hgenre.grouping.kang_lin import kang_lin_groups
from hgenre.labels import Labels
from tests.planted_confusions import LABELS

SIX = Labels(tuple("abcdef"))
EXAMPLE = np.array(
    [
        [90, 6, 0, 1, 0, 0],
        [6, 90, 0, 0, 0, 0],
        [0, 2, 90, 5, 0, 0],
        [1, 0, 5, 90, 3, 0],
        [0, 0, 0, 3, 90, 1],
        [0, 0, 0, 0, 0, 90],
    ]
)


def test_an_example_by_hand() -> None:
    # a and b choose each other, c and d too, e chooses d, and f e, by whom alone it is answered.
    assert kang_lin_groups(EXAMPLE, SIX, 6) == (("a",), ("b",), ("c",), ("d",), ("e",), ("f",))
    assert kang_lin_groups(EXAMPLE, SIX, 2) == (("a", "b"), ("c", "d", "e", "f"))
    assert kang_lin_groups(EXAMPLE, SIX, 1) == (("a", "b", "c", "d", "e", "f"),)
    assert kang_lin_groups(EXAMPLE, SIX, 5) == (("a", "b"), ("c",), ("d",), ("e",), ("f",))
    assert kang_lin_groups(EXAMPLE, SIX, 4) == (("a", "b"), ("c", "d"), ("e",), ("f",))
    assert kang_lin_groups(EXAMPLE, SIX, 3) == (("a", "b"), ("c", "d", "e"), ("f",))


def test_genres_that_nobody_confuses_wait_for_the_top() -> None:
    c = np.eye(6) * 9
    c[0, 1] = c[1, 2] = 1
    c[3, 4] = 1
    assert kang_lin_groups(c, SIX, 3) == (("a", "b", "c"), ("d", "e"), ("f",))
    assert kang_lin_groups(c, SIX, 1) == (tuple("abcdef"),)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_cuts_are_nested(seed: int) -> None:
    c = np.random.default_rng(seed).integers(0, 4, (10, 10)) + np.eye(10)
    cuts = [kang_lin_groups(c, LABELS, n_groups) for n_groups in range(1, 11)]
    assert [len(cut) for cut in cuts] == list(range(1, 11))
    for coarse, fine in itertools.pairwise(cuts):
        assert all(any(set(a) <= set(b) for b in coarse) for a in fine)


@given(st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_every_genre_is_with_the_one_it_is_most_often_confused_with(seed: int) -> None:
    c = np.random.default_rng(seed).random((10, 10))
    alone = {frozenset((genre,)) for genre in LABELS}
    for genre, row in zip(LABELS, similarity(c), strict=True):
        both = [group for group in alone if {genre, LABELS.genres[row.argmax()]} & group]
        alone = (alone - set(both)) | {frozenset().union(*both)}
    assert set(map(frozenset, kang_lin_groups(c, LABELS, len(alone)))) == alone


@pytest.mark.parametrize("n_groups", [2, 3])
def test_classes_are_as_alike_as_their_genres_are_on_average(n_groups: int) -> None:
    # The pair c, d is as near to a as to b on average; its largest single confusion is with e.
    alike = np.zeros((6, 6))
    for i, j, value in [(0, 1, 9), (2, 3, 8), (4, 5, 7), (0, 2, 2), (0, 3, 2), (1, 2, 2), (1, 3, 2), (3, 4, 4)]:
        alike[i, j] = alike[j, i] = value
    c = alike + np.diag(100 - alike.sum(axis=1))
    expected = {3: (("a", "b"), ("c", "d"), ("e", "f")), 2: (("a", "b", "c", "d"), ("e", "f"))}
    assert kang_lin_groups(c, SIX, n_groups) == expected[n_groups]
