"""The leak meter on songs that leak by design, and its report in words."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.data.splits import clusters
from hgenre.errors import ConfigError, FeatureError, HgenreError, ManifestError
from hgenre.metrics.intervals import wilson
from hgenre.report.protocols import leak_sentence, render_leak
from hgenre.studies import protocols as module
from hgenre.studies.ablate import ablate
from hgenre.studies.folds import OutOfFold
from hgenre.studies.protocols import Found, Learners, figures, leak, learn, prepare_under, without_rivals
from hgenre.training.border import config_from_dict
from hgenre.training.prepare import Prepared, fold_ids
from tests.planted_tables import planted_table

KNN = Learners(net=False, classical=("knn",))


def test_songs_known_by_heart_leak_under_slice_random_alone(tmp_path: Path) -> None:
    config = planted_table(tmp_path, song_signal=10.0)
    found = leak(config, KNN)
    slices, songs, artists = (found["protocols"][p]["models"]["knn"] for p in ("slice-random", "song", "artist"))
    assert slices["slice"]["accuracy"] > 0.99
    assert (slices["slice"]["n"], songs["slice"]["n"], songs["song"]["n"]) == (720, 720, 24)
    # A song is a slice there, whose kin Wilson's interval would take for independent.
    assert slices["song"]["interval"] == slices["slice"]["interval"]
    assert songs["song"]["interval"] != songs["slice"]["interval"]
    # Nothing tells the genre: a third of the songs is right by chance, and the interval of the slices knows how few
    # songs there are.
    for honest in (songs, artists):
        assert honest["slice"]["accuracy"] < 0.6
        low, high = honest["slice"]["interval"]
        assert low <= 1 / 3 <= high
        assert high - low > 0.1
    json.dumps(found, allow_nan=False)
    assert "more than chance explains" in leak_sentence(found, "knn")
    assert (found["not_run"], found["one_slice_a_song"]) == ({}, False)


def test_without_a_leak_none_is_told(tmp_path: Path) -> None:
    found = leak(planted_table(tmp_path, genre_signal=2.0, n_slices=8), KNN, n_folds=4)
    assert "which chance could explain" in leak_sentence(found, "knn")
    assert found["protocols"]["artist"]["n_songs"]["test"] == [6] * 4


def test_only_the_folds_asked_for_are_run(tmp_path: Path) -> None:
    found = leak(planted_table(tmp_path, n_slices=5), KNN, protocols=["song"], n_folds=4, folds_run=1)
    assert (found["n_folds"], found["folds_run"]) == (4, 1)
    assert found["protocols"]["song"]["n_songs"]["test"] == [6]


def test_slices_of_a_song_are_kin_though_nothing_else_is_known_of_it(tmp_path: Path) -> None:
    config = planted_table(tmp_path, artists=False, n_slices=3)
    prepared = prepare_under(config, "slice-random")
    kin = clusters(prepared.songs)
    assert len(kin) == 72
    assert len(set(kin.values())) == 24


def test_unknown_artists_are_a_reason_and_no_end(tmp_path: Path) -> None:
    found = leak(planted_table(tmp_path, artists=False, n_slices=5), KNN, n_folds=2)
    assert list(found["protocols"]) == ["slice-random", "song"]
    assert found["not_run"] == {"artist": "is 'artist', but no song's artist is known"}
    report = render_leak(found)
    assert "- artist was not run: is 'artist', but no song's artist is known" in report
    assert "of slices of unheard songs" in report


def test_too_few_artists_are_a_reason_and_no_end(tmp_path: Path) -> None:
    found = leak(planted_table(tmp_path, n_genres=2, n_songs=4, n_slices=5), KNN, n_folds=5)
    assert list(found["protocols"]) == ["slice-random", "song"]
    assert found["not_run"]["artist"].startswith("no songs are left for ")


def test_where_no_protocol_can_be_run_the_last_says_why(tmp_path: Path) -> None:
    config = planted_table(tmp_path, artists=False, n_slices=5)
    with pytest.raises(ConfigError, match="no song's artist is known"):
        leak(config, KNN, protocols=["artist"])
    with pytest.raises(ManifestError, match="no songs are left"):
        leak(config, KNN, protocols=["song"], n_folds=25)


def test_other_mistakes_in_the_configuration_end_it(tmp_path: Path) -> None:
    config = planted_table(tmp_path, genre_sets={"mine": ["polka"]})
    with pytest.raises(ConfigError, match="holds unknown genre 'polka'"):
        leak(config, KNN)


def test_one_slice_a_song_is_said(tmp_path: Path) -> None:
    found = leak(planted_table(tmp_path, n_songs=20, n_slices=1), KNN, n_folds=2)
    assert found["one_slice_a_song"]
    songs = found["protocols"]["slice-random"]["models"]["knn"]["song"]
    assert songs["interval"] == pytest.approx(wilson(round(songs["accuracy"] * songs["n"]), songs["n"]))
    report = render_leak(found)
    assert "| model | slice-random: songs right | song: songs right | artist: songs right |" in report
    assert "every song has one slice, so this is the protocol song" in report
    assert "By vote" not in report


def test_a_missing_package_is_a_reason_and_no_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    config = planted_table(tmp_path, n_slices=5)
    prepared = prepare_under(config, "song")
    held_out = fold_ids(prepared, 2)
    found = learn(prepared, held_out, Learners(net=False, classical=("xgboost", "svm")))
    assert list(found.answers) == ["svm"]
    assert found.not_run["xgboost"].startswith("the classifier xgboost needs the package of that name")
    with pytest.raises(HgenreError, match="the classifier xgboost needs the package"):
        learn(prepared, held_out, Learners(net=False, classical=("xgboost",)))
    told = leak(config, Learners(net=False, classical=("xgboost", "svm")), n_folds=2)
    assert "song: xgboost was not run: the classifier xgboost needs" in render_leak(told)


def test_models_are_told_apart_by_name(tmp_path: Path) -> None:
    groups = {"both": ["genre0", "genre1"], "one": ["genre2"]}
    prepared = prepare_under(planted_table(tmp_path, n_slices=6, tree={"groups": groups}), "song")
    learners = Learners(net=False, tree=True, classical=("svm", "gaussian_nb"))
    done: list[float] = []
    found = learn(prepared, fold_ids(prepared, 2), learners, on_progress=lambda share, what, own: done.append(share))
    names = ["svm", "svm tree", "gaussian_nb", "gaussian_nb tree"]
    assert list(found.answers) == list(found.models) == names
    assert [found.models[name][1] for name in names] == ["flat", "tree"] * 2
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("n_slices", "slices_per_song", "each", "epochs"),
    [(30, 30, 1, 40), (30, 90, 3, 40), (30, 6, 1, 8), (30, 33, 1, 40), (30, 1, 1, 1), (1, 4, 4, 40)],
)
def test_shuffled_slices_are_drawn_as_often_as_those_of_whole_songs(
    tmp_path: Path, n_slices: int, slices_per_song: int, each: int, epochs: int
) -> None:
    """So that a leak is one of songs, and not of a longer training."""
    optimiser = {"slices_per_song": slices_per_song, "epochs": 40}
    config = planted_table(tmp_path, n_slices=n_slices, optimiser=optimiser)
    own = prepare_under(config, "slice-random").config.optimiser
    assert (own.slices_per_song, own.epochs) == (each, epochs)
    assert prepare_under(config, "song").config.optimiser == config.optimiser


def test_slices_that_are_standardised_by_themselves_are_another_matter(tmp_path: Path) -> None:
    mel = np.random.default_rng(0).normal(size=(4, 8, 40)).astype(np.float32)
    np.savez(tmp_path / "mel.npz", mel=mel, ids=list("stuv"), genres=["a", "b"] * 2)
    data = {"arrays": {"archive": str(tmp_path / "mel.npz"), "frame_rate_hz": 10.0, "scale": "dB"}, "protocol": "song"}
    config = config_from_dict({"name": "x", "data": data, "features": {"normalise": "song", "slice_s": 1, "step_s": 1}})
    told = prepare_under(config, "slice-random", cache_dir=tmp_path).warnings
    assert told == (
        "features.normalise is 'song', and a shuffled slice is standardised by itself: nets differ in that too",
    )
    assert prepare_under(config, "song", cache_dir=tmp_path).warnings == ()


def test_trees_of_classifiers_need_groups(tmp_path: Path) -> None:
    prepared = prepare_under(planted_table(tmp_path, n_slices=4), "song")
    with pytest.raises(
        ConfigError, match=r"tree\.groups: is missing, and a tree of classifiers is one of given groups;"
    ):
        learn(prepared, fold_ids(prepared, 2), Learners(net=False, tree=True, classical=("svm",)))


def test_nets_have_a_tree_where_classifiers_have_none(tmp_path: Path) -> None:
    optimiser = {"epochs": 1, "batch_size": 16}
    net = {"kind": "mlp", "dense_widths": [4]}
    prepared = prepare_under(planted_table(tmp_path, n_slices=4, n_genres=2, net=net, optimiser=optimiser), "song")
    found = learn(prepared, fold_ids(prepared, 2)[:1], Learners(tree=True, classical=("svm",)))
    assert list(found.answers) == ["flat", "tree", "svm"]
    assert found.warnings == (
        "tree.groups is missing, and a tree of classifiers is one of given groups: the classifiers are flat",
    )


def test_nets_that_cannot_be_fitted_leave_the_classifiers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverged(*_: Any, **__: Any) -> OutOfFold:
        raise FeatureError("training diverged in epoch 3")

    monkeypatch.setattr(module, "nets_out_of_fold", diverged)
    config = planted_table(tmp_path, n_slices=4)
    found = leak(config, Learners(classical=("svm",)), n_folds=2)
    for own in found["protocols"].values():
        assert list(own["models"]) == ["svm"]
        assert own["not_run"] == {"nets": "training diverged in epoch 3"}
    assert "- song: nets was not run: training diverged in epoch 3" in render_leak(found)
    with pytest.raises(FeatureError, match="training diverged"):
        leak(config, Learners(), n_folds=2)
    prepared = prepare_under(config, "song")
    dropped = ablate(prepared, fold_ids(prepared, 2), ["genre0"], Learners(classical=("svm",)))
    assert list(dropped["dropped"]["genre0"]["models"]) == ["svm"]
    assert dropped["not_run"] == {"nets": "training diverged in epoch 3"}


def test_a_protocol_in_which_a_node_has_no_songs_is_a_reason_and_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_artists(prepared: Prepared, *arguments: Any, **named: Any) -> Found:
        if prepared.config.data.protocol == "artist":
            raise FeatureError("node 'root' has 3 training and 0 validation songs")
        return learn(prepared, *arguments, **named)

    monkeypatch.setattr(module, "learn", without_artists)
    found = leak(planted_table(tmp_path, n_slices=5), KNN, n_folds=2)
    assert list(found["protocols"]) == ["slice-random", "song"]
    assert found["not_run"] == {"artist": "node 'root' has 3 training and 0 validation songs"}


def test_where_all_is_right_the_interval_knows_how_few_artists_there_are(tmp_path: Path) -> None:
    prepared = prepare_under(planted_table(tmp_path, genre_signal=100.0, n_slices=10), "song")
    answers = learn(prepared, fold_ids(prepared, 2), KNN).answers["knn"]
    found = figures(answers, prepared.labels)["slice"]
    assert (found["accuracy"], found["n"]) == (1.0, 240)
    assert found["interval"] == pytest.approx(wilson(12, 12))
    wrong = [replace(o, true_idx=(o.true_idx + 1) % 3) for o in answers]
    assert figures(wrong, prepared.labels)["slice"]["interval"] == pytest.approx(wilson(0, 12))


def test_studies_train_no_rivals(tmp_path: Path) -> None:
    rivals = without_rivals(planted_table(tmp_path)).rivals
    assert (rivals.flat_ensembles, rivals.shared_trunk) == (False, False)


def test_a_slices_interval_is_drawn_over_artists(tmp_path: Path) -> None:
    prepared = prepare_under(planted_table(tmp_path, song_signal=10.0, n_slices=10), "song")
    answers = learn(prepared, fold_ids(prepared, 2), KNN).answers["knn"]
    found = figures(answers, prepared.labels)["slice"]
    by_artist: dict[str, list[bool]] = {}
    for o in answers:
        by_artist.setdefault(o.cluster, []).extend((o.slice_genre_idx == o.true_idx).tolist())
    assert len(by_artist) == 12
    right = np.array([sum(own) for own in by_artist.values()])
    random = np.random.default_rng(1)
    drawn = right[random.integers(0, 12, (20_000, 12))].mean(axis=1) / 20
    assert np.allclose(found["interval"], np.quantile(drawn, [0.025, 0.975]), atol=0.02)


def results(slices: tuple[float, float, float], truth: tuple[float, float, float], **entries: Any) -> dict[str, Any]:
    """What ``leak`` tells of one flat net: accuracy and interval under slice-random, and under song."""

    def scored(accuracy: float, low: float, high: float) -> dict[str, Any]:
        return {"accuracy": accuracy, "interval": (low, high)}

    protocols = {
        "slice-random": {"models": {"flat": {"slice": scored(*slices), "song": scored(*slices)}}},
        "song": {"models": {"flat": {"slice": scored(*truth), "song": scored(0.55, 0.5, 0.6)}}},
    }
    return {"protocols": protocols, "one_slice_a_song": False, **entries}


@pytest.mark.parametrize(
    ("claim", "truth", "said"),
    [
        ((0.92, 0.9, 0.94), (0.47, 0.42, 0.52), "47.0 % of slices of unheard songs: 45.0 points of the claim are leak"),
        ((0.5, 0.45, 0.55), (0.47, 0.42, 0.52), "+3.0 points, which chance could explain: the intervals overlap"),
        ((0.5, 0.45, 0.52), (0.55, 0.52, 0.6), "-5.0 points, which chance could explain: the intervals overlap"),
        ((0.3, 0.25, 0.35), (0.47, 0.42, 0.52), "nothing leaks, the claim is 17.0 points too low"),
    ],
)
def test_the_sentence_goes_by_the_intervals(claim: Any, truth: Any, said: str) -> None:
    sentence = leak_sentence(results(claim, truth), "flat")
    assert sentence.startswith(f"the flat net: under slice-random it claims {100 * claim[0]:.1f} % of slices; ")
    assert said in sentence
    assert sentence.endswith("By vote it names 55.0 % of these songs (50.0 to 60.0).")


def test_nothing_is_said_of_what_is_not_known() -> None:
    found = results((0.9, 0.8, 1.0), (0.5, 0.4, 0.6))
    assert leak_sentence(found, "svm") == ""
    del found["protocols"]["slice-random"]
    assert leak_sentence(found, "flat") == ""
