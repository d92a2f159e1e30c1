"""Every grouping of ten genres scored: one program over all of them against loops in plain Python.

Both sides have the same two tables over subsets of genres. Plain Python has them as lists, and the groups of every
grouping as ready bitmasks; hgenre makes the groupings in the measured time. Plain Python scores groupings at even
distances among all, and its time is scaled.
"""

import time
from functools import partial

import numpy as np

from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import worker
from hgenre.grouping.partitions import bell, group_masks, set_partitions

N_GENRES = 10
WARM, COLD = "hgenre", "hgenre, compiled anew"


def row(n_songs: int = 800, n_scaled: int = 1000) -> Row:
    """``n_scaled`` groupings go to plain Python."""
    n_groupings = bell(N_GENRES)
    plain = f"plain Python, {n_scaled} groupings scaled x{n_groupings / n_scaled:g}"
    ours = partial(worker, "benchmarks.exhaustive:by_hgenre", n_songs=n_songs)
    return Row(
        name="exhaustive",
        what=f"all {n_groupings} groupings of {N_GENRES} genres scored on {n_songs} songs, from tables over subsets",
        unit="s",
        sides={
            WARM: partial(ours, anew=False),
            COLD: partial(ours, anew=True),
            plain: partial(worker, "benchmarks.exhaustive:by_loops", n_songs=n_songs, n_scaled=n_scaled),
        },
        comparisons=(Comparison(WARM, plain, limit=0.01), Comparison(COLD, plain, limit=0.01)),
        n_rounds=5,
    )


def by_hgenre(n_songs: int, anew: bool) -> Round:
    import jax

    from hgenre.grouping.exhaustive import score

    value, right = invented_tables(n_songs)

    def run() -> float:
        if anew:
            jax.clear_caches()
        started = time.perf_counter()
        score(value, right, set_partitions(N_GENRES))
        return time.perf_counter() - started

    return run


def by_loops(n_songs: int, n_scaled: int) -> Round:
    """Checked to find hgenre's scores."""
    from hgenre.grouping.exhaustive import score

    value, right = invented_tables(n_songs)
    every = set_partitions(N_GENRES)
    some = every[np.linspace(0, len(every) - 1, n_scaled).astype(int)]
    groupings = [[mask for mask in masks if mask] for masks in group_masks(some).tolist()]
    songs = list(zip(value.T.tolist(), right.T.tolist(), strict=True))

    def n_right(groups: list[int]) -> int:
        n = 0
        for song_value, song_right in songs:
            n += song_right[max(groups, key=song_value.__getitem__)]
        return n

    if [n_right(groups) for groups in groupings] != score(value, right, some).tolist():
        raise SystemExit("benchmark: plain Python and hgenre differ in a grouping's score")

    def run() -> float:
        started = time.perf_counter()
        for groups in groupings:
            n_right(groups)
        return (time.perf_counter() - started) * len(every) / n_scaled

    return run


def invented_tables(n_songs: int) -> tuple[np.ndarray, np.ndarray]:
    """Tables (subset, song) of soft decoding for a flat net and specialists that are right half of the time or so."""
    from hgenre.grouping.exhaustive import tables

    random, shape = np.random.default_rng(0), (2**N_GENRES, n_songs)
    true_idx = random.integers(0, N_GENRES, n_songs)
    p_flat = random.dirichlet(np.full(N_GENRES, 0.3), n_songs)
    choice = np.where(random.random(shape) < 0.6, true_idx, random.integers(0, N_GENRES, shape))
    return tables(p_flat, random.uniform(0.5, 1, shape), choice, true_idx, "soft")
