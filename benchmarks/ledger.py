"""The whole account of a tree from cached node outputs, within a second.

Six decoders with three answers a song each, the routing ledgers by song and by slice, and the comparison with a flat
net on the same songs.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np

from benchmarks.invented import LABELS
from benchmarks.posterior import node_logp
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.routing import SLICES_A_SONG
from benchmarks.worker import worker
from hgenre.tree.spec import tree_from_groups

GROUPS = {
    "quiet": ["classical", "jazz"],
    "strings": ["blues", "country"],
    "beat": ["disco", "hiphop", "pop"],
    "loud": ["metal", "reggae", "rock"],
}
MOST_S = 1.0
MOST = f"{MOST_S:g} s"
SONGS_AN_ARTIST = 2


def row(n_songs: int = 1000) -> Row:
    @contextmanager
    def most() -> Iterator[Round]:
        yield lambda: MOST_S

    label = f"{n_songs} songs of {SLICES_A_SONG} slices"
    return Row(
        name="ledger",
        what=f"ledger, decoders and votes from node outputs, {len(LABELS)} genres in {len(GROUPS)} groups",
        unit="s",
        sides={label: partial(worker, "benchmarks.ledger:by_account", n_songs=n_songs), MOST: most},
        comparisons=(Comparison(label, MOST, limit=1.0),),
    )


def by_account(n_songs: int) -> Round:
    from hgenre.account import account

    tree, random = tree_from_groups(LABELS, GROUPS), np.random.default_rng(1)
    logp = node_logp(tree, n_songs * SLICES_A_SONG)
    song_idx = np.repeat(np.arange(n_songs), SLICES_A_SONG)
    true_idx, flat_idx = random.integers(0, len(LABELS), (2, n_songs))
    artists = [str(song // SONGS_AN_ARTIST) for song in range(n_songs)]

    def run() -> float:
        started = time.perf_counter()
        account(tree, logp, song_idx, true_idx, artists, flat_idx)
        return time.perf_counter() - started

    return run
