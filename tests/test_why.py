"""Why a bundle is right or wrong on songs: the accuracies of evaluate, the ways of predict, every refusal by name."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hgenre.bundle import Bundle
from hgenre.data.manifest import Manifest
from hgenre.errors import FeatureError, LeakError, ManifestError, OptionError
from hgenre.evaluate import evaluate
from hgenre.features import ArraySpec
from hgenre.predict import Model, SongAnswer
from hgenre.train import RunResult
from hgenre.tree.calibration import Calibration
from hgenre.tree.route import Route
from hgenre.tree.spec import flat_tree
from hgenre.why import why, why_files
from tests.audio_files import cut, tones, write_sound
from tests.test_account import row_of


@pytest.fixture(scope="module")
def unseen(bundle: Bundle, corpus: Manifest) -> Manifest:
    seen = {song.song_id for song in bundle.songs_seen}
    return replace(corpus, songs=tuple(song for song in corpus.songs if song.song_id not in seen))


@pytest.fixture(scope="module")
def flat(tiny_run: RunResult) -> Bundle:
    return tiny_run.flat


def test_the_account_has_the_accuracies_that_evaluate_finds(
    bundle: Bundle, flat: Bundle, unseen: Manifest, cache_dir: Path
) -> None:
    found = why(bundle, unseen, cache_dir, flat=flat)
    ledger, evaluated = found["ledger"], evaluate(bundle, unseen, cache_dir)
    assert ledger["route"] == row_of(ledger, "soft", "slice", "majority")
    assert ledger["route"]["accuracy"] == evaluated["song"]["accuracy"]
    assert (ledger["n_songs"], ledger["n_slices"]) == (len(unseen.songs), evaluated["slice"]["n"])
    assert ledger["flat"]["accuracy"] == evaluate(flat, unseen, cache_dir)["song"]["accuracy"]
    assert (found["model"], found["flat_model"], found["n_seen"], found["warnings"]) == ("tiny", flat.name, 0, [])


def test_seen_songs_are_refused_and_else_told(
    bundle: Bundle, flat: Bundle, corpus: Manifest, unseen: Manifest, cache_dir: Path
) -> None:
    with pytest.raises(LeakError, match=r"model tiny has seen \d+ of the 24 songs"):
        why(bundle, corpus, cache_dir)
    learned = replace(flat, name="rival", songs_seen=(replace(flat.songs_seen[0], song_id=unseen.songs[0].song_id),))
    with pytest.raises(LeakError, match=rf"model rival has seen 1 of the {len(unseen.songs)} songs"):
        why(bundle, unseen, cache_dir, flat=learned)
    found = why(bundle, unseen, cache_dir, flat=learned, allow_seen=True)
    assert found["warnings"] == ["model rival has seen 1 of these songs: this is no account of its errors"]


def test_the_flat_net_may_have_its_genres_in_another_order(
    bundle: Bundle, flat: Bundle, unseen: Manifest, cache_dir: Path
) -> None:
    labels = replace(flat.labels, genres=flat.labels.genres[::-1])
    turned = replace(flat, tree=flat_tree(labels), digest="")
    known = evaluate(turned, unseen, cache_dir)["song"]["accuracy"]
    assert why(bundle, unseen, cache_dir, flat=turned)["ledger"]["flat"]["accuracy"] == known


def test_nothing_to_account_for_is_said_with_the_reason(bundle: Bundle, unseen: Manifest, cache_dir: Path) -> None:
    lost = replace(unseen.songs[0], song_id="lost", path="nowhere.wav", sha256="0" * 64)
    with pytest.raises(
        ManifestError, match=r"nothing to account for: .*loud enough to judge\n  lost: audio: .*nowhere"
    ):
        why(bundle, replace(unseen, songs=(lost,)), cache_dir)
    found = why(bundle, replace(unseen, songs=(*unseen.songs, lost)), cache_dir)
    assert found["ledger"]["n_songs"] == len(unseen.songs)
    [warning] = found["warnings"]
    assert warning.startswith("lost left out: audio: ")


def test_files_go_the_ways_that_predict_answers(bundle: Bundle, model: Model, unseen: Manifest, tmp_path: Path) -> None:
    paths = [unseen.audio_path(song) for song in unseen.songs[:2]]
    quiet = write_sound(tmp_path / "quiet.wav", np.zeros(17_000), 8000)
    first, broken, silent, second = why_files(bundle, [paths[0], tmp_path / "none.wav", quiet, paths[1]])
    for found, answer in zip((first, second), model.predict(paths), strict=True):
        assert isinstance(answer, SongAnswer)
        assert (found["path"], found["answer"], found["n_slices"]) == (answer.path, answer.genre, answer.n_slices)
        assert found["confidence"] == pytest.approx(answer.confidence, rel=1e-4)
        assert found["confidence"] != pytest.approx(found["way"][-1][1], rel=1e-4)
        assert [row["start_s"] for row in found["slices"]] == [slice.start_s for slice in answer.slices]
        assert [row["genre"] for row in found["slices"]] == [slice.genre for slice in answer.slices]
        np.testing.assert_allclose([row["p"] for row in found["slices"]], [s.p for s in answer.slices], rtol=1e-4)
    assert broken["error"]["kind"] == "unreadable"
    assert silent["error"] == {
        "kind": "silent",
        "message": "none of its slices is loud enough to judge (above -80 dB re full scale)",
    }


@pytest.mark.parametrize("route", [Route(), Route("hard"), Route(aggregation="mean_probability")])
def test_files_have_the_confidence_and_the_warnings_of_predict(
    bundle: Bundle, unseen: Manifest, tmp_path: Path, route: Route
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000)
    rhythm = np.repeat(np.tile([1.0, 0.001], 8), 1000)
    paths = [
        write_sound(tmp_path / "noise.wav", noise, 8000),
        write_sound(tmp_path / "half.wav", np.concatenate([noise, noise * rhythm]), 8000),
        write_sound(tmp_path / "short.wav", tones(0.7)),
        cut(write_sound(tmp_path / "cut.wav", tones(6.0)), 0.6),
        unseen.audio_path(unseen.songs[0]),
    ]
    calibrated = replace(bundle, route=route, calibration=Calibration(1.3, 0.6))
    told = why_files(calibrated, paths)
    for found, answer in zip(told, Model(calibrated).predict(paths), strict=True):
        assert isinstance(answer, SongAnswer)
        assert found["warnings"] == list(answer.warnings)
        assert found["confidence"] == pytest.approx(answer.confidence, rel=1e-4)
    assert [len(found["warnings"]) for found in told] == [1, 0, 2, 2, 0]


def test_files_need_a_bundle_of_audio_and_a_genre_it_knows(bundle: Bundle) -> None:
    with pytest.raises(FeatureError, match=r"model tiny was trained on ready-made arrays \(dB\), and audio is"):
        why_files(replace(bundle, features=ArraySpec(16, 31.25, "dB", 1.0)), ["song.wav"])
    with pytest.raises(
        OptionError, match="genre: model tiny does not know 'polka'; it knows clatterbop, fogsong, moor"
    ):
        why_files(bundle, ["song.wav"], true_genre="polka")
