"""What a sweep says of every candidate, told again song by song; planted groups beat random ones, noise does not."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from hgenre.grouping.partitions import set_partitions
from hgenre.labels import Labels
from hgenre.metrics.intervals import mcnemar_exact, wilson
from hgenre.studies.grouping.candidates import Candidate, candidates
from hgenre.studies.grouping.evidence import Evidence
from hgenre.studies.grouping.sweep import Fold, _silent, scored
from tests.oracles import groupings
from tests.planted_groupings import (
    LABELS,
    N_A_GENRE,
    NONE,
    PLANTED,
    in_label_order,
    planted_folds,
    planted_results,
    probes_of,
    songs_right,
)

PARTITIONS = set_partitions(len(LABELS))
FOLDS = planted_folds()
N_SONGS = len(FOLDS) * N_A_GENRE * len(LABELS)

SAME = Candidate("same", "soft, songs", None, ((("dub", "zouk"), ("polka", "cumbia"), ("rai", "fado")),) * 2)
"""Groups as the manual ones of the planted results."""

Row = dict[str, Any]


@cache
def _probes(k: int) -> Any:
    return probes_of(FOLDS[k].test)


def right(groups: Sequence[Sequence[Sequence[str]]], decoder: str = "soft") -> list[bool]:
    """Over the songs of all folds, with a fold's own groups in each."""
    return [song for k, fold in enumerate(FOLDS) for song in songs_right(fold.test, _probes(k), groups[k], decoder)]


def rows_of(results: Row) -> dict[str, Row]:
    return {row["name"]: row for row in results["candidates"]}


def distinct(results: Row) -> list[Row]:
    return list({str(row["groups"]): row for row in results["candidates"]}.values())


def test_accuracy_is_that_of_songs_routed_one_by_one() -> None:
    for row in distinct(planted_results()):
        n_right = sum(right(row["groups"]))
        assert row["accuracy"] == pytest.approx(n_right / N_SONGS)
        assert row["interval"] == pytest.approx(wilson(n_right, N_SONGS))
        assert row["sd"] is None


def test_ledgers_sum_to_one_and_hold_what_one_path_a_song_has_right() -> None:
    for row in distinct(planted_results()):
        assert set(row["ledger"]) == set("ALRB")
        assert sum(row["ledger"].values()) == pytest.approx(1)
        assert row["ledger"]["A"] == pytest.approx(sum(right(row["groups"], "hard")) / N_SONGS)
        routed = [
            max(groups, key=lambda group: sum(p[LABELS.index(genre)] for genre in group))
            for fold, groups in zip(FOLDS, row["groups"], strict=True)
            for p in fold.test.p
        ]
        true_genres = [LABELS.genres[g] for fold in FOLDS for g in fold.test.true_idx]
        n_routed = sum(genre in group for genre, group in zip(true_genres, routed, strict=True))
        assert row["ledger"]["A"] + row["ledger"]["L"] == pytest.approx(n_routed / N_SONGS)


def test_rivals_are_the_flat_net_the_flat_probe_and_both() -> None:
    flat, probe, both = planted_results()["baselines"]
    assert (flat["name"], probe["name"], both["name"]) == ("flat net", "flat probe", "flat net and flat probe")
    told: list[list[bool]] = [[], [], []]
    for fold in FOLDS:
        for song, truth in enumerate(fold.test.true_idx):
            net, own = fold.test.p[song], fold.test.probe_p[-1, song]
            for found, p in zip(told, (net, own, net + own), strict=True):
                found.append(int(np.argmax(p)) == truth)
    for row, found in zip((flat, probe, both), told, strict=True):
        assert row["accuracy"] == pytest.approx(np.mean(found))
    manual = rows_of(planted_results())["manual"]
    own_right = right(manual["groups"])
    for key, rival in zip(("beside_flat", "beside_probe", "beside_pair"), told, strict=True):
        test = mcnemar_exact(own_right, rival)
        beside = manual[key]
        assert beside["difference"] == pytest.approx(np.mean(own_right) - np.mean(rival))
        assert (beside["mcnemar_p"], beside["tree_only"], beside["flat_only"]) == (test.p, test.a_only, test.b_only)
        assert beside["interval"][0] <= beside["difference"] <= beside["interval"][1]


