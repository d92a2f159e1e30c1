"""Risk against coverage, by every order that equal confidences allow."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgenre.metrics.selective import aurc, curve_points, excess_aurc, risk_coverage
from tests.oracles import mean_risks

songs = st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=6).map(
    lambda pairs: (np.array([c for c, _ in pairs]) / 3, np.array([r for _, r in pairs]))
)
many_songs = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60).map(
    lambda pairs: (np.array([c for c, _ in pairs]), np.array([r for _, r in pairs]))
)


@given(songs)
def test_risks_are_the_mean_over_all_orders_of_equal_confidences(pair: tuple[np.ndarray, np.ndarray]) -> None:
    coverage, risk = risk_coverage(*pair)
    expected = mean_risks(*(values.tolist() for values in pair))
    assert risk.tolist() == pytest.approx(expected, abs=1e-12)
    assert coverage.tolist() == pytest.approx([n / len(risk) for n in range(1, len(risk) + 1)])
    assert aurc(*pair) == pytest.approx(np.mean(expected), abs=1e-12)


@given(songs)
def test_nothing_beats_the_perfect_order(pair: tuple[np.ndarray, np.ndarray]) -> None:
    _, right = pair
    least = min(aurc(np.random.default_rng(seed).permutation(len(right)), right) for seed in range(50))
    assert least >= aurc(right, right) - 1e-12
    assert excess_aurc(*pair) >= -1e-12
    assert excess_aurc(right, right) == 0.0


@given(many_songs)
def test_only_the_order_of_confidences_matters(pair: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, right = pair
    order = np.random.default_rng(len(right)).permutation(len(right))
    assert aurc(confidence[order], right[order]) == pytest.approx(aurc(confidence, right), abs=1e-12)
    assert aurc(np.unique(confidence, return_inverse=True)[1], right) == aurc(confidence, right)


@given(many_songs)
def test_a_confidence_that_says_nothing_has_the_error_rate_as_area(pair: tuple[np.ndarray, np.ndarray]) -> None:
    _, right = pair
    assert aurc(np.full(len(right), 0.7), right) == pytest.approx(np.mean(~right), abs=1e-12)


@given(many_songs, st.integers(1, 25))
def test_points_lie_on_the_curve_and_end_at_all_songs(pair: tuple[np.ndarray, np.ndarray], n_points: int) -> None:
    points = curve_points(*pair, n_points)
    assert set(points) <= set(zip(*(values.tolist() for values in risk_coverage(*pair)), strict=True))
    assert len(points) == len(set(points)) == min(n_points, len(pair[0]))
    assert points[-1] == (1.0, pytest.approx(np.mean(~pair[1]), abs=1e-12))


@pytest.mark.parametrize(
    ("confidence", "right", "message"),
    [
        ([], [], "for at least 1 song"),
        ([0.5], [True, False], r"found shapes \(1,\) and \(2,\) with 0 NaN"),
        ([0.5, float("nan")], [True, False], "with 1 NaN"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(confidence: list[float], right: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        aurc(confidence, right)
