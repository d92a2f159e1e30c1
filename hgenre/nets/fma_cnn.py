"""Two convolutions with wide pools and a dense layer on the channels: the CNN of the FMA report hgenre grew from.

Convolutions of 3 x 3 and 3 x 5 with pools of (2, 4), a dense layer of each place's channels, all places in one row,
dropout. Not stated there and chosen here: padding to the same size.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.errors import FeatureError
from hgenre.nets.convolution import conv
from hgenre.nets.deep_cnn import conv_relu_pool
from hgenre.nets.pool import max_of_pairs, max_pool_2x2
from hgenre.nets.spec import NetSpec, Precision

Array = Any


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return FmaCNN(n_children, spec.widths, spec.dense_widths, spec.dropout, precision)


class FmaCNN(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); the slice's size is fixed at init.

    Raises:
        FeatureError: the slice is smaller than its pools need.
    """

    n_children: int
    widths: Sequence[int]
    dense_widths: Sequence[int]
    dropout: float
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        _, n_mels, n_frames = x.shape
        if n_mels < 4 or n_frames < 16:
            raise FeatureError(
                f"fma_cnn pools a slice by (2, 4) twice, found slices of {n_mels} mels x {n_frames} frames, needed at "
                "least 4 x 16; use longer slices"
            )
        x = x[..., None].astype(self.precision)
        first, second = self.widths
        x = max_of_pairs(conv_relu_pool(x, first, "conv1"), axis=2)
        layer = nn.Conv(second, (3, 5), dtype=self.precision, conv_general_dilated=conv, name="conv2")
        x = max_of_pairs(max_pool_2x2(nn.relu(layer(x))), axis=2)
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.relu(nn.Dense(width, dtype=self.precision, name=f"dense{i}")(x))
        x = x.reshape(len(x), -1).astype(jnp.float32)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        return nn.Dense(self.n_children, name="logits")(x)