def test_all_genres_alone_are_the_flat_net_and_all_together_the_flat_probe() -> None:
    alone = Candidate("alone", "soft, songs", None, (NONE,) * 2)
    together = Candidate("together", "soft, songs", None, (((LABELS.genres),),) * 2)
    results = scored(FOLDS, [alone, together], PARTITIONS, n_draws=20)
    flat, probe, _ = results["baselines"]
    for row, rival, key in zip(results["candidates"], (flat, probe), ("beside_flat", "beside_probe"), strict=True):
        assert row["accuracy"] == rival["accuracy"]
        own = row["accuracy"]
        assert row["random"] == {"mean": own, "sd": 0.0, "best": own, "n": 1, "is_exact": True, "p": 1.0}
        assert row[key]["tree_only"] == row[key]["flat_only"] == 0
    assert [row["n_specialists"] for row in results["candidates"]] == [0, 1]
    assert results["candidates"][0]["ledger"]["L"] == results["candidates"][0]["ledger"]["B"] == 0


def test_random_groupings_are_all_of_the_same_sizes_where_they_are_few() -> None:
    manual = rows_of(planted_results())["manual"]
    own = manual["accuracy"]
    every = [np.mean(right([groups] * 2)) for groups in groupings(LABELS.genres) if list(map(len, groups)) == [2, 2, 2]]
    random = manual["random"]
    assert (random["n"], random["is_exact"]) == (15, True) == (len(every), True)
    assert [random["mean"], random["sd"], random["best"]] == pytest.approx([np.mean(every), np.std(every), max(every)])
    assert random["p"] == pytest.approx(sum(accuracy >= own - 1e-9 for accuracy in every) / 15)


def test_planted_groups_beat_random_ones_and_noise_does_not() -> None:
    planted, noise = planted_results(), planted_results(NONE)
    for name in ("average, soft, songs", "spectral, soft, songs", "nbdt, weights", "exhaustive by probes, songs"):
        row = rows_of(planted)[name]
        assert row["groups"] == [[list(group) for group in PLANTED]] * 2
        assert row["random"]["p"] == pytest.approx(1 / 60)
        assert row["accuracy"] > row["random"]["mean"] + 0.2
        assert row["stability"] == 1
    assert all(own["is_there"] for own in planted["structure"])
    assert not any(own["is_there"] for own in noise["structure"])
    small = sum(row["random"]["p"] <= 0.05 for row in distinct(noise))
    assert small <= 0.15 * len(distinct(noise))
    assert rows_of(noise)["average, soft, songs"]["random"]["p"] > 0.05


def test_accuracies_inside_are_of_the_songs_that_groups_come_from() -> None:
    inside = [[probes_of(part) for part in fold.evidence.parts] for fold in FOLDS]
    for name in ("manual", "average, soft, songs, 4 groups"):
        row = rows_of(planted_results())[name]
        told = [
            song
            for fold, groups, known in zip(FOLDS, row["groups"], inside, strict=True)
            for part, probes in zip(fold.evidence.parts, known, strict=True)
            for song in songs_right(part, probes, groups, "soft")
        ]
        assert row["inner_accuracy"] == pytest.approx(np.mean(told))


def test_all_groupings_are_summed_up_by_their_number_of_groups() -> None:
    found = {row["n_groups"]: row for row in planted_results()["partitions"]}
    assert {k: row["n"] for k, row in found.items()} == {1: 1, 2: 31, 3: 90, 4: 65, 5: 15, 6: 1}
    fives = [np.mean(right([groups] * 2)) for groups in groupings(LABELS.genres) if len(groups) == 5]
    told = [found[5][name] for name in ("mean", "sd", "best")]
    assert told == pytest.approx([np.mean(fives), np.std(fives), max(fives)])


def test_genres_that_come_together_are_told_by_derived_groups_alone() -> None:
    results = planted_results()
    together = np.array(results["together"])
    np.testing.assert_array_equal(np.diag(together), 1)
    a, b = LABELS.index("dub"), LABELS.index("zouk")
    assert together[a, b] == 0, "the manual grouping alone has them in one group"
    assert together[a, LABELS.index("rai")] == 1
    flattened = [row for row in results["others"] if "of" in row]
    assert [row["name"] for row in flattened] == [f"{row['of']}, auto-flattened" for row in flattened]
    by_name = rows_of(results)
    assert len({str(by_name[row["of"]]["groups"]) for row in flattened}) == len(flattened) > 1
    assert flattened[-1]["of"] == "manual"


