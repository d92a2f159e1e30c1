"""Songs made ready, from every kind of source, and what does not fit them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.data.manifest import Manifest, Song, read_manifest, write_manifest
from hgenre.errors import ConfigError, FeatureError, ManifestError
from hgenre.features import SliceSpec
from hgenre.features.spec import TableSpec
from hgenre.training import prepare as module
from hgenre.training.border import config_from_dict
from hgenre.training.config import RunConfig
from hgenre.training.prepare import prepare
from tests.planted_tables import planted_table

OFF = dict.fromkeys(("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"), 0)


def config_of(**sections: Any) -> RunConfig:
    return config_from_dict({"name": "x", "augment": OFF, **sections})


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Six songs of 40 frames of 24 bands in two genres."""
    mel = np.random.default_rng(0).normal(size=(6, 24, 40)).astype(np.float32)
    np.savez(tmp_path / "mel.npz", mel=mel, ids=[f"s{i}" for i in range(6)], genres=["a", "b"] * 3)
    return tmp_path / "mel.npz"


def test_an_archive_is_taken_over_once(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = {"archive": str(archive), "frame_rate_hz": 10.0, "scale": "dB", "db_per_unit": 1.0}
    config = config_of(data={"arrays": arrays, "protocol": "song"}, features={"slice_s": 2.0, "step_s": 1.0})
    first = prepare(config, cache_dir=tmp_path / "cache")
    assert (first.slices, len(first.songs), first.labels.genres) == (SliceSpec(20, 10), 6, ("a", "b"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "import_arrays", lambda *_, **__: pytest.fail("it has been imported"))
        again = prepare(config, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(again.source.frames("s3"), first.source.frames("s3"))
    archive.unlink()
    with pytest.raises(FeatureError, match=r"mel\.npz cannot be read \(No such file or directory\); see data\.arrays"):
        prepare(config, cache_dir=tmp_path / "cache")


def test_statistics_of_an_archive_are_a_row_a_song(archive: Path, tmp_path: Path) -> None:
    arrays = {"archive": str(archive), "frame_rate_hz": 10.0, "scale": "dB"}
    prepared = prepare(config_of(data={"arrays": arrays, "statistics": True}), cache_dir=tmp_path / "cache")
    assert (prepared.slices, prepared.source.frames("s0").shape) == (SliceSpec(1, 1), (140, 1))


def test_rows_that_a_manifest_leads_to_are_those_of_the_table(tmp_path: Path) -> None:
    """The manifest that a run on a table leaves, given to another run."""
    config = planted_table(tmp_path, n_slices=4)
    table = prepare(config, cache_dir=tmp_path / "cache")
    write_manifest(table.manifest, tmp_path / "manifest.csv")
    manifest = read_manifest(tmp_path / "manifest.csv")
    rows = prepare(config_of(data={"protocol": "song"}), manifest, cache_dir=tmp_path / "cache")
    assert isinstance(rows.source.spec, TableSpec)
    assert rows.slices == table.slices == SliceSpec(1, 1)
    ids = [song.song_id for song in table.songs]
    np.testing.assert_array_equal(rows.learning(ids).cut(0), table.learning(ids).cut(0))
    assert rows.learning(ids).cut(0).shape == (4, 8, 1)


def test_what_rows_cannot_have_is_told_once_it_is_known_that_they_are_rows(tmp_path: Path) -> None:
    table = prepare(planted_table(tmp_path, n_slices=2), cache_dir=tmp_path / "cache")
    write_manifest(table.manifest, tmp_path / "manifest.csv")
    manifest = read_manifest(tmp_path / "manifest.csv")
    config = config_of(augment={**OFF, "tilt_db": 6}, features={"normalise": "song"})
    with pytest.raises(ConfigError) as caught:
        prepare(config, manifest, cache_dir=tmp_path / "cache")
    assert caught.value.problems == (
        ("augment.tilt_db", "found 6.0, needed 0: there are no mel bands in a table of features"),
        ("features.normalise", "is 'song', and a table's row less its own mean is 0; use 'training'"),
    )


def test_only_the_genres_asked_for_are_taken(tmp_path: Path) -> None:
    config = planted_table(tmp_path, n_slices=2)
    prepared = prepare(replace(config, data=replace(config.data, genres=("genre2", "genre0"))), cache_dir=tmp_path)
    assert prepared.labels.genres == ("genre0", "genre2")
    assert {song.genre for song in prepared.songs} == {song.genre for song in prepared.source.songs}
    assert len(prepared.songs) == 16


def test_songs_of_other_genres_are_not_told_of_as_left_out(tmp_path: Path) -> None:
    config = planted_table(tmp_path, n_slices=2)
    table = Path(config.data.table)
    bad = [f"genre{genre}.00009.0.wav,66150,{',' * 7}x,genre{genre}" for genre in range(3)]
    table.write_text("\n".join([table.read_text().rstrip(), *bad, f",66150{',1' * 8},genre1"]) + "\n")
    chosen = replace(config, data=replace(config.data, genres=("genre2", "genre0")))
    told = [warning.partition(":")[0] for warning in prepare(chosen, cache_dir=tmp_path).warnings]
    assert told == ["line 53 left out", "genre0.00009 left out", "genre2.00009 left out"]


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            {"genres": ["genre0", "polka"]},
            ConfigError,
            r"data\.genres: wants genre0, polka, but the manifest's genre column holds only genre0, genre1, genre2",
        ),
        ({"genres": ["genre1"]}, ManifestError, "the songs have one genre only, 'genre1'; a classifier needs at least"),
        (
            {"use_splits": ["train"]},
            ConfigError,
            r"data\.use_splits: wants train, but the manifest's split column holds only \(empty\)",
        ),
    ],
)
def test_genres_and_splits_that_are_not_there_are_named(
    tmp_path: Path, data: dict[str, Any], error: type[Exception], message: str
) -> None:
    config = planted_table(tmp_path, n_slices=2, data=data)
    with pytest.raises(error, match=message):
        prepare(config, cache_dir=tmp_path / "cache")


def test_nets_of_nodes_that_are_not_there_are_named(tmp_path: Path) -> None:
    groups = {"both": ["genre0", "genre1"], "one": ["genre2"]}
    nets = {"root": {"kind": "mlp"}, "bth": {"kind": "mlp"}, "one": {"kind": "mlp"}}
    config = planted_table(tmp_path, n_slices=2, tree={"groups": groups}, node_nets=nets)
    with pytest.raises(ConfigError) as caught:
        prepare(config, cache_dir=tmp_path / "cache")
    assert caught.value.problems == tuple(
        (f"node_nets.{name}", "is no node of the tree; its nodes with a net are root, both") for name in ("bth", "one")
    )


def test_no_songs_named_at_all(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.manifest: is missing; name a manifest, or give --data DIR"):
        prepare(config_of(), cache_dir=tmp_path)
    songs = (Song("s", "s.wav", "a", fault="no sound"),)
    with pytest.raises(ManifestError, match="has 1 songs, but none with both a genre and a readable file"):
        prepare(config_of(), Manifest(songs, tmp_path), cache_dir=tmp_path)
