"""Temperatures against planted truths, a general optimiser and their definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from hgenre.tree.calibration import (
    TEMPERATURE_RANGE,
    Calibration,
    apply_calibration,
    cross_fit,
    fit_temperature,
    fit_temperatures,
    sharpen,
    slice_weights,
    temper,
)
from hgenre.tree.posterior import log_posterior
from hgenre.tree.vote import SongAnswers
from tests.oracles import calibrated_probabilities, negative_log_likelihood
from tests.small_trees import TREES


def _drawn(n_slices: int, n_children: int, temperature: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits and children drawn from ``softmax(logits / temperature)``."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 3, (n_slices, n_children))
    gumbel = random.gumbel(size=logits.shape)
    return logits, (logits / temperature + gumbel).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_planted_temperature_is_recovered(temperature: float) -> None:
    logits, child_idx = _drawn(20_000, 4, temperature, seed=0)
    assert fit_temperature(logits, child_idx) == pytest.approx(temperature, rel=0.05)


@given(st.integers(0, 10_000), st.floats(0.4, 5.0))
@settings(max_examples=15)
def test_no_other_temperature_is_likelier(seed: int, planted: float) -> None:
    logits, child_idx = _drawn(40, 3, planted, seed)
    weights = np.random.default_rng(seed).uniform(0.1, 2, 40)

    def loss(log_t: float) -> float:
        return negative_log_likelihood(np.exp(log_t), logits.tolist(), child_idx.tolist(), weights.tolist())

    found = fit_temperature(logits.astype(np.float32), child_idx, weights)
    best = minimize_scalar(loss, bounds=np.log(TEMPERATURE_RANGE), method="bounded", options={"xatol": 1e-5})
    assert np.log(found) == pytest.approx(best.x, abs=1e-3)
    assert loss(np.log(found)) <= best.fun + 1e-4


def test_weights_count_like_repeated_slices() -> None:
    logits, child_idx = _drawn(30, 3, 2.0, seed=4)
    counts = np.random.default_rng(4).integers(1, 4, 30)
    repeated = fit_temperature(np.repeat(logits, counts, axis=0), np.repeat(child_idx, counts))
    assert fit_temperature(logits, child_idx, counts.astype(float)) == pytest.approx(repeated, rel=1e-3)


def test_temperature_stays_in_its_range() -> None:
    logits = np.array([[5.0, 0.0], [4.0, 0.0]])
    low, high = TEMPERATURE_RANGE
    assert fit_temperature(logits, np.array([0, 0])) == pytest.approx(low, rel=1e-3)
    assert fit_temperature(logits, np.array([1, 1])) == pytest.approx(high, rel=1e-3)
    assert fit_temperature(1e30 * logits, np.array([1, 0])) == pytest.approx(high, rel=1e-3)


def test_nothing_to_fit_on_leaves_the_logits_alone() -> None:
    assert fit_temperature(np.zeros((0, 3)), np.zeros(0, int)) == 1.0


def test_tempering_is_the_softmax_in_float64() -> None:
    logits = np.array([[1e4, 0.0, -np.inf], [1.0, 2.0, 3.0]], np.float32)
    found = temper(logits, 2.0)
    assert found.dtype == np.float64
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1)
    np.testing.assert_allclose(found[0], [0, -5e3, -np.inf])
    assert found[1, 2] - found[1, 0] == pytest.approx(1.0)


def test_a_song_s_slices_share_its_weight() -> None:
    assert slice_weights(np.array([0, 0, 2, 2, 2, 2])).tolist() == [0.5, 0.5, 0.25, 0.25, 0.25, 0.25]


def _held_out(n_songs: int, seed: int, n_genres: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(slice, genre) log-posterior, (slice,) songs, (song,) truths: every third song has no slice, others 1 to 4.

    A song's slices share most of their noise, and they shout: they say twice what they know.
    """
    random = np.random.default_rng(seed)
    true_idx = random.integers(0, n_genres, n_songs)
    song_idx = np.repeat(np.arange(n_songs), np.where(np.arange(n_songs) % 3 == 2, 0, random.integers(1, 5, n_songs)))
    logits = 2 * random.normal(0, 1.5, (n_songs, n_genres))[song_idx] + random.normal(0, 1.4, (len(song_idx), n_genres))
    logits[np.arange(len(song_idx)), true_idx[song_idx]] += 3
    return temper(logits, 1.0), song_idx, true_idx


def _log_loss(answers: SongAnswers, true_idx: np.ndarray) -> float:
    heard = answers.genre_idx >= 0
    return float(-np.log(answers.probabilities[heard, true_idx[heard]]).mean())


@pytest.mark.parametrize("name", TREES)
def test_a_song_is_calibrated_as_defined(name: str) -> None:
    tree, random = TREES[name], np.random.default_rng(1)
    song_idx = np.array([0, 0, 0, 2, 3, 3])
    logits = {node.name: random.normal(0, 3, (6, len(node.children))) for node in tree.net_nodes}
    temperatures = {node.name: 0.5 + 0.3 * i for i, node in enumerate(tree.net_nodes)}
    logp = log_posterior(tree, {name: temper(values, temperatures[name]) for name, values in logits.items()})
    answers = apply_calibration(logp, song_idx, 4, Calibration(1.7, 0.6))
    for song in (0, 2, 3):
        rows = [{n: values[row].tolist() for n, values in logits.items()} for row in np.flatnonzero(song_idx == song)]
        wanted = calibrated_probabilities(tree, rows, temperatures, 1.7, 0.6)
        np.testing.assert_allclose(answers.probabilities[song], wanted, atol=1e-12)
    assert answers.genre_idx[1] == -1
    assert not answers.probabilities[1].any()


