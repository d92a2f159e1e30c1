"""Answers for a target accuracy, against a count by hand, a slow search and the promise itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hgenre.tree.evidence import Evidence, SongEvidence, answer_path, gather_evidence
from hgenre.tree.spec import TreeSpec
from hgenre.tree.stopping import CONFIDENCE, Shares, deepest_step, shares_at, stopping_threshold
from hgenre.tree.vote import SongAnswers
from tests.oracles import least_stopping_threshold, stopped_song
from tests.small_trees import FLAT, PLAIN, RAGGED, genre_trees


@pytest.mark.parametrize(("threshold", "step"), [(0.2, 2), (0.3, 2), (0.31, 1), (0.8, 1), (0.9, 0), (0.91, -1)])
def test_an_answer_is_at_the_deepest_step_that_is_sure_enough(threshold: float, step: int) -> None:
    assert deepest_step((0.9, 0.8, 0.3), threshold) == step


def test_a_threshold_of_1_can_be_reached() -> None:
    assert deepest_step((0.9999999, 0.999), 1.0) == 0


def test_an_answer_is_right_if_it_holds_the_truth() -> None:
    # The way to d: deep (b c d e), deeper (c d e), deepest (d e), d.
    d, e, b, a = (RAGGED.labels.index(genre) for genre in "deba")
    evidence = tuple(SongEvidence(true, d, 0.0, (0.9, 0.7, 0.5, 0.3)) for true in (d, e, b, a))
    assert shares_at(RAGGED, evidence, 0.3) == Shares(4, n_genre=4, n_group=0, n_right=1)
    assert shares_at(RAGGED, evidence, 0.5) == Shares(4, n_genre=0, n_group=4, n_right=2)
    assert shares_at(RAGGED, evidence, 0.9) == Shares(4, n_genre=0, n_group=4, n_right=3)
    assert shares_at(RAGGED, evidence, 0.95) == shares_at(RAGGED, evidence, None) == Shares(4, 0, 0, 0)


def test_a_group_of_one_genre_is_that_genre() -> None:
    f = RAGGED.labels.index("f")
    shares = shares_at(RAGGED, (SongEvidence(f, f, 0.6, (0.6, 0.6)),), 0.6)
    assert shares == Shares(1, n_genre=1, n_group=0, n_right=1)


def test_shares_add_up() -> None:
    shares = Shares(10, n_genre=3, n_group=4, n_right=6)
    assert (shares.n_answered, shares.n_abstained, shares.accuracy) == (7, 3, 6 / 7)
    assert Shares(3, 0, 0, 0).accuracy is None


@st.composite
def trees_with_evidence(draw: st.DrawFn) -> tuple[TreeSpec, Evidence]:
    """Up to 60 songs whose probabilities are rounded, so that many are equal."""
    tree = draw(genre_trees(5))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    n = draw(st.integers(0, 60))
    p = random.dirichlet(np.full(len(tree.labels), 0.3), n).round(1)
    true_idx = random.integers(0, len(tree.labels), n)
    genre_idx = np.where(random.uniform(size=n) < draw(st.sampled_from([0.3, 0.95])), true_idx, p.argmax(axis=-1))
    return tree, gather_evidence(tree, SongAnswers(genre_idx, p), true_idx)


@given(trees_with_evidence(), st.sampled_from([0.3, 0.6, 0.8, 0.9]))
@settings(max_examples=60, deadline=None)
def test_the_threshold_is_the_least_that_passes(drawn: tuple[TreeSpec, Evidence], target: float) -> None:
    tree, evidence = drawn
    threshold = stopping_threshold(tree, evidence, target)
    assert threshold == least_stopping_threshold(tree, evidence, target, CONFIDENCE)
    if threshold is None:
        return
    counted = [stopped_song(tree, song, threshold) for song in evidence]
    answered = [genres for genres in counted if genres]
    assert shares_at(tree, evidence, threshold) == Shares(
        len(evidence),
        n_genre=sum(len(genres) == 1 for genres in answered),
        n_group=sum(len(genres) > 1 for genres in answered),
        n_right=sum(tree.labels.genres[s.true_idx] in genres for s, genres in zip(evidence, counted, strict=True)),
    )


def test_a_target_that_nothing_reaches_has_no_threshold() -> None:
    wrong = tuple(SongEvidence(1, 0, 0.0, (1.0,)) for _ in range(500))
    assert stopping_threshold(FLAT, wrong, 0.01) is None
    assert stopping_threshold(FLAT, (), 0.5) is None
    # 21 right answers in a row happen more often than once in ten times at an accuracy of 0.9, 22 do not.
    right = tuple(SongEvidence(0, 0, 0.9, (0.9,)) for _ in range(22))
    assert stopping_threshold(FLAT, right[1:], 0.9) is None
    assert stopping_threshold(FLAT, right, 0.9) == 0.9


def _population(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(song, genre) probabilities and truths; the probabilities say more than is true, groups are told apart better."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 6)) + np.repeat(random.normal(0, 2, (n, 2)), 3, axis=1)
    true_idx = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    p = np.exp(1.3 * logits)
    return p / p.sum(axis=1, keepdims=True), true_idx


@pytest.mark.parametrize(("n_songs", "target"), [(100, 0.8), (250, 0.9), (600, 0.9)])
def test_later_songs_are_answered_as_accurately_as_was_asked(n_songs: int, target: float) -> None:
    p, true_idx = _population(40_000, seed=0)
    genre_idx = p.argmax(axis=1)
    in_group = p.reshape(-1, 2, 3).sum(axis=2)[np.arange(len(p)), genre_idx // 3]
    random = np.random.default_rng(n_songs)
    n_short, accuracies, answered = 0, [], []
    for _ in range(200):
        drawn = random.integers(0, len(p), n_songs)
        evidence = gather_evidence(PLAIN, SongAnswers(genre_idx[drawn], p[drawn]), true_idx[drawn])
        threshold = stopping_threshold(PLAIN, evidence, target)
        if threshold is None:
            continue
        by_genre, by_any = p.max(axis=1) >= threshold, in_group >= threshold
        right = np.where(by_genre, genre_idx == true_idx, by_any & (genre_idx // 3 == true_idx // 3))
        accuracies.append(right.sum() / by_any.sum())
        answered.append(by_any.mean())
        n_short += accuracies[-1] < target
    assert n_short <= binom.ppf(0.999, 200, 1 - CONFIDENCE)
    assert np.mean(accuracies) > target
    assert np.mean(answered) > 0.5


def test_a_path_and_its_evidence_have_as_many_steps() -> None:
    evidence = gather_evidence(RAGGED, SongAnswers(np.arange(6), np.full((6, 6), 1 / 6)), np.arange(6))
    assert [len(song.path_p) for song in evidence] == [len(answer_path(RAGGED, genre)) for genre in RAGGED.labels]
