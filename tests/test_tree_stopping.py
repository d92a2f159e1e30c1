"""Answers for a target accuracy, against a count by hand, a slow search and the promise itself."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from hgenre.tree.evidence import Evidence, SongEvidence, answer_path, gather_evidence
from hgenre.tree.spec import TreeSpec
from hgenre.tree.stopping import CONFIDENCE, N_THRESHOLDS, Shares, deepest_step, shares_at, stopping_threshold
from hgenre.tree.vote import SongAnswers
from tests.oracles import first_failing_threshold, stopped_song
from tests.small_trees import PLAIN, RAGGED, genre_trees


@pytest.mark.parametrize(("threshold", "step"), [(0.2, 2), (0.3, 2), (0.31, 1), (0.8, 1), (0.9, 0), (0.91, -1)])
def test_an_answer_is_at_the_deepest_step_that_is_sure_enough(threshold: float, step: int) -> None:
    assert deepest_step((0.9, 0.8, 0.3), threshold) == step


def test_a_threshold_of_1_can_be_reached() -> None:
    assert deepest_step((0.9999999, 0.999), 1.0) == 0


def test_an_answer_is_right_if_it_holds_the_truth() -> None:
    # The way to d: deep (b c d e), deeper (c d e), deepest (d e), d.
    d, *others = (RAGGED.labels.index(genre) for genre in "deba")
    p = np.array([[0.1, 0.2, 0.2, 0.3, 0.2, 0.0]] * 4)
    evidence = gather_evidence(RAGGED, SongAnswers(np.full(4, d), p), np.array([d, *others]))
    assert shares_at(evidence, 0.3) == Shares(4, n_genre=4, n_group=0, n_right=1)
    assert shares_at(evidence, 0.5) == Shares(4, n_genre=0, n_group=4, n_right=2)
    assert shares_at(evidence, 0.9) == Shares(4, n_genre=0, n_group=4, n_right=3)
    assert shares_at(evidence, 0.95) == shares_at(evidence, None) == Shares(4, 0, 0, 0)


def test_a_group_of_one_genre_is_that_genre() -> None:
    f = np.array([RAGGED.labels.index("f")])
    p = np.array([[0.4, 0, 0, 0, 0, 0.6]])
    shares = shares_at(gather_evidence(RAGGED, SongAnswers(f, p), f), 0.6)
    assert shares == Shares(1, n_genre=1, n_group=0, n_right=1)


def test_shares_add_up() -> None:
    shares = Shares(10, n_genre=3, n_group=4, n_right=6)
    assert (shares.n_answered, shares.n_abstained, shares.accuracy) == (7, 3, 6 / 7)
    assert Shares(3, 0, 0, 0).accuracy is None


@st.composite
def trees_with_evidence(draw: st.DrawFn) -> tuple[TreeSpec, Evidence, list[tuple[str, str, tuple[float, ...]]]]:
    """Up to 60 songs whose probabilities are rounded, so that many are equal; also as truth, vote and path."""
    tree = draw(genre_trees(5))
    random = np.random.default_rng(draw(st.integers(0, 1000)))
    n = draw(st.integers(0, 60))
    p = random.dirichlet(np.full(len(tree.labels), 0.3), n).round(1)
    true_idx = random.integers(0, len(tree.labels), n)
    genre_idx = np.where(random.uniform(size=n) < draw(st.sampled_from([0.3, 0.95])), true_idx, p.argmax(axis=-1))
    evidence = gather_evidence(tree, SongAnswers(genre_idx, p), true_idx)
    names = ([tree.labels.genres[i] for i in idx] for idx in (true_idx, genre_idx))
    return tree, evidence, [(*pair, song.path_p) for *pair, song in zip(*names, evidence, strict=True)]


@given(trees_with_evidence(), st.sampled_from([0.3, 0.6, 0.8, 0.9]))
@settings(max_examples=60, deadline=None)
def test_the_threshold_is_the_last_before_one_that_fails(
    drawn: tuple[TreeSpec, Evidence, list[tuple[str, str, tuple[float, ...]]]], target: float
) -> None:
    tree, evidence, songs = drawn
    threshold = stopping_threshold(evidence, target)
    assert threshold == first_failing_threshold(tree, songs, target, CONFIDENCE, N_THRESHOLDS)
    if threshold is None:
        return
    counted = [stopped_song(tree, voted, path_p, threshold) for _, voted, path_p in songs]
    answered = [genres for genres in counted if genres]
    assert shares_at(evidence, threshold) == Shares(
        len(evidence),
        n_genre=sum(len(genres) == 1 for genres in answered),
        n_group=sum(len(genres) > 1 for genres in answered),
        n_right=sum(true in genres for (true, *_), genres in zip(songs, counted, strict=True)),
    )


def test_a_target_that_nothing_reaches_has_no_threshold() -> None:
    wrong = tuple(SongEvidence(0.0, (1.0,), 0) for _ in range(500))
    assert stopping_threshold(wrong, 0.01) is None
    assert stopping_threshold((), 0.5) is None
    # 21 right answers in a row happen more often than once in ten times at an accuracy of 0.9, 22 do not.
    right = tuple(SongEvidence(0.9, (0.9,), 1) for _ in range(22))
    assert stopping_threshold(right[1:], 0.9) is None
    assert stopping_threshold(right, 0.9) == 0.9


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
        threshold = stopping_threshold(evidence, target)
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


@pytest.mark.parametrize("accuracy", [0.89, 0.8999])
def test_where_no_answer_is_better_than_another_luck_is_rarely_taken_for_accuracy(accuracy: float) -> None:
    random = np.random.default_rng(0)
    n_short = 0
    for _ in range(400):
        p, right = random.uniform(0.5, 1, 290).round(6).tolist(), (random.random(290) < accuracy).tolist()
        evidence = tuple(SongEvidence(0.0, pair, 2 * r) for pair, r in zip(zip(p, p, strict=True), right, strict=True))
        n_short += stopping_threshold(evidence, 0.9) is not None
    assert n_short <= binom.ppf(0.999, 400, 1 - CONFIDENCE)


def test_a_path_and_its_evidence_have_as_many_steps() -> None:
    evidence = gather_evidence(RAGGED, SongAnswers(np.arange(6), np.full((6, 6), 1 / 6)), np.arange(6))
    assert [len(song.path_p) for song in evidence] == [len(answer_path(RAGGED, genre)) for genre in RAGGED.labels]
