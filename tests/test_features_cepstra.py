"""Cepstra and rows of tables as features: against librosa and scipy, and their promises from slices to answers."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.bundle import load_bundle, save_bundle
from hgenre.errors import FeatureError
from hgenre.features import (
    ArraySpec,
    Cepstra,
    CepstralSpec,
    FeatureSpec,
    LogMelSpec,
    SliceSpec,
    TableSpec,
    cepstral_statistics,
    described,
    digest,
    fit_normalisation,
    frames_stream,
    from_json,
    level_free,
    log_mel,
    log_mel_of,
    mfcc,
    silence_level_db,
    song_statistics,
    standardise,
    steady,
    to_json,
    voiced,
)
from hgenre.features.cepstra import statistics_columns
from hgenre.features.slices import silence_cepstrum
from hgenre.predict import Model, SongAnswer
from tests.small_bundles import FEATURES, tiny_bundle

MEL = LogMelSpec(n_mels=40)
IMAGES = ArraySpec(40, 12.9, "levels of images")
OF_AUDIO = CepstralSpec(MEL, 13, 22)
OF_ARRAYS = CepstralSpec(IMAGES, 13)
TABLE = TableSpec(("tempo", "rolloff", "harmony"), 30.0)
SPECS: list[FeatureSpec] = [OF_AUDIO, OF_ARRAYS, TABLE, TableSpec(statistics_columns(2), 30.0, IMAGES)]


def db(seed: int, n_frames: int = 30, n_mels: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).normal(-40, 15, (n_mels, n_frames)).astype(np.float32)


def slices_of(spec: FeatureSpec, seed: int, n_slices: int = 5) -> np.ndarray:
    """Slices (slice, mel, frame) such as the spec has: an odd one is silent, or constant."""
    random = np.random.default_rng(seed)
    if isinstance(spec, TableSpec):
        return random.normal(0, 1e3, (n_slices, spec.n_mels, 1)).astype(np.float32)
    slices = np.stack([mfcc(db(seed + i), 13, getattr(spec, "lifter", 0)) for i in range(n_slices)])
    slices[1::2] = mfcc(np.full((40, 30), -100, np.float32), 13, 0)
    return slices


@pytest.mark.parametrize(("n_mfcc", "lifter"), [(13, 0), (13, 22), (20, 0), (40, 1), (1, 5)])
def test_cepstra_equal_librosa(n_mfcc: int, lifter: int) -> None:
    import librosa

    frames = db(0)
    expected = librosa.feature.mfcc(S=frames.astype(np.float64), n_mfcc=n_mfcc, lifter=lifter)
    found = mfcc(frames, n_mfcc, lifter)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


@settings(max_examples=30)
@given(st.integers(0, 99), st.integers(1, 40), st.integers(0, 40))
def test_a_frame_has_the_same_cepstra_whatever_stands_beside_it(seed: int, n_mfcc: int, start: int) -> None:
    frames = db(seed, 41)
    np.testing.assert_array_equal(mfcc(frames, n_mfcc, 22)[:, start:], mfcc(frames[:, start:], n_mfcc, 22))


@pytest.mark.parametrize("n_mfcc", [0, 41])
def test_cepstra_are_as_many_as_mel_bands_at_most(n_mfcc: int) -> None:
    with pytest.raises(FeatureError, match=rf"40 mel bands have 1 to 40 cepstra, found n_mfcc {n_mfcc}"):
        mfcc(db(0), n_mfcc)


def test_streamed_cepstra_are_those_of_the_log_mel_frames() -> None:
    waveform = np.random.default_rng(0).normal(0, 0.1, 200_000).astype(np.float32)
    expected = mfcc(log_mel(waveform, MEL), 13, 22)
    blocks = np.split(waveform, [10, 5_000, 150_000])
    np.testing.assert_array_equal(np.concatenate([*frames_stream(blocks, OF_AUDIO)], axis=1), expected)
    np.testing.assert_array_equal(np.concatenate([*frames_stream(blocks, MEL)], axis=1), log_mel(waveform, MEL))


@pytest.mark.parametrize("spec", [IMAGES, OF_ARRAYS, TABLE])
def test_what_audio_does_not_give_is_named(spec: FeatureSpec) -> None:
    with pytest.raises(FeatureError, match=rf"{described(spec)} are not computed from audio frame by frame"):
        log_mel_of(spec)


def test_statistics_are_scipys_in_the_order_of_fmas_table() -> None:
    import scipy.stats

    coefficients = mfcc(db(3, 200), 20)
    found = dict(zip(statistics_columns(), cepstral_statistics(coefficients), strict=True))
    assert len(found) == 140
    assert [*found][:2] == ["mfcc_kurtosis_01", "mfcc_kurtosis_02"]
    assert [*found][-1] == "mfcc_std_20"
    for statistic, function in {
        "kurtosis": scipy.stats.kurtosis,
        "max": np.max,
        "mean": np.mean,
        "median": np.median,
        "min": np.min,
        "skew": scipy.stats.skew,
        "std": np.std,
    }.items():
        expected = function(coefficients.astype(np.float64), axis=1)
        values = [found[f"mfcc_{statistic}_{k:02d}"] for k in range(1, 21)]
        np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)


def test_statistics_of_what_does_not_vary_are_finite() -> None:
    of = cepstral_statistics(np.full((1, 9), -7.3, np.float32))
    np.testing.assert_allclose(of, [-3, -7.3, -7.3, -7.3, -7.3, 0, 0], atol=1e-6)
    with pytest.raises(FeatureError, match="statistics of cepstra need a frame or more, found none"):
        cepstral_statistics(np.empty((20, 0), np.float32))


@given(seed=st.integers(0, 99), gain_db=st.floats(-30, 30), lifter=st.integers(0, 30))
def test_a_gain_moves_coefficient_0_alone_and_is_taken_off(seed: int, gain_db: float, lifter: int) -> None:
    spec = CepstralSpec(MEL, 13, lifter)
    quiet, loud = (mfcc(db(seed) + np.float32(g), 13, lifter)[None] for g in (0, gain_db))
    np.testing.assert_allclose(quiet[:, 1:], loud[:, 1:], atol=2e-3)
    np.testing.assert_allclose(level_free(quiet, spec), level_free(loud, spec), atol=2e-3)
    np.testing.assert_array_equal(level_free(quiet, spec)[:, 1:], quiet[:, 1:])
    rounding = 4 * np.finfo(np.float32).eps * np.abs(quiet).max()
    np.testing.assert_allclose(level_free(quiet, spec)[:, 0].mean(axis=1), 0, atol=rounding)


@pytest.mark.parametrize("spec", SPECS, ids=described)
def test_a_compiled_program_does_the_same(spec: FeatureSpec) -> None:
    slices = slices_of(spec, 0)
    np.testing.assert_allclose(
        level_free(jnp.asarray(slices), spec, jnp), level_free(slices, spec), rtol=1e-5, atol=1e-4
    )
    np.testing.assert_array_equal(voiced(jnp.asarray(slices), spec, jnp), voiced(slices, spec))


@settings(max_examples=20)
@given(spec=st.sampled_from(SPECS), seed=st.integers(0, 99), kept=st.sets(st.integers(0, 4), min_size=1))
def test_neighbours_never_matter(spec: FeatureSpec, seed: int, kept: set[int]) -> None:
    slices, chosen = slices_of(spec, seed), sorted(kept)
    beside = slices.copy()
    beside[[i for i in range(5) if i not in kept]] = 1e6
    std = np.full((5, spec.n_mels), 3, np.float32)
    for some in (slices[chosen], beside[chosen]):
        np.testing.assert_array_equal(voiced(some, spec), voiced(beside, spec)[chosen])
        np.testing.assert_array_equal(level_free(some, spec), level_free(beside, spec)[chosen])
        alone = standardise(some, std[chosen], std[chosen], spec)
        np.testing.assert_array_equal(alone, standardise(beside, std, std, spec)[chosen])


@pytest.mark.parametrize("lifter", [0, 22])
def test_a_flat_spectrum_is_silent_at_the_same_level_as_its_log_mel(lifter: int) -> None:
    spec = CepstralSpec(MEL, 13, lifter)
    levels_db = silence_level_db(MEL) + np.array([-20, -0.01, 0.01, 20])
    flat = [np.full((40, 30), level, np.float32) for level in levels_db]
    assert voiced(np.stack(flat), MEL).tolist() == [False, False, True, True]
    assert voiced(np.stack([mfcc(f, 13, lifter) for f in flat]), spec).tolist() == [False, False, True, True]


def test_cepstra_of_arrays_are_silent_when_constant_and_rows_when_not_finite() -> None:
    arrays = [
        *(np.full((40, 30), level, np.float32) for level in (0, -79.7, 255)),
        db(0) + 1000,
        np.tile(db(0)[:, :1], 30),
    ]
    for n_mfcc, lifter in ((13, 0), (13, 22), (1, 0)):
        spec = CepstralSpec(IMAGES, n_mfcc, lifter)
        cepstra = np.stack([mfcc(array, n_mfcc, lifter) for array in arrays])
        # What never changes has a first cepstrum as silence has; the others tell it from silence.
        assert voiced(cepstra, spec).tolist() == [False, False, False, True, n_mfcc > 1]
    rows = np.array([[[0], [0], [0]], [[1], [np.nan], [2]]], np.float32)
    assert voiced(rows, TABLE).tolist() == [True, False]
    with pytest.raises(FeatureError, match=r"cepstra of imported arrays \(levels of images\) have no level of silence"):
        silence_cepstrum(OF_ARRAYS)


@pytest.mark.parametrize("spec", SPECS, ids=described)
def test_steadiness_is_not_judged(spec: FeatureSpec) -> None:
    assert not steady(np.zeros((3, spec.n_mels, 200), np.float32), spec).any()


def test_each_column_of_a_table_has_a_deviation_of_its_own() -> None:
    random = np.random.default_rng(0)
    columns = np.stack(
        [random.normal(3e6, 1, 400), random.normal(0, 1e-5, 400), np.full(400, 661794.0), random.normal(0, 1e6, 400)]
    ).astype(np.float32)
    spec = TableSpec(("a", "b", "length", "d"), 3.0)
    songs = [columns[:, i : i + 10].T[:, :, None] for i in range(0, 400, 10)]
    fitted = fit_normalisation(songs, spec)
    expected = columns.astype(np.float64)
    np.testing.assert_allclose(fitted.mean_db, expected.mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(fitted.std_db, [*expected.std(axis=1)[:2], 1, expected.std(axis=1)[3]], rtol=1e-5)
    every = np.concatenate(songs)
    ones = np.ones((len(every), 1), np.float32)
    seen = standardise(every, ones * fitted.mean_db, ones * fitted.std_db, spec)
    np.testing.assert_array_equal(seen[:, 2], 0)
    mean, std = song_statistics(every, spec)
    np.testing.assert_allclose(std[[1, 3]], fitted.std_db[[1, 3]], rtol=1e-4)
    assert (mean[2], std[2]) == (661794, 1)


@pytest.mark.parametrize("spec", [*SPECS, MEL, IMAGES], ids=described)
def test_specs_come_back_from_json_under_digests_of_their_own(spec: FeatureSpec) -> None:
    assert from_json(to_json(spec)) == spec
    assert len({digest(other) for other in [*SPECS, MEL, IMAGES]}) == 6


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "cepstra", "n_mfcc": 3}, "kind 'cepstra': of is missing"),
        ({"kind": "cepstra", "of": to_json(TABLE), "n_mfcc": 3}, "cepstra are of log-mel frames or of imported arrays"),
        ({"kind": "cepstra", "of": to_json(MEL), "coefficients": 3}, "unexpected keyword argument 'coefficients'"),
        ({"kind": "cepstra", "of": to_json(MEL), "n_mfcc": 41}, "40 mel bands .* at most, found n_mfcc 41"),
        ({"kind": "cepstra", "of": to_json(MEL), "lifter": -1}, "need n_mfcc >= 1 and lifter >= 0, .* lifter -1"),
        ({"kind": "table", "columns": ["a", "a"], "row_s": 3.0, "of": None}, "a column or more, each once by name"),
        ({"kind": "table", "columns": [], "row_s": 3.0, "of": None}, "a column or more, each once by name"),
        ({"kind": "table", "columns": ["a"], "row_s": 0.0, "of": None}, "stands for a time above 0 s, found 0.0"),
        ({"kind": "table", "columns": ["a"], "row_s": 3.0, "of": to_json(TABLE)}, "statistics are of log-mel frames"),
        ({"kind": "table", "row_s": 3.0, "of": None}, "columns is missing"),
        ({"kind": "waves"}, "known kinds are log_mel, arrays, cepstra and table"),
    ],
)
def test_specs_that_cannot_be_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        from_json(values)


def test_cepstra_want_a_coefficient() -> None:
    with pytest.raises(FeatureError, match="found n_mfcc 0 and lifter 0"):
        Cepstra(0)


def test_cepstra_have_the_slices_of_their_frames_and_a_row_is_a_slice() -> None:
    for of, spec in ((MEL, OF_AUDIO), (IMAGES, OF_ARRAYS)):
        assert SliceSpec.from_seconds(3.0, 1.5, spec) == SliceSpec.from_seconds(3.0, 1.5, of)
        assert spec.frame_rate_hz == of.frame_rate_hz
    assert SliceSpec.from_seconds(3.0, 1.5, TABLE) == SliceSpec(1, 1)
    assert TABLE.frame_rate_hz == 1 / 30


def test_a_bundle_of_cepstra_answers_audio_and_comes_back_from_disk(tmp_path: Path) -> None:
    bundle = tiny_bundle(features=CepstralSpec(FEATURES, 12, 22))
    save_bundle(bundle, tmp_path / "bundle")
    kept = load_bundle(tmp_path / "bundle")
    assert kept.features == bundle.features
    waveform = np.random.default_rng(1).normal(0, 0.1, 16000).astype(np.float32)
    soundfile.write(tmp_path / "noise.wav", waveform, 8000, subtype="FLOAT")
    model = Model(kept, cache_dir=tmp_path / "cache")
    [of_file] = model.predict(tmp_path / "noise.wav")
    of_memory = model.predict_waveform(waveform, 8000)
    assert isinstance(of_file, SongAnswer)
    assert of_file.probabilities == pytest.approx(of_memory.probabilities, abs=1e-6)
    # Five times quieter, the same answer: the level of cepstra is in coefficient 0, and taken off.
    quieter = model.predict_waveform(waveform / 5, 8000).probabilities
    assert quieter == pytest.approx(of_memory.probabilities, abs=1e-4)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        (ArraySpec(12, 30.0, "levels"), r"ready-made arrays \(levels\)"),
        (CepstralSpec(ArraySpec(12, 30.0, "levels"), 12), r"12 cepstra of ready-made arrays \(levels\)"),
        (TableSpec(tuple("abcdefghijkl"), 3.0), "rows of a feature table"),
        (TableSpec(tuple("abcdefghijkl"), 30.0, LogMelSpec()), "statistics of cepstra of log-mel of audio"),
        (
            TableSpec(tuple("abcdefghijkl"), 30.0, ArraySpec(12, 30.0, "levels")),
            r"statistics of cepstra of ready-made arrays \(levels\)",
        ),
    ],
)
def test_bundles_of_other_features_refuse_audio(spec: FeatureSpec, told: str, tmp_path: Path) -> None:
    save_bundle(tiny_bundle(features=spec), tmp_path / "bundle")
    kept = load_bundle(tmp_path / "bundle")
    assert kept.features == spec
    with pytest.raises(FeatureError, match=rf"was trained on {told}, and audio is answered by its log-mel frames or"):
        Model(kept)
