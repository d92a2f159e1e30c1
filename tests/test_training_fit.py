"""A whole fit in miniature: flat net, tree, groups found or given, and the songs it says it has seen."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pytest

from hgenre.bundle.bundle import flatten
from hgenre.compiled.node_outputs import build_logits
from hgenre.data.manifest import Song
from hgenre.errors import BundleError
from hgenre.labels import Labels
from hgenre.nets import mlp
from hgenre.nets.build import Net, build_net
from hgenre.training import node_fits as module
from hgenre.training.border import config_from_dict
from hgenre.training.config import RunConfig
from hgenre.training.fit import FLAT, Fitted, derived_tree, fit
from hgenre.training.loop import Epoch, NodeTask, TrainedNet, slice_logits
from hgenre.training.node_fits import BEFORE, TRUNK_STAGE, node_task
from hgenre.training.progress import Progress
from hgenre.training.songs import LearningSongs, standard_of
from hgenre.tree.calibration import fit_temperature
from hgenre.tree.draw import draw_tree
from hgenre.tree.spec import child_name, flat_tree, tree_from_groups
from tests.planted_songs import planted_songs
from tests.small_trees import OVERLAPPING, RAGGED

LABELS = Labels(("ant", "bee", "cat", "dog"))
TRAIN = planted_songs([4, 4, 4, 4], seed=1)
VALIDATION = planted_songs([2, 2, 2, 2], seed=2, contrast_db=6.0, longer_frames=60)
FACTS = {song_id: Song(song_id, f"{song_id}.wav", "ant", sha256=f"{i:064x}") for i, song_id in enumerate(TRAIN.ids)}
GROUPS = {"insect": ["ant", "bee"], "mammal": ["cat", "dog"]}


def config_with(**values: Any) -> RunConfig:
    return config_from_dict(
        {
            "name": "tiny",
            "net": {"widths": [4, 8], "dropout": 0.0},
            "optimiser": {"epochs": 3, "batch_size": 8, "min_steps": 6, "slices_per_song": 2, "learning_rate": 0.02},
            "augment": {"freq_mask_mels": 2, "time_mask_frames": 2, "tilt_db": 0.0, "mixup_alpha": 0.3},
            **values,
        }
    )


@pytest.fixture(scope="module")
def progress() -> list[Progress]:
    return []


@pytest.fixture(scope="module")
def fitted(progress: list[Progress]) -> Fitted:
    config = config_with(tree={"groups": GROUPS})
    return fit(config, LABELS, TRAIN, VALIDATION, FACTS, seed=0, about={"licence": "x"}, on_progress=progress.append)


def test_tree_and_flat_rival_learn_from_the_same_songs(fitted: Fitted) -> None:
    assert fitted.tree is not None
    assert fitted.tree.tree == tree_from_groups(LABELS, GROUPS)
    assert fitted.flat.tree == flat_tree(LABELS)
    assert fitted.grouping == {"source": "config"}
    assert (fitted.tree.name, fitted.flat.name) == ("tiny", "tiny-flat")
    assert set(fitted.history) == {FLAT, "root", "insect", "mammal", "rival/flat 2", "rival/flat 3", TRUNK_STAGE}
    assert fitted.tree.songs_seen == fitted.flat.songs_seen
    assert {s.split for s in fitted.tree.songs_seen} == {"train", "validation"}
    wanted = [(i, FACTS[i].sha256, s) for s, part in (("train", TRAIN), ("validation", VALIDATION)) for i in part.ids]
    assert [(s.song_id, s.sha256, s.split) for s in fitted.tree.songs_seen] == wanted
    for bundle in (fitted.tree, fitted.flat):
        names = {node.name for node in bundle.tree.net_nodes}
        assert set(bundle.nets) == set(bundle.variables) == set(bundle.temperatures) == names
        assert all(0.25 <= t <= 8 for t in bundle.temperatures.values())
        assert bundle.about == {"licence": "x"}
        assert bundle.normalisation.kind == "training"


def test_temperature_weighs_songs_alike_however_long(fitted: Fitted) -> None:
    standard = standard_of(fitted.flat.normalisation)
    logits_of = build_logits(build_net(fitted.flat.nets["root"], 4), TRAIN.features)
    logits, song_idx = slice_logits(logits_of, dict(fitted.flat.variables["root"]), VALIDATION, standard, None)
    n_slices = np.bincount(song_idx)
    assert len(set(n_slices.tolist())) > 1
    genre_idx = VALIDATION.genre_idx[song_idx]
    found = fitted.flat.temperatures["root"]
    assert found == pytest.approx(fit_temperature(logits, genre_idx, 1 / n_slices[song_idx]), rel=1e-3)
    assert found != pytest.approx(fit_temperature(logits, genre_idx), rel=1e-2)


def test_progress_goes_from_nothing_to_all(fitted: Fitted, progress: list[Progress]) -> None:
    shares = [p.share_done for p in progress]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert 0 < shares[0] < 0.5
    assert list(dict.fromkeys(p.net for p in progress)) == [
        FLAT,
        "root",
        "insect",
        "mammal",
        "rival/flat 2",
        "rival/flat 3",
        TRUNK_STAGE,
    ]
    assert {p.n_epochs for p in progress} == {3}


def test_same_seed_same_fit_and_groups_do_not_touch_the_flat_net(fitted: Fitted) -> None:
    again = fit(config_with(), LABELS, TRAIN, VALIDATION, FACTS, seed=0, with_tree=False)
    assert again.tree is None
    assert set(again.history) == {FLAT}
    ours, theirs = flatten(again.flat.variables), flatten(fitted.flat.variables)
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert again.flat.temperatures == fitted.flat.temperatures


def test_one_flat_group_is_the_flat_net_itself() -> None:
    fitted = fit(config_with(tree={"groups": list(LABELS)}), LABELS, TRAIN, VALIDATION, FACTS, seed=1)
    assert fitted.tree is not None
    assert set(fitted.history) == {FLAT}
    assert fitted.tree.temperatures == fitted.flat.temperatures
    assert flatten(fitted.tree.variables).keys() == flatten(fitted.flat.variables).keys()


def confused(pairs: Mapping[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Logits (slice, genre) of a net that takes each genre now and then for its partner, two slices a song."""
    songs = np.repeat(VALIDATION.genre_idx, 2)
    logits = np.full((len(songs), len(LABELS)), -4.0)
    logits[np.arange(len(songs)), songs] = 2.0
    for i, genre in enumerate(songs):
        logits[i, pairs[genre]] = 1.5
    return logits, np.repeat(np.arange(len(VALIDATION)), 2)


