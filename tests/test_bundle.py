"""Bundles: saved and loaded to the bit, and refused with a reason wherever something is wrong."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from hgenre.bundle import Bundle, load_bundle, remove_bundle, save_bundle
from hgenre.bundle.bundle import flatten, unflatten
from hgenre.errors import BundleError
from hgenre.features import ArraySpec
from hgenre.shipped import find_bundle
from hgenre.tree.calibration import Calibration
from hgenre.tree.evidence import SongEvidence
from hgenre.tree.route import Route
from tests.small_bundles import tiny_bundle
from tests.small_trees import OVERLAPPING, PLAIN, RAGGED

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
CALIBRATION = Calibration(
    path_temperature=1.25,
    song_temperature=0.75,
    source="out of fold",
    evidence=(SongEvidence(0.1, (0.9, 0.6, 0.4, 0.3), 2), SongEvidence(1.0, (1.0,), 1)),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a sound bundle in it."""
    save_bundle(replace(tiny_bundle(RAGGED), calibration=CALIBRATION), tmp_path / "bundle")
    return tmp_path / "bundle"


def assert_equal(ours: Bundle, theirs: Bundle) -> None:
    for field in fields(Bundle):
        if field.name not in ("normalisation", "variables", "digest"):
            assert getattr(ours, field.name) == getattr(theirs, field.name), field.name
    assert ours.normalisation.kind == theirs.normalisation.kind
    assert arrays_of(ours) == arrays_of(theirs)


def arrays_of(bundle: Bundle) -> dict[str, tuple[tuple[int, ...], bytes]]:
    """Shape and bytes of every array."""
    statistics = {"mean_db": bundle.normalisation.mean_db, "std_db": bundle.normalisation.std_db}
    arrays = {**flatten(bundle.variables), **statistics}
    return {name: (array.shape, array.tobytes()) for name, array in arrays.items()}


def test_bundle_comes_back_to_the_bit(tmp_path: Path) -> None:
    for i, bundle in enumerate(
        (
            tiny_bundle(PLAIN),
            replace(tiny_bundle(RAGGED), route=Route("hard", "song", "mean_probability"), name="bänd"),
            tiny_bundle(OVERLAPPING, kind="song"),
            replace(tiny_bundle(RAGGED), calibration=CALIBRATION),
            replace(tiny_bundle(PLAIN), calibration=Calibration()),
            tiny_bundle(PLAIN, features=ArraySpec(12, 12.9, "level / 255", None)),
        )
    ):
        saved = save_bundle(bundle, tmp_path / f"{i}")
        loaded = load_bundle(tmp_path / f"{i}")
        assert_equal(loaded, bundle)
        assert loaded.digest == saved.digest == hashlib.sha256((tmp_path / f"{i}" / MANIFEST).read_bytes()).hexdigest()
        assert loaded.labels == bundle.tree.labels
        assert sorted(p.name for p in (tmp_path / f"{i}").iterdir()) == [MANIFEST, WEIGHTS]


def test_same_bundle_has_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    digests = [save_bundle(tiny_bundle(PLAIN, seed), tmp_path / f"{i}").digest for i, seed in enumerate((0, 0, 1))]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: np.asfortranarray(a),
        lambda a: np.ascontiguousarray(a.T).T,
        lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
        lambda a: a[::-1][::-1],
        lambda a: a.astype(np.float64),
        lambda a: np.broadcast_to(a[:1], a.shape),
    ],
    ids=["fortran", "transposed", "strided", "reversed", "double", "broadcast"],
)
def test_arrays_are_written_right_however_they_lie_in_memory(
    change: Callable[[np.ndarray], np.ndarray], tmp_path: Path
) -> None:
    bundle = tiny_bundle(PLAIN)
    flat = {name: change(array) for name, array in flatten(bundle.variables).items()}
    save_bundle(replace(bundle, variables=unflatten(flat)), tmp_path / "bundle")
    loaded = flatten(load_bundle(tmp_path / "bundle").variables)
    assert all(np.array_equal(loaded[name], array) for name, array in flat.items())
    assert all(array.flags.c_contiguous and array.dtype == np.float32 for array in loaded.values())


def test_scalars_stay_scalars(tmp_path: Path) -> None:
    bundle = tiny_bundle(PLAIN)
    variables = {**bundle.variables, "left": {**bundle.variables["left"], "scale": np.float32(0.1)}}
    save_bundle(replace(bundle, variables=variables), tmp_path / "bundle")
    scale = load_bundle(tmp_path / "bundle").variables["left"]["scale"]
    assert scale.shape == ()
    assert scale == np.float32(0.1)


