"""Songs made ready: manifest read, configuration held against it, frames at hand, split without leaks."""

import hashlib
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hgenre.bundle import SeenSong
from hgenre.compiled.exported import keep_executables
from hgenre.data.feature_table import open_table, statistics_table
from hgenre.data.frame_source import FrameSource
from hgenre.data.frames import contents, open_frames
from hgenre.data.import_features import import_arrays
from hgenre.data.leaks import check_disjoint, overlap
from hgenre.data.manifest import Manifest, Song, read_manifest
from hgenre.data.splits import Protocol, folds, read_id_lists, slice_random_split, split_songs
from hgenre.errors import ConfigError, FeatureError, LeakError, ManifestError, TreeError
from hgenre.features import LogMelSpec, SliceSpec, cut_slices
from hgenre.features.spec import Cepstra, TableSpec
from hgenre.labels import Labels
from hgenre.training.border import row_problems
from hgenre.training.config import ArraysConfig, FoldProtocol, RunConfig
from hgenre.training.grouping_file import read_grouping
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import tree_from_groups

TRAIN, VALIDATION, TEST = "train", "valid", "test"

_MAX_SONGS_NAMED = 10


@dataclass(frozen=True)
class Prepared:
    """Songs with their frames, ready to be split and learned from.

    Attributes:
        derived_from: the songs that the configuration's grouping was derived from; none of them may be tested.
    """

    config: RunConfig
    manifest: Manifest
    labels: Labels
    songs: tuple[Song, ...]
    source: FrameSource
    slices: SliceSpec
    cache_dir: Path
    warnings: tuple[str, ...]
    derived_from: tuple[SeenSong, ...] = ()

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
        ConfigError: groups or genre sets that do not fit the genres, or settings that rows of features cannot have,
            with every mistake's dotted path.
        ManifestError: nothing usable, fewer than two genres, or no song whose frames can be had.
    """
    from hgenre.data.cache import default_cache_dir

    cache_dir = cache_dir or default_cache_dir()
    table = None
    if manifest is None:
        manifest, table = _listed(config, cache_dir)
    everything, manifest = manifest, _chosen(config, manifest)
    check_genres(config, manifest.labels)
    f = config.features
    spec = LogMelSpec(f.sample_rate_hz, f.n_fft, f.hop_length, f.n_mels, f.fmin_hz, f.fmax_hz, f.mel_scale)
    n_songs = len(manifest.usable)
    # Nodes with as many children, folds and seeds have the same programs, and compiling a small net takes longer than
    # training it for an epoch.
    keep_executables(cache_dir)
    if table is not None:
        others = {song.song_id for song in everything.songs} - {song.song_id for song in manifest.songs}
        source = replace(
            table,
            songs=tuple(song for song in table.songs if song.song_id not in others),
            errors={song_id: why for song_id, why in table.errors.items() if song_id not in others},
        )
        slices = SliceSpec.from_seconds(f.slice_s, f.step_s, source.spec)
    else:
        source, slices = _frames(config, manifest, spec, cache_dir, lambda song: on_frames(song, n_songs))
    if not source.songs:
        reasons = "".join(f"\n  {song_id}: {why}" for song_id, why in [*source.errors.items()][:10])
        raise ManifestError(f"none of the {n_songs} songs can be used; the first reasons are:{reasons}")
    labels = Labels.from_names(song.genre for song in source.songs)
    if labels != manifest.labels:
        check_genres(config, labels)
    if isinstance(source.spec, TableSpec) and (problems := row_problems(config)):
        raise ConfigError(config.name, problems)
    warnings = [f"{song_id} left out: {why}" for song_id, why in source.errors.items()]
    warnings += [f"{song.song_id} left out: {song.fault}" for song in manifest.songs if song.fault]
    if config.data.protocol == "slice-random":
        source = slices_apart(source, slices)
    derived_from = read_grouping(config.tree.grouping).songs if config.tree.grouping else ()
    return Prepared(config, manifest, labels, source.songs, source, slices, cache_dir, tuple(warnings), derived_from)


def _listed(config: RunConfig, cache_dir: Path) -> tuple[Manifest, FrameSource | None]:
    """The songs that the configuration names, and their frames too where those stand in a table."""
    data = config.data
    if data.table:
        return open_table(Path(data.table), join=Path(data.join) if data.join else None)
    if data.arrays is not None:
        return _taken_over(data.arrays, cache_dir), None
    if not data.manifest:
        raise ConfigError(config.name, [("data.manifest", "is missing; name a manifest, or give --data DIR")])
    return read_manifest(data.manifest), None


def _taken_over(arrays: ArraysConfig, cache_dir: Path) -> Manifest:
    """The archive's songs, imported into the cache where that has not been done from these very files."""
    told = repr(arrays)
    for path in filter(None, (arrays.archive, arrays.join)):
        try:
            facts = Path(path).stat()
        except OSError as error:
            raise FeatureError(f"{path} cannot be read ({error.strerror}); see data.arrays") from None
        told += f" {facts.st_size} {facts.st_mtime_ns}"
    folder = cache_dir / "arrays" / hashlib.sha256(told.encode()).hexdigest()[:16]
    if (folder / "manifest.csv").is_file():
        return read_manifest(folder / "manifest.csv")
    return import_arrays(
        arrays.archive,
        folder,
        frame_rate_hz=arrays.frame_rate_hz,
        scale=arrays.scale,
        db_per_unit=arrays.db_per_unit,
        ids_key=arrays.ids_key,
        join=arrays.join or None,
    )


