"""One training step of ``deep_cnn``: as hgenre trains it against the plain linen step on one device."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import worker

N_CHILDREN = 10
STEPS_A_ROUND = 3
OURS, PLAIN = "hgenre, all cores", "linen, nn.max_pool, Adam"


def row(n_mels: int, n_frames: int, batch_size: int = 64) -> Row:
    def side(prepare: str) -> Any:
        return partial(
            worker, f"benchmarks.training:{prepare}", n_mels=n_mels, n_frames=n_frames, batch_size=batch_size
        )

    return Row(
        name="training",
        what=f"training step of deep_cnn, batch {batch_size}, slices of {n_mels} mels x {n_frames} frames",
        unit="slices/s",
        sides={OURS: side("by_hgenre"), PLAIN: side("by_linen")},
        comparisons=(Comparison(OURS, PLAIN, limit=1.7),),
    )


def by_hgenre(n_mels: int, n_frames: int, batch_size: int) -> Round:
    """The step of ``train_net`` with its augmentation and AdamW, the batch spread over the cores."""
    from hgenre.training.devices import spread_over_cpus

    spread_over_cpus()
    import jax

    from hgenre.features import LogMelSpec
    from hgenre.nets.build import build_net
    from hgenre.nets.spec import NetSpec
    from hgenre.training.config import AugmentConfig, OptimiserConfig
    from hgenre.training.loop import TrainState, build_optimiser, build_step, shardings

    optimiser = OptimiserConfig(batch_size=batch_size)
    net = build_net(NetSpec("deep_cnn"), N_CHILDREN)
    variables = net.init(jax.random.key(0), n_mels, n_frames)
    transform = build_optimiser(optimiser)
    slice_sharding, replicated = shardings(batch_size)
    state = jax.device_put(
        TrainState(variables["params"], variables["batch_stats"], transform.init(variables["params"])), replicated
    )
    step = build_step(net, LogMelSpec(n_mels=n_mels), N_CHILDREN, optimiser, AugmentConfig())
    slices, child_idx = _batch(n_mels, n_frames, batch_size)
    host = (slices, np.zeros((batch_size, n_mels), np.float32), np.ones((batch_size, n_mels), np.float32), child_idx)
    rate, key = np.float32(optimiser.learning_rate), jax.random.key(1)

    def update(state: Any) -> tuple[Any, Any]:
        return step(state, *jax.device_put(host, slice_sharding), rate, key)

    return _rounds(update, state, batch_size)


def by_linen(n_mels: int, n_frames: int, batch_size: int) -> Round:
    """The same layers in the plainest form: one device, select-and-scatter pooling, Adam, ready-made inputs."""
    import flax.linen as nn
    import jax
    import optax

    from hgenre.nets.spec import NetSpec

    spec = NetSpec("deep_cnn")

    class PlainCNN(nn.Module):
        widths: Sequence[int]
        dense_widths: Sequence[int]

        @nn.compact
        def __call__(self, x: Any) -> Any:
            x = x[..., None]
            for width in self.widths:
                x = nn.Conv(width, (3, 3))(x)
                x = nn.BatchNorm(use_running_average=False, momentum=0.9)(x)
                x = nn.max_pool(nn.relu(x), (2, 2), strides=(2, 2))
            x = x.reshape(x.shape[0], -1)
            for width in self.dense_widths:
                x = nn.relu(nn.Dense(width)(x))
                x = nn.Dropout(spec.dropout, deterministic=False)(x)
            return nn.Dense(N_CHILDREN)(x)

    model = PlainCNN(spec.widths, spec.dense_widths)
    slices, child_idx = _batch(n_mels, n_frames, batch_size)
    transform = optax.adam(2e-3)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    variables = model.init(keys, slices)
    state = (variables["params"], variables["batch_stats"], transform.init(variables["params"]))

    @jax.jit
    def step(state: Any, x: Any, labels: Any, key: Any) -> tuple[Any, Any]:
        params, batch_stats, optimiser = state

        def loss_of(params: Any) -> tuple[Any, Any]:
            logits, updates = model.apply(
                {"params": params, "batch_stats": batch_stats}, x, mutable=["batch_stats"], rngs={"dropout": key}
            )
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates["batch_stats"]

        (loss, batch_stats), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, optimiser = transform.update(gradient, optimiser)
        return (optax.apply_updates(params, updates), batch_stats, optimiser), loss

    return _rounds(lambda state: step(state, slices, child_idx, keys["dropout"]), state, batch_size)


def _batch(n_mels: int, n_frames: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    slices = random.normal(0, 1, (batch_size, n_mels, n_frames)).astype(np.float32)
    return slices, random.integers(0, N_CHILDREN, batch_size)


def _rounds(update: Callable[[Any], tuple[Any, Any]], state: Any, batch_size: int) -> Round:
    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(STEPS_A_ROUND):
            state, loss = update(state)
        loss.block_until_ready()
        return STEPS_A_ROUND * batch_size / (time.perf_counter() - started)

    return run
