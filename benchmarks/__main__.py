"""``scripts/bench``: measures hgenre against named baselines; markdown on stdout."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import (
    answer,
    exhaustive,
    features,
    guard,
    inference,
    job,
    ledger,
    memory,
    posterior,
    routing,
    tables,
    training,
)
from benchmarks.floors import Limits, measure_limits
from benchmarks.growth import measure_growth
from benchmarks.rounds import Row, measure

Results = list[dict[str, Any]]

STORED = Path(__file__).with_name("stored.json")
PACKAGES = ("hgenre", "jax", "flax", "numpy", "librosa", "soundfile", "soxr", "scikit-learn", "torch", "hiclass")
GROWTH_SIZES = (10, 100, 1000, 10_000)
GROWTH_ROUNDS = 3


@dataclass(frozen=True)
class Sizes:
    """How much work the rows do."""

    batches: tuple[int, ...] = (16, 32, 64, 128, 256)
    inference_batches: tuple[int, ...] = (8, 16, 32, 64, 128, 256)
    clips: int = 100
    job_clips: int = 1000
    scaled_clips: int = 40
    slices: tuple[int, ...] = (128, 1000)
    songs: int = 10_000
    account_songs: int = 1000
    grouped_songs: int = 800
    plain_groupings: int = 1000
    memory_songs: tuple[int, int] = (250, 1000)
    growth: tuple[int, ...] = GROWTH_SIZES[:-1]


SMALLEST = Sizes(
    batches=(16,),
    inference_batches=(16,),
    clips=2,
    job_clips=4,
    scaled_clips=2,
    slices=(32,),
    songs=500,
    account_songs=50,
    grouped_songs=20,
    plain_groupings=50,
    memory_songs=(100, 120),
    growth=(2, 4),
)

ROWS: dict[str, Callable[[Path, Sizes], list[Row]]] = {
    "features": lambda scratch, sizes: [features.row(sizes.clips)],
    "training": lambda scratch, sizes: [training.row(*shape, sizes.batches) for shape in ((96, 61), (128, 130))],
    "inference": lambda scratch, sizes: [
        inference.row(scratch, "deep_cnn", 1.3, sizes.slices[-1], sizes.inference_batches),
        inference.row(scratch, "short_chunk", None, sizes.slices[-1], sizes.inference_batches),
    ],
    "routing": lambda scratch, sizes: [
        *(routing.row(scratch, n, limit=2.1 if n == max(sizes.slices) else None) for n in sizes.slices),
        routing.row(scratch, sizes.slices[0], one_program=True),
    ],
    "answer": lambda scratch, sizes: [answer.row(scratch)],
    "posterior": lambda scratch, sizes: [posterior.row(sizes.songs)],
    "ledger": lambda scratch, sizes: [ledger.row(sizes.account_songs)],
    "exhaustive": lambda scratch, sizes: [exhaustive.row(sizes.grouped_songs, sizes.plain_groupings)],
    "job": lambda scratch, sizes: [job.row(scratch, sizes.job_clips, sizes.scaled_clips)],
    "memory": lambda scratch, sizes: [memory.row(scratch, *sizes.memory_songs)],
}
GROWTH = "growth"


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument(
        "--only", choices=[*ROWS, GROWTH], action="append", help="measure these rows; may be given again"
    )
    parser.add_argument("--rounds", type=int, help="rounds a row, in place of each row's own number")
    parser.add_argument(
        "--largest",
        type=int,
        choices=GROWTH_SIZES[1:],
        default=1000,
        help="songs of the largest folder of the growth row",
    )
    parser.add_argument("--quick", action="store_true", help="smallest sizes: shows that rows run, measures nothing")
    parser.add_argument("--json", type=Path, help="write results to this file; with --only its other rows are kept")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--from", type=Path, dest="stored", help="take the results of this file, measure nothing")
    parser.add_argument("--write", type=Path, help="put the tables between the markers of this document")
    source.add_argument(
        "--check",
        type=Path,
        nargs="?",
        const=STORED,
        help="measure the rows of this file again and name the ratios that have fallen; exit status 1 if one has "
        f"(default: benchmarks/{STORED.name})",
    )
    options = parser.parse_args()

    sizes = SMALLEST if options.quick else Sizes(growth=tuple(n for n in GROWTH_SIZES if n <= options.largest))
    take = partial(_measured, sizes=sizes, n_rounds=1 if options.quick else options.rounds)
    if options.stored:
        results = _read(options.stored)
    elif options.check:
        stored = [r for r in _read(options.check) if not options.only or r["name"] in options.only]
        results = take(_names(stored))
    else:
        results = take(options.only or [*ROWS, GROWTH])
    if options.json:
        kept = [r for r in _read(options.json) if r["name"] not in options.only] if _keeps(options) else []
        results = sorted([*kept, *results], key=lambda result: [*ROWS, GROWTH].index(result["name"]))
        options.json.write_text(json.dumps({"rows": results}, indent=1) + "\n")
    if options.write:
        tables.write_tables(options.write, results)
    print(tables.report(results))
    if options.check:
        sys.exit(_check(stored, results, take))


def _row_options(arguments: Sequence[str]) -> list[str]:
    """Those of the arguments that say what is measured; the files that results go to are the caller's."""
    measuring = ("--only", "--rounds", "--largest")
    pairs = [arguments[i : i + 2] for i, argument in enumerate(arguments) if argument in measuring]
    return [word for pair in pairs for word in pair] + ["--quick"] * ("--quick" in arguments)


