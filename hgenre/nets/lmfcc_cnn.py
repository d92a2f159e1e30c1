"""A sweep over time through liftered MFCC, all coefficients at once.

After the student report hgenre grew from: three convolutions of 32 filters, the first with kernel and stride (3 frames,
all coefficients), with max-, max- and average-pooling over time, a dense layer and a dropout of 0.8. Not stated there
and chosen here: later kernels of 3 frames, max-pools of 2, the average over all that is left, ReLU, dropout before the
dense layer.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.errors import FeatureError
from hgenre.nets.pool import max_of_pairs
from hgenre.nets.spec import NetSpec, Precision

Array = Any

KERNEL_FRAMES = 3
FRAMES_NEEDED = KERNEL_FRAMES * 2 * 2
"""What the first stride and the two max-pools need."""


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return LmfccCNN(n_children, spec.widths, spec.dropout, precision)


class LmfccCNN(nn.Module):
    """Logits (slice, child) from normalised coefficients (slice, mel, frame); the number of mels is fixed at init.

    Raises:
        FeatureError: the slice is too short.
    """

    n_children: int
    widths: Sequence[int]
    dropout: float
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        n_slices, n_mels, n_frames = x.shape
        if n_frames < FRAMES_NEEDED:
            raise FeatureError(
                f"lmfcc_cnn needs slices of at least {FRAMES_NEEDED} frames, found {n_frames}; use longer slices"
            )
        n_steps = n_frames // KERNEL_FRAMES
        x = x[:, :, : KERNEL_FRAMES * n_steps].swapaxes(1, 2).reshape(n_slices, n_steps, KERNEL_FRAMES * n_mels)
        # Its windows do not overlap, so the first convolution is a dense layer on each.
        x = nn.relu(nn.Dense(self.widths[0], dtype=self.precision, name="conv1")(x))
        for i, width in enumerate(self.widths[1:], start=2):
            x = nn.Conv(width, (KERNEL_FRAMES,), dtype=self.precision, name=f"conv{i}")(max_of_pairs(x, axis=1))
            x = nn.relu(x)
        x = x.astype(jnp.float32).mean(axis=1)
        x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)
        return nn.Dense(self.n_children, name="logits")(x)
