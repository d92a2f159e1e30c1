"""What a run's models said of held-out songs: heard once, kept whole, and asked again."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.exported import bundle_program, weights_of
from hgenre.data.manifest import Song
from hgenre.data.splits import clusters
from hgenre.errors import HgenreError
from hgenre.held_out import (
    ENSEMBLE,
    FILE,
    FLAT_ROOT,
    PAIR,
    STAGEWISE,
    TREE,
    TUNED,
    HeldOut,
    hear,
    is_tuned,
    n_nets,
    pooled,
    posteriors,
    read_held_out,
    song_outcomes,
    write_held_out,
)
from hgenre.training.fit import FLAT, TRUNK, Fitted, fit
from hgenre.tree.route import Route
from hgenre.tree.spec import ROOT, flat_tree
from tests.held_out_songs import held_out_songs
from tests.small_trees import CHAINED, LABELS, OVERLAPPING, PLAIN
from tests.test_training_fit import FACTS, GROUPS, TRAIN, VALIDATION, config_with
from tests.test_training_fit import LABELS as ANIMALS

EVERY_MODEL = [TREE, STAGEWISE, TUNED, FLAT, ENSEMBLE, PAIR, FLAT_ROOT, TRUNK]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    config = config_with(tree={"groups": GROUPS, "joint_epochs": 1}, net={"kind": "mlp", "dense_widths": [8]})
    return fit(config, ANIMALS, TRAIN, VALIDATION, FACTS, seed=0)


SONGS = [
    Song(song_id, f"{song_id}.wav", ANIMALS.genres[genre_idx], artist=f"artist {i // 2}")
    for i, (song_id, genre_idx) in enumerate(zip(VALIDATION.ids, VALIDATION.genre_idx.tolist(), strict=True))
]
CLUSTERS = clusters(SONGS, by="artist")


def frames(song_id: str) -> np.ndarray:
    if song_id == SONGS[1].song_id:
        return np.full_like(VALIDATION.frames(song_id), -100.0)
    return VALIDATION.frames(song_id)


@pytest.fixture(scope="module")
def held(fitted: Fitted) -> HeldOut:
    return hear(fitted, SONGS, frames, CLUSTERS)


def test_every_model_of_a_fit_is_heard_and_a_silent_song_left_out(held: HeldOut, fitted: Fitted) -> None:
    assert held.song_ids == tuple(song.song_id for i, song in enumerate(SONGS) if i != 1)
    assert [ANIMALS.genres[i] for i in held.true_idx] == [song.genre for i, song in enumerate(SONGS) if i != 1]
    assert len(set(held.clusters)) == 4
    assert list(held.models) == [FLAT, TREE, STAGEWISE, TUNED, f"{FLAT} 2", f"{FLAT} 3", TRUNK]
    assert set(posteriors(held)) == set(EVERY_MODEL)
    assert n_nets(held) == 3
    assert is_tuned(held) == (fitted.tree is fitted.tuned)
    assert fitted.trunk is not None
    assert held.models[TRUNK].temperatures == fitted.trunk.temperatures


def test_the_compiled_program_answers_the_same(held: HeldOut, fitted: Fitted) -> None:
    for name, bundle in ((TREE, fitted.tree), (FLAT, fitted.flat)):
        assert bundle is not None
        program = bundle_program(bundle, Route())
        songs = [(i, [bundle_slices(song.song_id)]) for i, song in enumerate(SONGS) if i != 1]
        answered = answer_all(bundle, Route(), songs, lambda n, p=program: p, weights_of(bundle))  # type: ignore[misc]
        for (_, result), outcome in zip(answered, song_outcomes(held, posteriors(held)[name]), strict=True):
            assert isinstance(result, SongResult)
            assert result.genre_idx == outcome.genre_idx
            np.testing.assert_allclose(result.probabilities, outcome.probabilities, atol=1e-4)
            assert result.logp.argmax(axis=1).tolist() == outcome.slice_genre_idx.tolist()


def bundle_slices(song_id: str) -> np.ndarray:
    return VALIDATION.cut(VALIDATION.ids.index(song_id))


def test_nothing_to_hear_is_an_error(fitted: Fitted) -> None:
    with pytest.raises(HgenreError, match="none of the 1 songs set aside has a slice that is loud enough to judge"):
        hear(fitted, SONGS[1:2], frames, CLUSTERS)


def test_rivals_are_posteriors_too() -> None:
    found = posteriors(held_out_songs())
    assert set(found) == set(EVERY_MODEL)
    for logp in found.values():
        np.testing.assert_allclose(np.exp(logp).sum(axis=1), 1, atol=1e-9)


def test_ensembles_average_probabilities() -> None:
    held = held_out_songs()
    p = [np.exp(held.models[name].log_posterior()) for name in (FLAT, f"{FLAT} 2", f"{FLAT} 3")]
    found = posteriors(held)
    np.testing.assert_allclose(np.exp(found[PAIR]), (p[0] + p[1]) / 2)
    np.testing.assert_allclose(np.exp(found[ENSEMBLE]), sum(p) / 3)


@pytest.mark.parametrize("tree", [PLAIN, OVERLAPPING])
def test_the_flat_root_routes_by_the_flat_nets_groups(tree: Any) -> None:
    held = held_out_songs(20, tree=tree)
    flat_p = np.exp(held.models[FLAT].log_posterior())
    node_p = {name: np.exp(logp) for name, logp in held.models[TREE].node_logp().items()}
    home = [tree.root.home_child_idx(genre) for genre in tree.labels]
    node_p[ROOT] = np.stack([flat_p[:, np.equal(home, i)].sum(axis=1) for i in range(len(tree.root.children))], axis=1)
    np.testing.assert_allclose(node_p[ROOT].sum(axis=1), 1)
    from tests.oracles import genre_probabilities

    expected = [genre_probabilities(tree, {n: p[i].tolist() for n, p in node_p.items()}) for i in range(len(flat_p))]
    np.testing.assert_allclose(np.exp(posteriors(held)[FLAT_ROOT]), expected, atol=1e-12)


def test_a_root_without_a_choice_has_no_flat_rival() -> None:
    assert FLAT_ROOT not in posteriors(held_out_songs(tree=CHAINED))


def test_a_run_without_rivals_or_tree_has_what_it_has() -> None:
    assert set(posteriors(held_out_songs(others=()))) == {TREE, FLAT, FLAT_ROOT}
    alone = held_out_songs(tree=flat_tree(LABELS), others=())
    alone = HeldOut(**{**vars(alone), "models": {FLAT: alone.models[FLAT]}})
    assert set(posteriors(alone)) == {FLAT}
    assert n_nets(alone) == 0


def test_pooled_songs_are_answered_as_in_their_folds() -> None:
    folds = [held_out_songs(13, seed=1), held_out_songs(9, seed=2)]
    together = pooled(folds)
    assert together is not None
    assert together.song_ids == folds[0].song_ids + folds[1].song_ids
    for name in EVERY_MODEL:
        apart = [o for fold in folds for o in song_outcomes(fold, posteriors(fold)[name])]
        for ours, theirs in zip(song_outcomes(together, posteriors(together)[name]), apart, strict=True):
            assert (ours.song_id, ours.cluster, ours.genre_idx) == (theirs.song_id, theirs.cluster, theirs.genre_idx)
            np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-12)


def test_folds_with_trees_of_their_own_are_not_pooled() -> None:
    assert pooled([held_out_songs(tree=PLAIN), held_out_songs(tree=OVERLAPPING)]) is None


def test_outputs_come_back_as_they_were_written(tmp_path: Path) -> None:
    folds = [held_out_songs(13, seed=1), held_out_songs(9, seed=2, tree=OVERLAPPING)]
    write_held_out(tmp_path / FILE, folds)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
    for ours, theirs in zip(folds, read_held_out(tmp_path / FILE), strict=True):
        assert (ours.labels, ours.song_ids, ours.clusters) == (theirs.labels, theirs.song_ids, theirs.clusters)
        for name in ("true_idx", "song_idx", "slice_idx"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
        assert list(ours.models) == list(theirs.models)
        for name, model in ours.models.items():
            again = theirs.models[name]
            assert (model.tree, dict(model.temperatures)) == (again.tree, dict(again.temperatures))
            for node, logits in model.logits.items():
                np.testing.assert_array_equal(logits, again.logits[node])


def rewritten(path: Path, **changed: Any) -> None:
    """The file with other members in place of its own; None takes one away."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            key = name.removesuffix(".npy")
            if key not in changed:
                archive.writestr(name, data)
            elif changed[key] is not None:
                with archive.open(name, "w") as member:
                    np.lib.format.write_array(member, np.asarray(changed[key]), allow_pickle=True)


