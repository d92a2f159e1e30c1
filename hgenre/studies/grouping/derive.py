"""Groups for a tree, derived from a configuration's training part alone, with what is known of them."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hgenre.data.manifest import Manifest, Song
from hgenre.errors import ConfigError, TreeError
from hgenre.grouping.confusion import similarity
from hgenre.grouping.drawing import draw_dendrogram
from hgenre.grouping.exhaustive import best, excess, score
from hgenre.grouping.flattening import Flattened, auto_flatten
from hgenre.grouping.forecast import Forecast, forecast
from hgenre.grouping.groups import Groups, check_n_groups, tree_of
from hgenre.grouping.linkage import centroid_distance, distance_of, linkage_tree, weight_distance
from hgenre.grouping.methods import Method, derive
from hgenre.grouping.partitions import MAX_GENRES, group_sizes, set_partitions, to_groups
from hgenre.grouping.stability import Stability, bootstrap, co_membership, stability
from hgenre.grouping.structure import Structure, structure
from hgenre.labels import Labels
from hgenre.metrics.classification import score as scores_of
from hgenre.results import make_run_folder, write_text
from hgenre.studies.grouping.evidence import Evidence, Kind, Unit, gather, part_of
from hgenre.training.config import RunConfig
from hgenre.training.grouping_file import FILE, Grouping, grouping_to_json
from hgenre.training.prepare import TEST, prepare, split_for
from hgenre.training.progress import Progress

DerivedBy = Method | Literal["exhaustive-confusions", "exhaustive-probes"]

N_BOOTSTRAPS = 200
"""Enough for a share of songs drawn anew to be known to 0.04."""


@dataclass(frozen=True)
class Derived:
    """Groups and what is known of them.

    Attributes:
        structure: whether the mistakes know groups at all.
        groups: where they do not these are groups of noise, and there is no grouping file.
        dendrogram: as lines of text, of the evidence that the method takes.
        forecast: what specialists can win, by the flat nets' held-out answers.
        bootstraps: stability of the groups under songs drawn anew; None where the method is no clustering of
            confusions, or does not come to so many groups every time.
        together: (genre, genre) share of these groupings that have two genres in one group.
        flattened: what is left where groups that do not pay are taken away; None where that was not asked for.
        grouping: what was written; None where there is no structure, or no group that pays.
    """

    structure: Structure
    groups: Groups
    dendrogram: str
    forecast: Forecast
    bootstraps: Stability | None
    together: tuple[tuple[float, ...], ...] | None
    flattened: Flattened | None
    grouping: Grouping | None
    n_songs: int
    n_right: int


def derive_groups(
    config: RunConfig,
    manifest: Manifest | None = None,
    *,
    method: DerivedBy = "average",
    n_groups: int | None = None,
    kind: Kind = "soft",
    unit: Unit = "song",
    flatten: bool = False,
    without_structure: bool = False,
    n_folds: int = 5,
    out: Path,
    command: str = "hgenre.studies.grouping.derive",
    cache_dir: Path | None = None,
    on_progress: Callable[[int, Progress], None] = lambda k, progress: None,
    on_frames: Callable[[Song, int], None] = lambda song, n_songs: None,
) -> Derived:
    """Cross-validates the flat net inside the configuration's training part, derives groups, writes ``grouping.json``.

    No song that the configuration's split sets aside is looked at, so a tree with these groups may be tested on them.
    Groups that the configuration has already have no say, wherever they come from.

    Args:
        n_groups: how many; None takes ``tree.n_groups``, or else as many as hold most mistakes beyond chance.
        flatten: take away groups that do not pay.
        without_structure: write groups even where the mistakes know none; not where none of them pays.
        out: folder for the file, and for nets and answers, by which an interrupted run goes on.

    Raises:
        ConfigError: fewer than 3 genres, the leaky protocol, or more genres than the method can take.
        GroupCountError: there are not so many genres, or the method does not come to so many groups.
    """
    make_run_folder(out)
    n_groups = n_groups or config.tree.n_groups
    config = replace(config, tree=replace(config.tree, groups=None, grouping=""))
    prepared = prepare(config, manifest, cache_dir=cache_dir, on_frames=on_frames)
    labels, needs_probes = prepared.labels, flatten or method == "exhaustive-probes"
    if config.data.protocol == "slice-random":
        problem = "is 'slice-random', under which confusions leak; use artist or song"
        raise ConfigError(config.name, [("data.protocol", problem)])
    most = MAX_GENRES if needs_probes or method == "exhaustive-confusions" else len(labels)
    if not 3 <= len(labels) <= most:
        problem = f"leaves {len(labels)} genres, needed 3 or more" + (
            f" and at most {most}" if most < len(labels) else ""
        )
        raise ConfigError(config.name, [("data.genres", f"{problem}; choose others, or another method")])
    if n_groups:
        check_n_groups(n_groups, labels)
    split = split_for(prepared)
    training = part_of(prepared, [song_id for song_id, side in split.items() if side != TEST])
    evidence = gather(
        training, n_folds=n_folds, seed=config.seeds[0], kept_in=out, with_probes=needs_probes, on_progress=on_progress
    )
    found = _found(evidence, method, n_groups, kind, unit, flatten)
    is_tree = not (found.flattened and found.flattened.is_flat)
    if not is_tree or not (found.structure.is_there or without_structure):
        # What an earlier run left there would be taken for this one's.
        (out / FILE).unlink(missing_ok=True)
        return found
    groups = found.flattened.groups if found.flattened else found.groups
    named = [
        child if isinstance(child, str) else {child.name: list(child.genres)}
        for child in tree_of(groups, labels).root.children
    ]
    about = {
        "name": config.name,
        "command": command,
        "method": method,
        "evidence": f"{kind}, {unit}s",
        "n_folds": n_folds,
        "digest": evidence.digest,
        "confusion": evidence.confusion(kind, unit).round(6).tolist(),
        **derived_to_json(found),
    }
    grouping = Grouping(labels, named, evidence.songs, about)
    write_text(out / FILE, json.dumps(grouping_to_json(grouping), indent=1) + "\n")
    return Derived(**{**vars(found), "grouping": grouping})


def derived_to_json(found: Derived) -> dict[str, Any]:
    """What is known of the groups, as plain JSON values."""
    flat = found.flattened
    return {
        "derived": [list(group) for group in found.groups],
        "structure": vars(found.structure),
        "forecast": found.forecast.to_json(),
        "stability": found.bootstraps and vars(found.bootstraps),
        "together": found.together,
        "flattened": flat
        and {"groups": flat.groups, "steps": flat.steps, "net_wins": [vars(w) for w in flat.net_wins]},
        "n_songs": found.n_songs,
        "flat_accuracy": found.n_right / found.n_songs,
    }


def _found(
    evidence: Evidence, method: DerivedBy, n_groups: int | None, kind: Kind, unit: Unit, flatten: bool
) -> Derived:
    labels, p, true_idx = evidence.labels, evidence.p, evidence.true_idx
    answer_idx = p.argmax(axis=1)
    bootstraps = together = None
    if method == "exhaustive-confusions" or method == "exhaustive-probes":
        groups = _exhaustive(evidence, method == "exhaustive-probes", n_groups, kind, unit)
    else:
        groups = evidence.groups(method, n_groups, kind, unit)
        if method not in ("centroids", "nbdt"):
            again = partial(derive, method, labels=labels, n_groups=len(groups))
            bootstraps, together = _redrawn(evidence, kind, unit, again)
    return Derived(
        structure=structure(evidence.confusion("hard"), labels),
        groups=groups,
        dendrogram=_dendrogram(evidence, method, kind, unit),
        forecast=forecast(scores_of(true_idx, answer_idx, labels), tree_of(groups, labels)),
        bootstraps=bootstraps,
        together=together,
        flattened=auto_flatten(*evidence.tables("soft"), groups, labels) if flatten else None,
        grouping=None,
        n_songs=len(true_idx),
        n_right=int((answer_idx == true_idx).sum()),
    )


def _redrawn(
    evidence: Evidence, kind: Kind, unit: Unit, derive: Callable[..., Groups]
) -> tuple[Stability | None, tuple[tuple[float, ...], ...] | None]:
    """How far the groups hang on which songs there are: the same count of groups, from songs drawn anew."""
    labels, (true_idx, p, clusters) = evidence.labels, evidence.answers(unit)
    if kind == "hard":
        p = np.eye(len(labels))[p.argmax(axis=1)]
    try:
        drawn = bootstrap(true_idx, p, clusters, derive, N_BOOTSTRAPS, seed=0)
    except TreeError:
        return None, None
    return stability(drawn, labels), tuple(tuple(row) for row in co_membership(drawn, labels).tolist())


def _exhaustive(evidence: Evidence, by_probes: bool, n_groups: int | None, kind: Kind, unit: Unit) -> Groups:
    """The best of all ways to group: by songs right with probes as specialists, or by confusions inside groups."""
    partitions = set_partitions(len(evidence.labels))
    count = (group_sizes(partitions) > 0).sum(axis=1)
    rows = partitions[count == n_groups if n_groups else (count > 1) & (count < len(evidence.labels))]
    scores: np.ndarray = (
        score(*evidence.tables("soft"), rows) if by_probes else excess(similarity(evidence.confusion(kind, unit)), rows)
    )
    return to_groups(rows[best(scores, rows, evidence.labels)], evidence.labels)


def _dendrogram(evidence: Evidence, method: DerivedBy, kind: Kind, unit: Unit) -> str:
    labels: Labels = evidence.labels
    match method:
        case "centroids":
            distance, linkage = centroid_distance(evidence.centroids), "ward"
        case "nbdt":
            distance, linkage = weight_distance(evidence.weights), "ward"
        case _:
            distance = distance_of(similarity(evidence.confusion(kind, unit)))
            linkage = method if method in ("complete", "ward") else "average"
    return draw_dendrogram(linkage_tree(distance, labels, linkage), labels)  # type: ignore[arg-type]