def test_without_calibration_probabilities_are_the_mean_and_the_vote_never_moves() -> None:
    logp, song_idx, _ = _held_out(60, seed=2)
    plain = apply_calibration(logp, song_idx, 60, Calibration())
    tempered = apply_calibration(logp, song_idx, 60, Calibration(1.0, 0.4))
    assert plain.genre_idx.tolist() == tempered.genre_idx.tolist()
    np.testing.assert_allclose(plain.probabilities[0], np.exp(logp[song_idx == 0]).mean(axis=0))
    np.testing.assert_allclose(tempered.probabilities[0], sharpen(plain.probabilities[0], 0.4))


def test_a_probability_of_nothing_is_tempered_to_nearly_nothing() -> None:
    assert sharpen(np.array([1.0, 0.0]), 8.0) == pytest.approx([1, 1e-4], abs=1e-4)
    assert sharpen(np.array([0.5, 0.5, 0.0], np.float32), 0.25).sum() == pytest.approx(1)


@pytest.mark.parametrize("seed", [3, 13, 23])
def test_each_temperature_is_the_likeliest_given_the_one_before(seed: int) -> None:
    logp, song_idx, true_idx = _held_out(60, seed)
    path, song = fit_temperatures(logp, song_idx, true_idx)
    weights = (1 / np.bincount(song_idx)[song_idx]).tolist()
    assert_likeliest(path, logp, true_idx[song_idx].tolist(), weights)
    mean = apply_calibration(logp, song_idx, 60, Calibration(path))
    heard = mean.genre_idx >= 0
    log_mean = np.log(mean.probabilities[heard])
    assert_likeliest(song, log_mean, true_idx[heard].tolist(), [1.0] * int(heard.sum()))


def assert_likeliest(found: float, logits: np.ndarray, child_idx: list[int], weights: list[float]) -> None:
    def loss(log_t: float) -> float:
        return negative_log_likelihood(np.exp(log_t), logits.tolist(), child_idx, weights)

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURE_RANGE), method="bounded", options={"xatol": 1e-5})
    assert np.log(found) == pytest.approx(best.x, abs=2e-3)


def test_songs_weigh_alike_however_many_slices_they_have() -> None:
    logp, song_idx, true_idx = _held_out(30, seed=4)
    copies = np.where(song_idx % 2, 5, 1)
    more = fit_temperatures(np.repeat(logp, copies, axis=0), np.repeat(song_idx, copies), true_idx)
    assert more == pytest.approx(fit_temperatures(logp, song_idx, true_idx), rel=1e-3)


def test_calibration_makes_unseen_songs_likelier() -> None:
    logp, song_idx, true_idx = _held_out(600, seed=5)
    raw = apply_calibration(logp, song_idx, 600, Calibration())
    crossed = cross_fit(logp, song_idx, true_idx, np.arange(600) % 5)
    assert _log_loss(crossed, true_idx) < _log_loss(raw, true_idx) - 0.05
    np.testing.assert_allclose(crossed.probabilities[crossed.genre_idx >= 0].sum(axis=1), 1)


def test_a_song_s_own_part_has_no_say() -> None:
    logp, song_idx, true_idx = _held_out(60, seed=7)
    parts = np.array(["a", "b", "c"])[np.arange(60) // 20]
    before = cross_fit(logp, song_idx, true_idx, parts)
    lies = np.where(parts == "b", (true_idx + 1) % 6, true_idx)
    after = cross_fit(logp, song_idx, lies, parts)
    assert np.array_equal(before.probabilities[parts == "b"], after.probabilities[parts == "b"])
    assert not np.allclose(before.probabilities[parts == "a"], after.probabilities[parts == "a"], atol=1e-3)
    keep = (parts != "b")[song_idx]
    learned = Calibration(*fit_temperatures(logp[keep], song_idx[keep], true_idx))
    whole = apply_calibration(logp, song_idx, 60, learned)
    np.testing.assert_allclose(whole.probabilities[parts == "b"], before.probabilities[parts == "b"])


def test_a_single_part_keeps_temperatures_of_1() -> None:
    logp, song_idx, true_idx = _held_out(12, seed=8)
    crossed = cross_fit(logp, song_idx, true_idx, np.zeros(12))
    raw = apply_calibration(logp, song_idx, 12, Calibration())
    np.testing.assert_array_equal(crossed.genre_idx, raw.genre_idx)
    np.testing.assert_allclose(crossed.probabilities, raw.probabilities)


def test_no_slice_at_all_leaves_every_temperature_at_1() -> None:
    assert fit_temperatures(np.zeros((0, 6)), np.zeros(0, int), np.array([0, 1])) == (1.0, 1.0)
