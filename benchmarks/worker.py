"""A side in its own process: one line in starts a round, one line out is its value.

Several workers stay alive and warm, and only the one that was asked works.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from benchmarks.rounds import Noted, Round, Skipped


@contextmanager
def worker(prepare: str, *, needs: str = "", **arguments: Any) -> Iterator[Round]:
    """A process that has called ``prepare`` (``module:function``) for its round and has run it once to be warm.

    Raises:
        Skipped: the package that it ``needs`` is not installed.
    """
    if needs and find_spec(needs) is None:
        raise Skipped(f"{needs} is not installed")
    command = [sys.executable, "-m", "benchmarks.worker", prepare, json.dumps(arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        requests, answers = process.stdin, process.stdout

        def answer() -> str:
            line = answers.readline()
            if not line:
                raise SystemExit(f"benchmark: {prepare} {arguments} has ended; its reason stands above")
            return line

        def run() -> float:
            requests.write("round\n")
            requests.flush()
            return float(answer())

        yield Noted(run, note=json.loads(answer()))
        requests.close()


def best_batch(prepare: Callable[[int], Round], batch_sizes: Sequence[int]) -> Round:
    """The round of the batch size with the highest rate in a short sweep, whose values are not kept."""
    best: tuple[float, int, Round] | None = None
    for size in batch_sizes:
        run = prepare(size)
        run()
        rate = max(run(), run())
        if best is None or rate > best[0]:
            best = rate, size, run
    assert best is not None
    return Noted(best[2], note=f"batch {best[1]}")


def serve(prepare: str, arguments: dict[str, Any]) -> None:
    """The worker's end: prepares, warms up, says the round's note, then a round a line."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, function = prepare.split(":")
    run: Round = getattr(import_module(module), function)(**arguments)
    run()
    print(json.dumps(getattr(run, "note", "")), file=answers, flush=True)
    for _ in sys.stdin:
        print(run(), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
