"""What compiled programs are kept as in the user's cache: files with a checksum, the least used removed."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

PROGRAM_VERSION = 6
"""Raised when the program computes something else for the same bundle, or is kept in another form."""

MAX_KEPT_BYTES = 256 << 20
"""Programs take 0.1 to 1 MB each, so some hundreds of bundles keep theirs."""

_CHECKSUM_BYTES = hashlib.sha256().digest_size


def program_path(directory: Path, key: Mapping[str, Any], suffix: str) -> Path:
    """The file in a cache folder that holds the program with this key, JSON values."""
    text = json.dumps({"program": PROGRAM_VERSION, **key}, sort_keys=True)
    return directory / "programs" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}{suffix}"


def read_kept(path: Path) -> bytes | None:
    """What ``keep`` wrote there, byte for byte; None where there is nothing, or something else."""
    try:
        kept = path.read_bytes()
    except OSError:
        return None
    checksum, data = kept[:_CHECKSUM_BYTES], kept[_CHECKSUM_BYTES:]
    if hashlib.sha256(data).digest() != checksum:
        return None
    with suppress(OSError):
        os.utime(path)  # so that what is used is not among the least used
    return data


def keep(path: Path, data: bytes) -> None:
    """Writes beside and renames; a cache that cannot be written costs time, not the answer."""
    beside = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(prefix=path.stem, suffix=".new", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(data).digest() + data)
        os.replace(beside, path)
        _remove_least_used(path.parent)
    except OSError:
        if beside is not None:
            with suppress(OSError):
                os.unlink(beside)


def _remove_least_used(directory: Path) -> None:
    """Removes the files used longest ago, abandoned partial ones among them, until the rest fits."""
    with os.scandir(directory) as entries:
        files = [(entry.stat(), entry.path) for entry in entries if entry.is_file(follow_symlinks=False)]
    n_bytes = 0
    for status, path in sorted(files, key=lambda file: file[0].st_mtime, reverse=True):
        n_bytes += status.st_size
        if n_bytes > MAX_KEPT_BYTES:
            with suppress(OSError):
                os.unlink(path)
