"""Folders of invented 30-s clips as GTZAN has them: WAV, mono, 22.05 kHz, 16 bits."""

import itertools
import os
from pathlib import Path

import soundfile

from benchmarks.invented import waveforms

SAMPLE_RATE_HZ = 22050


def clip_folder(scratch: Path, n_clips: int, n_distinct: int = 40) -> Path:
    """A folder of so many names; beyond ``n_distinct`` they are links to the same clips, again and again."""
    distinct = [scratch / "distinct-clips" / f"{i:02d}.wav" for i in range(min(n_clips, n_distinct))]
    distinct[0].parent.mkdir(exist_ok=True)
    for i, path in enumerate(distinct):
        if not path.exists():
            [clip] = waveforms(1, seed=100 + i, sample_rate_hz=SAMPLE_RATE_HZ)
            soundfile.write(path, clip, SAMPLE_RATE_HZ, subtype="PCM_16")
    folder = scratch / f"clips-{n_clips}-of-{len(distinct)}"
    if not folder.exists():
        folder.mkdir()
        for i, path in zip(range(n_clips), itertools.cycle(distinct), strict=False):
            os.link(path, folder / f"clip-{i:05d}.wav")
    return folder
