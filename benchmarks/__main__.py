"""``scripts/bench``: measures hgenre against named baselines; markdown on stdout, JSON with ``--json``."""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import answer, features, memory, routing, training
from benchmarks.rounds import Row, measure, table

PACKAGES = ("hgenre", "jax", "flax", "numpy", "librosa", "soundfile", "soxr")
ROWS: dict[str, Callable[[Path], list[Row]]] = {
    "features": lambda scratch: [features.row()],
    "training": lambda scratch: [training.row(96, 61), training.row(128, 130)],
    "routing": lambda scratch: [
        routing.row(scratch, 128),
        routing.row(scratch, 1000),
        routing.row(scratch, 128, one_program=True),
    ],
    "answer": lambda scratch: [answer.row(scratch)],
    "memory": lambda scratch: [memory.row(scratch)],
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--only", choices=ROWS, action="append", help="measure this row; may be given again")
    parser.add_argument("--rounds", type=int, help="rounds a row, in place of each row's own number")
    parser.add_argument("--json", type=Path, help="write values, ratios, machine and versions to this file")
    options = parser.parse_args()

    results = []
    with tempfile.TemporaryDirectory(prefix="hgenre-bench-") as scratch:
        for name in options.only or ROWS:
            for row in ROWS[name](Path(scratch)):
                print(f"{row.name}: {row.what}", file=sys.stderr, flush=True)
                results.append(measure(row, options.rounds or row.n_rounds))
    about = machine()
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": results}, indent=1) + "\n")
    print(table(results))
    print(f"\n{about['machine']}. " + ", ".join(f"{name} {found}" for name, found in about["versions"].items()) + ".")


def machine() -> dict[str, Any]:
    """The machine and the versions that the numbers belong to."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "command": ["scripts/bench", *sys.argv[1:]],
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
