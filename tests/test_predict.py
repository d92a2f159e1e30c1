"""Songs in, answers out: neighbours never matter, broken files are named, damaged ones answered with a warning."""

import gc
import json
import threading
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from hgenre import Model, Route, SongAnswer, SongFault, load
from hgenre.bundle import Bundle
from hgenre.data.manifest import Manifest
from hgenre.errors import (
    AudioError,
    BundleError,
    EmptyAudioError,
    FeatureError,
    HgenreError,
    NonFiniteAudioError,
    OptionError,
    SilentAudioError,
    TooShortAudioError,
    UnreadableAudioError,
)
from hgenre.features import ArraySpec
from hgenre.predict import EVIDENCE_VOTE, STEADY
from hgenre.tree.calibration import Calibration, apply_calibration
from hgenre.tree.evidence import SongEvidence
from hgenre.tree.vote import answer_songs, sum_sorted_slices
from tests.audio_files import cut, tones, write_sound
from tests.conftest import GROUPS
from tests.test_vote import AGGREGATIONS

ROUTES = [Route(), Route("hard", "slice"), Route("hard", "song", "mean_probability")]
REPEATED = "shorter than one slice: repeated to fill it"


@pytest.fixture(scope="module")
def songs(corpus: Manifest) -> list[Path]:
    return [corpus.audio_path(song) for song in corpus.songs]


