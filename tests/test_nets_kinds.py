"""Every kind of net: what it computes, what it learns, and that any of them serves in a tree."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hgenre.bundle import load_bundle, save_bundle
from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.exported import bundle_program, weights_of
from hgenre.errors import FeatureError
from hgenre.features import standardise
from hgenre.nets.build import LAST_LAYER, Net, build_net
from hgenre.nets.deep_cnn import conv_relu_pool
from hgenre.nets.pool import max_of_pairs
from hgenre.nets.pretrained import VGG16_WIDTHS
from hgenre.nets.spec import NETS, NetSpec, net_from_json, net_problems, net_to_json
from hgenre.tree.posterior import log_posterior
from hgenre.tree.route import Route
from tests.oracles import gru_last_state, lstm_last_state, swept_logits
from tests.small_bundles import FEATURES, SLICES, sounding, tiny_bundle
from tests.small_trees import PLAIN

SPECS = {
    "deep_cnn without norm": NetSpec("deep_cnn", (4, 6), (8, 5), 0.5, norm=False),
    "base_cnn": NetSpec("base_cnn", (4, 6), (8,)),
    "crnn with gru": NetSpec("crnn", (4, 6), (), 0.5, recurrent_width=7),
    "crnn with lstm": NetSpec("crnn", (4,), (8, 5), 0.5, cell="lstm", recurrent_width=7),
    "cnn_rnn": NetSpec("cnn_rnn", (4, 6), (8,), 0.5, recurrent_width=7),
    "lmfcc_cnn": NetSpec("lmfcc_cnn", (8, 6, 32), dropout=0.8),
    "mlp": NetSpec("mlp", dense_widths=(8, 6, 5), dropout=0.2),
    "mlp without norm": NetSpec("mlp", dense_widths=(8, 6), dropout=0.5, norm=False),
    "fma_cnn": NetSpec("fma_cnn", (4, 6), (8,), 0.5),
    "vgg16": NetSpec("vgg16", dense_widths=(16,), input_size=(32, 32)),
    "vgg16 with a new stem": NetSpec("vgg16", dense_widths=(16,), input_size=(64, 32), stem="new"),
}
N_CHILDREN, N_SLICES, N_MELS, N_FRAMES = 3, 6, 13, 33

every_net = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
every_other_net = pytest.mark.parametrize("spec", [*SPECS.values()][:-1], ids=[*SPECS][:-1])
"""Without the one whose gradient goes all the way through VGG16."""


UNOPTIMISED = {"xla_backend_optimization_level": "0"}
"""Programs that run a few times: the time to compile is all that counts."""


@dataclass(frozen=True)
class Started:
    """A net, its variables, and its functions compiled for one set of slices.

    ``step`` is (free params, frozen params, batch_stats, key) -> ((loss, (logits, batch_stats)), gradient of the free).
    """

    net: Net
    variables: dict[str, Any]
    apply: Callable[..., Any]
    step: Callable[..., Any]


@cache
def started(spec: NetSpec) -> Started:
    net = build_net(spec, N_CHILDREN)
    options = None if spec.kind == "vgg16" else UNOPTIMISED
    variables = (
        uniform(net.shapes(N_MELS, N_FRAMES))
        if spec.kind == "vgg16"  # whose 15 million weights take jax seconds to draw
        else jax.device_get(net.init(jax.random.key(0), N_MELS, N_FRAMES))
    )

    @partial(jax.jit, compiler_options=options)
    @partial(jax.value_and_grad, has_aux=True)
    def step(free: Any, frozen: Any, batch_stats: Any, key: Any) -> Any:
        logits, moved = net.train_apply({"params": {**free, **frozen}, "batch_stats": batch_stats}, PATTERNS, key)
        return optax.softmax_cross_entropy_with_integer_labels(logits, CHILD_IDX).mean(), (logits, moved)

    return Started(net, variables, jax.jit(net.apply, compiler_options=options), step)


def uniform(shapes: Any) -> Any:
    """Kernels as He et al. draw them, and biases of zero."""
    random = np.random.default_rng(0)

    def drawn(shape: tuple[int, ...]) -> np.ndarray:
        bound = math.sqrt(6 / math.prod(shape[:-1])) if len(shape) > 1 else 0.0
        return np.float32(bound) * (2 * random.random(shape, np.float32) - 1)

    return jax.tree.map(lambda a: drawn(a.shape), shapes)


def shaken(variables: dict[str, Any]) -> dict[str, Any]:
    """Variables of which nothing is zero or one, which would hide a slip."""
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda a: a + random.uniform(0.1, 0.5, a.shape).astype(np.float32) if a.ndim == 1 else a, variables
    )


def slices(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N_SLICES, N_MELS, N_FRAMES)).astype(np.float32)


CHILD_IDX = np.arange(N_SLICES) % N_CHILDREN
PATTERNS = 0.3 * slices()
"""Each child has four bands of its own."""
for _i, _child in enumerate(CHILD_IDX):
    PATTERNS[_i, 4 * _child : 4 * _child + 4] += 1


def names(tree: Any) -> Iterator[str]:
    for name, value in tree.items():
        yield name
        if isinstance(value, dict):
            yield from names(value)


def test_every_kind_is_tried() -> None:
    assert {spec.kind for spec in SPECS.values()} | {"short_chunk"} == set(NETS)
    assert all(net_problems(spec) == [] for spec in SPECS.values())


@every_net
def test_every_layer_has_a_name_of_its_own_and_running_statistics_where_it_is_normed(spec: NetSpec) -> None:
    variables = started(spec).variables
    assert set(variables) == {"params", "batch_stats"}
    assert not [name for name in names(variables) if re.search(r"[A-Z]|_\d+$", name)]
    assert LAST_LAYER in variables["params"]
    normed = {name for name in variables["params"] if name.startswith("norm")}
    assert set(variables["batch_stats"]) == normed
    assert bool(normed) == (spec.kind == "crnn" or ("norm" in NETS[spec.kind] and spec.norm))


@every_net
def test_a_logit_for_every_child_whoever_stands_beside(spec: NetSpec) -> None:
    net, apply, variables = started(spec).net, started(spec).apply, started(spec).variables
    x = slices()
    logits = apply(variables, x)
    assert logits.shape == (N_SLICES, N_CHILDREN)
    assert logits.dtype == jnp.float32
    beside = np.stack([x[2], 1e3 * x[0], x[1], 0 * x[3], x[4], x[4]])
    scale = float(jnp.abs(logits).max())
    np.testing.assert_allclose(apply(variables, beside)[0], logits[2], atol=1e-5 * scale)
    np.testing.assert_allclose(apply(variables, beside)[2], logits[1], atol=1e-5 * scale)
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), net.shapes(N_MELS, N_FRAMES))
    assert shapes == jax.tree.map(lambda a: (a.shape, a.dtype), variables)


@every_net
def test_the_last_layer_alone_stands_between_embedding_and_logits(spec: NetSpec) -> None:
    net, variables = started(spec).net, started(spec).variables
    assert net.embed is not None
    last = variables["params"][LAST_LAYER]
    assert set(last) == {"kernel", "bias"}
    if spec.kind not in ("crnn", "lmfcc_cnn"):
        assert jax.eval_shape(net.embed, variables, slices()).shape == (N_SLICES, len(last["kernel"]))
        return
    embedding = jax.jit(net.embed, compiler_options=UNOPTIMISED)(variables, slices())
    logits = started(spec).apply(variables, slices())
    np.testing.assert_allclose(embedding @ last["kernel"] + last["bias"], logits, rtol=1e-5, atol=1e-6)


def parted(net: Net, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(free, frozen) layers."""
    frozen = {name: layer for name, layer in params.items() if name in net.frozen}
    return {name: layer for name, layer in params.items() if name not in frozen}, frozen


