"""What a run's models say of songs they have not seen, kept as node outputs, so that questions can come afterwards."""

import io
import json
import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle import Bundle
from hgenre.compiled.node_outputs import build_logits, net_outputs
from hgenre.data.manifest import Song
from hgenre.errors import HgenreError
from hgenre.evaluate import SongOutcome
from hgenre.features import cut_slices
from hgenre.labels import Labels
from hgenre.nets.build import build_net
from hgenre.training.fit import FLAT, TRUNK, Fitted
from hgenre.training.joint import by_node, trunk_logits
from hgenre.tree.calibration import TEMPERATURE_RANGE, temper
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec, tree_from_json, tree_to_json
from hgenre.tree.vote import Aggregation, answer_songs, sum_sorted_slices

TREE = "tree"
STAGEWISE = "tree without joint fine-tuning"
TUNED = "tree with joint fine-tuning"
FLAT_ROOT = "flat root"
ENSEMBLE = "flat ensemble of as many nets"
PAIR = "flat ensemble of 2 nets"

FILE = "outputs.npz"
"""The held-out songs' node outputs, in the folder of a run."""

_SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class ModelOutputs:
    """One model's nets on all slices.

    Attributes:
        logits: node -> (slice, child) float32.
        temperatures: node -> positive divisor of the logits, from validation songs.
    """

    tree: TreeSpec
    logits: Mapping[str, np.ndarray]
    temperatures: Mapping[str, float]

    def node_logp(self, *, calibrated: bool = True) -> dict[str, np.ndarray]:
        """Node -> (slice, child) log-probabilities in float64; at temperature 1 unless ``calibrated``."""
        return {
            name: temper(logits, self.temperatures[name] if calibrated else 1.0) for name, logits in self.logits.items()
        }

    def log_posterior(self, *, calibrated: bool = True) -> np.ndarray:
        """(slice, genre) log-probabilities."""
        return log_posterior(self.tree, self.node_logp(calibrated=calibrated))


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Songs set aside from one fit, and what its models say of their voiced slices.

    Attributes:
        song_ids, true_idx, clusters: (song,) names, genres, and what ties songs of one artist; songs with a voice only.
        song_idx, slice_idx: (slice,) the slice's song here, and its place in that song.
        models: by name: ``tree`` where there is one, ``flat``, and their rivals.
    """

    labels: Labels
    song_ids: tuple[str, ...]
    true_idx: np.ndarray
    clusters: tuple[str, ...]
    song_idx: np.ndarray
    slice_idx: np.ndarray
    models: Mapping[str, ModelOutputs]

    @property
    def n_songs(self) -> int:
        return len(self.song_ids)


def hear(
    fitted: Fitted, songs: Sequence[Song], frames: Callable[[str], np.ndarray], cluster_of: Mapping[str, str]
) -> HeldOut:
    """All models of a fit on the songs' voiced slices, in one pass over the frames.

    Args:
        cluster_of: song id -> what ties it to songs of its artist, wherever those are held out.
    """
    flat, trunk = fitted.flat, fitted.trunk
    bundles: dict[str, Bundle] = {FLAT: flat}
    if fitted.tree is not None:
        bundles[TREE] = fitted.tree
    if fitted.stagewise is not None and fitted.tuned is not None:
        bundles |= {STAGEWISE: fitted.stagewise, TUNED: fitted.tuned}
    bundles |= {f"{FLAT} {k}": other for k, other in enumerate(fitted.flat_nets, start=2)}
    nets = {
        f"{model}/{node.name}": (build_net(b.nets[node.name], len(node.children)), b.variables[node.name])
        for model, b in bundles.items()
        for node in b.tree.net_nodes
    }
    if trunk is not None:
        nets[TRUNK] = (trunk_logits(trunk.tree, trunk.spec), trunk.variables)
    logits_of = {name: build_logits(net, flat.features) for name, (net, _) in nets.items()}
    variables = {name: own for name, (_, own) in nets.items()}
    found = net_outputs(
        logits_of,
        variables,
        ([cut_slices(frames(song.song_id), flat.slices)] for song in songs),
        flat.normalisation,
        flat.features,
    )
    heard, song_idx = np.unique(found.song_idx, return_inverse=True)
    if not len(heard):
        raise HgenreError(f"none of the {len(songs)} songs set aside has a slice that is loud enough to judge")
    models = {
        name: ModelOutputs(
            b.tree, {node.name: found.logits[f"{name}/{node.name}"] for node in b.tree.net_nodes}, b.temperatures
        )
        for name, b in bundles.items()
    }
    if trunk is not None:
        models[TRUNK] = ModelOutputs(trunk.tree, by_node(trunk.tree, found.logits[TRUNK]), trunk.temperatures)
    kept = [songs[i] for i in heard]
    return HeldOut(
        labels=flat.labels,
        song_ids=tuple(song.song_id for song in kept),
        true_idx=np.array([flat.labels.index(song.genre) for song in kept]),
        clusters=tuple(cluster_of[song.song_id] for song in kept),
        song_idx=song_idx,
        slice_idx=found.slice_idx,
        models=models,
    )


def n_nets(held: HeldOut) -> int:
    """How many nets the tree has; 0 without one."""
    return len(held.models[TREE].logits) if TREE in held.models else 0


def is_tuned(held: HeldOut) -> bool:
    """Whether the tree is the one that was tuned jointly."""
    tree, tuned = held.models[TREE], held.models.get(TUNED)
    return tuned is not None and all(np.array_equal(own, tuned.logits[n]) for n, own in tree.logits.items())


def posteriors(held: HeldOut) -> dict[str, np.ndarray]:
    """Name -> (slice, genre) log-probabilities of every model, of ensembles of the flat nets, and of the flat root.

    Ensembles average probabilities. ``flat root`` routes by the flat net's probabilities summed into the root's
    children, each genre's at its home, and leaves the rest to the tree.
    """
    found = {name: model.log_posterior() for name, model in held.models.items()}
    flat_nets = [found.pop(name) for name in list(found) if name == FLAT or name.startswith(f"{FLAT} ")]
    found[FLAT] = flat_nets[0]
    if len(flat_nets) > 1:
        for name, members in ((ENSEMBLE, flat_nets), (PAIR, flat_nets[:2])):
            found[name] = np.logaddexp.reduce(np.stack(members), axis=0) - np.log(len(members))
    if (model := held.models.get(TREE)) is not None and model.tree.root.name in model.logits:
        routed = {**model.node_logp(), model.tree.root.name: summed_by_child(flat_nets[0], model.tree)}
        found[FLAT_ROOT] = log_posterior(model.tree, routed)
    return found


def summed_by_child(logp: np.ndarray, tree: TreeSpec) -> np.ndarray:
    """Log-probabilities (slice, child) of the root's children from those of genres (slice, genre), each at its home."""
    home = tree.root.home_child_of(tree.labels)
    children = range(len(tree.root.children))
    return np.stack([np.logaddexp.reduce(logp[:, home == child], axis=1) for child in children], axis=1)


