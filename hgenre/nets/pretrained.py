"""Weights that a net begins with: VGG16's from a file, or those of a net that was trained before it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.errors import BundleError
from hgenre.nets.build import Variables, frozen_layers
from hgenre.nets.spec import NetSpec

Layers = dict[str, dict[str, np.ndarray]]

_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
VGG16_WIDTHS = {
    f"block{i}_conv{j}": width for i, block in enumerate(_BLOCKS, 1) for j, width in enumerate(block, 1)
}  # fmt: skip
"""Channels of the 13 convolutions by Keras' names, configuration D of Simonyan and Zisserman 2015, "Very Deep
Convolutional Networks for Large-Scale Image Recognition"."""
VGG16_MEAN_BGR = (103.939, 116.779, 123.68)
"""What Keras' weights expect to be taken from blue, green and red in 0 to 255 (``imagenet_utils``, mode ``caffe``)."""

_TORCH_PLACES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
_TORCH_MEAN_BGR, _TORCH_STD_BGR = (0.406, 0.456, 0.485), (0.225, 0.224, 0.229)
"""Of ``torchvision.models.vgg16``: places of the convolutions in ``features``, and its input, ``(p / 255 - mean) /
std`` in the order red, green, blue (here reversed)."""


def read_vgg16(path: str | Path) -> Layers:
    """VGG16's convolutions from a file: layer -> kernel (3, 3, channel, width) and bias (width,), float32.

    The file is Keras' ``vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5``, or a safetensors file with the arrays
    ``block1_conv1.kernel``, ``block1_conv1.bias`` and so on, or torchvision's ``features.0.weight`` and so on, whose
    first layer is turned to Keras' input. Other arrays in it are left alone; no array is read before its shape fits.

    Raises:
        BundleError: the file cannot be read, or layers are missing, have another shape or values that are not finite.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            is_hdf5 = file.read(8) == b"\x89HDF\r\n\x1a\n"
    except OSError as error:
        raise BundleError(
            f"pretrained: {path} cannot be read: {error.strerror}; name a file of VGG16's weights"
        ) from None
    with (_hdf5 if is_hdf5 else _safetensors)(path) as (arrays, is_torch):
        layers = _checked(path, arrays, is_torch)
    if is_torch:
        layers = {name: {**own, "kernel": own["kernel"].transpose(2, 3, 1, 0)} for name, own in layers.items()}
        layers["block1_conv1"] = _for_keras_input(**layers["block1_conv1"])
    return {
        name: {part: np.ascontiguousarray(array, np.float32) for part, array in own.items()}
        for name, own in layers.items()
    }


def carry_over(spec: NetSpec, given: Mapping[str, Any]) -> Callable[[Variables], Variables]:
    """What puts the given layers in place of drawn ones wherever name and shapes agree; running statistics stay drawn.

    Args:
        spec: of the net whose variables are drawn.
        given: layer -> arrays, as ``read_vgg16`` gives them or as the ``params`` of another net.

    Raises:
        BundleError: (when called) a layer that the net's training leaves alone is not given, or nothing fits at all.
    """

    def carry(drawn: Variables) -> Variables:
        params = drawn["params"]
        found = fitting_layers(given, params)
        if missing := sorted(frozen_layers(spec) - set(found)):
            told = ", ".join(f"{name} {_shapes(params[name])}, found {_shapes(given.get(name))}" for name in missing)
            # A file's layers fit every net that begins with them, so the user's mistake is in next_net.
            raise BundleError(f"next_net: a net of kind {spec.kind} cannot go on from the given layers; needed {told}")
        if not found:
            raise BundleError(
                f"next_net: a net of kind {spec.kind} has no layer in common with those given: "
                f"{', '.join(sorted(given))}; needed one of the same name and shapes"
            )
        return {**drawn, "params": {**params, **{name: given[name] for name in found}}}

    return carry


def fitting_layers(given: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[str, ...]:
    """The layers of ``params`` that ``given`` holds under the same name with the same shapes."""
    return tuple(name for name in params if name in given and _shapes(given[name]) == _shapes(params[name]))


def _shapes(layer: Any) -> Any:
    if isinstance(layer, Mapping):
        return {name: _shapes(part) for name, part in sorted(layer.items())}
    return None if layer is None else tuple(layer.shape)


def _for_keras_input(kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    """Torchvision's first layer as one that answers Keras' input alike (at a slice's edge to the means' rounding)."""
    mean, std = (255 * np.array(values) for values in (_TORCH_MEAN_BGR, _TORCH_STD_BGR))
    turned = kernel[:, :, ::-1] / std[:, None]
    shift = np.array(VGG16_MEAN_BGR) - mean
    return {"kernel": turned, "bias": bias + np.einsum("hwcn,c->n", turned, shift)}


Arrays = Mapping[str, Mapping[str, Any]]
"""Layer -> kernel and bias as handles with ``shape``, read by ``handle[...]``."""


def _checked(path: Path, arrays: Arrays, is_torch: bool) -> Layers:
    """The arrays' values, every one of the right shape and finite."""
    problems, layers, n_channels = [], {}, 3
    for name, width in VGG16_WIDTHS.items():
        kernel = (width, n_channels, 3, 3) if is_torch else (3, 3, n_channels, width)
        needed = {"kernel": kernel, "bias": (width,)}
        n_channels = width
        own = arrays.get(name, {})
        found = {part: tuple(handle.shape) for part, handle in own.items()}
        if found != needed:
            problems.append(f"{name}: found {found or 'nothing'}, needed {needed}")
        elif not problems:
            layers[name] = {part: np.asarray(own[part][...]) for part in needed}
    for name, own in layers.items():
        problems += [
            f"{name}: {part} holds {values.dtype}, NaN or infinite values, needed finite floats"
            for part, values in own.items()
            if values.dtype.kind != "f" or not np.isfinite(values).all()
        ]
    if problems:
        raise BundleError(
            f"pretrained: {path} does not hold VGG16's 13 convolutions: {'; '.join(problems)}; fetch the file again"
        )
    return layers


