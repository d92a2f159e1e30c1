"""Four convolutions and three dense layers: the spectrogram net of the student reports hgenre grew from."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import lax
from jax.nn import initializers

from hgenre.nets.convolution import conv_pool, conv_pool_moments
from hgenre.nets.pool import check_halvings
from hgenre.nets.spec import NetSpec, Precision

Array = Any

KAIMING_UNIFORM = initializers.he_uniform()
"""He et al. 2015, "Delving Deep into Rectifiers"."""
XAVIER_NORMAL = initializers.glorot_normal()
"""Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"."""
MOMENTUM = 0.9
EPSILON = 1e-5
"""Of BatchNorm, flax's values: what a step keeps of the running statistics, and what is added to a variance."""


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return DeepCNN(n_children, spec.widths, spec.dense_widths, spec.dropout, spec.norm, precision)


class DeepCNN(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); the slice's size is fixed at init.

    Without ``norm`` a convolution is followed by its ReLU and its pool alone.

    Raises:
        FeatureError: the slice has fewer mels or frames than its halvings need.
    """

    n_children: int
    widths: Sequence[int]
    dense_widths: Sequence[int]
    dropout: float
    norm: bool
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        _, n_mels, n_frames = x.shape
        check_halvings("deep_cnn", len(self.widths), n_mels, n_frames)
        x = x[..., None].astype(self.precision)
        for i, width in enumerate(self.widths, start=1):
            if self.norm:
                kernel, bias = Convolution(width, name=f"conv{i}")(x.shape[-1])
                x = conv_norm_pool(x, kernel, bias, Norm(width, name=f"norm{i}"), train)
            else:
                x = conv_relu_pool(x, width, f"conv{i}")
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.relu(nn.Dense(width, kernel_init=XAVIER_NORMAL, dtype=self.precision, name=f"dense{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x)
        return nn.Dense(self.n_children, kernel_init=XAVIER_NORMAL, name="logits")(x.astype(jnp.float32))


class Convolution(nn.Module):
    """Kernel (3, 3, channel, width) and bias (width,) of a convolution, under the names that flax gives them."""

    width: int

    @nn.compact
    def __call__(self, n_channels: int) -> tuple[Array, Array]:
        kernel = self.param("kernel", KAIMING_UNIFORM, (3, 3, n_channels, self.width))
        return kernel, self.param("bias", initializers.zeros, (self.width,))


class Norm(nn.Module):
    """Scale, bias and running statistics (width,) of a BatchNorm, under the names that flax gives them."""

    width: int

    def setup(self) -> None:
        shape = (self.width,)
        self.scale = self.param("scale", initializers.ones, shape)
        self.bias = self.param("bias", initializers.zeros, shape)
        self.mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
        self.var = self.variable("batch_stats", "var", jnp.ones, shape)

    def move(self, mean: Array, var: Array) -> None:
        """Moves the running statistics towards those of a batch."""
        if not self.is_initializing():
            self.mean.value = MOMENTUM * self.mean.value + (1 - MOMENTUM) * mean
            self.var.value = MOMENTUM * self.var.value + (1 - MOMENTUM) * var


def conv_relu_pool(x: Array, width: int, name: str) -> Array:
    """Convolution with bias, ReLU and 2 x 2 max-pool, to be called where a compact module is: it gets layer ``name``.

    Bias and ReLU rise with their input, so the maximum is taken first.
    """
    kernel, bias = Convolution(width, name=name)(x.shape[-1])
    return nn.relu(conv_pool(x, kernel.astype(x.dtype)) + bias.astype(x.dtype))


def conv_norm_pool(x: Array, kernel: Array, bias: Array, norm: Norm, train: bool) -> Array:
    """Convolution, BatchNorm, ReLU and 2 x 2 max-pool, pooled before the rest: a quarter of the values to go through.

    BatchNorm and ReLU rise with their input where the scale is positive, so they may change places with the maximum; a
    kernel whose sign is that of the scale makes it so. In training a bias before BatchNorm moves nothing but the
    running mean.
    """
    if train:
        sign = jnp.where(norm.scale < 0, -1.0, 1.0)
        pooled, mean, var = conv_pool_moments(x, (kernel * sign).astype(x.dtype))
        norm.move(sign * mean + bias, var)
        y = (pooled - mean) * (jnp.abs(norm.scale) * lax.rsqrt(var + EPSILON)) + norm.bias
        return nn.relu(y).astype(x.dtype)
    factor = norm.scale * lax.rsqrt(norm.var.value + EPSILON)
    pooled = conv_pool(x, kernel * factor)
    return nn.relu(pooled + (bias - norm.mean.value) * factor + norm.bias)
