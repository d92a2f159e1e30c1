"""What is kept of held-out songs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.tree.evidence import (
    MAX_SONGS,
    SongEvidence,
    answer_path,
    gather_evidence,
    home_path,
    path_probabilities,
)
from hgenre.tree.spec import TreeSpec, child_name, genres_under
from hgenre.tree.vote import SongAnswers
from tests.small_trees import CHAINED, FLAT, OVERLAPPING, PLAIN, RAGGED, genre_trees


def names(steps: tuple) -> list[str]:
    return [child_name(step) for step in steps]


@pytest.mark.parametrize(
    ("tree", "genre", "home", "answer"),
    [
        (FLAT, "c", ["root", "c"], ["c"]),
        (RAGGED, "e", ["root", "deep", "deeper", "deepest", "e"], ["deep", "deeper", "deepest", "e"]),
        (RAGGED, "f", ["root", "alone", "f"], ["alone", "f"]),
        (OVERLAPPING, "c", ["root", "one", "c"], ["one", "c"]),
        (OVERLAPPING, "e", ["root", "two", "inner", "e"], ["two", "inner", "e"]),
        (CHAINED, "d", ["root", "only", "second", "bridge", "d"], ["second", "bridge", "d"]),
    ],
)
def test_an_answer_is_on_the_way_home_and_leaves_a_genre_out(
    tree: TreeSpec, genre: str, home: list[str], answer: list[str]
) -> None:
    assert names(home_path(tree, genre)) == home
    assert names(answer_path(tree, genre)) == answer


@given(genre_trees(), st.integers(0, 1000))
@settings(max_examples=50)
def test_probabilities_never_rise_along_a_path(tree: TreeSpec, seed: int) -> None:
    drawn = np.random.default_rng(seed).dirichlet(np.full(len(tree.labels), 0.3))
    p = dict(zip(tree.labels, drawn.tolist(), strict=True))
    for genre in tree.labels:
        steps = home_path(tree, genre)
        found = path_probabilities(steps, p)
        assert list(found) == sorted(found, reverse=True)
        assert found == pytest.approx([sum(p[g] for g in genres_under(step)) for step in steps])
        assert found[0] <= 1


def test_rows_hold_the_truth_the_vote_and_their_probabilities() -> None:
    p = np.array([[0.1, 0.2, 0.05, 0.5, 0.1, 0.05], [0] * 6, [1 / 3, 0, 0, 0, 0, 2 / 3]])
    evidence = gather_evidence(PLAIN, SongAnswers(np.array([1, -1, 0]), p), np.array([3, 0, 5]))
    assert evidence == (
        SongEvidence(true_idx=3, genre_idx=1, p_true=0.5, path_p=(0.35, 0.2)),
        SongEvidence(true_idx=5, genre_idx=0, p_true=0.666666, path_p=(0.333333, 0.333333)),
    )


def test_songs_beyond_the_limit_are_left_out_evenly() -> None:
    n = 3 * MAX_SONGS + 1
    p = np.full((n, 6), 1 / 6)
    p[:, 0] = np.arange(n) / n
    kept = gather_evidence(PLAIN, SongAnswers(np.zeros(n, int), p), np.zeros(n, int))
    assert len(kept) == MAX_SONGS
    gaps = np.diff([song.p_true for song in kept]) * n
    assert 2.9 < gaps.min() <= gaps.max() < 4.1
