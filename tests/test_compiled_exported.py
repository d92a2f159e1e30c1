"""Exported programs: every platform, and a cache that can be damaged but not wrong."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
import pytest

import hgenre.compiled.exported as exported
from hgenre.bundle import Bundle, save_bundle
from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.exported import bundle_program, cached_program, export_program, weights_of
from hgenre.compiled.kept import read_kept
from hgenre.compiled.node_outputs import node_outputs
from hgenre.errors import BundleError
from hgenre.nets.spec import NetSpec
from hgenre.tree.calibration import Calibration, apply_calibration, temper
from hgenre.tree.posterior import log_posterior
from hgenre.tree.route import Route
from tests.small_bundles import ROUTES, silent, sounding, tiny_bundle
from tests.small_trees import PLAIN, RAGGED

pytestmark = pytest.mark.usefixtures("keep_the_users_settings")

N_SLICES = 5
ROUTE = Route("hard")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return save_bundle(tiny_bundle(PLAIN), tmp_path_factory.mktemp("bundles") / "tiny")


def arguments(bundle: Bundle) -> tuple[Any, ...]:
    rows = (N_SLICES, 1)
    return (
        weights_of(bundle),
        sounding(N_SLICES, seed=1),
        np.tile(bundle.normalisation.mean_db, rows),
        np.tile(bundle.normalisation.std_db, rows),
        np.array([0, 0, 1, 1, 1], np.int32),
        np.array([True, True, True, False, True]),
    )


def assert_same(ours: Any, theirs: Any) -> None:
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(np.exp(a), np.exp(b), rtol=1e-5, atol=1e-6)


def kept_files(cache_dir: Path) -> list[Path]:
    return sorted((cache_dir / "programs").glob("*.jax_export"))


def no_export(*_: object) -> NoReturn:
    raise AssertionError("the program was exported again")


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_program_lowers_for_every_platform_without_its_devices(route: Route) -> None:
    lowered = export_program(tiny_bundle(RAGGED), route, N_SLICES, ("cpu", "cuda", "tpu"))
    assert lowered.platforms == ("cpu", "cuda", "tpu")
    assert [aval.shape for aval in lowered.out_avals] == [(5, 6), (5, 6), (5, 6), (5,), (5, 6)]
    again = jax.export.deserialize(bytearray(lowered.serialize()))
    assert again.platforms == lowered.platforms


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_exported_program_runs_where_its_platform_is(platform: str, saved: Bundle) -> None:
    try:
        device = jax.devices(platform)[0]
    except RuntimeError as error:
        pytest.skip(f"no {platform} device here: {error}")
    lowered = export_program(saved, ROUTE, N_SLICES, (platform,))
    weights, *rows = jax.device_put(arguments(saved), device)
    assert_same(jax.jit(lowered.call)(tuple(weights), *rows), direct(saved))


@cache
def direct(bundle: Bundle) -> Any:
    return jax.device_get(jax.jit(bundle_program(bundle, ROUTE))(*arguments(bundle)))


def test_cached_program_equals_the_direct_one(saved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = cached_program(saved, ROUTE, N_SLICES, tmp_path)(*arguments(saved))
    assert_same(fresh, direct(saved))
    [kept] = kept_files(tmp_path)
    monkeypatch.setattr(exported, "export_program", no_export)
    again = cached_program(saved, ROUTE, N_SLICES, tmp_path)(*arguments(saved))
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(fresh), strict=True):
        assert np.array_equal(a, b)
    assert kept_files(tmp_path) == [kept]


def test_every_bundle_route_and_size_has_a_program_of_its_own(saved: Bundle, tmp_path: Path) -> None:
    other = replace(saved, digest="0" * 64)
    for bundle, route, size in (
        (saved, Route(), 2),
        (saved, Route(), 3),
        (saved, Route("hard"), 2),
        (saved, Route("hard", "song"), 2),
        (other, Route(), 2),
    ):
        cached_program(bundle, route, size, tmp_path)
    assert len(kept_files(tmp_path)) == 5


def test_damaged_files_are_made_again(saved: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached_program(saved, ROUTE, N_SLICES, tmp_path)
    [path] = kept_files(tmp_path)
    whole = path.read_bytes()
    middle = len(whole) // 2
    wanted = direct(saved)
    for damaged in (
        b"",
        b"not a program",
        whole[:20],
        whole[:middle],
        whole[:-1],
        whole[32:],
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
    ):
        path.write_bytes(damaged)
        program = cached_program(saved, ROUTE, N_SLICES, tmp_path)
        assert read_kept(path) is not None
    assert_same(program(*arguments(saved)), wanted)
    with monkeypatch.context() as patch:
        patch.setattr(exported, "export_program", no_export)
        cached_program(saved, ROUTE, N_SLICES, tmp_path)
    assert kept_files(tmp_path) == [path]


def test_cache_that_cannot_be_written_costs_no_answer(saved: Bundle, tmp_path: Path) -> None:
    (tmp_path / "programs").write_text("in the way")
    program = cached_program(saved, ROUTE, N_SLICES, tmp_path)
    assert_same(program(*arguments(saved)), direct(saved))


def test_bundle_that_was_never_saved_leaves_nothing_behind(tmp_path: Path) -> None:
    cached_program(tiny_bundle(PLAIN), ROUTE, N_SLICES, tmp_path)
    assert kept_files(tmp_path) == []


@pytest.mark.parametrize("spec", [NetSpec(widths=(4, 9)), NetSpec(widths=(4, 8, 8)), NetSpec("deep_cnn", (4,), (8, 8))])
def test_weights_of_another_net_are_refused(spec: NetSpec) -> None:
    bundle = tiny_bundle(PLAIN)
    with pytest.raises(BundleError, match="the weights of node 'left' do not fit its net, NetSpec"):
        bundle_program(replace(bundle, nets={**bundle.nets, "left": spec}), Route())


def test_a_calibrated_bundle_answers_as_its_calibration_was_fitted(tmp_path: Path) -> None:
    bundle = replace(tiny_bundle(RAGGED), calibration=Calibration(path_temperature=1.7, song_temperature=0.6))
    songs = [[sounding(3, seed=1)], [sounding(4, seed=2), silent(1)], [silent(2)]]
    raw = node_outputs(bundle, songs)
    node_logp = {name: temper(logits, bundle.temperatures[name]) for name, logits in raw.logits.items()}
    wanted = apply_calibration(log_posterior(RAGGED, node_logp), raw.song_idx, 3, bundle.calibration or Calibration())
    found = answer_all(
        bundle,
        Route(),
        enumerate(songs),
        lambda n_slices: cached_program(bundle, Route(), n_slices, tmp_path),
        weights_of(bundle),
    )
    for song, result in found:
        assert isinstance(result, SongResult)
        assert result.genre_idx == wanted.genre_idx[song]
        np.testing.assert_allclose(result.probabilities, wanted.probabilities[song], atol=1e-4)
