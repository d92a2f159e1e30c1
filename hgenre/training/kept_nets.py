"""Trained nets in a folder, each under the digest of all that it follows from: trained once, found again."""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle.bundle import flatten, unflatten
from hgenre.errors import HgenreError
from hgenre.nets.build import Variables
from hgenre.training.loop import Epoch, TrainedNet

_SCHEMA_VERSION = 1
"""A part of every address: to be raised when the same songs and settings come to train another net."""


def address(told: Mapping[str, Any]) -> str:
    """The digest of everything that a net's weights follow from, in JSON values; 32 hexadecimal digits."""
    text = json.dumps({"schema_version": _SCHEMA_VERSION, **told}, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_net(folder: Path, name: str, shapes: Variables) -> TrainedNet | None:
    """The net kept under an address; None where there is none, or its file is damaged and has to be made again.

    Args:
        shapes: the variables that are needed, as ``Net.shapes`` tells them.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_path(folder, name), framework="numpy") as file:
            facts = json.loads(file.metadata()["facts"])
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
        history = tuple(Epoch(**epoch) for epoch in facts["history"])
        kept_epoch = int(facts["kept_epoch"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    needed = {key: (tuple(a.shape), np.dtype(a.dtype)) for key, a in flatten_shapes(shapes).items()}
    if {key: (a.shape, a.dtype) for key, a in arrays.items()} != needed:
        return None
    if not all(np.isfinite(a).all() for a in arrays.values()):
        return None
    nested = unflatten(arrays)
    return TrainedNet({"params": {}, "batch_stats": {}, **nested}, history, kept_epoch)


def write_net(folder: Path, name: str, trained: TrainedNet) -> None:
    """Keeps a net under its address, written beside and renamed into place.

    Raises:
        HgenreError: the disk refuses.
    """
    from safetensors.numpy import save

    facts = {"history": [asdict(epoch) for epoch in trained.history], "kept_epoch": trained.kept_epoch}
    # safetensors writes the bytes of transposed arrays as they lie in memory, under the transposed shape.
    arrays = {key: np.asarray(a, order="C") for key, a in flatten(trained.variables).items()}
    path = _path(folder, name)
    beside = path.with_suffix(".new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(save(arrays, {"facts": json.dumps(facts)}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise HgenreError(f"{path} cannot be written ({error.strerror}); make room or choose another place") from None


def flatten_shapes(shapes: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dicts of shapes, as ``flatten`` does it with arrays."""
    flat: dict[str, Any] = {}
    for key, value in shapes.items():
        name = f"{prefix}/{key}" if prefix else key
        flat |= flatten_shapes(value, name) if isinstance(value, Mapping) else {name: value}
    return flat


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"
