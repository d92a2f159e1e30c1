"""What every net of a tree says of single slices: the raw material of decoders, ledger and calibration."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hgenre.bundle import Bundle
from hgenre.compiled.devices import shardings
from hgenre.features import FeatureSpec, Normalisation, standardise, statistics_for, voiced
from hgenre.nets.build import Net, build_net

Array = Any

EVALUATION_SLICES = 256
"""Slices that a net answers in one call; the last chunk of all is padded."""


@dataclass(frozen=True, eq=False)
class NodeOutputs:
    """What the nets say of the voiced slices of some songs.

    Attributes:
        logits: node -> (slice, child) float32, before any temperature; every net node, also where no slice would go.
        song_idx: (slice,) int, the song each slice belongs to; never decreasing.
        slice_idx: (slice,) int, the slice's place in its song, silent slices counted.
        n_songs: songs asked about; one that is silent throughout has no slice here.
    """

    logits: Mapping[str, np.ndarray]
    song_idx: np.ndarray
    slice_idx: np.ndarray
    n_songs: int


class Rows(NamedTuple):
    """Slices with what they are standardised by."""

    slices: np.ndarray  # (slice, mel, frame) dB
    mean_db: np.ndarray  # (slice, mel)
    std_db: np.ndarray  # (slice, mel)


def node_outputs(bundle: Bundle, songs: Iterable[Iterable[np.ndarray]]) -> NodeOutputs:
    """Every net's logits for every voiced slice.

    Args:
        songs: blocks of slices (slice, mel, frame) in dB a song; a song may have none.
    """
    nets = {node.name: build_net(bundle.nets[node.name], len(node.children)) for node in bundle.tree.net_nodes}
    logits_of = {name: build_logits(net, bundle.features) for name, net in nets.items()}
    found = net_outputs(logits_of, bundle.variables, songs, bundle.normalisation, bundle.features)
    nothing = {node.name: np.zeros((0, len(node.children)), np.float32) for node in bundle.tree.net_nodes}
    return replace(found, logits={**nothing, **found.logits})


def net_outputs(
    logits_of: Mapping[str, Callable[..., Array]],
    variables: Mapping[str, Any],
    songs: Iterable[Iterable[np.ndarray]],
    normalisation: Normalisation,
    features: FeatureSpec,
) -> NodeOutputs:
    """What any nets by name say of the voiced slices of some songs; no logits at all where nothing is heard.

    Args:
        logits_of: name -> as ``build_logits``.
        variables: name -> the net's variables.
        songs: as for ``node_outputs``.
    """
    n_songs = 0
    places: list[tuple[int, np.ndarray]] = []

    def rows() -> Iterator[Rows]:
        nonlocal n_songs
        for song, blocks in enumerate(songs):
            n_songs = song + 1
            held = [np.asarray(block, np.float32) for block in blocks if len(block)]
            if not held:
                continue
            slices = np.concatenate(held)
            mean_db, std_db = statistics_for(slices, normalisation, features)
            heard = np.flatnonzero(voiced(slices, features))
            places.append((song, heard))
            yield Rows(slices[heard], np.tile(mean_db, (len(heard), 1)), np.tile(std_db, (len(heard), 1)))

    return NodeOutputs(
        logits=run_rows(logits_of, variables, rows()),
        song_idx=np.concatenate([np.zeros(0, int), *(np.full(len(heard), song) for song, heard in places)]),
        slice_idx=np.concatenate([np.zeros(0, int), *(heard for _, heard in places)]),
        n_songs=n_songs,
    )


def run_rows(
    logits_of: Mapping[str, Callable[..., Array]], variables: Mapping[str, Any], rows: Iterable[Rows]
) -> dict[str, np.ndarray]:
    """Logits (slice, child) of several nets for the same rows, in chunks of one size; empty where there are no rows.

    Args:
        logits_of: name -> as ``build_logits``.
        variables: name -> the net's variables.
    """
    answers: dict[str, list[np.ndarray]] = {name: [] for name in logits_of}
    held: list[Rows] = []

    def flush() -> None:
        joined = Rows(*(np.concatenate(column) for column in zip(*held, strict=True)))
        held.clear()
        for start in range(0, len(joined.slices), EVALUATION_SLICES):
            chunk = [column[start : start + EVALUATION_SLICES] for column in joined]
            n_rows = len(chunk[0])
            padded = [np.concatenate([c, np.repeat(c[-1:], EVALUATION_SLICES - n_rows, axis=0)]) for c in chunk]
            for name, logits in logits_of.items():
                answers[name].append(np.asarray(logits(variables[name], *padded))[:n_rows])

    for block in rows:
        held.append(block)
        if _n_rows(held) >= EVALUATION_SLICES:
            flush()
    if _n_rows(held):
        flush()
    return {name: np.concatenate(parts) for name, parts in answers.items() if parts}


@cache
def build_logits(net: Net, features: FeatureSpec) -> Callable[..., Array]:
    """The compiled (variables, slices (slice, mel, frame) dB, mean_db, std_db) -> logits (slice, child).

    Takes EVALUATION_SLICES slices at a time, spread over all local devices.
    """

    return _over_slices(net.apply, features)


@cache
def build_embedding(net: Net, features: FeatureSpec) -> Callable[..., Array]:
    """As ``build_logits``, but what enters the net's last layer, (slice, feature).

    Raises:
        ValueError: the net is several nets as one.
    """
    if net.embed is None:
        raise ValueError("several nets that act as one have no last layer in common; take a single net")
    return _over_slices(net.embed, features)


def _over_slices(of: Callable[..., Array], features: FeatureSpec) -> Callable[..., Array]:
    """A function of (variables, x), compiled for standardised slices spread over all local devices."""

    def standardised(variables: Any, slices: Array, mean_db: Array, std_db: Array) -> Array:
        return of(variables, standardise(slices, mean_db, std_db, features, jnp))

    compiled = jax.jit(standardised)
    slice_sharding, _ = shardings(EVALUATION_SLICES)
    return lambda variables, *rows: compiled(variables, *jax.device_put(rows, slice_sharding))


def _n_rows(held: Sequence[Rows]) -> int:
    return sum(len(rows.slices) for rows in held)
