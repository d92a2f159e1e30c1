"""Configurations: read with defaults, and every mistake in one go, each with its dotted path."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from hgenre.errors import ConfigError
from hgenre.nets.spec import NetSpec
from hgenre.training.config import RunConfig, config_from_dict, config_to_dict, read_config

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
    ],
)
def test_each_mistake_is_named_with_its_path(values: dict[str, Any], where: str, message: str) -> None:
    found = problems(values if where == "name" else {"name": "x", **values})
    assert list(found) == [where]
    assert message in found[where]


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
