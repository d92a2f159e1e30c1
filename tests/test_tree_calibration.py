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
    fit_calibration,
    fit_temperature,
    sharpen,
    temper,
)
from hgenre.tree.evidence import gather_evidence
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec
from hgenre.tree.vote import SongAnswers
from tests.oracles import calibrated_probabilities, negative_log_likelihood
from tests.small_trees import FLAT, PLAIN, TREES


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


def _held_out(tree: TreeSpec, n_songs: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Raw logits of a net node, (slice,) songs and (song,) truths: every third song has no slice, others 1 to 4.

    A song's slices share most of their noise, and the nets shout: they say twice what they know.
    """
    random = np.random.default_rng(seed)
    true_idx = random.integers(0, len(tree.labels), n_songs)
    song_idx = np.repeat(np.arange(n_songs), np.where(np.arange(n_songs) % 3 == 2, 0, random.integers(1, 5, n_songs)))
    logits = {}
    for node in tree.net_nodes:
        own = random.normal(0, 1.5, (n_songs, len(node.children)))[song_idx]
        logits[node.name] = 2 * (own + random.normal(0, 0.7, (len(song_idx), len(node.children))))
        for row, song in enumerate(song_idx):
            if (genre := tree.labels.genres[true_idx[song]]) in node.genres:
                logits[node.name][row, node.home_child_idx(genre)] += 3
    return {name: values.astype(np.float32) for name, values in logits.items()}, song_idx, true_idx


def _log_loss(answers: SongAnswers, true_idx: np.ndarray) -> float:
    heard = answers.genre_idx >= 0
    return float(-np.log(answers.probabilities[heard, true_idx[heard]]).mean())


@pytest.mark.parametrize("name", TREES)
def test_a_song_is_calibrated_as_defined(name: str) -> None:
    tree = TREES[name]
    logits, song_idx, _ = _held_out(tree, 9, seed=1)
    temperatures = {node.name: 0.5 + 0.3 * i for i, node in enumerate(tree.net_nodes)}
    answers = apply_calibration(tree, logits, song_idx, 9, temperatures, Calibration(1.7, 0.6))
    for song in range(9):
        rows = [{n: values[row].tolist() for n, values in logits.items()} for row in np.flatnonzero(song_idx == song)]
        if rows:
            wanted = calibrated_probabilities(tree, rows, temperatures, 1.7, 0.6)
            np.testing.assert_allclose(answers.probabilities[song], wanted, atol=1e-12)
        else:
            assert answers.genre_idx[song] == -1
            assert not answers.probabilities[song].any()


def test_without_calibration_probabilities_are_the_mean_and_the_vote_never_moves() -> None:
    logits, song_idx, _ = _held_out(PLAIN, 60, seed=2)
    nodes = dict.fromkeys(logits, 1.0)
    plain = apply_calibration(PLAIN, logits, song_idx, 60, nodes)
    tempered = apply_calibration(PLAIN, logits, song_idx, 60, nodes, Calibration(1.0, 0.4))
    assert plain.genre_idx.tolist() == tempered.genre_idx.tolist()
    logp = log_posterior(PLAIN, {n: temper(v.astype(float), 1.0) for n, v in logits.items()})
    np.testing.assert_allclose(plain.probabilities[0], np.exp(logp[song_idx == 0]).mean(axis=0))
    np.testing.assert_allclose(tempered.probabilities[0], sharpen(plain.probabilities[0], 0.4))


def test_a_probability_of_nothing_is_tempered_to_nearly_nothing() -> None:
    assert sharpen(np.array([1.0, 0.0]), 8.0) == pytest.approx([1, 1e-4], abs=1e-4)
    assert sharpen(np.array([0.5, 0.5, 0.0], np.float32), 0.25).sum() == pytest.approx(1)


@pytest.mark.parametrize("name", TREES)
def test_each_temperature_is_the_likeliest_given_those_before(name: str) -> None:
    tree = TREES[name]
    logits, song_idx, true_idx = _held_out(tree, 60, seed=3)
    nodes, fitted = fit_calibration(tree, logits, song_idx, 60, true_idx)
    weights = (1 / np.bincount(song_idx)[song_idx]).tolist()
    truths = true_idx[song_idx]
    for node in tree.net_nodes:
        inside = [tree.labels.genres[t] in node.genres for t in truths]
        children = [node.home_child_idx(tree.labels.genres[t]) for t in truths[inside]]
        inside_weights = np.array(weights)[inside].tolist()
        assert_likeliest(nodes[node.name], logits[node.name][inside], children, inside_weights)
    logp = log_posterior(tree, {n: temper(v.astype(float), nodes[n]) for n, v in logits.items()})
    assert_likeliest(fitted.path_temperature, logp, truths.tolist(), weights)
    mean = apply_calibration(tree, logits, song_idx, 60, nodes, Calibration(fitted.path_temperature))
    heard = mean.genre_idx >= 0
    log_mean = np.log(mean.probabilities[heard])
    assert_likeliest(fitted.song_temperature, log_mean, true_idx[heard].tolist(), [1.0] * int(heard.sum()))


def assert_likeliest(found: float, logits: np.ndarray, child_idx: list[int], weights: list[float]) -> None:
    def loss(log_t: float) -> float:
        return negative_log_likelihood(np.exp(log_t), logits.tolist(), child_idx, weights)

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURE_RANGE), method="bounded", options={"xatol": 1e-5})
    assert np.log(found) == pytest.approx(best.x, abs=2e-3)


def test_songs_weigh_alike_however_many_slices_they_have() -> None:
    logits, song_idx, true_idx = _held_out(PLAIN, 30, seed=4)
    copies = np.where(song_idx % 2, 5, 1)
    more = {name: np.repeat(values, copies, axis=0) for name, values in logits.items()}
    nodes, fitted = fit_calibration(PLAIN, logits, song_idx, 30, true_idx)
    more_nodes, more_fitted = fit_calibration(PLAIN, more, np.repeat(song_idx, copies), 30, true_idx)
    assert more_nodes == pytest.approx(nodes, rel=1e-3)
    assert more_fitted.path_temperature == pytest.approx(fitted.path_temperature, rel=1e-3)
    assert more_fitted.song_temperature == pytest.approx(fitted.song_temperature, rel=1e-3)


def test_calibration_makes_unseen_songs_likelier() -> None:
    logits, song_idx, true_idx = _held_out(PLAIN, 600, seed=5)
    raw = apply_calibration(PLAIN, logits, song_idx, 600, dict.fromkeys(logits, 1.0))
    crossed = cross_fit(PLAIN, logits, song_idx, 600, true_idx, np.arange(600) % 5)
    assert _log_loss(crossed, true_idx) < _log_loss(raw, true_idx) - 0.05
    np.testing.assert_allclose(crossed.probabilities[crossed.genre_idx >= 0].sum(axis=1), 1)


def test_a_flat_tree_has_nothing_left_for_the_path() -> None:
    logits, song_idx, true_idx = _held_out(FLAT, 90, seed=6)
    _, fitted = fit_calibration(FLAT, logits, song_idx, 90, true_idx)
    assert fitted.path_temperature == pytest.approx(1, abs=1e-3)


def test_a_song_s_own_fold_has_no_say() -> None:
    logits, song_idx, true_idx = _held_out(PLAIN, 60, seed=7)
    folds = np.array(["a", "b", "c"])[np.arange(60) // 20]
    before = cross_fit(PLAIN, logits, song_idx, 60, true_idx, folds)
    lies = np.where(folds == "b", (true_idx + 1) % 6, true_idx)
    after = cross_fit(PLAIN, logits, song_idx, 60, lies, folds)
    assert np.array_equal(before.probabilities[folds == "b"], after.probabilities[folds == "b"])
    assert not np.allclose(before.probabilities[folds == "a"], after.probabilities[folds == "a"], atol=1e-3)
    keep = (folds != "b")[song_idx]
    others = {name: values[keep] for name, values in logits.items()}
    nodes, fitted = fit_calibration(PLAIN, others, song_idx[keep], 60, true_idx)
    whole = apply_calibration(PLAIN, logits, song_idx, 60, nodes, fitted)
    np.testing.assert_allclose(whole.probabilities[folds == "b"], before.probabilities[folds == "b"])


def test_evidence_is_cross_fitted_and_names_its_source() -> None:
    logits, song_idx, true_idx = _held_out(PLAIN, 60, seed=8)
    folds = np.arange(60) // 20
    _, fitted = fit_calibration(
        PLAIN, logits, song_idx, 60, true_idx, fold_of_song=folds, aggregation="mean_probability", source="out of fold"
    )
    crossed = cross_fit(PLAIN, logits, song_idx, 60, true_idx, folds, aggregation="mean_probability")
    assert fitted.source == "out of fold"
    assert fitted.evidence == gather_evidence(PLAIN, crossed, true_idx)
    assert len(fitted.evidence) == 40
    by_turns = fit_calibration(PLAIN, logits, song_idx, 60, true_idx)[1].evidence
    assert by_turns == gather_evidence(
        PLAIN, cross_fit(PLAIN, logits, song_idx, 60, true_idx, np.arange(60) % 5), true_idx
    )


def test_no_slice_at_all_leaves_every_temperature_at_1() -> None:
    nothing = {node.name: np.zeros((0, len(node.children)), np.float32) for node in PLAIN.net_nodes}
    nodes, fitted = fit_calibration(PLAIN, nothing, np.zeros(0, int), 2, np.array([0, 1]))
    assert set(nodes.values()) == {1.0}
    assert fitted == Calibration()
