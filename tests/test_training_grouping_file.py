"""Groups from a file: what it must hold, and that no song which they were derived from is ever a test."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hgenre.bundle import SeenSong
from hgenre.errors import ConfigError, LeakError
from hgenre.labels import Labels
from hgenre.studies.folds import classifiers_out_of_fold
from hgenre.training.border import read_config
from hgenre.training.fit import fit
from hgenre.training.grouping_file import SPLIT, Grouping, grouping_to_json, read_grouping
from hgenre.training.prepare import Prepared, check_grouping, split_around, split_for
from tests.test_training_fit import FACTS, GROUPS, LABELS, TRAIN, VALIDATION, config_with
from tests.test_training_splits import SONGS, prepared

WHOLE: dict[str, Any] = {
    "schema_version": 1,
    "labels": ["a", "b", "c"],
    "groups": [{"ab": ["a", "b"]}, "c"],
    "songs": [["1", "f" * 64]],
    "method": "ward",
}


def written(path: Path, values: Any) -> Path:
    path.write_text(values if isinstance(values, str) else json.dumps(values), encoding="utf-8")
    return path


def test_a_grouping_comes_back_as_it_was(tmp_path: Path) -> None:
    songs = (SeenSong("1", "f" * 64, SPLIT), SeenSong("2", "", SPLIT))
    grouping = Grouping(Labels(("a", "b", "c")), [{"ab": ["a", "b"]}, "c"], songs, {"method": "ward"})
    assert read_grouping(written(tmp_path / "groups.json", grouping_to_json(grouping))) == grouping


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{", "file: is not JSON"),
        ([1], "file: holds no schema_version, labels, groups and songs; write one: hgenre group derive"),
        ({**WHOLE, "schema_version": 9}, "schema_version: is 9, this hgenre reads 1; derive the groups again"),
        ({**WHOLE, "songs": []}, r"songs: must name each song .* as \[song id, sha256\]"),
        ({**WHOLE, "songs": [["1"]]}, "songs: must name each song"),
        ({**WHOLE, "songs": [["1", 2]]}, "songs: must name each song"),
        ({**WHOLE, "groups": [{"ab": ["a", "b"]}]}, "groups: genre 'c' is in no group"),
        ({**WHOLE, "groups": [{"ab": ["a", "x"]}, "b", "c"]}, "groups: group 'ab' holds unknown genre 'x'"),
        ({**WHOLE, "labels": ["a", "a", "c"]}, "groups: genre 'a' stands twice"),
        ({**WHOLE, "labels": [1, 2, 3]}, "labels: are no list of genres"),
    ],
)
def test_what_is_no_grouping_is_refused(tmp_path: Path, values: Any, message: str) -> None:
    path = written(tmp_path / "groups.json", values)
    with pytest.raises(ConfigError, match=message) as error:
        read_grouping(path)
    assert error.value.source == str(path)


def test_a_missing_file_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory; write one: hgenre group derive"):
        read_grouping(tmp_path / "none.json")


def test_a_configuration_takes_its_groups_from_the_file_beside_it(tmp_path: Path) -> None:
    written(tmp_path / "groups.json", WHOLE)
    config = read_config(written(tmp_path / "c.toml", 'name = "x"\n[tree]\ngrouping = "groups.json"\n'))
    assert config.tree.groups == WHOLE["groups"]
    assert Path(config.tree.grouping) == tmp_path / "groups.json"


def test_the_file_may_be_left_alone_before_it_is_there(tmp_path: Path) -> None:
    path = written(tmp_path / "c.toml", 'name = "x"\n[tree]\ngrouping = "groups.json"\n')
    assert read_config(path, with_grouping=False).tree.groups is None
    with pytest.raises(ConfigError, match="write one: hgenre group derive"):
        read_config(path)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        ('groups = ["a"]', "tree.grouping: stands beside tree.groups; keep one of them"),
        ("n_groups = 2", "tree.n_groups: is for derived groups, but tree.grouping gives them; keep one of them"),
    ],
)
def test_groups_come_from_one_place(tmp_path: Path, beside: str, message: str) -> None:
    written(tmp_path / "groups.json", WHOLE)
    path = written(tmp_path / "c.toml", f'name = "x"\n[tree]\ngrouping = "groups.json"\n{beside}\n')
    with pytest.raises(ConfigError, match=message):
        read_config(path)


def derived_from(*songs: SeenSong, **data: Any) -> Prepared:
    plain = prepared(SONGS, **data)
    config = replace(plain.config, tree=replace(plain.config.tree, groups={"x": ["a"], "y": ["b"]}, grouping="g.json"))
    return replace(plain, config=config, derived_from=songs)


def test_groups_derived_from_songs_of_the_test_are_refused_by_name() -> None:
    split = split_for(prepared(SONGS))
    tested, learned = ([i for i, side in split.items() if side == wanted] for wanted in ("test", "train"))
    fine = derived_from(*(SeenSong(i, "", SPLIT) for i in learned))
    assert split_for(fine) == split
    # One by its id, the other by its bytes, under a name of its own.
    seen = SeenSong(tested[0], "", SPLIT), SeenSong("elsewhere", f"{int(tested[1]):064x}", SPLIT)
    with pytest.raises(LeakError) as error:
        split_for(derived_from(*seen))
    assert set(error.value.songs) == set(tested[:2])
    for word in (f"from 2 of the {len(tested)} songs", tested[0], tested[1], "g.json", "hgenre group sweep"):
        assert word in str(error.value)


def test_folds_are_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = derived_from(SeenSong("3", "", SPLIT))
    assert split_around(seen, ["1", "5"])
    with pytest.raises(LeakError, match="of the 2 songs that are to be tested: 3;"):
        split_around(seen, ["1", "3"])
    with pytest.raises(LeakError, match="that are to be tested: 3;"):
        classifiers_out_of_fold(seen, [["3"]], "majority")


def test_of_many_songs_ten_are_named() -> None:
    seen = derived_from(*(SeenSong(song.song_id, "", SPLIT) for song in SONGS))
    with pytest.raises(LeakError, match=r"from 12 of the 12 songs .*: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, \.\.\.;") as error:
        check_grouping(seen, [song.song_id for song in SONGS[:12]])
    assert len(error.value.songs) == 12


def test_a_tree_has_seen_the_songs_of_its_grouping_and_its_flat_rival_has_not() -> None:
    config = config_with(
        tree={"groups": GROUPS, "grouping": "g.json"},
        net={"kind": "mlp", "dense_widths": [4]},
        optimiser={"epochs": 1, "batch_size": 8, "min_steps": 1},
        rivals={"flat_ensembles": False, "shared_trunk": False},
    )
    beside = SeenSong("from elsewhere", "e" * 64, SPLIT)
    seen = (SeenSong(TRAIN.ids[0], FACTS[TRAIN.ids[0]].sha256, SPLIT), beside)
    fitted = fit(config, LABELS, TRAIN, VALIDATION, FACTS, derived_from=seen, seed=0)
    assert fitted.tree is not None
    assert fitted.tree.songs_seen == (*fitted.flat.songs_seen, beside)
    assert fitted.grouping == {"source": "file"}
