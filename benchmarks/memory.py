"""Peak memory of training: bounded by the batch and the window, not by the corpus.

Resident memory counts the mapped pages of the frames on disk, of which ``hgenre.data.frames.OPEN_ENTRIES`` are open.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.invented import FEATURES, LABELS
from benchmarks.process import HGENRE, run_process
from benchmarks.rounds import Comparison, Round, Row
from hgenre.data.cache import open_cache
from hgenre.data.manifest import Manifest, Song, write_manifest

SONG_S = 30.0
MOST_GIB = 4.0
MOST = f"{MOST_GIB:g} GiB"
CONFIG = """name = "bench"
[data]
manifest = "manifest.csv"
protocol = "song"
[optimiser]
epochs = 1
"""


def row(scratch: Path, few: int = 250, many: int = 1000) -> Row:
    @contextmanager
    def most() -> Iterator[Round]:
        yield lambda: MOST_GIB

    return Row(
        name="memory",
        what="peak resident memory of `hgenre train`, 1 epoch, songs of 30 s with their frames cached",
        unit="GiB",
        sides={
            f"{many} songs": partial(_training, scratch, many),
            f"{few} songs": partial(_training, scratch, few),
            MOST: most,
        },
        comparisons=(
            Comparison(f"{many} songs", MOST, limit=1.0),
            Comparison(f"{many} songs", f"{few} songs"),
        ),
        n_rounds=3,
    )


@contextmanager
def _training(scratch: Path, n_songs: int) -> Iterator[Round]:
    """``hgenre train`` in a process of its own; a round is its peak resident size."""
    corpus, cache_dir = scratch / f"songs-{n_songs}", scratch / "memory-cache"
    corpus.mkdir()
    write_manifest(_songs_with_frames(corpus, n_songs, cache_dir), corpus / "manifest.csv")
    (corpus / "train.toml").write_text(CONFIG)
    command = [HGENRE, "train", str(corpus / "train.toml"), "--out", str(corpus / "run"), "--json"]
    yield lambda: run_process(command, {"HGENRE_CACHE": str(cache_dir)}).peak_gib


def _songs_with_frames(corpus: Path, n_songs: int, cache_dir: Path) -> Manifest:
    """Songs without audio: their frames stand in the cache, under the digests of files that do not exist."""
    cache = open_cache(cache_dir / "features", FEATURES)
    random = np.random.default_rng(0)
    n_frames = round(SONG_S * FEATURES.frame_rate_hz) - 1
    songs = []
    for i in range(n_songs):
        sha256 = hashlib.sha256(f"song {i}".encode()).hexdigest()
        if cache.get(sha256) is None:
            cache.put(sha256, random.normal(-30, 8, (FEATURES.n_mels, n_frames)).astype(np.float32))
        genre = LABELS.genres[i % len(LABELS)]
        songs.append(Song(f"song-{i:04d}", f"song-{i:04d}.wav", genre, artist=f"artist {i}", sha256=sha256))
    return Manifest(tuple(songs), corpus)
