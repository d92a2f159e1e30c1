"""The groupings that a sweep compares: derived by every method, searched for, given by hand or by a taxonomy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from hgenre.errors import GroupCountError
from hgenre.grouping.confusion import similarity
from hgenre.grouping.exhaustive import best, excess, score
from hgenre.grouping.flattening import auto_flatten
from hgenre.grouping.groups import Groups
from hgenre.grouping.methods import METHODS
from hgenre.grouping.partitions import Partitions, group_sizes, of_groups, to_groups
from hgenre.labels import Labels
from hgenre.studies.grouping.evidence import Evidence, Kind, Unit
from hgenre.tree.spec import TreeSpec, genres_under

EVIDENCE: tuple[tuple[Kind, Unit], ...] = (("hard", "song"), ("soft", "slice"), ("hard", "slice"))
"""What average linkage is tried on beside the mean probabilities of songs, which every method takes."""

MANUAL = "manual"
BY_CONFUSIONS, BY_PROBES, BEST_DERIVED = "exhaustive by confusions", "exhaustive by probes", "best derived"

CHIEF = ((BY_PROBES, "songs"), (BEST_DERIVED, "songs"), ("average", "soft, songs"))
"""Method and evidence of the three ways that each fold takes by itself: all groupings searched, the best of what the
methods derive, both by the songs of the training part, and what ``hgenre group derive`` does unless told otherwise."""


@dataclass(frozen=True)
class Candidate:
    """A way to groups, and the groups that it came to from the evidence of each fold.

    Attributes:
        method: of ``METHODS``, or how else the groups were found.
        evidence: what they were derived from, in words; empty for given groups.
        n_groups: how many were asked for, single genres counted; None where the way chose.
        groups: a fold each.
    """

    method: str
    evidence: str
    n_groups: int | None
    groups: tuple[Groups, ...]

    @property
    def name(self) -> str:
        count = "" if self.n_groups is None else f"{self.n_groups} groups"
        return ", ".join(filter(None, (self.method, self.evidence, count)))


def candidates(
    evidence: Sequence[Evidence], partitions: Partitions, given: Mapping[str, Groups]
) -> tuple[list[Candidate], list[str]]:
    """Every candidate, and a sentence for every one that a fold could not make.

    Args:
        evidence: a fold each.
        partitions: all of the genre list.
        given: groupings that do not depend on evidence, by name.
    """
    labels = evidence[0].labels
    counts = range(2, len(labels))
    found: list[Candidate] = []
    missing: list[str] = []

    def add(method: str, of: str, n_groups: int | None, make: Callable[[Evidence], Groups]) -> None:
        try:
            found.append(Candidate(method, of, n_groups, tuple(make(fold) for fold in evidence)))
        except GroupCountError as error:
            missing.append(f"{Candidate(method, of, n_groups, ()).name} left out: {error}")

    for method in METHODS:
        of = {"centroids": "embedding", "nbdt": "weights"}.get(method, "soft, songs")
        for n_groups in (*counts, None):
            add(method, of, n_groups, partial(Evidence.groups, method=method, n_groups=n_groups))
    for kind, unit in EVIDENCE:
        for n_groups in counts:
            make = partial(Evidence.groups, method="average", n_groups=n_groups, kind=kind, unit=unit)
            add("average", f"{kind}, {unit}s", n_groups, make)
    found.append(
        Candidate(BEST_DERIVED, "songs", None, tuple(_best_derived(found, k, fold) for k, fold in enumerate(evidence)))
    )
    of_excess = [excess(similarity(fold.confusion()), partitions) for fold in evidence]
    of_probes = [score(*fold.tables("soft"), partitions) for fold in evidence]
    n_groups_of = (group_sizes(partitions) > 0).sum(axis=1)
    for name, of, scores in ((BY_CONFUSIONS, "soft, songs", of_excess), (BY_PROBES, "songs", of_probes)):
        for count in (*counts, None):
            rows = np.flatnonzero(n_groups_of == count if count else n_groups_of > 1)
            chosen = [rows[best(own[rows], partitions[rows], labels)] for own in scores]
            found.append(Candidate(name, of, count, tuple(to_groups(partitions[i], labels) for i in chosen)))
    found += [Candidate(name, "", None, (groups,) * len(evidence)) for name, groups in given.items()]
    return found, missing


def chief(found: Sequence[Candidate]) -> list[int]:
    """The places of the ways in ``CHIEF``, one of those that came to the same groups, and of the groupings given."""
    places: dict[tuple[Groups, ...], int] = {}
    for way in CHIEF:
        for i, candidate in enumerate(found):
            if (candidate.method, candidate.evidence, candidate.n_groups) == (*way, None):
                places.setdefault(candidate.groups, i)
    return [*places.values(), *(i for i, candidate in enumerate(found) if not candidate.evidence)]


def flattened(candidate: Candidate, evidence: Sequence[Evidence]) -> Candidate:
    """The candidate without the groups that do not pay by the evidence of their fold."""
    groups = tuple(
        auto_flatten(*fold.tables("soft"), own, fold.labels).groups
        for fold, own in zip(evidence, candidate.groups, strict=True)
    )
    return Candidate(f"{candidate.name}, auto-flattened", "", None, groups)


def top_groups(tree: TreeSpec) -> Groups:
    """The groups under the root of a tree, a genre of several at its first, in label order."""
    taken: set[str] = set()
    groups = []
    for child in tree.root.children:
        own = tuple(g for g in tree.labels if g in genres_under(child) and g not in taken)
        taken |= set(own)
        groups.append(own)
    return tuple(sorted(filter(None, groups), key=lambda group: tree.labels.index(group[0])))


def over(labels: Labels, groups: Groups) -> Groups:
    """A taxonomy's groups over the genres of these labels alone."""
    kept = (tuple(g for g in labels if g in group) for group in groups)
    return tuple(sorted(filter(None, kept), key=lambda group: labels.index(group[0])))


def _best_derived(found: Sequence[Candidate], k: int, fold: Evidence) -> Groups:
    """Of the groups that all candidates so far came to in a fold, those with most of the fold's own songs right."""
    rows = np.unique(np.stack([of_groups(candidate.groups[k], fold.labels) for candidate in found]), axis=0)
    return to_groups(rows[best(score(*fold.tables("soft"), rows), rows, fold.labels)], fold.labels)
