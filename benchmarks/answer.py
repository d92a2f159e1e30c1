"""One song answered by a new process: ``hgenre predict`` against a plain librosa and linen script."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.rounds import Comparison, Round, Row

SAMPLE_RATE_HZ = 44100
LARGEST_DIFFERENCE = 0.02
WARM, EMPTY, PLAIN = "hgenre predict, warm cache", "hgenre predict, empty cache", "librosa and linen script"


def row(scratch: Path) -> Row:
    bundle, song = _write(scratch)
    predict = [str(Path(sys.executable).with_name("hgenre")), "predict", str(song), "--model", str(bundle), "--json"]
    script = [sys.executable, str(Path(__file__).with_name("plain_script.py")), str(song), str(bundle)]
    cache_dir = scratch / "cache"
    env = {**os.environ, "HGENRE_CACHE": str(cache_dir)}
    truth = _timed(script, env)[1]
    _check(truth, _timed(predict, env)[1])
    empty_env = {**os.environ, "HGENRE_CACHE": str(scratch / "empty")}
    return Row(
        name="answer",
        what="a 30-s MP3 (44.1 kHz, stereo) answered by a new process, root and 3 specialists",
        unit="s",
        sides={
            WARM: partial(_process, predict, env),
            EMPTY: partial(_process, predict, empty_env, before=lambda: shutil.rmtree(scratch / "empty", True)),
            PLAIN: partial(_process, script, env),
        },
        comparisons=(Comparison(WARM, PLAIN, limit=0.35), Comparison(EMPTY, PLAIN)),
    )


@contextmanager
def _process(
    command: Sequence[str], env: Mapping[str, str], before: Callable[[], Any] = lambda: None
) -> Iterator[Round]:
    def run() -> float:
        before()
        return _timed(command, env)[0]

    yield run


def _timed(command: Sequence[str], env: Mapping[str, str]) -> tuple[float, dict[str, float]]:
    """Seconds from start to end of a process, and the probabilities that it printed."""
    started = time.perf_counter()
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, check=True)
    seconds = time.perf_counter() - started
    return seconds, json.loads(done.stdout)["probabilities"]


def _check(plain: Mapping[str, float], ours: Mapping[str, float]) -> None:
    """The two must do the same work, or their times say nothing."""
    difference = max(abs(plain[genre] - ours[genre]) for genre in plain)
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"benchmark: the script and hgenre differ by {difference:.3f} in a probability")


def _write(scratch: Path) -> tuple[Path, Path]:
    """A bundle and a song on disk."""
    import numpy as np
    import soundfile

    from benchmarks.invented import tree_bundle, waveforms

    song = scratch / "song.mp3"
    channels = np.stack([*waveforms(2, seed=2, sample_rate_hz=SAMPLE_RATE_HZ)], axis=1)
    soundfile.write(song, channels, SAMPLE_RATE_HZ, format="MP3", subtype="MPEG_LAYER_III")
    return tree_bundle(scratch), song