def test_flatten_and_unflatten_are_inverse() -> None:
    nested = {"a": {"b": {"c": np.ones(2)}, "d": np.zeros(())}, "e": np.arange(3)}
    flat = flatten(nested)
    assert sorted(flat) == ["a/b/c", "a/d", "e"]
    assert flatten(unflatten(flat)).keys() == flat.keys()
    assert unflatten(flat)["a"]["b"]["c"] is flat["a/b/c"]


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    bundle = tiny_bundle(PLAIN)
    kernel = bundle.variables["left"]["params"]["logits"]["kernel"].copy()
    kernel[0, 0] = np.nan
    variables = unflatten({**flatten(bundle.variables), "left/params/logits/kernel": kernel})
    with pytest.raises(BundleError, match=r"model tiny: array left/params/logits/kernel holds NaN .* lower learning"):
        save_bundle(replace(bundle, variables=variables), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def edit(place: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The manifest after ``change``, which edits it in place."""
    manifest = json.loads((place / MANIFEST).read_text())
    change(manifest)
    (place / MANIFEST).write_text(json.dumps(manifest))


def rewrite(place: Path, change: Callable[[dict[str, np.ndarray]], Any], *, state_shapes: bool = False) -> None:
    """The weights after ``change``, with the manifest's sha256 (and shapes) to match."""
    arrays = load_file(place / WEIGHTS)
    change(arrays)
    data = save(arrays)
    (place / WEIGHTS).write_bytes(data)

    def restate(manifest: dict[str, Any]) -> None:
        manifest["weights_sha256"] = hashlib.sha256(data).hexdigest()
        if state_shapes:
            manifest["arrays"] = {name: list(array.shape) for name, array in arrays.items()}

    edit(place, restate)


KERNEL = "deep/params/logits/kernel"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop(KERNEL), f"arrays differ from manifest.json at {KERNEL} .1 in all"),
        (lambda a: a.update(extra=np.ones(2, np.float32)), "arrays differ from manifest.json at extra .1 in all"),
        (lambda a: a.update({KERNEL: a[KERNEL].T.copy()}), f"arrays differ from manifest.json at {KERNEL}"),
        (lambda a: a.update({KERNEL: a[KERNEL].astype(np.float64)}), f"array {KERNEL} holds float64, needed float32"),
        (lambda a: a.update({KERNEL: a[KERNEL] * np.inf}), f"array {KERNEL} holds NaN or infinite values"),
    ],
    ids=["missing", "extra", "transposed", "double", "infinite"],
)
def test_weights_that_the_manifest_does_not_state_are_refused(
    change: Callable[[dict[str, np.ndarray]], Any], message: str, place: Path
) -> None:
    rewrite(place, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda a: [a.pop(name) for name in list(a) if name.startswith("deep/")],
            r"weights stand for nodes .*'deeper'",
        ),
        (
            lambda a: a.update({"other/x": np.ones(2, np.float32)}),
            "weights stand for nodes .*'other', 'root'\\], the",
        ),
        (lambda a: a.pop("normalisation/mean_db"), "damaged: KeyError 'normalisation/mean_db'"),
        (lambda a: a.update({"normalisation/std_db": np.zeros(12, np.float32)}), "finite deviations above 0"),
        (
            lambda a: a.update({f"normalisation/{name}_db": np.ones(5, np.float32) for name in ("mean", "std")}),
            "normalisation has 5 mel bands, the features have 12",
        ),
    ],
    ids=["no weights of a node", "weights of no node", "no mean", "zero deviation", "other bands"],
)
def test_weights_that_do_not_fit_the_tree_are_refused(
    change: Callable[[dict[str, np.ndarray]], Any], message: str, place: Path
) -> None:
    rewrite(place, change, state_shapes=True)
    with pytest.raises(BundleError, match=message):
        load_bundle(place)


