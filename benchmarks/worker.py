"""A side in its own process: one line in starts a round, one line out is its value.

Several workers stay alive and warm, and only the one that was asked works.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from benchmarks.rounds import Round


@contextmanager
def worker(prepare: str, **arguments: Any) -> Iterator[Round]:
    """A process that has called ``prepare`` (``module:function``) for its round and has run it once to be warm."""
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

        answer()
        yield run
        requests.close()


def serve(prepare: str, arguments: dict[str, Any]) -> None:
    """The worker's end: prepares, warms up, then a round a line."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    module, function = prepare.split(":")
    run: Round = getattr(import_module(module), function)(**arguments)
    run()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        print(run(), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]))
