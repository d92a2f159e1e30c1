"""Every way to groups in every fold: none twice, none that the evidence of another fold had a say in."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from hgenre.errors import GroupCountError
from hgenre.grouping.groups import Groups, excess_within, group_of_genre, tree_of
from hgenre.grouping.methods import METHODS
from hgenre.grouping.partitions import set_partitions
from hgenre.labels import Labels
from hgenre.studies.grouping.candidates import Candidate, candidates, flattened, over, top_groups
from hgenre.studies.grouping.evidence import Evidence
from hgenre.tree.spec import TreeSpec
from tests.oracles import groupings
from tests.planted_groupings import LABELS, PLANTED, in_label_order, planted_folds, probes_of, songs_right
from tests.small_trees import genre_trees

MANUAL: Groups = (("dub", "zouk"), ("polka", "cumbia"), ("rai", "fado"))
PARTITIONS = set_partitions(len(LABELS))
EVIDENCE = [fold.evidence for fold in planted_folds()]


@pytest.fixture(scope="module")
def found() -> dict[str, Candidate]:
    rows, missing = candidates(EVIDENCE, PARTITIONS, {"manual": MANUAL})
    assert missing == []
    by_name = {row.name: row for row in rows}
    assert len(by_name) == len(rows)
    return by_name


def test_every_way_and_every_count_is_there_once(found: dict[str, Candidate]) -> None:
    asked = Counter(row.method for row in found.values())
    n_counts = len(range(2, len(LABELS)))
    assert asked.pop("manual") == 1
    assert asked.pop("average") == 1 + 4 * n_counts
    assert asked.pop("best derived") == 1
    assert asked == dict.fromkeys([*METHODS[1:], "exhaustive by confusions", "exhaustive by probes"], 1 + n_counts)
    for row in found.values():
        assert len(row.groups) == len(EVIDENCE)
        for groups in row.groups:
            group_of_genre(groups, LABELS)
            assert row.n_groups in (None, len(groups))


def test_every_method_recovers_what_was_planted(found: dict[str, Candidate]) -> None:
    own = [row for row in found.values() if row.n_groups is None and row.name != "manual"]
    assert {row.name: row.groups for row in own} == {row.name: (PLANTED,) * 2 for row in own}
    assert found["manual"].groups == (MANUAL,) * 2


def test_exhaustive_search_finds_the_largest_excess_of_each_fold(found: dict[str, Candidate]) -> None:
    for n_groups in (2, 4, None):
        name = "exhaustive by confusions, soft, songs" + (f", {n_groups} groups" if n_groups else "")
        for evidence, groups in zip(EVIDENCE, found[name].groups, strict=True):
            confusion = evidence.confusion()
            every = [own for own in groupings(LABELS.genres) if n_groups in (None, len(own))]
            most = max(excess_within(confusion, LABELS, own) for own in every)
            assert excess_within(confusion, LABELS, groups) == pytest.approx(most, abs=1e-12)


def test_exhaustive_search_finds_the_most_songs_of_each_fold(found: dict[str, Candidate]) -> None:
    """Songs that the summed tree has right, told one by one for every grouping."""
    evidence = EVIDENCE[0]
    probes = [probes_of(part) for part in evidence.parts]

    def n_right(groups: Any) -> int:
        return sum(
            sum(songs_right(part, known, groups, "soft")) for part, known in zip(evidence.parts, probes, strict=True)
        )

    for n_groups in (3, 5):
        most = max(n_right(own) for own in groupings(LABELS.genres) if len(own) == n_groups)
        assert n_right(found[f"exhaustive by probes, songs, {n_groups} groups"].groups[0]) == most


def test_a_fold_has_no_say_in_the_groups_of_another() -> None:
    alone = [candidates([evidence], PARTITIONS, {})[0] for evidence in EVIDENCE]
    both, _ = candidates(EVIDENCE, PARTITIONS, {})
    assert [row.groups for row in both] == [(a.groups[0], b.groups[0]) for a, b in zip(*alone, strict=True)]


def test_the_order_of_labels_does_not_matter(found: dict[str, Candidate]) -> None:
    order = [4, 0, 5, 2, 1, 3]
    labels = Labels(tuple(LABELS.genres[g] for g in order))
    turned = [
        Evidence(labels, tuple(in_label_order(part, order) for part in evidence.parts), evidence.songs)
        for evidence in EVIDENCE
    ]
    rows, missing = candidates(turned, PARTITIONS, {"manual": MANUAL})
    assert missing == []

    def sets(candidate: Candidate) -> list[set[frozenset[str]]]:
        return [set(map(frozenset, groups)) for groups in candidate.groups]

    assert {row.name: sets(row) for row in rows} == {name: sets(row) for name, row in found.items()}


def test_what_a_fold_cannot_make_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    derived = Evidence.groups

    def refused(fold: Evidence, method: Any, n_groups: int | None, *others: Any, **named: Any) -> Groups:
        if fold is EVIDENCE[1] and method == "hd-cnn" and n_groups == 4:
            raise GroupCountError(["comes to 3 at most"])
        return derived(fold, method, n_groups, *others, **named)

    monkeypatch.setattr(Evidence, "groups", refused)
    rows, missing = candidates(EVIDENCE, PARTITIONS, {})
    assert missing == ["hd-cnn, soft, songs, 4 groups left out: comes to 3 at most"]
    names = [row.name for row in rows]
    assert "hd-cnn, soft, songs, 4 groups" not in names
    assert "hd-cnn, soft, songs, 3 groups" in names


def test_flattening_leaves_what_pays_and_takes_away_what_does_not(found: dict[str, Candidate]) -> None:
    kept = flattened(found["ward, soft, songs"], EVIDENCE)
    assert kept.name == "ward, soft, songs, auto-flattened"
    assert kept.groups == (PLANTED,) * 2
    assert flattened(found["manual"], EVIDENCE).groups == (tuple((genre,) for genre in LABELS),) * 2


def test_a_candidate_is_named_by_all_that_tells_it_apart() -> None:
    row = Candidate("ward", "soft, songs", 3, ())
    assert row.name == "ward, soft, songs, 3 groups"
    assert replace(row, n_groups=None).name == "ward, soft, songs"
    assert Candidate("manual", "", None, ()).name == "manual"


@given(tree=genre_trees())
def test_top_groups_are_the_homes_under_the_root(tree: TreeSpec) -> None:
    groups = top_groups(tree)
    found = group_of_genre(groups, tree.labels)
    homes = np.array([tree.root.home_child_idx(genre) for genre in tree.labels])
    assert np.array_equal(found[:, None] == found, homes[:, None] == homes)
    assert [group[0] for group in groups] == sorted((group[0] for group in groups), key=tree.labels.index)
    assert top_groups(tree_of(groups, tree.labels)) == groups


def test_a_taxonomy_is_taken_over_the_genres_that_there_are() -> None:
    outside: Groups = (("rai", "gnawa", "dub"), ("zouk",), ("tango", "milonga"), ("polka", "waltz"))
    labels = Labels(("dub", "zouk", "polka", "rai"))
    assert over(labels, outside) == (("dub", "rai"), ("zouk",), ("polka",))
