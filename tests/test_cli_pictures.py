import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

import hgenre.report.pictures.of_runs as of_runs
from hgenre.cli.train import draw
from hgenre.data.manifest import Manifest
from hgenre.report.markdown import render
from hgenre.train import RunResult
from tests.conftest import Finished
from tests.test_report import example

CONFIG = """
name = "toy"
data.protocol = "song"
data.test_share = 0.34
features = { sample_rate_hz = 8000, n_fft = 512, hop_length = 256, n_mels = 16, fmax_hz = 4000.0, slice_s = 1.0 }
"""


def noise(path: Path, n_samples: int = 6000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, n_samples), 16000)
    return path


def test_a_run_is_drawn_beside_its_results(
    hgenre: Callable[..., Finished], tiny_run: RunResult, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("results.json", "history.csv", "config.json"):
        shutil.copy(tiny_run.directory / name, run / name)
    done = hgenre("pictures", run)
    assert done.status == 0, done.err
    assert "slice_loss" in (run / "history.csv").read_text().splitlines()[0]
    printed = [Path(line) for line in done.out.splitlines()]
    assert sorted(printed) == sorted((run / "pictures").iterdir())
    assert {path.stem for path in printed} >= {"confusion-songs-tree", "genres-flat", "learning"}


def test_the_music_of_a_configuration_is_drawn(
    hgenre: Callable[..., Finished], corpus: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("toy.toml").write_text(CONFIG)
    done = hgenre("pictures", "toy.toml", "--data", corpus.root, "--json")
    assert done.status == 0, done.err
    found = json.loads(done.out)
    assert found["failed"] == []
    assert [Path(png).stem for png, _ in found["pictures"].values()] == [
        "pca",
        "mel-three-genres",
        "mel-genres",
        "mfcc-means",
    ]
    assert all(Path(path).parent == Path("pictures/toy") for paths in found["pictures"].values() for path in paths)
    assert all(Path(path).is_file() for paths in found["pictures"].values() for path in paths)


def test_pictures_that_need_no_split_are_drawn_where_none_can_be_made(
    hgenre: Callable[..., Finished], corpus: Manifest, tmp_path: Path
) -> None:
    (tmp_path / "toy.toml").write_text(CONFIG.replace("0.34", "0.0"))
    done = hgenre("pictures", tmp_path / "toy.toml", "--data", corpus.root, "--out", tmp_path / "here")
    assert done.status == 2
    assert [Path(line).stem for line in done.out.splitlines()][::2] == ["pca", "mel-three-genres", "mel-genres"]
    assert "data.test_share: is 0" in done.err


def test_a_song_that_cannot_be_read_is_named_and_the_others_are_drawn(
    hgenre: Callable[..., Finished], tmp_path: Path
) -> None:
    songs = [noise(tmp_path / "a.wav"), tmp_path / "missing.mp3", noise(tmp_path / "other" / "a.wav")]
    done = hgenre("pictures", *songs, "--out", tmp_path / "drawn")
    assert done.status == 1
    assert f"{songs[1]}: cannot be opened (No such file or directory)" in done.err
    assert [Path(line).name for line in done.out.splitlines()][::2] == [
        *("a-waveform.png", "a-mel.png"),
        *("a-waveform-2.png", "a-mel-2.png"),
    ]
    done = hgenre("pictures", songs[1], "--json", "--out", tmp_path / "drawn")
    [failed] = json.loads(done.out)["failed"]
    assert (done.status, failed["path"], failed["error"]["kind"]) == (1, str(songs[1]), "unreadable")


def test_what_cannot_be_drawn_is_told(hgenre: Callable[..., Finished], tmp_path: Path) -> None:
    done = hgenre("pictures", tmp_path)
    assert done.status == 1
    assert f"{tmp_path} is no run: it has no results.json" in done.err
    (tmp_path / "toy.toml").write_text('name = "toy"\ndata.manifest = "gone.csv"')
    done = hgenre("pictures", tmp_path / "toy.toml")
    assert done.status == 1
    assert "gone.csv" in done.err
    assert hgenre("pictures", tmp_path, "--data", tmp_path).status == 2
    done = hgenre("pictures", tmp_path / "a.wav", tmp_path)
    assert done.status == 2
    assert "give one run's folder, or one configuration, or" in " ".join(done.err.replace("│", "").split())


def test_a_run_stands_where_its_pictures_cannot_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise MemoryError("too large")

    monkeypatch.setattr(of_runs, "confusion_figure", refuse)
    (tmp_path / "results.json").write_text(json.dumps(example()))
    assert draw(tmp_path) == {}
    warned = capsys.readouterr().err
    assert warned == f"warning: {tmp_path}: pictures could not be drawn (MemoryError: too large)\n"


def test_a_report_shows_its_pictures() -> None:
    report = render(example(), {"Confusions [of] songs": "pictures/a b.png"})
    assert "\n## Pictures\n\n![Confusions \\[of\\] songs](pictures/a%20b.png)\n\n## Limits\n" in report
    assert "## Pictures" not in render(example())
