"""What a flat net and linear probes on its embedding say of songs that neither has seen: what groups are made of."""

import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from hgenre.compiled.node_outputs import build_embedding
from hgenre.errors import HgenreError
from hgenre.grouping.exhaustive import SummedDecoder, tables
from hgenre.grouping.probes import choose_l2, fit_probes
from hgenre.nets.build import LAST_LAYER, build_net
from hgenre.training.loop import slice_logits
from hgenre.training.node_fits import CalibratedNet, NodeFits
from hgenre.training.node_nets import flat_spec
from hgenre.training.songs import LearningSongs

_SCHEMA_VERSION = 1

_ARRAYS = {"true_idx": "i", "p": "f", "slice_p": "f", "song_idx": "i", "probe_p": "f", "centroids": "f", "weights": "f"}
"""Arrays of ``Judged`` in its file, and the kinds of their numbers."""


@dataclass(frozen=True, eq=False)
class Judged:
    """Songs set aside from the training of a flat net, and what it and the probes on its embedding say of them.

    Attributes:
        song_ids, true_idx, clusters: (song,) names, genres, and what ties songs of one artist; songs with a voice only.
        p: (song, genre) mean over the song's slices of the flat net's calibrated probabilities.
        slice_p, song_idx: (slice, genre) these probabilities, and (slice,) the song here; slices stand song by song.
        probe_p: (subset, song, genre) probabilities of the probe of each subset of genres, fitted to the training
            songs' mean embeddings; 0 outside the subset, all 0 for the empty set. No subset where none were asked for.
        centroids: (genre, feature) mean embedding of these songs, standardised over the training songs.
        weights: (genre, feature) of the flat net's last layer.
        l2: of the probes, chosen on validation songs; 0 where there are none.
    """

    song_ids: tuple[str, ...]
    true_idx: NDArray[np.intp]
    clusters: tuple[str, ...]
    p: NDArray[np.float64]
    slice_p: NDArray[np.float32]
    song_idx: NDArray[np.intp]
    probe_p: NDArray[np.float32]
    centroids: NDArray[np.float64]
    weights: NDArray[np.float64]
    l2: float

    @cached_property
    def _first_choice(self) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Largest probability of each subset's probe, and the genre that has it, both (subset, song)."""
        return self.probe_p.max(axis=2), self.probe_p.argmax(axis=2)

    def tables(self, decoder: SummedDecoder) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """``value`` and ``right`` (subset, song) of :func:`hgenre.grouping.exhaustive.tables`."""
        return tables(self.p, *self._first_choice, self.true_idx, decoder)