@every_other_net
def test_training_drops_units_where_dropout_is_read(spec: NetSpec) -> None:
    net = started(spec)
    parts = *parted(net.net, net.variables["params"]), net.variables["batch_stats"]
    logits, again, other = (net.step(*parts, jax.random.key(seed))[0][1][0] for seed in (1, 1, 2))
    assert np.array_equal(logits, again)
    assert (not np.array_equal(logits, other)) == ("dropout" in NETS[spec.kind])


@every_other_net
def test_a_few_steps_learn_to_tell_three_patterns_apart(spec: NetSpec) -> None:
    """By steepest descent, each array by a step of the same size."""
    net = started(spec)
    free, frozen = parted(net.net, net.variables["params"])
    batch_stats, before = net.variables["batch_stats"], net.variables["batch_stats"]

    def log_loss() -> float:
        logits = net.apply({"params": {**free, **frozen}, "batch_stats": batch_stats}, PATTERNS)
        return float(-np.asarray(jax.nn.log_softmax(logits))[np.arange(N_SLICES), CHILD_IDX].mean())

    def stepped(values: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        return values - np.float32(0.02) * gradient / (np.sqrt(np.mean(gradient**2)) + np.float32(1e-9))

    loss_before = log_loss()
    for number in range(4 if spec.kind == "vgg16" else 60):
        (_, (_, batch_stats)), gradient = jax.device_get(net.step(free, frozen, batch_stats, jax.random.key(number)))
        free = jax.tree.map(stepped, free, gradient)
    assert log_loss() < 0.7 * loss_before
    assert all(jax.tree.leaves(jax.tree.map(lambda a, b: bool((a != b).any()), batch_stats, before)))


def convolved(layer: Any, x: np.ndarray, strides: tuple[int, int] = (1, 1)) -> np.ndarray:
    """Convolution and ReLU, padded so that steps of 1 keep the size."""
    kernel = layer["kernel"]
    sizes = zip(x.shape[1:3], kernel.shape[:2], strides, strict=True)
    pads = [max(0, (-(-n // step) - 1) * step + size - n) for n, size, step in sizes]
    padded = np.pad(x, ((0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], (1, 2))
    y = np.tensordot(windows[:, :: strides[0], :: strides[1]], kernel, ((4, 5, 3), (0, 1, 2)))
    return np.maximum(y + layer["bias"], 0)


def pooled(x: np.ndarray, height: int, width: int) -> np.ndarray:
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), (1, 2))
    largest: np.ndarray = windows[:, ::height, ::width].max(axis=(4, 5))
    return largest


def normed(x: Any, own: Any, statistics: Any) -> Any:
    return own["scale"] * (x - statistics["mean"]) / np.sqrt(statistics["var"] + 1e-5) + own["bias"]


def dense(params: Any, x: Any) -> np.ndarray:
    """The hidden dense layers and the last one."""
    for i in range(1, 9):
        if layer := params.get(f"dense{i}"):
            x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    return np.asarray(x @ params["logits"]["kernel"] + params["logits"]["bias"])


def plain_logits(spec: NetSpec, variables: Any, x: np.ndarray) -> np.ndarray:
    """The same net as its description says it, one slice after the other where there is a recurrence."""
    params, statistics = variables["params"], variables["batch_stats"]
    picture = x[..., None]
    last = gru_last_state if spec.cell == "gru" else lstm_last_state
    match spec.kind:
        case "deep_cnn" | "base_cnn":
            for i in range(len(spec.widths)):
                picture = pooled(convolved(params[f"conv{i + 1}"], picture), 2, 2)
            return dense(params, picture.reshape(len(x), -1))
        case "crnn":
            for i in range(1, len(spec.widths) + 1):
                picture = pooled(convolved(params[f"conv{i}"], picture), 2, 2)
                picture = normed(picture, params[f"norm{i}"], statistics[f"norm{i}"])
            frames = picture.transpose(0, 2, 1, 3)
            return dense(params, np.stack([last(params[spec.cell], f.reshape(len(f), -1)) for f in frames]))
        case "cnn_rnn":
            for i in range(1, len(spec.widths) + 1):
                picture = pooled(convolved(params[f"conv{i}"], picture), 2, 2)
            frames = pooled(x[..., None], 2, 2)[..., 0].transpose(0, 2, 1)
            forwards = [last(params["gru_forwards"], f) for f in frames]
            backwards = [last(params["gru_backwards"], f[::-1]) for f in frames]
            return dense(params, np.concatenate([picture.reshape(len(x), -1), forwards, backwards], axis=1))
        case "lmfcc_cnn":
            return np.stack([swept_logits(params, slice_) for slice_ in x])
        case "mlp":
            rows = x.reshape(len(x), -1)
            for i in range(1, len(spec.dense_widths) + 1):
                rows = rows @ params[f"dense{i}"]["kernel"] + params[f"dense{i}"]["bias"]
                if spec.norm:
                    rows = normed(rows, params[f"norm{i}"], statistics[f"norm{i}"])
                rows = np.maximum(rows, 0)
            return dense({"logits": params["logits"]}, rows)
        case "fma_cnn":
            picture = pooled(convolved(params["conv1"], picture), 2, 4)
            assert params["conv2"]["kernel"].shape[:2] == (3, 5)
            picture = pooled(convolved(params["conv2"], picture), 2, 4)
            picture = np.maximum(picture @ params["dense1"]["kernel"] + params["dense1"]["bias"], 0)
            return dense({"logits": params["logits"]}, picture.reshape(len(x), -1))
        case "vgg16":
            assert spec.input_size
            grey = np.clip(jax.image.resize(picture, (len(x), *spec.input_size, 1), "bilinear") * 63.75 + 127.5, 0, 255)
            picture = np.repeat(grey, 3, axis=-1) - np.array([103.939, 116.779, 123.68], np.float32)
            first, second = ("new_conv1", "new_conv2") if spec.stem == "new" else ("block1_conv1", "block1_conv2")
            picture = convolved(params[first], picture, (2, 1) if spec.stem == "new" else (1, 1))
            picture = pooled(convolved(params[second], picture), 2, 2)
            for block, n_layers in ((2, 2), (3, 3), (4, 3), (5, 3)):
                for i in range(1, n_layers + 1):
                    picture = convolved(params[f"block{block}_conv{i}"], picture)
                picture = pooled(picture, 2, 2)
            return dense(params, picture.reshape(len(x), -1))
    raise AssertionError(spec.kind)


@every_net
def test_nets_equal_their_description(spec: NetSpec) -> None:
    variables, x = shaken(started(spec).variables), slices(seed=1)
    wanted = plain_logits(spec, variables, x)
    np.testing.assert_allclose(started(spec).apply(variables, x), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("n_channels", [1, 2])
def test_a_convolution_pooled_before_its_relu_has_the_gradient_of_the_plain_one(n_channels: int) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(5, 7, 6, n_channels)).astype(np.float32)
    layer = {"kernel": random.normal(size=(3, 3, n_channels, 4)), "bias": random.normal(size=4)}
    layer = {name: values.astype(np.float32) for name, values in layer.items()}

    class Ours(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            return conv_relu_pool(x, 4, "conv")

    def ours(layer: Any, x: Any) -> Any:
        y: Any = Ours().apply({"params": {"conv": layer}}, x)
        return (y**2).sum()

    def theirs(layer: Any, x: Any) -> Any:
        y: Any = nn.Conv(4, (3, 3)).apply({"params": layer}, x)
        return (nn.max_pool(nn.relu(y), (2, 2), strides=(2, 2)) ** 2).sum()

    found, wanted = (jax.jit(jax.grad(f, (0, 1)), compiler_options=UNOPTIMISED)(layer, x) for f in (ours, theirs))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, wanted)


@pytest.mark.parametrize(("axis", "shape"), [(1, (2, 4, 3)), (1, (1, 5, 2)), (2, (2, 3, 7, 1))])
def test_the_larger_of_two_neighbours(axis: int, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    first, second = (x.take(range(i, shape[axis] // 2 * 2, 2), axis) for i in (0, 1))
    np.testing.assert_array_equal(max_of_pairs(jnp.asarray(x), axis), np.maximum(first, second))


@pytest.mark.parametrize(
    ("name", "n_mels", "n_frames", "message"),
    [
        ("base_cnn", 3, 20, "halves a slice 2 times, found slices of 3 mels x 20 frames, needed at least 4 of both"),
        ("crnn with gru", 12, 2, "crnn halves a slice 2 times, found slices of 12 mels x 2 frames"),
        ("cnn_rnn", 2, 20, "cnn_rnn halves a slice 2 times, found slices of 2 mels x 20 frames"),
        ("lmfcc_cnn", 13, 11, "lmfcc_cnn needs slices of at least 12 frames, found 11; use longer slices"),
        (
            "fma_cnn",
            13,
            15,
            r"pools a slice by \(2, 4\) twice, found slices of 13 mels x 15 frames, needed at",
        ),
    ],
)
def test_slices_that_are_used_up_are_refused(name: str, n_mels: int, n_frames: int, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        build_net(SPECS[name], 2).shapes(n_mels, n_frames)


def test_pictures_that_vgg16_would_use_up_are_refused() -> None:
    with pytest.raises(FeatureError, match="pretrained stem needs pictures of at least 32 mels x 32 frames, found 13"):
        build_net(replace(SPECS["vgg16"], input_size=None), 2).shapes(13, 33)
    with pytest.raises(FeatureError, match="new stem needs pictures of at least 64 mels x 32 frames, found 42"):
        build_net(NetSpec("vgg16", stem="new"), 2).shapes(42, 100)


def test_the_smallest_slices_are_enough() -> None:
    assert build_net(SPECS["lmfcc_cnn"], 2).shapes(1, 12)["params"]["conv1"]["kernel"].shape == (3, 8)
    assert build_net(SPECS["fma_cnn"], 2).shapes(4, 16)["params"]["logits"]["kernel"].shape == (8, 2)
    assert build_net(SPECS["mlp"], 2).shapes(57, 1)["params"]["dense1"]["kernel"].shape == (57, 8)


def test_the_nets_of_the_reports_have_their_sizes() -> None:
    def kernels(spec: NetSpec, *sizes: int) -> dict[str, tuple[int, ...]]:
        params = build_net(spec, 8).shapes(*sizes)["params"]
        return {name: layer["kernel"].shape for name, layer in params.items() if "kernel" in layer}

    fma = kernels(NetSpec("fma_cnn", (32, 32), (16,)), 128, 400)
    assert list(fma.values()) == [(3, 3, 1, 32), (3, 5, 32, 32), (32, 16), (32 * 25 * 16, 8)]
    lmfcc = kernels(NetSpec("lmfcc_cnn", (32, 32, 32), dropout=0.8), 13, 300)
    assert list(lmfcc.values()) == [(3 * 13, 32), (3, 32, 32), (3, 32, 32), (32, 8)]
    fnn = kernels(NetSpec("mlp", dense_widths=(512, 256, 64)), 57, 1)
    assert list(fnn.values()) == [(57, 512), (512, 256), (256, 64), (64, 8)]
    vgg16 = kernels(NetSpec("vgg16", dense_widths=(16,), input_size=(42, 100)), 128, 400)
    assert {name: shape[3] for name, shape in vgg16.items() if len(shape) == 4} == VGG16_WIDTHS
    assert (vgg16["block1_conv1"], vgg16["block5_conv3"]) == ((3, 3, 3, 64), (3, 3, 512, 512))
    assert (vgg16["dense1"], vgg16["logits"]) == ((1 * 3 * 512, 16), (16, 8))


def test_only_vgg16_has_frozen_layers() -> None:
    frozen = {name: build_net(spec, N_CHILDREN).frozen for name, spec in SPECS.items()}
    assert [name for name, layers in frozen.items() if layers] == ["vgg16", "vgg16 with a new stem"]
    assert frozen["vgg16"] == set(started(SPECS["vgg16"]).variables["params"]) - {"dense1", "logits"}
    new = SPECS["vgg16 with a new stem"]
    assert frozen["vgg16 with a new stem"] == set(started(new).variables["params"]) - {"new_conv1", "new_conv2"}


@every_net
def test_spec_survives_json(spec: NetSpec) -> None:
    assert net_from_json(net_to_json(spec)) == spec


def test_a_tree_of_different_nets_answers_as_its_nets_do(tmp_path: Path) -> None:
    kinds = {"root": "crnn with lstm", "left": "mlp", "right": "mlp without norm"}
    nets = {node: SPECS[name] for node, name in kinds.items()}
    built = {node.name: build_net(nets[node.name], len(node.children)) for node in PLAIN.net_nodes}
    random = np.random.default_rng(0)
    variables = {
        name: jax.tree.map(
            lambda a: random.uniform(0.1, 0.5, a.shape).astype(np.float32),
            net.shapes(FEATURES.n_mels, SLICES.n_frames),
        )
        for name, net in built.items()
    }
    save_bundle(replace(tiny_bundle(), nets=nets, variables=variables), tmp_path / "bundle")
    bundle = load_bundle(tmp_path / "bundle")
    song = sounding(5, seed=1)
    mean_db, std_db = (
        np.tile(values, (5, 1)) for values in (bundle.normalisation.mean_db, bundle.normalisation.std_db)
    )
    x = standardise(song, mean_db, std_db, FEATURES)
    logp = {}
    for name, spec in nets.items():
        scaled = plain_logits(spec, variables[name], x) / bundle.temperatures[name]
        logp[name] = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    program = bundle_program(bundle, Route())
    [(_, result)] = answer_all(bundle, Route(), [(0, [song])], lambda n: program, weights_of(bundle))
    assert isinstance(result, SongResult)
    np.testing.assert_allclose(result.logp, log_posterior(PLAIN, logp), atol=1e-4)
