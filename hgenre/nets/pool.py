"""Max-pooling by elementwise maxima, whose gradient is fast on a CPU and finite everywhere."""

from typing import Any

import jax.numpy as jnp

Array = Any


def max_pool_2x2(x: Array) -> Array:
    """Largest of each 2 x 2 window, windows not overlapping, an odd last row or column dropped.

    The value equals ``flax.linen.max_pool(x, (2, 2), strides=(2, 2))``. The gradient goes through three elementwise
    maxima instead of XLA's select-and-scatter, which is slow on CPUs; at ties it is shared between the equal values
    where ``max_pool`` gives all of it to the first.

    Args:
        x: (slice, mel, frame, channel).

    Returns:
        (slice, mel // 2, frame // 2, channel).
    """
    n_slices, n_mels, n_frames, n_channels = x.shape
    x = x[:, : n_mels // 2 * 2, : n_frames // 2 * 2, :]
    windows = x.reshape(n_slices, n_mels // 2, 2, n_frames // 2, 2, n_channels)
    over_mel = jnp.maximum(windows[:, :, 0], windows[:, :, 1])
    return jnp.maximum(over_mel[:, :, :, 0], over_mel[:, :, :, 1])


def global_max_pool(x: Array) -> Array:
    """Largest value of each channel: (slice, mel, frame, channel) -> (slice, channel), by halving.

    The gradient of ``x.max(axis=(1, 2))`` looks for the values that equal the maximum and divides by their number. A
    compiler may compute ``x`` once more for that, rounded otherwise, and then finds none: 0 / 0.
    """
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    while (n_places := x.shape[1]) > 1:
        half = n_places // 2
        x = jnp.concatenate([jnp.maximum(x[:, :half], x[:, half : 2 * half]), x[:, 2 * half :]], axis=1)
    return x[:, 0]
