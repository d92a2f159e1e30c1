"""VGG16's convolutions as they were trained on pictures, with a small head that learns.

A slice is taken for a grey picture: what is standardised to a mean of 0 and a deviation of 1 goes linearly to 0..255,
two deviations either side, and Keras' means are taken off the three equal channels (``PIXELS``). The reports hgenre
grew from do not say how they made pictures; this is ours.
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from hgenre.errors import FeatureError
from hgenre.nets.convolution import conv
from hgenre.nets.deep_cnn import KAIMING_UNIFORM
from hgenre.nets.pool import max_pool_2x2
from hgenre.nets.pretrained import VGG16_MEAN_BGR, VGG16_WIDTHS
from hgenre.nets.spec import NetSpec, Precision, Stem

Array = Any

PIXELS = (127.5, 63.75)
"""Grey level of 0, and levels to a deviation."""
N_HALVINGS = 5
STEM = ("block1_conv1", "block1_conv2")
NEW_STEM = ("new_conv1", "new_conv2")


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec."""
    return VGG16(n_children, spec.dense_widths, spec.dropout, spec.input_size, spec.stem, precision)


def frozen(spec: NetSpec) -> frozenset[str]:
    """All of VGG16's layers; with a new stem, all layers but that, the head too (progressive resizing)."""
    if spec.stem == "pretrained":
        return frozenset(VGG16_WIDTHS)
    return frozenset(VGG16_WIDTHS) - {*STEM} | {*head_layers(spec.dense_widths)}


def head_layers(dense_widths: Sequence[int]) -> tuple[str, ...]:
    """Names of the layers behind the convolutions."""
    return (*(f"dense{i}" for i in range(1, len(dense_widths) + 1)), "logits")


class VGG16(nn.Module):
    """Logits (slice, child) from normalised log-mel (slice, mel, frame), resized to ``input_size`` where it is given.

    A ``new`` stem stands for VGG16's first two convolutions and halves the mels, so that after it a picture of twice
    the height has the shapes that one of the single height has behind VGG16's own: the other layers fit both.

    Raises:
        FeatureError: the picture has fewer mels or frames than its halvings need.
    """

    n_children: int
    dense_widths: Sequence[int]
    dropout: float
    input_size: tuple[int, int] | None
    stem: Stem
    precision: Precision

    @nn.compact
    def __call__(self, x: Array, train: bool) -> Array:
        if self.input_size:
            x = jax.image.resize(x, (len(x), *self.input_size), "bilinear")
        is_new = self.stem == "new"
        needed = (2 ** (N_HALVINGS + is_new), 2**N_HALVINGS)
        if x.shape[1] < needed[0] or x.shape[2] < needed[1]:
            raise FeatureError(
                f"vgg16 with a {self.stem} stem needs pictures of at least {needed[0]} mels x {needed[1]} frames, "
                f"found {x.shape[1]} x {x.shape[2]}; give it an input_size"
            )
        level, scale = PIXELS
        grey = jnp.clip(level + scale * x, 0, 255)
        x = (grey[..., None] - jnp.array(VGG16_MEAN_BGR)).astype(self.precision)
        for i, (name, width) in enumerate(VGG16_WIDTHS.items()):
            if i and name.endswith("conv1"):
                x = max_pool_2x2(x)
            own_name, strides = (NEW_STEM[i], (2 - i, 1)) if is_new and name in STEM else (name, (1, 1))
            layer = nn.Conv(
                width,
                (3, 3),
                strides=strides,
                dtype=self.precision,
                kernel_init=KAIMING_UNIFORM,
                conv_general_dilated=conv,
                name=own_name,
            )
            x = nn.relu(layer(x))
        x = max_pool_2x2(x).reshape(len(x), -1).astype(jnp.float32)
        for name, width in zip(head_layers(self.dense_widths), self.dense_widths, strict=False):
            x = nn.relu(nn.Dense(width, name=name)(x))
            x = nn.Dropout(self.dropout, deterministic=not train, name=f"dropout_{name}")(x)
        return nn.Dense(self.n_children, name="logits")(x)