def test_other_trees_are_judged_on_the_same_songs() -> None:
    others = {row["name"]: row for row in planted_results()["others"]}
    deeper = others["recursive splitting"]
    assert deeper["accuracy"] >= rows_of(planted_results())["average, soft, songs"]["accuracy"] - 0.02
    assert len(deeper["trees"]) == 2
    overlap = others["hd-cnn, soft, songs, overlapping"]
    disjoint = rows_of(planted_results())["hd-cnn, soft, songs"]["groups"]
    for groups, own in zip(overlap["groups"], disjoint, strict=True):
        assert all(set(part) <= set(group) for part, group in zip(own, groups, strict=True))


def test_over_several_seeds_accuracy_is_their_mean_and_tests_are_of_the_first() -> None:
    both = planted_results(PLANTED, 2, (0, 1))
    one = planted_results()
    other = scored(planted_folds(seeds=(1,)), [SAME], PARTITIONS, n_draws=20)["candidates"][0]
    row, first = rows_of(both)["manual"], rows_of(one)["manual"]
    accuracies = [first["accuracy"], other["accuracy"]]
    assert row["accuracy"] == pytest.approx(np.mean(accuracies))
    assert row["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert (row["interval"], row["beside_flat"], row["ledger"]) == (
        first["interval"], first["beside_flat"], first["ledger"]
    )  # fmt: skip
    assert [own["seed"] for own in both["structure"]] == [0, 0, 1, 1]


def test_silent_songs_are_told() -> None:
    heard = [fold.test.song_ids for fold in FOLDS]
    assert _silent(heard, FOLDS) == []
    assert _silent([heard[0], (*heard[1], "hush")], FOLDS) == ["hush left out: silent"]


def test_a_flat_net_that_rules_groups_out_leaves_overlapping_ones_an_answer() -> None:
    """Probabilities of 0, as float32 has them of logits a hundred apart."""
    p = np.eye(len(LABELS))[FOLDS[0].test.true_idx]
    fold = replace(FOLDS[0], test=replace(FOLDS[0].test, p=p))
    of_hd_cnn = Candidate("hd-cnn", "soft, songs", None, (PLANTED,))
    others = scored([fold], [of_hd_cnn, replace(SAME, groups=SAME.groups[:1])], PARTITIONS, n_draws=5)["others"]
    (overlap,) = [row for row in others if row["name"] == "hd-cnn, soft, songs, overlapping"]
    assert overlap["accuracy"] > 0.5


def test_one_fold_has_no_stability() -> None:
    results = scored(FOLDS[:1], [replace(SAME, groups=SAME.groups[:1])], PARTITIONS, n_draws=5)
    assert "stability" not in results["candidates"][0]


def test_the_order_of_labels_does_not_matter() -> None:
    order = [3, 5, 0, 4, 2, 1]
    labels = Labels(tuple(LABELS.genres[g] for g in order))
    turned = [
        Fold(
            fold.seed,
            in_label_order(fold.test, order),
            Evidence(labels, tuple(in_label_order(part, order) for part in fold.evidence.parts), fold.evidence.songs),
        )
        for fold in FOLDS
    ]
    found, _ = candidates([fold.evidence for fold in turned], PARTITIONS, {"manual": SAME.groups[0]})
    results = scored(turned, found, PARTITIONS, n_draws=200)
    same = ("accuracy", "interval", "inner_accuracy", "ledger", "stability")
    for row, own in zip(planted_results()["candidates"], results["candidates"], strict=True):
        assert [set(map(frozenset, groups)) for groups in row["groups"]] == [
            set(map(frozenset, groups)) for groups in own["groups"]
        ]
        for key in same:
            assert own[key] == pytest.approx(row[key], abs=1e-12), (row["name"], key)
        assert all(own[key] == row[key] for key in ("beside_flat", "beside_probe", "beside_pair"))
        if row["random"]["is_exact"]:
            assert own["random"] == pytest.approx(row["random"], abs=1e-12)
    assert [own["p"] for own in results["structure"]] == [own["p"] for own in planted_results()["structure"]]
    for key in ("mean", "sd", "best"):
        expected = [row[key] for row in planted_results()["partitions"]]
        assert [row[key] for row in results["partitions"]] == pytest.approx(expected)
    together = np.array(planted_results()["together"])[np.ix_(order, order)]
    np.testing.assert_allclose(results["together"], together)
