"""Max-pooling with a gradient that XLA runs well on a CPU."""

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
