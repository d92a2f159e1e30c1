"""Probes of all subsets at once, against scikit-learn's one after the other."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from hgenre.errors import HgenreError
from hgenre.grouping import probes
from hgenre.grouping.probes import GRADIENT_TOLERANCE, L2_CANDIDATES, Probes, choose_l2, fit_probes
from tests.oracles import probe_gradient

N_GENRES = 5
SUBSETS = np.arange(2**N_GENRES)


def songs(seed: int, n: int = 60, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Features (song, feature) on unlike scales and genres (song,), every genre among them."""
    random = np.random.default_rng(seed)
    centres = apart * np.random.default_rng(99).normal(size=(N_GENRES, 8))
    genre_idx = random.permutation(np.arange(n) % N_GENRES)
    x = centres[genre_idx] + random.normal(size=(n, 8))
    return (x * np.logspace(-2, 2, 8) + 5).astype(np.float32), genre_idx


def genres_of(subset: int) -> list[int]:
    return [genre for genre in range(N_GENRES) if subset >> genre & 1]


def logistic_regression(x: np.ndarray, genre_idx: np.ndarray, x_new: np.ndarray, subset: int, l2: float) -> np.ndarray:
    """Probabilities (song, genre) of new songs, by scikit-learn."""
    mean, std = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64)
    genres, mine = genres_of(subset), np.isin(genre_idx, genres_of(subset))
    penalty = l2 * mine.sum() / (2 if len(genres) == 2 else 1)
    fitted = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(
        ((x - mean) / std)[mine], genre_idx[mine]
    )
    p = np.zeros((len(x_new), N_GENRES))
    p[:, genres] = fitted.predict_proba((x_new - mean) / std)
    return p


@pytest.mark.parametrize("l2", [0.3, 0.01, 0.001])
def test_probes_are_those_of_scikit_learn(l2: float) -> None:
    (x, genre_idx), (x_new, _) = songs(0), songs(1)
    fitted = fit_probes(x, genre_idx, SUBSETS, l2, N_GENRES)
    for subset in (0b00011, 0b10100, 0b01101, 0b11110, 0b11111):
        expected = logistic_regression(x, genre_idx, x_new, subset, l2)
        np.testing.assert_allclose(fitted.probabilities(x_new, subset), expected, atol=1e-3)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), l2=st.sampled_from((1e-4, *L2_CANDIDATES)), apart=st.sampled_from([0.0, 1.0, 20.0]))
def test_every_probe_ends_where_its_loss_is_level(seed: int, l2: float, apart: float) -> None:
    # The program's own gradient is rounded to float32.
    assert largest_gradient(*songs(seed, apart=apart), l2) <= 1.1 * GRADIENT_TOLERANCE


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), l2=st.sampled_from([1e-4, 1e-2]))
def test_features_far_out_do_not_keep_a_probe_from_its_end(seed: int, l2: float) -> None:
    # Logits of such songs are so large that the curvature ahead tells nothing: Newton's method alone runs away.
    x = np.random.default_rng(seed).standard_t(0.5, (60, 8)).clip(-1e6, 1e6)
    # Their logits, in the tens and hundreds, are rounded to 1e-5.
    assert largest_gradient(x, songs(seed)[1], l2) <= 1e-5


def largest_gradient(x: np.ndarray, genre_idx: np.ndarray, l2: float) -> float:
    """Over the probes of all subsets, in float64."""
    fitted = fit_probes(x, genre_idx, SUBSETS, l2, N_GENRES)
    assert np.isfinite(fitted.weights).all()
    assert np.isfinite(fitted.bias).all()
    z = (np.asarray(x, np.float32) - fitted.mean) / fitted.std
    return max(
        probe_gradient(weights, bias, z, genre_idx, genres_of(subset), l2)
        for subset, weights, bias in zip(SUBSETS, fitted.weights, fitted.bias, strict=True)
    )


