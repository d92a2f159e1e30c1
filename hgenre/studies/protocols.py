"""The same models under several protocols, side by side: what a leaky split would have claimed, and what is true."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import ConfigError, FeatureError, HgenreError, ManifestError
from hgenre.evaluate import SongOutcome, scores
from hgenre.held_out import FLAT
from hgenre.labels import Labels
from hgenre.metrics.intervals import paired_bootstrap, wilson
from hgenre.results import CHIEF
from hgenre.studies.folds import OutOfFold, classifiers_out_of_fold, nets_out_of_fold
from hgenre.training.config import FoldProtocol, RivalsConfig, RunConfig
from hgenre.training.prepare import Prepared, fold_ids, fold_protocol, prepare
from hgenre.training.progress import Progress

PROTOCOLS: tuple[FoldProtocol, ...] = get_args(FoldProtocol)

NETS = "nets"
"""What the flat net and its tree are called where kinds of classifiers are named."""

OnFrames = Callable[[Song, int], None]
OnProgress = Callable[[float, str, Progress | None], None]
"""Is told the share of the work that is done, what is being done, and a net's own progress."""


@dataclass(frozen=True)
class Learners:
    """What a study trains.

    Attributes:
        net: the configuration's flat net.
        tree: a tree beside each flat model, of nets or classifiers; classifiers need groups that are given.
        classical: classifiers that learn from the same slices.
    """

    net: bool = True
    tree: bool = False
    classical: tuple[ClassifierKind, ...] = ()

    @property
    def n(self) -> int:
        return self.net + len(self.classical)


@dataclass(frozen=True, eq=False)
class Found:
    """What learners say under one protocol.

    Attributes:
        answers: model -> its answers: ``flat`` and ``tree`` are nets, ``svm`` and ``svm tree`` classifiers.
        nets: the nets' folds, None where there are none.
        classical: the folds of every kind of classifier that could be fitted.
        not_run: why another could not, or ``NETS``.
    """

    prepared: Prepared
    answers: Mapping[str, Sequence[SongOutcome]]
    sizes: Sequence[Mapping[str, int]]
    seconds: Mapping[str, float]
    nets: OutOfFold | None
    classical: Mapping[ClassifierKind, OutOfFold]
    not_run: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def models(self) -> dict[str, tuple[OutOfFold, str]]:
        """Model -> whose folds it was heard in, and its name there."""
        return {
            model_name(kind, name): (own, name)
            for kind, own in ((None, self.nets), *self.classical.items())
            if own is not None
            for name in _chief(own)
        }


def model_name(kind: str | None, name: str) -> str:
    """What a study calls a model: ``flat`` and ``tree`` of nets, ``svm`` and ``svm tree`` of classifiers."""
    return name if kind is None else kind if name == FLAT else f"{kind} {name}"


def prepare_under(
    config: RunConfig,
    protocol: FoldProtocol,
    *,
    manifest: Manifest | None = None,
    cache_dir: Path | None = None,
    on_frames: OnFrames = lambda song, n_songs: None,
) -> Prepared:
    """A configuration's songs made ready for a protocol that need not be its own.

    Under ``slice-random`` each slice is a song, and nets learn from about as many slices as from whole songs.

    Raises:
        ConfigError: under ``artist`` no song has an artist.
    """
    config = replace(config, data=replace(config.data, protocol=protocol))
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    if protocol == "artist" and not any(song.artist for song in prepared.songs):
        raise ConfigError(config.name, [("data.protocol", "is 'artist', but no song's artist is known")])
    if protocol != "slice-random":
        return prepared
    if config.features.normalise == "song":
        told = "features.normalise is 'song', and a shuffled slice is standardised by itself: nets differ in that too"
        prepared = replace(prepared, warnings=(*prepared.warnings, told))
    return _with_equal_work(prepared)