@contextmanager
def _hdf5(path: Path) -> Iterator[tuple[Arrays, bool]]:
    import h5py

    def own_arrays(group: Any) -> dict[str, Any]:
        """The one array of four axes and the one of a single axis, however Keras named and nested them."""
        found: list[Any] = []
        group.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
        # What is stored in other files stays there.
        found = [item for item in found if item.external is None and not item.is_virtual]
        kinds = {1: "bias", 4: "kernel"}
        return {kinds.get(len(item.shape), item.name): item for item in found if item.shape is not None}

    try:
        with h5py.File(path, "r") as file:
            held = [n for n in VGG16_WIDTHS if isinstance(file.get(n, getlink=True), h5py.HardLink)]
            yield {n: own_arrays(file[n]) for n in held if isinstance(file[n], h5py.Group)}, False
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise BundleError(f"pretrained: {path} is a damaged HDF5 file: {error}; fetch it again") from None


@contextmanager
def _safetensors(path: Path) -> Iterator[tuple[Arrays, bool]]:
    from safetensors import SafetensorError, safe_open

    class Handle:
        """An array in the file that has not been read."""

        def __init__(self, name: str) -> None:
            self.name, self.shape = name, file.get_slice(name).get_shape()

        def __getitem__(self, _: Any) -> np.ndarray:
            values: np.ndarray = file.get_tensor(self.name)
            return values

    try:
        with safe_open(path, framework="numpy") as file:
            names = set(file.keys())
            is_torch = "features.0.weight" in names
            arrays = {}
            for layer, place in zip(VGG16_WIDTHS, _TORCH_PLACES, strict=True):
                stem, kernel = (f"features.{place}", "weight") if is_torch else (layer, "kernel")
                parts = {"kernel": f"{stem}.{kernel}", "bias": f"{stem}.bias"}
                arrays[layer] = {part: Handle(name) for part, name in parts.items() if name in names}
            yield arrays, is_torch
    except (SafetensorError, OSError, TypeError) as error:
        raise BundleError(
            f"pretrained: {path} is neither Keras' HDF5 nor a safetensors file: {error}; fetch it again"
        ) from None
