"""The account of a tree over many songs: its parts agree with each other and with its sentence."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.account import account
from hgenre.metrics.intervals import compare_right
from hgenre.tree.spec import TreeSpec
from tests.oracles import first_best, genre_probabilities, routed_probabilities, song_answer
from tests.small_bundles import ROUTES
from tests.small_trees import FLAT, PLAIN, genre_trees, random_node_logp
from tests.test_tree_decode import Songs
from tests.test_vote import AGGREGATIONS


def row_of(found: dict[str, Any], decoder: str, unit: str, aggregation: str) -> dict[str, Any]:
    [row] = [
        row
        for row in found["answers"]
        if (row["decoder"], row["unit"], row["aggregation"]) == (decoder, unit, aggregation)
    ]
    return row


@given(genre_trees(), st.integers(0, 2**32 - 1), st.sampled_from(AGGREGATIONS), st.sampled_from(sorted(ROUTES)))
@settings(max_examples=40)
def test_parts_of_the_account_agree(tree: TreeSpec, seed: int, aggregation: Any, route_name: str) -> None:
    songs = Songs(tree, seed, n_songs=6)
    random = np.random.default_rng(seed)
    flat = random.integers(0, len(tree.labels), songs.n_songs)
    clusters = np.array(["x", "y", "z"])[random.integers(0, 3, songs.n_songs)]
    route = replace(ROUTES[route_name], aggregation=aggregation)
    found = account(tree, songs.node_logp, songs.song_idx, songs.true_idx, list(clusters), flat, route=route)
    heard = [song for song in range(songs.n_songs) if (songs.song_idx == song).any()]
    n = len(heard)
    assert (found["n_songs"], found["n_slices"]) == (n, len(songs.song_idx))
    assert json.loads(json.dumps(found)) == found

    def right(decoder: str, unit: str, vote: str) -> np.ndarray:
        outcome = []
        for song in heard:
            rows = songs.rows(song)
            if decoder == "soft":
                p = [genre_probabilities(tree, row) for row in rows]
            else:
                p = routed_probabilities(tree, rows, as_one=unit == "song")
            outcome.append(song_answer(p, vote) == songs.true_idx[song])
        return np.array(outcome)

    for decoder, unit in (("soft", "slice"), ("hard", "slice"), ("hard", "song")):
        for vote in AGGREGATIONS:
            assert row_of(found, decoder, unit, vote)["n_right"] == right(decoder, unit, vote).sum()
    by_song, by_slice = found["songs"], found["slices"]
    assert by_song["hard_accuracy"] == row_of(found, "hard", "song", aggregation)["accuracy"]
    assert by_slice["n"] == len(songs.song_idx)
    slices_right = [
        first_best(p) == songs.true_idx[song]
        for song in heard
        for p in routed_probabilities(tree, songs.rows(song), as_one=False)
    ]
    assert by_slice["hard_accuracy"] == sum(slices_right) / len(slices_right)
    assert found["residue"] == row_of(found, "hard", "slice", aggregation)["accuracy"] - by_song["A"] / n
    for ledger in (by_song, by_slice):
        assert sum(ledger[cell] for cell in "ALRB") == ledger["n"]
        for key in ("n", *"ALRB", "rescued"):
            assert sum(row[key] for row in ledger["genres"]) == ledger[key]
        lost = ledger["n"] - ledger["A"] - ledger["rescued"]
        assert sum(row["blame"] for row in ledger["nodes"]) == pytest.approx(lost)
    assert sum(found["random_router"].values()) == pytest.approx(1)
    unit = route.unit if route.decoder == "hard" else "slice"
    assert found["route"] == row_of(found, route.decoder, unit, aggregation)
    ours, theirs = right(route.decoder, unit, aggregation), (flat == songs.true_idx)[heard]
    versus = compare_right(ours, theirs, clusters[heard])
    assert found["flat"]["interval_of_difference"] == versus["interval"]
    for key in ("difference", "mcnemar_p", "tree_only", "flat_only"):
        assert found["flat"][key] == versus[key]
    assert found["flat"]["n_right"] == theirs.sum()


def test_silent_songs_change_nothing_but_a_truth_without_any_song_is_refused() -> None:
    songs = Songs(PLAIN, seed=5, n_songs=6)
    flat, clusters = np.arange(6) % 6, list("uvwxyz")
    heard = np.unique(songs.song_idx)
    assert len(heard) < 6
    found = account(PLAIN, songs.node_logp, songs.song_idx, songs.true_idx, clusters, flat)
    without = account(
        PLAIN,
        songs.node_logp,
        np.searchsorted(heard, songs.song_idx),
        songs.true_idx[heard],
        [clusters[i] for i in heard],
        flat[heard],
    )
    assert found == without
    with pytest.raises(ValueError, match="at least 1 song with a slice, found none"):
        account(PLAIN, random_node_logp(PLAIN, (0,), 0), np.zeros(0, int), np.zeros(2, int), ["a", "b"])


def planted(tree: TreeSpec, child_of_node: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Songs of one slice that a node sends to the given children."""
    children = {node.name: len(node.children) for node in tree.net_nodes}
    sure = {name: np.eye(children[name])[child] for name, child in child_of_node.items()}
    return {name: np.log(0.9 * p + 0.1 / p.shape[1]) for name, p in sure.items()}


N = 40
GENRES = np.arange(N) % 6
RIGHT = {"root": GENRES // 3, "left": GENRES % 3, "right": GENRES % 3}
MOSTLY = {**RIGHT, "root": np.where(np.arange(N) < 4, 1 - GENRES // 3, GENRES // 3)}
"""Of 40 songs the root loses 4 that the right specialist knows."""


def verdict(tree: TreeSpec, children: dict[str, np.ndarray], flat: np.ndarray | None, **options: Any) -> str:
    clusters = [str(i) for i in range(N)]
    found = account(tree, planted(tree, children), np.arange(N), GENRES, clusters, flat, **options)
    return str(found["verdict"])


def test_verdict_names_both_costs_and_a_win_beyond_chance() -> None:
    assert verdict(PLAIN, MOSTLY, (GENRES + 1) % 6) == (
        "When every song goes one way down the tree, choosing the wrong group costs 10.0 points of accuracy and naming "
        "the wrong genre inside a group costs 0.0 (a song lost at several nodes is shared by them); as it answers, the "
        "tree has 90.0 % of 40 songs right, 90.0 points more than the flat net, more than chance explains (95 % "
        "interval of the difference +80.0 to +97.5)."
    )


def test_verdict_of_a_loss_within_chance_and_of_a_draw() -> None:
    assert "right, 10.0 points fewer than the flat net, which is within what chance explains (95 %" in verdict(
        PLAIN, MOSTLY, GENRES
    )
    wrong_half = {**RIGHT, "left": (GENRES + 1) % 3}
    share = np.isin(GENRES, (0, 1, 2)).mean()
    assert (
        f"costs 0.0 points of accuracy and naming the wrong genre inside a group costs {100 * share:.1f} "
        in verdict(PLAIN, wrong_half, GENRES)
    )
    assert "right, as many as the flat net, which is within" in verdict(PLAIN, RIGHT, GENRES)


def test_verdict_without_a_flat_net_and_without_groups() -> None:
    assert verdict(PLAIN, RIGHT, None).endswith(
        "the tree has 100.0 % of 40 songs right, and there is no flat net to compare it with."
    )
    assert verdict(FLAT, {"root": GENRES}, GENRES).startswith(
        "There are no groups to choose from, so nothing is lost by routing; as it answers"
    )
