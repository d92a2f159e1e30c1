"""Convolutions, then a recurrent layer over what is left of time.

After Choi et al. 2017, "Convolutional Recurrent Neural Networks for Music Classification", in the small form of the
student report hgenre grew from: a convolution, a max-pool and a BatchNorm, twice. That report says that frequency is
squeezed and not how: here what is left of the bands lies beside the channels, so that a step of time keeps all of them.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.nets.deep_cnn import conv_relu_pool
from hgenre.nets.pool import check_halvings
from hgenre.nets.recurrent import last_state
from hgenre.nets.spec import Cell, NetSpec, Precision

Array = Any


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return CRNN(
        n_children, spec.widths, spec.dense_widths, spec.dropout, spec.cell, spec.recurrent_width, precision
    )  # fmt: skip


class CRNN(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); the number of mels is fixed at init.

    Raises:
        FeatureError: the slice has fewer mels or frames than its halvings need.
    """

    n_children: int
    widths: Sequence[int]
    dense_widths: Sequence[int]
    dropout: float
    cell: Cell
    recurrent_width: int
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        check_halvings("crnn", len(self.widths), *x.shape[1:])
        x = x[..., None].astype(self.precision)
        for i, width in enumerate(self.widths, start=1):
            norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.precision, name=f"norm{i}")
            x = norm(conv_relu_pool(x, width, f"conv{i}"))
        x = x.astype(jnp.float32).swapaxes(1, 2)  # (slice, frame, mel, channel)
        x = last_state(x.reshape(*x.shape[:2], -1), self.cell, self.recurrent_width, self.cell)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.relu(nn.Dense(width, name=f"dense{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x)
        return nn.Dense(self.n_children, name="logits")(x)
