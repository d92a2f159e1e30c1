"""Files and folders as the command line names them."""

from collections.abc import Iterable, Iterator
from pathlib import Path


def audio_files(songs: Iterable[Path]) -> Iterator[Path]:
    """The files as named; of folders, in order of their paths, what looks like audio by its name and is not hidden."""
    for song in songs:
        if song.is_dir():
            from hgenre.data.layouts import AUDIO_EXTENSIONS

            found = (p for p in song.rglob("*") if p.suffix.lower() in AUDIO_EXTENSIONS and not p.name.startswith("."))
            yield from sorted(p for p in found if not p.is_dir())
        else:
            yield song
