"""Log-mel features of many clips: hgenre on two threads against librosa."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np

from benchmarks.floors import FLOAT_BYTES, Work, log_mel_flops
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import worker
from hgenre.features import LogMelSpec, log_mel_stream

SPEC = LogMelSpec()
N_THREADS = 2
OURS, LIBROSA = f"hgenre, {N_THREADS} threads", "librosa"
CLIP_SAMPLES = 30 * SPEC.sample_rate_hz


def row(n_clips: int = 100) -> Row:
    return Row(
        name="features",
        what=f"log-mel of {n_clips} clips of 30 s ({SPEC.n_mels} mels, n_fft {SPEC.n_fft}, hop {SPEC.hop_length})",
        unit="s",
        sides={
            OURS: partial(worker, "benchmarks.features:by_hgenre", n_clips=n_clips),
            LIBROSA: partial(worker, "benchmarks.features:by_librosa", n_clips=n_clips),
        },
        comparisons=(Comparison(OURS, LIBROSA, limit=0.5),),
        work={OURS: clips_work(n_clips)},
    )


def clips_work(n_clips: int) -> Work:
    """Log-mel of clips of 30 s in memory."""
    n_frames = 1 + (CLIP_SAMPLES - SPEC.n_fft) // SPEC.hop_length
    return Work(
        "a real FFT a frame and the mel filters at the rate of float32; samples read and log-mel written once",
        flops=n_clips * log_mel_flops(SPEC, CLIP_SAMPLES),
        n_bytes=n_clips * FLOAT_BYTES * (CLIP_SAMPLES + SPEC.n_mels * n_frames),
    )


def by_hgenre(n_clips: int) -> Round:
    """The transform as the feature cache is filled: blocks in, (mel, frame) out, on a pool of threads."""
    clips = _clips(n_clips)
    pool = ThreadPoolExecutor(N_THREADS)

    def log_mel_of(clip: np.ndarray) -> np.ndarray:
        return np.concatenate(list(log_mel_stream([clip], SPEC)), axis=1)

    def run() -> float:
        started = time.perf_counter()
        for _ in pool.map(log_mel_of, clips):
            pass
        return time.perf_counter() - started

    return run


def by_librosa(n_clips: int) -> Round:
    import librosa

    clips = _clips(n_clips)

    def log_mel_of(clip: np.ndarray) -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=clip,
            sr=SPEC.sample_rate_hz,
            n_fft=SPEC.n_fft,
            hop_length=SPEC.hop_length,
            n_mels=SPEC.n_mels,
            fmin=SPEC.fmin_hz,
            fmax=SPEC.fmax_hz,
            center=False,
        )
        return librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)

    def run() -> float:
        started = time.perf_counter()
        for clip in clips:
            log_mel_of(clip)
        return time.perf_counter() - started

    return run


def _clips(n_clips: int) -> list[np.ndarray]:
    from benchmarks.invented import waveforms

    return list(waveforms(n_clips, seed=0))
