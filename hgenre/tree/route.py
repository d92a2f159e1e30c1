"""How slices find their way through a tree. Importing this costs nothing."""

from dataclasses import dataclass
from typing import Literal

from hgenre.tree.vote import Aggregation

Decoder = Literal["soft", "hard"]
Unit = Literal["slice", "song"]


@dataclass(frozen=True)
class Route:
    """Decoder, routing unit and aggregation; a bundle carries its default.

    ``soft`` runs every net and takes the full posterior. ``hard`` enters the likeliest child at each node and runs only
    the nets that are entered; ``unit`` says whether each slice finds its own way or the song's vote decides for all its
    slices. ``unit`` changes nothing under ``soft``.
    """

    decoder: Decoder = "soft"
    unit: Unit = "slice"
    aggregation: Aggregation = "majority"
