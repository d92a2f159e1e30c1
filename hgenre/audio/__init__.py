"""One door for sound: audio files in, mono float32 waveforms at the model's rate out."""

from hgenre.audio.stream import AudioFacts, AudioStream, open_audio, read_audio
from hgenre.audio.waveform import resample

__all__ = ["AudioFacts", "AudioStream", "open_audio", "read_audio", "resample"]
