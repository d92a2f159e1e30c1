"""Log-mel frames, slices and normalisation against librosa, slow oracles and their own promises."""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import FeatureError
from hgenre.features import (
    ArraySpec,
    FeatureSpec,
    LogMelSpec,
    Normalisation,
    SliceSpec,
    cut_slices,
    cut_stream,
    fit_normalisation,
    level_free,
    log_mel,
    log_mel_stream,
    mel_filters,
    repeat_to_slice,
    silence_level_db,
    slice_level_db,
    slice_starts,
    song_statistics,
    standardise,
    statistics_for,
    voiced,
)

SPEC = LogMelSpec()
SLICE = SliceSpec(n_frames=20, step_frames=10)
IMAGES = ArraySpec(n_mels=96, frame_rate_hz=30.0, scale="image levels of unknown range")
SPECS = [
    SPEC,
    LogMelSpec(mel_scale="htk", fmin_hz=30.0, fmax_hz=7600.0),
    LogMelSpec(sample_rate_hz=22050, n_fft=2048, hop_length=512, n_mels=128, fmax_hz=11025.0),
    LogMelSpec(n_fft=401, hop_length=160, n_mels=40, fmax_hz=4000.0, mel_scale="htk"),
    LogMelSpec(n_fft=256, hop_length=256, n_mels=64),
]


