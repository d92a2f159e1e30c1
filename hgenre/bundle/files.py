"""Bundles on disk: a directory with ``manifest.json`` and ``weights.safetensors``.

A bundle is written beside its place, read back, and renamed into place, so that whoever looks finds the old one or
the new one. Loading is strict both ways: every array that the manifest names must be there with its shape, and nothing
else.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np

from hgenre.bundle.bundle import SCHEMA_VERSION, Bundle, SeenSong, flatten, unflatten
from hgenre.bundle.calibration import calibration_from_json, calibration_to_json
from hgenre.errors import BundleError, HgenreError
from hgenre.features import Normalisation, SliceSpec, from_json, to_json
from hgenre.labels import Labels
from hgenre.nets.spec import net_from_json, net_to_json
from hgenre.tree.route import Route
from hgenre.tree.spec import tree_from_json, tree_to_json

MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
_NORMALISATION = "normalisation"


def save_bundle(bundle: Bundle, directory: str | Path) -> Bundle:
    """Writes a bundle to ``directory``, replacing a bundle that stands there; returns it with its digest.

    Raises:
        BundleError: the place holds something that is not a bundle, an array is not finite, or the disk refuses.
    """
    directory = Path(directory).absolute()
    arrays = _arrays(bundle)
    _check_finite(arrays, f"model {bundle.name}", "its training diverged; train again with a lower learning rate")
    try:
        _recover(directory)
        if directory.exists() and any(directory.iterdir()) and not (directory / MANIFEST).exists():
            raise BundleError(f"{directory} is not empty and holds no bundle; choose another place")
        directory.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".new", dir=directory.parent))
    except OSError as error:
        raise BundleError(f"{directory} cannot be written: {error.strerror}") from None
    try:
        weights_sha256 = _write_weights(arrays, beside / WEIGHTS)
        text = json.dumps(_manifest(bundle, arrays, weights_sha256), indent=1, ensure_ascii=False) + "\n"
        _write_durably(beside / MANIFEST, text.encode())
        saved = load_bundle(beside)
        for name, array in _arrays(saved).items():
            if not np.array_equal(array, arrays[name]):
                raise BundleError(f"{beside / WEIGHTS}: array {name} read back differs from what was written")
        beside.chmod(0o755)
        _put_in_place(beside, directory)
    except OSError as error:
        raise BundleError(f"{directory} cannot be written: {error.strerror}; nothing was changed") from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return replace(bundle, digest=saved.digest)


def remove_bundle(directory: str | Path) -> None:
    """Removes a bundle's two files and its directory; anything else is left alone."""
    directory = Path(directory)
    if not (directory / MANIFEST).is_file():
        return
    try:
        for name in (MANIFEST, WEIGHTS):
            (directory / name).unlink(missing_ok=True)
        if not any(directory.iterdir()):
            directory.rmdir()
    except OSError as error:
        raise BundleError(f"{directory} cannot be removed: {error.strerror}; remove it yourself") from None


def load_bundle(directory: str | Path) -> Bundle:
    """The bundle in a directory; its weights must have the sha256 that the manifest states.

    Raises:
        BundleError: nothing there, damaged, of another schema, or arrays that the manifest does not name.
    """
    directory = Path(directory)
    try:
        if not directory.exists():
            _recover(directory)
        raw = (directory / MANIFEST).read_bytes()
        manifest = json.loads(raw)
    except FileNotFoundError:
        raise BundleError(f"{directory} holds no bundle: {MANIFEST} is missing; train one or name another") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BundleError(f"{directory / MANIFEST} cannot be read: {error}") from None
    found = manifest.get("schema_version") if isinstance(manifest, dict) else None
    if type(found) is not int or found not in range(1, SCHEMA_VERSION + 1):
        raise BundleError(
            f"{directory} has schema version {found!r}, this hgenre reads 1 to {SCHEMA_VERSION}; "
            "use the hgenre that wrote it or train it again"
        )
    arrays = _read_weights(directory / WEIGHTS, manifest)
    try:
        return _from_manifest(manifest, arrays, hashlib.sha256(raw).hexdigest())
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise BundleError(f"{directory / MANIFEST} is damaged: {type(error).__name__} {error}") from None
    except BundleError:
        raise
    except HgenreError as error:
        raise BundleError(f"{directory / MANIFEST} is damaged: {error}") from None


def _arrays(bundle: Bundle) -> dict[str, np.ndarray]:
    arrays = flatten(bundle.variables)
    arrays[f"{_NORMALISATION}/mean_db"] = bundle.normalisation.mean_db
    arrays[f"{_NORMALISATION}/std_db"] = bundle.normalisation.std_db
    # safetensors writes the bytes of transposed arrays as they lie in memory, under the transposed shape.
    return {name: np.asarray(array, dtype=np.float32, order="C") for name, array in sorted(arrays.items())}


def _manifest(bundle: Bundle, arrays: Mapping[str, np.ndarray], weights_sha256: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "name": bundle.name,
        "labels": list(bundle.labels),
        "tree": tree_to_json(bundle.tree),
        "features": to_json(bundle.features),
        "slices": asdict(bundle.slices),
        "normalisation": bundle.normalisation.kind,
        "nets": {node: net_to_json(spec) for node, spec in bundle.nets.items()},
        "temperatures": dict(bundle.temperatures),
        "calibration": bundle.calibration and calibration_to_json(bundle.calibration),
        "route": asdict(bundle.route),
        "metrics": dict(bundle.metrics),
        "about": dict(bundle.about),
        "songs_seen": [[s.song_id, s.sha256, s.split] for s in bundle.songs_seen],
        "weights_sha256": weights_sha256,
        "arrays": {name: list(array.shape) for name, array in arrays.items()},
    }


