"""Ready-made spectrogram arrays on disk: ``features.npy``, ``spec.json`` and ``manifest.csv`` in one folder.

``features.npy`` is a C-contiguous (song, mel, frame) array that is mapped into memory, never loaded whole; a song's
``path`` is ``features.npy#<row>``. ``file.npz#<id>`` is read too, where the archive holds one such array and ``ids``.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgenre.data.manifest import Manifest, Song, array_location
from hgenre.errors import FeatureError
from hgenre.features.spec import ArraySpec, from_json

FEATURES_NAME = "features.npy"
SPEC_NAME = "spec.json"

# What numpy raises for files that are damaged, pickled, too large to hold, or no archive where one is needed.
_READ_ERRORS = (OSError, ValueError, EOFError, KeyError, MemoryError, TypeError, zipfile.BadZipFile, zlib.error)

_ID_KEYS = ("ids", "track_ids", "song_ids")


@dataclass(frozen=True)
class ArrayReader:
    """The spectrograms that a manifest's songs refer to, and their one spec."""

    spec: ArraySpec
    rows: dict[str, np.ndarray]

    def frames(self, song: Song) -> np.ndarray:
        """The song's spectrogram: float32 (mel, frame), low band first, in dB (as stored where the spec has no dB).

        Raises:
            FeatureError: the song was not in the manifest that was opened.
        """
        if song.song_id not in self.rows:
            raise FeatureError(f"song {song.song_id} is not in the manifest whose {len(self.rows)} arrays were opened")
        frames = self.rows[song.song_id].astype(np.float32)
        return frames if self.spec.db_per_unit is None else frames * np.float32(self.spec.db_per_unit)


def open_arrays(manifest: Manifest) -> ArrayReader:
    """A reader of the usable songs' arrays; each file is mapped once, and each song's place in it is checked.

    Raises:
        FeatureError: a song is audio, a file is missing, damaged or of another shape than its ``spec.json`` says, a
            row or id is not in its file, or the files do not share one spec.
    """
    files: dict[Path, tuple[np.ndarray, dict[str, int] | None]] = {}
    specs: dict[ArraySpec, Path] = {}
    rows: dict[str, np.ndarray] = {}
    for song in manifest.usable:
        location = array_location(song.path)
        if location is None:
            raise FeatureError(
                f"song {song.song_id}: {song.path} is not a ready-made array; needed is a path such as "
                f"{FEATURES_NAME}#0, as `hgenre import-features` writes it"
            )
        path, name = manifest.root / location[0], location[1]
        if path not in files:
            spec = read_spec(path.with_name(SPEC_NAME))
            specs.setdefault(spec, path)
            files[path] = _open_file(path, spec)
        array, row_of = files[path]
        row = int(name) if row_of is None and name.isdecimal() else (row_of or {}).get(name, -1)
        if not 0 <= row < len(array):
            raise FeatureError(f"song {song.song_id}: {path} holds {len(array)} songs, but none is {name!r}")
        rows[song.song_id] = array[row]
    if len(specs) != 1:
        found = "; ".join(f"{path}: {spec}" for spec, path in specs.items()) or "no usable song"
        raise FeatureError(f"arrays need one spec for all songs of {manifest.root}, found {found}")
    return ArrayReader(next(iter(specs)), rows)


def read_spec(path: Path) -> ArraySpec:
    """The spec beside an array file; raises FeatureError where it is missing, damaged or of another kind."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FeatureError(
            f"{path}: the spec of the arrays beside it cannot be read ({error}); import them again with "
            f"`hgenre import-features`"
        ) from None
    spec = from_json(values) if isinstance(values, dict) else None
    if not isinstance(spec, ArraySpec):
        raise FeatureError(f"{path}: needed is the spec of imported arrays (kind arrays), found {values!r:.80}")
    return spec


@contextmanager
def open_archive(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """An open ``.npz`` archive of plain arrays; a FeatureError raised while it is open gets the path put in front."""
    try:
        # Opened here because numpy leaves the file open when it turns out not to be a zip archive.
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None
    except _READ_ERRORS as error:
        raise FeatureError(f"{path}: not a readable .npz archive of plain arrays: {error}") from None


def find_ids(archive: np.lib.npyio.NpzFile, key: str | None) -> list[str]:
    """The ids in an open archive, under ``key`` or the first of ``ids``, ``track_ids``, ``song_ids``."""
    found = key or next((name for name in _ID_KEYS if name in archive.files), "ids")
    if found not in archive.files:
        raise FeatureError(f"no ids under the key {found!r}; keys are {', '.join(archive.files)}. Name one (--ids-key)")
    return [str(song_id).strip() for song_id in archive[found].ravel()]


def find_spectrograms(archive: np.lib.npyio.NpzFile, key: str | None) -> np.ndarray:
    """The (song, mel, frame) array in an open archive, under ``key`` or the only one with three axes."""
    if key is not None and key not in archive.files:
        raise FeatureError(f"no array under the key {key!r}; keys are {', '.join(archive.files)}")
    arrays = {name: archive[name] for name in ([key] if key else archive.files)}
    found = {name: array for name, array in arrays.items() if array.ndim == 3}
    if len(found) != 1:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise FeatureError(f"needed is one array (song, mel, frame), found {shapes}. Name it by its key (--key)")
    return next(iter(found.values()))


def _open_file(path: Path, spec: ArraySpec) -> tuple[np.ndarray, dict[str, int] | None]:
    """The (song, mel, frame) array of a file and, for an archive, each id's row."""
    row_of = None
    if path.suffix == ".npz":
        with open_archive(path) as archive:
            array = find_spectrograms(archive, None)
            row_of = {song_id: row for row, song_id in enumerate(find_ids(archive, None))}
    else:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except _READ_ERRORS as error:
            raise FeatureError(f"{path}: not a readable array file ({error}); import the arrays again") from None
    if array.ndim != 3 or array.shape[1] != spec.n_mels or array.dtype.kind not in "uif":
        raise FeatureError(
            f"{path}: needed are numbers (song, {spec.n_mels} mel, frame), as {SPEC_NAME} beside it says, found "
            f"{array.dtype} {array.shape}"
        )
    return array, row_of
