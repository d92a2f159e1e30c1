"""Steady noise is told from music at any level, rate and spec, slice by slice."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, sosfilt

from hgenre.audio import read_audio, resample
from hgenre.bundle import load_bundle
from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.program import ProgramAnswer, Weights
from hgenre.features import ArraySpec, LogMelSpec, SliceSpec, cut_slices, log_mel, mel_filters, steady
from hgenre.features.steadiness import STEADY_VARIANCE_RATIO, _noise_variance, variance_ratio
from hgenre.shipped import find_bundle
from hgenre.tree.route import Route
from hgenre.tree.vote import sum_slices
from tests.oracles import change_ratio
from tests.small_bundles import tiny_bundle

SPEC = LogMelSpec()
SPECS = [
    SPEC,
    LogMelSpec(sample_rate_hz=22050, n_fft=2048, hop_length=512, n_mels=128, fmax_hz=11025.0),
    LogMelSpec(n_fft=512, hop_length=256),
    LogMelSpec(n_fft=400, hop_length=160, n_mels=40, mel_scale="htk"),
    LogMelSpec(n_fft=2048, hop_length=1024, n_mels=64),
]
RATES_HZ = [8000, 16000, 22050, 44100, 48000]
MARGIN = 1.25
RMS = 0.1


def at_level(sound: np.ndarray) -> np.ndarray:
    return (sound * RMS / np.sqrt(np.mean(sound**2))).astype(np.float32)


def coloured(exponent: float, n_samples: int, seed: int = 0) -> np.ndarray:
    """Gaussian noise whose power falls by frequency to the ``exponent``."""
    frequency = np.fft.rfftfreq(n_samples)
    frequency[0] = frequency[1]
    white = np.random.default_rng(seed).standard_normal(n_samples)
    return at_level(np.fft.irfft(np.fft.rfft(white) * frequency ** (-exponent / 2), n_samples))


def organ(notes_hz: list[float], time_s: np.ndarray) -> np.ndarray:
    """A chord of notes of eight partials each."""
    chord = np.zeros(len(time_s))
    for hz in notes_hz:
        for k in range(1, 9):
            chord += np.sin(2 * np.pi * k * hz * time_s + k * hz) / k
    return chord


def noises(sample_rate_hz: int, duration_s: float = 10.0) -> Iterator[tuple[str, np.ndarray]]:
    """Sounds that go on for ever: noises, hums, sines, held chords: (what, (sample,) float32)."""
    n_samples = round(duration_s * sample_rate_hz)
    time_s = np.arange(n_samples) / sample_rate_hz
    white = coloured(0, n_samples)

    def through(low_hz: float, high_hz: float, order: int) -> np.ndarray:
        return sosfilt(butter(order, [low_hz, high_hz], "band", fs=sample_rate_hz, output="sos"), white)

    hum = sum(np.sin(2 * np.pi * 50 * k * time_s + k * k) / k for k in range(1, 12))
    equal = [220 * 2 ** (semitones / 12) for semitones in (0, 4, 7)]
    sounds = {
        "white": white,
        "pink": coloured(1, n_samples),
        "brown": coloured(2, n_samples),
        "blue": coloured(-1, n_samples),
        "telephone band": through(300, 3400, 4),
        "octave": through(140, 280, 2),
        "third of an octave": through(1000, 1260, 4),
        "hum": hum,
        "hum and hiss": at_level(np.asarray(hum)) + 0.01 * white,
        "sine 100 Hz": np.sin(2 * np.pi * 100 * time_s),
        "sine 3 kHz": np.sin(2 * np.pi * 3000 * time_s),
        "sine and hiss": np.sin(2 * np.pi * 440 * time_s) + 0.01 * white,
        "fan": coloured(1.3, n_samples) + 0.03 * np.sin(2 * np.pi * 120 * time_s),
        "fan with blades": (1 + 0.3 * np.sin(2 * np.pi * 23 * time_s)) * coloured(1, n_samples),
        "organ in just temperament": organ([220, 275, 330], time_s),
        "organ in equal temperament": organ(equal, time_s),
        "organ and hiss": at_level(organ(equal, time_s)) + 0.03 * white,
        "sawtooth": 2 * ((time_s * 137.3) % 1) - 1,
    }
    for name, sound in sounds.items():
        yield name, at_level(np.asarray(sound))


def coarse(sample_rate_hz: int) -> Iterator[tuple[str, np.ndarray]]:
    """Noises that a digital chain has been at."""
    for name, sound in (("white", coloured(0, 10 * sample_rate_hz)), ("pink", coloured(1, 10 * sample_rate_hz))):
        yield f"{name} in 8 bits", np.round(sound * 127).astype(np.float32) / 127
        yield f"faint {name} in 8 bits", np.round(0.12 * sound * 127).astype(np.float32) / 127
        for form in ("MP3", "OGG"):
            file = io.BytesIO()
            soundfile.write(file, sound, sample_rate_hz, format=form)
            file.seek(0)
            yield f"{name} as {form}", soundfile.read(file, dtype="float32")[0]


def melody(sample_rate_hz: int, notes_per_s: float, n_partials: int, hiss: float = 0.001, seed: int = 0) -> np.ndarray:
    """Held notes, each of another pitch, that follow each other without a gap, 10 s."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(10 * sample_rate_hz) / sample_rate_hz
    # No pitch twice in a row.
    semitones = np.cumsum(rng.integers(1, 12, int(10 * notes_per_s) + 1)) % 24
    phase = 2 * np.pi * np.cumsum(220 * 2 ** (semitones[(time_s * notes_per_s).astype(int)] / 12)) / sample_rate_hz
    tones = np.asarray(sum(np.sin(k * phase) / k for k in range(1, n_partials + 1)))
    return (at_level(tones) + hiss * rng.standard_normal(len(tones))).astype(np.float32)