def _measured(names: Sequence[str], sizes: Sizes, n_rounds: int | None) -> Results:
    """Results of the rows one after the other, each with its machine and date."""
    limits = measure_limits()
    about = machine(limits)
    results = []
    with tempfile.TemporaryDirectory(prefix="hgenre-bench-") as folder:
        scratch = Path(folder)
        for name in names:
            if name == GROWTH:
                _say(GROWTH, f"folders of {', '.join(map(str, sizes.growth))} songs")
                found = measure_growth(scratch, sizes.growth, n_rounds or GROWTH_ROUNDS)
                results.append({**found, "measured": about})
                continue
            for row in ROWS[name](scratch, sizes):
                _say(name, row.what)
                results.append({**measure(row, n_rounds or row.n_rounds, limits), "measured": about})
    return results


def _check(stored: Results, results: Results, take: Callable[[Sequence[str]], Results]) -> int:
    """Says on stderr what has fallen, also when it is measured once more, and what was not measured; the status."""
    falls, missing, n_compared = guard.compare(stored, results)
    if falls:
        again = take(list(dict.fromkeys(fall.now.row for fall in falls)))
        fallen_before = {fall.now.name for fall in falls}
        falls = [fall for fall in guard.compare(stored, again)[0] if fall.now.name in fallen_before]
    for name in missing:
        print(f"not measured: {name}", file=sys.stderr)
    for fall in falls:
        print(f"fallen: {fall}", file=sys.stderr)
    print(f"{n_compared} ratios compared with the stored ones, {len(falls)} fallen", file=sys.stderr)
    return 1 if falls or not n_compared else 0


def _read(path: Path) -> Results:
    try:
        return json.loads(path.read_text())["rows"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"benchmark: {path} holds no results ({error}); make it with scripts/bench --json") from None


def _keeps(options: argparse.Namespace) -> bool:
    return bool(options.only) and options.json.exists()


def _names(results: Results) -> list[str]:
    """Names of the rows that have ratios."""
    return list(dict.fromkeys(result["name"] for result in results if "comparisons" in result))


def _say(name: str, what: str) -> None:
    print(f"{name}: {what}", file=sys.stderr, flush=True)


def machine(limits: Limits) -> dict[str, Any]:
    """The machine, the versions and the day that the numbers belong to."""
    return {
        "date": date.today().isoformat(),
        "command": ["scripts/bench", *_row_options(sys.argv[1:])],
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "limits": {
            "gflop_per_s": limits.flops_per_s / 1e9,
            "gbyte_per_s": limits.bytes_per_s / 1e9,
            "python_start_ms": limits.python_start_s * 1e3,
        },
        "versions": {"python": platform.python_version(), **dict(_versions())},
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            yield name, "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
