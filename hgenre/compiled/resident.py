"""Compiled programs run without jax: XLA's executables, kept in the user's cache and handed to jaxlib.

Importing jax takes longer than answering a song. A new process that finds the executable that jax made before needs
jaxlib alone: its CPU client, its loader, and arrays in and out. These are no public interfaces and change from release
to release, so this file is the only one that knows them, an entry is found by the very jax and jaxlib that wrote it
only, and whatever goes wrong here gives None: the caller then takes the public way, through jax.

CPUs only: where a plugin for an accelerator is installed, jax has to be asked what there is.
"""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hgenre.bundle import Bundle
from hgenre.compiled.kept import keep, program_path, read_kept
from hgenre.tree.route import Route
from hgenre.tree.vote import SongSums

Placed = list[Any]
"""A bundle's numbers as jaxlib's arrays, in the order of an executable's parameters."""

Resident = Callable[..., tuple[SongSums, np.ndarray]]
"""As ``compiled.program.Program``, with ``Placed`` in the place of the weights and numpy arrays for an answer."""


def resident_program(
    bundle: Bundle, route: Route, n_slices: int, directory: Path, weights: Callable[[], Placed]
) -> Resident | None:
    """The executable kept in ``directory`` for ``n_slices`` slices, loaded and run once; None where there is none.

    The first run sets kernels up and takes five times as long as the next ones, so it is done here, on silence.
    ``weights`` gives what ``place_weights`` makes of the bundle.
    """
    path = _path(bundle, route, n_slices, directory)
    data = read_kept(path) if path else None
    if path is None or data is None:
        return None
    try:
        program = _load(data, n_slices, len(bundle.labels))
        n_mels, n_frames = bundle.features.n_mels, bundle.slices.n_frames
        program(
            weights(),
            np.full((n_slices, n_mels, n_frames), -100, np.float32),
            np.zeros((n_slices, n_mels), np.float32),
            np.ones((n_slices, n_mels), np.float32),
            np.zeros(n_slices, np.int32),
            np.zeros(n_slices, bool),
        )
    except Exception:  # jaxlib's interior is not as this file knows it: the public way gives the same answer
        with suppress(OSError):
            path.unlink()  # it may be made anew there
        return None
    return program


def lacks_resident(bundle: Bundle, route: Route, n_slices: int, directory: Path) -> bool:
    """Whether ``keep_resident`` has something to do."""
    path = _path(bundle, route, n_slices, directory)
    return path is not None and read_kept(path) is None


def keep_resident(compiled: Any, bundle: Bundle, route: Route, n_slices: int, directory: Path) -> None:
    """Keeps the program that jax compiled, with all its parameters (a ``jax.stages.Compiled``), for later processes."""
    path = _path(bundle, route, n_slices, directory)
    if path is None:
        return
    try:
        executable = compiled.runtime_executable()
        data = bytes(executable.client.serialize_executable(executable))
    except Exception:  # not every release can; without the entry the next process takes the public way
        return
    keep(path, data)


def place_weights(bundle: Bundle) -> Placed:
    """The numbers of a bundle in the CPU client's memory."""
    put = _cpu().put
    temperatures = [*(bundle.temperatures[node] for node in sorted(bundle.temperatures)), bundle.path_temperature]
    return [put(array) for array in (*_leaves(bundle.variables), *(np.asarray(t, np.float32) for t in temperatures))]


def _leaves(variables: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Arrays in the order in which jax flattens dicts: by their keys."""
    for name in sorted(variables):
        value = variables[name]
        if isinstance(value, Mapping):
            yield from _leaves(value)
        else:
            yield np.asarray(value)


def _path(bundle: Bundle, route: Route, n_slices: int, directory: Path) -> Path | None:
    """Where the executable is kept; None where jax has to be asked, or the bundle has no digest to be known by."""
    plugins = find_spec("jax_plugins") or find_spec("libtpu")
    asked = os.environ.get("JAX_PLATFORMS", "")
    if not bundle.digest or asked not in ("", "cpu") or (plugins and asked != "cpu"):
        return None
    try:
        key = {
            "bundle": bundle.digest,
            "route": asdict(route),
            "n_slices": n_slices,
            "jax": [_version("jax"), _version("jaxlib")],
            "cpu": _cpu_model(),
            "settings": {name: os.environ[name] for name in sorted(os.environ) if name.startswith(("JAX_", "XLA_"))},
        }
    except (OSError, AttributeError):
        return None
    return program_path(directory, key, ".xla_cpu")


@cache
def _version(package: str) -> str:
    """Digest of the file that states a package's version and commit, which is read without importing the package."""
    found = find_spec(package)
    assert found is not None
    return hashlib.sha256((Path(str(found.origin)).parent / "version.py").read_bytes()).hexdigest()


@cache
def _cpu_model() -> list[Any]:
    """The CPU that code is made for, and how many cores it is spread over."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    described = [os.uname().sysname, os.uname().machine]
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    break  # the other cores say the same
                if line.startswith(("model name", "flags", "Features", "CPU implementer", "CPU part", "CPU variant")):
                    described.append(line.strip())
    else:
        described.append(os.uname().nodename)
    return [n_cores, *described]


class _Shaped(NamedTuple):
    """What jaxlib asks an array's description for."""

    shape: tuple[int, ...]
    dtype: np.dtype
    weak_type: bool = False


class _Cpu(NamedTuple):
    client: Any
    devices: Any
    put: Callable[[np.ndarray], Any]
    handler: Callable[..., Any]


@cache
def _cpu() -> _Cpu:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # as jax does: or XLA's client introduces itself on stderr
    from jaxlib import _jax
    from jaxlib._hlo import HloSharding  # type: ignore[import-not-found]

    class OnTheDevice(_jax.SingleDeviceSharding):
        memory_kind = None

        def _to_xla_hlo_sharding(self, n_axes: int) -> HloSharding:
            return HloSharding.replicate()

    client = _jax.get_tfrt_cpu_client(asynchronous=True)
    [device] = client.local_devices()
    devices = _jax.DeviceList((device,))
    sharding = OnTheDevice(device)

    def put(array: np.ndarray) -> Any:
        array = np.ascontiguousarray(array).reshape(array.shape)
        return _jax.batched_device_put(_Shaped(array.shape, array.dtype), sharding, [array], [device], enable_x64=False)

    def handler(*shape: int) -> Any:
        return _jax.array_result_handler(_Shaped(shape, np.dtype(np.float32)), sharding, True, True)

    return _Cpu(client, devices, put, handler)


def _load(data: bytes, n_slices: int, n_genres: int) -> Resident:
    cpu = _cpu()
    executable = cpu.client.deserialize_executable(data, cpu.devices)
    rows, row = cpu.handler(n_slices, n_genres), cpu.handler(n_slices)
    handlers = [rows, rows, rows, row, rows]

    def program(weights: Placed, *arguments: np.ndarray) -> tuple[SongSums, np.ndarray]:
        results = executable.execute_sharded([*weights, *map(cpu.put, arguments)])
        # As buffers: asked for numpy arrays, jaxlib's would import jax.
        *sums, logp = (np.array(memoryview(array)) for array in results.consume_with_handlers(handlers))
        return SongSums(*sums), logp

    return program
