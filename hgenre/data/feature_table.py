"""Tables of features, a row a song or a slice, read as they are: GTZAN's public ones, FMA's, and our own.

A table has the columns ``filename`` and ``label``, perhaps ``length`` (samples at ``TABLE_RATE_HZ``), and every other
column with a name is a feature. A song's rows are those whose filename is equal without suffix and slice number, as in
``classical.00000.3.wav``; a song's path in a manifest is ``table.csv#<song id>``. FMA's ``features.csv``, with its
three header lines, gives its 140 statistics of MFCC; its genres are joined from another file.
"""

import csv
import hashlib
import math
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hgenre.data.facts import read_facts, with_facts
from hgenre.data.frame_source import FrameSource
from hgenre.data.known_faults import gtzan_original, is_gtzan
from hgenre.data.layouts import AUDIO_EXTENSIONS
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import FeatureError, ManifestError
from hgenre.features.cepstra import FMA_N_MFCC, cepstral_statistics, mfcc, statistics_columns
from hgenre.features.spec import ArraySpec, LogMelSpec, TableSpec, described
from hgenre.features.table import TABLE_FEATURES, TABLE_RATE_HZ

WHOLE_SONG_S = 30.0
"""What a row for a whole song stands for, in seconds: GTZAN's and FMA's songs are clips of 30 s."""

_SLICE_S = 3.0
_SLICE_NUMBER = re.compile(r"(.+)\.(0|[1-9]\d{0,8})")
_FMA_HEADER = ("feature", "statistics", "number", "track_id")
_TABLE_PATH = re.compile(r"(.+?\.csv)#(.+)", re.DOTALL | re.IGNORECASE)
_LENGTH = re.compile(r"[1-9]\d{0,8}")
_NO_FEATURES = ("filename", "length", "label")
# The index that pandas writes, without a name or as it names one that it reads again. In a table sorted by genre it
# tells the genre.
_INDEX = re.compile(r"|Unnamed: \d+")
_MAX_NAMED = 10
_LARGEST = float(np.finfo(np.float32).max)


_NO_VALUES = np.empty(0, np.float32)


class Row(NamedTuple):
    """One row of a table; ``values`` (column,) float32, none where ``problem`` says what is wrong with the row."""

    line: int
    filename: str
    length: str = ""
    label: str = ""
    values: np.ndarray = _NO_VALUES
    problem: str = ""


@dataclass(frozen=True)
class _Table:
    columns: tuple[str, ...]
    row_s: float
    songs: dict[str, list[Row]]
    errors: dict[str, str]
    labelled: bool


def open_table(path: str | Path, *, join: str | Path | None = None) -> tuple[Manifest, FrameSource]:
    """The songs of a table and their rows, as frames (column, row) float32.

    A song with a cell that is empty, no number or not finite, with two genres or with the same slice twice is left out
    and named in the source's ``errors``. Known repetitions in GTZAN, and songs whose rows are equal, are marked.

    Args:
        join: What else is known of the songs, see ``read_facts``; also where FMA's genres come from.

    Raises:
        ManifestError: the file is no such table, or the joined one is wrong.
        FeatureError: a table without genres and nothing joined that has them.
    """
    path = Path(path)
    if table_location(f"{path.name}#song") is None:
        raise ManifestError(
            f"{path}: found a table under another name than NAME.csv, which paths to its rows need; rename it"
        )
    facts = read_facts(join) if join else {}
    table = _read(path, {song_id for song_id, known in facts.items() if known["genre"]})
    if not table.labelled and not any(known["genre"] for known in facts.values()):
        raise FeatureError(
            f"{path}: holds no genres; join a file that does: FMA's tracks.csv, a CSV of track_id and genre, or an "
            ".npz archive of track_ids and genres"
        )
    if not table.songs and not table.errors:
        raise ManifestError(
            f"{path}: no songs below the header" + ("" if table.labelled else " whose genre the joined table knows")
        )
    rows, errors = _numbers(table)
    known = gtzan_original if is_gtzan([*table.songs, *table.errors]) else lambda song_id: ""
    digests = {song_id: hashlib.sha256(values.tobytes()).hexdigest() for song_id, values in rows.items()}
    first_of: dict[str, str] = {}
    songs = []
    for song_id, of in table.songs.items():
        digest = digests.get(song_id, "")
        first = first_of.setdefault(digest, song_id) if digest else song_id
        repeats = known(song_id) or (first if first != song_id else "")
        songs.append(
            Song(song_id, f"{path.name}#{song_id}", max(row.label for row in of), sha256=digest, duplicate_of=repeats)
        )
    manifest = Manifest(with_facts(songs, facts, join) if facts else tuple(songs), path.parent)
    errors |= {s.song_id: "has no genre" for s in manifest.songs if not s.genre and s.song_id not in errors}
    usable = tuple(song for song in manifest.usable if song.song_id not in errors)
    return manifest, FrameSource(TableSpec(table.columns, table.row_s), usable, rows.__getitem__, errors)


