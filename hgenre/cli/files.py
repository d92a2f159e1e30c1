"""Files and folders as the command line names them."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hgenre.data.manifest import Manifest


def audio_files(songs: Iterable[Path]) -> Iterator[Path]:
    """The files as named; of folders, in order of their paths, what looks like audio by its name and is not hidden."""
    for song in songs:
        if song.is_dir():
            from hgenre.data.layouts import AUDIO_EXTENSIONS

            found = (p for p in song.rglob("*") if p.suffix.lower() in AUDIO_EXTENSIONS and not p.name.startswith("."))
            yield from sorted(p for p in found if not p.is_dir())
        else:
            yield song


def songs_of(manifest: Path, split: str | None) -> "Manifest":
    """The manifest's songs, or those of one split; wrong usage where that split has none."""
    from dataclasses import replace

    import typer  # not above: the usual predict command does without

    from hgenre.data.manifest import read_manifest

    songs = read_manifest(manifest)
    if split is None:
        return songs
    kept = tuple(song for song in songs.songs if song.split == split)
    if not kept:
        splits = ", ".join(sorted({repr(song.split) for song in songs.songs}))
        raise typer.BadParameter(f"no song of {manifest} has split {split!r}; found are {splits}")
    return replace(songs, songs=kept)
