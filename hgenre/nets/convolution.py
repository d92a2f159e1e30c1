"""Convolutions in the forms that XLA computes fastest, with the statistics that a BatchNorm needs of them.

Each form equals ``flax.linen.Conv`` and ``flax.linen.BatchNorm`` to float rounding; tests hold them side by side.
"""

from collections.abc import Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from hgenre.nets.pool import max_of_windows, max_pool_2x2

Array = Any

AXES = ("NHWC", "HWIO", "NHWC")
"""(slice, mel, frame, channel) * (height, width, channel, output channel), in XLA's letters."""

CHUNK_SLICES = 16
"""Slices whose part of a kernel's gradient a CPU computes at once: 8 a core of two stay in its cache (measured: 1.4 to
2 times the speed of 64 at once)."""


def conv(x: Array, kernel: Array, strides: Sequence[int], padding: Any, **_: Any) -> Array:
    """``lax.conv_general_dilated`` without dilation, whose gradient a CPU computes chunk by chunk.

    To be given to ``flax.linen.Conv`` in place of its own.

    Args:
        x: (slice, mel, frame, channel).
        kernel: (height, width, channel, output channel).
    """
    pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, tuple(strides), tuple(map(tuple, pads)))


def conv_by_product(x: Array, kernel: Array, strides: Sequence[int], padding: Any, **_: Any) -> Array:
    """``lax.conv_general_dilated`` without dilation as one product of patches, for patches of few values.

    XLA's convolution of one channel, and the gradient of its strided ones, run at a tenth of that product's speed on
    a CPU. To be given to ``flax.linen.Conv`` in place of its own.

    Args and result as ``conv``'s.
    """
    height, width, n_channels, n_outputs = kernel.shape
    pads = lax.padtype_to_pads(x.shape[1:3], (height, width), strides, padding)
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    rows, columns = (
        (n - size) // by + 1 for n, size, by in zip(padded.shape[1:3], kernel.shape, strides, strict=False)
    )
    down, across = strides
    patches = jnp.concatenate(
        [
            padded[:, i : i + down * (rows - 1) + 1 : down, j : j + across * (columns - 1) + 1 : across]
            for i in range(height)
            for j in range(width)
        ],
        axis=-1,
    )
    y = patches.reshape(-1, height * width * n_channels) @ kernel.reshape(-1, n_outputs)
    return y.reshape(len(x), rows, columns, n_outputs)


def conv_pool(x: Array, kernel: Array) -> Array:
    """Convolution without bias, max-pooled by 2 x 2; what the pool would drop is not computed.

    Args and result as the first of ``conv_pool_moments``.
    """
    if x.shape[-1] == 1:
        patches, kernels = _squares(x[..., 0], kernel[:, :, 0])
        return _pool_of_product(patches, kernels, x.shape)
    _, n_mels, n_frames, _ = x.shape
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), ((1, 1 - n_mels % 2), (1, 1 - n_frames % 2)), dimension_numbers=AXES
    )
    return max_pool_2x2(y)


def conv_pool_moments(x: Array, kernel: Array) -> tuple[Array, Array, Array]:
    """Convolution without bias, max-pooled by 2 x 2, and the mean and variance of what was pooled.

    Args:
        x: (slice, mel, frame, channel).
        kernel: (3, 3, channel, width).

    Returns:
        (slice, mel // 2, frame // 2, width), and two of (width,) over all slices, mels and frames before pooling.
    """
    if x.shape[-1] == 1:
        patches, kernels = _squares(x[..., 0], kernel[:, :, 0])
        mean, mean_of_squares = _moments(patches, kernels, *x.shape[1:3])
        return _pool_of_product(patches, kernels, x.shape), mean, _variance(mean, mean_of_squares)
    y = conv(x, kernel, (1, 1), "SAME")
    mean = y.mean((0, 1, 2))
    return max_pool_2x2(y), mean, _variance(mean, (y * y).mean((0, 1, 2)))