@pytest.mark.parametrize(
    ("pairs", "groups"),
    [
        ({0: 1, 1: 0, 2: 3, 3: 2}, [["ant", "bee"], ["cat", "dog"]]),
        ({0: 2, 2: 0, 1: 3, 3: 1}, [["ant", "cat"], ["bee", "dog"]]),
    ],
)
def test_groups_are_found_where_the_flat_net_confuses(pairs: dict[int, int], groups: list[list[str]]) -> None:
    for options in ({}, {"n_groups": 2}):
        tree, facts = derived_tree(config_with(tree=options), LABELS, VALIDATION, *confused(pairs))
        assert tree == tree_from_groups(LABELS, {"+".join(group): group for group in groups})
        assert facts["groups"] == groups
        assert facts["source"] == "derived"
        assert np.allclose(np.sum(facts["confusion"], axis=1), 1, atol=1e-4)


def test_genres_that_stand_alone_hang_on_the_root() -> None:
    logits = confused({0: 1, 1: 0, 2: 2, 3: 3})
    tree, _ = derived_tree(config_with(tree={"n_groups": 3}), LABELS, VALIDATION, *logits)
    assert draw_tree(tree).splitlines() == [
        "root",
        "├── [ant+bee]",
        "│   ├── ant",
        "│   └── bee",
        "├── cat",
        "└── dog",
    ]
    logits = confused({0: 0, 1: 2, 2: 1, 3: 3})
    tree, _ = derived_tree(config_with(tree={"n_groups": 3}), LABELS, VALIDATION, *logits)
    assert list(map(child_name, tree.root.children)) == ["bee+cat", "ant", "dog"]


def test_two_genres_need_no_groups() -> None:
    songs = planted_songs([2, 2])
    tree, facts = derived_tree(config_with(), Labels(("a", "b")), songs, np.zeros((4, 2)), np.arange(4))
    assert tree == flat_tree(Labels(("a", "b")))
    assert facts["note"] == "two genres need no groups"


