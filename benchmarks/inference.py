"""One net over many slices in memory: as ``hgenre predict`` answers them against PyTorch and a plain jitted net.

hgenre goes the whole way from slices in dB to song answers in the chunks that it chooses itself; the others are given
standardised slices, stop at the logits and take the batch that is best for them.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.floors import Work, net_flops
from benchmarks.invented import FEATURES, LABELS, SLICES, flat_bundle
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import best_batch, worker
from hgenre.nets.spec import NetSpec

OURS, TORCH, PLAIN = "hgenre", "PyTorch, channels_last, inference_mode", "jax.jit of the net, one call a batch"


def row(
    scratch: Path,
    kind: str,
    limit: float | None,
    n_slices: int = 1000,
    batch_sizes: Sequence[int] = (8, 16, 32, 64, 128, 256),
) -> Row:
    """``limit`` is that of the rate against PyTorch's."""
    bundle = str(flat_bundle(scratch, NetSpec(kind)))
    rival = partial(worker, kind=kind, n_slices=n_slices, batch_sizes=batch_sizes)
    ours = partial(
        worker, "benchmarks.inference:by_hgenre", bundle=bundle, n_slices=n_slices, cache_dir=str(scratch / "cache")
    )
    return Row(
        name="inference",
        what=f"{n_slices} slices of {FEATURES.n_mels} mels x {SLICES.n_frames} frames through one {kind}",
        unit="slices/s",
        sides={
            OURS: ours,
            TORCH: partial(rival, "benchmarks.inference:by_torch", needs="torch"),
            PLAIN: partial(rival, "benchmarks.inference:by_jit"),
        },
        comparisons=(Comparison(OURS, TORCH, limit), Comparison(OURS, PLAIN)),
        work={
            OURS: Work(
                "convolutions and dense layers; standardisation, posterior and vote not counted",
                flops=net_flops(NetSpec(kind), len(LABELS), FEATURES.n_mels, SLICES.n_frames),
            )
        },
    )


def by_hgenre(bundle: str, n_slices: int, cache_dir: str) -> Round:
    from benchmarks.routing import answers

    seconds = answers(bundle, "soft", "slice", n_slices, False, cache_dir)
    return lambda: n_slices / seconds()


def by_torch(kind: str, n_slices: int, batch_sizes: Sequence[int]) -> Round:
    import torch

    from benchmarks.torch_nets import torch_net

    net = torch_net(NetSpec(kind), len(LABELS), FEATURES.n_mels, SLICES.n_frames).eval()

    def logits(rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return net(torch.from_numpy(rows)[:, None].contiguous(memory_format=torch.channels_last)).numpy()

    return _in_batches(logits, n_slices, batch_sizes)


def by_jit(kind: str, n_slices: int, batch_sizes: Sequence[int]) -> Round:
    import jax

    from benchmarks.linen_net import plain_net

    net = plain_net(NetSpec(kind), len(LABELS))
    variables = net.init(jax.random.key(0), np.zeros((1, FEATURES.n_mels, SLICES.n_frames), np.float32), train=False)
    apply = jax.jit(partial(net.apply, train=False))
    return _in_batches(lambda rows: np.asarray(apply(variables, rows)), n_slices, batch_sizes)


def _in_batches(logits: Callable[[np.ndarray], np.ndarray], n_slices: int, batch_sizes: Sequence[int]) -> Round:
    rows = np.random.default_rng(0).normal(0, 1, (n_slices, FEATURES.n_mels, SLICES.n_frames)).astype(np.float32)

    def prepare(batch_size: int) -> Round:
        def run() -> float:
            started = time.perf_counter()
            for start in range(0, n_slices, batch_size):
                logits(rows[start : start + batch_size])
            return n_slices / (time.perf_counter() - started)

        return run

    return best_batch(prepare, batch_sizes)
