"""The whole job, a folder of clips to song answers: ``hgenre predict`` against 57 features and a random forest.

hgenre's time is that of a new process with its programs cached and no features cached. The script's time is that of
fewer clips, scaled, without its start. Files come from the system's page cache on both sides.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.clips import SAMPLE_RATE_HZ, clip_folder
from benchmarks.features import clips_work
from benchmarks.floors import Work
from benchmarks.invented import tree_bundle
from benchmarks.process import HGENRE, run_process
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.routing import SLICES_A_SONG, all_nets

OURS = "hgenre predict"
WAV_BYTES = 30 * SAMPLE_RATE_HZ * 2


def row(scratch: Path, n_clips: int = 1000, n_scaled: int = 40) -> Row:
    """``n_scaled`` clips go to the script."""
    forest = f"57 features and a forest, {n_scaled} clips scaled x{n_clips / n_scaled:g}"
    return Row(
        name="job",
        what=f"{n_clips} WAV clips of 30 s to song answers, root and 3 specialists",
        unit="s",
        sides={
            OURS: partial(_by_hgenre, scratch, n_clips),
            forest: partial(_by_forest, scratch, n_scaled, n_clips / n_scaled),
        },
        comparisons=(Comparison(OURS, forest, limit=0.05),),
        work={
            OURS: Work(
                "the start of an interpreter; clips read, log-mel and all nets; decoding and resampling not counted",
                flops=clips_work(n_clips).flops + all_nets(n_clips * SLICES_A_SONG).flops,
                n_bytes=n_clips * WAV_BYTES,
                n_python_starts=1,
            )
        },
        n_rounds=2,
    )


@contextmanager
def _by_hgenre(scratch: Path, n_clips: int) -> Iterator[Round]:
    """Programs of all chunk sizes that the folder needs are made and kept by a first call."""
    command = [HGENRE, "predict", str(clip_folder(scratch, n_clips)), "--model", str(tree_bundle(scratch)), "--json"]
    env = {"HGENRE_CACHE": str(scratch / "cache")}
    answers = [json.loads(line) for line in run_process(command, env).printed.splitlines()]
    if len(answers) != n_clips or any("error" in answer for answer in answers):
        raise SystemExit(f"benchmark: {' '.join(command)} has not answered all of {n_clips} clips")
    yield lambda: run_process(command, env).seconds


@contextmanager
def _by_forest(scratch: Path, n_clips: int, scale: float) -> Iterator[Round]:
    script = str(Path(__file__).with_name("forest_script.py"))
    command = [sys.executable, script, str(clip_folder(scratch, n_clips))]
    yield lambda: scale * json.loads(run_process(command).printed)["seconds"]
