"""Songs with a way to their frames, wherever those are kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from hgenre.data.manifest import Song
from hgenre.features import FeatureSpec


@dataclass(frozen=True, eq=False)
class FrameSource:
    """The frames of songs: ``frames(song_id)`` is (mel, frame) float32, kept elsewhere and not to be changed.

    ``songs`` are those that can be used; ``errors`` says why the others cannot.
    """

    spec: FeatureSpec
    songs: tuple[Song, ...]
    frames: Callable[[str], np.ndarray]
    errors: Mapping[str, str]
