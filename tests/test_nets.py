"""Nets: names, shapes, initial values, and what training mode changes."""

import math
import re
from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.linen_net import plain_net
from hgenre.errors import BundleError, FeatureError
from hgenre.nets.build import LAST_LAYER, Net, build_net
from hgenre.nets.pool import global_max_pool, max_pool_2x2
from hgenre.nets.spec import NetSpec, net_from_json, net_to_json

SHORT = NetSpec(widths=(4, 8), dropout=0.5)
DEEP = NetSpec("deep_cnn", widths=(4, 6), dense_widths=(16, 8), dropout=0.5)
SPECS = {"short_chunk": SHORT, "deep_cnn": DEEP}
N_CHILDREN, N_MELS, N_FRAMES = 3, 13, 21


@cache
def started(spec: NetSpec) -> tuple[Net, dict[str, Any]]:
    net = build_net(spec, N_CHILDREN)
    return net, net.init(jax.random.key(0), N_MELS, N_FRAMES)


def slices(n_slices: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_slices, N_MELS, N_FRAMES)).astype(np.float32)


def names(tree: Mapping[str, Any]) -> set[str]:
    found = set(tree)
    for value in tree.values():
        if isinstance(value, Mapping):
            found |= names(value)
    return found


def test_every_layer_has_a_name_of_its_own() -> None:
    for spec in SPECS.values():
        _, variables = started(spec)
        assert set(variables) == {"params", "batch_stats"}
        assert not [name for name in names(variables) if re.search(r"[A-Z]|_\d+$", name)]
        assert LAST_LAYER in variables["params"]
    assert set(started(SHORT)[1]["params"]) == {"stem", "stem_norm", "block1", "logits"}
    block = started(SHORT)[1]["params"]["block1"]
    assert set(block) == {"conv1", "norm1", "conv2", "norm2", "shortcut", "shortcut_norm"}
    layers = {"conv1", "norm1", "conv2", "norm2", "dense1", "dense2", "logits"}
    assert set(started(DEEP)[1]["params"]) == layers


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_logit_for_every_child_whoever_stands_beside(spec: NetSpec) -> None:
    net, variables = started(spec)
    apply = jax.jit(net.apply)
    x = slices(4)
    logits = apply(variables, x)
    assert logits.shape == (4, N_CHILDREN)
    assert logits.dtype == jnp.float32
    beside = np.stack([x[2], 1e3 * x[0], np.zeros_like(x[0]), x[1]])
    np.testing.assert_allclose(apply(variables, beside)[0], logits[2], atol=1e-5)
    np.testing.assert_allclose(apply(variables, beside)[3], logits[1], atol=1e-5)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_training_mode_drops_units_and_moves_statistics(spec: NetSpec) -> None:
    net, variables = started(spec)
    x = 5 + slices(6)
    train_apply = jax.jit(net.train_apply)
    logits, statistics = train_apply(variables, x, jax.random.key(1))
    again, _ = train_apply(variables, x, jax.random.key(1))
    other, _ = train_apply(variables, x, jax.random.key(2))
    assert np.array_equal(logits, again)
    assert not np.array_equal(logits, other)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), statistics, dict(variables["batch_stats"]))
    assert all(jax.tree.leaves(moved))
    np.testing.assert_array_equal(net.apply(variables, x), net.apply(variables, x))


def test_statistics_move_a_tenth_of_the_way_and_answers_use_them() -> None:
    net, variables = started(DEEP)
    x = slices(5)
    _, statistics = net.train_apply(variables, x, jax.random.key(1))
    kernel, bias = (variables["params"]["conv1"][name] for name in ("kernel", "bias"))
    convolved = nn.Conv(4, (3, 3)).apply({"params": {"kernel": kernel, "bias": bias}}, x[..., None])
    mean, variance = np.asarray(convolved).mean(axis=(0, 1, 2)), np.asarray(convolved).var(axis=(0, 1, 2))
    np.testing.assert_allclose(statistics["norm1"]["mean"], 0.1 * mean, atol=1e-5)
    np.testing.assert_allclose(statistics["norm1"]["var"], 0.9 + 0.1 * variance, rtol=1e-4)
    moved = {**variables, "batch_stats": statistics}
    assert not np.array_equal(net.apply(moved, x), net.apply(variables, x))


def test_deep_cnn_starts_where_he_and_glorot_say() -> None:
    spec = NetSpec("deep_cnn", widths=(32, 32), dense_widths=(256, 64))
    params = build_net(spec, 10).init(jax.random.key(3), 12, 20)["params"]
    for layer, fan_in in (("conv1", 9), ("conv2", 9 * 32)):
        kernel, bound = np.asarray(params[layer]["kernel"]), math.sqrt(6 / fan_in)
        assert 0.95 * bound < np.abs(kernel).max() <= bound
        assert kernel.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
        assert (np.asarray(params[layer]["bias"]) == 0).all()
    for layer, fan_in, fan_out in (("dense1", 3 * 5 * 32, 256), ("dense2", 256, 64), ("logits", 64, 10)):
        kernel = np.asarray(params[layer]["kernel"])
        assert kernel.shape == (fan_in, fan_out)
        assert kernel.std() == pytest.approx(math.sqrt(2 / (fan_in + fan_out)), rel=0.1)
        assert abs(kernel.mean()) < 0.1 * kernel.std()


