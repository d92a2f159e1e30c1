"""Feature tables computed from audio files, with the columns and slices of GTZAN's public ones."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hgenre.data.layouts import distinct_ids, list_songs
from hgenre.errors import AudioError, HgenreError, OptionError, TooShortAudioError
from hgenre.features.table import TABLE_RATE_HZ, table_features

Row = tuple[str, int, np.ndarray, str]
"""(filename, length in samples, features, label), as ``write_table`` takes them."""

_SHORTEST_SLICE_S = 0.2
_N_THREADS = 2


@dataclass(frozen=True)
class TableSong:
    """An audio file, its song id and its genre ("" where unknown); ``fault`` where it is known to be bad."""

    path: Path
    song_id: str
    label: str
    fault: str = ""

    @property
    def filename(self) -> str:
        """What a table calls it: the song id with the file's suffix, which is taken off when the table is read."""
        return f"{self.song_id}{self.path.suffix}"


def songs_of_sources(sources: Sequence[str | Path]) -> list[TableSong]:
    """The songs of folders, manifests and audio files, each under an id of its own.

    Raises:
        ManifestError: a folder without audio, a table that is no manifest, or ready-made arrays.
    """
    songs = []
    for source in map(Path, sources):
        if source.is_dir() or source.suffix.lower() == ".csv":
            manifest = list_songs(source).manifest
            for song in manifest.songs:
                path = manifest.audio_path(song)
                songs.append(TableSong(path, song.song_id, song.genre, song.fault))
        else:
            songs.append(TableSong(source, source.stem, ""))
    ids = distinct_ids([song.song_id for song in songs], [str(song.path) for song in songs])
    return [replace(song, song_id=song_id) for song, song_id in zip(songs, ids, strict=True)]


def song_rows(song: TableSong, slice_s: float | None = None) -> list[Row]:
    """The rows of one file: one, or one a slice of ``slice_s`` seconds, named as in ``classical.00000.3.wav``.

    A slice starts every ``slice_s`` seconds and ends a sample before the next, as in the public table of 3-s slices
    (its ``length`` is 66149); what is left at the end is dropped.

    Raises:
        AudioError: the file cannot be used, or is too short.
    """
    from hgenre.audio import read_audio

    if song.fault:
        raise AudioError(song.path, f"the manifest calls it {song.fault}")
    waveform, _ = read_audio(song.path, TABLE_RATE_HZ)
    n_samples = len(waveform) if slice_s is None else round(slice_s * TABLE_RATE_HZ) - 1
    starts = range(0, len(waveform) - n_samples + 1, n_samples + 1)
    if not starts or n_samples < round(_SHORTEST_SLICE_S * TABLE_RATE_HZ) - 1:
        needed_s = max(_SHORTEST_SLICE_S, slice_s or 0)
        raise TooShortAudioError(
            song.path, f"holds {len(waveform) / TABLE_RATE_HZ:.2f} s of sound; needed are {needed_s:g} s"
        )
    return [
        (
            song.filename if slice_s is None else f"{song.song_id}.{number}{song.path.suffix}",
            n_samples,
            table_features(waveform[start : start + n_samples]),
            song.label,
        )
        for number, start in enumerate(starts)
    ]


def rows_of_songs(
    songs: Sequence[TableSong],
    slice_s: float | None = None,
    on_done: Callable[[TableSong, HgenreError | None], None] = lambda song, error: None,
) -> list[Row]:
    """The rows of all songs that can be used, in order; ``on_done`` is told, in this thread, why another cannot.

    Raises:
        OptionError: ``slice_s`` is shorter than 0.2 s.
    """
    if slice_s is not None and not slice_s >= _SHORTEST_SLICE_S:
        raise OptionError([("slice_s", f"found {slice_s:g} s, needed {_SHORTEST_SLICE_S:g} s or more")])
    import librosa  # here once, before threads would import it at the same time

    assert librosa
    rows: dict[Future[list[Row]], list[Row]] = {}
    pool = ThreadPoolExecutor(_N_THREADS, thread_name_prefix="table")
    try:
        songs_of = {pool.submit(song_rows, song, slice_s): song for song in songs}
        for future in as_completed(songs_of):
            try:
                rows[future] = future.result()
                on_done(songs_of[future], None)
            except HgenreError as error:
                on_done(songs_of[future], error)
    finally:
        # After Ctrl-C nobody wants the rows of the songs under way, which may be long.
        pool.shutdown(wait=False, cancel_futures=True)
    return [row for future in songs_of for row in rows.get(future, [])]
