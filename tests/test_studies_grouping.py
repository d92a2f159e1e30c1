"""Groupings from songs to results: derived, refused, compared, trained, and interrupted, on planted tables."""

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hgenre.errors import ConfigError, GroupCountError, HgenreError, LeakError
from hgenre.grouping.groups import tree_of
from hgenre.studies.cross_validate import cross_validate
from hgenre.studies.grouping.derive import FILE, Derived, derive_groups
from hgenre.studies.grouping.evidence import gather, judge_around, part_of
from hgenre.studies.grouping.judged import Judged, read_judged, write_judged
from hgenre.studies.grouping.sweep import Sizes, sweep
from hgenre.studies.grouping.trained import ONE_NET, SUMMED, TRAINED, Planned, plan, train_planned
from hgenre.train import train_tree
from hgenre.training import node_fits
from hgenre.training.border import read_config
from hgenre.training.config import RunConfig, config_to_dict
from hgenre.training.prepare import TEST, Prepared, fold_ids, prepare, split_for
from tests.conftest import start_hgenre
from tests.planted_groupings import PLANTED, planted_folds
from tests.planted_tables import COLUMNS, planted_table
from tests.test_run import toml

PAIRS = (("genre0", "genre1"), ("genre2", "genre3"), ("genre4",))
RECIPE: dict[str, Any] = {
    "net": {"kind": "mlp", "dense_widths": [8], "dropout": 0.0},
    "optimiser": {"epochs": 8, "batch_size": 32, "learning_rate": 0.03, "min_steps": 6},
    "rivals": {"flat_ensembles": False, "shared_trunk": False},
}


def in_pairs(folder: Path, **sections: Any) -> RunConfig:
    """Five genres of which the first two, and the next two, lie close together."""
    pairs = 4 * np.eye(3, len(COLUMNS))[[0, 0, 1, 1, 2]]
    apart = 0.6 * np.eye(len(COLUMNS))[[3, 4, 5, 6, 7]]
    return planted_table(
        folder, n_genres=5, n_songs=16, n_slices=2, genres=pairs + apart, genre_signal=1.0, **{**RECIPE, **sections}
    )


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    return in_pairs(tmp_path_factory.mktemp("pairs"))


@pytest.fixture(scope="module")
def prepared(config: RunConfig) -> Prepared:
    return prepare(config)


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


@pytest.fixture(scope="module")
def derived(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Derived, Path]:
    out = tmp_path_factory.mktemp("derived")
    return derive_groups(config, n_groups=3, n_folds=3, out=out), out


def test_planted_pairs_are_derived_from_the_training_part_alone(
    derived: tuple[Derived, Path], prepared: Prepared
) -> None:
    found, out = derived
    assert found.structure.is_there
    assert found.groups == PAIRS
    assert found.forecast.inside.n > 3 * found.forecast.across.n
    assert found.bootstraps is not None
    assert found.bootstraps.mean > 0.8
    assert found.together is not None
    assert found.together[0][1] > 0.9 > 0.1 > found.together[0][2]
    assert "genre4" in found.dendrogram
    assert found.grouping is not None
    split = split_for(prepared)
    learned = {song_id for song_id, side in split.items() if side != TEST}
    assert {song.song_id for song in found.grouping.songs} == learned
    assert found.n_songs == len(learned)
    written = json.loads((out / FILE).read_text())
    assert {song_id for song_id, _ in written["songs"]} == learned
    assert written["derived"] == [list(group) for group in PAIRS]


def test_what_was_derived_goes_into_training_and_its_songs_are_never_tested(
    derived: tuple[Derived, Path], config: RunConfig, tmp_path: Path
) -> None:
    found, out = derived
    assert found.grouping is not None
    values = config_to_dict(config)
    written = {
        "name": "taken",
        "data": {key: values["data"][key] for key in ("table", "join", "protocol")},
        "augment": dict.fromkeys(("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"), 0),
        "tree": {"grouping": str(out / FILE)},
        **RECIPE,
    }
    path = tmp_path / "taken.toml"
    path.write_text(toml(written))
    taken = read_config(path)
    result = train_tree(taken, out=tmp_path / "run")
    assert {node.name for node in result.bundle.tree.nodes} >= {"root"}
    learned = {song.song_id for song in found.grouping.songs}
    assert learned <= {song.song_id for song in result.bundle.songs_seen}
    assert result.results["grouping"]["source"] == "file"
    with pytest.raises(LeakError, match=r"were derived from \d+ of the \d+ songs that are to be tested") as error:
        cross_validate(taken, n_folds=3, out=tmp_path / "folds")
    assert set(error.value.songs) <= learned


