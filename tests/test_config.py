"""Configurations: read with defaults, and every mistake in one go, each with its dotted path."""

import json
import re
from dataclasses import fields, is_dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import hgenre
from hgenre.errors import ConfigError
from hgenre.nets.spec import NetSpec
from hgenre.training import config as config_room
from hgenre.training.border import config_from_dict, read_config
from hgenre.training.config import RunConfig, config_to_dict

EVERYTHING = """
name = "run-1.a_b"
seeds = [3, 4]
licence = "CC0"

[data]
manifest = "songs.csv"
protocol = "song"
use_splits = ["train"]

[features]
sample_rate_hz = 8000
fmax_hz = 4000.0

[net]
kind = "deep_cnn"
widths = [4, 8]

[specialist_net]
widths = [4]

[tree.groups]
calm = ["classical", { sad = ["blues", "jazz"] }]
loud = ["metal"]

[optimiser]
epochs = 3
learning_rate = 1e-3

[augment]
gain_db = 0
"""


def read(path: Path, text: str) -> RunConfig:
    path.write_text(text, encoding="utf-8")
    return read_config(path)


def problems(values: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        config_from_dict(values)
    assert len({where for where, _ in caught.value.problems}) <= len(caught.value.problems)
    return dict(caught.value.problems)


def test_a_file_is_read_with_its_tables_and_defaults(tmp_path: Path) -> None:
    config = read(tmp_path / "run.toml", EVERYTHING)
    assert config.name == "run-1.a_b"
    assert config.seeds == (3, 4)
    assert config.data.manifest == str(tmp_path / "songs.csv")
    assert config.data.use_splits == ("train",)
    assert config.features.sample_rate_hz == 8000
    assert config.features.n_mels == 96
    assert config.net == NetSpec("deep_cnn", widths=(4, 8))
    assert config.specialist_net == NetSpec(widths=(4,))
    assert config.tree.groups == {"calm": ["classical", {"sad": ["blues", "jazz"]}], "loud": ["metal"]}
    assert config.optimiser.learning_rate == 1e-3
    assert config.augment.gain_db == 0.0


def test_a_name_is_enough() -> None:
    assert config_from_dict({"name": "x"}) == RunConfig(name="x")


def test_configuration_survives_json() -> None:
    config = config_from_dict({"name": "x", "specialist_net": {"widths": [2]}, "tree": {"groups": ["a", {"g": ["b"]}]}})
    assert config_from_dict(json.loads(json.dumps(config_to_dict(config)))) == config


@pytest.mark.parametrize(
    ("values", "where", "message"),
    [
        ({}, "name", "Field required"),
        ({"nmae": "x"}, "nmae", "Unexpected keyword argument, found 'x'"),
        ({"optimiser": {"epoch": 3}}, "optimiser.epoch", "Unexpected keyword argument, found 3"),
        ({"optimiser": {"epochs": "many"}}, "optimiser.epochs", "valid integer"),
        ({"optimiser": {"epochs": 2.5}}, "optimiser.epochs", "valid integer, found 2.5"),
        ({"optimiser": {"epochs": "3"}}, "optimiser.epochs", "valid integer, found '3'"),
        ({"optimiser": {"epochs": True}}, "optimiser.epochs", "valid integer, found True"),
        ({"optimiser": {"learning_rate": "1e-3"}}, "optimiser.learning_rate", "valid number, found '1e-3'"),
        ({"optimiser": {"resident": "no"}}, "optimiser.resident", "valid boolean, found 'no'"),
        ({"rivals": {"shared_trunk": "no"}}, "rivals.shared_trunk", "valid boolean, found 'no'"),
        ({"rivals": {"flat_ensembles": 0}}, "rivals.flat_ensembles", "valid boolean, found 0"),
        ({"tree": {"warm_start": "false"}}, "tree.warm_start", "valid boolean, found 'false'"),
        ({"seeds": ["1"]}, "seeds.0", "valid integer, found '1'"),
        ({"net": {"widths": ["16"]}}, "net.widths.0", "valid integer, found '16'"),
        ({"augment": {"gain_db": date(2026, 1, 1)}}, "augment.gain_db", "valid number, found '2026-01-01'"),
        ({"optimiser": 3}, "optimiser", "Input should be a table"),
        ({"net": {"kind": "cnn"}}, "net.kind", "found 'cnn', needed one of short_chunk, deep_cnn, "),
        ({"net": {"widths": ["x"]}}, "net.widths.0", "valid integer"),
        ({"specialist_net": {"width": [4]}}, "specialist_net.width", "Unexpected keyword argument"),
        (
            {"data": {"protocol": "album"}},
            "data.protocol",
            "'artist', 'listed' or 'slice-random'",
        ),
        ({"tree": {"groups": 3}}, "tree.groups", "valid array"),
        ({"features": {"slice_s": float("inf")}}, "features.slice_s", "finite number"),
        ({"net": {"dropout": float("nan")}}, "net.dropout", "finite number"),
        ({"name": "a b"}, "name", "found 'a b', needed letters, digits, dot, dash, underscore"),
        ({"name": "../x"}, "name", "needed letters"),
        ({"seeds": []}, "seeds", "at least one seed, none twice"),
        ({"seeds": [1, 1]}, "seeds", "at least one seed, none twice"),
        ({"data": {"seed": -1}}, "data.seed", "found -1, needed 0 or more"),
        ({"data": {"test_share": 1.0}}, "data.test_share", "a share in [0, 1)"),
        ({"data": {"validation_share": 0.0}}, "data.validation_share", "a share in (0, 1)"),
        ({"features": {"slice_s": 0.0}}, "features.slice_s", "seconds above 0"),
        ({"features": {"step_s": -1.0}}, "features.step_s", "seconds above 0"),
        ({"features": {"hop_length": 2000}}, "features.n_fft", "n_fft >= hop_length >= 1"),
        ({"features": {"n_mels": 0}}, "features.n_mels", "at least 1"),
        ({"features": {"fmax_hz": 9000.0}}, "features.fmax_hz", "fmax_hz <= sample_rate_hz / 2"),
        ({"optimiser": {"epochs": 0}}, "optimiser.epochs", "at least 1"),
        ({"optimiser": {"batch_size": 1}}, "optimiser.batch_size", "at least 2"),
        ({"optimiser": {"slices_per_song": 0}}, "optimiser.slices_per_song", "at least 1"),
        ({"optimiser": {"min_steps": 0}}, "optimiser.min_steps", "at least 1"),
        ({"optimiser": {"steps_per_dispatch": 0}}, "optimiser.steps_per_dispatch", "at least 1"),
        ({"optimiser": {"precision": "half"}}, "optimiser.precision", "'float32' or 'bfloat16'"),
        ({"optimiser": {"learning_rate": 0.0}}, "optimiser.learning_rate", "above 0"),
        ({"optimiser": {"weight_decay": -0.1}}, "optimiser.weight_decay", "0 or more"),
        ({"optimiser": {"label_smoothing": 1.0}}, "optimiser.label_smoothing", "in [0, 1)"),
        ({"optimiser": {"patience": 0}}, "optimiser.patience", "at least 1"),
        ({"optimiser": {"balance": 1.5}}, "optimiser.balance", "in [0, 1]"),
        ({"tree": {"n_groups": 1}}, "tree.n_groups", "at least 2"),
        ({"tree": {"groups": ["a", "b"], "n_groups": 2}}, "tree.n_groups", "keep one of them"),
        ({"augment": {"mixup_alpha": -1.0}}, "augment.mixup_alpha", "0 or more"),
        ({"net": {"dropout": 1.0}}, "net.dropout", "in [0, 1)"),
        ({"net": {"widths": []}}, "net.widths", "widths of at least 1"),
        ({"specialist_net": {"dense_widths": [16]}}, "specialist_net.dense_widths", "short_chunk has no dense_widths"),
        ({"net": {"kind": "deep_cnn", "dense_widths": [4, 0]}}, "net.dense_widths", "widths of at least 1"),
        ({"net": {"kind": "crnn", "cell": "tanh"}}, "net.cell", "Input should be 'gru' or 'lstm', found 'tanh'"),
        (
            {"node_nets": {"loud": {"widths": []}}, "tree": {"groups": {"loud": ["a", "b"], "c": ["c"]}}},
            "node_nets.loud.widths",
            "widths of at least 1",
        ),
        ({"next_net": {"kind": "cnn"}}, "next_net.kind", "found 'cnn', needed one of short_chunk"),
        ({"pretrained": "vgg16.h5"}, "pretrained", "is for nets of kind 'vgg16', and there is none"),
        ({"next_net": {"kind": "vgg16"}}, "pretrained", "is missing: 'vgg16' needs it"),
        (
            {"specialist_net": {"kind": "vgg16", "stem": "new"}, "pretrained": "vgg16.h5"},
            "specialist_net.stem",
            "found 'new', needed 'pretrained': only next_net has a net before it to take its head from",
        ),
        ({"features": {"cepstra": 13}}, "features.cepstra", "Input should be a table"),
        ({"data": {"join": "songs.csv"}}, "data.join", "is for data.table; an archive has data.arrays.join"),
        ({"data": {"lists": {"train": "a.txt"}}}, "data.lists", "is for protocol 'listed', but data.protocol is 'art"),
        ({"data": {"arrays": {"archive": "a.npz", "scale": "dB"}}}, "data.arrays.frame_rate_hz", "Field required"),
        ({"optimiser": {"schedule": "linear"}}, "optimiser.schedule", "'cosine' or 'constant', found 'linear'"),
        ({"optimiser": {"keep": "first"}}, "optimiser.keep", "'best' or 'last', found 'first'"),
    ],
)
def test_each_mistake_is_named_with_its_path(values: dict[str, Any], where: str, message: str) -> None:
    found = problems(values if where == "name" else {"name": "x", **values})
    assert list(found) == [where]
    assert message in found[where]


def test_node_nets_need_groups() -> None:
    assert problems({"name": "x", "node_nets": {"loud": {"widths": [4]}}}) == {
        "node_nets": "name nodes, and only tree.groups gives them names; give the groups"
    }
    net = {"loud": {"widths": [4]}}
    config = config_from_dict({"name": "x", "tree": {"groups": {"loud": ["a"], "b": ["b"]}}, "node_nets": net})
    assert config.node_nets["loud"] == NetSpec(widths=(4,))


def test_one_place_for_the_songs() -> None:
    arrays = {"archive": "a.npz", "frame_rate_hz": 10.0, "scale": "dB"}
    data = {"manifest": "m.csv", "arrays": arrays, "table": "t.csv"}
    found = problems({"name": "x", "data": data, "augment": NO_AUGMENT})
    assert found == dict.fromkeys(("data.arrays", "data.table"), "stands beside data.manifest; keep one of them")


NO_AUGMENT = {"gain_db": 0, "tilt_db": 0, "n_freq_masks": 0, "n_time_masks": 0}


@pytest.mark.parametrize(
    ("values", "where", "message"),
    [
        ({"data": {"table": "t.csv"}, "augment": {**NO_AUGMENT, "gain_db": 3}}, "augment.gain_db", "a table of feat"),
        ({"data": {"statistics": True}, "augment": {**NO_AUGMENT, "n_time_masks": 1}}, "augment.n_time_masks", "found"),
        ({"data": {"table": "t.csv"}, "features": {"normalise": "song"}}, "features.normalise", "less its own mean is"),
        ({"data": {"table": "t.csv"}, "features": {"cepstra": {}}}, "features.cepstra", "are of spectrograms, and a t"),
        ({"features": {"cepstra": {"n_mfcc": 0}}}, "features.cepstra.n_mfcc", "found 0, needed at least 1"),
        ({"features": {"cepstra": {"lifter": -1}}}, "features.cepstra.lifter", "found -1, needed 0 or more"),
        ({"data": {"statistics": True}, "features": {"cepstra": {}}}, "features.cepstra", "a table has none; take it"),
        ({"data": {"table": "t.csv", "statistics": True}}, "data.statistics", "data.table has rows already; keep one"),
        ({"data": {"table": "t.csv"}, "features": {"slice_s": 9}}, "features.slice_s", "found 9.0, and the rows of d"),
        (
            {"features": {"cepstra": {}}, "augment": {**NO_AUGMENT, "tilt_db": 6, "n_time_masks": 2}},
            "augment.tilt_db",
            "found 6.0, needed 0: there are no mel bands in cepstra",
        ),
    ],
)
def test_what_rows_and_cepstra_cannot_have_is_named(values: dict[str, Any], where: str, message: str) -> None:
    found = problems({"name": "x", "augment": NO_AUGMENT, **values})
    assert list(found) == [where]
    assert message in found[where]


RECIPE = {"row": 1, "title": "a net", "source": "a paper"}


@pytest.mark.parametrize(
    ("recipe", "where", "message"),
    [
        ({"row": "1"}, "recipe.row", "valid integer, found '1'"),
        ({"n_folds": 1}, "recipe.n_folds", "found 1, needed at least 2"),
        ({"folds_run": 6}, "recipe.folds_run", "found 6, needed 1 to recipe.n_folds"),
        ({"folds_run": 0}, "recipe.folds_run", "found 0, needed 1 to recipe.n_folds"),
        ({"protocols": ["album"]}, "recipe.protocols.0", "'slice-random', 'song' or 'artist', found 'album'"),
        ({"protocols": ["song", "song"]}, "recipe.protocols", "needed each protocol once"),
        ({"without": "rock", "protocols": ["song"]}, "recipe.without", "found 'rock', needed nothing beside recipe.pr"),
        ({"with_net": False}, "recipe.with_net", "found False, needed true, or recipe.classical"),
        ({"reported": [{"percent": "half"}]}, "recipe.reported.0.percent", "valid number, found 'half'"),
        ({"reported": [{}, {"percent": 7100}]}, "recipe.reported.1.percent", "found 7100.0, needed 0 to 100"),
        ({"reported": [{"n": 0}]}, "recipe.reported.0.n", "found 0, needed at least 1"),
        ({"reported": [{"figure": "album"}]}, "recipe.reported.0.figure", "'song' or 'slice', found 'album'"),
        (
            {"protocols": ["song"], "reported": [{"protocol": "artist"}]},
            "recipe.reported.0.protocol",
            "found 'artist', needed one of recipe.protocols, or none",
        ),
    ],
)
def test_mistakes_of_a_recipe_are_named(recipe: dict[str, Any], where: str, message: str) -> None:
    found = problems({"name": "x", "recipe": {**RECIPE, **recipe}})
    assert list(found) == [where]
    assert message in found[where]


def test_a_recipe_has_one_seed() -> None:
    found = problems({"name": "x", "seeds": [0, 1], "recipe": RECIPE})
    assert found == {"seeds": "found (0, 1), needed one seed: a recipe is run once"}


def test_all_mistakes_come_at_once_whatever_their_kind() -> None:
    found = problems(
        {
            "colour": "red",
            "data": {"test_share": "half", "seed": -2},
            "features": 7,
            "net": {"widths": [4, "wide"], "dropout": 2.0},
            "tree": {"groups": {"a": ["b"]}, "n_groups": 3},
            "optimiser": {"epochs": 0, "patience": None, "speed": 1},
        }
    )
    assert set(found) == {
        "name",
        "colour",
        "data.test_share",
        "data.seed",
        "features",
        "net.widths.1",
        "net.dropout",
        "tree.n_groups",
        "optimiser.epochs",
        "optimiser.patience",
        "optimiser.speed",
    }


def test_the_message_counts_the_mistakes_and_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "run.toml", 'name = "x"\n[optimiser]\nepochs = 0\nbatch_size = 0\n')
    assert str(caught.value).splitlines() == [
        f"{tmp_path / 'run.toml'}: 2 mistakes in the configuration:",
        "  optimiser.epochs: found 0, needed at least 1",
        "  optimiser.batch_size: found 0, needed at least 2",
    ]


