"""Small sound files, synthesised for the tests of the audio room."""

from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import soundfile


def tones(duration_s: float = 2.0, sample_rate_hz: int = 22_050, n_channels: int = 2) -> np.ndarray:
    """Another sine in every channel with a little noise: float32 ``(sample, channel)`` within +-0.6."""
    time_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    sines = [0.5 * np.sin(2 * np.pi * 220 * (channel + 1) * time_s) for channel in range(n_channels)]
    noise = np.random.default_rng(0).normal(scale=0.01, size=(len(time_s), n_channels))
    return (np.stack(sines, axis=1) + noise).astype(np.float32)


def write_sound(path: Path, sound: np.ndarray, sample_rate_hz: int = 22_050, subtype: str | None = None) -> Path:
    """``sound`` written by libsndfile in the format that the suffix names."""
    form = {"aif": "AIFF", "opus": "OGG"}.get(path.suffix[1:], path.suffix[1:].upper())
    soundfile.write(path, sound, sample_rate_hz, subtype=subtype, format=form)
    return path


def write_ffmpeg(
    path: Path,
    codec: str,
    sound: np.ndarray,
    sample_rate_hz: int = 44_100,
    form: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Path:
    """Stereo ``sound`` ``(sample, channel)`` encoded by ffmpeg."""
    with av.open(str(path), "w", format=form, options=dict(options or {})) as container:
        stream = container.add_stream(codec, rate=sample_rate_hz)
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 128_000
        stream.layout = "stereo"
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T), format="fltp", layout="stereo")
        frame.sample_rate = sample_rate_hz
        resampler = av.AudioResampler(format=stream.codec_context.format, layout="stereo", rate=sample_rate_hz)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    return path


def cut(path: Path, fraction: float) -> Path:
    """A copy of the file that ends after ``fraction`` of its bytes."""
    data = path.read_bytes()
    shorter = path.with_name(f"cut {path.name}")
    shorter.write_bytes(data[: int(len(data) * fraction)])
    return shorter
