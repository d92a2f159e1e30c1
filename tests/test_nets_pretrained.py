"""Weights to begin with: VGG16's from files of real shapes, and those of a smaller net."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.signal import correlate

from hgenre.errors import BundleError
from hgenre.nets.build import build_net, frozen_layers
from hgenre.nets.pretrained import VGG16_MEAN_BGR, VGG16_WIDTHS, carry_over, fitting_layers, read_vgg16
from hgenre.nets.spec import NetSpec

LOW = NetSpec("vgg16", dense_widths=(16,), input_size=(42, 100))
HIGH = replace(LOW, input_size=(84, 100), stem="new")
SHAPES = {
    name: (3, 3, n_in, n_out)
    for (name, n_out), n_in in zip(VGG16_WIDTHS.items(), (3, *VGG16_WIDTHS.values()), strict=False)
}
LAYOUTS = {
    "the published file": "{0}/{0}_{1}_1:0",
    "layers that were saved": "{0}/{2}:0",
    "layers that were saved in layers": "{0}/{0}/{2}:0",
}


def write_hdf5(path: Path, layout: str, change: Callable[[h5py.File], None] = lambda file: None) -> Path:
    """A file as Keras writes it; all values of a layer are its number, but the first of the kernel, which is -1."""
    with h5py.File(path, "w") as file:
        names = [
            "input_1",
            *(n for b in range(1, 6) for n in (*(k for k in SHAPES if k[5] == str(b)), f"block{b}_pool")),
        ]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            group = file.create_group(name)
            group.attrs["weight_names"] = []
            if shape := SHAPES.get(name):
                number = list(SHAPES).index(name) + 1
                kernel, bias = (
                    LAYOUTS[layout].format(name, *parts) for parts in (("W", "kernel"), ("b", "bias"))
                )  # fmt: skip
                file.create_dataset(kernel, shape, "f4", fillvalue=number, chunks=shape)[0, 0, 0, 0] = -1
                file.create_dataset(bias, shape[3:], "f4", fillvalue=number)
        change(file)
    return path


def torch_arrays() -> dict[str, Any]:
    """All layers of a torchvision file, the classifier's among them; random where it matters."""
    random = np.random.default_rng(0)
    places = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    arrays: dict[str, Any] = {"classifier.6.weight": np.zeros((2, 2), np.float32)}
    for place, (height, width, n_in, n_out) in zip(places, SHAPES.values(), strict=True):
        arrays[f"features.{place}.weight"] = np.zeros((n_out, n_in, height, width), np.float32)
        arrays[f"features.{place}.bias"] = np.zeros(n_out, np.float32)
    for place in (0, 2):
        kernel = arrays[f"features.{place}.weight"]
        kernel[:] = random.normal(size=kernel.shape)
    arrays["features.0.bias"][:] = random.normal(size=64)
    return arrays


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keras_layouts_are_read(layout: str, tmp_path: Path) -> None:
    layers = read_vgg16(write_hdf5(tmp_path / "vgg16.h5", layout))
    assert {name: own["kernel"].shape for name, own in layers.items()} == SHAPES
    for number, own in enumerate(layers.values(), start=1):
        assert own["kernel"].dtype == own["bias"].dtype == np.float32
        assert own["kernel"].flat[0] == -1
        assert (own["kernel"].flat[1:] == number).all()
        assert (own["bias"] == number).all()
        assert own["bias"].shape == own["kernel"].shape[3:]


def test_safetensors_in_keras_names_are_read(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"{name}.kernel": np.zeros(shape, np.float16) for name, shape in SHAPES.items()}
    arrays |= {f"{name}.bias": np.full(shape[3], 0.5, np.float16) for name, shape in SHAPES.items()}
    save_file(arrays, tmp_path / "vgg16.safetensors")
    layers = read_vgg16(tmp_path / "vgg16.safetensors")
    assert {name: own["kernel"].shape for name, own in layers.items()} == SHAPES
    assert all((own["bias"] == 0.5).all() and own["bias"].dtype == np.float32 for own in layers.values())