@pytest.fixture(scope="module")
def odd_songs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Neighbours to be feared: silence, full scale, half silence, and a song of 90 slices."""
    folder = tmp_path_factory.mktemp("odd")
    noise = np.random.default_rng(0).normal(0, 0.1, 90 * 8000)
    half_silent = noise[:40_000] * (np.arange(40_000) < 20_000)
    square = np.sign(np.sin(np.arange(40_000)))
    sounds = {"silence": np.zeros(40_000), "square": square, "half silent": half_silent, "long": noise}
    return [write_sound(folder / f"{name}.wav", sound, 8000, "FLOAT") for name, sound in sounds.items()]


def pulsing(sound: np.ndarray, rate_hz: int) -> np.ndarray:
    """The sound, loud and soft in turn, so that it is no steady noise."""
    loud = np.arange(len(sound)) * 4 // rate_hz % 2
    return sound * np.where(loud, 1.0, 0.1).astype(sound.dtype).reshape(-1, *[1] * (sound.ndim - 1))


def answers(found: Sequence[SongAnswer | SongFault]) -> list[SongAnswer]:
    assert not [fault for fault in found if isinstance(fault, SongFault)]
    return [answer for answer in found if isinstance(answer, SongAnswer)]


def p_of(answer: SongAnswer | SongFault) -> list[float]:
    assert isinstance(answer, SongAnswer), answer
    return list(answer.probabilities.values())


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.decoder}/{route.unit}")
def test_a_song_is_answered_alike_alone_among_fifty_and_in_any_order(
    bundle: Bundle, songs: list[Path], odd_songs: list[Path], route: Route
) -> None:
    model = Model(bundle, route)
    mine = [*songs[::5], *odd_songs[1:]]
    alone = {path: answers(model.predict([path]))[0] for path in mine}
    random = np.random.default_rng(1)
    silence = odd_songs[0]
    fifty = [songs[i] for i in random.integers(len(songs), size=50 - 2 * len(mine))] + mine + mine
    for crowd in (fifty, [fifty[i] for i in random.permutation(50)], [silence, mine[0], silence], [*mine, silence]):
        found = model.predict(crowd)
        assert [answer.path for answer in found] == [str(path) for path in crowd]
        for path, answer in zip(crowd, found, strict=True):
            if path == silence:
                assert isinstance(answer, SongFault)
                assert answer.kind == "silent"
            elif path in alone:
                np.testing.assert_allclose(p_of(answer), p_of(alone[path]), atol=1e-5, rtol=0)
                assert isinstance(answer, SongAnswer)
                assert (answer.genre, answer.votes) == (alone[path].genre, alone[path].votes)


@pytest.mark.parametrize("gain_db", [-12, 12])
def test_loudness_changes_no_label(model: Model, songs: list[Path], tmp_path: Path, gain_db: float) -> None:
    louder = []
    for i, path in enumerate(songs):
        sound, rate_hz = soundfile.read(path, dtype="float32")
        louder.append(write_sound(tmp_path / f"{i}.wav", sound * np.float32(10 ** (gain_db / 20)), rate_hz, "FLOAT"))
    for before, after in zip(answers(model.predict(songs)), answers(model.predict(louder)), strict=True):
        assert after.genre == before.genre
        np.testing.assert_allclose(p_of(after), p_of(before), atol=1e-3, rtol=0)


def test_every_broken_file_is_named_and_every_good_one_answered(
    model: Model, songs: list[Path], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 8000)
    broken = {
        "empty.wav": ("empty", "has 0 bytes"),
        "text.mp3": ("unreadable", "no decoder can read it"),
        "headerless.wav": ("unreadable", "no decoder can read it"),
        "clip.wav": ("too_short", "holds 0.20 s of sound; needed half a slice, 0.51 s"),
        "nan.wav": ("non_finite", "8000 of 8000 samples are NaN"),
        "silent.wav": ("silent", "none of its 2 slices is loud enough to judge (above -80 dB re full scale)"),
        "missing.wav": ("unreadable", "cannot be opened (No such file or directory)"),
    }
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.mp3").write_text("twelve bars of blues\n" * 99)
    (tmp_path / "headerless.wav").write_bytes((noise * 32768).astype("<i2").tobytes())
    write_sound(tmp_path / "clip.wav", noise[:1600], 8000)
    write_sound(tmp_path / "nan.wav", np.full(8000, np.nan, np.float32), 8000, "FLOAT")
    write_sound(tmp_path / "silent.wav", np.zeros(17_000), 8000)
    mixed = list(songs[:20])
    for place, name in enumerate(broken):
        mixed.insert(3 * place, tmp_path / name)

    found = model.predict(mixed)

    assert [answer.path for answer in found] == [str(path) for path in mixed]
    for path, answer in zip(mixed, found, strict=True):
        if path.name in broken:
            kind, reason = broken[path.name]
            assert isinstance(answer, SongFault)
            assert answer.kind == kind
            assert reason in answer.message
            assert answer.to_json() == {
                "path": str(path),
                "error": {"kind": kind, "message": answer.message},
            }
        else:
            assert isinstance(answer, SongAnswer)


@pytest.mark.real_data
def test_the_gtzan_file_that_does_not_decode_is_named(model: Model, gtzan: Path) -> None:
    good = sorted((gtzan / "audio" / "blues").iterdir())[0]
    bad = gtzan / "audio" / "jazz" / "jazz.00054.wav"
    found = model.predict([bad, good])
    assert isinstance(found[0], SongFault)
    assert found[0].kind == "unreadable"
    assert isinstance(found[1], SongAnswer)


@pytest.mark.parametrize("form", ["mp3", "wav", "ogg"])
def test_a_truncated_file_is_answered_and_says_so(model: Model, tmp_path: Path, form: str) -> None:
    whole = write_sound(tmp_path / f"song.{form}", pulsing(tones(6.0), 22_050))
    [before, after] = answers(model.predict([whole, cut(whole, 0.6)]))
    assert not before.truncated
    assert before.warnings == ()
    assert after.truncated
    assert after.warnings
    assert after.warnings[0].startswith("truncated: ")
    assert 0 < after.n_slices < before.n_slices


def test_a_song_shorter_than_a_slice_is_repeated_and_says_so(model: Model, tmp_path: Path) -> None:
    noise = pulsing(np.random.default_rng(0).normal(0, 0.1, 8000), 8000)
    # A slice has 30 frames of 512 samples every 256, which are 7936 samples; half of it has 15 frames, 4096 samples.
    paths = [write_sound(tmp_path / f"{n}.wav", noise[:n], 8000, "FLOAT") for n in (4095, 4096, 7935, 7936)]
    too_short, shortest, almost, whole = model.predict(paths)
    assert isinstance(too_short, SongFault)
    assert too_short.kind == "too_short"
    for answer in (shortest, almost):
        assert isinstance(answer, SongAnswer)
        assert answer.warnings == (REPEATED,)
        assert answer.n_slices == 1
        assert not answer.truncated
    assert isinstance(whole, SongAnswer)
    assert whole.warnings == ()


def test_an_answer_keeps_its_promises(bundle: Bundle, songs: list[Path]) -> None:
    model = Model(replace(bundle, calibration=None))
    for answer in answers(model.predict(songs)):
        assert sum(answer.probabilities.values()) == pytest.approx(1, abs=1e-6)
        assert list(answer.probabilities) == list(model.genres)
        assert answer.confidence == answer.probabilities[answer.genre]
        assert answer.votes[answer.genre] == max(answer.votes.values())
        assert sum(answer.votes.values()) == answer.n_slices == len(answer.slices)
        names, p = zip(*answer.tree_path, strict=True)
        assert (names[0], names[-1], p[-1]) == ("root", answer.genre, answer.confidence)
        assert 1 >= p[0] > 1 - 1e-6
        assert list(p) == sorted(p, reverse=True)
        assert answer.duration_s == pytest.approx(3, abs=0.1)
        mean = np.mean([one.p if one.genre == answer.genre else np.nan for one in answer.slices])
        if answer.votes[answer.genre] == answer.n_slices:
            assert answer.confidence == pytest.approx(mean, abs=1e-6)


def test_hard_routing_gives_the_entered_group_only(bundle: Bundle, songs: list[Path]) -> None:
    soft = answers(Model(replace(bundle, calibration=None)).predict(songs))
    for answer, whole in zip(answers(Model(bundle, Route("hard", "song")).predict(songs)), soft, strict=True):
        group = next(node for node in bundle.tree.nodes[1:] if answer.genre in node.genres)
        inside = sum(answer.probabilities[genre] for genre in group.genres)
        assert inside == pytest.approx(sum(answer.probabilities.values()))
        assert inside == pytest.approx(sum(whole.probabilities[genre] for genre in group.genres), abs=1e-5)


def test_json_of_an_answer_is_the_contract(model: Model, songs: list[Path]) -> None:
    [answer] = answers(model.predict(songs[:1]))
    record = json.loads(json.dumps(answer.to_json(), allow_nan=False))
    assert list(record) == [
        "path",
        "genre",
        "confidence",
        "answer",
        "probabilities",
        "votes",
        "n_slices",
        "duration_s",
        "truncated",
        "model",
        "warnings",
    ]
    assert record["answer"] == {
        "label": answer.genre,
        "kind": "genre",
        "genres": [answer.genre],
        "depth": 2,
        "path": [list(step) for step in answer.tree_path],
    }
    assert record["model"] == "tiny"
    timeline = answer.to_json(timeline=True)
    assert [list(one) for one in timeline["slices"]] == [["start_s", "genre", "p", "path"]] * 3
    assert [one["start_s"] for one in timeline["slices"]] == [0.0, 0.992, 1.984]  # 31 frames of 32 ms
    assert {key: timeline[key] for key in record} == answer.to_json()


def with_evidence(bundle: Bundle, threshold: float, p_true: float = 0.5, *, song_temperature: float = 1.0) -> Bundle:
    """The bundle after 30 songs that were right by group at the threshold, and wrong by genre.

    A target of 0.9 then has that threshold; a set of coverage 0.9 holds the genres that reach ``p_true``.
    """
    songs = (SongEvidence(p_true, (threshold, 0.0), 1) for _ in range(30))
    return replace(bundle, calibration=Calibration(song_temperature=song_temperature, evidence=tuple(songs)))


def test_answers_climb_until_they_are_sure(bundle: Bundle, songs: list[Path]) -> None:
    plain = answers(Model(replace(bundle, calibration=None)).predict(songs))
    music = [path for path, answer in zip(songs, plain, strict=True) if answer.answer.kind != "abstain"]
    confidences = sorted(answer.confidence for answer in plain if answer.answer.kind != "abstain")
    threshold = confidences[len(music) // 2]
    model = Model(with_evidence(bundle, round(threshold, 6)), target_accuracy=0.9)
    found = answers(model.predict(music))
    assert {"genre", "group"} <= {answer.answer.kind for answer in found}
    for answer in found:
        claim = answer.answer
        *_, (name, _) = sure = [step for step in answer.tree_path if step[1] >= threshold]
        assert claim.path == tuple(sure)
        if claim.kind == "abstain":
            assert (name, claim.label, claim.genres) == ("root", None, ())
            assert answer.warnings == (claim.reason,)
        else:
            assert claim.label == name
            assert claim.genres == ((answer.genre,) if claim.kind == "genre" else tuple(GROUPS[name]))
            assert answer.warnings == ()
        assert answer.to_json()["answer"] == claim.to_json()
    assert [a.genre for a in found] == [a.genre for a in plain if a.answer.kind != "abstain"]


def test_an_answer_that_is_not_sure_is_none(bundle: Bundle, songs: list[Path]) -> None:
    blunt = with_evidence(bundle, 1.0, song_temperature=8.0)
    [answer] = answers(Model(blunt, target_accuracy=0.9).predict(songs[:1]))
    assert (answer.answer.label, answer.answer.kind, answer.answer.genres) == (None, "abstain", ())
    [group] = [step for step in answer.tree_path if step[0] in GROUPS]
    reason = f"{group[0]} is only {group[1]:.1%} likely; needed 100.0% for answers that are right 90.0% of the time"
    assert answer.warnings == (reason,)
    assert answer.confidence == answer.probabilities[answer.genre]


def test_a_target_out_of_reach_leaves_no_answer_and_says_so(bundle: Bundle, songs: list[Path]) -> None:
    model = Model(with_evidence(bundle, 0.5), target_accuracy=0.99)
    assert model.out_of_reach == (
        "no answers of model tiny are right 99.0% of the time as far as its 30 songs of evidence can tell (90% sure); "
        "ask for less"
    )
    for answer in answers(model.predict(songs[:3])):
        assert (answer.answer.kind, answer.warnings) == ("abstain", (model.out_of_reach,))


def test_a_coverage_out_of_reach_leaves_no_answer_and_says_so(bundle: Bundle, songs: list[Path]) -> None:
    model = Model(with_evidence(bundle, 0.5), coverage=0.99)
    assert model.out_of_reach == (
        "model tiny can leave no genre out if 99.0% of songs must find theirs in the answer, as far as its 30 songs "
        "of evidence can tell; ask for less"
    )
    for answer in answers(model.predict(songs[:3])):
        assert (answer.answer.kind, answer.warnings) == ("abstain", (model.out_of_reach,))
    assert Model(with_evidence(bundle, 0.5), coverage=0.9).out_of_reach == ""
    assert Model(with_evidence(bundle, 0.5), target_accuracy=0.9).out_of_reach == ""


def test_coverage_answers_with_as_many_genres_as_it_takes(bundle: Bundle, songs: list[Path]) -> None:
    plain = answers(Model(replace(bundle, calibration=None)).predict(songs))
    seconds = [sorted(answer.probabilities.values())[-2] for answer in plain]
    threshold = sorted(seconds)[len(seconds) // 2]
    found = answers(Model(with_evidence(bundle, 0.5, threshold), coverage=0.9).predict(songs))
    kinds = set()
    for answer, other in zip(found, plain, strict=True):
        if other.answer.kind == "abstain":
            continue
        likely = [genre for genre, p in answer.probabilities.items() if p >= threshold or genre == answer.genre]
        assert answer.answer.genres == tuple(likely)
        group = next((name for name, genres in GROUPS.items() if genres == likely), None)
        assert answer.answer.label == (likely[0] if len(likely) == 1 else group)
        kinds.add(answer.answer.kind)
    assert {"genre", "group"} <= kinds


@pytest.mark.parametrize(
    ("asked", "route", "error", "message"),
    [
        ({"target_accuracy": 1.5}, Route(), OptionError, "^target_accuracy: found 1.5, needed a share between 0 and 1"),
        ({"coverage": float("nan")}, Route(), OptionError, "coverage: found nan, needed a share between 0 and 1"),
        ({"target_accuracy": 0.9, "coverage": 0.9}, Route(), OptionError, "^coverage: asks for something else than a "),
        ({"coverage": 0.9}, Route("hard"), OptionError, "coverage: needs the probabilities of all genres, of wh"),
        ({"target_accuracy": 0.9}, Route("hard", "song"), OptionError, "target_accuracy: needs the probabilities of"),
        (
            {"target_accuracy": 0.9},
            Route(aggregation="mean_probability"),
            OptionError,
            "target_accuracy: found votes by mean_probability, the songs of evidence were answered by majority; take",
        ),
        (
            {"coverage": 0.9},
            Route(aggregation="mean_log_probability"),
            OptionError,
            "coverage: found votes by mean_log_probability, the songs of evidence were answered by majority; take",
        ),
        ({"target_accuracy": 0.9}, Route(), BundleError, "held-out songs, so it can be asked for no target accuracy;"),
        ({"coverage": 0.5}, Route(), BundleError, "asked for no coverage; train it again with this hgenre, or lea"),
    ],
)
def test_what_an_honest_answer_needs_is_told(
    bundle: Bundle, asked: dict[str, Any], route: Route, error: type[HgenreError], message: str
) -> None:
    for calibration in (None, Calibration()):
        with pytest.raises(error, match=message):
            Model(replace(bundle, calibration=calibration), route, **asked)


@pytest.mark.parametrize("asked", [{"target_accuracy": 0.9}, {"coverage": 0.9}])
def test_evidence_is_of_the_majority_whatever_a_bundle_s_own_vote(bundle: Bundle, asked: dict[str, Any]) -> None:
    other = replace(with_evidence(bundle, 0.5), route=Route(aggregation="mean_probability"))
    with pytest.raises(OptionError, match="found votes by mean_probability, the songs of evidence were answered by"):
        Model(other, **asked)
    assert Model(other, Route(), **asked).route == Route()


def test_songs_of_evidence_are_answered_by_the_vote_that_predict_asks_for() -> None:
    # Two slices lean to the second genre, one is sure of the first: only the majority names the second.
    logp = np.log([[0.45, 0.55], [0.45, 0.55], [0.99, 0.01]])
    found = apply_calibration(logp, np.zeros(3, int), 1, Calibration())
    sums = sum_sorted_slices(logp, np.zeros(3, int), 1)
    votes = {vote: answer_songs(sums, vote).genre_idx[0] for vote in AGGREGATIONS}
    assert found.genre_idx[0] == votes[EVIDENCE_VOTE] == 1
    assert [vote for vote, genre_idx in votes.items() if genre_idx == 1] == [EVIDENCE_VOTE]


@pytest.mark.parametrize("asked", [{}, {"target_accuracy": 0.9}, {"coverage": 0.9}])
def test_steady_noise_is_no_genre_s(bundle: Bundle, asked: dict[str, Any]) -> None:
    model = Model(with_evidence(bundle, 0.0, 0.0), **asked)
    steady = model.predict_waveform(NOISE, 8000)
    assert (steady.answer.kind, steady.answer.label, steady.answer.genres) == ("abstain", None, ())
    assert steady.warnings == (STEADY,)
    assert steady.genre in model.genres
    half_steady = model.predict_waveform(np.concatenate([NOISE, pulsing(NOISE, 8000)]), 8000)
    assert STEADY not in half_steady.warnings


def test_a_model_is_loaded_with_what_it_is_asked_for(bundle_dir: Path) -> None:
    with pytest.raises(OptionError, match="coverage: found 2, needed a share"):
        load(bundle_dir, coverage=2)
    with pytest.raises(OptionError, match="target_accuracy: found 0, needed a share"):
        load(bundle_dir, target_accuracy=0)


def test_a_song_s_temperature_makes_its_probabilities_surer_and_keeps_its_vote(
    bundle: Bundle, songs: list[Path]
) -> None:
    plain = answers(Model(replace(bundle, calibration=None)).predict(songs[:6]))
    for temperature in (0.5, 1.0, 2.0):
        calibration = Calibration(song_temperature=temperature)
        tempered = answers(Model(replace(bundle, calibration=calibration)).predict(songs[:6]))
        for ours, theirs in zip(tempered, plain, strict=True):
            powers = np.array(p_of(theirs)) ** (1 / temperature)
            assert p_of(ours) == pytest.approx((powers / powers.sum()).tolist(), abs=1e-6)
            assert (ours.genre, ours.votes, ours.slices) == (theirs.genre, theirs.votes, theirs.slices)


def test_a_waveform_is_answered_as_its_file(model: Model, tmp_path: Path) -> None:
    for rate_hz in (8000, 22_050, 48_000):
        sound = tones(4.0, rate_hz, n_channels=1)[:, 0]
        [by_file] = answers(model.predict([write_sound(tmp_path / f"{rate_hz}.wav", sound, rate_hz, "FLOAT")]))
        answer = model.predict_waveform(sound, rate_hz)
        np.testing.assert_allclose(p_of(answer), p_of(by_file), atol=1e-5)
        assert (answer.path, answer.duration_s, answer.n_slices) == ("waveform", 4.0, by_file.n_slices)
        assert [one.start_s for one in answer.slices] == [one.start_s for one in by_file.slices]
        np.testing.assert_allclose(np.exp(model.log_proba(sound, rate_hz)), p_of(by_file), atol=1e-5)


def test_a_waveform_may_be_a_list_or_float64(model: Model) -> None:
    sound = tones(2.0, 8000, n_channels=1)[:, 0]
    wanted = p_of(model.predict_waveform(sound, 8000))
    assert p_of(model.predict_waveform(sound.astype(np.float64), 8000)) == wanted
    assert p_of(model.predict_waveform(sound.tolist(), 8000)) == wanted


def test_a_short_waveform_is_repeated_and_says_so(model: Model) -> None:
    sound = pulsing(tones(1.0, 8000, 1)[:, 0], 8000)
    assert model.predict_waveform(sound[:5600], 8000).warnings == (REPEATED,)
    assert model.predict_waveform(sound, 8000).warnings == ()


NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000)


@pytest.mark.parametrize(
    ("waveform", "rate_hz", "error", "message"),
    [
        (NOISE.reshape(2, -1), 8000, UnreadableAudioError, r"found shape \(2, 8000\), needed mono samples"),
        (np.float32(0.5), 8000, UnreadableAudioError, r"found shape \(\), needed mono"),
        (np.where(NOISE > 0.3, np.nan, NOISE), 8000, NonFiniteAudioError, r"\d+ of 16000 samples are NaN"),
        (np.full(8000, np.inf), 8000, NonFiniteAudioError, "8000 of 8000 samples are NaN, infinite or beyond 1e12"),
        (NOISE * 1e300, 8000, NonFiniteAudioError, "beyond 1e12 of full scale"),
        ([], 8000, EmptyAudioError, "has no samples; needed at least half a slice"),
        ((NOISE * 32767).astype(np.int16), 8000, UnreadableAudioError, "type int16, needed floats .* int16 by 32768"),
        (NOISE > 0, 8000, UnreadableAudioError, "samples of type bool, needed floats with full scale 1.0"),
        (NOISE * 1j, 8000, UnreadableAudioError, "samples of type complex128, needed floats"),
        (NOISE[:1600], 8000, TooShortAudioError, r"holds 0.20 s of sound; needed half a slice, 0.51 s"),
        (NOISE, 384_000, TooShortAudioError, r"holds 0.04 s of sound"),
        (NOISE * 0, 8000, SilentAudioError, "none of its 2 slices is loud enough"),
        (NOISE[:8000] * 0, 8000, SilentAudioError, "its one slice is not loud enough"),
        (NOISE, 0, UnreadableAudioError, "found 0 samples a second; needed 1000 to 768000"),
        (NOISE, float("nan"), UnreadableAudioError, "found nan samples a second"),
    ],
)
def test_a_waveform_that_cannot_be_judged_is_refused(
    model: Model, waveform: np.ndarray, rate_hz: int, error: type[AudioError], message: str
) -> None:
    with pytest.raises(error, match=f"^waveform: .*{message}"):
        model.predict_waveform(waveform, rate_hz)
    with pytest.raises(error, match=message):
        model.log_proba(waveform, rate_hz)


def test_an_amplitude_of_integers_as_floats_is_only_a_gain(model: Model) -> None:
    np.testing.assert_allclose(
        p_of(model.predict_waveform(NOISE * 32768, 8000)), p_of(model.predict_waveform(NOISE, 8000)), atol=1e-3
    )


def test_a_model_that_is_no_longer_used_is_freed(bundle: Bundle, songs: list[Path]) -> None:
    model = Model(bundle)
    model.predict(songs[:1])
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_no_song_gives_no_answer(model: Model) -> None:
    assert model.predict([]) == []


def test_programs_are_kept_in_the_folder_that_is_named(bundle: Bundle, songs: list[Path], tmp_path: Path) -> None:
    Model(bundle, cache_dir=tmp_path).predict(songs[:1])
    assert len(list((tmp_path / "programs").iterdir())) >= 1


def test_a_program_that_is_kept_is_loaded_while_the_song_is_decoded(
    bundle: Bundle, songs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Model(bundle, cache_dir=tmp_path).predict(songs[:1])
    loaders: list[str] = []
    load_resident = Model._load_resident

    def load(model: Model, n_slices: int) -> None:
        loaders.append(threading.current_thread().name)
        load_resident(model, n_slices)
        assert list(model._programs) == [n_slices]

    monkeypatch.setattr(Model, "_load_resident", load)
    monkeypatch.setattr("hgenre.compiled.exported.cached_program", None)
    model = Model(bundle, cache_dir=tmp_path)
    assert model.predict(songs[:1]) == wanted
    assert model.predict(songs[:1]) == wanted
    assert loaders == ["load-program"]
    assert len(model._programs) == 1


def test_a_model_of_ready_made_arrays_refuses_audio(bundle: Bundle) -> None:
    arrays = replace(bundle, features=ArraySpec(16, 31.25, "dB below the clip's maximum", 1.0))
    with pytest.raises(FeatureError, match=r"model tiny was trained on ready-made arrays \(dB below .*, and audio is"):
        Model(arrays)


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no model 'nosuch': no such folder, and not among the shipped ones"):
        load("nosuch")
    with pytest.raises(BundleError, match=r"holds no bundle: manifest\.json is missing; train one or name another"):
        load(tmp_path)