def _chosen(config: RunConfig, manifest: Manifest) -> Manifest:
    """The songs of the splits and genres that the configuration asks for."""
    songs = manifest.songs
    for key, wanted, value_of in (
        ("use_splits", config.data.use_splits, lambda song: song.split),
        ("genres", config.data.genres, lambda song: song.genre),
    ):
        if not wanted:
            continue
        found = {value_of(song) for song in songs}
        absent = set(wanted) - found if key == "genres" else set()
        songs = tuple(song for song in songs if value_of(song) in wanted)
        if absent or not songs:
            column = "split" if key == "use_splits" else "genre"
            held = ", ".join(sorted(value or "(empty)" for value in found))
            problem = f"wants {', '.join(wanted)}, but the manifest's {column} column holds only {held}"
            raise ConfigError(config.name, [(f"data.{key}", problem)])
    return replace(manifest, songs=songs)


def _frames(
    config: RunConfig, manifest: Manifest, spec: LogMelSpec, cache_dir: Path, on_done: Callable[[Song], None]
) -> tuple[FrameSource, SliceSpec]:
    """The songs' frames, and how they are cut."""
    f = config.features
    cepstra = Cepstra(f.cepstra.n_mfcc, f.cepstra.lifter) if f.cepstra else None
    # What is no audio brings its own spec, so its slices are known only once it is open.
    slices = SliceSpec.from_seconds(f.slice_s, f.step_s, spec) if contents(manifest) == "audio files" else None
    source = open_frames(manifest, spec, slices, cache_dir, cepstra=cepstra, on_done=on_done)
    if config.data.statistics:
        source = statistics_table(source)
        slices = None
    return source, slices or SliceSpec.from_seconds(f.slice_s, f.step_s, source.spec)