def music(n_samples: int, seed: int = 0, rms: float = 0.1) -> np.ndarray:
    """Tones that come and go over noise that falls towards high frequencies: (sample,) float32 at 16 kHz."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(n_samples) / 16000
    noise = np.cumsum(rng.standard_normal(n_samples)) * 0.01 + rng.standard_normal(n_samples) * 0.003
    noise -= np.linspace(noise[0], noise[-1], n_samples)
    tones = sum(
        np.sin(2 * np.pi * hz * time_s) * (np.sin(2 * np.pi * beat * time_s) > 0)
        for hz, beat in zip(rng.uniform(60, 5000, 5), rng.uniform(0.5, 4, 5), strict=True)
    )
    waveform = tones + noise
    return (waveform * rms / np.sqrt(np.mean(waveform**2))).astype(np.float32)


def librosa_log_mel(waveform: np.ndarray, spec: LogMelSpec) -> np.ndarray:
    import librosa

    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        hop_length=spec.hop_length,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        htk=spec.mel_scale == "htk",
        center=False,
        window="hann",
        power=2,
    )
    return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)


# Some specs have filters between two bins; that librosa says so is not under test.
empty_filters = pytest.mark.filterwarnings("ignore:Empty filters detected")


@empty_filters
@pytest.mark.parametrize("spec", SPECS)
def test_mel_filters_equal_librosa(spec: LogMelSpec) -> None:
    import librosa

    expected = librosa.filters.mel(
        sr=spec.sample_rate_hz,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin_hz,
        fmax=spec.fmax_hz,
        htk=spec.mel_scale == "htk",
        norm="slaney",
        dtype=np.float64,
    )
    np.testing.assert_allclose(mel_filters(spec), expected, rtol=0, atol=1e-12)


@empty_filters
@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("rms", [0.2, 1e-4])
def test_log_mel_is_within_a_thousandth_of_a_db_of_librosa(spec: LogMelSpec, rms: float) -> None:
    waveform = music(40000, rms=rms)
    frames = log_mel(waveform, spec)
    assert frames.dtype == np.float32
    np.testing.assert_allclose(frames, librosa_log_mel(waveform, spec), rtol=0, atol=1e-3)


@pytest.mark.real_data
def test_log_mel_of_real_clips_is_within_a_thousandth_of_a_db_of_librosa() -> None:
    if "HGENRE_DATA" not in os.environ:
        pytest.skip("HGENRE_DATA names no folder with real music")
    import soundfile

    clips = sorted(Path(os.environ["HGENRE_DATA"], "gtzan", "audio").glob("*/*.*"))[::25]
    worst_db = 0.0
    n_compared = 0
    for clip in clips:
        if clip.stem == "jazz.00054":  # known not to decode
            continue
        waveform, rate_hz = soundfile.read(clip, dtype="float32")
        spec = LogMelSpec(sample_rate_hz=rate_hz)
        worst_db = max(worst_db, float(np.abs(log_mel(waveform, spec) - librosa_log_mel(waveform, spec)).max()))
        n_compared += 1
    assert n_compared >= 10
    assert worst_db <= 1e-3


def test_log_mel_frame_count_and_floor() -> None:
    assert log_mel(np.zeros(1023, np.float32), SPEC).shape == (96, 0)
    assert log_mel(np.zeros(1024, np.float32), SPEC).shape == (96, 1)
    assert log_mel(np.zeros(1535, np.float32), SPEC).shape == (96, 1)
    assert log_mel(np.zeros(1536, np.float32), SPEC).shape == (96, 2)
    np.testing.assert_allclose(log_mel(np.zeros(4096, np.float32), SPEC), -100, rtol=1e-6)


def test_log_mel_refuses_channels() -> None:
    with pytest.raises(FeatureError, match=r"mono waveform of shape \(sample,\), found shape \(2, 4096\)"):
        log_mel(np.zeros((2, 4096), np.float32), SPEC)


def test_the_frames_of_a_slice_are_frames_of_the_song() -> None:
    waveform = music(30000)
    part = waveform[10 * 512 : 10 * 512 + 1024 + 19 * 512]
    np.testing.assert_allclose(log_mel(part, SPEC), log_mel(waveform, SPEC)[:, 10:30], rtol=0, atol=1e-5)


LONG = music(200_000)


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 200_000), max_size=8), n_samples=st.integers(0, 200_000))
def test_streamed_log_mel_is_equal_whatever_the_blocks(cuts: list[int], n_samples: int) -> None:
    waveform = LONG[:n_samples]
    edges = [0, *sorted(min(cut, n_samples) for cut in cuts), n_samples]
    blocks = [waveform[start:end] for start, end in pairwise(edges)]
    streamed = [np.empty((96, 0), np.float32), *log_mel_stream(blocks, SPEC)]
    np.testing.assert_array_equal(np.concatenate(streamed, axis=1), log_mel(waveform, SPEC))


def test_streamed_log_mel_of_small_blocks_and_an_odd_spec() -> None:
    spec = SPECS[3]
    waveform = music(60_000)
    blocks = [waveform[i : i + 777] for i in range(0, len(waveform), 777)]
    streamed = np.concatenate(list(log_mel_stream(blocks, spec)), axis=1)
    np.testing.assert_array_equal(streamed, log_mel(waveform, spec))


frames_and_slices = st.tuples(st.integers(0, 60), st.integers(1, 20), st.integers(1, 30))


@given(frames_and_slices)
def test_slices_are_whole_and_start_every_step(sizes: tuple[int, int, int]) -> None:
    n_frames, length, step = sizes
    spec = SliceSpec(length, step)
    starts = slice_starts(n_frames, spec).tolist()
    assert starts == [start for start in range(0, n_frames, step) if start + length <= n_frames]
    frames = np.arange(2 * n_frames, dtype=np.float32).reshape(2, n_frames)
    slices = cut_slices(frames, spec)
    if starts:
        np.testing.assert_array_equal(slices, np.stack([frames[:, start : start + length] for start in starts]))
    elif 2 * n_frames >= length:
        assert slices.shape == (1, 2, length)
        np.testing.assert_array_equal(slices[0, :, :n_frames], frames)
        np.testing.assert_array_equal(slices[0, :, n_frames:], frames[:, : length - n_frames])
    else:
        assert slices.shape == (0, 2, length)


@given(
    frames_and_slices,
    st.lists(st.integers(0, 60), max_size=6),
    st.integers(1, 4),
)
def test_streamed_slices_equal_those_of_the_whole(
    sizes: tuple[int, int, int], cuts: list[int], max_slices: int
) -> None:
    n_frames, length, step = sizes
    spec = SliceSpec(length, step)
    frames = np.arange(2 * n_frames, dtype=np.float32).reshape(2, n_frames)
    edges = [0, *sorted(min(cut, n_frames) for cut in cuts), n_frames]
    blocks = [frames[:, start:end] for start, end in pairwise(edges)]
    parts = list(cut_stream(blocks, spec, max_slices))
    assert all(1 <= len(part) <= max_slices for part in parts)
    joined = np.concatenate([np.empty((0, 2, length), np.float32), *parts])
    np.testing.assert_array_equal(joined, cut_slices(frames, spec))


def test_a_stream_without_blocks_has_no_slices() -> None:
    assert list(cut_stream([], SLICE)) == []


def test_a_song_of_half_a_slice_is_repeated_and_a_shorter_one_is_not() -> None:
    frames = np.arange(10, dtype=np.float32)[None]
    repeated = repeat_to_slice(frames, SLICE)
    assert repeated is not None
    np.testing.assert_array_equal(repeated, [[*range(10), *range(10)]])
    assert repeat_to_slice(frames[:, :9], SLICE) is None


def test_slice_level_is_the_mean_power() -> None:
    slices = np.random.default_rng(0).uniform(-90, 20, (3, 96, 20)).astype(np.float32)
    expected = 10 * np.log10((10 ** (slices.astype(np.float64) / 10)).mean(axis=(1, 2)))
    np.testing.assert_allclose(slice_level_db(slices), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", SPECS[:3])
def test_silence_is_white_noise_of_minus_80_dbfs(spec: LogMelSpec) -> None:
    noise = np.random.default_rng(0).standard_normal(200_000)

    def level_db(dbfs: float) -> float:
        return float(slice_level_db(log_mel((noise * 10 ** (dbfs / 20)).astype(np.float32), spec)[None])[0])

    assert level_db(-80) == pytest.approx(silence_level_db(spec), abs=0.2)
    slices = np.stack([log_mel((noise * 10 ** (dbfs / 20)).astype(np.float32), spec) for dbfs in (-81, -79, -300)])
    assert voiced(slices, spec).tolist() == [False, True, False]


def test_imported_slices_are_silent_when_constant() -> None:
    slices = np.zeros((3, 96, 20), np.float32)
    slices[1] = 7
    slices[2, 3, 4] = 1
    assert voiced(slices, IMAGES).tolist() == [False, False, True]


def song_slices(seed: int, gain: float = 1.0) -> np.ndarray:
    return cut_slices(log_mel(music(60_000, seed) * np.float32(gain), SPEC), SLICE)


TRAINING = fit_normalisation([song_slices(seed) for seed in range(4)], SPEC)
NORMALISATIONS = [TRAINING, Normalisation.per_song(96)]


def rows_for(slices: np.ndarray, normalisation: Normalisation, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
    mean_db, std_db = statistics_for(slices, normalisation, spec)
    return np.tile(mean_db, (len(slices), 1)), np.tile(std_db, (len(slices), 1))


def normalise(slices: np.ndarray, normalisation: Normalisation, spec: FeatureSpec) -> np.ndarray:
    return standardise(slices, *rows_for(slices, normalisation, spec), spec)


def test_fit_is_the_mean_and_deviation_of_all_level_free_frames() -> None:
    songs = [song_slices(seed).astype(np.float64) for seed in range(4)]
    silent = np.full((2, 96, 20), -100, np.float32)
    fitted = fit_normalisation([*(song.astype(np.float32) for song in songs), silent], SPEC)
    values = []
    for song in songs:
        for one in song:
            values.append(np.maximum(one - 10 * np.log10((10 ** (one / 10)).mean()), -60))
    joined = np.concatenate(values, axis=1)
    np.testing.assert_allclose(fitted.mean_db, joined.mean(axis=1), rtol=0, atol=1e-3)
    std = joined.std(axis=1)
    np.testing.assert_allclose(fitted.std_db, np.maximum(std, 0.05 * np.sqrt((std**2).mean())), rtol=1e-3)


def test_training_songs_come_out_with_mean_0_and_deviation_1() -> None:
    x = np.concatenate([normalise(song_slices(seed), TRAINING, SPEC) for seed in range(4)])
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=(0, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(axis=(0, 2)), 1, atol=1e-3)


def test_a_song_by_itself_comes_out_with_mean_0_and_deviation_1() -> None:
    slices = song_slices(7)
    silent = np.full((1, 96, 20), -100, np.float32)
    x = normalise(np.concatenate([slices, silent]), NORMALISATIONS[1], SPEC)
    np.testing.assert_allclose(x[:-1].mean(axis=(0, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(x[:-1].std(axis=(0, 2)), 1, atol=1e-3)
    np.testing.assert_allclose(x[:-1], normalise(slices, NORMALISATIONS[1], SPEC), rtol=0, atol=1e-5)


def test_training_normalisation_of_a_slice_ignores_its_neighbours() -> None:
    slices = song_slices(5)
    alone = [normalise(one[None], TRAINING, SPEC)[0] for one in slices]
    np.testing.assert_array_equal(normalise(slices, TRAINING, SPEC), alone)
    silence, full_scale = np.full((1, 96, 20), -100, np.float32), np.full((1, 96, 20), 40, np.float32)
    beside = normalise(np.concatenate([silence, slices[::-1], full_scale]), TRAINING, SPEC)
    np.testing.assert_array_equal(beside[1:-1][::-1], alone)


@pytest.mark.parametrize("normalisation", NORMALISATIONS, ids=["training", "song"])
@pytest.mark.parametrize("gain_db", [-12, -3, 12])
@pytest.mark.parametrize("seed", [0, 11])
def test_gain_does_not_change_normalised_features(normalisation: Normalisation, gain_db: float, seed: int) -> None:
    plain = normalise(song_slices(seed), normalisation, SPEC)
    louder = normalise(song_slices(seed, gain=10 ** (gain_db / 20)), normalisation, SPEC)
    np.testing.assert_allclose(louder, plain, rtol=0, atol=1e-3)


@pytest.mark.real_data
def test_gain_does_not_change_the_features_of_real_clips() -> None:
    if "HGENRE_DATA" not in os.environ:
        pytest.skip("HGENRE_DATA names no folder with real music")
    import soundfile

    clips = sorted(Path(os.environ["HGENRE_DATA"], "gtzan", "audio").glob("*/*.*"))[::25]
    n_compared = 0
    for clip in clips:
        if clip.stem == "jazz.00054":  # known not to decode
            continue
        waveform, rate_hz = soundfile.read(clip, dtype="float32")
        spec = LogMelSpec(sample_rate_hz=rate_hz)
        plain, quiet, loud = (
            normalise(cut_slices(log_mel(waveform * np.float32(gain), spec), SLICE), TRAINING, spec)
            for gain in (1, 10 ** (-12 / 20), 10 ** (12 / 20))
        )
        np.testing.assert_allclose(quiet, plain, rtol=0, atol=1e-3)
        np.testing.assert_allclose(loud, plain, rtol=0, atol=1e-3)
        n_compared += 1
    assert n_compared >= 10


@pytest.mark.parametrize("normalisation", NORMALISATIONS, ids=["training", "song"])
def test_silent_slices_give_finite_values(normalisation: Normalisation) -> None:
    silent = np.full((2, 96, 20), -100, np.float32)
    assert np.isfinite(normalise(silent, normalisation, SPEC)).all()
    assert np.isfinite(normalise(np.zeros((2, 96, 20), np.float32), normalisation, IMAGES)).all()
    assert normalise(silent[:0], normalisation, SPEC).shape == (0, 96, 20)


def test_imported_arrays_are_freed_of_their_level_in_db_or_of_their_mean() -> None:
    slices = song_slices(3)
    in_tenths = ArraySpec(n_mels=96, frame_rate_hz=31.25, scale="tenths of a dB", db_per_unit=0.1)
    np.testing.assert_array_equal(level_free(slices, in_tenths), level_free(slices, SPEC))
    images = level_free(slices, IMAGES)
    np.testing.assert_allclose(images, slices - slices.mean(axis=(1, 2), keepdims=True), rtol=0, atol=1e-4)


@pytest.mark.parametrize("spec", [SPEC, IMAGES], ids=["log_mel", "images"])
def test_a_compiled_program_frees_slices_of_their_level_in_the_same_way(spec: FeatureSpec) -> None:
    slices = np.concatenate([song_slices(2), np.full((1, 96, 20), -100, np.float32)])
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        compiled, is_voiced = jax.jit(lambda x: (level_free(x, spec, jnp), voiced(x, spec, jnp)))(slices)
    assert compiled.dtype == jnp.float32
    np.testing.assert_allclose(compiled, level_free(slices, spec), rtol=0, atol=1e-3)
    np.testing.assert_array_equal(is_voiced, voiced(slices, spec))
    np.testing.assert_array_equal(is_voiced, [True] * (len(slices) - 1) + [False])


def test_song_statistics_are_those_of_the_voiced_slices_alone() -> None:
    slices = song_slices(2)
    silent = np.full((3, 96, 20), -100, np.float32)
    mean_db, std_db = song_statistics(np.concatenate([silent, slices]), SPEC)
    free = level_free(slices.astype(np.float64), SPEC)
    np.testing.assert_allclose(mean_db, free.mean(axis=(0, 2)), rtol=0, atol=1e-3)
    std = free.std(axis=(0, 2))
    np.testing.assert_allclose(std_db, np.maximum(std, 0.05 * np.sqrt((std**2).mean())), rtol=1e-4)
    mean_db, std_db = song_statistics(silent, SPEC)
    assert (mean_db == 0).all()
    assert (std_db == 1).all()


def test_an_empty_band_stays_quiet() -> None:
    slices = song_slices(0).copy()
    slices[:, 40] = -100
    fitted = fit_normalisation([slices], SPEC)
    assert fitted.std_db[40] == pytest.approx(0.05 * np.sqrt((fitted.std_db**2).mean()), rel=0.01)


def test_fit_needs_a_voiced_slice() -> None:
    with pytest.raises(FeatureError, match="needs a slice that is not silent, found none in the training songs"):
        fit_normalisation([np.full((2, 96, 20), -100, np.float32)], SPEC)


@pytest.mark.parametrize(
    ("kind", "mean_db", "std_db", "message"),
    [
        ("batch", np.zeros(2), np.ones(2), "kind 'batch'; known kinds are training and song"),
        ("training", np.zeros(2), np.ones(3), r"one shape \(mel,\), found \(2,\) and \(3,\)"),
        ("training", np.array([0, np.nan]), np.ones(2), "finite means and finite deviations above 0"),
        ("training", np.zeros(2), np.array([1.0, 0]), "finite means and finite deviations above 0"),
    ],
)
def test_normalisation_refuses_what_it_cannot_divide_by(
    kind: str, mean_db: np.ndarray, std_db: np.ndarray, message: str
) -> None:
    with pytest.raises(FeatureError, match=message):
        Normalisation(kind, mean_db, std_db)  # type: ignore[arg-type]


def test_features_import_numpy_only() -> None:
    heavy = "scipy jax flax librosa sklearn pandas soundfile"
    code = f"import sys, hgenre.features; print([m for m in {heavy.split()} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "[]"
