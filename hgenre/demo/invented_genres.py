"""Eight genres that exist nowhere else: pure functions from random generators to waveforms.

Three groups sound nothing alike; within a group the genres differ only in ranges that overlap, so that one song is
often not enough to be sure. All the ranges are chosen by ear for this corpus and stand for no real music.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Waveform = NDArray[np.float32]
Range = tuple[float, float]

HIGHEST_PARTIAL_HZ = 7000.0  # below half of the lowest sample rate, so the rate of a file says nothing about its genre
STROKE_CHANCE = {"X": 0.95, "x": 0.6, ".": 0.1}


@dataclass(frozen=True)
class BeatStyle:
    """A percussive genre: patterns of sixteen steps (``X`` nearly always, ``x`` often, ``.`` seldom) and their sound.

    ``swing`` is the share of a pair of steps that the first one takes: 0.5 is straight, 0.67 is a triplet.
    """

    tempo_bpm: Range
    swing: Range
    brightness_hz: Range
    low_pattern: str
    high_pattern: str


@dataclass(frozen=True)
class PluckStyle:
    """A plucked genre: a scale in semitones, a figure of scale degrees that repeats, how dense and how long it rings.

    ``wander`` is the chance that a note leaves the figure.
    """

    scale_semitones: tuple[int, ...]
    figure: tuple[int, ...]
    wander: Range
    notes_per_s: Range
    decay_s: Range
    rolloff: Range


@dataclass(frozen=True)
class DroneStyle:
    """A sustained genre: vibrato rate and depth (a ratio of the pitch) and the weights of its partials.

    Partial ``k`` weighs ``k ** -rolloff``; even ones are scaled by ``even_gain``.
    """

    vibrato_hz: Range
    vibrato_depth: Range
    rolloff: Range
    even_gain: Range


Style = BeatStyle | PluckStyle | DroneStyle

STYLES: Mapping[str, Style] = {
    "clatterbop": BeatStyle((100, 150), (0.50, 0.56), (2600, 5600), "X...x...X...x..x", "x.x.X.x.x.x.X.xx"),
    "pebbleskip": BeatStyle((90, 138), (0.57, 0.67), (1900, 4200), "X.....x.x...x...", "xx.xX.xxxx.xX.xx"),
    "thumbelow": BeatStyle((84, 130), (0.51, 0.60), (1300, 3200), "X..x..x.X..x..x.", "....X..x....X..."),
    "dewharp": PluckStyle((0, 2, 4, 7, 9), (0, 1, 2, 3, 4, 5, 6, 7), (0.05, 0.4), (4.0, 6.8), (0.3, 0.75), (1.1, 2.0)),
    "lanternpick": PluckStyle((0, 2, 3, 5, 7, 9, 10), (-7, 4, -3, 7), (0.05, 0.4), (3.2, 5.4), (0.2, 0.5), (1.0, 1.8)),
    "tanglewire": PluckStyle(
        (0, 1, 4, 5, 7, 8, 11), (0, 5, 2, 8, 3, 6), (0.2, 0.6), (4.6, 7.8), (0.12, 0.35), (0.6, 1.4)
    ),
    "fogsong": DroneStyle((2.6, 4.7), (0.004, 0.012), (1.2, 2.0), (0.5, 1.0)),
    "moorhum": DroneStyle((4.3, 6.8), (0.006, 0.018), (0.7, 1.5), (0.15, 0.7)),
}
GROUPS: Mapping[str, tuple[str, ...]] = {
    "percussive": ("clatterbop", "pebbleskip", "thumbelow"),
    "plucked": ("dewharp", "lanternpick", "tanglewire"),
    "drone": ("fogsong", "moorhum"),
}


@dataclass(frozen=True)
class Artist:
    """The quirks that all songs of one artist share, whatever they play."""

    resonance_hz: float
    resonance_db: float
    decay_ratio: float
    detune_cents: float


def invent_artist(rng: np.random.Generator) -> Artist:
    """An artist drawn from ``rng``: a resonance of the body, how long strokes ring, how far strings are out of tune."""
    return Artist(
        resonance_hz=float(np.exp(rng.uniform(np.log(250), np.log(4000)))),
        resonance_db=rng.uniform(-9, 9),
        decay_ratio=rng.uniform(0.75, 1.35),
        detune_cents=rng.uniform(2, 15),
    )


def play(genre: str, artist: Artist, n_samples: int, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    """One song of an invented genre before it is recorded: ``(sample,)``, root mean square 1; key and tempo are random.

    Raises:
        KeyError: ``genre`` is none of ``STYLES``.
    """
    match STYLES[genre]:
        case BeatStyle() as style:
            music = _beat(style, artist, n_samples, sample_rate_hz, rng)
        case PluckStyle() as style:
            music = _plucks(style, artist, n_samples, sample_rate_hz, rng)
        case DroneStyle() as style:
            music = _drone(style, artist, n_samples, sample_rate_hz, rng)
    return music / np.sqrt(np.mean(music**2))


def record(music: Waveform, artist: Artist, sample_rate_hz: int, n_channels: int, rng: np.random.Generator) -> Waveform:
    """The song as a listener gets it: ``(sample, channel)``, peak 0.1 to 0.95 of full scale.

    The artist's resonance, a random spectral tilt of at most 4 dB an octave, background noise of a random colour
    12 to 40 dB below the music, a random level; a second channel hears the same a little later and in other noise.
    """
    freqs_hz = np.maximum(np.fft.rfftfreq(len(music), 1 / sample_rate_hz), 30.0)
    octaves = np.log2(freqs_hz / 1000)
    bump = np.exp(-0.5 * (np.log2(freqs_hz / artist.resonance_hz) / 0.5) ** 2)
    room_db = rng.uniform(-4, 4) * octaves + artist.resonance_db * bump
    hiss_db = rng.uniform(-6, 0) * octaves
    music = _shaped(music, room_db)
    snr_db = rng.uniform(12, 40)
    delay_samples = int(rng.uniform(0, 0.01) * sample_rate_hz)
    channels = []
    for channel in range(n_channels):
        hiss = _shaped(rng.standard_normal(len(music), dtype=np.float32), hiss_db)
        channels.append(np.roll(music, channel * delay_samples) + 10 ** (-snr_db / 20) * hiss)
    recording = np.stack(channels, axis=1)
    peak = rng.uniform(0.1, 0.95)
    return np.asarray(recording * (peak / np.abs(recording).max()), np.float32)


def _shaped(sound: Waveform, gain_db: NDArray[np.float64]) -> Waveform:
    """The sound through a filter given as dB a frequency bin, at root mean square 1."""
    shaped = np.fft.irfft(np.fft.rfft(sound) * 10 ** (gain_db / 20), len(sound))
    return np.asarray(shaped / np.sqrt(np.mean(shaped**2)), np.float32)


def _beat(style: BeatStyle, artist: Artist, n_samples: int, sample_rate_hz: int, rng: np.random.Generator) -> Waveform:
    step_s = 15 / rng.uniform(*style.tempo_bpm)
    swing_s = (2 * rng.uniform(*style.swing) - 1) * step_s
    low_hz, low_decay_s = rng.uniform(50, 110), rng.uniform(0.06, 0.14) * artist.decay_ratio
    high_decay_s = rng.uniform(0.02, 0.06) * artist.decay_ratio
    high_gain = rng.uniform(0.3, 0.7)
    t_s = np.arange(int(0.3 * sample_rate_hz), dtype=np.float32) / sample_rate_hz
    glide_s = 0.03
    low = np.sin(2 * np.pi * low_hz * (t_s + glide_s * (1 - np.exp(-t_s / glide_s)))) * np.exp(-t_s / low_decay_s)

    noise = rng.standard_normal(sample_rate_hz, dtype=np.float32)
    freqs_hz = np.maximum(np.fft.rfftfreq(len(noise), 1 / sample_rate_hz), 1.0)
    octaves_off = np.log2(freqs_hz / rng.uniform(*style.brightness_hz))
    noise = _shaped(noise, -8 * octaves_off**2)
    high_envelope = high_gain * np.exp(-t_s / high_decay_s)

    music = np.zeros(n_samples, np.float32)
    first_step = 2 * int(rng.integers(8))
    for step in range(int(n_samples / sample_rate_hz / step_s)):
        start_s = step * step_s + (step % 2) * swing_s + abs(rng.normal(0, 0.004))
        start = int(start_s * sample_rate_hz)
        place = (first_step + step) % 16
        if rng.random() < STROKE_CHANCE[style.low_pattern[place]]:
            _strike(music, start, low * rng.uniform(0.6, 1))
        if rng.random() < STROKE_CHANCE[style.high_pattern[place]]:
            at = int(rng.integers(len(noise) - len(t_s)))
            _strike(music, start, noise[at : at + len(t_s)] * high_envelope * rng.uniform(0.5, 1))
    return music


def _plucks(style: PluckStyle, artist: Artist, n_samples: int, rate_hz: int, rng: np.random.Generator) -> Waveform:
    key_hz = 110 * 2 ** (rng.uniform(0, 14) / 12)
    spacing_s = 1 / rng.uniform(*style.notes_per_s)
    decay_s = rng.uniform(*style.decay_s) * artist.decay_ratio
    rolloff = rng.uniform(*style.rolloff)
    wander = rng.uniform(*style.wander)
    t_s = np.arange(int(0.9 * rate_hz), dtype=np.float32) / rate_hz
    home_degree = 0

    music = np.zeros(n_samples, np.float32)
    for note in range(int(n_samples / rate_hz / spacing_s)):
        place = note % len(style.figure)
        if place == 0:
            home_degree = int(rng.integers(-2, 4))
        degree = int(rng.integers(0, 9)) if rng.random() < wander else home_degree + style.figure[place]
        octave, tone_idx = divmod(degree, len(style.scale_semitones))
        semitones = 12 * octave + style.scale_semitones[tone_idx] + rng.normal(0, artist.detune_cents / 100)
        note_hz = key_hz * 2 ** (semitones / 12)
        partials = np.arange(1, min(10, int(HIGHEST_PARTIAL_HZ / note_hz)) + 1, dtype=np.float32)[:, None]
        tones = np.sin(2 * np.pi * note_hz * partials * t_s)
        ringing = partials**-rolloff * np.exp(-t_s * np.sqrt(partials) / decay_s)
        start_s = note * spacing_s + abs(rng.normal(0, 0.008))
        _strike(music, int(start_s * rate_hz), np.sum(tones * ringing, axis=0) * rng.uniform(0.5, 1))
    return music


def _drone(
    style: DroneStyle, artist: Artist, n_samples: int, sample_rate_hz: int, rng: np.random.Generator
) -> Waveform:
    t_s = np.arange(n_samples) / sample_rate_hz
    root_hz = 80 * 2 ** (rng.uniform(0, 14) / 12)
    vibrato_hz, depth = rng.uniform(*style.vibrato_hz), rng.uniform(*style.vibrato_depth)
    rolloff, even_gain = rng.uniform(*style.rolloff), rng.uniform(*style.even_gain)
    swell_hz = rng.uniform(0.1, 0.4)

    music = np.zeros(n_samples, np.float32)
    for interval in (0, 7, 12):
        voice_hz = root_hz * 2 ** ((interval + rng.normal(0, artist.detune_cents / 100)) / 12)
        start = rng.uniform(0, 2 * np.pi)
        vibrato = depth / (2 * np.pi * vibrato_hz) * np.sin(2 * np.pi * vibrato_hz * t_s + start)
        # Wrapped in float64 first: float32 would lose the phase within seconds.
        phase = np.asarray(2 * np.pi * (voice_hz * (t_s + vibrato) % 1), np.float32)
        voice = np.zeros(n_samples, np.float32)
        for partial in range(1, min(12, int(HIGHEST_PARTIAL_HZ / voice_hz)) + 1):
            voice += np.float32(partial**-rolloff * (1 if partial % 2 else even_gain)) * np.sin(partial * phase)
        swell = 1 + 0.5 * np.sin(2 * np.pi * swell_hz * t_s + rng.uniform(0, 2 * np.pi))
        music += voice * swell.astype(np.float32)
    return music


def _strike(music: Waveform, start: int, sound: NDArray[np.floating]) -> None:
    """Adds ``sound`` to ``music`` in place from sample ``start``, cut at the end of the song."""
    stop = min(start + len(sound), len(music))
    music[start:stop] += sound[: max(stop - start, 0)]
