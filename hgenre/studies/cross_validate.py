"""Out-of-fold scores: every song is answered by models that have seen neither it nor its artist or duplicates."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hgenre.calibrate import OUT_OF_FOLD, answer_folds, calibrated_fit
from hgenre.data.leaks import check_disjoint
from hgenre.data.manifest import Manifest, Song
from hgenre.data.splits import Protocol, clusters, folds
from hgenre.errors import ConfigError
from hgenre.evaluate import SongOutcome, left_out
from hgenre.held_out import FILE, HeldOut, hear, posteriors, song_outcomes, write_held_out
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
from hgenre.training.fit import Fitted, fit
from hgenre.training.loop import Epoch
from hgenre.training.prepare import TEST, TRAIN, VALIDATION, Prepared, inner_split, prepare
from hgenre.training.progress import Progress
from hgenre.tree.spec import tree_to_json
from hgenre.trust import confidence_results, routing_results


def cross_validate(
    config: RunConfig,
    manifest: Manifest | None = None,
    *,
    n_folds: int = 5,
    refit: bool = False,
    out: Path,
    command: str = "hgenre.studies.cross_validate",
    cache_dir: Path | None = None,
    on_progress: Callable[[int, str, Progress], None] = lambda n_done, what, progress: None,
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
) -> dict[str, Any]:
    """Trains and scores a tree and its flat rival in every fold, for every seed; writes and returns the results.

    Folds follow the configuration's protocol (``listed`` counts as ``artist``). Inside a fold the validation part is
    cut from the training songs by the same protocol. ``on_progress`` is told how many fits are done. The folds' node
    outputs for the first seed are kept in ``outputs.npz``.

    Args:
        refit: at the end fit once more on all songs, and save ``bundle/`` and ``flat/`` with the out-of-fold scores:
            the folds say how good such a model is, and this one has seen every song.
    """
    started = time.perf_counter()
    if config.data.protocol == "slice-random":
        problem = "is 'slice-random', and folds keep songs whole; use train-tree, or protocol song or artist"
        raise ConfigError(config.name, [("data.protocol", problem)])
    make_run_folder(out)
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    protocol: Protocol = "song" if config.data.protocol == "song" else "artist"
    held_out = folds(prepared.songs, protocol=protocol, n_folds=n_folds, seed=config.data.seed)
    cluster_of = clusters(prepared.songs, by="artist")
    runs, found, groupings = [], [], []
    heard: list[HeldOut] = []
    histories: list[Mapping[str, Sequence[Epoch]]] = []
    sizes: list[dict[str, int]] = []
    for seed in config.seeds:
        answers: dict[str, list[SongOutcome]] = {}
        for k, test_ids in enumerate(held_out):
            n_done = len(histories)

            def report(progress: Progress, n_done: int = n_done, k: int = k, seed: int = seed) -> None:
                on_progress(n_done, f"fold {k + 1}/{n_folds} seed {seed} ", progress)

            fitted = fit_songs(prepared, protocol, test_ids, seed, command, report)
            histories.append(fitted.history)
            seen = [song.split for song in fitted.flat.songs_seen]
            sizes.append({"train": seen.count("train"), "validation": seen.count("validation"), "test": len(test_ids)})
            songs = [song for song in prepared.songs if song.song_id in test_ids]
            held = hear(fitted, songs, prepared.source.frames, cluster_of)
            if seed == config.seeds[0]:
                heard.append(held)
            for name, logp in posteriors(held).items():
                answers.setdefault(name, []).extend(song_outcomes(held, logp))
            assert fitted.tree is not None
            groupings.append({"seed": seed, "fold": k, "tree": tree_to_json(fitted.tree.tree)})
        found.append(answers)
        runs.append({"seed": seed, "models": model_scores(answers, prepared.labels)})
    # What took long to make is safe before anything is reckoned from it.
    write_text(out / "config.json", json.dumps(config_to_dict(config), indent=1) + "\n")
    write_history(out / "history.csv", [f"{s}/{k}" for s in config.seeds for k in range(n_folds)], histories)
    write_held_out(out / FILE, heard)
    results = {
        **describe_run(prepared, command, protocol),
        "n_folds": n_folds,
        "n_songs": {side: [size[side] for size in sizes] for side in ("train", "validation", "test")},
        "seconds": time.perf_counter() - started,
        **summarise(runs, found, 0, prepared),
        **rivals(found[0], prepared.labels, heard),
        **routing_results(heard),
        **confidence_results(heard, answer_folds(heard)),
        "grouping": {"source": "config" if config.tree.groups is not None else "derived", "folds": groupings},
    }
    results["warnings"] += left_out(prepared.songs, found[0]["flat"])
    if config.tree.groups is not None:
        results["tree"] = groupings[0]["tree"]
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    if refit:
        n_done = len(histories)
        final = fit_songs(prepared, protocol, (), config.seeds[0], command, lambda p: on_progress(n_done, "refit ", p))
        final = calibrated_fit(final, heard, OUT_OF_FOLD)
        save_fit(out, final, {key: results[key] for key in ("protocol", "n_folds", "n_songs", "seeds", "models")})
    return results


def fit_songs(
    prepared: Prepared,
    protocol: Protocol,
    held_out: tuple[str, ...],
    seed: int,
    command: str,
    on_progress: Callable[[Progress], None],
) -> Fitted:
    """Fits a tree and its flat rival on all songs but those held out."""
    config = prepared.config
    test = set(held_out)
    rest = [song for song in prepared.songs if song.song_id not in test]
    split = {**inner_split(rest, protocol, config.data.validation_share, config.data.seed), **dict.fromkeys(test, TEST)}
    check_disjoint(prepared.songs, split, protocol=protocol)
    return fit(
        config,
        prepared.labels,
        prepared.learning([i for i, side in split.items() if side == TRAIN]),
        prepared.learning([i for i, side in split.items() if side == VALIDATION]),
        {song.song_id: song for song in prepared.songs},
        seed=seed,
        about=about_bundle(config, command),
        on_progress=on_progress,
    )
