"""From a configuration and a manifest to a trained tree, its flat rival and their results on songs set aside."""

import csv
import io
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle import Bundle, save_bundle
from hgenre.compiled.exported import keep_executables
from hgenre.data.frames import FrameSource, holds_arrays, open_frames
from hgenre.data.leaks import check_disjoint
from hgenre.data.manifest import Manifest, Song, read_manifest
from hgenre.data.splits import Protocol, split_songs
from hgenre.errors import ConfigError, HgenreError, ManifestError
from hgenre.evaluate import SongOutcome, compare, middle_scores, outcomes, scores, scores_json
from hgenre.features import ArraySpec, LogMelSpec, SliceSpec
from hgenre.labels import Labels
from hgenre.metrics.intervals import mean_std
from hgenre.training.config import RunConfig, config_to_dict
from hgenre.training.fit import Fitted, Progress, fit
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import tree_from_groups, tree_to_json

TRAIN, VALIDATION, TEST = "train", "valid", "test"


@dataclass(frozen=True)
class Prepared:
    """Songs with their frames, ready to be split and learned from."""

    config: RunConfig
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


@dataclass(frozen=True)
class RunResult:
    """What a run leaves in its folder: ``results.json`` as a mapping, and the bundles."""

    directory: Path
    results: Mapping[str, Any]
    bundle: Bundle
    flat: Bundle


def train_tree(
    config: RunConfig,
    manifest: Manifest | None = None,
    *,
    out: str | Path | None = None,
    with_tree: bool = True,
    command: str = "hgenre.train_tree",
    cache_dir: Path | None = None,
    on_progress: Callable[[int, Progress], None] = lambda seed, progress: None,
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
) -> RunResult:
    """Trains a tree and its flat rival for every seed, scores them on the songs set aside, and writes ``out``.

    ``out`` (``runs/<name>`` when None) holds ``config.json``, ``bundle/``, ``flat/``, ``history.csv`` and
    ``results.json``; the bundles are those of the seed with the best validation result.

    Raises:
        ConfigError, TreeError, ManifestError, LeakError: before anything is trained.

    >>> from pathlib import Path
    >>> import hgenre
    >>> from hgenre.demo.corpus import invented_songs, write_corpus
    >>> from hgenre.demo.invented_genres import GROUPS
    >>> from hgenre.training.config import config_from_dict
    >>> manifest = hgenre.read_manifest(write_corpus(invented_songs(6, seed=0), Path("corpus")))
    >>> small = {"data": {"protocol": "song"}, "net": {"widths": [8]}, "optimiser": {"epochs": 1}}
    >>> config = config_from_dict({"name": "small", "tree": {"groups": dict(GROUPS)}, **small})
    >>> result = hgenre.train_tree(config, manifest)
    >>> sorted(path.name for path in result.directory.iterdir())
    ['bundle', 'config.json', 'flat', 'history.csv', 'results.json']
    >>> hgenre.load("runs/small/bundle").genres[:3]
    ('clatterbop', 'dewharp', 'fogsong')
    """
    started = time.perf_counter()
    directory = Path(out) if out is not None else Path("runs") / config.name
    make_run_folder(directory)
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    split = split_for(prepared)
    by_side = {side: [i for i, s in split.items() if s == side] for side in (TRAIN, VALIDATION, TEST)}
    facts = {song.song_id: song for song in prepared.songs}
    test_songs = [facts[song_id] for song_id in by_side[TEST]]
    about = about_bundle(config, command)

    runs, fits, found = [], [], []
    for seed in config.seeds:
        fitted = fit(
            config,
            prepared.labels,
            prepared.learning(by_side[TRAIN]),
            prepared.learning(by_side[VALIDATION]),
            facts,
            seed=seed,
            with_tree=with_tree,
            about=about,
            on_progress=partial(on_progress, seed),
        )
        answers = {
            kind: outcomes(bundle, test_songs, prepared.source.frames, prepared.cache_dir)
            for kind, bundle in (("tree", fitted.tree), ("flat", fitted.flat))
            if bundle is not None
        }
        fits.append(fitted)
        found.append(answers)
        runs.append({"seed": seed, "models": model_scores(answers, prepared.labels)})

    best = int(np.argmin([_validation_loss(fitted) for fitted in fits]))
    results = {
        **describe_run(prepared, command, config.data.protocol),
        "n_songs": {"train": len(by_side[TRAIN]), "validation": len(by_side[VALIDATION]), "test": len(test_songs)},
        "seconds": time.perf_counter() - started,
        "shipped_seed": config.seeds[best],
        **summarise(runs, found, best, prepared),
    }
    if (tree := fits[best].tree) is not None:
        results["tree"] = tree_to_json(tree.tree)
        results["grouping"] = dict(fits[best].grouping)
    return _write_run(directory, prepared.config, results, fits, config.seeds, best)


