"""What a folder or a table says of its songs, before any audio file is opened.

Three layouts are known: a folder a genre (GTZAN's), FMA's numbered folders with ``tracks.csv``, and a CSV table.
"""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hgenre.data import known_faults
from hgenre.data.manifest import SPLIT_VALUES, Manifest, Song, read_manifest, read_table, table_mistakes
from hgenre.errors import ManifestError

AUDIO_EXTENSIONS = frozenset(
    {".aac", ".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".m4a", ".m4b", ".mka", ".mp2", ".mp3", ".mp4"}
    | {".oga", ".ogg", ".opus", ".snd", ".w64", ".wav", ".webm", ".wma", ".wv"}
)

# Folders that collections put around their genre folders: GTZAN's archive has genres/, its WAV edition
# Data/genres_original/.
_WRAPPERS = frozenset({"audio", "data", "genres", "genres_original"})

_NUMBERED = re.compile(r"\d{3}")

_SPLIT_NAMES = {"training": "train", "validation": "valid", "val": "valid", "dev": "valid", "testing": "test"}


@dataclass(frozen=True)
class Listing:
    """The songs that a folder or a table names, before any file was opened.

    ``skipped`` holds (path, reason) of what was passed over. ``duplicate_of`` is filled from what is known by name.
    """

    layout: Literal["genre folders", "FMA", "table", "manifest"]
    manifest: Manifest
    skipped: tuple[tuple[str, str], ...]


def list_songs(source: str | Path, *, tracks_csv: str | Path | None = None) -> Listing:
    """The songs that ``source`` names: a folder, a table of path and genre, or a manifest.

    A folder that holds a ``manifest.csv`` is taken at that manifest's word, and audio files beside it that the
    manifest does not name are reported as skipped. A song's id is the stem of its file, or its path without suffix
    for all files whose stem stands twice.

    Raises:
        ManifestError: there is no such folder, or nothing in it is audio.
    """
    source = Path(source)
    if source.is_file():
        return _list_table(source)
    if not source.is_dir():
        raise ManifestError(f"{source}: no such folder or CSV file; needed is a folder of audio files or a table")
    if (source / "manifest.csv").is_file() and tracks_csv is None:
        manifest = read_manifest(source / "manifest.csv")
        named = {os.path.normpath(song.path) for song in manifest.songs}
        unnamed = [path for path in _audio_files(source, []) if os.path.normpath(path) not in named]
        return Listing("manifest", manifest, tuple((path, "not in manifest.csv") for path in unnamed))
    tracks = Path(tracks_csv) if tracks_csv else _find_tracks_csv(source)
    return _list_fma(source, tracks) if tracks else _list_genre_folders(source)


def split_name(value: str) -> str:
    """The manifest's word for a split as collections name it, such as ``training``; unknown words are returned."""
    word = value.strip().lower()
    return _SPLIT_NAMES.get(word, word)


def _list_genre_folders(directory: Path) -> Listing:
    skipped: list[tuple[str, str]] = []
    paths = list(_audio_files(directory, skipped))
    _need_audio(directory, paths, skipped)
    parents = [Path(path).parent.parts for path in paths]
    depth = 0
    while all(len(parts) > depth and parts[depth].lower() in _WRAPPERS for parts in parents):
        depth += 1
    genres = [parts[depth] if len(parts) > depth else "" for parts in parents]
    songs = [Song(song_id, path, genre) for song_id, path, genre in zip(_song_ids(paths), paths, genres, strict=True)]
    return Listing("genre folders", Manifest(_with_known_duplicates(songs), directory), tuple(skipped))


def _list_fma(directory: Path, tracks_csv: Path) -> Listing:
    skipped: list[tuple[str, str]] = []
    paths = list(_audio_files(directory, skipped))
    _need_audio(directory, paths, skipped)
    tracks = read_tracks(tracks_csv)
    songs = []
    for song_id, path in zip(_song_ids(paths), paths, strict=True):
        stem = Path(path).stem
        genre, artist, album, split = tracks.get(int(stem) if stem.isdecimal() else -1, ("", "", "", ""))
        songs.append(Song(song_id, path, genre, artist, album, split))
    return Listing("FMA", Manifest(tuple(songs), directory), tuple(skipped))


def _list_table(path: Path) -> Listing:
    header, rows = read_table(path)
    if {"song_id", "path", "genre"} <= set(header):
        return Listing("manifest", read_manifest(path), ())
    if not {"path", "genre"} <= set(header):
        raise ManifestError(
            f"{path}: columns are {', '.join(header)}; needed are path and genre (and, where known, artist, album and "
            f"split)"
        )
    if not rows:
        raise ManifestError(f"{path}: no songs below the header")
    root = path.parent
    paths = [_relative(row["path"], root) for _, row in rows]
    problems = [f"line {line}: path is empty" for line, row in rows if not row["path"]]
    problems += [
        f"line {line}: split {row['split']!r} is none of {', '.join(SPLIT_VALUES[1:])} or empty"
        for line, row in rows
        if split_name(row.get("split", "")) not in SPLIT_VALUES
    ]
    problems += [f"path {name} stands on {count} lines" for name, count in Counter(paths).items() if name and count > 1]
    if problems:
        raise table_mistakes(path, problems)
    songs = [
        Song(song_id, p, row["genre"], row.get("artist", ""), row.get("album", ""), split_name(row.get("split", "")))
        for song_id, p, (_, row) in zip(_song_ids(paths), paths, rows, strict=True)
    ]
    return Listing("table", Manifest(_with_known_duplicates(songs), root), ())


def _relative(path: str, root: Path) -> str:
    if os.path.isabs(path):
        return Path(os.path.relpath(path, root.resolve())).as_posix()
    return os.path.normpath(path) if path else ""


def _find_tracks_csv(directory: Path) -> Path | None:
    """FMA's table in or beside a folder of FMA's form, whose audio lies in folders of three digits."""
    folders = (entry for pattern in ("*", "*/*") for entry in directory.glob(pattern))
    if not any(_NUMBERED.fullmatch(folder.name) for folder in folders):
        return None
    places = (directory, directory / "fma_metadata", directory.parent / "fma_metadata")
    return next((place / "tracks.csv" for place in places if (place / "tracks.csv").is_file()), None)


def read_tracks(path: Path) -> dict[int, tuple[str, str, str, str]]:
    """FMA's track id -> (top genre, artist, album, split). The table has two header lines and one of index names."""
    wanted = (("track", "genre_top"), ("artist", "name"), ("album", "title"), ("set", "split"))
    tracks: dict[int, tuple[str, str, str, str]] = {}
    # Artists' biographies are longer than the csv module's 128 KiB for a cell.
    limit = csv.field_size_limit(2**24)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = list(zip(next(reader, []), next(reader, []), strict=False))
            missing = [".".join(column) for column in wanted if column not in header]
            if missing:
                raise ManifestError(
                    f"{path}: no column {', '.join(missing)} in its two header lines; needed is the tracks.csv of "
                    f"fma_metadata.zip"
                )
            genre_idx, artist_idx, album_idx, split_idx = (header.index(column) for column in wanted)
            for cells in reader:
                if len(cells) == len(header) and cells[0].isdecimal():
                    split = split_name(cells[split_idx])
                    tracks[int(cells[0])] = (
                        cells[genre_idx].strip(),
                        cells[artist_idx].strip(),
                        cells[album_idx].strip(),
                        split if split in SPLIT_VALUES else "",
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: FMA's table of tracks cannot be read: {error}") from None
    finally:
        csv.field_size_limit(limit)
    return tracks


def _audio_files(directory: Path, skipped: list[tuple[str, str]]) -> Iterator[str]:
    """Paths of the audio files below a folder, relative to it and sorted; links are followed, but never in circles."""
    visited: set[str] = set()

    def unreadable(error: OSError) -> None:
        skipped.append((os.path.relpath(error.filename, directory), f"folder cannot be read: {error.strerror}"))

    for folder, folders, names in os.walk(directory, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        for name in sorted(names):
            full = Path(folder, name)
            path = full.relative_to(directory).as_posix()
            if reason := _not_audio(full):
                skipped.append((ascii(path)[1:-1] if "UTF-8" in reason else path, reason))
            else:
                yield path


def _not_audio(path: Path) -> str:
    if path.name.startswith(".") or path.suffix.lower() not in AUDIO_EXTENSIONS:
        return "not an audio file by its name"
    if not path.is_file() and not path.is_symlink():
        return "not a regular file"
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8; rename it"
    return ""


def _need_audio(directory: Path, paths: Sequence[str], skipped: Sequence[tuple[str, str]]) -> None:
    if not paths:
        raise ManifestError(
            f"{directory}: no audio among its {len(skipped)} files; needed are files such as GENRE/song.mp3 "
            f"(known endings: {' '.join(sorted(AUDIO_EXTENSIONS))})"
        )


def _song_ids(paths: Sequence[str]) -> list[str]:
    return distinct_ids([Path(path).stem for path in paths], paths)


def distinct_ids(names: Sequence[str], paths: Sequence[str]) -> list[str]:
    """A song id a file: its name, its path without suffix where the name stands twice, or its path as the last way."""
    n_of = Counter(names)
    ids = [name if n_of[name] == 1 else os.path.splitext(path)[0] for name, path in zip(names, paths, strict=True)]
    # The same song in two encodings, GENRE/a.mp3 and GENRE/a.wav, differs in nothing but the suffix.
    n_of = Counter(ids)
    return [song_id if n_of[song_id] == 1 else path for song_id, path in zip(ids, paths, strict=True)]


def _with_known_duplicates(songs: Sequence[Song]) -> tuple[Song, ...]:
    if not known_faults.is_gtzan(song.song_id for song in songs):
        return tuple(songs)
    return tuple(replace(song, duplicate_of=known_faults.gtzan_original(song.song_id)) for song in songs)
