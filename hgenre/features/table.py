"""The 57 features of GTZAN's public feature tables, from a waveform."""

from typing import Any

import numpy as np

from hgenre.errors import FeatureError

TABLE_RATE_HZ = 22050
"""Sample rate that the features are defined at: that of GTZAN, and librosa's default."""

_FEATURES = (
    *("chroma_stft", "rms", "spectral_centroid", "spectral_bandwidth", "rolloff", "zero_crossing_rate"),
    *("harmony", "perceptr", "tempo"),
    *(f"mfcc{k}" for k in range(1, 21)),
)

TABLE_FEATURES = tuple(
    name
    for feature in _FEATURES
    for name in ([feature] if feature == "tempo" else [f"{feature}_mean", f"{feature}_var"])
)
"""Names of the features in the order of the public tables' columns; ``perceptr`` is the percussive part's waveform."""

_N_FFT = 2048


def table_features(waveform: np.ndarray) -> np.ndarray:
    """The features of a mono waveform at ``TABLE_RATE_HZ``: (sample,) float32 -> (feature,) float64.

    Means and population variances over frames (2048 samples, hop 512, centred) of librosa's chroma, RMS, centroid,
    bandwidth, rolloff, zero crossings and 20 MFCC, over samples of the harmonic and the percussive part, and the tempo.
    As the tables' makers (https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification) had
    it from the librosa of 2020: ends are padded by reflection, the parts of harmonic-percussive separation end at the
    last whole hop and in zeros, and the tempo is that of ``beat_track``, of onsets by the median over bands.
    ``docs/feature-table.md`` says how well they agree.

    Raises:
        FeatureError: more than one axis, or fewer samples than a frame.
    """
    if waveform.ndim != 1 or len(waveform) < _N_FFT:
        raise FeatureError(
            f"the features of a table need a mono waveform of {_N_FFT} samples or more, found shape {waveform.shape}"
        )
    import librosa

    spectrum = librosa.stft(waveform, n_fft=_N_FFT, pad_mode="reflect")
    magnitude = np.abs(spectrum)
    power = magnitude**2
    mel_db = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=TABLE_RATE_HZ))
    harmonic, percussive = (_as_long(librosa.istft(part), waveform) for part in librosa.decompose.hpss(spectrum))
    onsets = librosa.onset.onset_strength(S=mel_db, sr=TABLE_RATE_HZ, aggregate=np.median)
    of: dict[str, Any] = {
        "chroma_stft": librosa.feature.chroma_stft(S=power, sr=TABLE_RATE_HZ, tuning=_tuning(power)),
        "rms": librosa.feature.rms(y=waveform, pad_mode="reflect"),
        "spectral_centroid": librosa.feature.spectral_centroid(S=magnitude, sr=TABLE_RATE_HZ),
        "spectral_bandwidth": librosa.feature.spectral_bandwidth(S=magnitude, sr=TABLE_RATE_HZ),
        "rolloff": librosa.feature.spectral_rolloff(S=magnitude, sr=TABLE_RATE_HZ),
        "zero_crossing_rate": librosa.feature.zero_crossing_rate(waveform),
        "harmony": harmonic,
        "perceptr": percussive,
        **{f"mfcc{k}": row for k, row in enumerate(librosa.feature.mfcc(S=mel_db, n_mfcc=20), 1)},
    }
    tempo = float(librosa.feature.tempo(onset_envelope=onsets, sr=TABLE_RATE_HZ)[0])
    values = {f"{name}_{what}": getattr(np, what)(value) for name, value in of.items() for what in ("mean", "var")}
    return np.array([{**values, "tempo": tempo}[name] for name in TABLE_FEATURES], np.float64)


def _tuning(power: np.ndarray) -> float:
    """``librosa.estimate_tuning`` of (bin, frame); 0 where no frame has a pitch, of which librosa would warn."""
    import librosa

    pitches_hz, weights = librosa.piptrack(S=power, sr=TABLE_RATE_HZ)
    pitched = pitches_hz > 0
    if not pitched.any():
        return 0.0
    return float(librosa.pitch_tuning(pitches_hz[pitched & (weights >= np.median(weights[pitched]))]))


def _as_long(part: np.ndarray, waveform: np.ndarray) -> np.ndarray:
    """A part of the waveform that ends early, with zeros up to the waveform's length."""
    return np.pad(part[: len(waveform)], (0, max(0, len(waveform) - len(part))))
