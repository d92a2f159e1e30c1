"""Out-of-fold scores: every song is answered by models that have seen neither it nor its artist or duplicates."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hgenre.calibrate import OUT_OF_FOLD, answer_folds, calibrated_fit
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import ConfigError
from hgenre.evaluate import left_out
from hgenre.held_out import FILE, FLAT, write_held_out
from hgenre.results import (
    describe_run,
    make_run_folder,
    model_scores,
    rivals,
    save_fit,
    summarise,
    write_history,
    write_text,
)
from hgenre.studies.folds import OutOfFold, fit_around, nets_out_of_fold
from hgenre.training.config import RunConfig, config_to_dict
from hgenre.training.prepare import Prepared, fold_ids, fold_protocol, prepare
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

    Folds follow the configuration's protocol (``listed`` counts as ``artist``; ``slice-random`` deals and scores single
    slices, and leaks). Inside a fold the validation part is cut from the training songs by the same protocol.
    ``on_progress`` is told how many fits are done. The folds' node outputs for the first seed are kept in
    ``outputs.npz``.

    Args:
        refit: at the end fit once more on all songs, and save ``bundle/`` and ``flat/`` with the out-of-fold scores:
            the folds say how good such a model is, and this one has seen every song.
    """
    started = time.perf_counter()
    if config.data.protocol == "slice-random" and refit:
        problem = "is 'slice-random', and a model for use is fitted on songs; leave --refit out, or use song or artist"
        raise ConfigError(config.name, [("data.protocol", problem)])
    make_run_folder(out)
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    held_out = fold_ids(prepared, n_folds)
    by_seed: list[OutOfFold] = []
    for seed in config.seeds:
        n_done = len(by_seed) * n_folds

        def report(k: int, progress: Progress, n_done: int = n_done, seed: int = seed) -> None:
            on_progress(n_done + k, f"fold {k + 1}/{n_folds} seed {seed} ", progress)

        by_seed.append(nets_out_of_fold(prepared, held_out, seed=seed, command=command, on_progress=report))
    results = write_folds(
        out, prepared, by_seed, n_folds=n_folds, command=command, seconds=time.perf_counter() - started
    )
    if refit:
        n_done, heard = len(config.seeds) * n_folds, by_seed[0].heard
        final = fit_around(prepared, (), config.seeds[0], command, lambda p: on_progress(n_done, "refit ", p))
        final = calibrated_fit(final, heard, OUT_OF_FOLD)
        save_fit(out, final, {key: results[key] for key in ("protocol", "n_folds", "n_songs", "seeds", "models")})
    return results


def write_folds(
    out: Path, prepared: Prepared, by_seed: Sequence[OutOfFold], *, n_folds: int, command: str, seconds: float
) -> dict[str, Any]:
    """Writes what nets say of songs set aside, ``by_seed`` one for each of the configuration; returns the results.

    Args:
        n_folds: into how many parts the songs were split, whether or not all of them took their turn.
    """
    config, protocol = prepared.config, fold_protocol(prepared.config)
    found = [one.answers for one in by_seed]
    heard = by_seed[0].heard
    sizes = [size for one in by_seed for size in one.sizes]
    histories = [history for one in by_seed for history in one.histories]
    names = [f"{seed}/{k}" for seed, one in zip(config.seeds, by_seed, strict=True) for k in range(len(one.histories))]
    runs = [
        {"seed": seed, "models": model_scores(answers, prepared.labels)}
        for seed, answers in zip(config.seeds, found, strict=True)
    ]
    groupings = [
        {"seed": seed, "fold": k, "tree": tree_to_json(tree)}
        for seed, one in zip(config.seeds, by_seed, strict=True)
        for k, tree in enumerate(one.trees)
        if tree is not None
    ]
    # What took long to make is safe before anything is reckoned from it.
    write_text(out / "config.json", json.dumps(config_to_dict(config), indent=1) + "\n")
    write_history(out / "history.csv", names, histories)
    write_held_out(out / FILE, heard)
    results: dict[str, Any] = {
        **describe_run(prepared, command, protocol),
        "n_folds": n_folds,
        "n_songs": {side: [size[side] for size in sizes] for side in ("train", "validation", "test")},
        "seconds": seconds,
        **summarise(runs, found, 0, prepared),
        **rivals(found[0], prepared.labels, heard),
    }
    if groupings:
        source = "file" if config.tree.grouping else "config" if config.tree.groups is not None else "derived"
        results |= {
            **routing_results(heard),
            **(confidence_results(heard, answer_folds(heard)) if len(heard) > 1 else {}),
            "grouping": {"source": source, "folds": groupings},
        }
    asked = {song_id for test_ids in by_seed[0].held_out for song_id in test_ids}
    results["warnings"] += left_out([song for song in prepared.songs if song.song_id in asked], found[0][FLAT])
    if groupings and config.tree.groups is not None:
        results["tree"] = groupings[0]["tree"]
    write_text(out / "results.json", json.dumps(results, indent=1) + "\n")
    return results