def test_groups_that_the_configuration_has_have_no_say_in_new_ones(
    derived: tuple[Derived, Path], config: RunConfig
) -> None:
    """Nor are their songs refused: nobody tests these groups."""
    found, out = derived
    given: dict[str, Any] = {
        "groups": [{"odd": ["genre0", "genre2"]}, "genre1", "genre3", "genre4"],
        "grouping": str(out / FILE),
    }
    again = derive_groups(replace(config, tree=replace(config.tree, **given)), n_groups=3, n_folds=3, out=out)
    assert again.groups == found.groups
    assert again.grouping is not None
    assert found.grouping is not None
    assert again.grouping.songs == found.grouping.songs


def test_the_number_of_groups_may_stand_in_the_configuration(derived: tuple[Derived, Path], config: RunConfig) -> None:
    four = replace(config, tree=replace(config.tree, n_groups=4))
    assert len(derive_groups(four, n_folds=3, out=derived[1]).groups) == 4
    assert derive_groups(four, n_groups=3, n_folds=3, out=derived[1]).groups == PAIRS


@pytest.mark.parametrize("method", ["average", "exhaustive-confusions", "exhaustive-probes"])
def test_more_groups_than_genres_are_refused_before_anything_is_trained(
    config: RunConfig, tmp_path: Path, trained: list[str], method: Any
) -> None:
    with pytest.raises(GroupCountError, match=r"^cannot make 6 groups of 5 genres, need 1 to 5$"):
        derive_groups(config, method=method, n_groups=6, out=tmp_path)
    assert trained == []


def test_songs_drawn_anew_are_confused_as_the_groups_evidence_says() -> None:
    """Not by mean probabilities where groups come from answers, nor by songs where they come from slices."""
    from hgenre.studies.grouping.derive import _redrawn

    evidence = planted_folds()[0].evidence
    kinds: list[tuple[Any, Any]] = [("soft", "song"), ("hard", "song"), ("hard", "slice")]
    rates = [c / c.sum(axis=1, keepdims=True) for c in (evidence.confusion(*kind) for kind in kinds)]
    for k, (kind, unit) in enumerate(kinds):
        seen: list[np.ndarray] = []
        _redrawn(evidence, kind, unit, lambda c, seen=seen: seen.append(c) or PLANTED)
        apart = [np.abs(np.mean(seen, axis=0) - own).mean() for own in rates]
        assert int(np.argmin(apart)) == k, apart


def test_groups_that_do_not_pay_are_not_written(
    derived: tuple[Derived, Path], config: RunConfig, tmp_path: Path
) -> None:
    """On so few songs no specialist shows that it is worth anything; what an earlier run left there goes too."""
    (tmp_path / FILE).write_text("of an earlier run")
    found = derive_groups(config, n_groups=3, n_folds=3, flatten=True, out=tmp_path)
    assert found.groups == derived[0].groups
    assert found.flattened is not None
    assert found.flattened.is_flat
    assert found.grouping is None
    assert not (tmp_path / FILE).exists()


def test_noise_makes_no_groups(tmp_path: Path) -> None:
    config = planted_table(
        tmp_path, n_genres=4, n_songs=16, n_slices=2, genres=2.5 * np.eye(4, len(COLUMNS)), genre_signal=1.0, **RECIPE
    )
    found = derive_groups(config, n_folds=2, out=tmp_path / "groups")
    assert not found.structure.is_there
    assert found.grouping is None
    assert not (tmp_path / "groups" / FILE).exists()
    anyway = derive_groups(config, n_folds=2, out=tmp_path / "groups", without_structure=True)
    assert anyway.grouping is not None
    assert (tmp_path / "groups" / FILE).exists()


