"""Nets that are trained once and found again: by what they follow from, whole or not at all."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.bundle.bundle import flatten
from hgenre.data.manifest import Song
from hgenre.errors import HgenreError
from hgenre.labels import Labels
from hgenre.nets.spec import NetSpec
from hgenre.training import kept_nets, node_fits
from hgenre.training.config import RunConfig
from hgenre.training.node_fits import CalibratedNet, NodeFits, Start
from hgenre.training.progress import Work
from hgenre.training.songs import LearningSongs
from hgenre.tree.spec import Node, flat_tree, tree_from_groups
from tests.planted_songs import planted_songs
from tests.test_training_fit import FACTS, GROUPS, LABELS, TRAIN, VALIDATION, config_with

CONFIG = config_with(
    net={"kind": "mlp", "dense_widths": [4], "dropout": 0.0},
    optimiser={"epochs": 2, "batch_size": 8, "min_steps": 2, "learning_rate": 0.02},
)
INSECTS = Node("ant+bee", ("ant", "bee"))


def fits(kept_in: Path | None, config: RunConfig = CONFIG, seed: int = 0, train: LearningSongs = TRAIN) -> NodeFits:
    work = Work(config, LABELS, train, lambda progress: None)
    return NodeFits(config, LABELS, train, VALIDATION, FACTS, seed, work, kept_in)


def specialist(run: NodeFits, node: Node = INSECTS) -> CalibratedNet:
    return run.node(node.name, node, CONFIG.net)[0]


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of nets that were trained."""
    names: list[str] = []
    train_net = node_fits.train_net

    def noted(net: Any, task: Any, *others: Any, **named: Any) -> Any:
        names.append(task.name)
        return train_net(net, task, *others, **named)

    monkeypatch.setattr(node_fits, "train_net", noted)
    return names


def same(one: CalibratedNet, other: CalibratedNet) -> bool:
    a, b = flatten(one.variables), flatten(other.variables)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_a_net_is_trained_once_and_then_found(tmp_path: Path, trained: list[str]) -> None:
    first_run, second_run = fits(tmp_path), fits(tmp_path)
    first, second = specialist(first_run), specialist(second_run)
    assert trained == ["ant+bee"]
    assert same(first, second)
    assert (first.temperature, first.address) == (second.temperature, second.address)
    assert first_run.history == second_run.history
    assert same(first, specialist(fits(None)))


def test_what_a_net_follows_from_decides() -> None:
    """Everything that could change a weight changes the address."""
    flat = flat_tree(LABELS).root
    longer = dataclasses.replace(CONFIG, optimiser=dataclasses.replace(CONFIG.optimiser, epochs=3))
    louder = dataclasses.replace(CONFIG, augment=dataclasses.replace(CONFIG.augment, gain_db=1.0))
    own = dataclasses.replace(CONFIG, features=dataclasses.replace(CONFIG.features, normalise="song"))
    fewer = TRAIN.where([i != 1 for i in range(len(TRAIN))])
    first, warm = fits(None), Start("another net", lambda drawn: drawn)

    def of(run: NodeFits, node: Node = INSECTS, name: str = "ant+bee", **options: Any) -> str:
        return run.address_of(name, node, **{"spec": CONFIG.net, **options})

    addresses = [
        of(first),
        of(fits(None, seed=1)),
        of(fits(None, longer)),
        of(fits(None, louder)),
        of(fits(None, own)),
        of(fits(None, train=fewer)),
        of(first, Node("bee+ant", ("bee", "ant"))),
        of(first, flat),
        of(first, name="another draw"),
        of(first, start=warm),
        of(first, flat, heads=tree_from_groups(LABELS, GROUPS)),
        of(first, spec=dataclasses.replace(CONFIG.net, dropout=0.5)),
    ]
    assert len(set(addresses)) == len(addresses)
    assert of(fits(None)) == addresses[0]