def read_rows(path: str | Path) -> tuple[tuple[str, ...], dict[str, np.ndarray], dict[str, str]]:
    """The columns of a labelled table, each sound song's (column, row) float32, and why the others are left out.

    Raises:
        ManifestError: the file is no such table.
    """
    table = _read(Path(path), set())
    return table.columns, *_numbers(table)


def table_location(path: str) -> tuple[str, str] | None:
    """The (file, song id) of a song's path into a table, or None where the path is of another kind."""
    match = _TABLE_PATH.fullmatch(path)
    return (match[1], match[2]) if match else None


def open_rows(manifest: Manifest) -> FrameSource:
    """The rows of a manifest's usable songs, whose paths lead into one table.

    Raises:
        ManifestError: the table is none, or is missing.
        FeatureError: a song lies outside the table, or in another one than the first.
    """
    locations = {song.song_id: table_location(song.path) for song in manifest.usable}
    files = sorted({"" if location is None else location[0] for location in locations.values()})
    if len(files) != 1 or not files[0]:
        found = ", ".join(name or "other files" for name in files)
        raise FeatureError(f"{manifest.root}: songs of one feature table were needed, the manifest's lie in {found}")
    path = manifest.root / files[0]
    table = _read(path, {location[1] for location in locations.values() if location})
    rows, errors = _numbers(table)
    # The manifest's word for a song need not be the table's.
    place = {song_id: location[1] for song_id, location in locations.items() if location}
    lost = {s: errors.get(p, f"is not in {path.name}") for s, p in place.items() if p not in rows}
    songs = tuple(song for song in manifest.usable if song.song_id not in lost)
    return FrameSource(TableSpec(table.columns, table.row_s), songs, lambda song_id: rows[place[song_id]], lost)


def statistics_table(source: FrameSource, n_mfcc: int = FMA_N_MFCC) -> FrameSource:
    """Each song's spectrogram as one row: ``cepstral_statistics`` of its MFCC, by default FMA's 140 columns.

    Computed when a song is asked for, and kept.

    Raises:
        FeatureError: the source holds no spectrograms, or fewer mel bands than coefficients.
    """
    spec = source.spec
    if not isinstance(spec, LogMelSpec | ArraySpec):
        raise FeatureError(f"statistics of cepstra are taken of spectrograms, found {described(spec)}")
    if n_mfcc > spec.n_mels:
        raise FeatureError(f"{n_mfcc} cepstra were asked for, the spectrograms have {spec.n_mels} mel bands")
    rows: dict[str, np.ndarray] = {}

    def frames(song_id: str) -> np.ndarray:
        if song_id not in rows:
            rows[song_id] = cepstral_statistics(mfcc(source.frames(song_id), n_mfcc))[:, None]
        return rows[song_id]

    return replace(source, spec=TableSpec(statistics_columns(n_mfcc), WHOLE_SONG_S, spec), frames=frames)


