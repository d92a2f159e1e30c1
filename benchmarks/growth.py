"""Time and peak memory of ``hgenre predict`` as the folder grows, and the exponents of both."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.clips import clip_folder
from benchmarks.invented import tree_bundle
from benchmarks.process import HGENRE, run_process

N_DISTINCT = 8


def measure_growth(scratch: Path, sizes: Sequence[int], n_rounds: int) -> dict[str, Any]:
    """Medians over interleaved rounds, as JSON values.

    The work beyond the start is what a folder takes longer than one of a single song.
    """
    folders = {n: str(clip_folder(scratch, n, N_DISTINCT)) for n in (1, *sizes)}
    seconds: dict[int, list[float]] = {n: [] for n in folders}
    peaks_gib: dict[int, list[float]] = {n: [] for n in folders}

    def run(n_songs: int) -> tuple[float, float]:
        command = [HGENRE, "predict", folders[n_songs], "--model", str(tree_bundle(scratch)), "--json"]
        ended = run_process(command, {"HGENRE_CACHE": str(scratch / "cache")})
        return ended.seconds, ended.peak_gib

    for n_songs in (1, *sizes[:2]):
        run(n_songs)  # so that the programs of all chunk sizes are kept
    for _ in range(n_rounds):
        for n_songs in folders:
            second, gib = run(n_songs)
            seconds[n_songs].append(second)
            peaks_gib[n_songs].append(gib)
    return {
        "name": "growth",
        "what": "`hgenre predict` of a folder of 30-s WAV clips, root and 3 specialists, programs cached",
        "n_rounds": n_rounds,
        "n_songs": list(sizes),
        "seconds": [median(seconds[n]) for n in sizes],
        "peak_gib": [median(peaks_gib[n]) for n in sizes],
        "one_song": {"seconds": median(seconds[1]), "peak_gib": median(peaks_gib[1])},
        **exponents(
            sizes, [median(seconds[n]) for n in sizes], [median(peaks_gib[n]) for n in sizes], median(seconds[1])
        ),
    }


def exponents(
    n_songs: Sequence[int], seconds: Sequence[float], peak_gib: Sequence[float], one_song_s: float
) -> dict[str, float]:
    """Of time fitted over all sizes beyond one song's, and of time and memory between the last two sizes."""
    beyond = [(n - 1, s - one_song_s) for n, s in zip(n_songs, seconds, strict=True) if n > 1 and s > one_song_s]
    return {
        "time_exponent": slope(beyond),
        "last_time_exponent": slope(list(zip(n_songs, seconds, strict=True))[-2:]),
        "last_memory_exponent": slope(list(zip(n_songs, peak_gib, strict=True))[-2:]),
    }


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Least-squares slope of log y against log x; NaN of fewer than two points."""
    if len(points) < 2:
        return math.nan
    x, y = ([math.log(value) for value in column] for column in zip(*points, strict=True))
    x_mean, y_mean = sum(x) / len(x), sum(y) / len(y)
    products = sum((a - x_mean) * (b - y_mean) for a, b in zip(x, y, strict=True))
    return products / sum((a - x_mean) ** 2 for a in x)
