"""Max-pooling whose gradient is fast on a CPU and finite everywhere."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from hgenre.errors import FeatureError

Array = Any


def check_halvings(kind: str, n_halvings: int, n_mels: int, n_frames: int) -> None:
    """Raises FeatureError where a net's halvings leave nothing of a slice."""
    needed = 2**n_halvings
    if min(n_mels, n_frames) < needed:
        raise FeatureError(
            f"{kind} halves a slice {n_halvings} times, found slices of {n_mels} mels x {n_frames} frames, "
            f"needed at least {needed} of both; give the net fewer widths or use longer slices"
        )


def max_pool_2x2(x: Array) -> Array:
    """Largest of each 2 x 2 window, windows not overlapping, an odd last row or column dropped.

    Value and gradient equal those of ``flax.linen.max_pool(x, (2, 2), strides=(2, 2))``: of equal values the first one
    gets the gradient. ``max_pool``'s own gradient is XLA's select-and-scatter, which is slow on CPUs.

    Args:
        x: (slice, mel, frame, channel).

    Returns:
        (slice, mel // 2, frame // 2, channel).
    """
    n_slices, n_mels, n_frames, n_channels = x.shape
    x = x[:, : n_mels // 2 * 2, : n_frames // 2 * 2, :]
    return max_of_windows(x.reshape(n_slices, n_mels // 2, 2, n_frames // 2, 2, n_channels), (2, 4))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_of_windows(windows: Array, axes: tuple[int, int]) -> Array:
    """Largest value over two axes of size 2 that span a window; of equal values the first one gets the gradient."""
    first, second, third, fourth = _values(windows, axes)
    return jnp.maximum(jnp.maximum(first, second), jnp.maximum(third, fourth))


def _values(windows: Array, axes: tuple[int, int]) -> list[Array]:
    rows = (lax.index_in_dim(windows, i, axes[0]) for i in range(2))
    return [lax.index_in_dim(row, j, axes[1]).squeeze(axes) for row in rows for j in range(2)]


def _with_winner(windows: Array, axes: tuple[int, int]) -> tuple[Array, Array]:
    # A reduction here: XLA keeps its result for the backward pass, where it would compute maxima once more.
    largest = windows.max(axes)
    first, second, third, _ = (value == largest for value in _values(windows, axes))
    winner = jnp.where(first, 0, jnp.where(second, 1, jnp.where(third, 2, 3))).astype(jnp.int16)
    # The remainder changes nothing. XLA's CPU compiler would work out the winner anew for each of the window's four
    # values; a remainder it holds to be expensive, and so computes it once.
    return largest, lax.rem(winner, jnp.int16(5))


def _to_winner(axes: tuple[int, int], winner: Array, gradient: Array) -> tuple[Array]:
    shape = [2 if axis in axes else 1 for axis in range(winner.ndim + 2)]
    place = jnp.arange(4, dtype=winner.dtype).reshape(shape)
    return (jnp.where(jnp.expand_dims(winner, axes) == place, jnp.expand_dims(gradient, axes), 0.0),)


max_of_windows.defvjp(_with_winner, _to_winner)


def max_of_pairs(x: Array, axis: int) -> Array:
    """Larger of each two neighbours along an axis, pairs not overlapping; an odd last one is dropped."""
    n_pairs = x.shape[axis] // 2
    pairs = lax.slice_in_dim(x, 0, 2 * n_pairs, axis=axis)
    pairs = pairs.reshape(*x.shape[:axis], n_pairs, 2, *x.shape[axis + 1 :])
    return jnp.maximum(lax.index_in_dim(pairs, 0, axis + 1, False), lax.index_in_dim(pairs, 1, axis + 1, False))


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
