"""A genre dropped: the same songs judged by all three models, and figures that add up."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hgenre.errors import ConfigError, ManifestError, OptionError
from hgenre.held_out import FLAT, TREE
from hgenre.report.ablation import render_ablation
from hgenre.studies import ablate as module
from hgenre.studies.ablate import ablate, barred_answers, pruned, without_genre
from hgenre.studies.folds import OutOfFold
from hgenre.studies.protocols import Found, Learners, learn, prepare_under
from hgenre.training.prepare import Prepared, fold_ids
from hgenre.tree.spec import tree_from_groups
from tests.held_out_songs import held_out_songs
from tests.oracles import barred_vote
from tests.planted_tables import planted_table
from tests.small_trees import LABELS, OVERLAPPING

GROUPS = {"low": ["genre0", "genre1"], "high": ["genre2", "genre3"]}
SVM = Learners(net=False, tree=True, classical=("svm",))


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    config = planted_table(
        tmp_path, n_genres=4, n_slices=4, genre_signal=1.0, song_signal=0.7, tree={"groups": GROUPS}, seed=3
    )
    return prepare_under(config, "song")


def test_all_three_are_judged_by_the_same_songs(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Prepared, Sequence[Sequence[str]]]] = []

    def noted(own: Prepared, held_out: Sequence[Sequence[str]], *arguments: Any, **named: Any) -> Found:
        calls.append((own, held_out))
        return learn(own, held_out, *arguments, **named)

    monkeypatch.setattr(module, "learn", noted)
    held_out = fold_ids(prepared, 3)[:2]
    found = ablate(prepared, held_out, ["genre1", "genre3", "genre1"], SVM)
    # The whole is learned once, each dropped genre once however often it is named.
    assert [own.labels.genres for own, _ in calls] == [
        ("genre0", "genre1", "genre2", "genre3"),
        ("genre0", "genre2", "genre3"),
        ("genre0", "genre1", "genre2"),
    ]
    assert calls[0][1] == held_out
    for (own, ids), genre in zip(calls[1:], ("genre1", "genre3"), strict=True):
        assert ids == [[song_id for song_id in fold if not song_id.startswith(genre)] for fold in held_out]
        assert {song.genre for song in own.songs} == {song.genre for song in own.source.songs} == set(own.labels)
        n = sum(map(len, ids))
        assert found["dropped"][genre]["n_songs"] == n
        for model in found["dropped"][genre]["models"].values():
            assert {model[when]["song"]["n"] for when in ("before", "barred", "after")} == {n}
            assert {model[change]["n"] for change in ("change", "change_barred", "change_learned")} == {n}


def test_figures_add_up(prepared: Prepared) -> None:
    found = ablate(prepared, fold_ids(prepared, 2), ["genre2"], SVM)
    json.dumps(found, allow_nan=False)
    dropped = found["dropped"]["genre2"]
    assert list(dropped["models"]) == ["svm", "svm tree"]
    for model in dropped["models"].values():
        rows = model["per_genre"]
        assert [row["genre"] for row in rows] == ["genre0", "genre1", "genre3"]
        for when in ("before", "barred", "after"):
            n_right = sum(round(row["n"] * row[when]["accuracy"]) for row in rows)
            assert n_right == model[when]["song"]["n_right"]
        for change, (new, old) in {
            "change": ("after", "before"),
            "change_barred": ("barred", "before"),
            "change_learned": ("after", "barred"),
        }.items():
            for own in [{**model, "n": dropped["n_songs"]}, *rows]:
                accuracies = [own[when].get("song", own[when])["accuracy"] for when in (new, old)]
                assert own[change]["difference"] == pytest.approx(accuracies[0] - accuracies[1])
                discordant = own[change]["tree_only"] - own[change]["flat_only"]
                assert discordant == round(own["n"] * own[change]["difference"])
        # An answer that is right stays right when another one is barred.
        assert all(row["change_barred"]["flat_only"] == 0 for row in rows)
        support = {row["genre"]: row["support"] for row in model["after"]["song"]["per_genre"]}
        assert support == {row["genre"]: row["n"] for row in rows}


@given(st.integers(0, 50), st.integers(0, len(LABELS) - 1), st.sampled_from([FLAT, TREE]))
def test_barred_answers_are_those_of_a_slow_vote(seed: int, barred: int, model: str) -> None:
    held = held_out_songs(20, seed, OVERLAPPING, others=())
    p = np.exp(held.models[model].log_posterior())
    folds = cast(OutOfFold, type("Folds", (), {"heard": [held]}))
    answers = barred_answers(folds, model, barred)
    assert [o.song_id for o in answers] == list(held.song_ids)
    for i, outcome in enumerate(answers):
        slices = p[held.song_idx == i].tolist()
        assert outcome.genre_idx == barred_vote(slices, barred)
        assert outcome.probabilities[barred] == 0
        assert outcome.probabilities.sum() == pytest.approx(1)
        assert barred not in outcome.slice_genre_idx


def test_a_slice_that_is_sure_of_the_barred_genre_still_votes() -> None:
    held = held_out_songs(6, others=())
    logits = held.models[FLAT].logits["root"]
    logits[:, 0], logits[:, 1:] = 80, -80 + np.arange(5)
    folds = cast(OutOfFold, type("Folds", (), {"heard": [held]}))
    assert [o.genre_idx for o in barred_answers(folds, FLAT, 0)] == [5] * 6


@pytest.mark.parametrize(
    ("groups", "left"),
    [
        ({"one": ["x", "a"], "two": ["b", "c"]}, ["a", {"two": ["b", "c"]}]),
        ({"one": ["x"], "two": ["b", "c"]}, [{"two": ["b", "c"]}]),
        ({"one": "x", "two": "b"}, ["b"]),
        (["x", "a", {"two": ["b", "c"]}], ["a", {"two": ["b", "c"]}]),
        ({"deep": {"deeper": ["x", "a"], "other": ["b", "c"]}}, [{"deep": ["a", {"other": ["b", "c"]}]}]),
        ({"deep": {"deeper": ["x"], "other": ["b", "c"]}, "d": ["d", "e"]}, [{"other": ["b", "c"]}, {"d": ["d", "e"]}]),
        ({"one": ["x", "a"], "two": ["x", "a"], "three": ["b", "c"]}, ["a", {"three": ["b", "c"]}]),
        ([["x", "a"], ["b"]], ["a", "b"]),
    ],
)
def test_groups_without_a_genre(groups: Any, left: list[Any]) -> None:
    assert pruned(groups, "x") == left
    assert pruned(left, "x") == left


def test_songs_and_groups_without_a_genre_make_a_tree(prepared: Prepared) -> None:
    smaller = without_genre(prepared, "genre0")
    groups = smaller.config.tree.groups
    assert groups == ["genre1", {"high": ["genre2", "genre3"]}]
    assert tree_from_groups(smaller.labels, groups).labels == smaller.labels
    assert {song.genre for song in prepared.songs} == {f"genre{g}" for g in range(4)}


def test_what_cannot_be_dropped_is_named(prepared: Prepared) -> None:
    held_out = fold_ids(prepared, 2)
    with pytest.raises(OptionError) as unknown:
        ablate(prepared, held_out, ["genre1", "polka"], SVM)
    assert unknown.value.problems == (
        ("drop", "found 'polka', which is no genre of these songs; they have genre0, genre1, genre2, genre3"),
    )
    with pytest.raises(OptionError, match="no genre was named; the songs have genre0, genre1"):
        ablate(prepared, held_out, [], SVM)
    two = without_genre(without_genre(prepared, "genre0"), "genre1")
    with pytest.raises(OptionError, match="without one of genre2, genre3 one genre is left; a classifier needs at"):
        ablate(two, held_out, ["genre2"], SVM)
    with pytest.raises(
        ManifestError, match="all 8 songs set aside are of the dropped genre 'genre1', so there is noth"
    ):
        ablate(prepared, [[s.song_id for s in prepared.songs if s.genre == "genre1"]], ["genre1"], SVM)


def test_a_tree_needs_groups(tmp_path: Path) -> None:
    prepared = prepare_under(planted_table(tmp_path, n_slices=2), "song")
    with pytest.raises(ConfigError, match=r"tree\.groups: is missing: groups found in the flat net's confusions would"):
        ablate(prepared, fold_ids(prepared, 2), ["genre1"], SVM)


def test_a_fold_of_the_dropped_genre_alone_is_no_matter(prepared: Prepared) -> None:
    ids = [song.song_id for song in prepared.songs]
    alone = [song_id for song_id in ids if song_id.startswith("genre1")][:2]
    held_out = [alone, [song_id for song_id in ids if song_id not in alone][::4]]
    found = ablate(prepared, held_out, ["genre1"], Learners(net=False, classical=("svm",)))
    assert found["dropped"]["genre1"]["n_songs"] == sum(not song_id.startswith("genre1") for song_id in held_out[1])


def test_p_values_of_shuffled_slices_are_called_too_small(tmp_path: Path) -> None:
    prepared = prepare_under(planted_table(tmp_path, n_slices=4), "slice-random")
    found = ablate(prepared, fold_ids(prepared, 2), ["genre0"], Learners(net=False, classical=("svm",)))
    report = render_ablation({"name": "x", "command": "x", "protocol": "slice-random", "folds": 2, **found})
    assert "McNemar's p takes slices of one song for independent: too small." in report


def test_what_could_not_be_fitted_is_told(prepared: Prepared) -> None:
    few = [[song.song_id for song in prepared.songs if int(song.song_id[-1]) > 1]]
    found = ablate(prepared, few, ["genre0"], Learners(net=False, tree=True, classical=("knn", "svm")))
    assert list(found["dropped"]["genre0"]["models"]) == ["svm", "svm tree"]
    report = render_ablation({"name": "few", "command": "hgenre ablate", "protocol": "song", "folds": 5, **found})
    assert "- knn was not run: node 'low' has 16 training rows, knn needs 19" in report
