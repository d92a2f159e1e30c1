"""Takes over spectrograms that were computed elsewhere, with what is known of their scale and time axis."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hgenre.data.arrays import (
    FEATURES_NAME,
    SPEC_NAME,
    find_ids,
    find_spectrograms,
    open_archive,
    open_arrays,
)
from hgenre.data.facts import read_facts, with_facts
from hgenre.data.known_faults import gtzan_original, is_gtzan
from hgenre.data.manifest import Manifest, Song, check_writable, write_manifest
from hgenre.errors import FeatureError
from hgenre.features.spec import ArraySpec, to_json

__all__ = ["import_arrays", "import_images", "open_arrays"]

_IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg"})
_DTYPES = ("uint8", "float16", "float32")
_MAX_NAMED = 10


def import_arrays(
    npz_path: str | Path,
    out_dir: str | Path,
    *,
    frame_rate_hz: float,
    scale: str,
    db_per_unit: float | None = None,
    key: str | None = None,
    ids_key: str | None = None,
    genres_key: str = "genres",
    join: str | Path | None = None,
) -> Manifest:
    """The manifest of an ``.npz`` archive's spectrograms, written to ``out_dir`` with the values exactly as given.

    Args:
        npz_path: Archive with one array (song, mel, frame), low band first, of uint8, float16 or float32; one id a
            song; one genre a song.
        out_dir: Folder for ``features.npy``, ``spec.json`` and ``manifest.csv``; made where it is missing.
        frame_rate_hz: Frames a second.
        scale: What a value means, in words.
        db_per_unit: Factor that turns values into dB; None where there is none.
        key: Which array, where the archive holds several with three axes.
        ids_key: Where the ids are; by default the first of ``ids``, ``track_ids`` and ``song_ids``.
        genres_key: Where the genres are.
        join: CSV with what else is known of the songs: ``song_id`` (or ``id``, ``track_id``) and any of ``artist``,
            ``album``, ``split`` (or ``fault_filtered``), ``duplicate_of``.

    Raises:
        FeatureError: the archive is damaged or its arrays do not fit each other.
        ManifestError: the CSV is wrong.
    """
    npz_path = Path(npz_path)
    with open_archive(npz_path) as archive:
        spectrograms = find_spectrograms(archive, key)
        song_ids = find_ids(archive, ids_key)
        if genres_key not in archive.files:
            raise FeatureError(
                f"no genres under the key {genres_key!r}; keys are {', '.join(archive.files)}. Name one (--genres-key)"
            )
        genres = [str(genre).strip() for genre in archive[genres_key].ravel()]
    spec = ArraySpec(spectrograms.shape[1], frame_rate_hz, scale, db_per_unit)
    songs = with_facts(_songs(npz_path, spectrograms, song_ids, genres), read_facts(join) if join else {}, join)
    return _write(Path(out_dir), spectrograms, songs, spec)


def import_images(
    directory: str | Path,
    out_dir: str | Path,
    *,
    frame_rate_hz: float,
    scale: str,
    n_mels: int,
    low_band: Literal["bottom", "top"] = "bottom",
    join: str | Path | None = None,
) -> Manifest:
    """The manifest of a folder a genre of PNG or JPEG spectrograms, written to ``out_dir`` as uint8 luminance.

    An image is a song: ``n_mels`` rows, time along its columns. Nothing is resized or cut.

    Args:
        directory: Holds ``<genre>/<song id>.png`` (or .jpg).
        out_dir: As for ``import_arrays``.
        frame_rate_hz: Columns a second.
        scale: What a luminance of 0..255 means, in words.
        n_mels: Rows of every image.
        low_band: Which edge of the images holds the lowest band.
        join: As for ``import_arrays``.

    Raises:
        FeatureError: no images, an image that cannot be read, or images of other sizes, each by name.
    """
    directory = Path(directory)
    paths = sorted(p for p in directory.glob("*/*") if p.suffix.lower() in _IMAGE_EXTENSIONS and p.is_file())
    if not paths:
        raise FeatureError(f"{directory}: no images; needed are PNG or JPEG files such as GENRE/song.png")
    spectrograms = _read_images(directory, paths, n_mels)
    if low_band == "bottom":
        spectrograms = np.ascontiguousarray(spectrograms[:, ::-1])
    spec = ArraySpec(n_mels, frame_rate_hz, scale, None)
    songs = _songs(directory, spectrograms, [p.stem for p in paths], [p.parent.name for p in paths])
    return _write(Path(out_dir), spectrograms, with_facts(songs, read_facts(join) if join else {}, join), spec)


def _songs(source: Path, spectrograms: np.ndarray, song_ids: Sequence[str], genres: Sequence[str]) -> list[Song]:
    n_songs = len(spectrograms)
    if str(spectrograms.dtype) not in _DTYPES or 0 in spectrograms.shape:
        raise FeatureError(
            f"{source}: spectrograms are {spectrograms.dtype} {spectrograms.shape}; needed is (song, mel, frame) of "
            f"{', '.join(_DTYPES)}, with no axis of length 0"
        )
    if not len(song_ids) == len(genres) == n_songs:
        raise FeatureError(
            f"{source}: {n_songs} spectrograms, {len(song_ids)} ids and {len(genres)} genres; needed is one of each a "
            f"song"
        )
    if twice := [song_id for song_id, count in Counter(song_ids).items() if count > 1 or not song_id]:
        raise FeatureError(f"{source}: {len(twice)} ids are empty or stand twice: {', '.join(twice[:_MAX_NAMED])}")
    broken = [song_ids[row] for row in range(n_songs) if not np.isfinite(spectrograms[row]).all()]
    if broken:
        raise FeatureError(
            f"{source}: {len(broken)} songs hold NaN or infinite values: {', '.join(broken[:_MAX_NAMED])}; leave them "
            f"out or compute them again"
        )
    digests = [hashlib.sha256(row.tobytes()).hexdigest() for row in spectrograms]
    first_of: dict[str, str] = {}
    originals = [first_of.setdefault(digest, song_id) for digest, song_id in zip(digests, song_ids, strict=True)]
    known = gtzan_original if is_gtzan(song_ids) else lambda song_id: ""
    return [
        Song(
            song_id,
            path=f"{FEATURES_NAME}#{row}",
            genre=genres[row],
            sha256=digests[row],
            duplicate_of=known(song_id) or (originals[row] if originals[row] != song_id else ""),
        )
        for row, song_id in enumerate(song_ids)
    ]


def _read_images(directory: Path, paths: Sequence[Path], n_mels: int) -> np.ndarray:
    """Luminance of all images: uint8 (song, row, column), top row first."""
    from PIL import Image

    sizes: dict[Path, tuple[int, int]] = {}
    images: list[np.ndarray] = []
    for path in paths:
        try:
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                sizes[path] = image.size
                if image.size == sizes[paths[0]] and image.height == n_mels:
                    images.append(np.asarray(image.convert("L")))
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise FeatureError(f"{path}: not a readable PNG or JPEG image: {error}") from None
    width = sizes[paths[0]][0]
    odd = [path for path in paths if sizes[path] != (width, n_mels)]
    if odd:
        named = "".join(
            f"\n  {path.relative_to(directory)}: {sizes[path][0]} x {sizes[path][1]}" for path in odd[:_MAX_NAMED]
        )
        more = f"\n  and {len(odd) - _MAX_NAMED} more" if len(odd) > _MAX_NAMED else ""
        raise FeatureError(
            f"{directory}: {len(odd)} of {len(paths)} images are not {width} columns x {n_mels} mel rows as needed; "
            f"nothing is resized:{named}{more}"
        )
    return np.stack(images)


def _write(out_dir: Path, spectrograms: np.ndarray, songs: tuple[Song, ...], spec: ArraySpec) -> Manifest:
    """Write the three files, the manifest last: a folder that has one is complete."""
    manifest_path = out_dir / "manifest.csv"
    features_beside = out_dir / f".{FEATURES_NAME}.{os.getpid()}.part"
    spec_beside = out_dir / f".{SPEC_NAME}.{os.getpid()}.part"
    try:
        check_writable(manifest_path)
        with open(features_beside, "wb") as file:
            np.save(file, np.ascontiguousarray(spectrograms), allow_pickle=False)
        spec_beside.write_text(json.dumps(to_json(spec), indent=2) + "\n", encoding="utf-8")
        manifest_path.unlink(missing_ok=True)
        os.replace(features_beside, out_dir / FEATURES_NAME)
        os.replace(spec_beside, out_dir / SPEC_NAME)
    except OSError as error:
        raise FeatureError(f"{out_dir}: cannot be written: {error}; choose another folder (--out)") from None
    finally:
        features_beside.unlink(missing_ok=True)
        spec_beside.unlink(missing_ok=True)
    manifest = Manifest(songs, out_dir)
    write_manifest(manifest, manifest_path)
    return manifest
