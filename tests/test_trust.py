"""What routing and confidence are worth: figures of songs that taught the tree nothing."""

import json
from typing import Any

import numpy as np
import pytest

from hgenre.calibrate import FROM_VALIDATION, answer_folds, answer_held_out, learn_calibration, songs_of
from hgenre.held_out import TREE, HeldOut, posteriors, song_outcomes
from hgenre.metrics.classification import log_loss
from hgenre.tree.evidence import MAX_SONGS, answer_path
from hgenre.tree.spec import genres_under
from hgenre.tree.stopping import stopping_threshold
from hgenre.trust import confidence_results, coverage_results, resampled, routing_results, target_accuracy_results
from tests.held_out_songs import held_out_songs
from tests.oracles import stopped_song
from tests.small_trees import OVERLAPPING, PLAIN, RAGGED

FOLDS = [held_out_songs(120, seed=seed, signal=2.0) for seed in range(3)]
ANSWERED = answer_folds(FOLDS)


def test_the_account_is_of_all_folds_and_their_flat_nets() -> None:
    ledger = routing_results(FOLDS)["ledger"]
    assert ledger["n_songs"] == 360
    for name, entry in (("tree", "route"), ("flat", "flat")):
        outcomes = [o for fold in FOLDS for o in song_outcomes(fold, posteriors(fold)[name])]
        assert ledger[entry]["accuracy"] == np.mean([o.genre_idx == o.true_idx for o in outcomes])
    songs = ledger["songs"]
    assert songs["A"] + songs["L"] + songs["R"] + songs["B"] == songs["n"] == 360


def test_folds_with_trees_of_their_own_have_no_one_account() -> None:
    assert routing_results([FOLDS[0], held_out_songs(tree=OVERLAPPING)]) == {}
    flat_only = HeldOut(**{**vars(FOLDS[0]), "models": {"flat": FOLDS[0].models["flat"]}})
    assert routing_results([flat_only]) == {}


def test_confidence_before_and_after_is_of_the_same_songs() -> None:
    results = confidence_results(FOLDS, ANSWERED)
    json.dumps(results, allow_nan=False)
    before, after = results["calibration"]["before"], results["calibration"]["after"]
    change = results["log_loss_change"]
    assert change["value"] == pytest.approx(after["log_loss"] - before["log_loss"])
    low, high = change["interval"]
    assert low < change["value"] < high < 0
    assert after["ece"]["value"] < before["ece"]["value"]
    raw = [o for f in FOLDS for o in song_outcomes(f, f.models[TREE].log_posterior(calibrated=False))]
    assert before["log_loss"] == pytest.approx(log_loss(songs_of(FOLDS).true_idx, [o.probabilities for o in raw]))


@pytest.mark.parametrize("target", [0.6, 0.9])
def test_answers_are_counted_by_definition(target: float) -> None:
    counts = {"genre": 0, "group": 0, "right": 0}
    groups = [{0, 1, 2}, {3, 4, 5}]
    for part in ANSWERED:
        threshold = stopping_threshold(part.calibration.evidence, target)
        assert threshold is not None
        for p, voted, true in zip(part.answers.probabilities, part.answers.genre_idx, part.songs.true_idx, strict=True):
            group = groups[voted // 3]
            # Evidence holds six decimals.
            if round(float(p[voted]), 6) >= threshold:
                counts["genre"] += 1
                counts["right"] += voted == true
            elif round(float(sum(p[i] for i in group)), 6) >= threshold:
                counts["group"] += 1
                counts["right"] += true in group
    found = target_accuracy_results(ANSWERED, target)
    n_answered = counts["genre"] + counts["group"]
    assert found["answered_by_genre"] == pytest.approx(counts["genre"] / 360)
    assert found["answered_by_group"] == pytest.approx(counts["group"] / 360)
    assert found["abstained"] == pytest.approx(1 - n_answered / 360)
    assert found["accuracy_of_answers"] == pytest.approx(counts["right"] / n_answered)
    assert found["accuracy_of_answers"] >= target


def test_folds_with_trees_of_their_own_are_each_counted_by_their_tree() -> None:
    trees = [PLAIN, OVERLAPPING, RAGGED]
    folds = [held_out_songs(200, seed=k, tree=tree, signal=2.0, others=()) for k, tree in enumerate(trees)]
    parts = answer_folds(folds)
    results = confidence_results(folds, parts)
    n_answered = n_right = 0
    for tree, part in zip(trees, parts, strict=True):
        threshold = stopping_threshold(part.calibration.evidence, 0.9)
        assert threshold is not None
        truths = (tree.labels.genres[i] for i in part.songs.true_idx)
        for p, voted, truth in zip(part.answers.probabilities, part.answers.genre_idx, truths, strict=True):
            genre = tree.labels.genres[voted]
            p_of = dict(zip(tree.labels, p, strict=True))
            steps = answer_path(tree, genre)
            path_p = [round(float(sum(p_of[g] for g in genres_under(step))), 6) for step in steps]
            genres = stopped_song(tree, genre, path_p, threshold)
            n_answered += bool(genres)
            n_right += truth in genres
    found = results["honest"]["target_accuracy"]["0.9"]
    assert found["accuracy_of_answers"] == pytest.approx(n_right / n_answered)
    assert found["abstained"] == pytest.approx(1 - n_answered / 600)
    halves = results["resamples"]["artists"]["target_accuracy"]["0.9"]
    assert halves["mean"] > 0.89
    assert halves["share_below_bound"] <= 0.1


def test_every_song_counts_however_many_there_are() -> None:
    n = MAX_SONGS + 100
    [teacher, held] = (held_out_songs(songs, seed=songs, others=()) for songs in (60, n))
    answered = answer_held_out(held, learn_calibration(songs_of([teacher]), PLAIN, FROM_VALIDATION))
    assert target_accuracy_results([answered], 0.8)["songs"] == n
    assert coverage_results([answered], 0.8)["songs"] == n
    assert resampled([answered], "artists", seed=0, n_resamples=2)["coverage"]["0.8"]["resamples"] == 2


def test_a_target_out_of_reach_leaves_every_song_unanswered() -> None:
    found = target_accuracy_results(ANSWERED, 0.9999)
    assert found["abstained"] == 1
    assert found["accuracy_of_answers"] is None
    assert found["interval"] is None


def test_sets_hold_the_truth_as_often_as_asked() -> None:
    found = coverage_results(ANSWERED, 0.98)
    low, high = found["interval"]
    assert low < 0.98 < high
    kinds = ("answered_by_genre", "answered_by_group", "answered_by_set", "abstained")
    assert sum(found[kind] for kind in kinds) == pytest.approx(1)
    assert 1 < found["mean_set_size"] < 6
    assert coverage_results(ANSWERED, 0.7)["mean_set_size"] < found["mean_set_size"]


@pytest.mark.parametrize("unit", ["artists", "songs"])
def test_promises_hold_over_random_halves(unit: Any) -> None:
    found = resampled(ANSWERED, unit, seed=0, n_resamples=60)
    for kind in ("target_accuracy", "coverage"):
        for target, row in found[kind].items():
            if row["mean"] is not None:
                assert row["mean"] > float(target) - 0.01, (kind, target)
                assert row["share_below_bound"] <= 0.1
                assert row["mean_bound"] < float(target)
    assert found == resampled(ANSWERED, unit, seed=0, n_resamples=60)
