"""Every real clip decodes whole, at its rate and duration, and none is suspected of damage."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from hgenre.audio import read_audio
from hgenre.errors import UnreadableAudioError

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif("HGENRE_DATA" not in os.environ, reason="HGENRE_DATA does not name the folder of real music"),
]


def clips() -> tuple[Path, list[dict[str, str]]]:
    folder = Path(os.environ["HGENRE_DATA"]) / "gtzan"
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return folder, list(csv.DictReader(file))


def test_every_clip_decodes_whole(capfd: pytest.CaptureFixture[str]) -> None:
    folder, rows = clips()
    sound = [row for row in rows if not row["fault"]]
    assert len(sound) == 503
    wrong = []
    for row in sound:
        waveform, facts = read_audio(folder / row["path"])
        if (
            facts.truncated
            or facts.warnings
            or abs(facts.duration_s - float(row["duration_s"])) > 0.05
            or facts.sample_rate_hz != int(row["sample_rate_hz"])
            or len(waveform) != facts.n_samples
            or not 0 < np.abs(waveform).max() < 2
        ):
            wrong.append(facts)
    assert wrong == []
    assert capfd.readouterr().err == ""


def test_the_clip_without_a_header_is_unreadable() -> None:
    folder, rows = clips()
    broken = [row for row in rows if row["fault"]]
    assert [row["song_id"] for row in broken] == ["jazz.00054"]
    with pytest.raises(UnreadableAudioError, match="no decoder can read it"):
        read_audio(folder / broken[0]["path"])
