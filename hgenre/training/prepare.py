"""Songs made ready: manifest read, configuration held against it, frames at hand, split without leaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hgenre.compiled.exported import keep_executables
from hgenre.data.frames import FrameSource, holds_arrays, open_frames
from hgenre.data.leaks import check_disjoint
from hgenre.data.manifest import Manifest, Song, read_manifest
from hgenre.data.splits import Protocol, read_id_lists, slice_random_split, split_songs
from hgenre.errors import ConfigError, ManifestError, TreeError
from hgenre.features import LogMelSpec, SliceSpec, cut_slices
from hgenre.labels import Labels
from hgenre.training.config import RunConfig
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import tree_from_groups

TRAIN, VALIDATION, TEST = "train", "valid", "test"


@dataclass(frozen=True)
class Prepared:
    """Songs with their frames, ready to be split and learned from."""

    config: RunConfig
    manifest: Manifest
    labels: Labels
    songs: tuple[Song, ...]
    source: FrameSource
    slices: SliceSpec
    cache_dir: Path
    warnings: tuple[str, ...]

    def learning(self, song_ids: Sequence[str]) -> LearningSongs:
        """The named songs as training wants them."""
        wanted = set(song_ids)
        songs = [song for song in self.songs if song.song_id in wanted]
        return LearningSongs(
            ids=tuple(song.song_id for song in songs),
            genre_idx=np.array([self.labels.index(song.genre) for song in songs], dtype=int),
            frames=self.source.frames,
            features=self.source.spec,
            slices=self.slices,
        )


def prepare(
    config: RunConfig,
    manifest: Manifest | None = None,
    *,
    cache_dir: Path | None = None,
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
) -> Prepared:
    """Reads the manifest, holds the configuration against it, computes or opens the frames.

    Raises:
        ConfigError: groups or genre sets that do not fit the genres, with every mistake's dotted path.
        ManifestError: nothing usable, fewer than two genres, or no song whose frames can be had.
    """
    from hgenre.data.cache import default_cache_dir

    if manifest is None:
        if not config.data.manifest:
            raise ConfigError(config.name, [("data.manifest", "is missing; name a manifest, or give --data DIR")])
        manifest = read_manifest(config.data.manifest)
    if config.data.use_splits:
        kept = tuple(song for song in manifest.songs if song.split in config.data.use_splits)
        if not kept:
            found = ", ".join(sorted({song.split or "(empty)" for song in manifest.songs}))
            wanted = ", ".join(config.data.use_splits)
            problem = f"wants {wanted}, but the manifest's split column holds only {found}"
            raise ConfigError(config.name, [("data.use_splits", problem)])
        manifest = replace(manifest, songs=kept)
    check_genres(config, manifest.labels)
    f = config.features
    spec = LogMelSpec(f.sample_rate_hz, f.n_fft, f.hop_length, f.n_mels, f.fmin_hz, f.fmax_hz, f.mel_scale)
    n_songs = len(manifest.usable)
    cache_dir = cache_dir or default_cache_dir()
    # Nodes with as many children, folds and seeds have the same programs, and compiling a small net takes longer than
    # training it for an epoch.
    keep_executables(cache_dir)
    # Ready-made arrays bring their own spec, so their slices are known only once they are open.
    slices = None if holds_arrays(manifest) else SliceSpec.from_seconds(f.slice_s, f.step_s, spec)
    source = open_frames(manifest, spec, slices, cache_dir, on_done=lambda song: on_frames(song, n_songs))
    if slices is None:
        slices = SliceSpec.from_seconds(f.slice_s, f.step_s, source.spec)
    if not source.songs:
        reasons = "".join(f"\n  {song_id}: {why}" for song_id, why in [*source.errors.items()][:10])
        raise ManifestError(f"none of the {n_songs} songs can be used; the first reasons are:{reasons}")
    labels = Labels.from_names(song.genre for song in source.songs)
    if labels != manifest.labels:
        check_genres(config, labels)
    warnings = [f"{song_id} left out: {why}" for song_id, why in source.errors.items()]
    warnings += [f"{song.song_id} left out: {song.fault}" for song in manifest.songs if song.fault]
    if config.data.protocol == "slice-random":
        source = slices_apart(source, slices)
    return Prepared(config, manifest, labels, source.songs, source, slices, cache_dir, tuple(warnings))


def slices_apart(source: FrameSource, slices: SliceSpec) -> FrameSource:
    """Every slice as a song of its own, ``<song>/<slice>``: what the leaky protocol splits and scores."""
    pieces: dict[str, tuple[str, int]] = {}
    songs = []
    for song in source.songs:
        for k in range(len(cut_slices(source.frames(song.song_id), slices))):
            pieces[f"{song.song_id}/{k}"] = (song.song_id, k)
            songs.append(replace(song, song_id=f"{song.song_id}/{k}"))

    def frames(piece: str) -> np.ndarray:
        song_id, k = pieces[piece]
        return cut_slices(source.frames(song_id), slices)[k]

    return FrameSource(source.spec, tuple(songs), frames, source.errors)


def check_genres(config: RunConfig, labels: Labels) -> None:
    """Holds groups and genre sets against the genres there are; raises ConfigError naming every mistake."""
    if len(labels) < 2:
        raise ManifestError(f"the songs have one genre only, {labels.genres[0]!r}; a classifier needs at least two")
    problems: list[tuple[str, str]] = []
    if config.tree.groups is not None:
        try:
            tree_from_groups(labels, config.tree.groups)
        except TreeError as error:
            problems += [("tree.groups", problem) for problem in error.problems]
    if config.tree.n_groups is not None and config.tree.n_groups > len(labels):
        problems.append(("tree.n_groups", f"is {config.tree.n_groups}, but there are only {len(labels)} genres"))
    for name, genres in config.genre_sets.items():
        for genre in genres:
            if genre not in labels.genres:
                problems.append((f"genre_sets.{name}", f"holds unknown genre {genre!r}; known are {', '.join(labels)}"))
    if problems:
        raise ConfigError(config.name, problems)


def split_for(prepared: Prepared) -> dict[str, str]:
    """Song id -> ``train``, ``valid`` or ``test``, checked for leaks; ``valid`` is cut from the training part.

    Only the protocol ``slice-random`` is not checked: it leaks, and is there to show by how much.
    """
    data, songs = prepared.config.data, prepared.songs
    if data.protocol == "listed":
        listed = read_id_lists(data.lists) if data.lists else {song.song_id: song.split for song in songs}
        split = {s.song_id: listed[s.song_id] for s in songs if listed.get(s.song_id) in (TRAIN, VALIDATION, TEST)}
        if VALIDATION not in split.values():
            split |= inner_split(
                [s for s in songs if split.get(s.song_id) == TRAIN], "artist", data.validation_share, data.seed
            )
        for side in (TRAIN, TEST):
            if side not in split.values():
                where = f"the list {data.lists.get(side)}" if data.lists else "the manifest's split column"
                raise ManifestError(f"protocol listed: {where} names no song for {side!r}")
        check_disjoint(songs, split, protocol="song")
        return split
    share = data.test_share
    if not share:
        raise ConfigError(prepared.config.name, [("data.test_share", "is 0: no song is left for the result")])
    if data.protocol == "slice-random":
        train = (1 - share) * (1 - data.validation_share)
        shares = {TRAIN: train, VALIDATION: 1 - share - train, TEST: share}
        sides = slice_random_split({song.song_id: 1 for song in songs}, shares, data.seed)
        return {song_id: side for song_id, (side,) in sides.items()}
    split = split_songs(songs, protocol=data.protocol, shares={"rest": 1 - share, TEST: share}, seed=data.seed)
    rest = [song for song in songs if split[song.song_id] == "rest"]
    split |= inner_split(rest, data.protocol, data.validation_share, data.seed)
    check_disjoint(songs, split, protocol=data.protocol)
    return split


def inner_split(songs: Sequence[Song], protocol: Protocol, validation_share: float, seed: int) -> dict[str, str]:
    """The training part cut into ``train`` and ``valid``."""
    shares = {TRAIN: 1 - validation_share, VALIDATION: validation_share}
    return split_songs(songs, protocol=protocol, shares=shares, seed=seed)