def song_outcomes(held: HeldOut, logp: np.ndarray, aggregation: Aggregation = "majority") -> list[SongOutcome]:
    """The songs' answers from (slice, genre) log-probabilities."""
    answers = answer_songs(sum_sorted_slices(logp, held.song_idx, held.n_songs), aggregation)
    slice_genre_idx = logp.argmax(axis=1)
    parts = np.split(slice_genre_idx, np.flatnonzero(np.diff(held.song_idx)) + 1)
    return [
        SongOutcome(
            song_id=held.song_ids[i],
            cluster=held.clusters[i],
            true_idx=int(held.true_idx[i]),
            genre_idx=int(answers.genre_idx[i]),
            middle_genre_idx=int(part[len(part) // 2]),
            probabilities=answers.probabilities[i],
            slice_genre_idx=part,
        )
        for i, part in enumerate(parts)
    ]


def pooled(folds: Sequence[HeldOut]) -> HeldOut | None:
    """The songs of several folds as one; None where the folds' models differ in name or tree, as derived groups may."""
    first = folds[0]
    for fold in folds[1:]:
        if {n: m.tree for n, m in fold.models.items()} != {n: m.tree for n, m in first.models.items()}:
            return None
    offsets = np.cumsum([0, *(fold.n_songs for fold in folds)])

    def joined(name: str) -> ModelOutputs:
        # Each fold has temperatures of its own, so they go into the logits.
        node_logp = [fold.models[name].node_logp() for fold in folds]
        tree = first.models[name].tree
        logits = {node: np.concatenate([logp[node] for logp in node_logp]) for node in node_logp[0]}
        return ModelOutputs(tree, logits, dict.fromkeys(logits, 1.0))

    return HeldOut(
        labels=first.labels,
        song_ids=tuple(song_id for fold in folds for song_id in fold.song_ids),
        true_idx=np.concatenate([fold.true_idx for fold in folds]),
        clusters=tuple(cluster for fold in folds for cluster in fold.clusters),
        song_idx=np.concatenate([fold.song_idx + o for fold, o in zip(folds, offsets, strict=False)]),
        slice_idx=np.concatenate([fold.slice_idx for fold in folds]),
        models={name: joined(name) for name in first.models},
    )


def write_held_out(path: Path, folds: Sequence[HeldOut]) -> None:
    """Keeps the node outputs of all folds in one file, written beside and renamed into place."""
    arrays: dict[str, np.ndarray] = {}
    described = []
    for k, fold in enumerate(folds):
        arrays |= {f"{k}/true_idx": fold.true_idx, f"{k}/song_idx": fold.song_idx, f"{k}/slice_idx": fold.slice_idx}
        models = []
        for m, (name, model) in enumerate(fold.models.items()):
            arrays |= {f"{k}/{m}/{node}": logits for node, logits in model.logits.items()}
            models.append({"name": name, "tree": tree_to_json(model.tree), "temperatures": dict(model.temperatures)})
        described.append({"song_ids": list(fold.song_ids), "clusters": list(fold.clusters), "models": models})
    facts = {"schema_version": _SCHEMA_VERSION, "labels": list(folds[0].labels), "folds": described}
    arrays["facts"] = np.array(json.dumps(facts))
    data = io.BytesIO()
    # The other way in, savez, takes names for arguments of its own.
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array, order="C"), allow_pickle=False)
    beside = path.with_name(f".{path.name}.new")
    try:
        beside.write_bytes(data.getvalue())
        os.replace(beside, path)
    except OSError as error:
        raise HgenreError(f"{path} cannot be written ({error.strerror}); choose another place (--out)") from None
    finally:
        with suppress(OSError):
            beside.unlink()


