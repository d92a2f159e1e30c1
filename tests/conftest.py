"""What many tests share: a cache folder of their own, a small corpus, one tiny tree trained once a session."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import pytest
from hypothesis import settings

from hgenre.bundle import Bundle
from hgenre.cli import main
from hgenre.data.manifest import Manifest
from hgenre.demo.corpus import invented_songs, write_corpus
from hgenre.predict import Model, load
from hgenre.train import RunResult, train_tree
from hgenre.training.border import config_from_dict
from hgenre.training.config import RunConfig

settings.register_profile("hgenre", deadline=None)
settings.load_profile("hgenre")

GENRES = ("clatterbop", "pebbleskip", "fogsong", "moorhum")
GROUPS = {"percussive": ["clatterbop", "pebbleskip"], "drone": ["fogsong", "moorhum"]}
TINY: dict[str, Any] = {
    "name": "tiny",
    "data": {"protocol": "song", "test_share": 0.34, "validation_share": 0.25},
    "features": {
        "sample_rate_hz": 8000,
        "n_fft": 512,
        "hop_length": 256,
        "n_mels": 16,
        "fmax_hz": 4000.0,
        "slice_s": 1.0,
        "step_s": 1.0,
    },
    "net": {"widths": [4, 8]},
    "tree": {"groups": GROUPS},
    "optimiser": {"epochs": 8, "batch_size": 16, "learning_rate": 1e-2},
    "augment": {"freq_mask_mels": 2, "time_mask_frames": 2, "mixup_alpha": 0.0},
    "rivals": {"flat_ensembles": False, "shared_trunk": False},
}
"""A run of a few seconds: slices of 1 s, 16 mel bands, nets of two layers."""


@dataclass(frozen=True)
class Finished:
    """What a command left: its exit status and what it wrote."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The tests' own cache folder, in ``$HGENRE_CACHE``."""
    directory = tmp_path_factory.mktemp("cache")
    # So that what is compiled has the same key under whatever name a test reaches the folder.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    # One device for every test, whichever comes first: jax that runs already does not spread over the cores.
    jax.devices()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HGENRE_CACHE", str(directory))
        patch.setenv("JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES", "none")
        yield directory


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """Six songs of 3 s in each of four invented genres, two songs an artist, in all four audio forms."""
    songs = [
        replace(song, artist=f"{song.artist} {i // 2}", waveform=song.waveform[: 3 * song.sample_rate_hz])
        for i, song in enumerate(invented_songs(6, seed=0))
        if song.genre in GENRES
    ]
    path = write_corpus(songs, tmp_path_factory.mktemp("corpora") / "corpus")
    from hgenre.data.manifest import read_manifest

    return read_manifest(path)


@pytest.fixture(scope="session")
def gtzan() -> Path:
    """The folder of real music."""
    if "HGENRE_DATA" not in os.environ:
        pytest.skip("HGENRE_DATA is unset; it must name the folder of the real music")
    return Path(os.environ["HGENRE_DATA"]) / "gtzan"


@pytest.fixture(scope="session")
def tiny_config() -> RunConfig:
    return config_from_dict(TINY)


@pytest.fixture(scope="session")
def tiny_run(tiny_config: RunConfig, corpus: Manifest, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A tree and a flat net, trained once."""
    return train_tree(tiny_config, corpus, out=tmp_path_factory.mktemp("runs") / "tiny")


@pytest.fixture(scope="session")
def bundle(tiny_run: RunResult) -> Bundle:
    return tiny_run.bundle


@pytest.fixture(scope="session")
def bundle_dir(tiny_run: RunResult) -> Path:
    return tiny_run.directory / "bundle"


@pytest.fixture(scope="session")
def model(bundle_dir: Path) -> Model:
    return load(bundle_dir)


@pytest.fixture
def hgenre(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runs a command of the command line in this process."""

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["hgenre", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return Finished(int(end.value.code or 0), out, err)

    return run


def start_hgenre(*arguments: object, **options: Any) -> "subprocess.Popen[str]":
    """A command in a process of its own, its output piped."""
    # Where the tests run in the background the shell has interrupts ignored, and children inherit that.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{heard}; from hgenre.cli import main; main()", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, **{**pipes, "env": {**os.environ, "JAX_PLATFORMS": "cpu"}, **options})


@pytest.fixture
def keep_the_users_settings() -> Iterator[None]:
    """The compilation cache of jax is set up again as it was."""
    import jax
    from jax.experimental.compilation_cache import compilation_cache

    names = (
        "jax_compilation_cache_dir",
        "jax_persistent_cache_min_compile_time_secs",
        "jax_persistent_cache_min_entry_size_bytes",
    )
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
