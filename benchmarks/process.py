"""A command run to its end: its time, its peak memory and what it printed."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HGENRE = str(Path(sys.executable).with_name("hgenre"))


@dataclass(frozen=True)
class Ended:
    """``peak_gib`` is the largest resident size, mapped pages of files included."""

    seconds: float
    peak_gib: float
    printed: str


LAUNCHER = """
import os, sys, time
started = time.perf_counter()
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - started
os.write(int(sys.argv[1]), f"{seconds} {usage.ru_maxrss}".encode())
sys.exit(os.waitstatus_to_exitcode(status))
"""
"""Starts a command from a process that holds next to nothing: Linux counts what the parent holds when it forks towards
the child's peak."""


def run_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Ended:
    """Waits for a command, with ``env`` beside the environment; one that fails ends the benchmark."""
    source, target = os.pipe()
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, str(target), *command],
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        text=True,
        pass_fds=[target],
    )
    os.close(target)
    with os.fdopen(source) as facts:
        said = facts.read()
    if done.returncode:
        raise SystemExit(f"benchmark: {' '.join(command)} has failed; its reason stands above")
    seconds, peak = said.split()
    kib = float(peak) / 1024 if sys.platform == "darwin" else float(peak)
    return Ended(float(seconds), kib / 2**20, done.stdout)
