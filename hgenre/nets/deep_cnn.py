"""Four convolutions and three dense layers: the spectrogram net of the student reports hgenre grew from."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
from jax.nn import initializers

from hgenre.errors import FeatureError
from hgenre.nets.pool import max_pool_2x2

Array = Any

KAIMING_UNIFORM = initializers.he_uniform()
"""He et al. 2015, "Delving Deep into Rectifiers"."""
XAVIER_NORMAL = initializers.glorot_normal()
"""Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks"."""


class DeepCNN(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame); the slice's size is fixed at init.

    Raises:
        FeatureError: the slice has fewer mels or frames than its halvings need.
    """

    n_children: int
    widths: Sequence[int]
    dense_widths: Sequence[int]
    dropout: float

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        _, n_mels, n_frames = x.shape
        needed = 2 ** len(self.widths)
        if min(n_mels, n_frames) < needed:
            raise FeatureError(
                f"deep_cnn halves a slice {len(self.widths)} times, found slices of {n_mels} mels x {n_frames} frames, "
                f"needed at least {needed} of both; give the net fewer widths or use longer slices"
            )
        x = x[..., None]
        for i, width in enumerate(self.widths, start=1):
            x = nn.Conv(width, (3, 3), kernel_init=KAIMING_UNIFORM, name=f"conv{i}")(x)
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name=f"norm{i}")(x)
            x = max_pool_2x2(nn.relu(x))
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.relu(nn.Dense(width, kernel_init=XAVIER_NORMAL, name=f"dense{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout{i}")(x)
        return nn.Dense(self.n_children, kernel_init=XAVIER_NORMAL, name="logits")(x)
