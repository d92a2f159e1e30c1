"""Convolutions and a recurrent layer side by side over the same spectrogram.

After Feng et al. 2017, "Music Genre Classification with Paralleling Recurrent Convolutional Neural Network": the
convolutional branch is flattened, the recurrent branch reads the pooled spectrogram forwards and backwards, and the
dense layers see both.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.nets.deep_cnn import conv_relu_pool
from hgenre.nets.pool import check_halvings, max_pool_2x2
from hgenre.nets.recurrent import last_state
from hgenre.nets.spec import Cell, NetSpec, Precision

Array = Any


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return CNNBesideRNN(
        n_children, spec.widths, spec.dense_widths, spec.dropout, spec.cell, spec.recurrent_width, precision
    )  # fmt: skip


class CNNBesideRNN(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); the slice's size is fixed at init.

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
        check_halvings("cnn_rnn", len(self.widths), *x.shape[1:])
        convolved = x[..., None].astype(self.precision)
        for i, width in enumerate(self.widths, start=1):
            convolved = conv_relu_pool(convolved, width, f"conv{i}")
        frames = max_pool_2x2(x[..., None])[..., 0].swapaxes(1, 2)
        branches = (
            convolved.reshape(len(x), -1).astype(jnp.float32),
            last_state(frames, self.cell, self.recurrent_width, f"{self.cell}_forwards"),
            last_state(frames[:, ::-1], self.cell, self.recurrent_width, f"{self.cell}_backwards"),
        )
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(jnp.concatenate(branches, axis=-1))
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.relu(nn.Dense(width, name=f"dense{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x)
        return nn.Dense(self.n_children, name="logits")(x)