def test_all_probabilities_are_those_of_each_probe() -> None:
    (x, genre_idx), (x_new, _) = songs(0), songs(1, n=35)
    fitted = fit_probes(x, genre_idx, SUBSETS, 0.01, N_GENRES)
    every = fitted.all_probabilities(x_new)
    assert (every.dtype, every.shape) == (np.float32, (32, 35, N_GENRES))
    assert (every[0] == 0).all()
    for subset in SUBSETS[1:]:
        p = every[subset]
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
        outside = [genre for genre in range(N_GENRES) if not subset >> genre & 1]
        assert (p[:, outside] == 0).all()
        np.testing.assert_allclose(p, fitted.probabilities(x_new, subset), atol=1e-6)
    for genre in range(N_GENRES):
        assert (every[1 << genre, :, genre] == 1).all()


def test_of_songs_that_are_all_alike_no_genre_is_likelier() -> None:
    fitted = fit_probes(np.full((6, 2), 0.1), [0, 1, 2, 0, 1, 2], [0b111, 0b110], 0.01, 3)
    expected = [[[1 / 3] * 3] * 2, [[0, 1 / 2, 1 / 2]] * 2]
    np.testing.assert_allclose(fitted.all_probabilities([[0.1, 0.1], [0.7, -0.3]]), expected, rtol=1e-6)


@settings(max_examples=10)
@given(seed=st.integers(0, 1000), order=st.permutations(range(N_GENRES)))
def test_the_order_of_genres_and_subsets_does_not_matter(seed: int, order: list[int]) -> None:
    (x, genre_idx), (x_new, _) = songs(seed), songs(seed + 1)
    place = np.argsort(order)
    moved = [sum(1 << int(place[genre]) for genre in genres_of(subset)) for subset in SUBSETS]
    fitted = fit_probes(x, genre_idx, SUBSETS, 0.01, N_GENRES)
    other = fit_probes(x, place[genre_idx], moved, 0.01, N_GENRES)
    np.testing.assert_allclose(other.weights, fitted.weights[:, :, order], atol=1e-3)
    np.testing.assert_allclose(other.all_probabilities(x_new), fitted.all_probabilities(x_new)[:, :, order], atol=1e-3)


def test_songs_outside_a_subset_do_not_matter_for_it() -> None:
    (x, genre_idx), (x_new, _) = songs(0), songs(1)
    outside = np.isin(genre_idx, [2, 4])
    mixed = genre_idx.copy()
    mixed[outside] = genre_idx[outside][::-1]
    fitted, other = (fit_probes(x, truth, SUBSETS, 0.01, N_GENRES) for truth in (genre_idx, mixed))
    for subset in SUBSETS[1:]:
        apart = np.abs(fitted.probabilities(x_new, subset) - other.probabilities(x_new, subset)).max()
        assert apart == 0 if not subset & 0b10100 else subset.bit_count() == 1 or apart > 0.01


def test_a_probe_does_not_depend_on_the_probes_beside_it() -> None:
    (x, genre_idx), (x_new, _) = songs(0), songs(1)
    fitted = fit_probes(x, genre_idx, SUBSETS, 0.01, N_GENRES)
    alone = fit_probes(x, genre_idx, [0b10110], 0.01, N_GENRES)
    np.testing.assert_allclose(alone.all_probabilities(x_new)[0], fitted.all_probabilities(x_new)[0b10110], atol=1e-3)


def test_scale_and_place_of_a_feature_do_not_matter() -> None:
    (x, genre_idx), (x_new, _) = songs(0), songs(1)
    scale, place = np.logspace(2, -2, 8), np.linspace(-3, 3, 8)
    fitted = fit_probes(x, genre_idx, SUBSETS, 0.01, N_GENRES)
    other = fit_probes(x * scale + place, genre_idx, SUBSETS, 0.01, N_GENRES)
    np.testing.assert_allclose(
        other.all_probabilities(x_new * scale + place), fitted.all_probabilities(x_new), atol=1e-3
    )


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6, 1e-44])
def test_a_feature_that_is_constant_but_for_rounding_is_left_out(constant: float) -> None:
    (x, genre_idx), (x_new, _) = songs(0), songs(1)
    x[:, 3] = constant
    x[::2, 3] = np.nextafter(x[::2, 3], np.float32(np.inf))
    fitted = fit_probes(x, genre_idx, SUBSETS, 0.01, N_GENRES)
    assert (fitted.weights[:, 3] == 0).all()
    without = fit_probes(np.delete(x, 3, axis=1), genre_idx, SUBSETS, 0.01, N_GENRES)
    expected = without.all_probabilities(np.delete(x_new, 3, axis=1))
    np.testing.assert_allclose(fitted.all_probabilities(x_new), expected, atol=1e-3)


