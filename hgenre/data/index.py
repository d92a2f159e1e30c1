"""Measures every song of a listing: checksum, duration, sample rate, fault, duplicates."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from hgenre.data import known_faults
from hgenre.data.layouts import Listing, list_songs
from hgenre.data.manifest import Manifest, Song, array_location
from hgenre.errors import AudioError

# Decoders of one codec differ by padding of up to two MP3 frames (2 x 1152 samples at 16 kHz is 0.14 s).
_DURATION_TOLERANCE_S = 0.15

_N_THREADS = 2

OnSong = Callable[[Song, str], None]


def index_folder(
    directory: str | Path,
    *,
    tracks_csv: str | Path | None = None,
    checksums: bool = True,
    on_song: OnSong | None = None,
) -> Manifest:
    """The measured manifest of a folder or table; ``list_songs``, then ``measure``."""
    listing = list_songs(directory, tracks_csv=tracks_csv)
    return measure(listing, checksums=checksums, on_song=on_song)


def measure(listing: Listing, *, checksums: bool = True, on_song: OnSong | None = None) -> Manifest:
    """The listed songs with sha256, duration, sample rate and fault as they are found on disk.

    Every file is decoded to its end by two threads. A file that cannot be used keeps its row, with the kind of error
    in ``fault``; a song whose bytes equal those of an earlier sound one gets that song's id as ``duplicate_of``.

    Args:
        listing: What ``list_songs`` returned. Ready-made arrays are passed through unmeasured.
        checksums: Whether to read files once more for their sha256; without, the listed ones stay.
        on_song: Called from this thread after each song, in order, with the sentence that explains its fault (for a
            song without fault, the decoder's warnings), or "".
    """
    root, is_fma = listing.manifest.root, listing.layout == "FMA"
    songs: list[Song] = []
    first_of: dict[str, str] = {}
    pool = ThreadPoolExecutor(_N_THREADS)
    try:
        for measured, reason in pool.map(lambda song: _measure_song(root, song, checksums), listing.manifest.songs):
            song, reason = _explain(measured, reason, is_fma)
            if song.sha256 and not song.fault:
                original = first_of.setdefault(song.sha256, song.song_id)
                if original != song.song_id and not song.duplicate_of:
                    song = replace(song, duplicate_of=original)
            songs.append(song)
            if on_song:
                on_song(song, reason)
    finally:
        # An interrupt must not wait for the files that are still queued.
        pool.shutdown(wait=True, cancel_futures=True)
    return Manifest(tuple(songs), root)


def differences(listed: Manifest, measured: Manifest) -> tuple[str, ...]:
    """Sentences on where the files differ from what their manifest says of them; "" and None say nothing."""
    found = []
    for old, new in zip(listed.songs, measured.songs, strict=True):
        if bool(old.fault) != bool(new.fault):
            found.append(f"{old.song_id}: fault was {old.fault or 'none'}, now {new.fault or 'none'}")
        if old.sha256 and new.sha256 and old.sha256 != new.sha256:
            found.append(f"{old.song_id}: sha256 was {old.sha256[:12]}..., now {new.sha256[:12]}...")
        if new.fault:
            continue
        old_s, new_s = old.duration_s, new.duration_s
        if old_s is not None and new_s is not None and abs(old_s - new_s) > _DURATION_TOLERANCE_S:
            found.append(f"{old.song_id}: duration was {old_s:g} s, now {new_s:g} s")
        if old.sample_rate_hz and old.sample_rate_hz != new.sample_rate_hz:
            found.append(f"{old.song_id}: sample rate was {old.sample_rate_hz} Hz, now {new.sample_rate_hz} Hz")
    return tuple(found)


def _measure_song(root: Path, song: Song, checksums: bool) -> tuple[Song, str]:
    if array_location(song.path):
        return song, ""
    from hgenre.audio import open_audio

    song = replace(song, duration_s=None, sample_rate_hz=None, fault="")
    path = root / song.path
    try:
        if checksums:
            with open(path, "rb") as file:
                song = replace(song, sha256=hashlib.file_digest(file, "sha256").hexdigest())
        with open_audio(path) as audio:
            for _ in audio:
                pass
            facts = audio.facts
    except AudioError as error:
        return replace(song, fault=error.kind), error.message
    except OSError as error:
        return replace(song, fault="missing"), f"cannot be opened: {error.strerror}"
    song = replace(song, duration_s=round(facts.duration_s, 3), sample_rate_hz=facts.sample_rate_hz)
    return song, "; ".join(facts.warnings)


def _explain(song: Song, reason: str, is_fma: bool) -> tuple[Song, str]:
    """Add what is known by name: the reason of a fault, and FMA's clips that decode but are not what they should be."""
    if is_fma and known_faults.is_fma_short_clip(song.song_id, song.duration_s):
        found = reason or f"holds {song.duration_s:g} of 30 s"
        return replace(song, fault=song.fault or "short_clip"), f"{found} ({known_faults.FMA_SHORT_REASON})"
    if song.fault and (known := known_faults.GTZAN_UNDECODABLE.get(song.song_id)):
        return song, f"{reason} ({known})"
    return song, reason
