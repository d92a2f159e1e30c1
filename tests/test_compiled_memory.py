"""Freed memory that stays with the process."""

import ctypes
import json
import subprocess
import sys
from typing import Any

import pytest

from hgenre.compiled import memory
from hgenre.compiled.memory import keep_freed_memory

ALLOCATE = """
import json, resource
from hgenre.compiled.memory import keep_freed_memory

def faults_of_a_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (128 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given_back = [faults_of_a_block() for _ in range(3)][-1]
keep_freed_memory()
print(json.dumps([given_back, [faults_of_a_block() for _ in range(3)][-1]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the option is glibc's")
def test_a_block_takes_the_memory_of_the_one_before() -> None:
    if not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"):
        pytest.skip("the C library is not glibc")
    done = subprocess.run([sys.executable, "-c", ALLOCATE], capture_output=True, text=True, check=True)
    given_back, kept = json.loads(done.stdout)
    assert given_back > 50  # 128 MiB are 32768 pages of 4 KiB; huge ones are fewer
    assert kept < given_back / 10


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("touched the C library")

    monkeypatch.setattr(memory.sys, "platform", "darwin")
    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    keep_freed_memory()


def test_a_c_library_without_the_option_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: object())
    keep_freed_memory()
