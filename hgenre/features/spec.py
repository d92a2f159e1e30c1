"""What decides the shape and meaning of features; travels in the bundle and keys the cache."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from hgenre.errors import FeatureError

MelScale = Literal["slaney", "htk"]


@dataclass(frozen=True)
class LogMelSpec:
    """Log-mel spectrogram computed from audio: ``10 log10(max(1e-10, M |STFT|^2))`` in dB re full scale 1.0.

    The STFT is not centred (no padding), with a periodic Hann window of ``n_fft`` samples, so frame ``i`` sees samples
    ``[i * hop_length, i * hop_length + n_fft)`` and a slice of a song's frames equals the frames of that slice.
    Mel filters have Slaney area normalisation, as ``librosa.filters.mel(norm="slaney")``.
    """

    sample_rate_hz: int = 16000
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 96
    fmin_hz: float = 0.0
    fmax_hz: float = 8000.0
    mel_scale: MelScale = "slaney"

    def __post_init__(self) -> None:
        if not 0 <= self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise FeatureError(
                f"mel band edges {self.fmin_hz}..{self.fmax_hz} Hz must satisfy 0 <= fmin < fmax <= "
                f"{self.sample_rate_hz / 2} Hz, half the sample rate"
            )
        if min(self.n_fft, self.hop_length, self.n_mels) < 1 or self.hop_length > self.n_fft:
            raise FeatureError(
                f"need n_fft >= hop_length >= 1 and n_mels >= 1, found n_fft {self.n_fft}, "
                f"hop_length {self.hop_length}, n_mels {self.n_mels}"
            )

    @property
    def frame_rate_hz(self) -> float:
        return self.sample_rate_hz / self.hop_length


@dataclass(frozen=True)
class ArraySpec:
    """Spectrograms that were computed elsewhere and imported; ``scale`` says in words what a value means.

    ``db_per_unit`` turns stored values into dB (1.0 where they are dB already; None where unknown, for images).
    Such features cannot be computed from audio, so a bundle trained on them answers arrays only.
    """

    n_mels: int
    frame_rate_hz: float
    scale: str
    db_per_unit: float | None = None

    def __post_init__(self) -> None:
        if self.n_mels < 1 or not (math.isfinite(self.frame_rate_hz) and self.frame_rate_hz > 0):
            raise FeatureError(
                f"imported arrays need n_mels >= 1 and a frame rate above 0 Hz, found {self.n_mels} and "
                f"{self.frame_rate_hz}"
            )


FeatureSpec = LogMelSpec | ArraySpec


@dataclass(frozen=True)
class SliceSpec:
    """How a song's frames are cut: slices of ``n_frames`` frames that start every ``step_frames`` frames."""

    n_frames: int
    step_frames: int

    def __post_init__(self) -> None:
        if self.n_frames < 1 or self.step_frames < 1:
            raise FeatureError(f"a slice needs at least one frame and one frame of step, found {self}")

    @classmethod
    def from_seconds(cls, slice_s: float, step_s: float, features: FeatureSpec) -> "SliceSpec":
        """The longest slice that fits into ``slice_s`` seconds, starting every ``step_s`` seconds (to the frame)."""
        step_frames = max(1, round(step_s * features.frame_rate_hz))
        if isinstance(features, ArraySpec):
            return cls(max(1, math.floor(slice_s * features.frame_rate_hz + 1e-9)), step_frames)
        n_samples = round(slice_s * features.sample_rate_hz)
        return cls(1 + max(0, (n_samples - features.n_fft) // features.hop_length), step_frames)


def to_json(spec: FeatureSpec) -> dict[str, Any]:
    """The spec as plain JSON values, with its kind."""
    return {"kind": "log_mel" if isinstance(spec, LogMelSpec) else "arrays", **asdict(spec)}


def from_json(values: dict[str, Any]) -> FeatureSpec:
    """Inverse of ``to_json``; raises FeatureError on a kind or a field it does not know."""
    fields = dict(values)
    kind = fields.pop("kind", None)
    try:
        match kind:
            case "log_mel":
                return LogMelSpec(**fields)
            case "arrays":
                return ArraySpec(**fields)
    except TypeError as error:
        raise FeatureError(f"feature spec of kind {kind!r}: {error}") from None
    raise FeatureError(f"feature spec of kind {kind!r}; known kinds are log_mel and arrays")


def digest(spec: FeatureSpec) -> str:
    """First 16 hex digits of the sha256 of the spec's canonical JSON."""
    return hashlib.sha256(json.dumps(to_json(spec), sort_keys=True).encode()).hexdigest()[:16]
