"""One way to a manifest's frames: of audio through the cache, of ready-made arrays, or of rows of a feature table."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from hgenre.data.arrays import open_arrays
from hgenre.data.cache import audio_frames, fill, open_cache
from hgenre.data.feature_table import open_rows, table_location
from hgenre.data.frame_source import FrameSource
from hgenre.data.manifest import Manifest, Song, array_location
from hgenre.errors import FeatureError, HgenreError
from hgenre.features import Cepstra, CepstralSpec, LogMelSpec, SliceSpec, mfcc

OPEN_ENTRIES = 512
"""Cache entries kept mapped at a time: each holds a file descriptor, of which a process has 1024 by default."""

KEPT_CEPSTRA = 8192
"""Songs of ready-made arrays whose cepstra are kept in memory: 20 coefficients of 400 frames take 32 kB."""


def holds_arrays(manifest: Manifest) -> bool:
    """True where the usable songs are ready-made arrays."""
    usable = manifest.usable
    return bool(usable) and array_location(usable[0].path) is not None


Contents = Literal["audio files", "ready-made arrays", "rows of a feature table"]


def contents(manifest: Manifest) -> Contents:
    """What the usable songs are, by the first one's path; audio files where there is none."""
    if holds_arrays(manifest):
        return "ready-made arrays"
    usable = manifest.usable
    return "rows of a feature table" if usable and table_location(usable[0].path) else "audio files"


def open_frames(
    manifest: Manifest,
    spec: LogMelSpec,
    slices: SliceSpec | None,
    cache_dir: Path,
    *,
    cepstra: Cepstra | None = None,
    n_threads: int = 2,
    on_done: Callable[[Song], None] = lambda song: None,
) -> FrameSource:
    """The frames of the manifest's usable songs.

    Audio is decoded and transformed once and kept under ``cache_dir``; ready-made arrays and rows of a feature table
    are opened as they are, with a spec of their own in place of ``spec``. ``cepstra`` turns frames into MFCC. Songs of
    less than half a slice are named in ``errors``.

    Raises:
        FeatureError: cepstra of rows of a table, or more of them than mel bands.
        ManifestError: a table that is none.
    """
    match contents(manifest):
        case "rows of a feature table":
            if cepstra is not None:
                raise FeatureError("cepstra were asked for, but the songs are rows of a feature table; leave them out")
            return open_rows(manifest)
        case "ready-made arrays":
            return _without_short(_array_frames(manifest, cepstra), slices)
        case "audio files":
            wanted = spec if cepstra is None else CepstralSpec(spec, cepstra.n_mfcc, cepstra.lifter)
            return _without_short(_audio_frames(manifest, wanted, cache_dir, n_threads, on_done), slices)


def _array_frames(manifest: Manifest, cepstra: Cepstra | None) -> FrameSource:
    reader = open_arrays(manifest)
    by_id = {song.song_id: song for song in manifest.usable}
    if cepstra is None:
        return FrameSource(reader.spec, manifest.usable, lambda song_id: reader.frames(by_id[song_id]), {})
    spec = CepstralSpec(reader.spec, cepstra.n_mfcc, cepstra.lifter)

    @lru_cache(KEPT_CEPSTRA)
    def frames(song_id: str) -> np.ndarray:
        made = mfcc(reader.frames(by_id[song_id]), spec.n_mfcc, spec.lifter)
        made.flags.writeable = False
        return made

    return FrameSource(spec, manifest.usable, frames, {})


def _audio_frames(
    manifest: Manifest,
    spec: LogMelSpec | CepstralSpec,
    cache_dir: Path,
    n_threads: int,
    on_done: Callable[[Song], None],
) -> FrameSource:
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
    return FrameSource(spec, songs, frames, errors)


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
