"""Frames on disk, computed once for each audio file and feature spec."""

import errno
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from hgenre.data.manifest import Manifest, Song
from hgenre.errors import AudioError, FeatureError, HgenreError, ManifestError
from hgenre.features import FeatureSpec, digest, frames_stream, log_mel_of, to_json

if TYPE_CHECKING:
    from hgenre.audio import AudioFacts

# Counts up when the same spec comes to mean other numbers; entries of another format are stale.
_FORMAT = 1

# A writer needs seconds for a file, so a partial file of this age has lost its writer.
_ABANDONED_S = 3600.0

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FeatureCache:
    """An open cache folder of one feature spec; any number of threads and processes may read and write it.

    ``root`` holds ``spec.json``, the entries ``<first 2 digits>/<sha256>.npy`` (mel, frame) float32, and in
    ``partial`` what is being written. Entries appear whole or not at all.
    """

    root: Path
    spec: FeatureSpec

    def get(self, sha256: str) -> np.ndarray | None:
        """The frames of the file with this digest, (mel, frame) float32, read-only and mapped from the disk.

        None when there is no entry, or one that is damaged: cut off, or of another type or number of mel bands.
        """
        entry = self._entry(sha256)
        try:
            # Unlike np.load it opens nothing but plain arrays: no archives and no pickles.
            frames = np.lib.format.open_memmap(entry, mode="r")
        except Exception:  # numpy's parser of a damaged header raises whatever the tokenizer does
            return None
        sound = frames.dtype == np.float32 and frames.ndim == 2 and len(frames) == self.spec.n_mels
        return frames if sound else None

    def put(self, sha256: str, frames: np.ndarray) -> None:
        """Write an entry, (mel, frame) float32, in place of an older one.

        Raises:
            FeatureError: the frames do not match the spec.
            HgenreError: the disk is full or cannot be written.
        """
        if frames.dtype != np.float32 or frames.ndim != 2 or len(frames) != self.spec.n_mels:
            raise FeatureError(
                f"frames for the feature cache must be float32 of shape ({self.spec.n_mels}, frame), "
                f"found {frames.dtype} of shape {frames.shape}"
            )
        entry = self._entry(sha256)
        with _write_beside(self.root, entry) as file:
            # np.save would write the values past Python's file object and lose the reason of a failure.
            frames = np.ascontiguousarray(frames)
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(frames))
            file.write(frames.data)

    def _entry(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise FeatureError(f"feature cache key {sha256!r} is not a sha256 of 64 lower-case hexadecimal digits")
        return self.root / sha256[:2] / f"{sha256}.npy"


def default_cache_dir() -> Path:
    """``$HGENRE_CACHE``, or the folder ``hgenre`` in ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("HGENRE_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hgenre"


def open_cache(directory: str | Path, spec: FeatureSpec) -> FeatureCache:
    """The cache of one feature spec below ``directory``, made where it does not exist.

    Files that an interrupted writer left are removed once they are an hour old.

    Raises:
        FeatureError: the folder was filled under another spec or by another version, so its entries are stale.
        HgenreError: the folder cannot be made, read or written.
    """
    root = Path(directory) / digest(spec)
    needed = {"format": _FORMAT, **to_json(spec)}
    spec_path = root / "spec.json"
    try:
        found = json.loads(spec_path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        with _write_beside(root, spec_path) as file:
            file.write(json.dumps(needed, indent=2).encode())
    except OSError as error:
        raise HgenreError(
            f"{root}: the feature cache cannot be opened: {error.strerror}; name another folder in $HGENRE_CACHE"
        ) from None
    except ValueError as error:
        raise FeatureError(f"{spec_path}: not JSON ({error}); delete the folder {root} and run again") from None
    else:
        if found != needed:
            raise FeatureError(
                f"{root}: the cached features are stale: made under {found}, needed {needed}; "
                f"delete that folder and run again"
            )
    _remove_abandoned(root / "partial")
    return FeatureCache(root, spec)


def audio_frames(path: str | Path, spec: FeatureSpec) -> "tuple[np.ndarray, AudioFacts]":
    """Frames of an audio file, (mel, frame) float32 in dB or their cepstra, and what the decoder found out about it.

    The waveform is never held as a whole.

    Raises:
        AudioError: the file cannot be used.
        FeatureError: such features are not computed from audio.
    """
    from hgenre.audio import open_audio

    with open_audio(path, log_mel_of(spec).sample_rate_hz) as audio:
        blocks = [np.empty((spec.n_mels, 0), np.float32), *frames_stream(audio, spec)]
        return np.concatenate(blocks, axis=1), audio.facts


def fill(
    cache: FeatureCache,
    manifest: Manifest,
    read_frames: Callable[[Path], np.ndarray],
    *,
    n_threads: int = 2,
    on_done: Callable[[Song, HgenreError | None], Any] = lambda song, error: None,
) -> dict[Song, HgenreError]:
    """Make an entry for every song of the manifest that has none; returns the songs that could not be used, and why.

    A song's file is read only where its entry is missing, and refused when its bytes are not those that the manifest
    was made from. ``on_done`` is called once a song, in this thread. At most ``2 * n_threads`` songs are under way.

    Args:
        read_frames: (mel, frame) float32 of an audio file; called from ``n_threads`` threads.

    Raises:
        HgenreError: the disk is full or cannot be written; the entries written so far stay.
    """
    errors: dict[Song, HgenreError] = {}
    under_way: dict[Future[HgenreError | None], Song] = {}

    def collect(n_left: int) -> None:
        while len(under_way) > n_left:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                song, error = under_way.pop(future), future.result()
                if error is not None:
                    errors[song] = error
                on_done(song, error)

    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="features")
    try:
        for song in manifest.songs:
            collect(2 * n_threads - 1)
            under_way[pool.submit(_make_entry, cache, manifest, song, read_frames)] = song
        collect(0)
    finally:
        # After an error or Ctrl-C the songs that have not begun are dropped, and those under way end whole.
        pool.shutdown(cancel_futures=True)
    return errors


def _make_entry(
    cache: FeatureCache, manifest: Manifest, song: Song, read_frames: Callable[[Path], np.ndarray]
) -> HgenreError | None:
    """Write the song's entry unless there is one; returns why the song cannot be used, raises what stops everything."""
    try:
        if not song.sha256:
            raise ManifestError(f"song {song.song_id} has no sha256 in the manifest; `hgenre index` computes it")
        if cache.get(song.sha256) is not None:
            return None
        path = manifest.audio_path(song)
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != song.sha256:
            raise ManifestError(
                f"{path}: changed since it was indexed: the manifest has sha256 {song.sha256[:12]}, the file "
                f"{found[:12]}; `hgenre index` again, or put the old file back"
            )
        frames = read_frames(path)
    except HgenreError as error:
        return error
    except OSError as error:
        return AudioError(path, f"cannot be opened: {error.strerror}")
    cache.put(song.sha256, frames)
    return None


@contextmanager
def _write_beside(root: Path, target: Path) -> Iterator[IO[bytes]]:
    """A new file in ``root/partial`` that takes the target's name once it is on the disk as a whole."""
    partial = root / "partial" / f"{target.name}.{uuid.uuid4().hex}"
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        target.parent.mkdir(exist_ok=True)
        try:
            with open(partial, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, target)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise HgenreError(
            f"{root}: the feature cache cannot be written: {'the disk is full' if full else error.strerror}; "
            f"free space there, or name another folder in $HGENRE_CACHE"
        ) from None


def _remove_abandoned(partial_dir: Path) -> None:
    for path in partial_dir.glob("*"):
        try:
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
        except FileNotFoundError:
            continue  # its writer has just finished
