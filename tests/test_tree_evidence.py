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
    path_probabilities,
    thinned,
)
from hgenre.tree.spec import TreeSpec, child_name, genres_under, home_path
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


def test_rows_hold_probabilities_and_how_far_the_way_to_the_vote_is_right() -> None:
    p = np.array([[0.1, 0.2, 0.05, 0.5, 0.1, 0.05], [0] * 6, [2 / 3, 0, 1 / 3, 0, 0, 0]])
    evidence = gather_evidence(PLAIN, SongAnswers(np.array([1, -1, 0]), p), np.array([3, 0, 2]))
    assert evidence == (
        SongEvidence(p_true=0.5, path_p=(0.35, 0.2), n_right=0),
        SongEvidence(p_true=0.333333, path_p=(1.0, 0.666667), n_right=1),
    )


@pytest.mark.parametrize(("truth", "n_right"), [("d", 4), ("e", 3), ("c", 2), ("b", 1), ("a", 0)])
def test_a_step_is_right_if_it_holds_the_truth(truth: str, n_right: int) -> None:
    idx = RAGGED.labels.index
    answers = SongAnswers(np.array([idx("d")]), np.full((1, 6), 1 / 6))
    (song,) = gather_evidence(RAGGED, answers, np.array([idx(truth)]))
    assert song.n_right == n_right
    assert song.is_right == (truth == "d")


@given(genre_trees(), st.integers(0, 1000))
@settings(max_examples=50)
def test_a_vote_is_right_where_every_step_to_it_is(tree: TreeSpec, seed: int) -> None:
    n = len(tree.labels)
    random = np.random.default_rng(seed)
    true_idx, genre_idx = random.integers(0, n, (2, 8))
    evidence = gather_evidence(tree, SongAnswers(genre_idx, random.dirichlet(np.ones(n), 8)), true_idx)
    assert [song.is_right for song in evidence] == (true_idx == genre_idx).tolist()
    for song, voted in zip(evidence, genre_idx, strict=True):
        assert len(song.path_p) == len(answer_path(tree, tree.labels.genres[voted]))


def test_songs_beyond_the_limit_are_left_out_evenly() -> None:
    n = 3 * MAX_SONGS + 1
    evidence = tuple(SongEvidence(i / n, (1.0,), 0) for i in range(n))
    kept = thinned(evidence)
    assert len(kept) == MAX_SONGS
    gaps = np.diff([song.p_true for song in kept]) * n
    assert 2.9 < gaps.min() <= gaps.max() < 4.1
    assert thinned(evidence[:MAX_SONGS]) == evidence[:MAX_SONGS]
