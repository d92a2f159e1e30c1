"""Calibration error, Brier score and the bootstrap over artists, against slow ways and other libraries."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.metrics.reliability import (
    brier_score,
    calibrated_error,
    classwise_calibration_error,
    cluster_bootstrap,
    confidence_and_right,
    confidence_report,
    expected_calibration_error,
)
from tests.oracles import calibration_error

Songs = tuple[np.ndarray, np.ndarray, np.ndarray]


@st.composite
def answered(draw: st.DrawFn) -> Songs:
    """Probabilities (song, genre) on a coarse grid, so that many are equal; truths and answers (song,)."""
    n, n_genres = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    cells = draw(st.lists(st.integers(0, 4), min_size=n * n_genres, max_size=n * n_genres))
    counts = np.reshape(cells, (n, n_genres)) + np.eye(n_genres, dtype=int)[0]
    genre_idx = st.lists(st.integers(0, n_genres - 1), min_size=n, max_size=n).map(np.array)
    return counts / counts.sum(axis=1, keepdims=True), draw(genre_idx), draw(genre_idx)


@given(answered(), st.integers(1, 20))
def test_calibration_errors_agree_with_loops(songs: Songs, n_bins: int) -> None:
    p, truth, answer = songs
    confidence = [row[i] for row, i in zip(p, answer, strict=True)]
    expected = calibration_error(confidence, list(answer == truth), n_bins)
    assert expected_calibration_error(p, truth, answer, n_bins) == pytest.approx(expected, abs=1e-12)
    by_genre = [calibration_error(list(p[:, g]), list(truth == g), n_bins) for g in range(p.shape[1])]
    assert classwise_calibration_error(p, truth, n_bins) == pytest.approx(np.mean(by_genre), abs=1e-12)


@given(answered())
def test_the_order_of_songs_does_not_matter(songs: Songs) -> None:
    p, truth, answer = songs
    order = np.random.default_rng(len(p)).permutation(len(p))
    shuffled = expected_calibration_error(p[order], truth[order], answer[order])
    assert shuffled == pytest.approx(expected_calibration_error(p, truth, answer), abs=1e-12)


@pytest.mark.parametrize("n_bins", [4, 10, 15])
def test_calibration_error_agrees_with_scikit_learns_quantile_bins(n_bins: int) -> None:
    from sklearn.calibration import calibration_curve

    rng = np.random.default_rng(n_bins)
    p = rng.dirichlet(np.ones(5), size=12 * n_bins)  # equally many distinct confidences a bin
    truth = rng.integers(0, 5, size=len(p))
    share, mean_confidence = calibration_curve(
        p.argmax(axis=1) == truth, p.max(axis=1), n_bins=n_bins, strategy="quantile"
    )
    expected = np.abs(share - mean_confidence).mean()
    assert expected_calibration_error(p, truth, n_bins=n_bins) == pytest.approx(expected, abs=1e-12)


def test_brier_score_agrees_with_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss

    rng = np.random.default_rng(0)
    p, truth = rng.dirichlet(np.ones(4), size=50), rng.integers(0, 4, size=50)
    expected = brier_score_loss(truth, p, labels=range(4), scale_by_half=False)
    assert brier_score(p, truth) == pytest.approx(expected, rel=1e-12)


def test_the_confidence_of_a_vote_is_its_answers_probability() -> None:
    confidence, right = confidence_and_right([[0.6, 0.4], [0.5, 0.5]], [1, 0], [1, 1])
    assert (confidence.tolist(), right.tolist()) == ([0.4, 0.5], [True, False])
    likeliest, right = confidence_and_right([[0.6, 0.4], [0.5, 0.5]], [1, 0])
    assert (likeliest.tolist(), right.tolist()) == ([0.6, 0.5], [False, True])


def test_noise_alone_makes_the_error_of_calibrated_songs() -> None:
    rng = np.random.default_rng(0)
    errors, floors = [], []
    for seed in range(40):
        p = rng.dirichlet(np.ones(4) / 2, size=200)
        truth = np.array([rng.choice(4, p=row) for row in p])
        errors.append(expected_calibration_error(p, truth))
        floors.append(calibrated_error(p, seed=seed))
    assert np.mean(errors) > 0.05
    assert np.mean(floors) == pytest.approx(np.mean(errors), abs=3 * np.std(errors) / np.sqrt(40))
    overconfident = p**4 / (p**4).sum(axis=1, keepdims=True)
    assert expected_calibration_error(overconfident, truth) > 2 * calibrated_error(overconfident, seed=0)


@pytest.mark.parametrize("clusters", [["x", "x", "y", "z", "z", "z"], ["p", "q", "p", "q", "r", "s"]])
def test_bootstrap_agrees_with_every_possible_draw(clusters: list[str]) -> None:
    values = np.array([0.5, 2.0, -1.0, 3.0, 0.0, 7.0])

    def statistic(songs: np.ndarray) -> float:
        return float(np.mean(values[songs] ** 2))

    members = [[i for i, c in enumerate(clusters) if c == name] for name in sorted(set(clusters))]
    draws = [statistic(np.concatenate(draw).astype(int)) for draw in itertools.product(members, repeat=len(members))]
    whole = statistic(np.arange(6))
    for level in (0.5, 0.9):
        low, high = cluster_bootstrap(statistic, clusters, 8000, seed=1, level=level)
        # The ends are reflected quantiles, so each must sit where the exact probability mass is.
        for end, mass in ((2 * whole - high, (1 - level) / 2), (2 * whole - low, (1 + level) / 2)):
            assert np.mean(np.less(draws, end - 1e-9)) <= mass + 0.02
            assert np.mean(np.less_equal(draws, end + 1e-9)) >= mass - 0.02


def test_bootstrap_follows_its_seed_and_needs_a_song() -> None:
    values = np.arange(30) == 0

    def share(songs: np.ndarray) -> float:
        return float(values[songs].mean())

    assert cluster_bootstrap(share, range(30), 50, seed=1) == cluster_bootstrap(share, range(30), 50, seed=1)
    assert cluster_bootstrap(share, range(30), 50, seed=1) != cluster_bootstrap(share, range(30), 50, seed=2)
    with pytest.raises(ValueError, match="at least 1 song, found 0"):
        cluster_bootstrap(share, [], seed=0)


def test_the_interval_of_a_calibration_error_covers_it() -> None:
    rng = np.random.default_rng(0)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Overconfident songs: probabilities, truths and the chance that the answer is right."""
        confidence = rng.uniform(0.5, 1.0, n)
        chance = 0.5 + 0.6 * (confidence - 0.5)
        return np.stack([confidence, 1 - confidence], axis=1), (rng.random(n) > chance).astype(int), chance

    def interval(p: np.ndarray, truth: np.ndarray, seed: int) -> tuple[float, float]:
        return cluster_bootstrap(
            lambda songs: expected_calibration_error(p[songs], truth[songs]), range(len(p)), 200, seed=seed
        )

    p, _, chance = drawn(200_000)
    true_error = np.abs(p[:, 0] - chance).mean()
    n_covered = 0
    for seed in range(60):
        low, high = interval(*drawn(300)[:2], seed)
        n_covered += low <= true_error <= high
    assert n_covered >= 50


