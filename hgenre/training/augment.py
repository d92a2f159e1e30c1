"""Augmentation of level-free slices, inside the compiled training step."""

from typing import Any

import jax
import jax.numpy as jnp

from hgenre.training.config import AugmentConfig

Array = Any


def perturb_spectrum(x: Array, key: Array, config: AugmentConfig) -> Array:
    """Slices (slice, mel, frame) in dB with a random gain and a random spectral tilt each."""
    n_slices, n_mels, _ = x.shape
    gain_key, tilt_key = jax.random.split(key)
    gain = jax.random.uniform(gain_key, (n_slices, 1, 1), minval=-1.0, maxval=1.0) * config.gain_db
    slope = jax.random.uniform(tilt_key, (n_slices, 1, 1), minval=-0.5, maxval=0.5) * config.tilt_db
    return x + gain + slope * jnp.linspace(-1.0, 1.0, n_mels)[:, None]


def spec_augment(x: Array, key: Array, config: AugmentConfig) -> Array:
    """Normalised slices (slice, mel, frame) with random bands and stretches of time set to 0, their mean."""
    keys = jax.random.split(key, 2)
    bands = _masks(keys[0], len(x), x.shape[1], config.n_freq_masks, config.freq_mask_mels)
    times = _masks(keys[1], len(x), x.shape[2], config.n_time_masks, config.time_mask_frames)
    return jnp.where(bands[:, :, None] | times[:, None, :], 0.0, x)


def mixup(x: Array, targets: Array, key: Array, config: AugmentConfig) -> tuple[Array, Array]:
    """Each slice mixed with another of the batch, its target (slice, child) in the same proportion."""
    if config.mixup_alpha == 0:
        return x, targets
    weight_key, order_key = jax.random.split(key)
    weight = jax.random.beta(weight_key, config.mixup_alpha, config.mixup_alpha, (len(x), 1))
    weight = jnp.maximum(weight, 1 - weight)
    other = jax.random.permutation(order_key, len(x))
    mixed = weight[:, :, None] * x + (1 - weight[:, :, None]) * x[other]
    return mixed, weight * targets + (1 - weight) * targets[other]


def _masks(key: Array, n_slices: int, length: int, n_masks: int, widest: int) -> Array:
    """(slice, length) bool: the union of ``n_masks`` intervals, each of a uniform width in [0, widest]."""
    width_key, start_key = jax.random.split(key)
    widths = jax.random.randint(width_key, (n_slices, n_masks, 1), 0, min(widest, length) + 1)
    starts = jnp.floor(jax.random.uniform(start_key, (n_slices, n_masks, 1)) * (length - widths + 1))
    position = jnp.arange(length)
    return ((position >= starts) & (position < starts + widths)).any(axis=1)