def prepare(
    config: RunConfig,
    manifest: Manifest | None = None,
    *,
    cache_dir: Path | None = None,
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
) -> Prepared:
    """Reads the manifest, computes or opens the frames, and checks the groups against the genres.

    Raises:
        ConfigError: the tree's groups do not fit the genres, or the slices do not fit the features.
        ManifestError: nothing usable, or fewer than two genres.
    """
    from hgenre.data.cache import default_cache_dir

    if manifest is None:
        if not config.data.manifest:
            raise ConfigError(config.name, [("data.manifest", "is missing; name a manifest, or give --data DIR")])
        manifest = read_manifest(config.data.manifest)
    if config.data.use_splits:
        kept = tuple(song for song in manifest.songs if song.split in config.data.use_splits)
        manifest = replace(manifest, songs=kept)
    labels = manifest.labels
    if len(labels) < 2:
        raise ManifestError(f"the songs have one genre only, {labels.genres[0]!r}; a classifier needs at least two")
    if config.tree.groups is not None:
        tree_from_groups(labels, config.tree.groups)
    unknown = [
        (f"genre_sets.{name}", f"holds unknown genre {genre!r}; known are {', '.join(labels)}")
        for name, genres in config.genre_sets.items()
        for genre in genres
        if genre not in labels.genres
    ]
    if unknown:
        raise ConfigError(config.name, unknown)
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
    warnings = [f"{song_id} left out: {why}" for song_id, why in source.errors.items()]
    faulty = [song for song in manifest.songs if song.fault]
    warnings += [f"{song.song_id} left out: {song.fault}" for song in faulty]
    return Prepared(config, labels, source.songs, source, slices, cache_dir, tuple(warnings))


def split_for(prepared: Prepared) -> dict[str, str]:
    """Song id -> ``train``, ``valid`` or ``test``, checked for leaks; ``valid`` is cut from the training part."""
    data, songs = prepared.config.data, prepared.songs
    if data.protocol == "listed":
        split = {song.song_id: song.split for song in songs if song.split in (TRAIN, VALIDATION, TEST)}
        if VALIDATION not in split.values():
            split |= inner_split(
                [s for s in songs if split.get(s.song_id) == TRAIN], "artist", data.validation_share, data.seed
            )
        for side in (TRAIN, TEST):
            if side not in split.values():
                raise ManifestError(f"protocol listed: the manifest's split column names no song for {side!r}")
        check_disjoint(songs, split, protocol="song")
        return split
    share = data.test_share
    if not share:
        raise ConfigError(prepared.config.name, [("data.test_share", "is 0: no song is left for the result")])
    split = split_songs(songs, protocol=data.protocol, shares={"rest": 1 - share, TEST: share}, seed=data.seed)
    rest = [song for song in songs if split[song.song_id] == "rest"]
    split |= inner_split(rest, data.protocol, data.validation_share, data.seed)
    check_disjoint(songs, split, protocol=data.protocol)
    return split


def inner_split(songs: Sequence[Song], protocol: Protocol, validation_share: float, seed: int) -> dict[str, str]:
    """The training part cut into ``train`` and ``valid``."""
    shares = {TRAIN: 1 - validation_share, VALIDATION: validation_share}
    return split_songs(songs, protocol=protocol, shares=shares, seed=seed)


def model_scores(answers: Mapping[str, Sequence[SongOutcome]], labels: Labels) -> dict[str, Any]:
    """Scores of each model as ``results.json`` holds them."""
    return {kind: scores_json(scores(found, labels)) for kind, found in answers.items()}


def summarise(
    runs: Sequence[Mapping[str, Any]],
    found: Sequence[Mapping[str, Sequence[SongOutcome]]],
    best: int,
    prepared: Prepared,
) -> dict[str, Any]:
    """Models over seeds and tree beside flat; the same on one slice a song, and on the configured sets of genres."""
    models = {}
    for kind in found[best]:
        mean, std = mean_std([run["models"][kind]["song"]["accuracy"] for run in runs])
        spread = {"song_accuracy_mean": mean, "song_accuracy_std": std, "n_seeds": len(runs)}
        models[kind] = {**runs[best]["models"][kind], **spread}
    summary: dict[str, Any] = {
        "runs": list(runs),
        "models": models,
        "views": {"one slice from the middle of every song": _view(found, best, prepared.labels, middle=True)},
    }
    for name, genres in prepared.config.genre_sets.items():
        chosen = {prepared.labels.index(genre) for genre in genres}
        part = [{kind: [o for o in os if o.true_idx in chosen] for kind, os in answers.items()} for answers in found]
        if all(all(answers.values()) for answers in part):
            summary["views"][f"songs of {name}"] = _view(part, best, prepared.labels, middle=False)
            summary["views"][f"songs of {name}, one slice from the middle"] = _view(
                part, best, prepared.labels, middle=True
            )
    if "tree" in found[best]:
        summary["comparison"] = compare(found[best]["tree"], found[best]["flat"])
    return summary