@pytest.mark.parametrize(
    ("sections", "options", "message"),
    [
        ({"data": {"protocol": "slice-random"}}, {}, "data.protocol: is 'slice-random', under which confusions leak"),
        ({"data": {"genres": ["genre0", "genre1"]}}, {}, "data.genres: leaves 2 genres, needed 3 or more"),
    ],
)
def test_what_cannot_be_derived_from_is_refused(
    tmp_path: Path, sections: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        derive_groups(in_pairs(tmp_path, **sections), out=tmp_path / "groups", **options)


@pytest.mark.parametrize(
    "options", [{"method": "exhaustive-probes"}, {"method": "exhaustive-confusions"}, {"flatten": True}]
)
def test_more_genres_than_can_be_searched_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    config = planted_table(tmp_path, n_genres=12, n_songs=2, n_slices=1, **RECIPE)
    with pytest.raises(ConfigError, match=r"data\.genres: leaves 12 genres, needed 3 or more and at most 11; choose"):
        derive_groups(config, out=tmp_path / "groups", **options)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"data": {"protocol": "slice-random"}}, "data.protocol: is 'slice-random', under which no grouping"),
        (
            {"data": {"genres": ["genre0", "genre1", "genre2"]}},
            "data.genres: leaves 3 genres, and every way to group 4",
        ),
    ],
)
def test_what_cannot_be_swept_is_refused(tmp_path: Path, sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(in_pairs(tmp_path, **sections), sizes=Sizes(2, 2, 2), out=tmp_path / "sweep")


def test_evidence_is_of_songs_that_the_net_has_not_seen(prepared: Prepared, tmp_path: Path) -> None:
    songs = [song.song_id for song in prepared.songs][::2]
    found = gather(part_of(prepared, songs), n_folds=2, seed=0, kept_in=tmp_path)
    answered = [song_id for part in found.parts for song_id in part.song_ids]
    assert sorted(answered) == sorted(songs)
    assert len(found.true_idx) == len(found.p) == len(found.clusters) == len(songs)
    np.testing.assert_allclose(found.p.sum(axis=1), 1)
    for kind in ("soft", "hard"):
        for unit in ("song", "slice"):
            confusion = found.confusion(kind, unit)
            assert confusion.shape == (5, 5)
    assert found.confusion("hard", "song").sum() == len(songs)
    assert found.confusion("hard", "slice").sum() == 2 * len(songs)
    np.testing.assert_allclose(found.confusion("soft", "song").sum(axis=1), 1)
    part = found.parts[0]
    held = (np.arange(32)[:, None] >> np.arange(5) & 1).astype(bool)
    assert not part.probe_p[~np.broadcast_to(held[:, None], part.probe_p.shape)].any()
    np.testing.assert_allclose(part.probe_p[1:].sum(axis=2), 1, rtol=1e-5)
    assert part.centroids.shape == part.weights.shape == (5, 8)
    other = gather(part_of(prepared, songs[1:]), n_folds=2, seed=0, kept_in=tmp_path)
    assert other.digest != found.digest


def test_a_flat_net_judges_as_its_bundle_answers(prepared: Prepared, tmp_path: Path) -> None:
    """Embedding times last layer is the net; beside it, the same songs through the engine of every other study."""
    from hgenre.held_out import FLAT
    from hgenre.studies.folds import nets_out_of_fold

    test_ids = fold_ids(prepared, 2)[0]
    judged = judge_around(prepared, test_ids, seed=0, kept_in=tmp_path)
    held = nets_out_of_fold(prepared, [test_ids], with_tree=False, seed=0).heard[0]
    assert judged.song_ids == held.song_ids
    assert judged.clusters == held.clusters
    np.testing.assert_allclose(judged.slice_p, np.exp(held.models[FLAT].log_posterior()), rtol=1e-4, atol=1e-6)


def test_judged_songs_are_kept_and_damage_is_noticed(prepared: Prepared, tmp_path: Path, trained: list[str]) -> None:
    test_ids = fold_ids(prepared, 2)[0]
    first = judge_around(prepared, test_ids, seed=0, kept_in=tmp_path)
    (path,) = (tmp_path / "judged").iterdir()
    again = judge_around(prepared, test_ids, seed=0, kept_in=tmp_path)
    assert trained == ["flat"]
    assert_same(first, again)
    whole = path.read_bytes()
    method = whole.rindex(b"PK\x01\x02") + 10
    unknown_compression = whole[:method] + b"\x63" + whole[method + 1 :]
    for damaged in (whole[: len(whole) // 2], b"", b"PK" + whole[2:][::-1], unknown_compression):
        path.write_bytes(damaged)
        assert read_judged(path) is None
    assert_same(first, judge_around(prepared, test_ids, seed=0, kept_in=tmp_path))
    assert trained == ["flat"]
    assert path.read_bytes() == whole or read_judged(path) is not None


def test_another_truth_or_artist_is_no_kept_answer(prepared: Prepared, tmp_path: Path, trained: list[str]) -> None:
    """The net is the same, for it has not learned from these songs; what is known of them is not."""
    test_ids = fold_ids(prepared, 2)[0]
    first = judge_around(prepared, test_ids, seed=0, kept_in=tmp_path, with_probes=False)
    one, other = first.song_ids[0], first.song_ids[-1]

    def told_otherwise(**facts: Any) -> Judged:
        songs = tuple(replace(song, **facts) if song.song_id in (one, other) else song for song in prepared.songs)
        changed = replace(prepared, songs=songs)
        return judge_around(changed, test_ids, seed=0, kept_in=tmp_path, with_probes=False)

    assert first.clusters[0] != first.clusters[-1]
    tied = told_otherwise(artist="one for both")
    assert tied.clusters[0] == tied.clusters[-1]
    moved = told_otherwise(genre="genre2")
    assert moved.true_idx[0] == moved.true_idx[-1] == 2
    assert trained == ["flat"]


def test_a_fold_without_a_genre_says_so(prepared: Prepared, tmp_path: Path) -> None:
    """One song of a genre is either learned from or judged."""
    (only, *others) = (song.song_id for song in prepared.songs if song.genre == "genre4")
    part = part_of(prepared, [song.song_id for song in prepared.songs if song.song_id not in others])
    for test_ids in fold_ids(part, 2):
        side = "learn from" if only in test_ids else "judge"
        with pytest.raises(HgenreError, match=rf"a fold has no song of genre4 to {side}; give these genres more songs"):
            judge_around(part, test_ids, seed=0, kept_in=tmp_path, with_probes=False)


def assert_same(one: Judged, other: Judged) -> None:
    for name, value in vars(one).items():
        if not name.startswith("_"):
            assert np.array_equal(value, getattr(other, name)), name


def test_a_full_disk_is_named(prepared: Prepared, tmp_path: Path) -> None:
    judged = judge_around(prepared, fold_ids(prepared, 2)[0], seed=0, kept_in=tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(HgenreError, match="cannot be written"):
        write_judged(tmp_path / "file" / "judged.npz", judged)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("swept")
    config = in_pairs(folder, tree={"groups": [{"odd": ["genre0", "genre2"]}, "genre1", "genre3", "genre4"]})
    out = folder / "sweep"
    return sweep(config, sizes=Sizes(2, 2, 2, 200, n_best=2, n_random=2), out=out), out


def test_planted_pairs_win_the_sweep(swept: tuple[dict[str, Any], Path]) -> None:
    results, out = swept
    rows = {row["name"]: row for row in results["candidates"]}
    assert len(rows) == len(results["candidates"])
    assert all(found["is_there"] for found in results["structure"])
    assert [fold["n_songs"] for fold in results["evidence"]] == [80 - n for n in results["n_songs"]]
    assert len({fold["digest"] for fold in results["evidence"]}) == 2
    pairs = rows["average, soft, songs, 3 groups"]
    assert pairs["groups"] == [[list(group) for group in PAIRS]] * 2
    assert pairs["stability"] == 1
    assert pairs["random"]["is_exact"]
    assert pairs["random"]["n"] == 15
    assert pairs["ledger"]["R"] + pairs["ledger"]["B"] < rows["manual"]["ledger"]["R"] + rows["manual"]["ledger"]["B"]
    for row in rows.values():
        assert sum(row["ledger"].values()) == pytest.approx(1)
        assert 0 < row["random"]["p"] <= 1
    assert [row["name"] for row in results["baselines"]] == ["flat net", "flat probe", "flat net and flat probe"]
    assert sum(row["n"] for row in results["partitions"]) == results["n_partitions"] == 52
    assert json.loads((out / "results.json").read_text()) == results


def test_trees_are_trained_beside_random_ones(swept: tuple[dict[str, Any], Path]) -> None:
    results, _ = swept
    rows = results["trained"]
    names = [(row["name"], row["root"]) for row in rows]
    assert names[:2] == [("flat", ""), ("flat ensemble of 2 nets", "")]
    assert [root for name, root in names if name == "manual"] == [SUMMED, TRAINED, ONE_NET]
    assert [row["name"] for row in rows if row["is_random"]] == ["random 1", "random 2"]
    flat = rows[0]
    assert flat["beside_flat"]["difference"] == 0
    assert flat["ledger"] is None
    for row in rows[2:]:
        assert sum(row["ledger"].values()) == pytest.approx(1)
        assert 0 <= row["interval"][0] <= row["accuracy"] <= row["interval"][1] <= 1


def test_a_specialist_is_trained_once_for_all_groupings(prepared: Prepared, tmp_path: Path, trained: list[str]) -> None:
    """And not at all in a second run; the grouping that holds other sets adds its own nets alone."""
    held_out = fold_ids(prepared, 2)[:1]
    one, two = (PAIRS,), ((PAIRS[0], ("genre2",), ("genre3", "genre4")),)
    shares: list[float] = []
    first = train_planned(
        prepared,
        held_out,
        [Planned("one", one), Planned("two", two)],
        seed=0,
        kept_in=tmp_path,
        on_progress=lambda share, what, progress: shares.append(share),
    )
    assert sorted(set(shares)) == [0, 1 / 3, 2 / 3]
    assert shares == sorted(shares)
    assert [row["n_nets"] for row in first] == [1, 2, 3, 3]
    assert sorted(trained) == ["flat", "genre0+genre1", "genre2+genre3", "genre3+genre4", "rival/flat 2"]
    again = train_planned(prepared, held_out, [Planned("two", two)], seed=0, kept_in=tmp_path)
    assert len(trained) == 5
    assert again[-1] == first[-1]


def test_random_groupings_have_the_sizes_of_the_best(prepared: Prepared) -> None:
    best = [("best", (PAIRS, (("genre0", "genre2"), ("genre1", "genre4"), ("genre3",))))]
    planned = plan(best, [("manual", (PAIRS, PAIRS))], 4, prepared.labels)
    assert [p.name for p in planned] == ["best", "manual", "random 1", "random 2", "random 3", "random 4"]
    for drawn in planned[2:]:
        assert drawn.is_random
        for groups in drawn.groups:
            assert sorted(map(len, groups)) == [1, 2, 2]
            assert tree_of(groups, prepared.labels).labels == prepared.labels
    assert len({drawn.groups for drawn in planned[2:]}) > 1


def test_where_the_best_has_no_groups_random_ones_have_those_of_the_next(prepared: Prepared) -> None:
    flat = (tuple((genre,) for genre in prepared.labels),)
    planned = plan([("best", flat)], [("manual", (PAIRS,))], 2, prepared.labels)
    assert [sorted(map(len, p.groups[0])) for p in planned[2:]] == [[1, 2, 2]] * 2
    assert [p.name for p in plan([("best", flat)], [], 2, prepared.labels)] == ["best"]


def test_a_killed_sweep_goes_on_at_the_next_unfinished_net(tmp_path: Path) -> None:
    in_pairs(tmp_path)
    (tmp_path / "c.toml").write_text(
        toml(
            {
                "name": "killed",
                "data": {"table": "table.csv", "join": "songs.csv", "protocol": "song"},
                "augment": dict.fromkeys(("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"), 0),
                **RECIPE,
                "optimiser": {**RECIPE["optimiser"], "epochs": 60},
            }
        )
    )
    out = tmp_path / "sweep"
    arguments = ("group", "sweep", tmp_path / "c.toml", "--folds", 2, "--inner", 2, "--draws", 20, "--out", out)
    process = start_hgenre(*arguments)
    nets = out / "nets"
    deadline = time.monotonic() + 120
    while not (nets.is_dir() and len(list(nets.glob("*.safetensors"))) >= 2) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (out / "results.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in nets.glob("*.safetensors")}
    assert 2 <= len(kept) < 6
    finished = start_hgenre(*arguments)
    _, err = finished.communicate()
    assert finished.returncode == 0, err
    assert (out / "results.json").exists()
    now = {path.name: path.stat().st_mtime_ns for path in nets.glob("*.safetensors")}
    assert len(now) == 6
    assert {name: now[name] for name in kept} == kept