def set_in(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = to

    return change


def evidence(*row: Any) -> Callable[[dict[str, Any]], None]:
    return set_in("calibration", "evidence", to=[list(row)])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in("schema_version", to=3), "has schema version 3, this hgenre reads 1 to 2"),
        (set_in("schema_version", to=0), "has schema version 0"),
        (set_in("schema_version", to=True), "has schema version True"),
        (set_in("schema_version", to=[2]), "has schema version .2., this"),
        (set_in("schema_version", to=None), "has schema version None"),
        (set_in("weights_sha256", to="0" * 64), "does not have the sha256 that manifest.json states"),
        (set_in("arrays", to=[]), "arrays differ from manifest.json at"),
        (set_in("arrays", KERNEL, to=[16, 3]), f"arrays differ from manifest.json at {KERNEL}"),
        (set_in("labels", to=["a", "b", "c", "d", "e"]), "unknown genre 'f'"),
        (set_in("labels", to=["a", "a", "b", "c", "d", "e", "f"]), "genre 'a' stands twice"),
        (set_in("labels", to=[1, 2]), "is damaged: AttributeError"),
        (set_in("labels", to=None), "is damaged: TypeError"),
        (set_in("tree", to={"name": "root"}), "needed a genre name or an object"),
        (set_in("tree", to="../../etc/passwd"), "the root is '../../etc/passwd'"),
        (set_in("tree", "name", to="../../x"), "needs another name"),
        (set_in("temperatures", "root", to=float("nan")), "temperatures must be finite and above 0"),
        (set_in("temperatures", "root", to=0), "temperatures must be finite and above 0"),
        (set_in("temperatures", "root", to=float("inf")), "temperatures must be finite and above 0"),
        (set_in("temperatures", "root", to="hot"), "is damaged: ValueError"),
        (set_in("temperatures", "other", to=1.0), "temperatures stand for nodes"),
        (set_in("temperatures", "root", to=10**400), "is damaged: OverflowError"),
        (lambda manifest: manifest.pop("calibration"), "is damaged: KeyError 'calibration'"),
        (set_in("calibration", to=[]), "calibration needs path_temperature, song_temperature, source and evidence"),
        (set_in("calibration", to=1.0), "calibration needs path_temperature"),
        (set_in("calibration", "source", to=None), "calibration needs path_temperature"),
        (set_in("calibration", "evidence", to={}), "calibration needs path_temperature"),
        (set_in("calibration", "colour", to=1), "source and evidence, and nothing else"),
        (set_in("calibration", "path_temperature", to=0), "must be numbers from 0.25 to 8.0, found 0 and 0.75"),
        (set_in("calibration", "path_temperature", to=10**400), "must be numbers from 0.25 to 8.0"),
        (set_in("calibration", "song_temperature", to=float("nan")), "found 1.25 and nan"),
        (set_in("calibration", "song_temperature", to=True), "found 1.25 and True"),
        (set_in("calibration", "song_temperature", to="hot"), "found 1.25 and 'hot'"),
        (evidence(0.1, [0.9, 0.6, 0.4, 0.3], 5), r"evidence \[0.1, .*, 5\]; needed .* how many steps of that path"),
        (evidence(0.1, [0.9, 0.6, 0.4, 0.3], -1), r"evidence \[0.1, .*, -1\]; needed"),
        (evidence(0.1, [0.9, 0.6, 0.4, 0.3], 2.0), r"evidence \[0.1, .*, 2.0\]; needed"),
        (evidence(1.1, [0.9, 0.6, 0.4, 0.3], 2), r"evidence \[1.1, .*the probability of a song's true genre"),
        (evidence("0.1", [0.9, 0.6, 0.4, 0.3], 2), r"evidence \['0.1', "),
        (evidence(float("nan"), [0.9, 0.6, 0.4, 0.3], 2), r"evidence \[nan, "),
        (evidence(0.1, [0.9, 0.6, 0.4, 0.3, 0.2], 2), r"evidence \[0.1, .*along the path to its vote in this tree"),
        (evidence(0.1, [], 0), r"evidence \[0.1, \[\], 0\]; needed"),
        (evidence(0.1, [0.9, 0.6, 0.7, 0.3], 2), r"evidence \[0.1, .*never rising"),
        (evidence(0.1, [1.9, 0.6, 0.4, 0.3], 2), r"evidence \[0.1, .*never rising"),
        (evidence(0.1, [0.9, 0.6, 0.4, None], 2), r"evidence \[0.1, .*never rising"),
        (evidence(0.1, 0.9, 0), r"evidence \[0.1, 0.9, 0\]; needed"),
        (evidence(0.1, [1.0]), r"evidence \[0.1, \[1.0\]\]; needed"),
        (set_in("calibration", "evidence", to=[None]), "evidence None; needed"),
        (set_in("nets", "root", "kind", to="__import__('os')"), "needed one of short_chunk, deep_cnn"),
        (set_in("nets", "root", "widths", to=[-4]), "needed widths of at least 1"),
        (set_in("nets", to={}), "nets stand for nodes"),
        (set_in("features", "kind", to="evil"), "feature spec of kind 'evil'"),
        (set_in("features", "colour", to=1), "unexpected keyword argument 'colour'"),
        (set_in("features", "fmax_hz", to=1e9), "mel band edges"),
        (set_in("features", "n_fft", to=256.0), "n_fft must be a whole number, found 256.0"),
        (set_in("features", "n_mels", to=13), "normalisation has 12 mel bands, the features have 13"),
        (set_in("slices", "n_frames", to=0), "at least one frame"),
        (set_in("slices", "n_frames", to="20"), "is damaged: TypeError"),
        (set_in("slices", "n_frames", to=2.5), "n_frames must be a whole number, found 2.5"),
        (set_in("normalisation", to="evil"), "normalisation of kind 'evil'"),
        (set_in("route", "decoder", to="beam"), "route has decoder 'beam'; known are soft, hard"),
        (set_in("route", "unit", to=None), "route has unit None; known are slice, song"),
        (set_in("route", "aggregation", to=["majority"]), "route has aggregation"),
        (set_in("route", "way", to="out"), "is damaged: TypeError"),
        (set_in("route", to={}), "is damaged: KeyError 'decoder'"),
        (set_in("songs_seen", to=[["only an id"]]), "is damaged: ValueError"),
        (set_in("metrics", to=7), "is damaged: TypeError"),
        (lambda manifest: manifest.pop("about"), "is damaged: KeyError 'about'"),
        (lambda manifest: manifest.clear(), "has schema version None"),
    ],
)
def test_manifest_with_a_wrong_value_is_refused(
    change: Callable[[dict[str, Any]], Any], message: str, place: Path
) -> None:
    edit(place, change)
    with pytest.raises(BundleError, match=message):
        load_bundle(place)


