"""``deep_cnn`` in the plainest linen: what one writes first."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn


class PlainCNN(nn.Module):
    """Logits (slice, child) from ready-made slices (slice, mel, frame); its variables are named by linen."""

    widths: Sequence[int]
    dense_widths: Sequence[int]
    dropout: float
    n_children: int

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = x[..., None]
        for width in self.widths:
            x = nn.Conv(width, (3, 3))(x)
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(x)
            x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        for width in self.dense_widths:
            x = nn.relu(nn.Dense(width)(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.n_children)(x)
