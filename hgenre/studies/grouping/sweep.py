"""Every grouping beside its controls: derived inside the training part of each fold, measured on the fold's songs."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hgenre.data.manifest import Manifest, Song
from hgenre.errors import ConfigError
from hgenre.grouping.deeper import Answers, split_recursively
from hgenre.grouping.exhaustive import score
from hgenre.grouping.groups import Groups, tree_of
from hgenre.grouping.hd_cnn import overlapping_groups
from hgenre.grouping.partitions import MAX_GENRES, Partitions, bell, of_groups, set_partitions
from hgenre.grouping.permutation import ScoredPartitions
from hgenre.grouping.stability import co_membership, stability
from hgenre.grouping.structure import structure
from hgenre.grouping.summed_tree import summed_node_logp, summed_posterior
from hgenre.labels import Labels
from hgenre.metrics.intervals import compare_right, mean_std, wilson
from hgenre.results import describe_run, make_run_folder, write_text
from hgenre.studies.grouping.candidates import (
    MANUAL,
    Candidate,
    candidates,
    chief,
    flattened,
    over,
    top_groups,
)
from hgenre.studies.grouping.evidence import Evidence, gather, judge_around, part_of
from hgenre.studies.grouping.judged import Judged
from hgenre.studies.grouping.trained import Planned, plan, train_planned
from hgenre.taxonomy import read_taxonomy
from hgenre.training.config import RunConfig
from hgenre.training.prepare import Prepared, fold_ids, fold_protocol, prepare
from hgenre.training.progress import Progress
from hgenre.tree.ledger import ledger_of
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec, tree_from_groups, tree_to_json

SHARE_OF_EVIDENCE = 0.4
"""Of the time of a sweep that trains trees too."""

FLAT_NET, FLAT_PROBE, FLAT_PAIR = "flat net", "flat probe", "flat net and flat probe"


@dataclass(frozen=True)
class Sizes:
    """How large a sweep is.

    Attributes:
        n_folds: parts that the songs are split into; ``folds_run`` of them take a turn as the songs set aside.
        n_inner: folds of the cross-validation inside each training part.
        n_draws: random groupings that every grouping is held against.
        n_best: how many of the chief ways, see ``candidates.CHIEF``, are trained as trees of CNNs, beside the groupings
            given and ``n_random`` random ones; 0 trains none.
    """

    n_folds: int = 5
    folds_run: int = 5
    n_inner: int = 3
    n_draws: int = 1000
    n_best: int = 0
    n_random: int = 5


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of one seed: the songs set aside, and the evidence from all others."""

    seed: int
    test: Judged
    evidence: Evidence