def test_bundle_from_before_calibration_is_read(place: Path) -> None:
    edit(place, set_in("schema_version", to=1))
    edit(place, lambda manifest: manifest.pop("calibration"))
    loaded = load_bundle(place)
    assert loaded.calibration is None
    assert (loaded.path_temperature, loaded.song_temperature) == (1, 1)
    assert_equal(loaded, tiny_bundle(RAGGED))


def test_temperatures_of_a_calibration_are_the_bundle_s() -> None:
    bundle = replace(tiny_bundle(RAGGED), calibration=CALIBRATION)
    assert (bundle.path_temperature, bundle.song_temperature) == (1.25, 0.75)


def test_calibration_that_no_tree_can_have_is_not_saved(tmp_path: Path) -> None:
    foreign = replace(tiny_bundle(PLAIN), calibration=CALIBRATION)
    with pytest.raises(BundleError, match="calibration has evidence"):
        save_bundle(foreign, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"schema_version"', "\x00", "[" * 100_000])
def test_damaged_json_is_refused(text: str, place: Path) -> None:
    (place / MANIFEST).write_text(text)
    with pytest.raises(BundleError, match=r"manifest.json cannot be read|has schema version None"):
        load_bundle(place)


def test_manifest_that_is_no_text_is_refused(place: Path) -> None:
    (place / MANIFEST).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BundleError, match=r"manifest.json cannot be read"):
        load_bundle(place)


