"""Why a bundle is right or wrong: its account over a manifest's songs, and the ways of the slices of single files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.account import account
from hgenre.bundle import Bundle
from hgenre.data.audio_slices import AudioSlices, read_ahead
from hgenre.data.manifest import Manifest, Song
from hgenre.data.splits import clusters
from hgenre.errors import AudioError, ManifestError, OptionError, SilentAudioError
from hgenre.evaluate import check_songs, frames_for, outcomes
from hgenre.features import cut_slices, steady, voiced
from hgenre.features.slices import SILENCE_DBFS
from hgenre.predict import STEADY, SongFault, audio_features
from hgenre.tree.calibration import temper
from hgenre.tree.one_song import why_song
from hgenre.tree.spec import tree_to_json


def why(
    bundle: Bundle,
    manifest: Manifest,
    cache_dir: Path,
    *,
    flat: Bundle | None = None,
    allow_seen: bool = False,
    on_frames: Callable[[Song], None] = lambda _: None,
) -> dict[str, Any]:
    """The account of a bundle over a manifest's songs: ``model, digest, flat_model, labels, tree, n_seen, ledger``
    (see ``account``) and ``warnings``.

    Args:
        flat: the net without groups that the tree is to beat, asked about the same songs.

    Raises:
        LeakError, ManifestError, FeatureError: as ``evaluate``, also where ``flat`` has seen the songs.
    """
    models = [bundle] if flat is None else [bundle, flat]
    seen = [check_songs(model, manifest, allow_seen=allow_seen) for model in models]
    source = frames_for(bundle, manifest, cache_dir, on_frames)
    node_logp, song_idx, _ = listen(
        bundle, ([cut_slices(source.frames(song.song_id), bundle.slices)] for song in source.songs)
    )
    if not len(song_idx):
        reasons = "".join(f"\n  {song_id}: {why}" for song_id, why in list(source.errors.items())[:10])
        raise ManifestError(f"nothing to account for: no song has a slice that is loud enough to judge{reasons}")
    labels, cluster_of = bundle.labels, clusters(source.songs, by="artist")
    flat_genre_idx = None
    if flat is not None:
        flat_source = frames_for(flat, manifest, cache_dir)
        known = {
            o.song_id: flat.labels.genres[o.genre_idx]
            for o in outcomes(flat, source.songs, flat_source.frames, cache_dir)
        }
        index = {genre: i for i, genre in enumerate(labels)}
        flat_genre_idx = np.array([index.get(known.get(song.song_id, ""), -1) for song in source.songs])
    heard = set(song_idx.tolist())
    warnings = [f"{song_id} left out: {reason}" for song_id, reason in source.errors.items()]
    warnings += [f"{song.song_id} left out: silent" for i, song in enumerate(source.songs) if i not in heard]
    for model, songs in zip(models, seen, strict=True):
        if songs:
            warnings.append(
                f"model {model.name} has seen {len(songs)} of these songs: this is no account of its errors"
            )
    return {
        "model": bundle.name,
        "digest": bundle.digest,
        "flat_model": flat and flat.name,
        "labels": list(labels),
        "tree": tree_to_json(bundle.tree),
        "n_seen": len(seen[0]),
        "ledger": account(
            bundle.tree,
            node_logp,
            song_idx,
            np.array([labels.index(song.genre) for song in source.songs]),
            [cluster_of[song.song_id] for song in source.songs],
            flat_genre_idx,
            route=bundle.route,
            path_temperature=bundle.path_temperature,
        ),
        "warnings": warnings,
    }


def why_files(bundle: Bundle, paths: Sequence[str | Path], *, true_genre: str | None = None) -> list[dict[str, Any]]:
    """``why_song`` of audio files, with their ``path`` first and ``predict``'s ``warnings`` last.

    A file that cannot be judged has ``error`` in its place.

    Raises:
        FeatureError: the bundle does not answer audio.
        OptionError: the bundle does not know ``true_genre``.
    """
    features = audio_features(bundle)
    if true_genre is not None and true_genre not in bundle.labels:
        known = ", ".join(bundle.labels)
        raise OptionError([("genre", f"model {bundle.name} does not know {true_genre!r}; it knows {known}")])
    streams = [AudioSlices(path, features, bundle.slices) for path in paths]
    errors: dict[int, AudioError] = {}
    noise: set[int] = set()

    def blocks() -> Iterator[list[np.ndarray]]:
        for i, stream in enumerate(read_ahead(streams)):
            try:
                held = list(stream)
                if all(steady(block, features)[voiced(block, features)].all() for block in held):
                    noise.add(i)
                yield held
            except AudioError as error:
                errors[i] = error
                yield []

    node_logp, song_idx, slice_idx = listen(bundle, blocks())
    step_s = bundle.slices.step_frames / features.frame_rate_hz
    found = []
    for i, path in enumerate(map(str, paths)):
        mine = song_idx == i
        if i not in errors and not mine.any():
            errors[i] = SilentAudioError(
                path, f"none of its slices is loud enough to judge (above {SILENCE_DBFS:.0f} dB re full scale)"
            )
        if i in errors:
            found.append(SongFault(path, errors[i].kind, errors[i].message).to_json())
            continue
        own = {name: logp[mine] for name, logp in node_logp.items()}
        start_s = (slice_idx[mine] * step_s).round(3).tolist()
        found.append(
            {
                "path": path,
                **why_song(
                    bundle.tree,
                    own,
                    route=bundle.route,
                    path_temperature=bundle.path_temperature,
                    song_temperature=bundle.song_temperature,
                    true_genre=true_genre,
                    start_s=start_s,
                ),
                "warnings": [*streams[i].warnings, *([STEADY] if i in noise else [])],
            }
        )
    return found


def listen(
    bundle: Bundle, songs: Iterable[Iterable[np.ndarray]]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Every net's log-probabilities for every voiced slice, at its temperature.

    Returns:
        node -> (slice, child) natural log-probabilities; each slice's song (slice,), not falling; each slice's place in
        its song (slice,), silent ones counted.

    Args:
        songs: blocks of slices (slice, mel, frame) in dB a song; a song may have none.
    """
    from hgenre.compiled.node_outputs import node_outputs

    outputs = node_outputs(bundle, songs)
    node_logp = {
        name: temper(logits.astype(np.float64), bundle.temperatures[name]) for name, logits in outputs.logits.items()
    }
    return node_logp, outputs.song_idx, outputs.slice_idx