def judge(
    run: NodeFits,
    flat: CalibratedNet,
    held_out: LearningSongs,
    cluster_of: Mapping[str, str],
    *,
    with_probes: bool = True,
) -> Judged:
    """What a run's flat net says of songs set aside, and what the probes say that are fitted to its training songs.

    Args:
        cluster_of: song id -> what ties it to songs of its artist.
        with_probes: of at most ``MAX_GENRES`` genres; False leaves ``probe_p`` without a subset.

    Raises:
        HgenreError: nothing is heard of the songs of a genre.
    """
    n_genres = len(run.labels)
    last = flat.variables["params"][LAST_LAYER]

    def heard(songs: LearningSongs) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
        """Embedding (slice, feature) of voiced slices, the song (slice,) among the heard ones, and these (song,)."""
        net = build_net(flat_spec(run.config), n_genres, run.config.optimiser.precision)
        found, song_idx = slice_logits(build_embedding(net, songs.features), flat.variables, songs, run.standard, None)
        ids, renumbered = np.unique(song_idx, return_inverse=True)
        return found, renumbered, ids

    learned, song_idx, ids = heard(run.train)
    x, genre_idx = _song_means(learned, song_idx), run.train.genre_idx[ids]
    embedding, song_idx, ids = heard(held_out)
    means, true_idx = _song_means(embedding, song_idx), held_out.genre_idx[ids]
    for side, present in (("learn from", genre_idx), ("judge", true_idx)):
        if absent := [genre for g, genre in enumerate(run.labels) if g not in present]:
            raise HgenreError(
                f"a fold has no song of {', '.join(absent)} to {side}; give these genres more songs (of more artists), "
                "or leave them out with data.genres"
            )
    probe_p, l2 = np.zeros((0, len(ids), n_genres), np.float32), 0.0
    if with_probes:
        validated, of_song, heard_ids = heard(run.validation)
        genre_validation = run.validation.genre_idx[heard_ids]
        l2 = choose_l2(x, genre_idx, _song_means(validated, of_song), genre_validation)
        probe_p = fit_probes(x, genre_idx, np.arange(2**n_genres), l2, n_genres).all_probabilities(means)
    logits = (embedding @ last["kernel"] + last["bias"]) / flat.temperature
    slice_p = np.asarray(jax.nn.softmax(logits, axis=-1), np.float64)
    p = _song_means(slice_p, song_idx)
    std = x.std(axis=0)
    standard = (means - x.mean(axis=0)) / np.where(std > 0, std, 1)
    return Judged(
        song_ids=tuple(held_out.ids[i] for i in ids),
        true_idx=true_idx,
        clusters=tuple(cluster_of[held_out.ids[i]] for i in ids),
        p=p / p.sum(axis=1, keepdims=True),
        slice_p=slice_p.astype(np.float32),
        song_idx=song_idx,
        probe_p=probe_p,
        centroids=np.stack([standard[true_idx == g].mean(axis=0, dtype=np.float64) for g in range(n_genres)]),
        weights=np.asarray(last["kernel"], np.float64).T,
        l2=l2,
    )


def _song_means(rows: NDArray[Any], song_idx: NDArray[np.intp]) -> NDArray[Any]:
    """Means (song, ...) of rows (slice, ...) that stand song by song, every song with one at least."""
    starts = np.flatnonzero(np.diff(song_idx, prepend=-1))
    return np.add.reduceat(rows, starts, axis=0) / np.bincount(song_idx)[:, None].astype(rows.dtype)


def write_judged(path: Path, judged: Judged) -> None:
    """Keeps it in a file, written beside and renamed into place; raises HgenreError where the disk refuses."""
    facts = {
        "schema_version": _SCHEMA_VERSION,
        "song_ids": judged.song_ids,
        "clusters": judged.clusters,
        "l2": judged.l2,
    }
    arrays = {"facts": np.array(json.dumps(facts)), **{name: getattr(judged, name) for name in _ARRAYS}}
    data = io.BytesIO()
    np.savez_compressed(data, **arrays)
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(data.getvalue())
        os.replace(beside, path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink()
        raise HgenreError(f"{path} cannot be written ({error.strerror}); make room or choose another place") from None


def read_judged(path: Path) -> Judged | None:
    """What ``write_judged`` kept; None where there is nothing, or it is damaged and has to be made again."""
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            arrays = {name: file[name] for name in _ARRAYS}
        if facts["schema_version"] != _SCHEMA_VERSION:
            return None
        song_ids, clusters = (tuple(map(str, facts[name])) for name in ("song_ids", "clusters"))
        judged = Judged(song_ids=song_ids, clusters=clusters, l2=float(facts["l2"]), **arrays)
    except Exception:  # numpy's and zipfile's readers raise whatever a damaged file makes them
        return None
    n_songs, n_genres = len(song_ids), judged.p.shape[-1]
    fits = (
        all(arrays[name].dtype.kind == kind and np.isfinite(arrays[name]).all() for name, kind in _ARRAYS.items())
        and judged.p.shape == (n_songs, n_genres)
        and judged.true_idx.shape == (n_songs,) == (len(clusters),)
        and judged.probe_p.shape[1:] == (n_songs, n_genres)
        and len(judged.probe_p) in (0, 2**n_genres)
        and judged.slice_p.shape == (len(judged.song_idx), n_genres)
        and np.array_equal(np.unique(judged.song_idx), np.arange(n_songs))
        and len(judged.centroids) == len(judged.weights) == n_genres
    )
    return judged if fits else None
