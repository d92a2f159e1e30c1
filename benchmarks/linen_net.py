"""hgenre's nets in the plainest linen: what one writes first, with the same layers and the same names."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from hgenre.nets.spec import NetSpec


def plain_net(spec: NetSpec, n_children: int) -> nn.Module:
    """The module of a spec: x (slice, mel, frame) and ``train`` -> logits (slice, child)."""
    match spec.kind:
        case "deep_cnn":
            return PlainDeepCNN(n_children, spec.widths, spec.dense_widths, spec.dropout)
        case "short_chunk":
            return PlainShortChunk(n_children, spec.widths, spec.dropout)
    raise ValueError(f"no plain form of {spec.kind} is kept; known are deep_cnn and short_chunk")


class PlainDeepCNN(nn.Module):
    n_children: int
    widths: Sequence[int]
    dense_widths: Sequence[int]
    dropout: float

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = x[..., None]
        for i, width in enumerate(self.widths, start=1):
            x = nn.Conv(width, (3, 3), name=f"conv{i}")(x)
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name=f"norm{i}")(x)
            x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
        x = x.reshape(x.shape[0], -1)
        for i, width in enumerate(self.dense_widths, start=1):
            x = nn.relu(nn.Dense(width, name=f"dense{i}")(x))
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.n_children, name="logits")(x)


class PlainShortChunk(nn.Module):
    n_children: int
    widths: Sequence[int]
    dropout: float

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        x = nn.Conv(self.widths[0], (5, 5), strides=(2, 2), use_bias=False, name="stem")(x[..., None])
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name="stem_norm")(x))
        for i, width in enumerate(self.widths[1:], start=1):
            x = PlainBlock(width, name=f"block{i}")(x, train)
        x = jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], axis=-1)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.Dense(self.n_children, name="logits")(x)


class PlainBlock(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x: Any, train: bool) -> Any:
        norm = partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        y = nn.Conv(self.width, (3, 3), strides=(2, 2), use_bias=False, name="conv1")(x)
        y = nn.relu(norm(name="norm1")(y))
        y = norm(name="norm2")(nn.Conv(self.width, (3, 3), use_bias=False, name="conv2")(y))
        shortcut = nn.Conv(self.width, (1, 1), strides=(2, 2), use_bias=False, name="shortcut")(x)
        return nn.relu(y + norm(name="shortcut_norm")(shortcut))
