"""The manifest: one CSV row a song, the only way that songs, genres and splits enter the program."""

import csv
import errno
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from hgenre.errors import ManifestError
from hgenre.labels import Labels

SPLITS = ("train", "valid", "test")
# "dropped" marks songs that a published list leaves out on purpose; they stand on no side of a split.
SPLIT_VALUES = ("", *SPLITS, "dropped")

_MAX_PROBLEMS_SHOWN = 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ARRAY_PATH = re.compile(r"(.+\.np[yz])#(.+)", re.DOTALL)


@dataclass(frozen=True)
class Song:
    """One song of a manifest; the field names are the CSV's columns, "" and None mean unknown.

    ``path`` is relative to the manifest's folder. A ready-made array is ``file.npy#row`` or ``file.npz#id``.
    ``sha256`` is of the file's bytes (of the row's bytes for an array). ``duplicate_of`` is the id of the song that
    this one repeats; that song need not be in the manifest. ``fault`` is the kind of error that makes the song
    unusable, such as ``unreadable``.
    """

    song_id: str
    path: str
    genre: str
    artist: str = ""
    album: str = ""
    split: str = ""
    sha256: str = ""
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    duplicate_of: str = ""
    fault: str = ""


COLUMNS = tuple(field.name for field in fields(Song))


@dataclass(frozen=True)
class Manifest:
    """Songs with unique ids, and the folder that their relative paths refer to."""

    songs: tuple[Song, ...]
    root: Path

    @property
    def usable(self) -> tuple[Song, ...]:
        """The songs that have a genre and no fault."""
        return tuple(song for song in self.songs if song.genre and not song.fault)

    @property
    def labels(self) -> Labels:
        """The genres of the usable songs in alphabetical order; raises ManifestError where there are none."""
        usable = self.usable
        if not usable:
            raise ManifestError(
                f"the manifest of {self.root} has {len(self.songs)} songs, but none with both a genre and a readable "
                f"file; see its columns genre and fault"
            )
        return Labels.from_names(song.genre for song in usable)

    def audio_path(self, song: Song) -> Path:
        """Where the song's audio file is; raises ManifestError for a ready-made array."""
        if array_location(song.path):
            raise ManifestError(
                f"song {song.song_id} is a ready-made array ({song.path}), but audio was asked for; "
                f"use a model that was trained on arrays"
            )
        return self.root / song.path


def array_location(path: str) -> tuple[str, str] | None:
    """The (file, id within the file) of a ready-made array's path, or None where the path is an audio file's."""
    match = _ARRAY_PATH.fullmatch(path)
    return (match[1], match[2]) if match else None


def read_manifest(path: str | Path) -> Manifest:
    """The manifest that a CSV file (UTF-8, with or without a byte-order mark) holds.

    Columns ``song_id``, ``path`` and ``genre`` are needed, the others of ``COLUMNS`` may be absent, and columns of
    the user's own are ignored.

    Raises:
        ManifestError: every mistake in the file, each with its line number.
    """
    path = Path(path)
    header, rows = read_table(path)
    missing = [column for column in ("song_id", "path", "genre") if column not in header]
    if missing:
        raise ManifestError(
            f"{path}: line 1: no column {', '.join(missing)} among {', '.join(header)}; a manifest needs song_id, path "
            f"and genre. `hgenre index` makes one from a folder or from a CSV of path and genre"
        )
    problems: list[str] = []
    songs: list[Song] = []
    first_line: dict[str, int] = {}
    for line, row in rows:
        song, mistakes = _parse_row(row)
        if song.song_id in first_line:
            mistakes.append(f"song_id {song.song_id!r} stands on line {first_line[song.song_id]} already")
        first_line.setdefault(song.song_id, line)
        problems += [f"line {line}: {mistake}" for mistake in mistakes]
        songs.append(song)
    if problems:
        raise table_mistakes(path, problems)
    if not songs:
        raise ManifestError(f"{path}: no songs below the header; `hgenre index DIR` lists those of a folder")
    return Manifest(tuple(songs), path.parent)


