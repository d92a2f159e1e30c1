"""Two convolutions and two dense layers with nothing against over-fitting: where the student reports began."""

import flax.linen as nn

from hgenre.nets.deep_cnn import DeepCNN
from hgenre.nets.spec import NetSpec, Precision


def module(spec: NetSpec, n_children: int, precision: Precision) -> nn.Module:
    """The net of a spec: ``deep_cnn`` made shallow, without BatchNorm and dropout."""
    return DeepCNN(n_children, spec.widths, spec.dense_widths, 0.0, False, precision)
