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

CHUNK_SLICES = 16
"""Slices whose part of a kernel's gradient a CPU computes at once, over all its devices: 8 a core of two stay in its
cache."""


def conv(
    x: Array,
    kernel: Array,
    strides: Sequence[int],
    padding: Any,
    lhs_dilation: Sequence[int] = (1, 1),
    rhs_dilation: Sequence[int] = (1, 1),
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    precision: Any = None,
) -> Array:
    """A plain ``lax.conv_general_dilated``, to be given to ``flax.linen.Conv`` in place of its own.

    One channel in steps of 2 is convolved as a product of matrices, and a CPU computes a kernel's gradient chunk by
    chunk. There are no dilations, groups or precisions.

    Args:
        x: (slice, mel, frame, channel).
        kernel: (height, width, channel, output channel).
    """
    del dimension_numbers  # flax has one order of axes
    assert {*lhs_dilation, *rhs_dilation, feature_group_count} == {1}
    assert precision is None
    pads = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return _conv(x, kernel, tuple(strides), tuple(map(tuple, pads)))


def _square_patches(x: Array, before: tuple[int, int], shape: tuple[int, int], n_squares: int) -> Array:
    """Patches of x (slice, mel, frame), in steps of 2, each of n x n squares of 2 x 2 values.

    ``before`` is the padding above and on the left, ``shape`` the number of patches down and across: (slice, row,
    column, 4 n^2). Values are copied in runs of 4, which takes less time than single ones.
    """
    ends = [2 * (n + n_squares - 1) for n in shape]
    pads = [(low, end - low - size) for low, end, size in zip(before, ends, x.shape[1:], strict=True)]
    padded = jnp.pad(x, ((0, 0), *pads)).reshape(len(x), ends[0] // 2, 2, ends[1] // 2, 2)
    squares = padded.swapaxes(2, 3).reshape(len(x), ends[0] // 2, ends[1] // 2, 4)
    places = [(i, j) for i in range(n_squares) for j in range(n_squares)]
    return jnp.concatenate([squares[:, i : i + shape[0], j : j + shape[1]] for i, j in places], axis=-1)


def _by_squares(kernel: Array) -> Array:
    """(2 n, 2 n, ...) values by row and column -> (4 n^2, ...) in the order of a patch."""
    n_squares, rest = len(kernel) // 2, kernel.shape[2:]
    return kernel.reshape(n_squares, 2, n_squares, 2, *rest).swapaxes(1, 2).reshape(4 * n_squares**2, *rest)


def conv_pool(x: Array, kernel: Array) -> Array:
    """Convolution without bias, max-pooled by 2 x 2; what the pool would drop is not computed.

    Args and result as the first of ``conv_pool_moments``.
    """
    if x.shape[-1] == 1:
        patches, kernels = _squares(x[..., 0], kernel[:, :, 0])
        return _pool_of_product(patches, kernels, x.shape)
    _, n_mels, n_frames, _ = x.shape
    return max_pool_2x2(_conv(x, kernel, (1, 1), ((1, 1 - n_mels % 2), (1, 1 - n_frames % 2))))


def conv_pool_moments(x: Array, kernel: Array) -> tuple[Array, Array, Array]:
    """Convolution without bias, max-pooled by 2 x 2, and the mean and variance of what was pooled.

    Args:
        x: (slice, mel, frame, channel).
        kernel: (3, 3, channel, width).

    Returns:
        (slice, mel // 2, frame // 2, width), and two of (width,), float32, over all slices, mels and frames before
        pooling.
    """
    if x.shape[-1] == 1:
        patches, kernels = _squares(x[..., 0], kernel[:, :, 0])
        mean, mean_of_squares = _moments(patches, kernels, *x.shape[1:3])
        return _pool_of_product(patches, kernels, x.shape), mean, _variance(mean, mean_of_squares)
    y = conv(x, kernel, (1, 1), "SAME")
    exact = y.astype(jnp.float32)
    mean = exact.mean((0, 1, 2))
    return max_pool_2x2(y), mean, _variance(mean, (exact * exact).mean((0, 1, 2)))


def _squares(x: Array, kernel: Array) -> tuple[Array, Array]:
    """A convolution of one channel, x (slice, mel, frame) by kernel (3, 3, width), as factors of a product of matrices.

    A window of the pool needs 4 x 4 values of ``x``; their product with a (16, 4 x width) matrix, which holds the
    kernel at its four places, is the window's four convolutions. XLA's convolution of one channel is many times
    slower than that product.

    Returns:
        Patches (slice, window row, window column, 16), and kernels (16, place in the window, width).
    """
    _, n_mels, n_frames = x.shape
    patches = _square_patches(x, (1, 1), ((n_mels + 1) // 2, (n_frames + 1) // 2), 2)
    places = [jnp.pad(kernel, ((i, 1 - i), (j, 1 - j), (0, 0))) for i in range(2) for j in range(2)]
    return patches, _by_squares(jnp.stack(places, axis=2))


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
    # The variance is a small difference of such sums, and an accelerator's default rounds the factors of a product.
    exact = partial(jnp.matmul, precision="highest")

    @cache
    def gram(n_rows: int, n_columns: int) -> tuple[Array, Array]:
        rows = patches[:, :n_rows, :n_columns].reshape(-1, 16).astype(jnp.float32)
        return exact(rows.T, rows), rows.sum(axis=0)

    mean = mean_of_squares = jnp.zeros(kernels.shape[-1])
    for place in range(4):
        # An odd last mel or frame fills the first places of its windows only.
        row, column = divmod(place, 2)
        products, sums = gram((n_mels + 1 - row) // 2, (n_frames + 1 - column) // 2)
        kernel = kernels[:, place].astype(jnp.float32)
        mean += exact(sums, kernel)
        mean_of_squares += (kernel * exact(products, kernel)).sum(axis=0)
    n_places = len(patches) * n_mels * n_frames
    return mean / n_places, mean_of_squares / n_places


def _variance(mean: Array, mean_of_squares: Array) -> Array:
    return jnp.maximum(0.0, mean_of_squares - mean * mean)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(x: Array, kernel: Array, strides: tuple[int, ...], pads: tuple[tuple[int, int], ...]) -> Array:
    if x.shape[-1] == 1 and strides == (2, 2):
        return _conv_of_one_channel(x[..., 0], kernel[:, :, 0], pads)
    return _xla_conv(x, kernel, strides, pads)


def _xla_conv(x: Array, kernel: Array, strides: Any, pads: Any) -> Array:
    return lax.conv_general_dilated(x, kernel, strides, pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _conv_of_one_channel(x: Array, kernel: Array, pads: tuple[tuple[int, int], ...]) -> Array:
    """Convolution of x (slice, mel, frame) with kernel (height, width, output channel) in steps of 2."""
    height, width, _ = kernel.shape
    (above, below), (before, after) = pads
    n_rows = (above + x.shape[1] + below - height) // 2 + 1
    n_columns = (before + x.shape[2] + after - width) // 2 + 1
    n_squares = (max(height, width) + 1) // 2
    patches = _square_patches(x, (above, before), (n_rows, n_columns), n_squares)
    whole = jnp.pad(kernel, ((0, 2 * n_squares - height), (0, 2 * n_squares - width), (0, 0)))
    return patches @ _by_squares(whole)


def _conv_forward(x: Array, kernel: Array, strides: Any, pads: Any) -> tuple[Array, tuple[Array, Array]]:
    return _conv(x, kernel, strides, pads), (x, kernel)


def _conv_backward(strides: Any, pads: Any, kept: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = kept
    (of_x,) = jax.vjp(lambda x: _xla_conv(x, kernel, strides, pads), x)[1](gradient)
    # Every n-th slice makes a chunk, so that where slices are spread over devices each chunk is spread alike.
    n_chunks = _n_chunks(len(x)) if jax.default_backend() == "cpu" else 1
    chunks = zip(*(a.reshape(-1, n_chunks, *a.shape[1:]).swapaxes(0, 1) for a in (x, gradient)), strict=True)
    of_kernel = [
        jax.vjp(lambda kernel, rows=rows: _xla_conv(rows, kernel, strides, pads), kernel)[1](part)[0]
        for rows, part in chunks
    ]
    return of_x, sum(part.astype(jnp.float32) for part in of_kernel).astype(kernel.dtype)


_conv.defvjp(_conv_forward, _conv_backward)


def _n_chunks(n_slices: int) -> int:
    return next(n for n in range(max(1, n_slices // CHUNK_SLICES), 0, -1) if n_slices % n == 0)