def test_the_corrected_error_is_nearer_the_truth_than_what_few_songs_show() -> None:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(30):
        confidence = rng.uniform(0.5, 1.0, 150)
        right = rng.random(150) < 0.5 + 0.6 * (confidence - 0.5)
        p = np.stack([confidence, 1 - confidence], axis=1)
        found.append(confidence_report(p, (~right).astype(int), seed=seed)["ece"])
    true_error = 0.1  # the mean of 0.4 (confidence - 0.5)
    shown, corrected = (np.mean([ece[name] for ece in found]) for name in ("value", "corrected"))
    assert shown > true_error + 0.02
    assert abs(corrected - true_error) < (shown - true_error) / 2


@settings(max_examples=20)
@given(answered())
def test_the_report_holds_plain_numbers_that_agree(songs: Songs) -> None:
    p, truth, answer = songs
    report = confidence_report(p, truth, answer, np.arange(len(p)) // 2)
    assert json.loads(json.dumps(report)) == report
    assert report["ece"]["value"] == expected_calibration_error(p, truth, answer)
    low, high = report["ece"]["interval"]
    assert 0 <= low <= report["ece"]["corrected"] <= high <= 1
    coverage, risk = zip(*report["risk_coverage"], strict=True)
    assert len(coverage) <= 20
    assert coverage == tuple(sorted(set(coverage)))
    assert (coverage[-1], risk[-1]) == (1.0, pytest.approx(np.mean(answer != truth)))


@pytest.mark.parametrize(
    ("p", "truth", "message"),
    [
        ([[0.5, 0.5]], [0, 1], r"for at least 1 song, found \(1, 2\) and \(2,\)"),
        (np.zeros((0, 2)), [], r"for at least 1 song, found \(0, 2\)"),
        ([0.5, 0.5], [0, 1], r"need probabilities \(song, genre\)"),
        ([[0.5, 0.5]], [2], r"must lie in 0\.\.1, found 2\.\.2"),
        ([[0.5, 0.5]], [-1], r"must lie in 0\.\.1, found -1\.\.-1"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(p: list[list[float]], truth: list[int], message: str) -> None:
    for figure in (expected_calibration_error, classwise_calibration_error, brier_score, confidence_report):
        with pytest.raises(ValueError, match=message):
            figure(p, truth)