def _squares(x: Array, kernel: Array) -> tuple[Array, Array]:
    """A convolution of one channel, x (slice, mel, frame) by kernel (3, 3, width), as factors of a product of matrices.

    A window of the pool needs 4 x 4 values of ``x``; their product with a (16, 4 x width) matrix, which holds the
    kernel at its four places, is the window's four convolutions. XLA's convolution of one channel runs at a twentieth
    of that product's speed.

    Returns:
        Patches (slice, window row, window column, 16), 2 x 2 squares of 2 x 2 values, and kernels (16, place in the
        window, width).
    """
    n_slices, n_mels, n_frames = x.shape
    rows, columns = (n_mels + 1) // 2, (n_frames + 1) // 2
    padded = jnp.pad(x, ((0, 0), (1, 2 * rows - n_mels + 1), (1, 2 * columns - n_frames + 1)))
    squares = padded.reshape(n_slices, rows + 1, 2, columns + 1, 2).swapaxes(2, 3)
    squares = squares.reshape(n_slices, rows + 1, columns + 1, 4)
    patches = jnp.concatenate([squares[:, i : i + rows, j : j + columns] for i in range(2) for j in range(2)], axis=-1)
    places = [jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0))) for i in range(2) for j in range(2)]
    by_squares = jnp.stack(places, axis=2).reshape(2, 2, 2, 2, 4, -1).swapaxes(1, 2)
    return patches, by_squares.reshape(16, 4, -1)


def _pool_of_product(patches: Array, kernels: Array, shape: Sequence[int]) -> Array:
    n_slices, n_mels, n_frames = shape[:3]
    width = kernels.shape[-1]
    inside = patches[:, : n_mels // 2, : n_frames // 2].reshape(-1, 16)
    windows = (inside @ kernels.reshape(16, 4 * width)).reshape(n_slices, n_mels // 2, n_frames // 2, 2, 2, width)
    return max_of_windows(windows, (3, 4))


def _moments(patches: Array, kernels: Array, n_mels: int, n_frames: int) -> tuple[Array, Array]:
    """Mean and mean of squares (width,) of the convolution at all n_mels x n_frames places of the windows.

    They follow from the Gram matrix of the patches, so that nothing of full size is read again: with a patch p and a
    column k of the kernels, E[(p k)^2] = k^T E[p p^T] k.
    """

    @cache
    def gram(n_rows: int, n_columns: int) -> tuple[Array, Array]:
        rows = patches[:, :n_rows, :n_columns].reshape(-1, 16)
        return rows.T @ rows, rows.sum(axis=0)

    mean = mean_of_squares = jnp.zeros(kernels.shape[-1])
    for place in range(4):
        # An odd last mel or frame fills the first places of its windows only.
        row, column = divmod(place, 2)
        products, sums = gram((n_mels + 1 - row) // 2, (n_frames + 1 - column) // 2)
        kernel = kernels[:, place]
        mean += sums @ kernel
        mean_of_squares += (kernel * (products @ kernel)).sum(axis=0)
    n_places = len(patches) * n_mels * n_frames
    return mean / n_places, mean_of_squares / n_places


def _variance(mean: Array, mean_of_squares: Array) -> Array:
    return jnp.maximum(0.0, mean_of_squares - mean * mean)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, strides: tuple[int, ...], pads: tuple[tuple[int, int], ...]) -> Array:
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=AXES)


def _conv_forward(x: Array, kernel: Array, strides: Any, pads: Any) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, strides, pads), (x, kernel)


def _conv_backward(strides: Any, pads: Any, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept
    conv = partial(lax.conv_general_dilated, window_strides=strides, padding=pads, dimension_numbers=AXES)
    (of_x,) = jax.vjp(lambda x: conv(x, kernel), x)[1](gradient)
    # Every n-th slice makes a chunk, so that where slices are spread over devices each chunk is spread alike.
    n_chunks = _n_chunks(len(x)) if jax.default_backend() == "cpu" else 1
    chunks = zip(*(a.reshape(-1, n_chunks, *a.shape[1:]).swapaxes(0, 1) for a in (x, gradient)), strict=True)
    of_kernel = [jax.vjp(partial(conv, rows), kernel)[1](part)[0] for rows, part in chunks]
    return of_x, sum(of_kernel[1:], of_kernel[0])


_conv.defvjp(_conv_forward, _conv_backward)


def _n_chunks(n_slices: int) -> int:
    return next(n for n in range(max(1, n_slices // CHUNK_SLICES), 0, -1) if n_slices % n == 0)