def sweep(
    config: RunConfig,
    manifest: Manifest | None = None,
    *,
    sizes: Sizes,
    taxonomy: str | Path | None = None,
    out: Path,
    command: str = "hgenre.studies.grouping.sweep",
    cache_dir: Path | None = None,
    on_progress: Callable[[float, str, Progress | None], None] = lambda share, what, progress: None,
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
) -> dict[str, Any]:
    """Derives groupings in every fold, scores them by probes on the fold's songs, writes and returns the results.

    In each fold a flat net learns from the training part and judges the songs set aside; cross-validation inside the
    training part gives the evidence that groupings are derived from. So no grouping has seen a song that it is scored
    on. Nets and answers are kept in ``out`` by their content: what was interrupted goes on at the next unfinished net.

    Args:
        taxonomy: file or shipped name of an outside grouping to compare: the genres under its root's children.

    Raises:
        ConfigError: fewer than 4 genres, or more than can be grouped exhaustively, or the leaky protocol.
    """
    started = time.perf_counter()
    make_run_folder(out)
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    _check(prepared)
    labels = prepared.labels
    given: dict[str, Groups] = {}
    if config.tree.groups is not None:
        given[MANUAL] = top_groups(tree_from_groups(labels, config.tree.groups))
    if taxonomy is not None:
        outside = read_taxonomy(taxonomy, labels)
        given[f"taxonomy {outside.name}"] = over(labels, top_groups(outside.tree))
    share = SHARE_OF_EVIDENCE if sizes.n_best else 0.98
    folds = _folds(prepared, sizes, out, lambda done, what, progress: on_progress(share * done, what, progress))
    on_progress(share, "scoring groupings", None)
    partitions = set_partitions(len(labels))
    found, missing = candidates([fold.evidence for fold in folds], partitions, given)
    results = {
        **describe_run(prepared, command, fold_protocol(config)),
        "n_folds": sizes.n_folds,
        "folds_run": sizes.folds_run,
        "n_inner": sizes.n_inner,
        "n_songs": [len(fold.test.song_ids) for fold in folds if fold.seed == config.seeds[0]],
        "n_partitions": bell(len(labels)),
        **scored(folds, found, partitions, sizes.n_draws),
        "seconds": time.perf_counter() - started,
    }
    held_out = fold_ids(prepared, sizes.n_folds)[: sizes.folds_run]
    results["warnings"] += [*_silent(held_out, folds), *missing]
    # What is known is safe before hours of training begin.
    write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    if sizes.n_best:
        chosen = _planned(found, sizes, labels)
        results["trained"] = train_planned(
            prepared,
            held_out,
            chosen,
            seed=config.seeds[0],
            kept_in=out,
            on_progress=lambda share, what, progress: on_progress(
                SHARE_OF_EVIDENCE + (1 - SHARE_OF_EVIDENCE) * share, what, progress
            ),
        )
        results["seconds"] = time.perf_counter() - started
        write_text(out / "results.json", json.dumps(results, indent=1, allow_nan=False) + "\n")
    return results


def _planned(found: Sequence[Candidate], sizes: Sizes, labels: Labels) -> list[Planned]:
    """The groupings to be trained, of the first seed: the chief derived ones, those given, and random ones."""
    named = [(found[i].name, found[i].groups[: sizes.folds_run], bool(found[i].evidence)) for i in chief(found)]
    derived = [(name, groups) for name, groups, is_derived in named if is_derived][: sizes.n_best]
    given = [(name, groups) for name, groups, is_derived in named if not is_derived]
    return plan(derived, given, sizes.n_random, labels)


def _check(prepared: Prepared) -> None:
    n_genres, name = len(prepared.labels), prepared.config.name
    if not 4 <= n_genres <= MAX_GENRES:
        problem = f"leaves {n_genres} genres, and every way to group 4 to {MAX_GENRES} of them is tried; choose others"
        raise ConfigError(name, [("data.genres", problem)])
    if prepared.config.data.protocol == "slice-random":
        problem = "is 'slice-random', under which no grouping could be told from what leaks; use artist or song"
        raise ConfigError(name, [("data.protocol", problem)])


def _folds(
    prepared: Prepared, sizes: Sizes, out: Path, on_progress: Callable[[float, str, Progress | None], None]
) -> list[Fold]:
    """Nets trained and songs judged, a fold of a seed each."""
    config = prepared.config
    n_nets = len(config.seeds) * sizes.folds_run * (1 + sizes.n_inner)
    n_done = 0

    def report(k: int, what: str, progress: Progress) -> None:
        on_progress((n_done + k + progress.share_done) / n_nets, what, progress)

    def inside(where: str, i: int, progress: Progress) -> None:
        report(1 + i, f"{where}inside {i + 1} ", progress)

    folds = []
    for seed in config.seeds:
        for k, test_ids in enumerate(fold_ids(prepared, sizes.n_folds)[: sizes.folds_run]):
            where = f"seed {seed} fold {k + 1}/{sizes.folds_run} "
            test = judge_around(prepared, test_ids, seed=seed, kept_in=out, on_progress=partial(report, 0, where))
            tested = set(test_ids)
            rest = part_of(prepared, [song.song_id for song in prepared.songs if song.song_id not in tested])
            evidence = gather(
                rest,
                n_folds=sizes.n_inner,
                seed=seed,
                kept_in=out,
                on_progress=partial(inside, where),
            )
            folds.append(Fold(seed, test, evidence))
            n_done += 1 + sizes.n_inner
    return folds