def test_same_key_same_net_and_another_key_another() -> None:
    net, variables = started(SHORT)
    again = net.init(jax.random.key(0), N_MELS, N_FRAMES)
    other = net.init(jax.random.key(1), N_MELS, N_FRAMES)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, variables, again)))
    assert not np.array_equal(variables["params"]["stem"]["kernel"], other["params"]["stem"]["kernel"])


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_shapes_are_those_of_the_variables(spec: NetSpec) -> None:
    net, variables = started(spec)
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), net.shapes(N_MELS, N_FRAMES))
    assert shapes == jax.tree.map(lambda a: (a.shape, a.dtype), variables)


def test_deep_cnn_refuses_slices_that_its_halvings_use_up() -> None:
    with pytest.raises(FeatureError, match="2 times, found slices of 3 mels x 21 frames, needed at least 4"):
        build_net(DEEP, 2).init(jax.random.key(0), 3, 21)


def windows(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Values that never tie."""
    n = math.prod(shape)
    return np.random.default_rng(seed).permutation(n).reshape(shape).astype(np.float32) / n


@pytest.mark.parametrize("shape", [(2, 4, 6, 3), (1, 5, 7, 2), (3, 2, 3, 1), (1, 1, 4, 1)])
def test_pool_equals_flax_in_value_and_gradient(shape: tuple[int, ...]) -> None:
    x = jnp.asarray(windows(shape, seed=sum(shape)))

    def theirs(x: Any) -> Any:
        return nn.max_pool(x, (2, 2), strides=(2, 2))

    pooled = max_pool_2x2(x)
    assert pooled.shape == (shape[0], shape[1] // 2, shape[2] // 2, shape[3])
    assert np.array_equal(pooled, theirs(x))
    weights = jnp.asarray(np.random.default_rng(1).normal(size=pooled.shape), jnp.float32)
    ours = jax.grad(lambda x: (max_pool_2x2(x) * weights).sum())(x)
    assert np.array_equal(ours, jax.grad(lambda x: (theirs(x) * weights).sum())(x))


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (1, 1, 1, 2), (3, 4, 2, 1)])
def test_global_pool_equals_the_maximum_in_value_and_gradient(shape: tuple[int, ...]) -> None:
    x = jnp.asarray(windows(shape, seed=sum(shape)))
    assert np.array_equal(global_max_pool(x), x.max(axis=(1, 2)))
    ours, theirs = (jax.grad(lambda x, f=f: (f(x) ** 2).sum())(x) for f in (global_max_pool, lambda x: x.max((1, 2))))
    assert np.array_equal(ours, theirs)


def test_global_pool_has_a_gradient_where_all_values_tie() -> None:
    gradient = jax.grad(lambda x: global_max_pool(x).sum())(jnp.zeros((2, 3, 5, 4)))
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(gradient.sum(axis=(1, 2)), 1)


@pytest.mark.parametrize("n_levels", [1, 2, 3])
def test_pool_gives_the_gradient_to_the_first_of_equal_values_as_flax_does(n_levels: int) -> None:
    x = jnp.asarray(np.random.default_rng(n_levels).integers(0, n_levels, (2, 9, 12, 3)), jnp.float32)
    ours, theirs = (
        jax.grad(lambda x, pool=pool: (pool(x) ** 2 + pool(x)).sum())(x)
        for pool in (max_pool_2x2, lambda x: nn.max_pool(x, (2, 2), strides=(2, 2)))
    )
    assert np.array_equal(ours, theirs)


UNDROPPED = {
    "short_chunk": NetSpec(widths=(4, 6, 5), dropout=0.0),
    "deep_cnn": NetSpec("deep_cnn", widths=(4, 6, 5), dense_widths=(16, 8), dropout=0.0),
}


@pytest.mark.parametrize("spec", UNDROPPED.values(), ids=UNDROPPED)
@pytest.mark.parametrize(("n_slices", "n_mels", "n_frames"), [(32, 12, 8), (48, 13, 8), (5, 8, 11), (17, 15, 13)])
def test_nets_equal_flax_layer_by_layer_forward_and_back(
    spec: NetSpec, n_slices: int, n_mels: int, n_frames: int
) -> None:
    net, plain = build_net(spec, N_CHILDREN), plain_net(spec, N_CHILDREN)
    random = np.random.default_rng(n_slices)

    def drawn(values: Any) -> Any:
        """Scales of both signs, and biases that are not zero; kernels as they start."""
        return jnp.asarray(random.normal(size=values.shape), jnp.float32) if values.ndim == 1 else jnp.asarray(values)

    started = net.init(jax.random.key(0), n_mels, n_frames)
    params = jax.tree.map(drawn, started["params"])
    variables = {"params": params, "batch_stats": jax.tree.map(jnp.asarray, started["batch_stats"])}
    # A silent part, as masks leave it, makes ties.
    x = random.normal(1, 2, size=(n_slices, n_mels, n_frames)).astype(np.float32)
    x[: n_slices // 2, :, n_frames // 2 :] = 0
    weights = random.normal(size=(n_slices, N_CHILDREN)).astype(np.float32)

    def ours(params: Any) -> Any:
        logits, statistics = net.train_apply({**variables, "params": params}, x, jax.random.key(1))
        return (logits * weights).sum(), (logits, statistics)

    def theirs(params: Any) -> Any:
        logits, updates = plain.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
        return (logits * weights).sum(), (logits, updates["batch_stats"])

    (_, (logits, statistics)), gradient = jax.jit(jax.value_and_grad(ours, has_aux=True))(params)
    (_, (plain_logits, plain_statistics)), plain_gradient = jax.jit(jax.value_and_grad(theirs, has_aux=True))(params)
    close = partial(np.testing.assert_allclose, rtol=1e-4)
    close(logits, plain_logits, atol=1e-4)
    jax.tree.map(partial(close, atol=1e-5), statistics, plain_statistics)
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(plain_gradient))
    jax.tree.map(partial(close, atol=1e-5 * scale), gradient, plain_gradient)
    moved = {"params": params, "batch_stats": statistics}
    close(net.apply(moved, x), plain.apply(moved, x, train=False), atol=1e-4)


@pytest.mark.parametrize("spec", UNDROPPED.values(), ids=UNDROPPED)
def test_half_precision_is_between_the_layers_only(spec: NetSpec) -> None:
    whole, half = build_net(spec, N_CHILDREN), build_net(spec, N_CHILDREN, "bfloat16")
    variables = half.init(jax.random.key(0), N_MELS, N_FRAMES)
    x = slices(32)
    logits, statistics = jax.jit(half.train_apply)(variables, x, jax.random.key(1))
    wanted, wanted_statistics = jax.jit(whole.train_apply)(variables, x, jax.random.key(1))
    assert {a.dtype for a in (logits, *jax.tree.leaves((variables, statistics)))} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(logits, wanted, atol=0.1 * float(jnp.abs(wanted).max()))
    assert not np.array_equal(logits, wanted)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=0.05, atol=0.02), statistics, wanted_statistics)
    np.testing.assert_array_equal(half.apply(variables, x), whole.apply(variables, x))


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_spec_survives_json(spec: NetSpec) -> None:
    assert net_from_json(net_to_json(spec)) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "transformer"}, "kind: found 'transformer', needed one of short_chunk, deep_cnn, .*, vgg16"),
        ({"kind": None}, "kind: found None"),
        ({"kind": ["mlp"]}, r"kind: found \['mlp'\]"),
        ({"widths": None}, "cannot be read: TypeError"),
        ({"widths": ["wide"]}, "cannot be read: ValueError"),
        ({"widths": []}, r"widths: found \(\), needed widths of at least 1"),
        ({"widths": [4, 0]}, "needed widths of at least 1"),
        ({"kind": "deep_cnn", "dense_widths": [8, -1]}, "dense_widths: .* needed widths of at least 1"),
        ({"dropout": 1.0}, r"found 1.0, needed a dropout in \[0, 1\)"),
        ({"dropout": float("nan")}, r"found nan, needed a dropout in \[0, 1\)"),
        ({"dense_widths": [8]}, "needed nothing: short_chunk has no dense_widths and reads widths and dropout"),
        ({"norm": False}, "found False, needed nothing: short_chunk has no norm"),
        ({"kind": "mlp"}, "mlp has no widths and reads dense_widths, dropout and norm"),
        ({"kind": "mlp", "widths": [16, 32, 64, 128], "norm": 1.5}, "norm: found 1.5, needed true or false"),
        ({"kind": "crnn", "cell": "tanh"}, "cell: found 'tanh', needed gru or lstm"),
        ({"kind": "crnn", "recurrent_width": 0}, "recurrent_width: found 0, needed at least 1"),
        ({"kind": "base_cnn", "widths": [4, 4, 4]}, "needed 2 of them for base_cnn"),
        ({"kind": "vgg16", "input_size": [0, 4]}, "needed a height and a width of at least 1"),
        ({"kind": "vgg16", "input_size": [4]}, "cannot be read: IndexError"),
        ({"kind": "vgg16", "stem": "old"}, "stem: found 'old', needed pretrained or new"),
    ],
)
def test_spec_with_mistakes_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(BundleError, match=message):
        net_from_json({**net_to_json(SHORT), **change})


def test_a_spec_from_before_a_field_was_known_is_read() -> None:
    old = {"kind": "deep_cnn", "widths": [4, 6], "dense_widths": [16, 8], "dropout": 0.5}
    assert net_from_json(old) == DEEP


def test_spec_without_a_field_is_refused() -> None:
    with pytest.raises(BundleError, match="cannot be read: KeyError 'widths'"):
        net_from_json({"kind": "short_chunk"})
