"""The least time a piece of work can take on this machine: its arithmetic, its bytes, and what the machine can do.

Limits are measured, not read from a data sheet: a product of large float32 matrices for the arithmetic and a copy of
arrays far larger than the caches for the memory, both on all cores, and the start of an interpreter that does nothing.
"""

import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from hgenre.features import LogMelSpec
from hgenre.nets.spec import NetSpec

FLOAT_BYTES = 4


@dataclass(frozen=True)
class Work:
    """What cannot be left out; ``counted`` says in words what was counted and what was not."""

    counted: str
    flops: float = 0.0
    n_bytes: float = 0.0
    n_python_starts: int = 0


@dataclass(frozen=True)
class Limits:
    """What the machine can do at most."""

    flops_per_s: float
    bytes_per_s: float
    python_start_s: float


def floor_s(work: Work, limits: Limits) -> float:
    """Seconds: arithmetic and memory may overlap, so the longer of the two counts; a start comes before both."""
    busy_s = max(work.flops / limits.flops_per_s, work.n_bytes / limits.bytes_per_s)
    return work.n_python_starts * limits.python_start_s + busy_s


def measure_limits(n_rounds: int = 7) -> Limits:
    """The machine's limits, each by the best of a few rounds; products of matrices by numpy or XLA, the faster.

    numpy's library may know less of a processor than XLA's, by a factor of two on some.
    """
    import jax

    n = 2048
    left, right, product = (np.ones((n, n), np.float32) for _ in range(3))
    multiply, x = jax.jit(jax.numpy.matmul), jax.device_put(left)
    gemm_s = min(
        _best_s(n_rounds, lambda: np.matmul(left, right, out=product)),
        _best_s(n_rounds, lambda: multiply(x, x).block_until_ready()),
    )

    n_parts = os.cpu_count() or 1
    parts = [(np.ones(2**25 // n_parts, np.float32), np.empty(2**25 // n_parts, np.float32)) for _ in range(n_parts)]
    with ThreadPoolExecutor(n_parts) as pool:
        copy_s = _best_s(n_rounds, lambda: list(pool.map(lambda part: np.copyto(part[1], part[0]), parts)))
    n_copied = sum(source.nbytes + target.nbytes for source, target in parts)

    start_s = _best_s(n_rounds, lambda: subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True))
    return Limits(2 * n**3 / gemm_s, n_copied / copy_s, start_s)


def _best_s(n_rounds: int, work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(n_rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def net_flops(spec: NetSpec, n_children: int, n_mels: int, n_frames: int) -> float:
    """Multiplications and additions of one slice's convolutions and dense layers, forward."""
    return sum(layer_flops(spec, n_children, n_mels, n_frames))


def training_flops(spec: NetSpec, n_children: int, n_mels: int, n_frames: int) -> float:
    """As ``net_flops``, for a slice of a training step: each layer forward, towards its weights and towards its input.

    The first layer's input is no variable and needs no gradient.
    """
    first, *others = layer_flops(spec, n_children, n_mels, n_frames)
    return 2 * first + 3 * sum(others)


def layer_flops(spec: NetSpec, n_children: int, n_mels: int, n_frames: int) -> list[float]:
    """Each layer's floating-point operations for one slice, in the order of the layers."""
    match spec.kind:
        case "deep_cnn":
            return _deep_cnn_flops(spec, n_children, n_mels, n_frames)
        case "short_chunk":
            return _short_chunk_flops(spec, n_children, n_mels, n_frames)
    raise ValueError(f"the operations of {spec.kind} are not counted; known are deep_cnn and short_chunk")


def _deep_cnn_flops(spec: NetSpec, n_children: int, n_mels: int, n_frames: int) -> list[float]:
    found, n_channels = [], 1
    for width in spec.widths:
        found.append(conv_flops(n_mels, n_frames, n_channels, width, 3))
        n_mels, n_frames, n_channels = n_mels // 2, n_frames // 2, width
    n_in = n_mels * n_frames * n_channels
    for n_out in (*spec.dense_widths, n_children):
        found.append(2.0 * n_in * n_out)
        n_in = n_out
    return found


def _short_chunk_flops(spec: NetSpec, n_children: int, n_mels: int, n_frames: int) -> list[float]:
    n_channels = spec.widths[0]
    found = [conv_flops(n_mels, n_frames, 1, n_channels, 5, stride=2)]
    for width in spec.widths[1:]:
        n_mels, n_frames = -(-n_mels // 2), -(-n_frames // 2)
        found.append(conv_flops(n_mels, n_frames, n_channels, width, 3, stride=2))
        found.append(conv_flops(-(-n_mels // 2), -(-n_frames // 2), width, width, 3))
        found.append(conv_flops(n_mels, n_frames, n_channels, width, 1, stride=2))
        n_channels = width
    return [*found, 2.0 * 2 * n_channels * n_children]


def conv_flops(n_mels: int, n_frames: int, n_in: int, n_out: int, kernel: int, stride: int = 1) -> float:
    """A direct convolution that keeps the size (or divides it by the stride), less the products with padding."""
    return 2.0 * n_in * n_out * _n_taps(n_mels, kernel, stride) * _n_taps(n_frames, kernel, stride)


def _n_taps(size: int, kernel: int, stride: int) -> int:
    """Pairs of a kernel's element and an input's along one axis, over all outputs; padded as XLA's ``SAME``."""
    n_out = -(-size // stride)
    n_before = max((n_out - 1) * stride + kernel - size, 0) // 2
    starts = range(-n_before, n_out * stride - n_before, stride)
    return sum(min(start + kernel, size) - max(start, 0) for start in starts)


def log_mel_flops(spec: LogMelSpec, n_samples: int) -> float:
    """Of a waveform: a real FFT a frame (half of 5 N log2 N) and the filters' non-zero weights."""
    from hgenre.features.log_mel import mel_filters

    n_frames = 1 + (n_samples - spec.n_fft) // spec.hop_length
    filters = 2.0 * np.count_nonzero(mel_filters(spec))
    return n_frames * (2.5 * spec.n_fft * math.log2(spec.n_fft) + filters)