def test_the_penalty_is_that_of_the_smallest_log_loss() -> None:
    (x, genre_idx), (x_new, truth) = songs(0, apart=0.5), songs(1, apart=0.5)
    losses = [log_loss(truth, logistic_regression(x, genre_idx, x_new, 2**N_GENRES - 1, l2)) for l2 in L2_CANDIDATES]
    best = int(np.argmin(losses))
    assert 0 < best < len(losses) - 1
    assert choose_l2(x, genre_idx, x_new, truth) == L2_CANDIDATES[best]


def test_of_equally_good_penalties_the_largest_is_chosen() -> None:
    x, genre_idx = np.ones((10, 2)), np.arange(10) % N_GENRES
    assert choose_l2(x, genre_idx, x, genre_idx, (0.1, 1.0, 0.01)) == 1.0


def fit(**changed: Any) -> Probes:
    x, genre_idx = songs(0)
    return fit_probes(**{"x": x, "genre_idx": genre_idx, "subsets": SUBSETS, "l2": 0.01, "n_genres": 5, **changed})


def test_what_cannot_be_fitted_says_why() -> None:
    x, genre_idx = songs(0)
    x[[3, 8], [0, 2]] = np.nan, np.inf
    with pytest.raises(HgenreError, match="2 of 60 songs have a feature that is NaN or infinite; did the training"):
        fit(x=x)
    with pytest.raises(
        HgenreError, match=r"the penalty of a probe is 0\.0; it must be a number above 0, such as 0\.01"
    ):
        fit(l2=0.0)
    with pytest.raises(HgenreError, match="no training song has the genre of index 2, which a probe should tell from"):
        fit(genre_idx=np.where(genre_idx == 2, 1, genre_idx))
    fit(genre_idx=np.where(genre_idx == 2, 1, genre_idx), subsets=[0b11011])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"x": np.zeros(60)}, r"features must be \(song, feature\), at least one of each, found shape \(60,\)"),
        ({"x": np.zeros((0, 4))}, r"features must be \(song, feature\), at least one of each, found shape \(0, 4\)"),
        ({"genre_idx": [0, 1]}, r"60 songs need a genre index each, in 0\.\.4; found shape \(2,\)"),
        ({"genre_idx": np.arange(60)}, r"60 songs need a genre index each, in 0\.\.4"),
        ({"subsets": [32]}, r"subsets of 5 genres are a row of bitmasks in 0\.\.31"),
        ({"subsets": 3}, "subsets of 5 genres are a row of bitmasks"),
        ({"subsets": []}, "subsets of 5 genres are a row of bitmasks"),
        ({"n_genres": 32}, "a bitmask holds 1 to 31 genres, found 32"),
    ],
)
def test_what_does_not_fit_together_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(**changed)


def test_what_cannot_be_answered_says_why() -> None:
    x, _ = songs(0)
    fitted = fit(subsets=[0, 0b110])
    with pytest.raises(ValueError, match="the probes read 8 features a song, found 7"):
        fitted.all_probabilities(x[:, :7])
    with pytest.raises(HgenreError, match="1 of 1 songs have a feature that is NaN"):
        fitted.all_probabilities(np.full((1, 8), np.nan))
    for subset in (0, 0b11):
        with pytest.raises(ValueError, match=f"no probe of subset {subset:#b} gives probabilities; fit one"):
            fitted.probabilities(x, subset)
    with pytest.raises(ValueError, match="a penalty is chosen from candidates by songs, found 0 and 60"):
        choose_l2(*songs(0), *songs(1), candidates=())


def test_a_fit_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "MAX_STEPS", 3)
    x, genre_idx = songs(0)
    # A shape that no other test fits: the bound is compiled into the program.
    with pytest.raises(
        HgenreError,
        match=r"26 of 32 probes did not converge in 3 steps; the largest gradient is .*e-\d\d, of subset 0b1\d*, and "
        r"should be at most 1e-06: take a larger l2 than 0\.01",
    ):
        fit_probes(x[:, :3], genre_idx, SUBSETS, 0.01, N_GENRES)