def _silent(held_out: Sequence[Sequence[str]], folds: Sequence[Fold]) -> list[str]:
    """A sentence for every song set aside that nobody could judge."""
    judged = {song_id for fold in folds for song_id in fold.test.song_ids}
    return [f"{song_id} left out: silent" for test_ids in held_out for song_id in test_ids if song_id not in judged]


def scored(folds: Sequence[Fold], found: Sequence[Candidate], partitions: Partitions, n_draws: int) -> dict[str, Any]:
    """Every candidate beside the flat net and beside random groupings of its sizes; see ``sweep``'s results."""
    seeds = list(dict.fromkeys(fold.seed for fold in folds))
    first = [i for i, fold in enumerate(folds) if fold.seed == seeds[0]]
    tables = [fold.test.tables("soft") for fold in folds]
    test = ScoredPartitions(
        partitions,
        np.stack([score(*own, partitions) for own in tables]),
        sum(len(fold.test.song_ids) for fold in folds),
    )
    inner = ScoredPartitions(
        partitions,
        np.stack([score(*fold.evidence.tables("soft"), partitions) for fold in folds]),
        sum(len(fold.evidence.true_idx) for fold in folds),
    )
    rivals = {
        FLAT_NET: [_answer_right(fold, fold.test.p) for fold in folds],
        FLAT_PROBE: [_answer_right(fold, fold.test.probe_p[-1]) for fold in folds],
        FLAT_PAIR: [_answer_right(fold, fold.test.p + fold.test.probe_p[-1]) for fold in folds],
    }
    clusters = [cluster for i in first for cluster in folds[i].test.clusters]

    def measured(right: Sequence[NDArray[np.bool_]]) -> dict[str, Any]:
        """Accuracy over seeds, and beside each rival on the first seed's songs."""
        by_seed = [
            float(np.concatenate([r for r, fold in zip(right, folds, strict=True) if fold.seed == seed]).mean())
            for seed in seeds
        ]
        mean, sd = mean_std(by_seed)
        own, *others = (np.concatenate([rights[i] for i in first]) for rights in (right, *rivals.values()))
        flat, probe, pair = (compare_right(own, other, clusters) for other in others)
        return {
            "accuracy": mean,
            "sd": sd,
            "interval": list(wilson(int(own.sum()), len(own))),
            "beside_flat": flat,
            "beside_probe": probe,
            "beside_pair": pair,
        }

    def described(candidate: Candidate) -> dict[str, Any]:
        trees = [tree_of(groups, fold.evidence.labels) for groups, fold in zip(candidate.groups, folds, strict=True)]
        rows = [of_groups(groups, folds[0].evidence.labels) for groups in candidate.groups]
        n_specialists = [sum(len(group) > 1 for group in groups) for groups in candidate.groups]
        own = {
            "name": candidate.name,
            "method": candidate.method,
            "evidence": candidate.evidence,
            "n_groups": candidate.n_groups,
            "groups": [[list(group) for group in groups] for groups in candidate.groups],
            **measured([_right(fold, tree) for fold, tree in zip(folds, trees, strict=True)]),
            "inner_accuracy": inner.accuracy(rows),
            "n_specialists": float(np.mean(n_specialists)),
            "ledger": _ledger([folds[i] for i in first], [trees[i] for i in first]),
            "random": test.against_random(rows, n_draws, seed=0).to_json(),
        }
        if len(folds) > 1:
            own["stability"] = stability(candidate.groups, folds[0].evidence.labels).mean
        return own

    rows = [described(candidate) for candidate in found]
    ways = chief(found)
    n_groups = (partitions.max(axis=1) + 1).astype(int)
    accuracy = test.n_right.sum(axis=0) / test.n_songs
    labels = folds[0].evidence.labels
    return {
        "baselines": [{"name": name, **measured(right)} for name, right in rivals.items()],
        "candidates": rows,
        "others": [
            *({**described(flattened(found[i], [f.evidence for f in folds])), "of": rows[i]["name"]} for i in ways),
            *_deeper(folds, measured),
            *_overlapping(folds, found, measured),
        ],
        "partitions": [
            {
                "n_groups": k,
                "n": int((n_groups == k).sum()),
                **{
                    name: float(of(accuracy[n_groups == k]))
                    for name, of in (("mean", np.mean), ("sd", np.std), ("best", np.max))
                },
            }
            for k in range(1, len(labels) + 1)
        ],
        "evidence": [
            {"seed": fold.seed, "digest": fold.evidence.digest, "n_songs": len(fold.evidence.songs)} for fold in folds
        ],
        "structure": [
            {"seed": fold.seed, **vars(structure(fold.evidence.confusion("hard"), labels))} for fold in folds
        ],
        "confusion": np.mean([fold.evidence.confusion() for fold in folds], axis=0).tolist(),
        "together": co_membership(
            [groups for i in ways if found[i].evidence for groups in found[i].groups] or found[0].groups, labels
        ).tolist(),
    }


