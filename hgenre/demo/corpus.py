"""The demo corpus on disk: invented songs in folders by genre, in four audio forms, with a manifest."""

import hashlib
import io
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from hgenre.data.manifest import Manifest, Song, write_manifest
from hgenre.demo.invented_genres import STYLES, Waveform, invent_artist, play, record
from hgenre.errors import ManifestError

AudioForm = Literal["wav", "flac", "ogg", "mp3"]

SONGS_PER_ARTIST = 4
FORMS: tuple[AudioForm, ...] = ("wav", "flac", "ogg", "mp3")
SUBTYPES: dict[AudioForm, str] = {"wav": "PCM_16", "flac": "PCM_16", "ogg": "VORBIS", "mp3": "MPEG_LAYER_III"}
DURATION_TENTHS_S = (80, 120)
USUAL_RATE_HZ, OTHER_RATE_HZ = 16000, 22050
OTHER_RATE_CHANCE = STEREO_CHANCE = 0.15

ADJECTIVES = ("Amber", "Brisk", "Copper", "Drowsy", "Eastern", "Feral", "Gentle", "Hollow", "Idle", "Jolly", "Kindly")
NOUNS = ("Anvils", "Badgers", "Candles", "Divers", "Embers", "Ferries", "Geese", "Harbours", "Islands", "Jugs", "Kites")


@dataclass(frozen=True)
class InventedSong:
    """One song before it is encoded: ``waveform`` is ``(sample, channel)``, peak below full scale 1.0."""

    song_id: str
    genre: str
    artist: str
    form: AudioForm
    sample_rate_hz: int
    waveform: Waveform


def invented_songs(songs_per_genre: int, seed: int) -> Iterator[InventedSong]:
    """The corpus one song at a time, genre by genre: 8 to 12 s each, four songs an artist.

    The same arguments give the same arrays bit by bit on one machine. Every song has random streams of its own, so a
    song is the same in a smaller and in a larger corpus; only the forms, dealt out evenly within a genre, differ.
    Corpora of different seeds share no song and no artist, nor a name of either: they tell the seed, unless it is 0.
    """
    of_seed, by_seed = (f".{seed}", f" (seed {seed})") if seed else ("", "")
    for genre_idx, genre in enumerate(STYLES):
        # SeedSequence takes a missing last word for a zero, so all keys have four words.
        deal = np.random.default_rng((seed, genre_idx, 0, 0)).permutation(songs_per_genre)
        for song_idx in range(songs_per_genre):
            artist_idx = song_idx // SONGS_PER_ARTIST
            artist = invent_artist(np.random.default_rng((seed, genre_idx, 1, artist_idx)))
            rng = np.random.default_rng((seed, genre_idx, 2, song_idx))
            sample_rate_hz = OTHER_RATE_HZ if rng.random() < OTHER_RATE_CHANCE else USUAL_RATE_HZ
            n_channels = 2 if rng.random() < STEREO_CHANCE else 1
            n_samples = int(rng.integers(*DURATION_TENTHS_S, endpoint=True)) * sample_rate_hz // 10
            music = play(genre, artist, n_samples, sample_rate_hz, rng)
            yield InventedSong(
                song_id=f"{genre}{of_seed}.{song_idx:05d}",
                genre=genre,
                artist=artist_name(artist_idx * len(STYLES) + genre_idx) + by_seed,
                form=FORMS[deal[song_idx] % len(FORMS)],
                sample_rate_hz=sample_rate_hz,
                waveform=record(music, artist, sample_rate_hz, n_channels, rng),
            )


def artist_name(number: int) -> str:
    """A name for artist ``number`` (from 0), different for every number."""
    lap, place = divmod(number, len(ADJECTIVES) * len(NOUNS))
    row, column = divmod(place, len(NOUNS))
    name = f"{ADJECTIVES[(row + column) % len(ADJECTIVES)]} {NOUNS[column]}"
    return f"{name} {lap + 1}" if lap else name


def write_corpus(songs: Iterable[InventedSong], directory: Path) -> Path:
    """Writes ``GENRE/SONG_ID.FORM`` for every song and ``manifest.csv`` under ``directory``; returns the latter's path.

    The folder appears under its name only when it is whole. The bytes of OGG files, and so their sums in the manifest,
    differ between two runs: their stream number is random.

    Raises:
        ManifestError: ``directory`` holds something already, or cannot be written.
    """
    directory = directory.resolve()
    beside = directory.with_name(f".{directory.name}.{os.getpid()}.partial")
    try:
        if directory.is_file() or (directory.is_dir() and any(directory.iterdir())):
            raise ManifestError(
                f"{directory}: the demo corpus needs a new or empty folder, and something is there already; "
                "give another folder, or remove what is there first"
            )
        beside.mkdir(parents=True)
        entries = [_write_song(song, beside) for song in songs]
        write_manifest(Manifest(tuple(entries), beside), beside / "manifest.csv")
        if directory.is_dir():
            directory.rmdir()
        os.replace(beside, directory)
    except OSError as error:
        raise ManifestError(
            f"{directory}: the demo corpus cannot be written ({error.strerror}); "
            "give a folder that you may write, on a disk with 50 MB free"
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return directory / "manifest.csv"


def encode(song: InventedSong) -> bytes:
    """The bytes of a song's audio file in its form."""
    buffer = io.BytesIO()
    soundfile.write(buffer, song.waveform, song.sample_rate_hz, format=song.form.upper(), subtype=SUBTYPES[song.form])
    return buffer.getvalue()


def _write_song(song: InventedSong, directory: Path) -> Song:
    path = Path(song.genre) / f"{song.song_id}.{song.form}"
    encoded = encode(song)
    (directory / song.genre).mkdir(exist_ok=True)
    (directory / path).write_bytes(encoded)
    return Song(
        song_id=song.song_id,
        path=path.as_posix(),
        genre=song.genre,
        artist=song.artist,
        sha256=hashlib.sha256(encoded).hexdigest(),
        duration_s=len(song.waveform) / song.sample_rate_hz,
        sample_rate_hz=song.sample_rate_hz,
    )
