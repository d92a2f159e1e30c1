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


@dataclass(frozen=True)
class Cepstra:
    """How spectrograms are turned into MFCC: ``n_mfcc`` coefficients, and the parameter of ``lifter`` (0: none)."""

    n_mfcc: int = 13
    lifter: int = 0

    def __post_init__(self) -> None:
        if self.n_mfcc < 1 or self.lifter < 0:
            raise FeatureError(
                f"cepstra need n_mfcc >= 1 and lifter >= 0, found n_mfcc {self.n_mfcc} and lifter {self.lifter}"
            )


@dataclass(frozen=True)
class CepstralSpec:
    """MFCC of the spectrograms ``of``: frames are (coefficient, frame), see ``hgenre.features.cepstra.mfcc``.

    They can be computed from audio where the spectrograms can.
    """

    of: LogMelSpec | ArraySpec
    n_mfcc: int = 13
    lifter: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.of, LogMelSpec | ArraySpec):
            raise FeatureError(f"cepstra are of log-mel frames or of imported arrays, found {self.of!r}")
        Cepstra(self.n_mfcc, self.lifter)
        if self.n_mfcc > self.of.n_mels:
            raise FeatureError(f"{self.of.n_mels} mel bands have as many cepstra at most, found n_mfcc {self.n_mfcc}")

    @property
    def n_mels(self) -> int:
        """Height of the frames: the number of coefficients."""
        return self.n_mfcc

    @property
    def frame_rate_hz(self) -> float:
        return self.of.frame_rate_hz


@dataclass(frozen=True)
class TableSpec:
    """Rows of a table of features: frames are (column, row), a row for every ``row_s`` seconds of a song.

    The columns have units of their own. ``of`` are the spectrograms of whose cepstra the rows are statistics, where
    they were computed here; None where they come from a file. Audio is not answered with such features.
    """

    columns: tuple[str, ...]
    row_s: float
    of: LogMelSpec | ArraySpec | None = None

    def __post_init__(self) -> None:
        named = all(isinstance(name, str) for name in self.columns)
        if not (self.columns and named and len(set(self.columns)) == len(self.columns)):
            raise FeatureError(f"a feature table needs a column or more, each once by name, found {self.columns!r}")
        if not isinstance(self.of, LogMelSpec | ArraySpec | None):
            raise FeatureError(f"statistics are of log-mel frames or of imported arrays, found {self.of!r}")
        if not (math.isfinite(self.row_s) and self.row_s > 0):
            raise FeatureError(f"a row of a feature table stands for a time above 0 s, found {self.row_s}")

    @property
    def n_mels(self) -> int:
        """Height of the frames: the number of columns."""
        return len(self.columns)

    @property
    def frame_rate_hz(self) -> float:
        """Rows a second."""
        return 1 / self.row_s


FeatureSpec = LogMelSpec | ArraySpec | CepstralSpec | TableSpec


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
        """The longest slice that fits into ``slice_s`` seconds, starting every ``step_s`` seconds (to the frame).

        Cepstra have the slices of what they are made of; a slice of a feature table is one row.
        """
        if isinstance(features, TableSpec):
            return cls(1, 1)
        if isinstance(features, CepstralSpec):
            return cls.from_seconds(slice_s, step_s, features.of)
        step_frames = max(1, round(step_s * features.frame_rate_hz))
        if isinstance(features, ArraySpec):
            return cls(max(1, math.floor(slice_s * features.frame_rate_hz + 1e-9)), step_frames)
        n_samples = round(slice_s * features.sample_rate_hz)
        return cls(1 + max(0, (n_samples - features.n_fft) // features.hop_length), step_frames)


def to_json(spec: FeatureSpec) -> dict[str, Any]:
    """The spec as plain JSON values, with its kind."""
    match spec:
        case LogMelSpec():
            return {"kind": "log_mel", **asdict(spec)}
        case ArraySpec():
            return {"kind": "arrays", **asdict(spec)}
        case CepstralSpec():
            return {"kind": "cepstra", "of": to_json(spec.of), "n_mfcc": spec.n_mfcc, "lifter": spec.lifter}
        case TableSpec():
            of = None if spec.of is None else to_json(spec.of)
            return {"kind": "table", "columns": list(spec.columns), "row_s": spec.row_s, "of": of}


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
            case "cepstra":
                return CepstralSpec(**{**fields, "of": from_json(fields["of"])})
            case "table":
                of = fields["of"] and from_json(fields["of"])
                return TableSpec(**{**fields, "columns": tuple(fields["columns"]), "of": of})
    except (TypeError, ValueError) as error:
        raise FeatureError(f"feature spec of kind {kind!r}: {error}") from None
    except KeyError as error:
        raise FeatureError(f"feature spec of kind {kind!r}: {error.args[0]} is missing") from None
    raise FeatureError(f"feature spec of kind {kind!r}; known kinds are log_mel, arrays, cepstra and table")


def described(spec: FeatureSpec) -> str:
    """The kind of the features in words, such as ``log-mel of audio``."""
    match spec:
        case LogMelSpec():
            return "log-mel of audio"
        case ArraySpec():
            return "ready-made arrays"
        case CepstralSpec():
            return f"{spec.n_mfcc} cepstra of {described(spec.of)}"
        case TableSpec(of=None):
            return "rows of a feature table"
        case TableSpec(of=of):
            assert of is not None
            return f"statistics of cepstra of {described(of)}"


def log_mel_of(spec: FeatureSpec) -> LogMelSpec:
    """The log-mel frames that these features are computed from, frame by frame.

    Raises:
        FeatureError: they are arrays from elsewhere, or rows.
    """
    source = spec.of if isinstance(spec, CepstralSpec) else spec
    if not isinstance(source, LogMelSpec):
        raise FeatureError(f"{described(spec)} are not computed from audio frame by frame")
    return source


def digest(spec: FeatureSpec) -> str:
    """First 16 hex digits of the sha256 of the spec's canonical JSON."""
    return hashlib.sha256(json.dumps(to_json(spec), sort_keys=True).encode()).hexdigest()[:16]