def _right(fold: Fold, tree: TreeSpec) -> NDArray[np.bool_]:
    return _answer_right(fold, summed_posterior(tree, fold.test.p, fold.test.probe_p))


def _answer_right(fold: Fold, scores: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(scores.argmax(axis=1) == fold.test.true_idx)


def _ledger(folds: Sequence[Fold], trees: Sequence[TreeSpec]) -> dict[str, float]:
    """Shares A, L, R and B of hard routing over the songs of all folds; a flat tree has A and R alone."""
    counts, n_songs = np.zeros(4), 0
    for fold, tree in zip(folds, trees, strict=True):
        choices = {
            node: logp.argmax(axis=1) for node, logp in summed_node_logp(tree, fold.test.p, fold.test.probe_p).items()
        }
        cells = ledger_of(tree, choices, fold.test.true_idx).cells
        counts += [cells.right, cells.leaf_error, cells.root_error, cells.both]
        n_songs += cells.n
    return {name: float(share) for name, share in zip("ALRB", counts / n_songs, strict=True)}


def _deeper(
    folds: Sequence[Fold], measured: Callable[[Sequence[NDArray[np.bool_]]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The tree that recursive splitting comes to in every fold."""
    labels = folds[0].evidence.labels
    trees = [
        split_recursively([Answers(part.p, part.probe_p, part.true_idx) for part in fold.evidence.parts], labels)[0]
        for fold in folds
    ]
    right = [_right(fold, tree) for fold, tree in zip(folds, trees, strict=True)]
    return [{"name": "recursive splitting", **measured(right), "trees": [tree_to_json(tree) for tree in trees]}]


def _overlapping(
    folds: Sequence[Fold],
    found: Sequence[Candidate],
    measured: Callable[[Sequence[NDArray[np.bool_]]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """HD-CNN's groups with the paper's overlap; the root is the flat net summed by disjoint groups."""
    labels = folds[0].evidence.labels
    rows = []
    for candidate in found:
        if candidate.method != "hd-cnn":
            continue
        right, groups = [], []
        for fold, disjoint in zip(folds, candidate.groups, strict=True):
            overlap = overlapping_groups(fold.evidence.confusion(), labels, disjoint)
            tree = tree_of(overlap, labels)
            node_logp = summed_node_logp(tree, fold.test.p, fold.test.probe_p)
            own = of_groups(disjoint, labels)
            mass = np.stack([fold.test.p[:, own == k].sum(axis=1) for k in range(len(disjoint))], axis=1)
            root_logp = np.log(np.maximum(mass, np.finfo(np.float64).tiny))
            right.append(_answer_right(fold, np.asarray(log_posterior(tree, {**node_logp, tree.root.name: root_logp}))))
            groups.append([list(group) for group in overlap])
        rows.append({"name": f"{candidate.name}, overlapping", **measured(right), "groups": groups})
    return rows
