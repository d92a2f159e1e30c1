"""Every kind of net: what it computes, what it learns, and that any of them serves in a tree."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
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
from hgenre.compiled.node_outputs import node_outputs
from hgenre.errors import FeatureError
from hgenre.features import standardise
from hgenre.nets.build import LAST_LAYER, Net, build_net
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
    "lmfcc_cnn": NetSpec("lmfcc_cnn", (8, 6, 5), dropout=0.8),
    "mlp": NetSpec("mlp", dense_widths=(8, 6, 5), dropout=0.2),
    "mlp without norm": NetSpec("mlp", dense_widths=(8, 6), dropout=0.5, norm=False),
    "fma_cnn": NetSpec("fma_cnn", (4, 6), (3,), 0.5),
    "vgg16": NetSpec("vgg16", dense_widths=(16,), input_size=(32, 32)),
    "vgg16 with a new stem": NetSpec("vgg16", dense_widths=(16,), input_size=(64, 32), stem="new"),
}
N_CHILDREN, N_MELS, N_FRAMES = 3, 13, 33

every_net = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


@cache
def started(spec: NetSpec) -> tuple[Net, dict[str, Any]]:
    """A net and its variables, where nothing is zero or one that would hide a slip."""
    net = build_net(spec, N_CHILDREN)
    random = np.random.default_rng(0)
    variables = jax.device_get(net.init(jax.random.key(0), N_MELS, N_FRAMES))

    def shaken(values: np.ndarray) -> np.ndarray:
        return values + random.uniform(0.1, 0.5, values.shape).astype(np.float32) if values.ndim == 1 else values

    return net, jax.tree.map(shaken, variables)


def slices(n_slices: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n_slices, N_MELS, N_FRAMES)).astype(np.float32)


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
    _, variables = started(spec)
    assert set(variables) == {"params", "batch_stats"}
    assert not [name for name in names(variables) if re.search(r"[A-Z]|_\d+$", name)]
    assert LAST_LAYER in variables["params"]
    normed = {name for name in variables["params"] if name.startswith("norm")}
    assert set(variables["batch_stats"]) == normed
    assert bool(normed) == (spec.kind == "crnn" or ("norm" in NETS[spec.kind] and spec.norm))


@every_net
def test_a_logit_for_every_child_whoever_stands_beside(spec: NetSpec) -> None:
    net, variables = started(spec)
    apply = jax.jit(net.apply)
    x = slices(3)
    logits = apply(variables, x)
    assert logits.shape == (3, N_CHILDREN)
    assert logits.dtype == jnp.float32
    beside = np.stack([x[2], 1e3 * x[0], x[1]])
    scale = float(jnp.abs(logits).max())
    np.testing.assert_allclose(apply(variables, beside)[0], logits[2], atol=1e-5 * scale)
    np.testing.assert_allclose(apply(variables, beside)[2], logits[1], atol=1e-5 * scale)
    shapes = jax.tree.map(lambda a: (a.shape, a.dtype), net.shapes(N_MELS, N_FRAMES))
    assert shapes == jax.tree.map(lambda a: (a.shape, a.dtype), variables)


@every_net
def test_training_drops_units_where_dropout_is_read(spec: NetSpec) -> None:
    net, variables = started(spec)
    x = slices(4)
    train_apply = jax.jit(net.train_apply)
    logits, statistics = train_apply(variables, x, jax.random.key(1))
    assert np.array_equal(logits, train_apply(variables, x, jax.random.key(1))[0])
    drops = not np.array_equal(logits, train_apply(variables, x, jax.random.key(2))[0])
    assert drops == ("dropout" in NETS[spec.kind])
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), statistics, variables["batch_stats"])
    assert all(jax.tree.leaves(moved))


@every_net
def test_a_few_steps_learn_to_tell_three_patterns_apart(spec: NetSpec) -> None:
    net = build_net(replace(spec, dropout=0.0) if "dropout" in NETS[spec.kind] else spec, N_CHILDREN)
    variables = net.init(jax.random.key(0), N_MELS, N_FRAMES)
    n_slices, n_steps = (6, 8) if spec.kind == "vgg16" else (12, 60)
    child_idx = np.arange(n_slices) % 3
    x = 0.3 * slices(n_slices)
    for i in range(3):
        x[child_idx == i, 4 * i : 4 * i + 4] += 1
    kept = {name: layer for name, layer in variables["params"].items() if name in net.frozen}
    free = {name: layer for name, layer in variables["params"].items() if name not in net.frozen}
    optimiser = optax.adam(3e-3)

    @jax.jit
    def step(free: Any, statistics: Any, state: Any) -> Any:
        def loss_of(free: Any) -> Any:
            own = {"params": {**kept, **free}, "batch_stats": statistics}
            logits, moved = net.train_apply(own, x, jax.random.key(0))
            return optax.softmax_cross_entropy_with_integer_labels(logits, child_idx).mean(), moved

        (loss, statistics), gradient = jax.value_and_grad(loss_of, has_aux=True)(free)
        updates, state = optimiser.update(gradient, state, free)
        return optax.apply_updates(free, updates), statistics, state, loss

    statistics, state, losses = variables["batch_stats"], optimiser.init(free), []
    for _ in range(n_steps):
        free, statistics, state, loss = step(free, statistics, state)
        losses.append(float(loss))
    assert min(losses[-3:]) < 0.5 * losses[0]


def flax_conv(layer: Any, x: Any, strides: tuple[int, int] = (1, 1)) -> Any:
    height, width, _, n_channels = layer["kernel"].shape
    y: Any = nn.Conv(n_channels, (height, width), strides).apply({"params": layer}, x)
    return nn.relu(y)


def pooled(x: Any, height: int, width: int) -> Any:
    return nn.max_pool(x, (height, width), strides=(height, width))


def normed(x: Any, own: Any, statistics: Any) -> Any:
    return own["scale"] * (x - statistics["mean"]) / jnp.sqrt(statistics["var"] + 1e-5) + own["bias"]


def dense(params: Any, x: Any) -> np.ndarray:
    """The hidden dense layers and the last one."""
    for i in range(1, 9):
        if layer := params.get(f"dense{i}"):
            x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    return np.asarray(x @ params["logits"]["kernel"] + params["logits"]["bias"])


def plain_logits(spec: NetSpec, variables: Any, x: np.ndarray) -> np.ndarray:
    """The same net as its description says it, one slice after the other where there is a recurrence."""
    params, statistics = variables["params"], variables["batch_stats"]
    picture = jnp.asarray(x)[..., None]
    last = gru_last_state if spec.cell == "gru" else lstm_last_state
    match spec.kind:
        case "deep_cnn" | "base_cnn":
            for i in range(len(spec.widths)):
                picture = pooled(flax_conv(params[f"conv{i + 1}"], picture), 2, 2)
            return dense(params, picture.reshape(len(x), -1))
        case "crnn":
            for i in range(1, len(spec.widths) + 1):
                picture = pooled(flax_conv(params[f"conv{i}"], picture), 2, 2)
                picture = normed(picture, params[f"norm{i}"], statistics[f"norm{i}"])
            frames = np.asarray(picture).transpose(0, 2, 1, 3)
            return dense(params, np.stack([last(params[spec.cell], f.reshape(len(f), -1)) for f in frames]))
        case "cnn_rnn":
            for i in range(1, len(spec.widths) + 1):
                picture = pooled(flax_conv(params[f"conv{i}"], picture), 2, 2)
            frames = np.asarray(pooled(jnp.asarray(x)[..., None], 2, 2))[..., 0].transpose(0, 2, 1)
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
            picture = pooled(flax_conv(params["conv1"], picture), 2, 4)
            assert params["conv2"]["kernel"].shape[:2] == (3, 5)
            picture = pooled(flax_conv(params["conv2"], picture), 2, 4)
            picture = np.maximum(picture @ params["dense1"]["kernel"] + params["dense1"]["bias"], 0)
            return dense({"logits": params["logits"]}, np.asarray(picture).reshape(len(x), -1))
        case "vgg16":
            assert spec.input_size
            grey = np.clip(jax.image.resize(picture, (len(x), *spec.input_size, 1), "bilinear") * 63.75 + 127.5, 0, 255)
            picture = jnp.asarray(np.repeat(grey, 3, axis=-1) - np.array([103.939, 116.779, 123.68], np.float32))
            first, second = ("new_conv1", "new_conv2") if spec.stem == "new" else ("block1_conv1", "block1_conv2")
            picture = flax_conv(params[first], picture, (2, 1) if spec.stem == "new" else (1, 1))
            picture = pooled(flax_conv(params[second], picture), 2, 2)
            for block, n_layers in ((2, 2), (3, 3), (4, 3), (5, 3)):
                for i in range(1, n_layers + 1):
                    picture = flax_conv(params[f"block{block}_conv{i}"], picture)
                picture = pooled(picture, 2, 2)
            return dense(params, picture.reshape(len(x), -1))
    raise AssertionError(spec.kind)


@every_net
def test_nets_equal_their_description(spec: NetSpec) -> None:
    net, variables = started(spec)
    x = slices(3, seed=1)
    wanted = plain_logits(spec, variables, x)
    np.testing.assert_allclose(net.apply(variables, x), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_a_convolution_pooled_before_its_relu_has_the_gradient_of_the_plain_one() -> None:
    spec = replace(SPECS["deep_cnn without norm"], dropout=0.0, dense_widths=())
    net, variables = started(spec)
    x = slices(5, seed=2)

    def plain(params: Any) -> Any:
        y = jnp.asarray(x)[..., None]
        for i in (1, 2):
            y = pooled(flax_conv(params[f"conv{i}"], y), 2, 2)
        return ((y.reshape(5, -1) @ params["logits"]["kernel"] + params["logits"]["bias"]) ** 2).sum()

    def ours(params: Any) -> Any:
        return (net.train_apply({**variables, "params": params}, x, jax.random.key(0))[0] ** 2).sum()

    wanted, found = jax.grad(plain)(variables["params"]), jax.grad(ours)(variables["params"])
    scale = max(float(jnp.abs(g).max()) for g in jax.tree.leaves(wanted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale), found, wanted)


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
    assert build_net(SPECS["fma_cnn"], 2).shapes(4, 16)["params"]["logits"]["kernel"].shape == (3, 2)
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
    assert frozen["vgg16"] == set(started(SPECS["vgg16"])[1]["params"]) - {"dense1", "logits"}
    new = SPECS["vgg16 with a new stem"]
    assert frozen["vgg16 with a new stem"] == set(started(new)[1]["params"]) - {"new_conv1", "new_conv2"}


@every_net
def test_spec_survives_json(spec: NetSpec) -> None:
    assert net_from_json(net_to_json(spec)) == spec


def test_a_tree_of_different_nets_answers_as_its_nets_do(tmp_path: Path) -> None:
    kinds = {"root": "crnn with lstm", "left": "mlp", "right": "base_cnn"}
    nets = {node: SPECS[name] for node, name in kinds.items()}
    variables = {
        node.name: jax.device_get(
            build_net(nets[node.name], len(node.children)).init(jax.random.key(1), FEATURES.n_mels, SLICES.n_frames)
        )
        for node in PLAIN.net_nodes
    }
    bundle = load_bundle_of(replace(tiny_bundle(), nets=nets, variables=variables), tmp_path)
    song = sounding(5, seed=1)
    found = node_outputs(bundle, [[song]])
    mean_db, std_db = (
        np.tile(values, (5, 1)) for values in (bundle.normalisation.mean_db, bundle.normalisation.std_db)
    )
    x = standardise(song, mean_db, std_db, FEATURES)
    for name, logits in found.logits.items():
        np.testing.assert_allclose(logits, plain_logits(nets[name], variables[name], x), rtol=1e-4, atol=1e-4)
    temperatures = bundle.temperatures
    logp = {name: np.asarray(jax.nn.log_softmax(rows / temperatures[name])) for name, rows in found.logits.items()}
    program = bundle_program(bundle, Route())
    [(_, result)] = answer_all(bundle, Route(), [(0, [song])], lambda n: program, weights_of(bundle))
    assert isinstance(result, SongResult)
    np.testing.assert_allclose(result.logp, log_posterior(PLAIN, logp), atol=1e-4)


def load_bundle_of(bundle: Any, directory: Path) -> Any:
    """The bundle after it was on disk."""
    save_bundle(bundle, directory / "bundle")
    return load_bundle(directory / "bundle")
