"""From a configuration and a manifest to a trained tree, its flat rival and their results on songs set aside."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle import Bundle
from hgenre.calibrate import FROM_VALIDATION, answer_held_out, calibrated_fit
from hgenre.data.manifest import Manifest, Song, rebase, with_split, write_manifest
from hgenre.data.splits import clusters
from hgenre.evaluate import left_out
from hgenre.held_out import FILE, TREE, HeldOut, hear, posteriors, song_outcomes, write_held_out
from hgenre.metrics.classification import log_loss
from hgenre.results import (
    about_bundle,
    describe_run,
    make_run_folder,
    model_scores,
    rivals,
    save_fit,
    summarise,
    write_history,
    write_text,
)
from hgenre.training.config import RunConfig, config_to_dict
from hgenre.training.fit import FLAT, fit
from hgenre.training.prepare import TEST, TRAIN, VALIDATION, prepare, split_for
from hgenre.training.progress import Progress
from hgenre.tree.spec import tree_to_json
from hgenre.trust import confidence_results, routing_results


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

    ``out`` (``runs/<name>`` when None) holds ``config.json``, ``manifest.csv`` with the split (``slice-random``
    splits no songs and has none), ``bundle/``, ``flat/``, ``history.csv``, ``outputs.npz`` and ``results.json``;
    bundles and outputs are those of the seed with the best validation log-loss.

    Raises:
        ConfigError, ManifestError, LeakError: before anything is trained.

    >>> from pathlib import Path
    >>> import hgenre
    >>> from hgenre.demo.corpus import invented_songs, write_corpus
    >>> from hgenre.demo.invented_genres import GROUPS
    >>> from hgenre.training.border import config_from_dict
    >>> manifest = hgenre.read_manifest(write_corpus(invented_songs(6, seed=0), Path("corpus")))
    >>> small = {"data": {"protocol": "song"}, "net": {"widths": [8]}, "optimiser": {"epochs": 1}}
    >>> config = config_from_dict({"name": "small", "tree": {"groups": dict(GROUPS)}, **small})
    >>> result = hgenre.train_tree(config, manifest)
    >>> sorted(path.name for path in result.directory.iterdir())
    ['bundle', 'config.json', 'flat', 'history.csv', 'manifest.csv', 'outputs.npz', 'results.json']
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
    cluster_of = clusters(prepared.songs, by="artist")

    runs, fits, heard, validation, found, losses = [], [], [], [], [], []
    for seed in config.seeds:
        fitted = fit(
            config,
            prepared.labels,
            prepared.learning(by_side[TRAIN]),
            prepared.learning(by_side[VALIDATION]),
            facts,
            derived_from=prepared.derived_from,
            seed=seed,
            with_tree=with_tree,
            about=about,
            on_progress=partial(on_progress, seed),
        )
        held = hear(fitted, test_songs, prepared.source.frames, cluster_of)
        answers = {name: song_outcomes(held, logp) for name, logp in posteriors(held).items()}
        fits.append(fitted)
        heard.append(held)
        found.append(answers)
        runs.append({"seed": seed, "models": model_scores(answers, prepared.labels)})
        validation_songs = [facts[i] for i in by_side[VALIDATION]]
        validation.append(hear(fitted, validation_songs, prepared.source.frames, cluster_of))
        losses.append(validation_loss(validation[-1]))

    best = int(np.argmin(losses))
    # What took long to make is safe before anything is reckoned from it.
    write_text(directory / "config.json", json.dumps(config_to_dict(config), indent=1) + "\n")
    if config.data.protocol != "slice-random":
        split_manifest = replace(prepared.manifest, songs=with_split(prepared.manifest.songs, split))
        write_manifest(rebase(split_manifest, directory), directory / "manifest.csv")
    write_history(directory / "history.csv", config.seeds, [fitted.history for fitted in fits])
    write_held_out(directory / FILE, [heard[best]])
    results = {
        **describe_run(prepared, command, config.data.protocol),
        "n_songs": {"train": len(by_side[TRAIN]), "validation": len(by_side[VALIDATION]), "test": len(test_songs)},
        "seconds": time.perf_counter() - started,
        "kept_seed": config.seeds[best],
        **summarise(runs, found, best, prepared),
        **rivals(found[best], prepared.labels, [heard[best]]),
    }
    results["warnings"] += left_out(test_songs, found[best]["flat"])
    calibrated = calibrated_fit(fits[best], [validation[best]], FROM_VALIDATION)
    saved = save_fit(directory, calibrated, {key: results[key] for key in ("protocol", "n_songs", "seeds", "models")})
    if calibrated.tree is not None:
        results["tree"] = tree_to_json(calibrated.tree.tree)
        results["grouping"] = dict(calibrated.grouping)
        assert calibrated.tree.calibration is not None
        answered = answer_held_out(heard[best], calibrated.tree.calibration)
        results |= routing_results([heard[best]]) | confidence_results([heard[best]], [answered])
    write_text(directory / "results.json", json.dumps(results, indent=1) + "\n")
    return RunResult(directory, results, saved.get("bundle", saved["flat"]), saved["flat"])


def validation_loss(held: HeldOut) -> float:
    """Log-loss of the song answers for the validation songs: seeds are compared by it, without a look at test songs."""
    found = posteriors(held)
    answers = song_outcomes(held, found.get(TREE, found[FLAT]))
    return log_loss(held.true_idx, np.stack([answer.probabilities for answer in answers]))
