"""Calibration learned from held-out songs and applied to others, whatever their folds' trees."""

import numpy as np
import pytest

from hgenre.calibrate import (
    FROM_VALIDATION,
    OUT_OF_FOLD,
    Answered,
    Songs,
    answer_folds,
    answer_held_out,
    calibrated_answers,
    fold_of_song,
    learn_calibration,
    songs_of,
)
from hgenre.held_out import TREE, posteriors, song_outcomes
from hgenre.metrics.classification import log_loss
from hgenre.tree.calibration import Calibration, temper
from hgenre.tree.evidence import MAX_SONGS, answer_path, gather_evidence
from tests.held_out_songs import held_out_songs
from tests.small_trees import OVERLAPPING, PLAIN, RAGGED

FOLDS = [held_out_songs(60, seed=seed) for seed in range(3)]


def test_without_temperatures_songs_are_answered_as_they_were() -> None:
    answers = calibrated_answers(songs_of(FOLDS), Calibration())
    expected = [o for fold in FOLDS for o in song_outcomes(fold, posteriors(fold)[TREE])]
    assert answers.genre_idx.tolist() == [o.genre_idx for o in expected]
    np.testing.assert_allclose(answers.probabilities, [o.probabilities for o in expected], atol=1e-9)


def test_nets_that_boast_are_cooled_and_later_songs_are_told_better() -> None:
    learned = learn_calibration(songs_of(FOLDS[:2]), PLAIN, OUT_OF_FOLD)
    assert learned.source == OUT_OF_FOLD
    # Normal rows that differ by 1.5 in their mean have logits 1.5 times as large as themselves: these are 3 times.
    assert learned.path_temperature == pytest.approx(3 / 1.5, rel=0.1)
    later = songs_of(FOLDS[2:])
    losses = [
        log_loss(later.true_idx, calibrated_answers(later, calibration).probabilities)
        for calibration in (Calibration(), learned)
    ]
    assert losses[1] < losses[0] - 0.05


def test_evidence_has_a_row_a_song() -> None:
    songs = songs_of(FOLDS)
    learned = learn_calibration(songs, PLAIN, OUT_OF_FOLD)
    assert len(learned.evidence) == len(songs.true_idx)
    assert {len(row.path_p) for row in learned.evidence} == {2}


def test_evidence_of_a_part_does_not_know_its_own_truth() -> None:
    songs, parts = songs_of(FOLDS), fold_of_song(FOLDS)
    mine = parts == 0
    liar = Songs(songs.logp, songs.song_idx, np.where(mine, (songs.true_idx + 1) % 6, songs.true_idx), songs.clusters)
    told, lied = (learn_calibration(s, PLAIN, OUT_OF_FOLD, parts).evidence for s in (songs, liar))
    for ours, theirs in zip(told[:60], lied[:60], strict=True):
        assert ours.path_p == theirs.path_p
    assert [row.path_p for row in told[60:]] != [row.path_p for row in lied[60:]]


def test_an_artists_songs_share_a_part() -> None:
    held = held_out_songs(40, seed=7)
    songs = songs_of([held])
    first_artist = songs.clusters == songs.clusters[0]
    other = Songs(songs.logp, songs.song_idx, np.where(first_artist, 0, songs.true_idx), songs.clusters)
    another = Songs(songs.logp, songs.song_idx, np.where(first_artist, 5, songs.true_idx), songs.clusters)
    told, retold = (learn_calibration(s, PLAIN, "x").evidence for s in (other, another))
    for song in np.flatnonzero(first_artist):
        assert told[song].path_p == retold[song].path_p


def test_folds_are_answered_by_what_all_others_taught() -> None:
    answered = answer_folds(FOLDS)
    assert [len(part.answers.genre_idx) for part in answered] == [60, 60, 60]
    others = songs_of([FOLDS[0], FOLDS[2]])
    expected = answer_held_out(FOLDS[1], learn_calibration(others, PLAIN, OUT_OF_FOLD, np.repeat([0, 2], 60)))
    np.testing.assert_array_equal(answered[1].answers.probabilities, expected.answers.probabilities)
    assert answered[1].calibration == expected.calibration
    assert len(answered[1].calibration.evidence) == 120


def test_folds_may_have_trees_of_their_own() -> None:
    trees = [PLAIN, OVERLAPPING, RAGGED]
    answered = answer_folds([held_out_songs(30, seed=k, tree=tree) for k, tree in enumerate(trees)])
    assert [part.tree for part in answered] == trees
    for part in answered:
        np.testing.assert_allclose(part.answers.probabilities.sum(axis=1), 1)
        # Others' songs are evidence of how answers from this fold's tree would do.
        lengths = {len(answer_path(part.tree, genre)) for genre in part.tree.labels}
        assert {len(song.path_p) for song in (*part.evidence, *part.calibration.evidence)} == lengths


def alike(songs: Songs) -> Songs:
    """The same songs, all of one artist."""
    return Songs(songs.logp, songs.song_idx, songs.true_idx, np.full(len(songs.true_idx), "one artist"))


@pytest.mark.parametrize("n_folds", [1, 2, 3])
def test_evidence_is_of_answers_as_they_are_given(n_folds: int) -> None:
    folds = [held_out_songs(300 // n_folds, seed=seed, boast=0.5) for seed in range(n_folds)]
    songs = songs_of(folds)
    for own in (songs, alike(songs)):
        # Two folds leave one to learn from, and validation songs are always one.
        learned = learn_calibration(own, PLAIN, FROM_VALIDATION, fold_of_song(folds))
        given = gather_evidence(PLAIN, calibrated_answers(own, learned), own.true_idx)
        surest = [np.mean([song.path_p[-1] for song in evidence]) for evidence in (learned.evidence, given)]
        assert surest[0] == pytest.approx(surest[1], abs=0.02)


def test_a_single_artist_teaches_no_temperature() -> None:
    learned = learn_calibration(alike(songs_of(FOLDS[:1])), PLAIN, FROM_VALIDATION)
    assert (learned.path_temperature, learned.song_temperature, len(learned.evidence)) == (1, 1, 60)


def test_a_bundle_keeps_a_limited_share_of_the_evidence_and_results_all() -> None:
    n = MAX_SONGS + 1
    true_idx = np.arange(n) % 6
    logp = temper(np.random.default_rng(0).normal(size=(n, 6)) + np.eye(6)[true_idx], 1.0)
    songs = Songs(logp, np.arange(n), true_idx, np.arange(n).astype(str))
    learned = learn_calibration(songs, PLAIN, FROM_VALIDATION)
    assert len(learned.evidence) == MAX_SONGS
    assert len(Answered(PLAIN, songs, learned, calibrated_answers(songs, learned)).evidence) == n


def test_a_part_of_the_songs_keeps_their_slices() -> None:
    songs = songs_of(FOLDS[:1])
    keep = np.arange(60) % 3 == 1
    part = songs.part(keep)
    whole = calibrated_answers(songs, Calibration(2.0, 1.5))
    alone = calibrated_answers(part, Calibration(2.0, 1.5))
    np.testing.assert_allclose(alone.probabilities, whole.probabilities[keep], atol=1e-12)
    assert part.clusters.tolist() == songs.clusters[keep].tolist()