def drum(sample_rate_hz: int, beats_per_min: float, seed: int = 0) -> np.ndarray:
    """Bursts of noise over a faint hiss, 10 s."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(10 * sample_rate_hz) / sample_rate_hz
    since_s = (time_s * beats_per_min / 60) % 1 * 60 / beats_per_min
    return (rng.standard_normal(len(time_s)) * (RMS * np.exp(-since_s / 0.05) + 1e-3)).astype(np.float32)


def slices_of(sound: np.ndarray, sample_rate_hz: int, spec: LogMelSpec = SPEC) -> np.ndarray:
    slices = SliceSpec.from_seconds(2.0, 2.0, spec)
    return cut_slices(log_mel(resample(sound, sample_rate_hz, spec.sample_rate_hz), spec), slices)


def judged_bands(spec: LogMelSpec) -> np.ndarray:
    """Bands that hear a bin, and neither of the two lowest."""
    return mel_filters(spec).any(axis=1) & (mel_filters(spec)[:, :2].sum(axis=1) == 0)


@pytest.mark.parametrize("sample_rate_hz", RATES_HZ)
def test_what_goes_on_for_ever_is_steady_in_every_slice(sample_rate_hz: int) -> None:
    for name, sound in (*noises(sample_rate_hz), *coarse(sample_rate_hz)):
        found = variance_ratio(slices_of(sound, sample_rate_hz), SPEC)
        assert found.max() < STEADY_VARIANCE_RATIO / MARGIN, name


@pytest.mark.parametrize("spec", SPECS[1:])
def test_other_specs_hear_it_too(spec: LogMelSpec) -> None:
    for name, sound in noises(16000):
        # Partials 1 Hz apart beat in bands as wide as those of a window of 25 ms.
        if spec.n_fft > 400 or "organ" not in name:
            assert steady(slices_of(sound, 16000, spec), spec).all(), name
    for sound in (melody(16000, 2, 1), melody(16000, 8, 8), drum(16000, 60), drum(16000, 120)):
        assert not steady(slices_of(sound, 16000, spec), spec).any()


@pytest.mark.parametrize("notes_per_s", [2, 4, 8])
@pytest.mark.parametrize("n_partials", [1, 8])
def test_a_melody_is_not_steady(notes_per_s: float, n_partials: int) -> None:
    slices = slices_of(melody(16000, notes_per_s, n_partials), 16000)
    assert variance_ratio(slices, SPEC).min() > MARGIN * STEADY_VARIANCE_RATIO


@pytest.mark.parametrize("beats_per_min", [60, 120, 234.375, 240])
def test_a_beat_is_not_steady_even_if_it_repeats_with_the_longer_parts(beats_per_min: float) -> None:
    slices = slices_of(drum(16000, beats_per_min), 16000)
    assert variance_ratio(slices, SPEC).min() > MARGIN * STEADY_VARIANCE_RATIO


def test_one_change_within_a_slice_is_enough() -> None:
    time_s = np.arange(2 * 16000) / 16000
    two_chords = np.where(time_s < 1, organ([220, 275, 330], time_s), organ([247, 294, 370], time_s))
    assert not steady(slices_of(at_level(two_chords), 16000), SPEC).any()


SOUNDS = {
    "white": coloured(0, 160000),
    "brown": coloured(2, 160000),
    "melody": melody(16000, 4, 8),
    "drum": drum(16000, 120),
    "chord": at_level(organ([220, 275, 330], np.arange(160000) / 16000)),
}
SLICES_OF = np.concatenate([slices_of(sound, 16000) for sound in SOUNDS.values()])


@given(st.lists(st.integers(0, len(SLICES_OF) - 1), min_size=1, max_size=12))
@settings(max_examples=50)
def test_a_slice_is_judged_alone(chosen_idx: list[int]) -> None:
    whole = variance_ratio(SLICES_OF, SPEC)
    assert variance_ratio(SLICES_OF[chosen_idx], SPEC).tolist() == whole[chosen_idx].tolist()


@given(st.sampled_from(list(SOUNDS)), st.floats(-20, 20))
@settings(max_examples=40)
def test_loudness_does_not_matter(name: str, gain_db: float) -> None:
    gain = np.float32(10 ** (gain_db / 20))
    plain, loud = (slices_of(sound, 16000) for sound in (SOUNDS[name], gain * SOUNDS[name]))
    np.testing.assert_allclose(variance_ratio(loud, SPEC), variance_ratio(plain, SPEC), rtol=1e-3, atol=1e-4)
    assert (steady(loud, SPEC) == steady(plain, SPEC)).all()


@given(st.integers(0, 2**32 - 1), st.integers(48, 90), st.floats(-95, -40))
@settings(max_examples=30)
def test_the_ratio_equals_its_definition(seed: int, n_frames: int, level_db: float) -> None:
    rng = np.random.default_rng(seed)
    bands = (level_db + rng.normal(0, 12, (SPEC.n_mels, 1)) + rng.normal(0, 3, (SPEC.n_mels, n_frames))).clip(-100)
    heard = judged_bands(SPEC)
    wanted = [change_ratio(bands[heard].tolist(), n, _noise_variance(SPEC, n)[heard].tolist()) for n in (4, 8)]
    np.testing.assert_allclose(variance_ratio(bands[None], SPEC), max(wanted), rtol=1e-3)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("n_frames", [1, 4, 8])
def test_the_variance_of_noise_is_that_of_noise_or_a_little_more(spec: LogMelSpec, n_frames: int) -> None:
    frames = log_mel(coloured(0, 60 * spec.sample_rate_hz), spec)
    n_parts = frames.shape[1] // n_frames
    parts = frames[:, : n_parts * n_frames].reshape(spec.n_mels, n_parts, n_frames).mean(axis=2)
    ratio = (parts.var(axis=1, ddof=1) / _noise_variance(spec, n_frames))[judged_bands(spec)]
    assert 0.8 < ratio.mean() < 1.05
    assert 0.88 < ratio[-20:].mean() < 1.05
    assert abs(ratio / ratio.mean() - 1).max() < 5 * np.sqrt(2 / n_parts) + 0.2


def test_what_cannot_be_judged_is_not_steady() -> None:
    white = slices_of(coloured(0, 160000), 16000)
    assert not steady(white[:, :, :23], SPEC).any()
    assert steady(white[:, :, :24], SPEC).any()
    assert not steady(np.full((2, 96, 61), -100.0, np.float32), SPEC).any()
    assert steady(np.zeros((0, 96, 61), np.float32), SPEC).shape == (0,)
    in_db = ArraySpec(n_mels=96, frame_rate_hz=31.25, scale="dB re full scale", db_per_unit=1.0)
    assert steady(white, in_db).tolist() == [False] * len(white)


def test_an_answer_says_which_slices_are_steady_across_blocks_and_chunks() -> None:
    spec = LogMelSpec(sample_rate_hz=8000, n_fft=1024, hop_length=1024, n_mels=12, fmax_hz=4000.0)
    bundle = tiny_bundle(features=spec)
    frames = [log_mel(sound, spec) for sound in (coloured(0, 80000), melody(8000, 4, 8))]
    noise, tune = (cut_slices(f, bundle.slices) for f in frames)

    def program(weights: Weights, slices: np.ndarray, mean: Any, std: Any, song: Any, voiced: Any) -> ProgramAnswer:
        logp = np.full((len(slices), len(bundle.labels)), -np.log(len(bundle.labels)))
        return ProgramAnswer(sum_slices(jnp.asarray(logp), song, voiced, len(slices)), logp)

    songs = [("both", [noise, tune[:1], tune[1:], noise]), ("noise", [noise] * 50), ("nothing", [])]
    found = dict(answer_all(bundle, Route(), songs, lambda n_slices: program, None))
    steady_of = {key: result.steady.tolist() for key, result in found.items() if isinstance(result, SongResult)}
    n, m = len(noise), len(tune)
    assert n > 1 < m
    assert steady_of == {"both": [True] * n + [False] * m + [True] * n, "noise": [True] * 50 * n, "nothing": []}


@pytest.mark.real_data
def test_no_real_song_is_steady(gtzan: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = load_bundle(find_bundle("gtzan10-tree"))
    spec = bundle.features
    assert isinstance(spec, LogMelSpec)
    with (gtzan / "manifest.csv").open(encoding="utf-8", newline="") as file:
        paths = [gtzan / row["path"] for row in csv.DictReader(file) if not row["fault"]]
    of_song = []
    for path in paths:
        frames = log_mel(read_audio(path, spec.sample_rate_hz)[0], spec)
        of_song.append(variance_ratio(cut_slices(frames, bundle.slices), spec))
    most = np.array([ratios.max() for ratios in of_song])
    share = np.mean(np.concatenate(of_song) < STEADY_VARIANCE_RATIO)
    of_noise = {
        f"{name} at {hz} Hz": variance_ratio(
            cut_slices(log_mel(resample(sound, hz, spec.sample_rate_hz), spec), bundle.slices), spec
        ).max()
        for hz in RATES_HZ
        for name, sound in (*noises(hz), *coarse(hz))
    }
    loudest = max(of_noise, key=lambda name: of_noise[name])
    with capsys.disabled():
        print(
            f"\nvariance ratio: {of_noise[loudest]:.2f} at most in noise ({loudest}), threshold "
            f"{STEADY_VARIANCE_RATIO}, {most.min():.2f} at least in the most changing slice of {len(most)} real songs "
            f"({paths[most.argmin()].name}); {share:.2%} of {sum(map(len, of_song))} real slices are steady"
        )
    assert len(most) == 503
    assert most.min() > MARGIN * STEADY_VARIANCE_RATIO
    assert of_noise[loudest] < STEADY_VARIANCE_RATIO / MARGIN
    assert share < 0.005
