"""The features of a table, from waveforms whose features are known, and from GTZAN's clips beside the public tables."""

import csv
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest

from hgenre.data.table_comparison import compare_tables
from hgenre.errors import FeatureError
from hgenre.features.table import TABLE_FEATURES, TABLE_RATE_HZ, _tuning, table_features
from tests.conftest import Finished

LOSSLESS = frozenset({".wav", ".au", ".flac"})


def sine(hz: float, seconds: float = 1.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * TABLE_RATE_HZ)) / TABLE_RATE_HZ)).astype(np.float32)


def named(waveform: np.ndarray) -> dict[str, float]:
    return dict(zip(TABLE_FEATURES, table_features(waveform).tolist(), strict=True))


def test_a_sine_has_the_features_of_a_sine() -> None:
    of = named(sine(1000.0, 4.0))
    assert len(of) == 57
    # Padded ends are no sine, so four frames of 173 stand out.
    assert of["rms_mean"] == pytest.approx(0.5 / np.sqrt(2), rel=0.01)
    assert of["zero_crossing_rate_mean"] == pytest.approx(2 * 1000 / TABLE_RATE_HZ, rel=0.02)
    assert of["spectral_centroid_mean"] == pytest.approx(1000, rel=0.05)
    assert of["rolloff_mean"] == pytest.approx(1000, rel=0.05)
    assert of["harmony_var"] == pytest.approx(0.125, rel=0.1)
    assert of["perceptr_var"] < 0.01 * of["harmony_var"]


def test_clicks_are_percussive_and_have_their_tempo() -> None:
    waveform = np.zeros(4 * TABLE_RATE_HZ, np.float32)
    waveform[:: TABLE_RATE_HZ // 2] = 0.9
    of = named(waveform)
    assert of["perceptr_var"] > 5 * of["harmony_var"]
    assert of["tempo"] == pytest.approx(120, rel=0.03)


def test_a_louder_copy_differs_where_loudness_counts_and_nowhere_else() -> None:
    waveform = sine(440.0) * np.linspace(0.1, 1, TABLE_RATE_HZ, dtype=np.float32)
    quiet, loud = named(waveform / 8), named(waveform)
    loudness = {"rms_mean", "rms_var", "harmony_mean", "harmony_var", "perceptr_mean", "perceptr_var", "mfcc1_mean"}
    for name in set(TABLE_FEATURES) - loudness:
        assert quiet[name] == pytest.approx(loud[name], rel=1e-3, abs=1e-3), name
    assert loud["rms_mean"] == pytest.approx(8 * quiet["rms_mean"])
    assert loud["rms_var"] == pytest.approx(64 * quiet["rms_var"])


@pytest.mark.parametrize("level", [0, 0.3])
def test_what_has_no_pitch_has_features_too(level: float) -> None:
    assert np.isfinite(table_features(np.full(30_000, level, np.float32))).all()


def test_chroma_are_tuned_as_librosa_tunes_them() -> None:
    power = np.abs(librosa.stft(sine(453.0) + sine(1000.0) / 3)) ** 2
    tuning = librosa.estimate_tuning(S=power, sr=TABLE_RATE_HZ, bins_per_octave=12)
    assert _tuning(power) == tuning != 0


@pytest.mark.parametrize("shape", [(2047,), (4000, 2)])
def test_less_than_a_frame_and_channels_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(FeatureError, match=r"a mono waveform of 2048 samples or more, found shape \("):
        table_features(np.zeros(shape, np.float32))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("table", "slice_s", "n_clips"),
    [("features_30_sec.csv", None, 4), ("features_3_sec_classical_jazz_rock.csv", 3, 2)],
)
def test_the_public_tables_are_met_to_a_hundred_thousandth(
    table: str, slice_s: int | None, n_clips: int, gtzan: Path, tmp_path: Path, hgenre: Callable[..., Finished]
) -> None:
    with open(gtzan / "manifest.csv", encoding="utf-8") as file:
        whole = [
            gtzan / song["path"]
            for song in csv.DictReader(file)
            if Path(song["path"]).suffix in LOSSLESS and float(song["duration_s"] or 0) > 29
            if song["sample_rate_hz"] == str(TABLE_RATE_HZ)
        ]
    clips = whole[:: len(whole) // n_clips][:n_clips]
    slices = [] if slice_s is None else ["--slice-s", slice_s]
    assert hgenre("features", "table", *clips, "--out", tmp_path / "ours.csv", *slices).status == 0
    found = compare_tables(tmp_path / "ours.csv", gtzan / "tables" / table)
    assert found.n_songs == len(clips) == n_clips
    assert (found.missing, found.only_ours, found.only_theirs) == ((), (), ())
    assert set(found.columns) == set(TABLE_FEATURES)
    # In standard deviations of each column over the table; the tempo, one of few values, is met exactly.
    assert max(largest for _, largest in found.columns.values()) < 1e-5
    assert found.columns["tempo"] == (0, 0)