def test_a_song_of_another_genre_is_another_song_where_children_hold_several() -> None:
    """A genre of few songs is drawn as often as one of many, so its songs count for more."""
    root = tree_from_groups(LABELS, GROUPS).root
    moved = dataclasses.replace(TRAIN, genre_idx=np.where(np.arange(len(TRAIN)) == 0, 1, TRAIN.genre_idx))
    assert LABELS.genres[TRAIN.genre_idx[0]] == "ant"
    told, other = (fits(None, train=train).address_of("root", root, CONFIG.net) for train in (TRAIN, moved))
    assert told != other


def test_pretrained_layers_of_a_forerunner_count_too(tmp_path: Path) -> None:
    first = NetSpec("vgg16", (16, 32, 64, 128), (4,), input_size=(32, 32))
    addresses = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(name)
        config = dataclasses.replace(CONFIG, net=first, next_net=CONFIG.net, pretrained=str(tmp_path / name))
        run = fits(None, config)
        addresses.append(run.address_of("ant+bee", INSECTS, CONFIG.net))
        warm = run.address_of("ant+bee", INSECTS, CONFIG.net, Start("another net", lambda drawn: drawn))
        addresses.append(warm)
    assert addresses[0] != addresses[2]
    assert addresses[1] == addresses[3]


def test_another_file_under_the_same_song_id_is_another_song(tmp_path: Path) -> None:
    changed = {i: Song(i, song.path, song.genre, sha256="f" * 64) for i, song in FACTS.items()}
    work = Work(CONFIG, LABELS, TRAIN, lambda progress: None)
    run = NodeFits(CONFIG, LABELS, TRAIN, VALIDATION, changed, 0, work, tmp_path)
    assert specialist(run).address != specialist(fits(tmp_path)).address


@pytest.mark.parametrize("damage", ["cut", "other bytes", "empty", "not finite", "other shapes", "no facts"])
def test_a_damaged_net_is_trained_again(tmp_path: Path, trained: list[str], damage: str) -> None:
    from safetensors.numpy import load, save

    first = specialist(fits(tmp_path))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    arrays = load(whole)
    name, array = next(iter(arrays.items()))
    match damage:
        case "cut":
            file.write_bytes(whole[: len(whole) // 2])
        case "other bytes":
            file.write_bytes(b"\xff" * 100)
        case "empty":
            file.write_bytes(b"")
        case "not finite":
            file.write_bytes(save({**arrays, name: np.full_like(array, np.nan)}, {"facts": facts_of(whole)}))
        case "other shapes":
            file.write_bytes(save({**arrays, name: np.zeros(7, np.float32)}, {"facts": facts_of(whole)}))
        case "no facts":
            file.write_bytes(save(arrays, {"facts": "{}"}))
    again = specialist(fits(tmp_path))
    assert trained == ["ant+bee", "ant+bee"]
    assert same(first, again)
    assert file.read_bytes() == whole or load(file.read_bytes()).keys() == arrays.keys()
    specialist(fits(tmp_path))
    assert len(trained) == 2


def facts_of(data: bytes) -> str:
    import json

    size = int.from_bytes(data[:8], "little")
    return str(json.loads(data[8 : 8 + size])["__metadata__"]["facts"])


def test_a_full_disk_is_named_and_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_nets.os, "fsync", full)
    with pytest.raises(HgenreError, match=r"cannot be written \(No space left on device\); make room"):
        specialist(fits(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_specialist_is_the_same_beside_other_genres(tmp_path: Path, trained: list[str]) -> None:
    """Under a song's own normalisation nothing of the other genres is left, so a larger label list finds it too."""
    config = dataclasses.replace(CONFIG, features=dataclasses.replace(CONFIG.features, normalise="song"))
    first = specialist(fits(tmp_path, config))
    labels = Labels((*LABELS.genres, "eel"))
    five = planted_songs([4, 4, 4, 4, 0], seed=1)
    work = Work(config, labels, five, lambda progress: None)
    run = NodeFits(config, labels, five, VALIDATION, FACTS, 0, work, tmp_path)
    assert same(first, specialist(run))
    assert trained == ["ant+bee"]
