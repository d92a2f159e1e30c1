"""Executables run without jax: the very answers of jax, and jax's way wherever anything is not as it should be."""

import importlib.machinery
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache

import hgenre.compiled.resident as resident
from hgenre.bundle import Bundle, save_bundle
from hgenre.compiled.exported import cached_program, weights_of
from hgenre.compiled.resident import lacks_resident, place_weights, resident_program
from hgenre.predict import Model, SongAnswer
from hgenre.tree.calibration import Calibration
from hgenre.tree.route import Route
from tests.small_bundles import FEATURES, ROUTES, sounding, tiny_bundle
from tests.small_trees import RAGGED

pytestmark = pytest.mark.usefixtures("keep_the_users_settings")

N_SLICES = 5
ROUTE = Route("hard")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle = replace(tiny_bundle(RAGGED), calibration=Calibration(path_temperature=1.7))
    return save_bundle(bundle, tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="module")
def filled(saved: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with an executable."""
    directory = tmp_path_factory.mktemp("filled")
    cached_program(saved, ROUTE, N_SLICES, directory)
    return directory


def executables(directory: Path) -> list[Path]:
    return sorted((directory / "programs").glob("*.xla_cpu"))


def loaded(bundle: Bundle, route: Route, directory: Path) -> resident.Resident | None:
    return resident_program(bundle, route, N_SLICES, directory, lambda: place_weights(bundle))


def arguments(bundle: Bundle, seed: int = 1) -> tuple[np.ndarray, ...]:
    rows = (N_SLICES, 1)
    return (
        sounding(N_SLICES, seed),
        np.tile(bundle.normalisation.mean_db, rows),
        np.tile(bundle.normalisation.std_db, rows),
        np.array([0, 0, 1, 1, 1], np.int32),
        np.array([True, True, True, False, True]),
    )


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_the_answers_are_those_of_jax_bit_for_bit(saved: Bundle, route: Route, tmp_path: Path) -> None:
    assert loaded(saved, route, tmp_path) is None
    compiled = cached_program(saved, route, N_SLICES, tmp_path)
    program = loaded(saved, route, tmp_path)
    assert program is not None
    placed, weights = place_weights(saved), weights_of(saved)
    for seed in range(3):
        ours, theirs = program(placed, *arguments(saved, seed)), compiled(weights, *arguments(saved, seed))
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            assert a.dtype == b.dtype
            assert np.array_equal(a, b)


def test_an_executable_read_from_the_compilation_cache_is_not_kept(saved: Bundle, tmp_path: Path) -> None:
    compilation_cache.reset_cache()
    jax.config.update("jax_compilation_cache_dir", None)
    cached_program(saved, ROUTE, N_SLICES, tmp_path)
    [kept] = executables(tmp_path)
    assert not list((tmp_path / "xla").glob("jit_call*"))
    cached_program(saved, ROUTE, N_SLICES, tmp_path)
    assert list((tmp_path / "xla").glob("jit_call*"))
    kept.unlink()
    cached_program(saved, ROUTE, N_SLICES, tmp_path)
    assert executables(tmp_path) == [kept]
    assert loaded(saved, ROUTE, tmp_path) is not None


def test_damaged_executable_is_made_again(saved: Bundle, tmp_path: Path) -> None:
    cached_program(saved, ROUTE, N_SLICES, tmp_path)
    [path] = executables(tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (b"", whole[:40], whole[:middle], whole[:middle] + b"?" + whole[middle + 1 :], whole[32:]):
        path.write_bytes(damaged)
        assert loaded(saved, ROUTE, tmp_path) is None
        assert lacks_resident(saved, ROUTE, N_SLICES, tmp_path)
    cached_program(saved, ROUTE, N_SLICES, tmp_path)
    assert not lacks_resident(saved, ROUTE, N_SLICES, tmp_path)
    assert loaded(saved, ROUTE, tmp_path) is not None


def test_whole_file_that_is_no_executable_is_survived(saved: Bundle, filled: Path, tmp_path: Path) -> None:
    [path] = executables(filled)
    resident.keep(tmp_path / "programs" / path.name, b"something else entirely")
    assert not lacks_resident(saved, ROUTE, N_SLICES, tmp_path)
    assert loaded(saved, ROUTE, tmp_path) is None
    assert lacks_resident(saved, ROUTE, N_SLICES, tmp_path)  # so the next one is made anew


def test_an_entry_is_for_its_own_bundle_route_size_and_machine(
    saved: Bundle, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def there(bundle: Bundle = saved, route: Route = ROUTE, n_slices: int = N_SLICES) -> bool:
        return not lacks_resident(bundle, route, n_slices, filled)

    assert there()
    assert not there(bundle=replace(saved, digest="0" * 64))
    assert not there(route=Route())
    assert not there(n_slices=N_SLICES + 1)
    with monkeypatch.context() as patch:
        patch.setattr(resident, "_version", lambda package: "another")
        assert not there()
    with monkeypatch.context() as patch:
        patch.setattr(resident, "_cpu_model", lambda: ["another"])
        assert not there()
    with monkeypatch.context() as patch:
        patch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=true")
        assert not there()
    assert there()


def refuse(*_: Any, **__: Any) -> NoReturn:
    raise AttributeError("no such thing in this release")


@pytest.mark.parametrize("missing", ["_cpu", "_load", "place_weights"])
def test_another_jaxlib_costs_time_and_no_answer(
    missing: str, saved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * FEATURES.sample_rate_hz)
    wanted = Model(saved, ROUTE, tmp_path).predict_waveform(noise, FEATURES.sample_rate_hz)
    assert isinstance(wanted, SongAnswer)
    with monkeypatch.context() as patch:
        patch.setattr("hgenre.compiled.exported.cached_program", refuse)
        assert Model(saved, ROUTE, tmp_path).predict_waveform(noise, FEATURES.sample_rate_hz) == wanted
    monkeypatch.setattr(resident, missing, refuse)
    assert Model(saved, ROUTE, tmp_path).predict_waveform(noise, FEATURES.sample_rate_hz) == wanted


def test_executable_that_cannot_be_written_out_is_not_kept(saved: Bundle, tmp_path: Path) -> None:
    resident.keep_resident(object(), saved, ROUTE, N_SLICES, tmp_path)
    assert executables(tmp_path) == []


def finds(*packages: str) -> Callable[[str], importlib.machinery.ModuleSpec | None]:
    true = importlib.util.find_spec
    return lambda name: importlib.machinery.ModuleSpec(name, None) if name in packages else true(name)


def test_jax_is_asked_where_there_may_be_an_accelerator(
    saved: Bundle, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used() -> bool:
        return loaded(saved, ROUTE, filled) is not None

    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    assert used()
    for plugin in ("jax_plugins", "libtpu"):
        with monkeypatch.context() as patch:
            patch.setattr(resident, "find_spec", finds(plugin))
            assert not used()
            assert not lacks_resident(saved, ROUTE, N_SLICES, filled)
    for platforms in ("cuda", "cuda,cpu", "tpu"):
        monkeypatch.setenv("JAX_PLATFORMS", platforms)
        assert not used()


def test_where_a_plugin_is_installed_the_cpu_may_be_asked_for(
    saved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "find_spec", finds("jax_plugins"))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert lacks_resident(saved, ROUTE, N_SLICES, tmp_path)


def test_bundle_without_a_digest_has_no_executable(tmp_path: Path) -> None:
    cached_program(tiny_bundle(RAGGED), ROUTE, N_SLICES, tmp_path)
    assert executables(tmp_path) == []
