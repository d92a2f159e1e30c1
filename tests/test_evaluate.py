"""Scores of a bundle on a manifest: only unseen songs, the same answers as predict, every refusal by name."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hgenre import Model, Route, SongAnswer
from hgenre.bundle import Bundle
from hgenre.data.import_features import import_arrays
from hgenre.data.manifest import Manifest
from hgenre.errors import FeatureError, LeakError, ManifestError
from hgenre.evaluate import PARTIAL, SongOutcome, compare, evaluate, under_taxonomy
from hgenre.features import ArraySpec
from hgenre.labels import Labels
from hgenre.taxonomy import Taxonomy
from hgenre.train import RunResult
from hgenre.tree.spec import tree_from_groups
from tests.conftest import GENRES, GROUPS
from tests.oracles import least_common_height
from tests.small_trees import LABELS, PLAIN


@pytest.fixture(scope="module")
def unseen(bundle: Bundle, corpus: Manifest) -> Manifest:
    seen = {song.song_id for song in bundle.songs_seen}
    return replace(corpus, songs=tuple(song for song in corpus.songs if song.song_id not in seen))


@pytest.mark.parametrize("route", [None, Route("hard", "slice"), Route("hard", "song", "mean_log_probability")])
def test_scores_are_those_of_the_answers(
    bundle: Bundle, unseen: Manifest, cache_dir: Path, route: Route | None
) -> None:
    result = evaluate(bundle, unseen, cache_dir, route=route)
    answers = Model(bundle, route).predict([unseen.audio_path(song) for song in unseen.songs])
    pairs = Counter[tuple[str, str]]()
    slices = Counter[bool]()
    middle = 0
    for song, answer in zip(unseen.songs, answers, strict=True):
        assert isinstance(answer, SongAnswer)
        pairs[song.genre, answer.genre] += 1
        slices.update(one.genre == song.genre for one in answer.slices)
        middle += answer.slices[len(answer.slices) // 2].genre == song.genre
    labels = result["labels"]
    assert labels == list(bundle.labels)
    assert result["song"]["confusion"] == tuple(tuple(pairs[true, named] for named in labels) for true in labels)
    assert result["song"]["accuracy"] == pytest.approx(sum(pairs[g, g] for g in labels) / len(unseen.songs))
    assert result["slice"]["accuracy"] == pytest.approx(slices[True] / slices.total())
    assert result["middle_slice"]["accuracy"] == pytest.approx(middle / len(unseen.songs))
    chosen = route or bundle.route
    warnings = [PARTIAL] if chosen.decoder == "hard" else []
    assert (result["n_songs"], result["n_seen"], result["warnings"]) == (len(unseen.songs), 0, warnings)
    assert list(result["route"].values()) == [chosen.decoder, chosen.unit, chosen.aggregation]
    assert (result["model"], result["digest"]) == ("tiny", bundle.digest)


def test_confidence_is_that_of_the_answers(bundle: Bundle, unseen: Manifest, cache_dir: Path) -> None:
    result = evaluate(bundle, unseen, cache_dir)
    answers = Model(bundle).predict([unseen.audio_path(song) for song in unseen.songs])
    losses, briers = [], []
    for song, answer in zip(unseen.songs, answers, strict=True):
        assert isinstance(answer, SongAnswer)
        losses.append(-np.log(answer.probabilities[song.genre]))
        briers.append(sum((p - (genre == song.genre)) ** 2 for genre, p in answer.probabilities.items()))
    found = result["confidence"]
    assert (found["log_loss"], found["brier"]) == pytest.approx((np.mean(losses), np.mean(briers)))
    assert found["risk_coverage"][-1] == [1.0, pytest.approx(1 - result["song"]["accuracy"])]
    low, high = found["ece"]["interval"]
    assert 0 <= low <= high <= 1
    assert "taxonomy" not in result


def test_mistakes_are_judged_under_a_taxonomy(bundle: Bundle, unseen: Manifest, cache_dir: Path) -> None:
    tree = tree_from_groups(Labels((*GENRES, "polka")), ["polka", {"invented": [{k: v} for k, v in GROUPS.items()]}])
    result = evaluate(bundle, unseen, cache_dir, taxonomy=Taxonomy("own", tree))
    heights = np.array([[least_common_height(tree, a, b) for b in bundle.labels] for a in bundle.labels])
    found = result["taxonomy"]
    assert (found["name"], found["height"], found["accuracy"]) == ("own", 3, result["song"]["accuracy"])
    confusion = np.array(result["song"]["confusion"])
    assert found["distance"] == pytest.approx((confusion * heights).sum() / confusion.sum())
    assert set(found["least_cost"]) == set(found) - {"name", "height", "least_cost"}


def test_hard_routing_is_not_judged_by_probabilities_it_does_not_give(
    bundle: Bundle, tiny_run: RunResult, unseen: Manifest, cache_dir: Path
) -> None:
    taxonomy = Taxonomy("own", tree_from_groups(bundle.labels, [{k: v} for k, v in GROUPS.items()]))
    soft, hard = (
        evaluate(bundle, unseen, cache_dir, route=Route(decoder), taxonomy=taxonomy) for decoder in ("soft", "hard")
    )
    left_out = {key for key, value in hard["confidence"].items() if value is None}
    assert left_out == {"log_loss", "brier", "classwise_ece"}
    assert hard["taxonomy"]["least_cost"] is None
    assert hard["warnings"] == [PARTIAL]
    assert None not in soft["confidence"].values()
    assert soft["taxonomy"]["least_cost"] is not None
    flat = evaluate(tiny_run.flat, unseen, cache_dir, route=Route("hard"))
    assert None not in flat["confidence"].values()
    assert flat["warnings"] == []


def test_the_results_of_the_training_run_are_reproduced(bundle: Bundle, unseen: Manifest, cache_dir: Path) -> None:
    stated = bundle.metrics["models"]["tree"]["song"]
    assert evaluate(bundle, unseen, cache_dir)["song"]["confusion"] == stated["confusion"]


def test_a_seen_song_is_refused_by_its_id_and_by_its_bytes(bundle: Bundle, corpus: Manifest, cache_dir: Path) -> None:
    by_id = {song.song_id: song for song in corpus.songs}
    known = by_id[bundle.songs_seen[0].song_id]
    same_id = replace(corpus, songs=(replace(known, sha256=""),))
    same_bytes = replace(corpus, songs=(replace(known, song_id="renamed"),))
    duplicate = replace(corpus, songs=(replace(known, song_id="copy", sha256="", duplicate_of=known.song_id),))
    for manifest, name in ((same_id, known.song_id), (same_bytes, "renamed"), (duplicate, "copy")):
        message = rf"model tiny has seen 1 of the 1 songs, among them {name}; .* say --allow-seen"
        with pytest.raises(LeakError, match=message) as caught:
            evaluate(bundle, manifest, cache_dir)
        assert caught.value.songs == (name,)


def test_allowed_seen_songs_are_told_in_the_result(bundle: Bundle, corpus: Manifest, cache_dir: Path) -> None:
    result = evaluate(bundle, corpus, cache_dir, allow_seen=True)
    n_seen = len(bundle.songs_seen)
    assert (result["n_songs"], result["n_seen"]) == (24, n_seen)
    assert result["warnings"] == [f"{n_seen} of these songs were seen in training: this is no estimate of accuracy"]


def test_unknown_genres_are_named(bundle: Bundle, unseen: Manifest, cache_dir: Path) -> None:
    polka = replace(unseen, songs=(*unseen.songs, replace(unseen.songs[0], song_id="p", genre="polka")))
    message = "genres polka that model tiny does not know; it knows clatterbop, fogsong, moorhum, pebbleskip; leave"
    with pytest.raises(ManifestError, match=message):
        evaluate(bundle, polka, cache_dir)


def test_songs_that_cannot_be_used_are_named_and_the_others_scored(
    bundle: Bundle, unseen: Manifest, cache_dir: Path
) -> None:
    lost = replace(unseen.songs[0], song_id="lost", path="nowhere.wav", sha256="0" * 64)
    result = evaluate(bundle, replace(unseen, songs=(*unseen.songs, lost)), cache_dir)
    assert result["n_songs"] == len(unseen.songs)
    [warning] = result["warnings"]
    assert warning.startswith("lost left out: audio: ")
    assert "nowhere.wav: cannot be opened: No such file" in warning


def test_nothing_to_evaluate_is_said_with_the_reason(bundle: Bundle, unseen: Manifest, cache_dir: Path) -> None:
    with pytest.raises(ManifestError, match="nothing to evaluate: none of 0 songs has a genre and no fault"):
        evaluate(bundle, replace(unseen, songs=()), cache_dir)
    lost = replace(unseen.songs[0], song_id="lost", path="nowhere.wav", sha256="0" * 64)
    with pytest.raises(ManifestError, match=r"nothing to evaluate: .*loud enough to judge\n  lost: audio: .*nowhere"):
        evaluate(bundle, replace(unseen, songs=(lost,)), cache_dir)


@pytest.fixture
def arrays(unseen: Manifest, tmp_path: Path) -> Manifest:
    values = np.random.default_rng(0).normal(-40, 10, (len(unseen.songs), 16, 93)).astype(np.float32)
    ids, genres = zip(*((song.song_id, song.genre) for song in unseen.songs), strict=True)
    np.savez(tmp_path / "given.npz", mel=values, ids=ids, genres=genres)
    return import_arrays(tmp_path / "given.npz", tmp_path / "in", frame_rate_hz=31.25, scale="dB", db_per_unit=1.0)


def test_arrays_and_audio_are_not_confused(bundle: Bundle, unseen: Manifest, arrays: Manifest, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"songs are ready-made arrays, model tiny needs audio files; give"):
        evaluate(bundle, arrays, tmp_path / "cache")
    of_arrays = replace(bundle, features=ArraySpec(16, 31.25, "dB", 1.0))
    with pytest.raises(FeatureError, match=r"songs are audio files, model tiny needs ready-made arrays; give"):
        evaluate(of_arrays, unseen, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
    other_scale = replace(bundle, features=ArraySpec(16, 31.25, "unknown"))
    with pytest.raises(FeatureError, match=r"the songs are ArraySpec\(.*'dB'.* needs ArraySpec\(.*'unknown'"):
        evaluate(other_scale, arrays, tmp_path / "cache")


def test_a_model_of_arrays_is_evaluated_on_arrays(bundle: Bundle, arrays: Manifest, cache_dir: Path) -> None:
    of_arrays = replace(bundle, features=ArraySpec(16, 31.25, "dB", 1.0), digest="")
    result = evaluate(of_arrays, arrays, cache_dir)
    assert result["n_songs"] == len(arrays.songs)
    assert result["slice"]["n"] == 3 * len(arrays.songs)


def outcome(song_id: str, artist: str, genre_idx: int, middle_genre_idx: int) -> SongOutcome:
    nothing = np.zeros(2)
    return SongOutcome(song_id, artist, 0, genre_idx, middle_genre_idx, nothing, nothing)


def test_least_expected_cost_may_answer_another_genre() -> None:
    nothing = np.zeros(1)
    sure, torn = np.eye(6)[0], np.array([0.0, 0.0, 0.4, 0.3, 0.3, 0.0])  # d and e stand in one group, c in the other
    found = [SongOutcome("1", "x", 0, 0, 0, sure, nothing), SongOutcome("2", "y", 4, 2, 2, torn, nothing)]
    result = under_taxonomy(found, LABELS, Taxonomy("plain", PLAIN))
    figures = ("accuracy", "hP", "hR", "hF", "severity", "distance")
    assert [result[k] for k in figures] == [0.5, 0.5, 0.5, 0.5, 2.0, 1.0]
    assert [result["least_cost"][k] for k in figures] == [0.5, 0.75, 0.75, 0.75, 1.0, 0.5]


def test_comparison_pairs_songs_by_their_ids() -> None:
    ours = [outcome("a", "x", 0, 1), outcome("b", "x", 0, 0), outcome("c", "", 1, 1), outcome("only ours", "", 0, 0)]
    theirs = [outcome("c", "", 0, 0), outcome("b", "x", 1, 1), outcome("a", "x", 1, 1)]
    found = compare(ours, theirs)
    assert (found["n"], found["tree_only"], found["flat_only"]) == (3, 2, 1)
    assert found["difference"] == pytest.approx(1 / 3)
    low, high = found["interval"]
    assert low <= found["difference"] <= high
    assert found["mcnemar_p"] == 1.0