def _from_manifest(manifest: dict[str, Any], arrays: dict[str, np.ndarray], digest: str) -> Bundle:
    labels = Labels(tuple(manifest["labels"]))
    tree = tree_from_json(labels, manifest["tree"])
    nets = {node: net_from_json(spec) for node, spec in manifest["nets"].items()}
    temperatures = {node: float(t) for node, t in manifest["temperatures"].items()}
    needed = {node.name for node in tree.net_nodes}
    if not needed:
        raise BundleError(f"the tree can only end in {labels.genres[0]!r}; a model needs two genres or more")
    normalisation = Normalisation(
        manifest["normalisation"],
        arrays.pop(f"{_NORMALISATION}/mean_db"),
        arrays.pop(f"{_NORMALISATION}/std_db"),
    )
    features, slices, route = from_json(manifest["features"]), SliceSpec(**manifest["slices"]), manifest["route"]
    _check_whole_numbers(features, slices, *filter(None, [getattr(features, "of", None)]))
    if normalisation.mean_db.shape != (features.n_mels,):
        raise BundleError(
            f"normalisation has {len(normalisation.mean_db)} mel bands, the features have {features.n_mels}"
        )
    for field, known in get_type_hints(Route).items():
        if route[field] not in get_args(known):
            raise BundleError(f"route has {field} {route[field]!r}; known are {', '.join(get_args(known))}")
    variables = unflatten(arrays)
    for what, names in (("nets", nets), ("temperatures", temperatures), ("weights", variables)):
        if set(names) != needed:
            raise BundleError(f"{what} stand for nodes {sorted(names)}, the tree needs {sorted(needed)}")
    if any(not (np.isfinite(t) and t > 0) for t in temperatures.values()):
        raise BundleError(f"temperatures must be finite and above 0, found {temperatures}")
    calibration = manifest["calibration"] if manifest["schema_version"] > 1 else None
    return Bundle(
        tree=tree,
        features=features,
        slices=slices,
        normalisation=normalisation,
        nets=nets,
        variables=variables,
        temperatures=temperatures,
        calibration=None if calibration is None else calibration_from_json(tree, calibration),
        route=Route(**route),
        songs_seen=tuple(SeenSong(str(i), str(s), str(p)) for i, s, p in manifest["songs_seen"]),
        metrics=dict(manifest["metrics"]),
        about=dict(manifest["about"]),
        name=str(manifest["name"]),
        digest=digest,
    )


def _write_weights(arrays: Mapping[str, np.ndarray], path: Path) -> str:
    from safetensors.numpy import save

    data = save(dict(arrays))
    _write_durably(path, data)
    return hashlib.sha256(data).hexdigest()


def _read_weights(path: Path, manifest: dict[str, Any]) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}; the bundle is incomplete") from None
    if hashlib.sha256(data).hexdigest() != manifest.get("weights_sha256"):
        raise BundleError(
            f"{path} does not have the sha256 that {MANIFEST} states; the bundle is damaged, fetch it again"
        )
    try:
        arrays = load(data)
    except SafetensorError as error:
        raise BundleError(f"{path} is not a safetensors file: {error}") from None
    foreign = sorted(name for name, array in arrays.items() if array.dtype != np.float32)
    if foreign:
        raise BundleError(f"{path}: array {foreign[0]} holds {arrays[foreign[0]].dtype}, needed float32")
    _check_finite(arrays, str(path), "the bundle is damaged, fetch it again")
    stated = manifest.get("arrays")
    found = {name: list(array.shape) for name, array in arrays.items()}
    if stated != found:
        stated = stated if isinstance(stated, dict) else {}
        differing = sorted(n for n in {*stated, *found} if stated.get(n) != found.get(n))
        raise BundleError(
            f"{path}: arrays differ from {MANIFEST} at {', '.join(differing[:5])} ({len(differing)} in all)"
        )
    return arrays


def _check_whole_numbers(*specs: Any) -> None:
    for spec in specs:
        for name, kind in get_type_hints(type(spec)).items():
            if kind is int and type(getattr(spec, name)) is not int:
                raise BundleError(f"{name} must be a whole number, found {getattr(spec, name)!r}")


def _check_finite(arrays: Mapping[str, np.ndarray], where: str, advice: str) -> None:
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise BundleError(f"{where}: array {name} holds NaN or infinite values; {advice}")


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _put_in_place(beside: Path, directory: Path) -> None:
    """Renames ``beside`` to ``directory``; a bundle that stands there waits under another name until it is replaced."""
    if not directory.exists():
        os.replace(beside, directory)
        return
    waiting = _waiting(directory)
    os.replace(directory, waiting)
    try:
        os.replace(beside, directory)
    except OSError:
        os.replace(waiting, directory)
        raise
    shutil.rmtree(waiting, ignore_errors=True)


def _recover(directory: Path) -> None:
    """Finishes a replacement that was cut off between its two renames: the old bundle comes back."""
    waiting = _waiting(directory)
    if not waiting.exists():
        return
    if directory.exists():
        shutil.rmtree(waiting, ignore_errors=True)
    else:
        os.replace(waiting, directory)


def _waiting(directory: Path) -> Path:
    return directory.with_name(f".{directory.name}.old")
