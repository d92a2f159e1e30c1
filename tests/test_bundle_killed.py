"""Whoever is killed while saving leaves the old bundle or the new one."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hgenre.bundle import load_bundle, save_bundle
from tests.small_bundles import tiny_bundle
from tests.small_trees import PLAIN

SAVING = """
import sys
from hgenre.bundle import load_bundle, save_bundle
first, second, place = sys.argv[1:]
bundles = load_bundle(first), load_bundle(second)
print("ready", flush=True)
while True:
    for bundle in bundles:
        save_bundle(bundle, place)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_kill_at_any_moment_leaves_a_whole_bundle(tmp_path: Path) -> None:
    known = {save_bundle(tiny_bundle(PLAIN, seed), tmp_path / f"{seed}").digest: seed for seed in (0, 1)}
    place = tmp_path / "runs" / "bundle"
    save_bundle(tiny_bundle(PLAIN, 0), place)
    moments = random.Random(0)
    for _ in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVING, str(tmp_path / "0"), str(tmp_path / "1"), str(place)],
            stdout=subprocess.PIPE,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        assert process.stdout is not None
        with process, process.stdout:
            assert process.stdout.readline() == b"ready\n"
            time.sleep(moments.uniform(0.0, 0.12))
            process.kill()
        assert load_bundle(place).digest in known
    saved = save_bundle(tiny_bundle(PLAIN, 1), place)
    assert load_bundle(place).digest == saved.digest
    assert known[saved.digest] == 1
