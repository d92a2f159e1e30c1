"""The default net: a compact residual CNN over short chunks of sound.

After the "short-chunk CNN + Res" of Won et al. 2020, "Evaluation of CNN-based Automatic Music Tagging Models", made
small: a strided stem in place of the first pooling, strides instead of max-pools, mean and max pooled at the end.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.nets.convolution import conv
from hgenre.nets.pool import global_max_pool
from hgenre.nets.spec import NetSpec, Precision

Array = Any


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return ShortChunk(n_children, spec.widths, spec.dropout, precision)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a 1 x 1 shortcut; halves mel and frame."""

    width: int
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9, dtype=self.precision)
        layer = partial(nn.Conv, self.width, use_bias=False, dtype=self.precision)
        y = layer((3, 3), strides=(2, 2), conv_general_dilated=conv, name="conv1")(x)
        y = nn.relu(norm(name="norm1")(y))
        y = layer((3, 3), conv_general_dilated=conv, name="conv2")(y)
        y = norm(name="norm2")(y)
        shortcut = layer((1, 1), name="shortcut")(x[:, ::2, ::2])
        return nn.relu(y + norm(name="shortcut_norm")(shortcut))


class ShortChunk(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); any number of mels and frames."""

    n_children: int
    widths: Sequence[int]
    dropout: float
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        stem = nn.Conv(
            self.widths[0],
            (5, 5),
            strides=(2, 2),
            use_bias=False,
            dtype=self.precision,
            conv_general_dilated=conv,
            name="stem",
        )
        norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.precision, name="stem_norm")
        x = nn.relu(norm(stem(x[..., None])))
        for i, width in enumerate(self.widths[1:], start=1):
            x = ResidualBlock(width, self.precision, name=f"block{i}")(x, train)
        x = x.astype(jnp.float32)
        x = jnp.concatenate([x.mean(axis=(1, 2)), global_max_pool(x)], axis=-1)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        return nn.Dense(self.n_children, name="logits")(x)