def write_table(
    path: str | Path, rows: Iterable[tuple[str, int, np.ndarray, str]], columns: Sequence[str] = TABLE_FEATURES
) -> None:
    """Write (filename, length, features, label) rows as a table; it appears whole or not at all.

    Raises:
        ManifestError: the file cannot be written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["filename", "length", *columns, "label"])
            for filename, length, features, label in rows:
                writer.writerow([filename, length, *map(float, features), label])
        os.replace(beside, path)
    except (OSError, UnicodeEncodeError) as error:
        raise ManifestError(f"{path}: cannot be written: {error}; choose another place for it (--out)") from None
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, wanted: set[str]) -> _Table:
    """A table's rows a song, in the order of slices; of an unlabelled one those of the wanted songs alone."""
    errors: dict[str, str] = {}
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            lines = ((reader.line_num, cells) for cells in reader)
            if header[:1] == ["feature"]:
                columns, rows = _fma_rows(path, header, lines, wanted)
                by_song = {row.filename: [row] for row in rows}
                return _Table(columns, WHOLE_SONG_S, by_song, errors, labelled=False)
            columns, rows = _flat_rows(path, header, lines, errors)
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error}); save the table as CSV in UTF-8") from None
    except (OSError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot be read as a CSV table: {error}") from None
    slice_of = _slices(rows)
    songs: dict[str, list[tuple[int, Row]]] = {}
    for row, (song_id, number) in zip(rows, slice_of, strict=True):
        songs.setdefault(song_id, []).append((number, row))
    for song_id, numbered in songs.items():
        numbered.sort(key=lambda pair: pair[0])
        _check_song(song_id, numbered, errors)
    sliced = any(len(numbered) > 1 for numbered in songs.values())
    by_song = {song_id: [row for _, row in numbered] for song_id, numbered in songs.items()}
    return _Table(columns, _slice_s(rows) if sliced else WHOLE_SONG_S, by_song, errors, labelled=True)


def _flat_rows(
    path: Path, header: list[str], lines: Iterator[tuple[int, list[str]]], errors: dict[str, str]
) -> tuple[tuple[str, ...], list[Row]]:
    missing = [name for name in ("filename", "label") if name not in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    columns = tuple(name for name in header if name not in _NO_FEATURES and not _INDEX.fullmatch(name))
    if missing or twice or not columns:
        shown = f"{', '.join(header[:_MAX_NAMED]) or '(nothing)'}{', ...' if len(header) > _MAX_NAMED else ''}"
        what = (
            f"no column {' and '.join(missing)}" if missing else f"{', '.join(twice)} twice" if twice else "no feature"
        )
        raise ManifestError(
            f"{path}: line 1: no table of features: {what} among {shown}; needed "
            "are filename, label and a column a feature, each once, or FMA's features.csv. `hgenre features table` "
            "makes one of audio"
        )
    rows = []
    for number, cells in lines:
        if not any(cells):
            continue
        cells = [cell.strip() for cell in cells]
        named = dict(zip(header, cells, strict=False))
        filename = named.get("filename", "")
        if not filename:
            errors[f"line {number}"] = "filename is empty"
        elif len(cells) != len(header):
            rows.append(Row(number, filename, problem=_ragged(cells, header)))
        else:
            features = _parsed(columns, [named[name] for name in columns])
            rows.append(Row(number, filename, named.get("length", ""), named["label"], *features))
    return columns, rows


def _fma_rows(
    path: Path, first: list[str], lines: Iterator[tuple[int, list[str]]], wanted: set[str]
) -> tuple[tuple[str, ...], list[Row]]:
    """The MFCC statistics of FMA's table; its first column is the track id, and its rows have no genre."""
    header = [first, *(cells for _, cells in islice(lines, 3))]
    found = tuple(cells[0] if cells else "" for cells in header)
    chosen = [i for i, name in enumerate(first) if name == "mfcc"]
    if found != _FMA_HEADER or not chosen or len({len(cells) for cells in header[:3]}) != 1:
        raise ManifestError(
            f"{path}: its header lines begin with {', '.join(found)}; needed are those of FMA's features.csv: "
            f"{', '.join(_FMA_HEADER)}, and columns of the feature mfcc"
        )
    columns = tuple(f"mfcc_{header[1][i].strip()}_{header[2][i].strip()}" for i in chosen)
    rows = []
    for number, cells in lines:
        if not cells or cells[0] not in wanted:
            continue
        if len(cells) != len(first):
            rows.append(Row(number, cells[0], problem=_ragged(cells, first)))
        else:
            rows.append(Row(number, cells[0], "", "", *_parsed(columns, [cells[i].strip() for i in chosen])))
    return columns, rows


def _ragged(cells: Sequence[str], header: Sequence[str]) -> str:
    return f": {len(cells)} cells under a header of {len(header)}"


def _parsed(columns: Sequence[str], cells: Sequence[str]) -> tuple[np.ndarray, str]:
    """(column,) float32 and no problem, or no values and the first problem."""
    values = []
    for column, cell in zip(columns, cells, strict=True):
        try:
            value = float(cell)
        except ValueError:
            return _NO_VALUES, f", column {column}: {f'{cell!r} is no number' if cell else 'is empty'}"
        if not math.isfinite(value) or abs(value) > _LARGEST:
            return _NO_VALUES, f", column {column}: {cell} is not finite in 32 bits"
        values.append(value)
    return np.array(values, np.float32), ""


def _slices(rows: Sequence[Row]) -> list[tuple[str, int]]:
    """(song id, slice) a row: a number at the end of all names counts slices if each song so named has a slice 0."""
    stems = [_stem(row.filename) for row in rows]
    matches = [_SLICE_NUMBER.fullmatch(stem) for stem in stems]
    found = [(match[1], int(match[2])) for match in matches if match]
    counted = len(found) == len(rows) and {song for song, _ in found} == {song for song, n in found if n == 0}
    return found if counted else [(stem, 0) for stem in stems]


def _stem(filename: str) -> str:
    stem, suffix = posixpath.splitext(filename)
    return stem if suffix.lower() in AUDIO_EXTENSIONS else filename


def _slice_s(rows: Sequence[Row]) -> float:
    """What a slice lasts, to a tenth of a second, by the middle of the lengths; 3 s where they say nothing."""
    lengths = sorted(int(row.length) for row in rows if _LENGTH.fullmatch(row.length))
    return max(0.1, round(lengths[len(lengths) // 2] / TABLE_RATE_HZ, 1)) if lengths else _SLICE_S


def _check_song(song_id: str, numbered: Sequence[tuple[int, Row]], errors: dict[str, str]) -> None:
    for (number, row), (after, repeated) in pairwise(numbered):
        if number == after:
            errors[song_id] = f"{row.filename} stands on lines {row.line} and {repeated.line}"
    genres = sorted({row.label for _, row in numbered if not row.problem})
    if len(genres) > 1:
        errors[song_id] = f"has the genres {', '.join(genre or '(none)' for genre in genres)}"


def _numbers(table: _Table) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(column, row) float32 of the songs whose cells are sound, and why the others are left out."""
    rows: dict[str, np.ndarray] = {}
    errors = dict(table.errors)
    for song_id, of in table.songs.items():
        bad = next((row for row in of if row.problem), None)
        if bad:
            errors[song_id] = f"line {bad.line}{bad.problem}"
        elif song_id not in errors:
            rows[song_id] = np.stack([row.values for row in of], axis=1)
    return rows, errors