def under_protocol(
    config: RunConfig,
    protocol: FoldProtocol,
    learners: Learners,
    *,
    manifest: Manifest | None = None,
    n_folds: int = 5,
    folds_run: int | None = None,
    command: str = "",
    cache_dir: Path | None = None,
    on_frames: OnFrames = lambda song, n_songs: None,
    on_progress: OnProgress = lambda share_done, what, progress: None,
) -> Found:
    """Learners under one protocol, whatever the configuration's own is, each with the same songs set aside.

    Args:
        folds_run: how many of the folds take their turn as songs set aside; all where None.

    Raises:
        ConfigError: under ``artist`` no song has an artist.
    """
    prepared = prepare_under(config, protocol, manifest=manifest, cache_dir=cache_dir, on_frames=on_frames)
    return learn(prepared, fold_ids(prepared, n_folds)[:folds_run], learners, command=command, on_progress=on_progress)


def learn(
    prepared: Prepared,
    held_out: Sequence[Sequence[str]],
    learners: Learners,
    *,
    command: str = "",
    on_progress: OnProgress = lambda share_done, what, progress: None,
) -> Found:
    """Learners on songs made ready, with these ids set aside in turn; see ``under_protocol``.

    Raises:
        ConfigError: trees of classifiers alone, and no groups.
        HgenreError: why the first of them could not be fitted, where nothing else could be either.
    """
    seed = prepared.config.seeds[0]
    answers: dict[str, Sequence[SongOutcome]] = {}
    seconds: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    if learners.tree and learners.classical and prepared.config.tree.groups is None:
        problem = "is missing, and a tree of classifiers is one of given groups"
        if not learners.net:
            raise ConfigError(prepared.config.name, [("tree.groups", f"{problem}; give the groups")])
        warnings = (f"tree.groups {problem}: the classifiers are flat",)
    sizes: Sequence[Mapping[str, int]] = []
    classical: dict[ClassifierKind, OutOfFold] = {}
    failed: dict[str, HgenreError] = {}
    nets, n_done, n_folds = None, 0, len(held_out)
    for kind in learners.classical:

        def fold_done(k: int, kind: str = kind, n_done: int = n_done) -> None:
            on_progress((n_done + (k + 1) / n_folds) / learners.n, f"{kind}, fold {k + 1}/{n_folds}", None)

        on_progress(n_done / learners.n, kind, None)
        try:
            found = classifiers_out_of_fold(
                prepared, held_out, kind, with_tree=learners.tree, seed=seed, on_fold=fold_done
            )
        except HgenreError as error:
            failed[kind] = error
        else:
            classical[kind] = found
            answers |= {model_name(kind, name): own for name, own in _chief(found).items()}
            sizes, seconds[kind] = found.sizes, found.seconds
            warnings += found.warnings
        n_done += 1
    if learners.net:

        def report(k: int, progress: Progress) -> None:
            share = (n_done + (k + progress.share_done) / n_folds) / learners.n
            on_progress(share, f"fold {k + 1}/{n_folds} ", progress)

        try:
            nets = nets_out_of_fold(
                prepared, held_out, with_tree=learners.tree, seed=seed, command=command, on_progress=report
            )
        except HgenreError as error:
            failed[NETS] = error
        else:
            answers = {**_chief(nets), **answers}
            sizes, seconds[NETS] = nets.sizes, nets.seconds
    if failed and not answers:
        raise next(iter(failed.values()))
    not_run = {kind: str(error) for kind, error in failed.items()}
    return Found(prepared, answers, sizes, seconds, nets, classical, not_run, warnings)


def _chief(found: OutOfFold) -> dict[str, Sequence[SongOutcome]]:
    """The answers that studies are about; what else could be made of the same nets is for ``cross-validate``."""
    return {name: found.answers[name] for name in reversed(CHIEF) if name in found.answers}


def without_rivals(config: RunConfig) -> RunConfig:
    """The configuration without nets that a study would train and not show."""
    return replace(config, rivals=RivalsConfig(flat_ensembles=False, shared_trunk=False))


def _with_equal_work(prepared: Prepared) -> Prepared:
    """Slices as songs, from which nets draw about as often in all as from whole songs.

    A slice is drawn once an epoch at least, so there are fewer epochs where songs have more slices than are drawn.
    """
    n_songs = len({_song_of(song.song_id) for song in prepared.songs})
    optimiser = prepared.config.optimiser
    wanted = optimiser.slices_per_song * n_songs / len(prepared.songs)
    each, epochs = max(1, round(wanted)), max(1, round(optimiser.epochs * min(1.0, wanted)))
    return replace(
        prepared, config=replace(prepared.config, optimiser=replace(optimiser, slices_per_song=each, epochs=epochs))
    )


