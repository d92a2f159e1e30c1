"""A recurrent layer over time."""

from typing import Any

import flax.linen as nn

from hgenre.nets.spec import Cell

Array = Any


def last_state(x: Array, cell: Cell, width: int, name: str) -> Array:
    """The last output of a recurrent layer: (slice, frame, channel) -> (slice, width), float32 throughout.

    GRU: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder". LSTM: Hochreiter and Schmidhuber
    1997, "Long Short-Term Memory". To be called where a compact flax module is, which gets the layer ``name``.
    """
    kinds: dict[str, Any] = {"gru": nn.GRUCell, "lstm": nn.OptimizedLSTMCell}
    states: Array = nn.RNN(kinds[cell](width, name=name))(x)
    return states[:, -1]