def facts_with(path: Path, **changed: Any) -> np.ndarray:
    with np.load(path) as file:
        return np.array(json.dumps({**json.loads(str(file["facts"])), **changed}))


def test_a_missing_file_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(HgenreError, match="is missing; it is written by train-tree and cross-validate, run one again"):
        read_held_out(tmp_path / FILE)


def test_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / FILE
    write_held_out(path, [held_out_songs(5)])
    rewritten(path, facts=facts_with(path, schema_version=9))
    with pytest.raises(HgenreError, match="has schema version 9, this hgenre reads 1; run the training again"):
        read_held_out(path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"0/song_idx": None}, "KeyError"),
        ({"0/0/root": np.zeros((2, 2), np.float32)}, "the outputs of node root do not fit"),
        ({"0/0/root": np.array([{"a": 1}], object)}, "allow_pickle"),
        ({"0/song_idx": np.arange(9)[::-1]}, "do not fit|song by song"),
        ({"0/0/root": np.full((9, 2), 1j)}, "the outputs of node root do not fit"),
        ({"0/true_idx": np.array([0.5, 1, 2, 3, 4])}, "songs and slices are not counted in whole numbers"),
        ({"0/true_idx": np.full(5, 7)}, "a song's genre is not in the label list"),
        ({"0/true_idx": np.zeros(4, int)}, "songs and slices differ in number"),
    ],
)
def test_damage_is_told_and_nothing_is_unpickled(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    path = tmp_path / FILE
    write_held_out(path, [held_out_songs(5)])
    rewritten(path, **changed)
    with pytest.raises(HgenreError, match=f"cannot be read .*({message}).*; run the training again"):
        read_held_out(path)


def with_models(path: Path, fold: int, change: Any) -> np.ndarray:
    """The file's facts with one fold's models changed."""
    with np.load(path) as file:
        facts = json.loads(str(file["facts"]))
    facts["folds"][fold]["models"] = change(facts["folds"][fold]["models"])
    return np.array(json.dumps(facts))


NODES = [node.name for node in PLAIN.net_nodes]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda models: [], "need the same models, the flat net among them"),
        (lambda models: models[:2], "need the same models, the flat net among them"),
        (
            lambda models: [{**models[0], "temperatures": {"root": 1e-320, "left": 1, "right": 1}}],
            "root has temperature",
        ),
    ],
)
def test_folds_need_the_same_models_at_fair_temperatures(tmp_path: Path, change: Any, message: str) -> None:
    path = tmp_path / FILE
    write_held_out(path, [held_out_songs(5), held_out_songs(5)])
    rewritten(path, facts=with_models(path, 1, change))
    with pytest.raises(HgenreError, match=f"cannot be read .*{message}"):
        read_held_out(path)


def test_no_folds_are_no_outputs(tmp_path: Path) -> None:
    path = tmp_path / FILE
    write_held_out(path, [held_out_songs(5)])
    rewritten(path, facts=facts_with(path, folds=[]))
    with pytest.raises(HgenreError, match=r"cannot be read .*need the same models"):
        read_held_out(path)


def test_a_file_cut_short_is_told(tmp_path: Path) -> None:
    path = tmp_path / FILE
    write_held_out(path, [held_out_songs(5)])
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(HgenreError, match="cannot be read"):
        read_held_out(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(HgenreError, match=r"nowhere/outputs.npz cannot be written \(No such file or directory\)"):
        write_held_out(tmp_path / "nowhere" / FILE, [held_out_songs(5)])
    (tmp_path / FILE).mkdir()
    with pytest.raises(HgenreError, match=r"outputs\.npz cannot be written \(Is a directory\)"):
        write_held_out(tmp_path / FILE, [held_out_songs(5)])
    assert [path.name for path in tmp_path.iterdir()] == [FILE]