def test_torchvisions_first_layer_answers_kerass_input_alike(tmp_path: Path) -> None:
    arrays = torch_arrays()
    save_file(arrays, tmp_path / "vgg16.safetensors")
    layers = read_vgg16(tmp_path / "vgg16.safetensors")
    rgb = np.random.default_rng(1).uniform(0, 255, (6, 7, 3))
    for_torch = (rgb / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for_keras = rgb[:, :, ::-1] - np.array(VGG16_MEAN_BGR)
    for channel in (0, 63):
        theirs = correlate(for_torch, arrays["features.0.weight"][channel].transpose(1, 2, 0), "valid")[..., 0]
        ours = correlate(for_keras, layers["block1_conv1"]["kernel"][..., channel], "valid")[..., 0]
        np.testing.assert_allclose(
            ours + layers["block1_conv1"]["bias"][channel], theirs + arrays["features.0.bias"][channel], atol=1e-4
        )
    np.testing.assert_array_equal(
        layers["block1_conv2"]["kernel"][2, 1, 5], arrays["features.2.weight"][:, 5, 2, 1]
    )  # fmt: skip


def resized(name: str, shape: tuple[int, ...], values: Any = 0.0, dtype: str = "f4") -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        place = f"{name}/{name}_W_1:0"
        del file[place]
        file.create_dataset(place, shape, dtype, fillvalue=values)

    return change


def linked(file: h5py.File) -> None:
    del file["block5_conv3"]
    file["block5_conv3"] = h5py.ExternalLink("elsewhere.h5", "/block5_conv3")


def stored_elsewhere(file: h5py.File) -> None:
    del file["block5_conv3/block5_conv3_W_1:0"]
    file.create_dataset(
        "block5_conv3/block5_conv3_W_1:0", (3, 3, 512, 512), "f4", external=[("elsewhere.raw", 0, 9437184)]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.pop("block3_conv2"), "block3_conv2: found nothing, needed {'kernel': (3, 3, 256, 256)"),
        (
            lambda file: file.pop("block3_conv2/block3_conv2_b_1:0"),
            "block3_conv2: found {'kernel': (3, 3, 256, 256)}, needed",
        ),
        (resized("block1_conv1", (3, 3, 1, 64)), "(3, 3, 1, 64), 'bias': (64,)}, needed {'kernel': (3, 3, 3, 64)"),
        (resized("block2_conv1", (3, 3, 64, 10**9)), "(3, 3, 64, 1000000000)"),
        (resized("block2_conv1", (3, 3, 64, 128), np.nan), "block2_conv1: kernel holds float32, NaN"),
        (resized("block2_conv1", (3, 3, 64, 128), 1, "i4"), "block2_conv1: kernel holds int32, NaN"),
        (lambda file: file.create_dataset("block1_conv2/extra", (2, 2), "f4"), "'/block1_conv2/extra': (2, 2)"),
        (linked, "block5_conv3: found nothing, needed"),
        (stored_elsewhere, "block5_conv3: found {'bias': (512,)}, needed"),
        (lambda file: file.clear(), "block1_conv1: found nothing, needed"),
    ],
)
def test_hdf5_that_does_not_hold_vgg16_is_refused(
    change: Callable[[h5py.File], None], message: str, tmp_path: Path
) -> None:
    path = write_hdf5(tmp_path / "vgg16.h5", "the published file", change)
    with pytest.raises(BundleError) as caught:
        read_vgg16(path)
    assert str(caught.value).startswith(f"pretrained: {path} does not hold VGG16's 13 convolutions: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("; fetch the file again")


def test_every_layer_that_is_missing_is_named(tmp_path: Path) -> None:
    save_file({"block1_conv1.kernel": np.zeros((3, 3, 3, 64), np.float32)}, tmp_path / "vgg16.safetensors")
    with pytest.raises(BundleError) as caught:
        read_vgg16(tmp_path / "vgg16.safetensors")
    assert all(f"{name}: found" in str(caught.value) for name in VGG16_WIDTHS)


def test_files_that_are_damaged_or_absent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"^pretrained: .* cannot be read: No such file or directory; name a file of"):
        read_vgg16(tmp_path / "nowhere.h5")
    whole = write_hdf5(tmp_path / "vgg16.h5", "the published file").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match=r"^pretrained: .*half.h5 is a damaged HDF5 file: .*; fetch it again"):
        read_vgg16(tmp_path / "half.h5")
    for content in (b"", b"weights", b"\xff" * 64):
        (tmp_path / "vgg16.safetensors").write_bytes(content)
        with pytest.raises(
            BundleError, match=r"^pretrained: .* is neither Keras' HDF5 nor a .*file: .*; fetch it again"
        ):
            read_vgg16(tmp_path / "vgg16.safetensors")


