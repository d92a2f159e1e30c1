"""Slices of a song's frames: where they start, how they are cut, which of them are loud enough to judge."""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from hgenre.errors import FeatureError
from hgenre.features.cepstra import lifter_weights
from hgenre.features.log_mel import hann_window, mel_filters
from hgenre.features.spec import ArraySpec, CepstralSpec, FeatureSpec, LogMelSpec, SliceSpec, TableSpec

SILENCE_DBFS = -80.0
"""RMS level re full scale 1.0 of the white noise below which a slice is silent.

16-bit dither has about -96 dBFS and the hiss of a cassette about -60 dBFS, so a pause in a digital file is silent and
quiet music is not.
"""

_ROUNDING = 1e-5
"""As a share of the largest cepstrum: more than float32 sums of one value leave, and far less than any music."""


def slice_starts(n_frames: int, spec: SliceSpec) -> np.ndarray:
    """First frames of the whole slices of a song of ``n_frames`` frames: (slice,) int64, perhaps none."""
    return np.arange(0, n_frames - spec.n_frames + 1, spec.step_frames)


def cut_slices(frames: np.ndarray, spec: SliceSpec) -> np.ndarray:
    """Slices of a song: (mel, frame) -> (slice, mel, frame), a read-only view where possible.

    A song with no whole slice gives the one slice of ``repeat_to_slice``, or none when it is too short for that.
    """
    if frames.shape[1] < spec.n_frames:
        repeated = repeat_to_slice(frames, spec)
        return np.empty((0, len(frames), spec.n_frames), frames.dtype) if repeated is None else repeated[None]
    windows = np.lib.stride_tricks.sliding_window_view(frames, spec.n_frames, axis=1)
    return windows[:, :: spec.step_frames].transpose(1, 0, 2)


def repeat_to_slice(frames: np.ndarray, spec: SliceSpec) -> np.ndarray | None:
    """One slice from a short song, its frames repeated from the start: (mel, frame) -> (mel, ``spec.n_frames``).

    None when the song holds less than half a slice, ``2 * frame < spec.n_frames``. Zeros or silence in place of the
    repetition would tell the nets how long the file is.
    """
    n_frames = frames.shape[1]
    if 2 * n_frames < spec.n_frames:
        return None
    return frames[:, np.arange(spec.n_frames) % n_frames]


def cut_stream(frame_blocks: Iterable[np.ndarray], spec: SliceSpec, max_slices: int = 32) -> Iterator[np.ndarray]:
    """Slices of a song whose frames come in (mel, frame) blocks: yields (slice, mel, frame), ``max_slices`` at most.

    Joined along slices they equal ``cut_slices`` of the joined frames. Memory is bounded by ``max_slices`` slices and
    the largest block.
    """
    whole_frames = (max_slices - 1) * spec.step_frames + spec.n_frames
    rest: np.ndarray | None = None
    skip_frames = 0
    any_cut = False
    for block in frame_blocks:
        rest = block if rest is None else np.concatenate([rest, block], axis=1)
        while rest.shape[1] >= skip_frames + whole_frames:
            yield cut_slices(rest[:, skip_frames : skip_frames + whole_frames], spec)
            skip_frames += max_slices * spec.step_frames
            any_cut = True
        rest, skip_frames = rest[:, skip_frames:], max(0, skip_frames - rest.shape[1])
    if rest is None:
        return
    rest = rest[:, skip_frames:]
    if rest.shape[1] >= spec.n_frames or not any_cut:
        last = cut_slices(rest, spec)
        if len(last):
            yield last


def slice_level_db(slices: Any, xp: ModuleType = np) -> Any:
    """Level of each slice, ``10 log10`` of its mean mel power: (slice, mel, frame) dB -> (slice,) dB.

    ``xp`` is the array module, numpy or jax.numpy.
    """
    # Laid out slice by slice, so that numpy adds each slice's values in one order whatever stands beside it.
    values = slices.reshape(slices.shape[0], slices.shape[1] * slices.shape[2])
    power = xp.exp(values * np.float32(np.log(10) / 10))
    return 10 * xp.log10(xp.mean(power, axis=1))


def silence_level_db(spec: LogMelSpec) -> float:
    """Level, as ``slice_level_db`` gives it, that white noise of ``SILENCE_DBFS`` has under this spec, in dB.

    White noise of variance v has the expected power ``v * sum(window**2)`` in every bin, and in a mel band that power
    times the sum of the band's filter.
    """
    bin_power = 10 ** (SILENCE_DBFS / 10) * np.sum(hann_window(spec.n_fft) ** 2)
    return float(10 * np.log10(bin_power * mel_filters(spec).sum(axis=1).mean()))


def voiced(slices: Any, spec: FeatureSpec, xp: ModuleType = np) -> Any:
    """Whether each slice is loud enough to have a vote: (slice, mel, frame) -> (slice,) bool.

    Log-mel slices are silent below ``silence_level_db``; imported arrays, whose zero is unknown, when constant, and so
    are cepstra of theirs; rows of a table are heard where all their values are finite. Cepstra of log-mel frames are
    silent where the mean of coefficient 0 is below ``silence_cepstrum``: at the same level for a flat spectrum, and
    for any other earlier, by what the mean of its dB is below the dB of its mean power.
    """
    if isinstance(spec, TableSpec):
        return xp.all(xp.isfinite(slices), axis=(-2, -1))
    if isinstance(spec, CepstralSpec) and isinstance(spec.of, LogMelSpec):
        return xp.mean(slices[:, 0], axis=-1) >= silence_cepstrum(spec)
    if isinstance(spec, CepstralSpec):
        # A constant array has coefficient 0 alone, the same in every frame; the others are what rounding leaves.
        apart = [xp.max(xp.abs(slices[:, :1] - xp.mean(slices[:, :1], axis=-1, keepdims=True)), axis=(-2, -1))]
        apart += [xp.max(xp.abs(slices[:, 1:]), axis=(-2, -1))] if spec.n_mfcc > 1 else []
        return xp.max(xp.stack(apart), axis=0) > _ROUNDING * xp.max(xp.abs(slices), axis=(-2, -1))
    if isinstance(spec, ArraySpec):
        return xp.max(slices, axis=(-2, -1)) > xp.min(slices, axis=(-2, -1))
    return slice_level_db(slices, xp) >= silence_level_db(spec)


def silence_cepstrum(spec: CepstralSpec) -> float:
    """Coefficient 0 of a spectrum that is flat at ``silence_level_db``: that level times ``sqrt(n_mels)``, liftered.

    Coefficient 0 of the orthonormal DCT of ``n_mels`` values is their sum over ``sqrt(n_mels)``.

    Raises:
        FeatureError: the cepstra are of imported arrays, which have no such level.
    """
    if not isinstance(spec.of, LogMelSpec):
        raise FeatureError(f"cepstra of imported arrays ({spec.of.scale}) have no level of silence")
    return float(silence_level_db(spec.of) * np.sqrt(spec.of.n_mels) * lifter_weights(spec.n_mfcc, spec.lifter)[0])