def _view(
    found: Sequence[Mapping[str, Sequence[SongOutcome]]], best: int, labels: Labels, *, middle: bool
) -> dict[str, Any]:
    """Scores of every model on a selection of outcomes, with their spread over seeds."""
    view = {}
    for kind in found[best]:
        by_seed = [
            {"song": middle_scores(answers[kind], labels)} if middle else scores(answers[kind], labels)
            for answers in found
        ]
        mean, std = mean_std([s["song"].accuracy for s in by_seed])
        shown = scores_json(by_seed[best])
        # One slice a song: the song's score is the slice's.
        shown.setdefault("slice", shown["song"])
        view[kind] = {**shown, "song_accuracy_mean": mean, "song_accuracy_std": std, "n_seeds": len(found)}
    return view


def describe_run(prepared: Prepared, command: str, protocol: str) -> dict[str, Any]:
    """Name, command, machine and songs of a run."""
    import jax

    return {
        "name": prepared.config.name,
        "command": command,
        "protocol": protocol,
        "labels": list(prepared.labels),
        "seeds": list(prepared.config.seeds),
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "devices": [str(device) for device in jax.local_devices()],
            "jax": jax.__version__,
        },
        "features": "ready-made arrays" if isinstance(prepared.source.spec, ArraySpec) else "log-mel of audio",
        "warnings": list(prepared.warnings),
    }


def about_bundle(config: RunConfig, command: str) -> dict[str, Any]:
    """Licence, data statement and versions that travel in a bundle."""
    from importlib.metadata import version

    return {
        "command": command,
        "licence": config.licence,
        "data_statement": config.data_statement,
        "versions": {name: version(name) for name in ("hgenre", "jax", "flax", "optax", "numpy")},
    }


def _validation_loss(fitted: Fitted) -> float:
    """Mean over nets of the best validation loss, to choose among seeds without a look at test songs."""
    return float(np.mean([min(e.validation_loss for e in epochs) for epochs in fitted.history.values()]))


def _write_run(
    directory: Path,
    config: RunConfig,
    results: dict[str, Any],
    fits: Sequence[Fitted],
    seeds: Sequence[int],
    best: int,
) -> RunResult:
    saved = save_fit(directory, fits[best], {key: results[key] for key in ("protocol", "n_songs", "seeds", "models")})
    write_text(directory / "config.json", json.dumps(config_to_dict(config), indent=1) + "\n")
    write_history(directory / "history.csv", seeds, fits)
    write_text(directory / "results.json", json.dumps(results, indent=1) + "\n")
    return RunResult(directory, results, saved.get("bundle", saved["flat"]), saved["flat"])


def save_fit(directory: Path, fitted: Fitted, metrics: Mapping[str, Any]) -> dict[str, Bundle]:
    """Saves ``bundle/`` (the tree, if there is one) and ``flat/`` with their results; returns them by those names."""
    saved = {}
    for place, kind, bundle in (("bundle", "tree", fitted.tree), ("flat", "flat", fitted.flat)):
        if bundle is not None:
            own = {**metrics, "models": {kind: metrics["models"][kind]}}
            saved[place] = save_bundle(replace(bundle, metrics=own), directory / place)
        elif (directory / place).exists():
            shutil.rmtree(directory / place)
    return saved


def write_history(path: Path, seeds: Sequence[Any], fits: Sequence[Fitted]) -> None:
    """One row an epoch of every net."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["seed", "net", "epoch", "loss", "validation_loss", "accuracy", "seconds"])
    for seed, fitted in zip(seeds, fits, strict=True):
        for net, epochs in fitted.history.items():
            writer.writerows([seed, net, *(round(v, 6) for v in asdict(epoch).values())] for epoch in epochs)
    write_text(path, text.getvalue())


def make_run_folder(directory: Path) -> None:
    """Makes the folder of a run before the work that leads up to its results; raises HgenreError where it cannot."""
    write_text(directory / ".writable", "")
    (directory / ".writable").unlink()


def write_text(path: Path, text: str) -> None:
    """Writes beside and renames into place; raises HgenreError where the disk refuses."""
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        raise HgenreError(
            f"{path.parent}: nothing can be written there ({error.strerror}); choose another place (--out)"
        ) from None