def drawn(spec: NetSpec, value: float, n_children: int = 8) -> Any:
    """Variables of a net with one value everywhere."""
    shapes = build_net(spec, n_children).shapes(128, 130)
    return jax.tree.map(lambda a: np.broadcast_to(np.float32(value), a.shape), shapes)


def values(variables: Any) -> dict[str, float]:
    return {name: float(layer["kernel"].flat[0]) for name, layer in variables["params"].items()}


def test_pretrained_layers_take_the_place_of_drawn_ones_and_the_head_stays() -> None:
    given = {name: drawn(LOW, 2)["params"][name] for name in VGG16_WIDTHS}
    start = carry_over(LOW, given)(drawn(LOW, 1))
    assert set(start) == {"params", "batch_stats"}
    assert values(start) == {**dict.fromkeys(VGG16_WIDTHS, 2.0), "dense1": 1.0, "logits": 1.0}


def test_a_net_of_twice_the_height_goes_on_with_all_but_a_new_stem() -> None:
    low, high = drawn(LOW, 2), drawn(HIGH, 1)
    start = carry_over(HIGH, low["params"])(high)
    assert values(start) == {**dict.fromkeys(frozen_layers(HIGH), 2.0), "new_conv1": 1.0, "new_conv2": 1.0}
    assert {"dense1", "logits"} < frozen_layers(HIGH)
    assert start["params"]["dense1"]["kernel"].shape == (1 * 3 * 512, 16)


def test_layers_that_fit_by_name_and_shapes_are_carried() -> None:
    before, after = NetSpec("deep_cnn", (4, 6), (8,)), NetSpec("deep_cnn", (4, 6, 5), (8,))
    given = drawn(before, 2)["params"]
    assert {*fitting_layers(given, drawn(after, 1)["params"])} == {"conv1", "norm1", "conv2", "norm2", "logits"}
    start = carry_over(after, given)(drawn(after, 1))
    assert {float(layer["bias"].flat[0]) for layer in (start["params"][n] for n in ("conv3", "norm3", "dense1"))} == {1}
    assert {float(start["params"][n]["bias"].flat[0]) for n in ("conv1", "norm2", "logits")} == {2}


def test_a_frozen_layer_that_is_not_given_is_refused() -> None:
    low = drawn(LOW, 2, n_children=5)["params"]
    with pytest.raises(
        BundleError, match=r"^next_net: .*vgg16 cannot go on .*needed logits {'bias': \(8,\), .*found {'bias': \(5"
    ):
        carry_over(HIGH, low)(drawn(HIGH, 1))
    without = {name: layer for name, layer in low.items() if name != "block4_conv2"}
    with pytest.raises(BundleError, match=r"needed block4_conv2 {.*}, found None"):
        carry_over(LOW, without)(drawn(LOW, 1, n_children=5))


def test_nets_with_nothing_in_common_are_refused() -> None:
    mlp = drawn(NetSpec("mlp", dense_widths=()), 1, n_children=3)["params"]
    with pytest.raises(BundleError, match=r"^next_net: .*crnn has no layer in common with those given: logits; needed"):
        carry_over(NetSpec("crnn"), mlp)(drawn(NetSpec("crnn"), 1))
