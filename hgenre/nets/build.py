"""Nets as a pair of pure functions: ``init`` makes variables, ``apply`` turns slices into logits.

Variables are ``{"params": ..., "batch_stats": ...}``, nested dicts of arrays. Nothing outside this room sees flax.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib import import_module
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp

from hgenre.nets.spec import NETS, NetSpec, Precision

Array = Any
Variables = dict[str, Any]

LAST_LAYER = "logits"
"""The layer of every net whose outputs are the children's logits."""


@dataclass(frozen=True)
class Net:
    """A net for one node.

    Attributes:
        init: (key, n_mels, n_frames) -> variables.
        shapes: (n_mels, n_frames) -> variables with shapes and types in place of arrays; computes nothing.
        apply: (variables, x (slice, mel, frame)) -> logits (slice, child); running statistics, no dropout.
        train_apply: (variables, x, key) -> (logits, new batch_stats); batch statistics and dropout.
        frozen: layers of ``params`` that training leaves as they are.
        embed: as ``apply``, but what enters the last layer, (slice, feature); None where several nets act as one.
    """

    init: Callable[[Array, int, int], Variables]
    shapes: Callable[[int, int], Variables]
    apply: Callable[[Variables, Array], Array]
    train_apply: Callable[[Variables, Array, Array], tuple[Array, Any]]
    frozen: frozenset[str] = frozenset()
    embed: Callable[[Variables, Array], Array] | None = None


@cache
def build_net(spec: NetSpec, n_children: int, precision: Precision = "float32") -> Net:
    """The net of a spec with one output a child; one object for the same arguments, so programs compile once.

    ``precision`` is that of ``train_apply`` between the layers; variables and logits are float32.
    """
    kind = _kind(spec)
    module, in_training = kind.module(spec, n_children, "float32"), kind.module(spec, n_children, precision)

    def drawn(key: Array, n_mels: int, n_frames: int) -> Variables:
        return {"batch_stats": {}, **module.init(key, jnp.zeros((1, n_mels, n_frames)), train=False)}

    def shapes(n_mels: int, n_frames: int) -> Variables:
        return jax.eval_shape(partial(drawn, n_mels=n_mels, n_frames=n_frames), jax.random.key(0))

    def apply(variables: Variables, x: Array) -> Array:
        # A GPU's or TPU's default rounds inputs of products to 10 or 8 bits, and differently for each batch size.
        with jax.default_matmul_precision("highest"):
            return module.apply(variables, x, train=False)

    def embed(variables: Variables, x: Array) -> Array:
        from flax.linen import intercept_methods

        entered: list[Array] = []

        def listen(layer: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.module.name == LAST_LAYER:
                entered.append(args[0])
            return layer(*args, **kwargs)

        with intercept_methods(listen):
            apply(variables, x)
        (features,) = entered
        return features

    def train_apply(variables: Variables, x: Array, key: Array) -> tuple[Array, Any]:
        logits, updates = in_training.apply(variables, x, train=True, mutable=["batch_stats"], rngs={"dropout": key})
        return logits, updates.get("batch_stats", {})

    # Weights are drawn once, so the time to compile is all that counts: a fifth where XLA does not optimise the code.
    unoptimised = {"xla_backend_optimization_level": "0"} if jax.default_backend() == "cpu" else None
    init = jax.jit(drawn, static_argnums=(1, 2), compiler_options=unoptimised)
    return Net(init, shapes, apply, train_apply, frozen_layers(spec), embed)


def frozen_layers(spec: NetSpec) -> frozenset[str]:
    """The layers of a net that training leaves as they are: what its weights must bring along."""
    frozen: Callable[[NetSpec], frozenset[str]] | None = getattr(_kind(spec), "frozen", None)
    return frozen(spec) if frozen else frozenset()


def _kind(spec: NetSpec) -> ModuleType:
    """The file of a net's kind: ``module(spec, n_children, precision)`` and perhaps ``frozen(spec)``."""
    assert spec.kind in NETS
    return import_module(f"hgenre.nets.{spec.kind}")