@pytest.mark.parametrize("text", ["name = ", "name = 'x'\nname = 'y'", "[net\n", "{}"])
def test_what_is_not_toml_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"run.toml: 1 mistake in the configuration:\n  file: is not TOML: "):
        read(tmp_path / "run.toml", text)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="file: cannot be read: No such file or directory"):
        read_config(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="file: cannot be read: Is a directory"):
        read_config(tmp_path)
    (tmp_path / "run.toml").write_bytes(b"name = '\xff'")
    with pytest.raises(ConfigError, match="file: is not TOML"):
        read_config(tmp_path / "run.toml")


def test_manifest_may_name_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = 'name = "x"\n[data]\nmanifest = "${MUSIC_FOLDER}/songs.csv"\n'
    monkeypatch.setenv("MUSIC_FOLDER", "/music")
    assert read(tmp_path / "run.toml", text).data.manifest == str(Path("/music/songs.csv"))
    monkeypatch.delenv("MUSIC_FOLDER")
    with pytest.raises(ConfigError, match=r"data.manifest: names the variable MUSIC_FOLDER, which is not set; set it"):
        read(tmp_path / "run.toml", text)


def test_every_path_with_a_variable_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    text = """name = "x"
pretrained = "$NOWHERE/vgg16.h5"
net = { kind = "vgg16" }
[data.arrays]
archive = "$NOWHERE/mel.npz"
frame_rate_hz = 10.0
scale = "dB"
join = "beside.csv"
"""
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "run.toml", text)
    assert caught.value.problems == tuple(
        (where, f"names the variable NOWHERE, which is not set; set it so that $NOWHERE/{name} is there")
        for where, name in (("data.arrays.archive", "mel.npz"), ("pretrained", "vgg16.h5"))
    )
    unresolved = read_config(tmp_path / "run.toml", resolve=False)
    assert unresolved.data.arrays is not None
    assert unresolved.data.arrays.archive == "$NOWHERE/mel.npz"
    monkeypatch.setenv("NOWHERE", "/music")
    resolved = read_config(tmp_path / "run.toml")
    assert resolved.data.arrays is not None
    assert (resolved.data.arrays.join, resolved.pretrained) == (str(tmp_path / "beside.csv"), "/music/vgg16.h5")