def _song_of(slice_id: str) -> str:
    return slice_id.rpartition("/")[0]


def figures(answers: Sequence[SongOutcome], labels: Labels, protocol: FoldProtocol = "song") -> dict[str, Any]:
    """Scores over songs and slices as ``results.json`` holds them, a slice's interval drawn over artists' songs.

    Slices of one song are no independent evidence, so Wilson's interval, which the song score has, would be too narrow.
    Where all of them are right, or none, no draw differs from another: then it is Wilson's of as many artists. Under
    ``slice-random`` a song is a slice, and has a slice's interval unless every song has a single one.
    """
    found = {kind: own.to_json() for kind, own in scores(answers, labels).items()}
    right = np.concatenate([o.slice_genre_idx == o.true_idx for o in answers])
    clusters = np.repeat([o.cluster for o in answers], [len(o.slice_genre_idx) for o in answers])
    if right.all() or not right.any():
        n_clusters = len(np.unique(clusters))
        found["slice"]["interval"] = wilson(n_clusters if right.all() else 0, n_clusters)
    else:
        found["slice"]["interval"] = paired_bootstrap(right, np.zeros_like(right), seed=0, clusters=clusters)
    if protocol == "slice-random" and len({_song_of(o.song_id) for o in answers}) < len(answers):
        found["song"]["interval"] = found["slice"]["interval"]
    return found


def leak(
    config: RunConfig,
    learners: Learners,
    *,
    protocols: Sequence[FoldProtocol] = PROTOCOLS,
    manifest: Manifest | None = None,
    n_folds: int = 5,
    folds_run: int | None = None,
    command: str = "",
    cache_dir: Path | None = None,
    on_frames: OnFrames = lambda song, n_songs: None,
    on_progress: OnProgress = lambda share_done, what, progress: None,
) -> dict[str, Any]:
    """The leak meter: one recipe under every protocol, as plain JSON values.

    ``protocols`` holds, for each that can be run, what ``described`` says; ``not_run`` why another could not. Under
    ``slice-random`` a song of the figures is a slice; ``one_slice_a_song`` says that there is no difference.

    Raises:
        HgenreError: why the last protocol could not be run, where none could.
    """
    results: dict[str, Any] = {"name": config.name, "command": command, "n_folds": n_folds, "protocols": {}}
    results |= {"folds_run": folds_run or n_folds, "one_slice_a_song": False, "not_run": {}, "warnings": []}
    failed: HgenreError | None = None
    for i, protocol in enumerate(protocols):

        def report(share: float, what: str, progress: Progress | None, i: int = i, protocol: str = protocol) -> None:
            on_progress((i + share) / len(protocols), f"{protocol}: {what}", progress)

        try:
            prepared = prepare_under(
                without_rivals(config), protocol, manifest=manifest, cache_dir=cache_dir, on_frames=on_frames
            )
        except ConfigError as error:
            if [where for where, _ in error.problems] != ["data.protocol"]:
                raise
            results["not_run"][protocol], failed = error.problems[0][1], error
            continue
        if protocol == "slice-random":
            results["one_slice_a_song"] = len({_song_of(song.song_id) for song in prepared.songs}) == len(
                prepared.songs
            )
        try:
            held_out = fold_ids(prepared, n_folds)[:folds_run]
            found = learn(prepared, held_out, learners, command=command, on_progress=report)
        except (ManifestError, FeatureError) as error:
            results["not_run"][protocol], failed = str(error), error
            continue
        results["protocols"][protocol] = described(found)
        results["labels"] = list(prepared.labels)
        results["warnings"] = list(dict.fromkeys([*results["warnings"], *prepared.warnings, *found.warnings]))
    if failed is not None and not results["protocols"]:
        raise failed
    return results


def described(found: Found) -> dict[str, Any]:
    """What was found as plain JSON values."""
    labels, protocol = found.prepared.labels, fold_protocol(found.prepared.config)
    return {
        "models": {name: figures(own, labels, protocol) for name, own in found.answers.items()},
        "n_songs": {side: [size[side] for size in found.sizes] for side in ("train", "validation", "test")},
        "seconds": dict(found.seconds),
        "not_run": dict(found.not_run),
    }
