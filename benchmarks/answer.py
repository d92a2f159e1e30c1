"""One song answered by a new process: ``hgenre predict`` against a plain librosa and linen script."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.features import clips_work
from benchmarks.floors import Work
from benchmarks.process import HGENRE, run_process
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.routing import SLICES_A_SONG, all_nets

SAMPLE_RATE_HZ = 44100
LARGEST_DIFFERENCE = 0.02
WARM, EMPTY, PLAIN = "hgenre predict, warm cache", "hgenre predict, empty cache", "librosa and linen script"


def row(scratch: Path) -> Row:
    bundle, song = _write(scratch)
    predict = [HGENRE, "predict", str(song), "--model", str(bundle), "--json"]
    script = [sys.executable, "-m", "benchmarks.plain_script", str(song), str(bundle)]
    warm_env, empty_env = {"HGENRE_CACHE": str(scratch / "cache")}, {"HGENRE_CACHE": str(scratch / "empty")}
    _check(_probabilities(script, warm_env), _probabilities(predict, warm_env))
    return Row(
        name="answer",
        what="a 30-s MP3 (44.1 kHz, stereo) answered by a new process, root and 3 specialists",
        unit="s",
        sides={
            WARM: partial(_process, predict, warm_env),
            EMPTY: partial(_process, predict, empty_env, before=lambda: shutil.rmtree(scratch / "empty", True)),
            PLAIN: partial(_process, script, warm_env),
        },
        comparisons=(Comparison(WARM, PLAIN, limit=0.27), Comparison(EMPTY, PLAIN)),
        work={
            WARM: Work(
                "the start of an interpreter; song and weights read, log-mel and all nets; decoding not counted",
                flops=clips_work(1).flops + all_nets(SLICES_A_SONG).flops,
                n_bytes=song.stat().st_size + sum(file.stat().st_size for file in bundle.iterdir()),
                n_python_starts=1,
            )
        },
    )


@contextmanager
def _process(
    command: Sequence[str], env: Mapping[str, str], before: Callable[[], Any] = lambda: None
) -> Iterator[Round]:
    def run() -> float:
        before()
        return run_process(command, env).seconds

    yield run


def _probabilities(command: Sequence[str], env: Mapping[str, str]) -> dict[str, float]:
    return json.loads(run_process(command, env).printed)["probabilities"]


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
