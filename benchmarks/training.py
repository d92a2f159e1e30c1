"""Training of ``deep_cnn``: as hgenre trains it against PyTorch and against the plain linen step on one device.

Each side takes the batch that is best for it. hgenre's step makes its slices level-free, standardises and augments
them and follows a schedule; the others are given ready-made slices.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from benchmarks.floors import Work, training_flops
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import best_batch, worker
from hgenre.nets.spec import NetSpec

SPEC = NetSpec("deep_cnn")
N_CHILDREN = 10
SLICES_A_ROUND = 256
OURS, TORCH, PLAIN = "hgenre", "PyTorch, channels_last, AdamW", "linen, nn.max_pool, Adam"


def row(n_mels: int, n_frames: int, batch_sizes: Sequence[int] = (16, 32, 64, 128, 256)) -> Row:
    def side(prepare: str, needs: str = "") -> Any:
        prepare = f"benchmarks.training:{prepare}"
        return partial(worker, prepare, needs=needs, n_mels=n_mels, n_frames=n_frames, batch_sizes=batch_sizes)

    return Row(
        name="training",
        what=f"training of deep_cnn on slices of {n_mels} mels x {n_frames} frames",
        unit="slices/s",
        sides={OURS: side("by_hgenre"), TORCH: side("by_torch", "torch"), PLAIN: side("by_linen")},
        comparisons=(Comparison(OURS, TORCH, limit=1.0), Comparison(OURS, PLAIN, limit=2.2)),
        work={
            OURS: Work(
                "convolutions and dense layers, forward and two gradients; augmentation and optimiser not counted",
                flops=training_flops(SPEC, N_CHILDREN, n_mels, n_frames),
            )
        },
    )


def by_hgenre(n_mels: int, n_frames: int, batch_sizes: Sequence[int]) -> Round:
    """The step of ``train_net`` with its augmentation and AdamW, the batch spread over the cores."""
    from hgenre.training.devices import use_all_cpus

    use_all_cpus()
    import jax

    from hgenre.compiled.devices import shardings
    from hgenre.features import LogMelSpec, SliceSpec
    from hgenre.nets.build import build_net
    from hgenre.training.config import AugmentConfig, OptimiserConfig
    from hgenre.training.loop import TrainState, build_optimiser, build_update
    from hgenre.training.songs import Batch

    def prepare(batch_size: int) -> Round:
        optimiser = OptimiserConfig(batch_size=batch_size)
        net = build_net(SPEC, N_CHILDREN)
        variables = net.init(jax.random.key(0), n_mels, n_frames)
        transform = build_optimiser(optimiser)
        _, replicated = shardings(batch_size)
        state = jax.device_put(
            TrainState(variables["params"], variables["batch_stats"], transform.init(variables["params"])), replicated
        )
        step = build_update(
            net,
            LogMelSpec(n_mels=n_mels),
            SliceSpec(n_frames, n_frames),
            N_CHILDREN,
            optimiser,
            AugmentConfig(),
        )
        slices, child_idx = _batch(n_mels, n_frames, batch_size)
        statistics = np.zeros((batch_size, n_mels), np.float32), np.ones((batch_size, n_mels), np.float32)
        batch = Batch(slices, *statistics, child_idx)
        rates, key = np.array([optimiser.learning_rate], np.float32), jax.random.key(1)
        return _rounds(lambda state: step(state, None, [batch], rates, np.array([0]), key), state, batch_size)

    return best_batch(prepare, batch_sizes)


def by_torch(n_mels: int, n_frames: int, batch_sizes: Sequence[int]) -> Round:
    """The same net with the same weights; eager, in float32, with the fused AdamW."""
    import torch

    from benchmarks.torch_nets import torch_net

    net = torch_net(SPEC, N_CHILDREN, n_mels, n_frames).train()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3, fused=True)

    def prepare(batch_size: int) -> Round:
        slices, child_idx = _batch(n_mels, n_frames, batch_size)
        x = torch.from_numpy(slices)[:, None].contiguous(memory_format=torch.channels_last)
        labels = torch.from_numpy(child_idx)

        def update(state: None) -> tuple[None, Any]:
            optimiser.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(net(x), labels)
            loss.backward()
            optimiser.step()
            return None, loss.detach()

        return _rounds(update, None, batch_size)

    return best_batch(prepare, batch_sizes)


def by_linen(n_mels: int, n_frames: int, batch_sizes: Sequence[int]) -> Round:
    """The same layers in the plainest form: one device, select-and-scatter pooling, Adam."""
    import jax
    import optax

    from benchmarks.linen_net import plain_net

    model = plain_net(SPEC, N_CHILDREN)
    transform = optax.adam(2e-3)

    @jax.jit
    def step(state: Any, x: Any, labels: Any, key: Any) -> tuple[Any, Any]:
        params, batch_stats, optimiser = state

        def loss_of(params: Any) -> tuple[Any, Any]:
            variables = {"params": params, "batch_stats": batch_stats}
            logits, updates = model.apply(variables, x, True, mutable=["batch_stats"], rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), updates["batch_stats"]

        (loss, batch_stats), gradient = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, optimiser = transform.update(gradient, optimiser)
        return (optax.apply_updates(params, updates), batch_stats, optimiser), loss

    def prepare(batch_size: int) -> Round:
        slices, child_idx = _batch(n_mels, n_frames, batch_size)
        variables = model.init(jax.random.key(0), slices[:1], False)
        state = (variables["params"], variables["batch_stats"], transform.init(variables["params"]))
        return _rounds(lambda state: step(state, slices, child_idx, jax.random.key(1)), state, batch_size)

    return best_batch(prepare, batch_sizes)


def _batch(n_mels: int, n_frames: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    slices = random.normal(0, 1, (batch_size, n_mels, n_frames)).astype(np.float32)
    return slices, random.integers(0, N_CHILDREN, batch_size)


def _rounds(update: Callable[[Any], tuple[Any, Any]], state: Any, batch_size: int) -> Round:
    """A few steps one after the other; reading the last loss waits for them all."""
    n_steps = max(1, SLICES_A_ROUND // batch_size)

    def run() -> float:
        nonlocal state
        started = time.perf_counter()
        for _ in range(n_steps):
            state, loss = update(state)
        np.asarray(loss)
        return n_steps * batch_size / (time.perf_counter() - started)

    return run
