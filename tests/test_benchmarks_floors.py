"""The arithmetic behind the floors, against counts by hand and by brute force."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from benchmarks.floors import (
    Limits,
    Work,
    conv_flops,
    floor_s,
    layer_flops,
    log_mel_flops,
    measure_limits,
    net_flops,
    training_flops,
)
from benchmarks.linen_net import plain_net
from hgenre.features import LogMelSpec
from hgenre.nets.spec import NetSpec


def test_a_floor_is_the_longer_of_arithmetic_and_memory_after_the_start() -> None:
    limits = Limits(flops_per_s=10.0, bytes_per_s=100.0, python_start_s=0.5)
    assert floor_s(Work("", flops=20.0, n_bytes=100.0), limits) == 2.0
    assert floor_s(Work("", flops=20.0, n_bytes=400.0, n_python_starts=1), limits) == 4.5


def test_a_convolution_by_hand() -> None:
    # A row of 4 and a kernel of 3: 2 + 3 + 3 + 2 products; a row of 3: 2 + 3 + 2. Times 2 x 5 channels.
    assert conv_flops(4, 3, 2, 5, kernel=3) == 2 * (2 * 5) * 10 * 7


@pytest.mark.parametrize("size", [(6, 5), (7, 8)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 2), (3, 1), (3, 2), (5, 2)])
def test_a_convolution_counts_what_xla_multiplies(size: tuple[int, int], kernel: int, stride: int) -> None:
    # Of ones with ones, each output is the number of its products.
    image, filters = jnp.ones((1, 1, *size)), jnp.ones((1, 1, kernel, kernel))
    ones = lax.conv(image, filters, (stride, stride), "SAME")
    assert conv_flops(*size, 1, 1, kernel, stride) == 2 * float(ones.sum())


def test_deep_cnn_by_hand() -> None:
    spec = NetSpec("deep_cnn", widths=(2, 3), dense_widths=(5, 4))
    first, second, *dense = layer_flops(spec, 3, 4, 4)
    assert (first, second) == (2 * 2 * 10 * 10, 2 * 2 * 3 * 4 * 4)
    assert dense == [2 * 3 * 5, 2 * 5 * 4, 2 * 4 * 3]
    assert training_flops(spec, 3, 4, 4) == 2 * first + 3 * (second + sum(dense))


@pytest.mark.parametrize("kind", ["deep_cnn", "short_chunk"])
def test_the_layers_do_about_what_is_counted(kind: str) -> None:
    """XLA's own count has norms, activations and pooling in it too, and knows the layers from the program.

    hgenre's own nets convolve otherwise than is counted, so their plain form stands in.
    """
    spec = NetSpec(kind)
    net = plain_net(spec, 10)
    x = jax.ShapeDtypeStruct((1, 96, 61), np.float32)
    variables = jax.eval_shape(partial(net.init, train=False), jax.random.key(0), x)
    apply = partial(net.apply, train=False)
    analysed = jax.jit(apply).lower(variables, x).cost_analysis()
    assert analysed is not None
    assert 0.9 < net_flops(spec, 10, 96, 61) / analysed["flops"] <= 1.0


def test_log_mel_counts_a_real_fft_a_frame_and_the_filters() -> None:
    spec = LogMelSpec()
    one, two = (log_mel_flops(spec, spec.n_fft + k * spec.hop_length) for k in (0, 1))
    assert two == 2 * one
    assert 2.5 * 1024 * 10 < one < 2.5 * 1024 * 10 + 2 * 2 * 513


def test_limits_are_measured() -> None:
    limits = measure_limits(n_rounds=1)
    assert limits.flops_per_s > 1e8
    assert limits.bytes_per_s > 1e7
    assert 0 < limits.python_start_s < 10
