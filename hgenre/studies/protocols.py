"""The same models under several protocols, side by side: what a leaky split would have claimed, and what is true."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import ConfigError
from hgenre.evaluate import SongOutcome, scores
from hgenre.held_out import FLAT
from hgenre.labels import Labels
from hgenre.metrics.intervals import paired_bootstrap
from hgenre.studies.folds import OutOfFold, classifiers_out_of_fold, nets_out_of_fold
from hgenre.training.config import FoldProtocol, RunConfig
from hgenre.training.prepare import Prepared, fold_ids, prepare
from hgenre.training.progress import Progress

PROTOCOLS: tuple[FoldProtocol, ...] = get_args(FoldProtocol)


@dataclass(frozen=True)
class Learners:
    """What a study trains.

    Attributes:
        net: the configuration's flat net.
        tree: a tree beside each flat model, of nets or classifiers; the configuration has groups then.
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
        nets: the nets' folds, None where there are no nets.
    """

    prepared: Prepared
    answers: Mapping[str, Sequence[SongOutcome]]
    sizes: Sequence[Mapping[str, int]]
    seconds: Mapping[str, float]
    nets: OutOfFold | None
    warnings: tuple[str, ...]


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
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
    on_progress: Callable[[float, str, Progress | None], None] = lambda share_done, what, progress: None,
) -> Found:
    """Learners under one protocol, whatever the configuration's own is, each with the same songs set aside.

    Args:
        folds_run: how many of the folds take their turn as songs set aside; all where None.
        on_progress: share of the work that is done, what is being done, a net's own progress.

    Raises:
        ConfigError: under ``artist`` no song has an artist.
    """
    config = replace(config, data=replace(config.data, protocol=protocol))
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    if protocol == "slice-random":
        prepared = _with_equal_epochs(prepared)
    if protocol == "artist" and not any(song.artist for song in prepared.songs):
        raise ConfigError(config.name, [("data.protocol", "is 'artist', but no song's artist is known")])
    return learn(prepared, fold_ids(prepared, n_folds)[:folds_run], learners, command=command, on_progress=on_progress)


def learn(
    prepared: Prepared,
    held_out: Sequence[Sequence[str]],
    learners: Learners,
    *,
    command: str = "",
    on_progress: Callable[[float, str, Progress | None], None] = lambda share_done, what, progress: None,
) -> Found:
    """Learners on songs made ready, with these ids set aside in turn; see ``under_protocol``."""
    seed = prepared.config.seeds[0]
    answers: dict[str, Sequence[SongOutcome]] = {}
    seconds: dict[str, float] = {}
    warnings: tuple[str, ...] = ()
    sizes: Sequence[Mapping[str, int]] = []
    nets, n_done = None, 0
    for kind in learners.classical:
        on_progress(n_done / learners.n, kind, None)
        found = classifiers_out_of_fold(prepared, held_out, kind, with_tree=learners.tree, seed=seed)
        answers |= {kind if name == FLAT else f"{kind} {name}": own for name, own in found.answers.items()}
        sizes, seconds[kind], n_done = found.sizes, found.seconds, n_done + 1
        warnings += found.warnings
    if learners.net:

        def report(k: int, progress: Progress) -> None:
            share = (n_done + (k + progress.share_done) / len(held_out)) / learners.n
            on_progress(share, f"fold {k + 1}/{len(held_out)} ", progress)

        nets = nets_out_of_fold(
            prepared, held_out, with_tree=learners.tree, seed=seed, command=command, on_progress=report
        )
        answers = {**nets.answers, **answers}
        sizes, seconds["nets"] = nets.sizes, nets.seconds
    return Found(prepared, answers, sizes, seconds, nets, warnings)


def _with_equal_epochs(prepared: Prepared) -> Prepared:
    """Slices as songs, drawn so often that an epoch has about as many slices as one over whole songs."""
    n_songs = len({song.song_id.rpartition("/")[0] for song in prepared.songs})
    optimiser = prepared.config.optimiser
    each = max(1, round(optimiser.slices_per_song * n_songs / len(prepared.songs)))
    return replace(prepared, config=replace(prepared.config, optimiser=replace(optimiser, slices_per_song=each)))


def figures(answers: Sequence[SongOutcome], labels: Labels) -> dict[str, Any]:
    """Scores over songs and slices as ``results.json`` holds them, a slice's interval drawn over artists' songs.

    Slices of one song are no independent evidence, so Wilson's interval, which the song score has, would be too narrow.
    """
    found = {kind: own.to_json() for kind, own in scores(answers, labels).items()}
    right = np.concatenate([o.slice_genre_idx == o.true_idx for o in answers])
    clusters = np.repeat([o.cluster for o in answers], [len(o.slice_genre_idx) for o in answers])
    found["slice"]["interval"] = paired_bootstrap(right, np.zeros_like(right), seed=0, clusters=clusters)
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
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
    on_progress: Callable[[float, str, Progress | None], None] = lambda share_done, what, progress: None,
) -> dict[str, Any]:
    """The leak meter: one recipe under every protocol, as plain JSON values.

    ``protocols`` holds, for each that can be run, the models' figures, ``n_songs`` and ``seconds``; ``not_run`` says
    why another could not. Under ``slice-random`` a song of the figures is a slice.
    """
    results: dict[str, Any] = {"name": config.name, "command": command, "n_folds": n_folds, "protocols": {}}
    results |= {"folds_run": folds_run or n_folds, "not_run": {}, "warnings": []}
    for i, protocol in enumerate(protocols):

        def report(share: float, what: str, progress: Progress | None, i: int = i, protocol: str = protocol) -> None:
            on_progress((i + share) / len(protocols), f"{protocol} {what}", progress)

        try:
            found = under_protocol(
                config,
                protocol,
                learners,
                manifest=manifest,
                n_folds=n_folds,
                folds_run=folds_run,
                command=command,
                cache_dir=cache_dir,
                on_frames=on_frames,
                on_progress=report,
            )
        except ConfigError as error:
            if [where for where, _ in error.problems] != ["data.protocol"]:
                raise
            results["not_run"][protocol] = error.problems[0][1]
            continue
        results["protocols"][protocol] = described(found)
        results["labels"] = list(found.prepared.labels)
        results["warnings"] = list(dict.fromkeys([*results["warnings"], *found.prepared.warnings, *found.warnings]))
    return results


def described(found: Found) -> dict[str, Any]:
    """What was found as plain JSON values."""
    return {
        "models": {name: figures(own, found.prepared.labels) for name, own in found.answers.items()},
        "n_songs": {side: [size[side] for size in found.sizes] for side in ("train", "validation", "test")},
        "seconds": dict(found.seconds),
    }
