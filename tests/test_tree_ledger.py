"""The routing ledger against counting item by item, and its identities with the decoders' accuracies."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hgenre.tree.decode import decode, home_children
from hgenre.tree.ledger import Ledger, Shares, item_choices, ledger_of, random_router
from hgenre.tree.posterior import routing_nodes
from hgenre.tree.spec import TreeSpec
from hgenre.tree.vote import Aggregation, answer_songs, sum_sorted_slices
from tests.oracles import ledger_entry
from tests.small_trees import OVERLAPPING, PLAIN, RAGGED, genre_trees, random_node_logp
from tests.test_vote import AGGREGATIONS

SEEDS = st.integers(0, 2**32 - 1)
N_ITEMS = 12


def random_choices(tree: TreeSpec, seed: int, n_items: int = N_ITEMS) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Choices at random, half of them right, and true genres."""
    random = np.random.default_rng(seed)
    true_idx = random.integers(0, len(tree.labels), n_items)
    home = home_children(tree)
    choices = {}
    for node in tree.net_nodes:
        drawn = random.integers(0, len(node.children), n_items)
        way_home = home[node.name][true_idx]
        choices[node.name] = np.where((random.random(n_items) < 0.5) & (way_home >= 0), way_home, drawn)
    return choices, true_idx


def n_right(ledger: Ledger) -> int:
    return ledger.cells.right + ledger.cells.rescued


@given(genre_trees(), SEEDS)
@settings(max_examples=80)
def test_ledger_agrees_with_counting_item_by_item(tree: TreeSpec, seed: int) -> None:
    choices, true_idx = random_choices(tree, seed)
    found = ledger_of(tree, choices, true_idx)
    cells: Counter[tuple[str, str]] = Counter()
    rescued: Counter[str] = Counter()
    passing: Counter[str] = Counter()
    blame = dict.fromkeys(choices, 0.0)
    for item, genre in enumerate(tree.labels.genres[i] for i in true_idx):
        cell, right, shares = ledger_entry(tree, {name: int(child[item]) for name, child in choices.items()}, genre)
        cells[genre, cell] += 1
        rescued[genre] += right and cell != "A"
        passing.update(shares.keys())
        for name, share in shares.items():
            blame[name] += share
    for genre, row in zip(tree.labels, found.per_genre, strict=True):
        counted = [cells[genre, cell] for cell in "ALRB"]
        assert [row.right, row.leaf_error, row.root_error, row.both, row.rescued] == [*counted, rescued[genre]]
    assert found.cells.n == N_ITEMS
    assert found.cells.rescued == rescued.total()
    for node in found.per_node:
        assert node.n_passing == passing[node.node]
        assert node.blame == pytest.approx(blame[node.node], abs=1e-12)


@given(genre_trees(), SEEDS)
@settings(max_examples=80)
def test_identities(tree: TreeSpec, seed: int) -> None:
    found = ledger_of(tree, *random_choices(tree, seed))
    cells = found.cells
    assert sum(cells.shares) == pytest.approx(1, abs=1e-15)
    assert cells.oracle_accuracy == pytest.approx(cells.shares.right + cells.shares.root_error, abs=1e-15)
    given_right = cells.accuracy_given_right_routing
    assert given_right is None or cells.routing_accuracy * given_right == pytest.approx(cells.shares.right, abs=1e-15)
    independent = cells.routing_accuracy * cells.oracle_accuracy
    assert cells.covariance + independent == pytest.approx(cells.shares.right, abs=1e-15)
    assert sum(node.blame for node in found.per_node) == pytest.approx(N_ITEMS - n_right(found), abs=1e-12)
    for part in ("right", "leaf_error", "root_error", "both", "rescued", "n"):
        assert getattr(cells, part) == sum(getattr(genre, part) for genre in found.per_genre)
    assert found.per_node[0].n_passing == N_ITEMS
    assert found.per_node[0].n_wrong == cells.root_error + cells.both
    if tree.is_disjoint:
        assert cells.rescued == 0


@given(SEEDS)
@settings(max_examples=30)
def test_with_two_levels_a_double_error_is_halved(seed: int) -> None:
    found = ledger_of(PLAIN, *random_choices(PLAIN, seed))
    cells, (root, *leaves) = found.cells, found.per_node
    assert root.blame == pytest.approx(cells.root_error + cells.both / 2)
    assert sum(leaf.blame for leaf in leaves) == pytest.approx(cells.leaf_error + cells.both / 2)


@given(genre_trees(), SEEDS)
@settings(max_examples=30)
def test_a_perfect_router_has_no_routing_errors(tree: TreeSpec, seed: int) -> None:
    choices, true_idx = random_choices(tree, seed)
    router = tree.net_nodes[0].name
    before = ledger_of(tree, choices, true_idx).cells
    mended = ledger_of(tree, {**choices, router: home_children(tree)[router][true_idx]}, true_idx).cells
    assert (mended.root_error, mended.both) == (0, 0)
    assert mended.shares.right == before.oracle_accuracy == mended.oracle_accuracy
    assert mended.routing_accuracy == 1


