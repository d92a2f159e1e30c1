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

Array = Any


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a 1 x 1 shortcut; halves mel and frame."""

    width: int

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        y = nn.Conv(self.width, (3, 3), strides=(2, 2), use_bias=False, conv_general_dilated=conv, name="conv1")(x)
        y = nn.relu(norm(name="norm1")(y))
        y = nn.Conv(self.width, (3, 3), use_bias=False, conv_general_dilated=conv, name="conv2")(y)
        y = norm(name="norm2")(y)
        shortcut = nn.Conv(self.width, (1, 1), use_bias=False, name="shortcut")(x[:, ::2, ::2])
        return nn.relu(y + norm(name="shortcut_norm")(shortcut))


class ShortChunk(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); any number of mels and frames."""

    n_children: int
    widths: Sequence[int]
    dropout: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = x[..., None]
        x = nn.Conv(self.widths[0], (5, 5), strides=(2, 2), use_bias=False, conv_general_dilated=conv, name="stem")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="stem_norm")(x))
        for i, width in enumerate(self.widths[1:], start=1):
            x = ResidualBlock(width, name=f"block{i}")(x, train)
        x = jnp.concatenate([x.mean(axis=(1, 2)), global_max_pool(x)], axis=-1)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        return nn.Dense(self.n_children, name="logits")(x)
