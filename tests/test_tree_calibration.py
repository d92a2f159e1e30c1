"""The temperature of a node against planted truths and a general optimiser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from hgenre.tree.calibration import TEMPERATURE_RANGE, fit_temperature
from tests.oracles import negative_log_likelihood


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
