"""A command run to its end: its time, its peak memory and what it printed."""

import os
import subprocess
import sys
import time
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


def run_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Ended:
    """Waits for a command, with ``env`` beside the environment; one that fails ends the benchmark."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as stdout:
        printed = stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"benchmark: {' '.join(command)} has failed; its reason stands above")
    kib = usage.ru_maxrss / 1024 if sys.platform == "darwin" else usage.ru_maxrss
    return Ended(seconds, kib / 2**20, printed)
