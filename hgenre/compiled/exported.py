"""Exported programs in the user's cache, so that a new process neither traces nor compiles.

A program is exported once for a bundle, a route and a number of slices, and kept under a name made of the bundle's
digest, all shapes, the jax version and the platform. The XLA executable itself is kept by jax's compilation cache
beside it, and on a CPU once more in the form that ``compiled.resident`` runs. All live in the user's own cache folder
only; anything unreadable there is made again.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from hgenre.bundle import Bundle
from hgenre.compiled.kept import keep, program_path, read_kept
from hgenre.compiled.program import Program, ProgramAnswer, Weights, build_program
from hgenre.compiled.resident import keep_resident, lacks_resident
from hgenre.errors import BundleError
from hgenre.tree.route import Route
from hgenre.tree.vote import SongSums


def weights_of(bundle: Bundle) -> Weights:
    """The numbers of a bundle on the default device."""
    return jax.device_put(_host_weights(bundle))


def _host_weights(bundle: Bundle) -> Weights:
    return Weights(
        variables=jax.tree.map(np.asarray, dict(bundle.variables)),
        temperature={node: np.float32(t) for node, t in bundle.temperatures.items()},
        path_temperature=np.float32(bundle.path_temperature),
    )


def bundle_program(bundle: Bundle, route: Route) -> Program:
    """The traced program of a bundle; imports flax. Raises BundleError where weights do not fit their net's spec."""
    from hgenre.nets.build import build_net

    nets = {node.name: build_net(bundle.nets[node.name], len(node.children)) for node in bundle.tree.net_nodes}
    sizes = bundle.features.n_mels, bundle.slices.n_frames
    for name, net in nets.items():
        if _shapes(net.shapes(*sizes)) != _shapes(bundle.variables[name]):
            raise BundleError(
                f"model {bundle.name}: the weights of node {name!r} do not fit its net, {bundle.nets[name]}; "
                "the bundle is damaged, fetch it again"
            )
    apply: Mapping[str, Callable] = {name: net.apply for name, net in nets.items()}
    return build_program(bundle.tree, apply, route, bundle.features)


def _shapes(variables: Any) -> dict[str, tuple[int, ...]]:
    return {jax.tree_util.keystr(path): tuple(a.shape) for path, a in jax.tree_util.tree_leaves_with_path(variables)}


def argument_shapes(bundle: Bundle, n_slices: int) -> tuple[Any, ...]:
    """Shapes and types of the program's arguments: weights, slices, mean_db, std_db, song_idx, voiced."""
    n_mels = bundle.features.n_mels

    def shape(dtype: Any, *axes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(axes, dtype)

    weights = jax.tree.map(lambda a: shape(a.dtype, *a.shape), _host_weights(bundle))
    return (
        weights,
        shape(jnp.float32, n_slices, n_mels, bundle.slices.n_frames),
        shape(jnp.float32, n_slices, n_mels),
        shape(jnp.float32, n_slices, n_mels),
        shape(jnp.int32, n_slices),
        shape(jnp.bool_, n_slices),
    )


def export_program(bundle: Bundle, route: Route, n_slices: int, platforms: tuple[str, ...]) -> jax.export.Exported:
    """The program lowered for one or several of ``cpu``, ``cuda``, ``tpu``; no such device is needed."""
    import jax.export

    program = bundle_program(bundle, route)

    def plain(*arguments: Any) -> tuple[Any, ...]:
        answer = program(Weights(*arguments[0]), *arguments[1:])
        return (*answer.sums, answer.logp)

    weights, *rest = argument_shapes(bundle, n_slices)
    return jax.export.export(jax.jit(plain), platforms=platforms)(tuple(weights), *rest)


def cached_program(bundle: Bundle, route: Route, n_slices: int, directory: Path) -> Program:
    """The compiled program for ``n_slices`` slices: read from ``directory`` or exported and kept there."""
    import jax.export

    platform = jax.default_backend()
    platforms = ("cuda",) if platform == "gpu" else (platform,)
    key = {
        "bundle": bundle.digest,
        "route": asdict(route),
        "n_slices": n_slices,
        "jax": jax.__version__,
        "x64": jax.config.values["jax_enable_x64"],
        "platform": platform,
    }
    path = program_path(directory, key, ".jax_export")
    keep_executables(directory)
    exported = _read(path) if bundle.digest else None
    if exported is None:
        exported = export_program(bundle, route, n_slices, platforms)
        if bundle.digest:
            keep(path, bytes(exported.serialize()))
    compiled = _compiled(exported, bundle, route, n_slices, directory)

    def program(values: Weights, *arguments: Any) -> ProgramAnswer:
        *sums, logp = compiled(tuple(values), *arguments)
        return ProgramAnswer(SongSums(*sums), logp)

    return program


def _compiled(
    exported: jax.export.Exported, bundle: Bundle, route: Route, n_slices: int, directory: Path
) -> jax.stages.Compiled:
    weights, *rest = argument_shapes(bundle, n_slices)
    # Unused parameters stay, so that whoever runs the executable need not know which they are.
    lowered = jax.jit(exported.call, keep_unused=True).lower(tuple(weights), *rest)
    resident = jax.default_backend() == "cpu" and not jax.config.values["jax_enable_x64"]
    if not (resident and lacks_resident(bundle, route, n_slices, directory)):
        return lowered.compile()
    with _one_at_a_time, _afresh():
        compiled = lowered.compile()
    keep_resident(compiled, bundle, route, n_slices, directory)
    return compiled


_one_at_a_time = Lock()
"""Held while jax's configuration, which is the whole process's, is other than the caller left it."""


@contextmanager
def _afresh() -> Iterator[None]:
    """No compilation cache: an executable that was read from there lacks functions once it is written again."""
    enabled = jax.config.values["jax_enable_compilation_cache"]
    try:
        jax.config.update("jax_enable_compilation_cache", False)
        compilation_cache.reset_cache()
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", enabled)
        compilation_cache.reset_cache()


def _read(path: Path) -> jax.export.Exported | None:
    data = read_kept(path)
    try:
        # Damage inside the lowered program would show only when it runs: the checksum has seen to that.
        return None if data is None else jax.export.deserialize(bytearray(data))
    except Exception:  # whatever a foreign file makes the reader raise, the cure is to export again
        return None


def keep_executables(directory: Path) -> None:
    """From here on what XLA compiles is kept in ``directory`` and found there by later runs.

    A compilation cache that the caller has chosen for jax stays as it is.
    """
    if jax.config.values["jax_compilation_cache_dir"] is not None:
        return
    jax.config.update("jax_compilation_cache_dir", str(directory / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