def slices_apart(source: FrameSource, slices: SliceSpec) -> FrameSource:
    """Every slice as a song of its own, ``<song>/<slice>``: what the leaky protocol splits and scores."""
    pieces: dict[str, tuple[str, int]] = {}
    songs = []
    for song in source.songs:
        for k in range(len(cut_slices(source.frames(song.song_id), slices))):
            pieces[f"{song.song_id}/{k}"] = (song.song_id, k)
            # So that the slices of a song whose file and artist are unknown still count as one another's kin.
            song_and_copies = song.duplicate_of or song.song_id
            songs.append(replace(song, song_id=f"{song.song_id}/{k}", duplicate_of=song_and_copies))

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
            tree = tree_from_groups(labels, config.tree.groups)
        except TreeError as error:
            problems += [("tree.groups", problem) for problem in error.problems]
        else:
            known = [node.name for node in tree.net_nodes]
            problems += [
                (f"node_nets.{name}", f"is no node of the tree; its nodes with a net are {', '.join(known)}")
                for name in config.node_nets
                if name not in known
            ]
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
        check_grouping(prepared, [song_id for song_id, side in split.items() if side == TEST])
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
    check_grouping(prepared, [song_id for song_id, side in split.items() if side == TEST])
    return split


def check_grouping(prepared: Prepared, test_ids: Collection[str]) -> None:
    """Refuses groups that were derived from songs which are to be tested, under the protocols that do not leak.

    Raises:
        LeakError: with the first ten songs by name, and in ``songs`` every one.
    """
    test = set(test_ids)
    tested = [song for song in prepared.songs if song.song_id in test]
    both = overlap([(song.song_id, song.sha256) for song in prepared.derived_from], tested)
    if both:
        dots = ", ..." if len(both) > _MAX_SONGS_NAMED else ""
        raise LeakError(
            f"the groups of {prepared.config.tree.grouping} were derived from {len(both)} of the {len(tested)} songs "
            f"that are to be tested: {', '.join(both[:_MAX_SONGS_NAMED])}{dots}; a score on them would flatter the "
            "groups. Derive them from training songs alone (hgenre group derive takes those of the configuration's "
            "split), or compare groupings fold by fold (hgenre group sweep, without tree.grouping)",
            both,
        )


def fold_ids(prepared: Prepared, n_folds: int) -> tuple[tuple[str, ...], ...]:
    """The song ids that each fold sets aside, under the configuration's protocol; ``listed`` counts as ``artist``.

    Under ``slice-random`` they are those of slices, dealt without regard to songs.
    """
    seed = prepared.config.data.seed
    protocol = fold_protocol(prepared.config)
    if protocol != "slice-random":
        return folds(prepared.songs, protocol=protocol, n_folds=n_folds, seed=seed)
    shares = {str(k): 1 / n_folds for k in range(n_folds)}
    side_of = slice_random_split({song.song_id: 1 for song in prepared.songs}, shares, seed)
    return tuple(tuple(sorted(i for i, side in side_of.items() if side == (str(k),))) for k in range(n_folds))


def fold_protocol(config: RunConfig) -> FoldProtocol:
    """The protocol that folds are made by."""
    return "artist" if config.data.protocol == "listed" else config.data.protocol


def split_around(prepared: Prepared, test_ids: Sequence[str]) -> dict[str, str]:
    """Song id -> ``train``, ``valid`` or ``test``: these songs for the test, a part of the others for validation.

    Checked for leaks, except under ``slice-random``.
    """
    data, protocol = prepared.config.data, fold_protocol(prepared.config)
    test = set(test_ids)
    rest = [song for song in prepared.songs if song.song_id not in test]
    if protocol == "slice-random":
        shares = {TRAIN: 1 - data.validation_share, VALIDATION: data.validation_share}
        sides = slice_random_split({song.song_id: 1 for song in rest}, shares, data.seed)
        return {**{i: side for i, (side,) in sides.items()}, **dict.fromkeys(test, TEST)}
    split = {**inner_split(rest, protocol, data.validation_share, data.seed), **dict.fromkeys(test, TEST)}
    check_disjoint(prepared.songs, split, protocol=protocol)
    check_grouping(prepared, test_ids)
    return split


def inner_split(songs: Sequence[Song], protocol: Protocol, validation_share: float, seed: int) -> dict[str, str]:
    """The training part cut into ``train`` and ``valid``."""
    shares = {TRAIN: 1 - validation_share, VALIDATION: validation_share}
    return split_songs(songs, protocol=protocol, shares=shares, seed=seed)