def read_held_out(path: Path) -> list[HeldOut]:
    """Inverse of ``write_held_out``; raises HgenreError where the file is missing, damaged or of another version."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            if facts["schema_version"] != _SCHEMA_VERSION:
                raise HgenreError(
                    f"{path} has schema version {facts['schema_version']!r}, this hgenre reads {_SCHEMA_VERSION}; "
                    "run the training again"
                )
            labels = Labels(tuple(facts["labels"]))
            folds = [_fold(labels, described, file, k) for k, described in enumerate(facts["folds"])]
        if len({tuple(fold.models) for fold in folds}) != 1 or FLAT not in folds[0].models:
            raise ValueError("its folds need the same models, the flat net among them")
        return folds
    except FileNotFoundError:
        raise HgenreError(f"{path} is missing; it is written by train-tree and cross-validate, run one again") from None
    except HgenreError:
        raise
    except Exception as error:  # numpy's and zipfile's readers raise whatever a foreign file makes them
        raise HgenreError(f"{path} cannot be read ({type(error).__name__}: {error}); run the training again") from None


def _fold(labels: Labels, described: Mapping[str, Any], file: Mapping[str, np.ndarray], k: int) -> HeldOut:
    models = {}
    n_slices = len(file[f"{k}/song_idx"])
    for m, about in enumerate(described["models"]):
        tree = tree_from_json(labels, about["tree"])
        logits = {node.name: file[f"{k}/{m}/{node.name}"] for node in tree.net_nodes}
        temperatures = {node: float(about["temperatures"][node]) for node in logits}
        for node in tree.net_nodes:
            rows = logits[node.name]
            low, high = TEMPERATURE_RANGE
            if rows.shape != (n_slices, len(node.children)) or rows.dtype != np.float32 or not np.isfinite(rows).all():
                raise ValueError(f"the outputs of node {node.name} do not fit {n_slices} slices of its children")
            if not low <= temperatures[node.name] <= high:
                raise ValueError(f"node {node.name} has temperature {temperatures[node.name]}, needed {low} to {high}")
        models[str(about["name"])] = ModelOutputs(tree, logits, temperatures)
    if any(file[f"{k}/{name}"].dtype.kind != "i" for name in ("true_idx", "song_idx", "slice_idx")):
        raise ValueError("songs and slices are not counted in whole numbers")
    held = HeldOut(
        labels=labels,
        song_ids=tuple(map(str, described["song_ids"])),
        true_idx=file[f"{k}/true_idx"].astype(int),
        clusters=tuple(map(str, described["clusters"])),
        song_idx=file[f"{k}/song_idx"].astype(int),
        slice_idx=file[f"{k}/slice_idx"].astype(int),
        models=models,
    )
    n_songs = held.n_songs
    if not (len(held.true_idx) == len(held.clusters) == n_songs and len(held.slice_idx) == n_slices):
        raise ValueError("songs and slices differ in number")
    if not np.array_equal(np.unique(held.song_idx), np.arange(n_songs)) or (np.diff(held.song_idx) < 0).any():
        raise ValueError("its slices do not stand song by song")
    if held.true_idx.min() < 0 or held.true_idx.max() >= len(labels):
        raise ValueError("a song's genre is not in the label list")
    return held