def test_a_genre_in_two_children_counts_for_its_home() -> None:
    by_name = {node.name: node for node in (*OVERLAPPING.nodes, *RAGGED.nodes[1:])}
    task = node_task(by_name["root"], OVERLAPPING.labels, "root")
    assert task.n_children == 3
    assert task.child_of_genre.tolist() == [0, 0, 0, 0, 1, 2]
    assert node_task(by_name["two"], OVERLAPPING.labels, "two").child_of_genre.tolist() == [1, -1, 0, 0, 0, -1]
    assert node_task(by_name["deeper"], RAGGED.labels, "x").child_of_genre.tolist() == [-1, -1, 0, 1, 1, -1]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What every net began with, and what stands for what came of it, in the order of training; nothing is trained."""
    nets: list[tuple[Any, Any]] = []

    def noted(
        net: Net, task: NodeTask, train: LearningSongs, *arguments: Any, seed: int, start: Any, on_epoch: Any
    ) -> TrainedNet:
        begun = start(net.init(jax.random.key(seed), train.features.n_mels, train.slices.n_frames))
        after = jax.tree.map(lambda a: a + 1, begun)
        epoch = Epoch(3, *[1.0] * 7)
        on_epoch(epoch)
        nets.append((begun, after))
        return TrainedNet(after, (epoch,), 3)

    monkeypatch.setattr(module, "train_net", noted)
    return nets


def test_next_nets_go_on_from_their_forerunners(
    trained: list[tuple[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As VGG16 with a new stem does: a frozen head, so that every net needs a forerunner of its own, the trunk too."""
    frozen = frozenset({"dense1", "logits"})
    monkeypatch.setattr(mlp, "frozen", lambda spec: frozen if spec.dropout else frozenset(), raising=False)
    build_net.cache_clear()
    net = {"kind": "mlp", "dense_widths": [8, 4], "norm": False, "dropout": 0.0}
    config = config_with(
        net=net, next_net={**net, "dropout": 0.5}, tree={"groups": GROUPS}, rivals={"flat_ensembles": False}
    )
    done: list[Progress] = []
    fitted = fit(config, LABELS, TRAIN, VALIDATION, FACTS, seed=0, on_progress=done.append)
    build_net.cache_clear()
    names = [FLAT, "root", "insect", "mammal", TRUNK_STAGE]
    assert list(fitted.history) == [own for name in names for own in (f"{name}{BEFORE}", name)]
    assert {own.dropout for own in fitted.flat.nets.values()} == {0.5}
    for (_, before), (begun, _) in zip(trained[::2], trained[1::2], strict=True):
        assert jax.tree.all(jax.tree.map(np.array_equal, begun, before))
    assert done[-1].share_done == pytest.approx(1)


def test_nets_that_start_warm_have_no_forerunner_and_are_not_counted_for_one(trained: list[tuple[Any, Any]]) -> None:
    net = {"kind": "mlp", "dense_widths": [8, 4], "norm": False, "dropout": 0.0}
    following = {**net, "dropout": 0.5}
    config = config_with(
        net=net, next_net=following, node_nets={"insect": net}, tree={"groups": GROUPS, "joint_epochs": 2}
    )
    done: list[Progress] = []
    fitted = fit(config, LABELS, TRAIN, VALIDATION, FACTS, seed=0, on_progress=done.append)
    from_nothing = [FLAT, "rival/flat 2", "rival/flat 3"]
    assert {name for name in fitted.history if name.endswith(BEFORE)} == {f"{name}{BEFORE}" for name in from_nothing}
    # Four whole nets and three forerunners of as many songs, two specialists of half of them, and three nets together.
    n_epochs = 3 * (3 + 3 + 1 + 2 / 2 + 1) + 2 * 3
    assert done[0].share_done == pytest.approx(3 / n_epochs)
    assert done[-1].share_done == pytest.approx(1)


@pytest.mark.parametrize("next_net", [{"kind": "mlp", "dense_widths": [6]}, {"kind": "crnn", "widths": [2]}])
def test_nets_that_share_no_layer_are_refused_before_anything_is_trained(
    trained: list[tuple[Any, Any]], next_net: dict[str, Any]
) -> None:
    config = config_with(net={"kind": "mlp", "dense_widths": [8]}, next_net=next_net)
    with pytest.raises(BundleError, match="has no layer in common with those given: dense1, logits, norm1; needed"):
        fit(config, LABELS, TRAIN, VALIDATION, FACTS, seed=0, with_tree=False)
    assert not trained
