"""Augmentation stays inside its bounds, and switched off it is not there."""

import jax
import numpy as np
import pytest

from hgenre.training.augment import mixup, perturb_spectrum, spec_augment
from hgenre.training.config import AugmentConfig

OFF = AugmentConfig(0.0, 0.0, 0, 0, 0, 0, 0.0)
N_SLICES, N_MELS, N_FRAMES = 400, 12, 20
X = np.random.default_rng(0).normal(1, 1, (N_SLICES, N_MELS, N_FRAMES)).astype(np.float32)
X[X == 0] = 1
KEY = jax.random.key(3)


def test_switched_off_augmentation_changes_nothing() -> None:
    targets = np.eye(4, dtype=np.float32)[np.arange(N_SLICES) % 4]
    assert np.array_equal(perturb_spectrum(X, KEY, OFF), X)
    assert np.array_equal(spec_augment(X, KEY, OFF), X)
    x, same_targets = mixup(X, targets, KEY, OFF)
    assert x is X
    assert same_targets is targets


def test_gain_moves_a_whole_slice_within_its_bounds() -> None:
    moved = np.asarray(perturb_spectrum(X, KEY, AugmentConfig(gain_db=3.0, tilt_db=0.0))) - X
    gain = moved[:, 0, 0]
    np.testing.assert_allclose(moved, np.broadcast_to(gain[:, None, None], X.shape), atol=1e-5)
    assert np.abs(gain).max() <= 3 + 1e-5
    assert gain.min() < -2.5
    assert gain.max() > 2.5
    assert abs(gain.mean()) < 4 * 3 / np.sqrt(3 * N_SLICES)


def test_tilt_is_a_straight_line_over_bands_within_its_bounds() -> None:
    moved = np.asarray(perturb_spectrum(X, KEY, AugmentConfig(gain_db=0.0, tilt_db=6.0))) - X
    line = moved[:, :, 0]
    np.testing.assert_allclose(moved, np.broadcast_to(line[:, :, None], X.shape), atol=1e-5)
    np.testing.assert_allclose(np.diff(line, n=2, axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(line[:, 0], -line[:, -1], atol=1e-5)
    assert np.abs(line).max() <= 3 + 1e-5
    assert np.abs(line[:, -1] - line[:, 0]).max() > 5


def runs(masked: np.ndarray) -> list[int]:
    """Lengths of the stretches that are masked."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], masked.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()


@pytest.mark.parametrize(("n_masks", "widest"), [(1, 3), (2, 4), (1, 99)])
def test_masks_are_whole_bands_and_stretches_of_at_most_their_width(n_masks: int, widest: int) -> None:
    bands = np.asarray(spec_augment(X, KEY, AugmentConfig(0, 0, n_masks, widest, 0, 0)))
    times = np.asarray(spec_augment(X, KEY, AugmentConfig(0, 0, 0, 0, n_masks, widest)))
    for x, along, across in ((bands, 1, 2), (times, 2, 1)):
        masked = (x == 0).all(axis=across)
        assert np.array_equal(x == 0, np.broadcast_to(np.expand_dims(masked, across), X.shape))
        assert np.array_equal(x[x != 0], X[x != 0])
        lengths = [runs(row) for row in masked]
        assert max(map(len, lengths)) == n_masks
        totals = [sum(row) for row in lengths]
        assert min(totals) == 0
        assert max(totals) <= min(n_masks * widest, X.shape[along])
        if n_masks == 1:
            assert set(totals) == set(range(min(widest, X.shape[along]) + 1))
        assert masked[:, 0].any()
        assert masked[:, -1].any()


def test_mixup_mixes_slices_and_targets_in_one_proportion() -> None:
    targets = np.eye(4, dtype=np.float32)[np.arange(N_SLICES) % 4]
    marks = np.zeros((N_SLICES, N_SLICES, 1), np.float32)
    marks[np.arange(N_SLICES), np.arange(N_SLICES), 0] = 1  # slice i holds 1 at place i: the mix shows its parts
    x, mixed = (np.asarray(a) for a in mixup(marks, targets, KEY, AugmentConfig(mixup_alpha=0.3)))
    shares = x[:, :, 0]
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    assert shares.min() >= 0
    assert ((shares > 0).sum(axis=1) <= 2).all()
    own = shares[np.arange(N_SLICES), np.arange(N_SLICES)]
    assert own.min() >= 0.5 - 1e-6
    assert own.max() <= 1 + 1e-6
    assert (own < 0.95).mean() > 0.05
    np.testing.assert_allclose(mixed, shares @ targets, atol=1e-6)
    np.testing.assert_allclose(mixed.sum(axis=1), 1, atol=1e-6)


def test_augmentation_follows_its_key() -> None:
    config = AugmentConfig()
    for change in (perturb_spectrum, spec_augment):
        assert np.array_equal(change(X, KEY, config), change(X, KEY, config))
        assert not np.array_equal(change(X, KEY, config), change(X, jax.random.key(4), config))