def test_tree_of_one_genre_is_refused(place: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        manifest |= {"labels": ["a"], "tree": {"name": "root", "children": ["a"]}, "nets": {}, "temperatures": {}}

    edit(place, change)
    with pytest.raises(BundleError, match="can only end in 'a'; a model needs two genres"):
        load_bundle(place)


def test_tree_deeper_than_python_can_go_is_refused(place: Path) -> None:
    tree: Any = "a"
    for depth in range(400):
        tree = {"name": f"{depth}", "children": [tree]}
    edit(place, set_in("tree", to=tree))
    with pytest.raises(BundleError, match=r"is damaged|cannot be read"):
        load_bundle(place)


@pytest.mark.parametrize("length", [0, 5, 100, -1])
def test_truncated_weights_are_refused(length: int, place: Path) -> None:
    data = (place / WEIGHTS).read_bytes()[:length]
    (place / WEIGHTS).write_bytes(data)
    with pytest.raises(BundleError, match="does not have the sha256"):
        load_bundle(place)
    edit(place, set_in("weights_sha256", to=hashlib.sha256(data).hexdigest()))
    with pytest.raises(BundleError, match="is not a safetensors file"):
        load_bundle(place)


def test_one_flipped_bit_in_the_weights_is_found(place: Path) -> None:
    data = bytearray((place / WEIGHTS).read_bytes())
    data[-5] ^= 1
    (place / WEIGHTS).write_bytes(data)
    with pytest.raises(BundleError, match="the bundle is damaged, fetch it again"):
        load_bundle(place)


def test_missing_files_are_named(place: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nowhere holds no bundle: manifest.json is missing"):
        load_bundle(tmp_path / "nowhere")
    (place / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=r"weights.safetensors cannot be read: No such file .* incomplete"):
        load_bundle(place)
    (place / MANIFEST).unlink()
    with pytest.raises(BundleError, match=r"manifest.json is missing"):
        load_bundle(place)


def test_files_in_place_of_folders_are_refused(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(BundleError, match=r"manifest.json cannot be read"):
        load_bundle(file)
    for where in (file, file / "bundle"):
        with pytest.raises(BundleError, match=r"cannot be written: (Not a directory|File exists)"):
            save_bundle(tiny_bundle(PLAIN), where)
    assert file.read_text() == "mine"


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs" / "a.mp3").write_text("music")
    with pytest.raises(BundleError, match="songs is not empty and holds no bundle; choose another place"):
        save_bundle(tiny_bundle(PLAIN), tmp_path / "songs")
    assert [p.name for p in tmp_path.rglob("*")] == ["songs", "a.mp3"]


def test_empty_folder_and_older_bundle_are_replaced(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    first = save_bundle(tiny_bundle(PLAIN, seed=1), tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").digest == first.digest
    second = save_bundle(tiny_bundle(PLAIN, seed=2), tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle").digest == second.digest != first.digest
    assert [p.name for p in tmp_path.iterdir()] == ["bundle"]


def test_removing_a_bundle_takes_its_two_files_only(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "notes.txt").write_text("mine")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", full)
        with pytest.raises(BundleError, match="bundle cannot be removed: No space left on device; remove it yourself"):
            remove_bundle(place)
    remove_bundle(place)
    assert [p.name for p in place.iterdir()] == ["notes.txt"]
    remove_bundle(place)
    assert [p.name for p in place.iterdir()] == ["notes.txt"]
    save_bundle(tiny_bundle(PLAIN), place.with_name("other"))
    remove_bundle(place.with_name("other"))
    remove_bundle(place.with_name("nowhere"))
    assert not place.with_name("other").exists()


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("where", ["os.fsync", "os.replace", "tempfile.mkdtemp"])
def test_full_disk_leaves_the_old_bundle(where: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = load_bundle(place)
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(BundleError, match="bundle cannot be written: No space left on device"):
            save_bundle(tiny_bundle(PLAIN), place)
    assert_equal(load_bundle(place), old)
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def test_failure_between_the_renames_leaves_the_old_bundle(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, replaced, real = load_bundle(place), [], os.replace

    def second_fails(source: Path, target: Path) -> None:
        replaced.append(target)
        if len(replaced) == 2:
            full()
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", second_fails)
        with pytest.raises(BundleError, match="No space left on device; nothing was changed"):
            save_bundle(tiny_bundle(PLAIN), place)
    assert (place / MANIFEST).exists()
    assert_equal(load_bundle(place), old)
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def test_bundle_that_was_set_aside_comes_back(place: Path) -> None:
    """What a kill between the two renames leaves: the old bundle under its waiting name."""
    old = load_bundle(place)
    shutil.move(place, place.with_name(".bundle.old"))
    assert find_bundle(place) == place
    assert_equal(load_bundle(place), old)
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]


def test_a_runs_folder_stands_for_its_tree_or_else_for_its_flat_net(place: Path) -> None:
    run = place.parent
    assert find_bundle(run) == place
    shutil.copytree(place, run / "flat")
    assert find_bundle(run) == place
    assert find_bundle(run, of_run=["flat"]) == run / "flat"
    shutil.move(place, run / ".bundle.old")
    assert find_bundle(run) == place
    shutil.rmtree(run / ".bundle.old")
    assert find_bundle(run) == run / "flat"
    shutil.copy(run / "flat" / MANIFEST, run)
    assert find_bundle(run) == run


def test_leftover_of_a_finished_replacement_goes_away(place: Path) -> None:
    shutil.copytree(place, place.with_name(".bundle.old"))
    save_bundle(tiny_bundle(PLAIN, seed=5), place)
    assert [p.name for p in place.parent.iterdir()] == ["bundle"]
    assert_equal(load_bundle(place), tiny_bundle(PLAIN, seed=5))