@given(genre_trees(), SEEDS)
@settings(max_examples=30)
def test_a_random_router_is_the_mean_over_all_routers(tree: TreeSpec, seed: int) -> None:
    """The table is additive over items, so its mean over random routers is that over routers that never change."""
    choices, true_idx = random_choices(tree, seed)
    router = tree.net_nodes[0]
    child_p = np.random.default_rng(seed).dirichlet(np.ones(len(router.children)))
    tables = [
        ledger_of(tree, {**choices, router.name: np.full(N_ITEMS, child)}, true_idx).cells.shares
        for child in range(len(router.children))
    ]
    expected = random_router(tree, ledger_of(tree, choices, true_idx).per_genre, child_p)
    np.testing.assert_allclose(expected, child_p @ np.array(tables), atol=1e-15)


class Decoded:
    """Songs of random node outputs and what decoders make of them."""

    def __init__(self, tree: TreeSpec, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.tree, self.n_songs = tree, 8
        self.song_idx = np.repeat(np.arange(self.n_songs), random.integers(1, 5, self.n_songs))
        self.true_idx = random.integers(0, len(tree.labels), self.n_songs)
        self.songs = self.song_idx, self.n_songs
        self.node_logp = random_node_logp(tree, (len(self.song_idx),), seed, spread=1.5)

    def ledger(self, unit: Any, aggregation: Aggregation = "majority") -> Ledger:
        choices = item_choices(self.tree, self.node_logp, *self.songs, unit, aggregation)
        return ledger_of(self.tree, choices, self.true_idx[self.song_idx] if unit == "slice" else self.true_idx)

    def n_right(self, decoder: Any, unit: Any, aggregation: Aggregation | None) -> int:
        """Slices (``aggregation`` None) or songs that a decoder answers right."""
        logp = decode(self.tree, self.node_logp, *self.songs, decoder=decoder, unit=unit, true_idx=self.true_idx)
        if aggregation is None:
            return int((logp.argmax(axis=1) == self.true_idx[self.song_idx]).sum())
        answers = answer_songs(sum_sorted_slices(logp, *self.songs), aggregation)
        return int((answers.genre_idx == self.true_idx).sum())


@given(genre_trees(), SEEDS)
@settings(max_examples=60)
def test_right_and_rescued_items_are_those_that_hard_routing_has_right(tree: TreeSpec, seed: int) -> None:
    songs = Decoded(tree, seed)
    assert n_right(songs.ledger("slice")) == songs.n_right("hard", "slice", None)
    for aggregation in AGGREGATIONS:
        assert n_right(songs.ledger("song", aggregation)) == songs.n_right("hard", "song", aggregation)


@given(genre_trees(max_depth=1), SEEDS)
@settings(max_examples=60)
def test_with_two_levels_the_oracle_has_right_what_is_resolved(tree: TreeSpec, seed: int) -> None:
    assume(routing_nodes(tree))
    songs = Decoded(tree, seed)
    by_slice = songs.ledger("slice").cells
    assert by_slice.right + by_slice.root_error == songs.n_right("oracle", "slice", None)
    for aggregation in AGGREGATIONS:
        by_song = songs.ledger("song", aggregation).cells
        assert by_song.right + by_song.root_error == songs.n_right("oracle", "song", aggregation)


def test_ties_of_a_song_at_a_specialist_are_broken_as_the_answer_breaks_them() -> None:
    """One slice a genre: the slice that is surer of the group weighs more, whatever the specialist says alone."""
    p = {
        "root": [[0.95, 0.05], [0.51, 0.49]],
        "left": [[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]],
        "right": [[1 / 3] * 3] * 2,
    }
    node_logp = {name: np.log(rows) for name, rows in p.items()}
    songs = np.zeros(2, int), 1
    choices = item_choices(PLAIN, node_logp, *songs, "song")
    answers = answer_songs(sum_sorted_slices(decode(PLAIN, node_logp, *songs, decoder="hard", unit="song"), *songs))
    assert answers.genre_idx.tolist() == choices["left"].tolist() == [0]
    assert choices["right"].tolist() == [0]


def test_a_rescue_is_an_answer_from_another_group() -> None:
    """``a`` is at home in ``one``; the items go to ``two`` and ``three``, which list it too."""
    choices = {name: np.array(child) for name, child in {"one": [0, 1], "two": [1, 1], "inner": [0, 0]}.items()}
    found = ledger_of(OVERLAPPING, {**choices, "root": np.array([1, 2]), "three": np.array([2, 2])}, np.array([0, 0]))
    assert (found.cells.root_error, found.cells.both, found.cells.rescued) == (1, 1, 2)
    assert found.cells.hard_accuracy == 1
    assert [node.blame for node in found.per_node] == [0] * 5


def test_a_song_without_slices_is_right_nowhere() -> None:
    node_logp = random_node_logp(RAGGED, (2,), seed=0)
    choices = item_choices(RAGGED, node_logp, np.array([0, 2]), 3, "song")
    assert [child[1] for child in choices.values()] == [-1] * len(choices)
    found = ledger_of(RAGGED, {name: child[[1]] for name, child in choices.items()}, np.array([3]))
    assert found.cells.shares == Shares(0, 0, 0, 1)
    assert found.cells.accuracy_given_right_routing is None


def test_json_holds_counts_and_what_follows_from_them() -> None:
    choices, true_idx = random_choices(PLAIN, seed=3)
    cells = ledger_of(PLAIN, choices, true_idx).cells
    record = cells.to_json()
    assert record["n"] == N_ITEMS == sum(record[cell] for cell in "ALRB")
    assert record["oracle_router_accuracy"] == pytest.approx((record["A"] + record["R"]) / N_ITEMS)
    assert record["hard_accuracy"] == pytest.approx(record["A"] / N_ITEMS)
