"""A trained tree in memory and on disk; needs no jax."""

from hgenre.bundle.bundle import Bundle, SeenSong
from hgenre.bundle.files import load_bundle, remove_bundle, save_bundle

__all__ = ["Bundle", "SeenSong", "load_bundle", "remove_bundle", "save_bundle"]
