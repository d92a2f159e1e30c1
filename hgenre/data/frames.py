"""One way to a manifest's frames, whether they come from audio through the cache or from ready-made arrays."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from hgenre.data.arrays import open_arrays
from hgenre.data.cache import audio_frames, fill, open_cache
from hgenre.data.manifest import Manifest, Song, array_location
from hgenre.errors import FeatureError, HgenreError
from hgenre.features import FeatureSpec, LogMelSpec, SliceSpec

OPEN_ENTRIES = 512
"""Cache entries kept mapped at a time: each holds a file descriptor, of which a process has 1024 by default."""


@dataclass(frozen=True, eq=False)
class FrameSource:
    """The frames of songs: ``frames(song_id)`` is (mel, frame) float32, a view of a file.

    ``songs`` are those that can be used; ``errors`` says why the others cannot.
    """

    spec: FeatureSpec
    songs: tuple[Song, ...]
    frames: Callable[[str], np.ndarray]
    errors: Mapping[str, str]


def holds_arrays(manifest: Manifest) -> bool:
    """True where the usable songs are ready-made arrays."""
    usable = manifest.usable
    return bool(usable) and array_location(usable[0].path) is not None


def open_frames(
    manifest: Manifest,
    spec: LogMelSpec,
    slices: SliceSpec | None,
    cache_dir: Path,
    *,
    n_threads: int = 2,
    on_done: Callable[[Song], None] = lambda song: None,
) -> FrameSource:
    """The frames of the manifest's usable songs.

    Audio is decoded and transformed once and kept under ``cache_dir``; ready-made arrays are opened as they are, with
    the spec they were imported with in place of ``spec``. Songs of less than half a slice are named in ``errors``.
    """
    if holds_arrays(manifest):
        reader = open_arrays(manifest)
        by_id = {song.song_id: song for song in manifest.usable}
        return _without_short(
            FrameSource(reader.spec, manifest.usable, lambda song_id: reader.frames(by_id[song_id]), {}), slices
        )
    cache = open_cache(cache_dir / "features", spec)
    usable = replace(manifest, songs=manifest.usable)
    failed = fill(
        cache,
        usable,
        lambda path: audio_frames(path, spec)[0],
        n_threads=n_threads,
        on_done=lambda song, error: on_done(song),
    )
    digests = {song.song_id: song.sha256 for song in usable.songs}

    @lru_cache(OPEN_ENTRIES)
    def frames(song_id: str) -> np.ndarray:
        found = cache.get(digests[song_id])
        if found is None:
            raise FeatureError(
                f"the cache entry of {song_id} in {cache.root} was lost or damaged; run the command again"
            )
        return found

    errors = {song.song_id: _sentence(error) for song, error in failed.items()}
    songs = tuple(song for song in usable.songs if song not in failed)
    return _without_short(FrameSource(spec, songs, frames, errors), slices)


def _without_short(source: FrameSource, slices: SliceSpec | None) -> FrameSource:
    if slices is None:
        return source
    n_frames = {song.song_id: source.frames(song.song_id).shape[1] for song in source.songs}
    short = {
        song_id: f"too short: {n} frames, needed half of a slice's {slices.n_frames}"
        for song_id, n in n_frames.items()
        if 2 * n < slices.n_frames
    }
    kept = tuple(song for song in source.songs if song.song_id not in short)
    return replace(source, songs=kept, errors={**source.errors, **short})


def _sentence(error: HgenreError) -> str:
    return f"{error.kind}: {error}"
