"""Dense layers over a whole slice: the feature nets of the student reports, or any table of features."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.nets.spec import NetSpec, Precision

Array = Any


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return MLP(n_children, spec.dense_widths, spec.dropout, spec.norm, precision)


class MLP(nn.Module):
    """Logits (slice, child) from normalised values (slice, mel, frame), laid in one row; their number is fixed at init.

    Each hidden layer is followed by its BatchNorm (with ``norm``), its ReLU and its dropout.
    """

    n_children: int
    dense_widths: Sequence[int]
    dropout: float
    norm: bool
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        x = x.reshape(len(x), -1)
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.Dense(width, dtype=self.precision, name=f"dense{i}")(x)
            if self.norm:
                norm = nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=self.precision, name=f"norm{i}")
                x = norm(x)
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(nn.relu(x))
        return nn.Dense(self.n_children, name="logits")(x.astype(jnp.float32))
