"""The ledger on real music, held against the compiled program that routes for itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hgenre.bundle import load_bundle
from hgenre.data.manifest import read_manifest
from hgenre.evaluate import evaluate
from hgenre.shipped import find_bundle
from hgenre.tree.route import Route
from hgenre.why import why

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def told(gtzan: Path, cache_dir: Path) -> tuple[Any, Any]:
    """The account of the validation songs, which the shipped tree has seen, and its accuracy under every route."""
    bundle = load_bundle(find_bundle("gtzan10-tree"))
    manifest = read_manifest(gtzan / "manifest.csv")
    songs = replace(manifest, songs=tuple(song for song in manifest.songs if song.split == "valid"))
    routes = (Route(), Route("hard"), Route("hard", "song"))
    results = {
        (route.decoder, route.unit): evaluate(bundle, songs, cache_dir, route=route, allow_seen=True)
        for route in routes
    }
    return why(bundle, songs, cache_dir, allow_seen=True)["ledger"], results


def test_every_song_stands_in_one_cell_and_perfect_routing_is_the_first_column(told: Any) -> None:
    ledger, _ = told
    for cells in (ledger["songs"], ledger["slices"]):
        assert cells["A"] + cells["L"] + cells["R"] + cells["B"] == cells["n"] > 100
        assert cells["oracle_router_accuracy"] == (cells["A"] + cells["R"]) / cells["n"]
        assert sum(node["blame"] for node in cells["nodes"]) == pytest.approx(cells["n"] - cells["A"], abs=1e-9)


def test_the_program_that_routes_songs_is_right_where_the_ledger_says(told: Any) -> None:
    ledger, results = told
    songs, by_song = ledger["songs"], results["hard", "song"]
    assert songs["rescued"] == 0
    assert by_song["song"]["n_right"] == songs["A"]
    assert results["hard", "slice"]["slice"]["n_right"] == ledger["slices"]["A"]
    by_slice = results["hard", "slice"]["song"]["accuracy"]
    assert ledger["residue"] == pytest.approx(by_slice - songs["A"] / songs["n"], abs=1e-12)


def test_every_way_of_answering_is_the_compiled_ones(told: Any) -> None:
    ledger, results = told
    for row in ledger["answers"]:
        if row["aggregation"] == "majority" and (row["decoder"], row["unit"]) in results:
            assert row["n_right"] == results[row["decoder"], row["unit"]]["song"]["n_right"]