def read_table(path: Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """The header and the (line number, row) pairs of a CSV file with one header line.

    Cells are stripped of surrounding blanks; lines that are wholly empty are skipped.

    Raises:
        ManifestError: the file cannot be read, is not UTF-8, or has rows that do not fit its header.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = tuple(cell.strip() for cell in next(reader, []))
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if any(cells)]
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error}); save the table as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot be read as a CSV table: {error}") from None
    if not any(header):
        raise ManifestError(f"{path}: empty; needed is a CSV table with a header line")
    problems = [f"line 1: column {name!r} stands twice" for name in sorted({n for n in header if header.count(n) > 1})]
    problems += [
        f"line {line}: {len(cells)} cells under a header of {len(header)}"
        for line, cells in lines
        if len(cells) != len(header)
    ]
    problems += [f"line {line}: holds a NUL character" for line, cells in lines if any("\0" in cell for cell in cells)]
    if problems:
        raise table_mistakes(path, problems)
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in lines]


def write_manifest(manifest: Manifest, path: str | Path) -> None:
    """Write the manifest as CSV, with its paths made relative to the CSV's own folder.

    The file is written beside its final name and renamed, so a reader never meets half a manifest.
    """
    path = Path(path)
    check_writable(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            for song in rebase(manifest, path.parent).songs:
                values = (getattr(song, column) for column in COLUMNS)
                writer.writerow("" if value is None else value for value in values)
        os.replace(beside, path)
    except (OSError, UnicodeEncodeError) as error:
        raise ManifestError(f"{path}: cannot be written: {error}; choose another place for it") from None
    finally:
        beside.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise ManifestError where no table can be written at this place, before the work that leads up to it.

    A folder without any write permission is left alone even by users whom the system would let write, such as root.
    """
    path = Path(path)
    if path.is_dir():
        raise ManifestError(f"{path}: is a folder; needed is a file name, such as {path / 'songs.csv'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.parent.stat().st_mode & 0o222:
            raise PermissionError(errno.EACCES, "the folder is read-only")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ManifestError(
            f"{path}: cannot be written there ({error.strerror}); choose another place (--out)"
        ) from None


def rebase(manifest: Manifest, root: Path) -> Manifest:
    """The same songs with paths relative to another folder; ``..`` appears where the audio lies outside of it."""
    # Resolved on both sides because the system resolves links before it goes up by "..".
    source, target = manifest.root.resolve(), root.resolve()
    if source == target:
        return Manifest(manifest.songs, root)
    songs = (
        replace(song, path=PurePosixPath(Path(os.path.relpath(source / song.path, target))).as_posix())
        for song in manifest.songs
    )
    return Manifest(tuple(songs), root)


def with_split(songs: Iterable[Song], split: Mapping[str, str]) -> tuple[Song, ...]:
    """The songs with their split replaced by ``split[song_id]``, or by "" where the mapping does not name them."""
    return tuple(replace(song, split=split.get(song.song_id, "")) for song in songs)


def _parse_row(row: Mapping[str, str]) -> tuple[Song, list[str]]:
    cells = {column: row.get(column, "") for column in COLUMNS}
    mistakes = [f"{column} is empty" for column in ("song_id", "path") if not cells[column]]
    if PurePosixPath(cells["path"]).is_absolute() or PureWindowsPath(cells["path"]).drive:
        mistakes.append(
            f"path {cells['path']!r} is absolute; paths are relative to the manifest's folder, so that both can move"
        )
    if cells["split"] not in SPLIT_VALUES:
        mistakes.append(f"split {cells['split']!r} is none of {', '.join(SPLIT_VALUES[1:])} or empty")
    if cells["sha256"] and not _SHA256.fullmatch(cells["sha256"]):
        mistakes.append(f"sha256 {cells['sha256']!r} is not 64 lower-case hexadecimal digits")
    if cells["duplicate_of"] and cells["duplicate_of"] == cells["song_id"]:
        mistakes.append(f"song {cells['song_id']!r} is its own duplicate_of")
    duration_s = _number(cells.pop("duration_s"))
    if duration_s is not None and not (math.isfinite(duration_s) and duration_s >= 0):
        mistakes.append(f"duration_s {row['duration_s']!r} is not a number of seconds, 0 or more")
    rate_hz = _number(cells.pop("sample_rate_hz"))
    if rate_hz is not None and not (math.isfinite(rate_hz) and rate_hz > 0 and rate_hz.is_integer()):
        mistakes.append(f"sample_rate_hz {row['sample_rate_hz']!r} is not a whole number above 0")
        rate_hz = None
    sample_rate_hz = None if rate_hz is None else int(rate_hz)
    return Song(**cells, duration_s=duration_s, sample_rate_hz=sample_rate_hz), mistakes


def _number(cell: str) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return math.nan


def table_mistakes(path: Path, problems: Sequence[str]) -> ManifestError:
    """The error that names the first 20 of a table's mistakes and counts the rest."""
    shown = "".join(f"\n  {problem}" for problem in problems[:_MAX_PROBLEMS_SHOWN])
    hidden = len(problems) - _MAX_PROBLEMS_SHOWN
    more = f"\n  and {hidden} more" if hidden > 0 else ""
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return ManifestError(f"{path}: {count} in the table:{shown}{more}")