def test_a_manifest_in_its_place_takes_every_other_source_away(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        'name = "x"\n[data]\ntable = "$NOWHERE/t.csv"\njoin = "songs.csv"\n'
        "[augment]\ngain_db = 0\ntilt_db = 0\nn_freq_masks = 0\nn_time_masks = 0\n"
    )
    data = read_config(tmp_path / "run.toml", manifest="m.csv").data
    assert (data.manifest, data.table, data.join, data.arrays) == ("m.csv", "", "", None)


def test_manifest_is_beside_the_configuration_wherever_it_is_read_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path)
    config = read(Path("configs/run.toml"), 'name = "x"\n[data]\nmanifest = "../songs.csv"\n')
    assert Path(config.data.manifest) == Path("configs/../songs.csv")
    assert read(Path("configs/run.toml"), 'name = "x"').data.manifest == ""


@pytest.mark.parametrize(
    "path", sorted((Path(__file__).parent.parent / "configs").glob("*.toml")), ids=lambda p: p.stem
)
def test_shipped_configurations_have_no_mistakes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HGENRE_DATA", "/music")
    assert read_config(path).name


def test_every_key_stands_in_the_page_about_configurations() -> None:
    page = (Path(hgenre.__file__).parent.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    quoted = set(re.findall(r"\w+", " ".join(re.findall(r"(?<!`)`([^`\n]+)`", page))))
    classes = [RunConfig, NetSpec, *(c for c in vars(config_room).values() if isinstance(c, type) and is_dataclass(c))]
    assert {field.name for own in classes for field in fields(own)} - quoted == set()
