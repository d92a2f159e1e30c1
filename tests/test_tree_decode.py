"""Decoders of cached node outputs against paths written out one by one, and against the compiled program."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hgenre.labels import Labels
from hgenre.tree.decode import decode, home_children
from hgenre.tree.route import Route
from hgenre.tree.spec import ROOT, Node, TreeSpec
from hgenre.tree.vote import sum_sorted_slices
from tests.oracles import (
    beam_probabilities,
    genre_probabilities,
    oracle_probabilities,
    routed_probabilities,
)
from tests.small_bundles import ROUTES
from tests.small_trees import LABELS, PLAIN, TREES, genre_trees, random_node_logp
from tests.test_compiled_program import crowds, node_p, program

SEEDS = st.integers(0, 2**32 - 1)
ALL_PATHS = 10_000
WAYS: dict[str, dict[str, Any]] = {
    "soft": {"decoder": "soft"},
    "hard by slice": {"decoder": "hard", "unit": "slice"},
    "hard by song": {"decoder": "hard", "unit": "song"},
    "beam by slice": {"decoder": "beam", "unit": "slice", "beam_width": 2},
    "beam by song": {"decoder": "beam", "unit": "song", "beam_width": 2},
    "oracle": {"decoder": "oracle"},
}


class Songs:
    """A few songs of 0 to 4 slices with random node outputs and random true genres."""

    def __init__(self, tree: TreeSpec, seed: int, n_songs: int = 4) -> None:
        random = np.random.default_rng(seed)
        n_slices = random.integers(0, 5, n_songs)
        n_slices[-2] = 3
        self.n_songs = n_songs
        self.song_idx = np.repeat(np.arange(n_songs), n_slices)
        self.node_logp = random_node_logp(tree, (len(self.song_idx),), seed, spread=2.0)
        self.true_idx = random.integers(0, len(tree.labels), n_songs)
        self.tree = tree

    def decode(self, way: str) -> np.ndarray:
        return decode(self.tree, self.node_logp, self.song_idx, self.n_songs, true_idx=self.true_idx, **WAYS[way])

    def rows(self, song: int) -> list[dict[str, list[float]]]:
        """Node -> probabilities, of each slice of a song."""
        return [
            {name: np.exp(logp[i]).tolist() for name, logp in self.node_logp.items()}
            for i in np.flatnonzero(self.song_idx == song)
        ]


def wanted(songs: Songs, way: str) -> list[list[float]]:
    """Probabilities (slice, genre), song by song."""
    tree, p = songs.tree, []
    for song, truth in enumerate(songs.true_idx):
        rows = songs.rows(song)
        match way:
            case "soft":
                p += [genre_probabilities(tree, row) for row in rows]
            case "hard by slice" | "hard by song":
                p += routed_probabilities(tree, rows, as_one=way == "hard by song")
            case "beam by slice" | "beam by song":
                p += beam_probabilities(tree, rows, 2, as_one=way == "beam by song")
            case "oracle":
                p += [oracle_probabilities(tree, row, tree.labels.genres[truth]) for row in rows]
    return p


@pytest.mark.parametrize("way", WAYS)
@given(tree=genre_trees(), seed=SEEDS)
@settings(max_examples=30)
def test_decoders_agree_with_paths_written_out(way: str, tree: TreeSpec, seed: int) -> None:
    songs = Songs(tree, seed)
    p = np.exp(songs.decode(way))
    assert p == pytest.approx(np.array(wanted(songs, way)), rel=1e-9, abs=0)
    if way == "soft":
        assert p.sum(axis=1) == pytest.approx(np.ones(len(p)), abs=1e-6)
    assert (p <= np.exp(songs.decode("soft")) * (1 + 1e-9)).all()


@given(genre_trees(), SEEDS)
@settings(max_examples=40)
def test_a_beam_as_wide_as_the_tree_is_soft_and_one_path_by_slice_is_hard(tree: TreeSpec, seed: int) -> None:
    songs = Songs(tree, seed)

    def beam(unit: Any, width: int) -> np.ndarray:
        return decode(tree, songs.node_logp, songs.song_idx, songs.n_songs, decoder="beam", unit=unit, beam_width=width)

    for unit in ("slice", "song"):
        np.testing.assert_allclose(beam(unit, ALL_PATHS), songs.decode("soft"), rtol=1e-12)
    np.testing.assert_allclose(beam("slice", 1), songs.decode("hard by slice"), rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@given(tree=genre_trees(), seed=SEEDS)
@settings(max_examples=15)
def test_a_song_is_answered_alone_as_in_company(way: str, tree: TreeSpec, seed: int) -> None:
    songs = Songs(tree, seed)
    together = songs.decode(way)
    sums = sum_sorted_slices(together, songs.song_idx, songs.n_songs)
    for song in set(songs.song_idx.tolist()):
        mine = songs.song_idx == song
        node_logp = {name: logp[mine] for name, logp in songs.node_logp.items()}
        first = np.zeros(mine.sum(), int)
        alone = decode(tree, node_logp, first, 1, true_idx=songs.true_idx[[song]], **WAYS[way])
        assert np.array_equal(alone, together[mine])
        for one, among in zip(sum_sorted_slices(alone, first, 1), sums, strict=True):
            assert np.array_equal(one[0], among[song])


@pytest.mark.parametrize("way", WAYS)
@given(tree=genre_trees(), seed=SEEDS)
@settings(max_examples=15)
def test_the_order_of_children_changes_nothing(way: str, tree: TreeSpec, seed: int) -> None:
    """Only the home of a genre in several groups is a matter of order."""
    assume(way != "oracle" or tree.is_disjoint)
    songs = Songs(tree, seed)
    random = np.random.default_rng(seed)
    node_logp = dict(songs.node_logp)

    def shuffled(node: Node) -> Node:
        order = random.permutation(len(node.children))
        if node.name in node_logp:
            node_logp[node.name] = node_logp[node.name][:, order]
        children = [node.children[i] for i in order]
        return Node(node.name, tuple(c if isinstance(c, str) else shuffled(c) for c in children))

    other = TreeSpec(tree.labels, shuffled(tree.root))
    found = decode(other, node_logp, songs.song_idx, songs.n_songs, true_idx=songs.true_idx, **WAYS[way])
    np.testing.assert_allclose(found, songs.decode(way), rtol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@given(tree=genre_trees(), seed=SEEDS)
@settings(max_examples=15)
def test_the_order_of_labels_is_the_order_of_answers(way: str, tree: TreeSpec, seed: int) -> None:
    songs = Songs(tree, seed)
    order = np.random.default_rng(seed).permutation(len(tree.labels))
    renamed = replace(tree, labels=Labels(tuple(tree.labels.genres[i] for i in order)))
    truth = np.argsort(order)[songs.true_idx]
    found = decode(renamed, songs.node_logp, songs.song_idx, songs.n_songs, true_idx=truth, **WAYS[way])
    assert np.array_equal(found, songs.decode(way)[:, order])


@pytest.mark.parametrize("way", WAYS)
def test_one_group_of_everything_is_the_flat_net(way: str) -> None:
    wrapped = TreeSpec(LABELS, Node(ROOT, (Node("all", tuple(LABELS)),)))
    songs = Songs(wrapped, seed=2)
    assert np.array_equal(songs.decode(way), songs.node_logp["all"])


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("tree_name", TREES)
def test_decoders_equal_the_compiled_program(tree_name: str, route: Route) -> None:
    tree, n_slices, n_songs = TREES[tree_name], 20, 4
    for logits in crowds(tree, n_slices, seed=6).values():
        rows = node_p(tree, logits)
        node_logp = {node.name: np.log([row[node.name] for row in rows]) for node in tree.net_nodes}
        song_idx = np.sort(np.arange(n_slices) % n_songs)
        answer = program(tree_name, route)(logits, song_idx, np.ones(n_slices, bool))
        logp = decode(tree, node_logp, song_idx, n_songs, decoder=route.decoder, unit=route.unit)
        np.testing.assert_allclose(np.exp(logp), np.exp(answer.logp), atol=1e-5)
        sums = sum_sorted_slices(logp, song_idx, n_songs)
        np.testing.assert_allclose(sums.sum_p, answer.sums.sum_p[:n_songs], atol=1e-4)


def test_home_is_the_first_group_that_lists_a_genre() -> None:
    home = {name: found.tolist() for name, found in home_children(TREES["overlapping"]).items()}
    assert home == {
        ROOT: [0, 0, 0, 0, 1, 2],
        "one": [0, 1, 2, 3, -1, -1],
        "two": [-1, -1, -1, -1, 0, -1],
        "inner": [-1, -1, -1, -1, 2, -1],
        "three": [-1, -1, -1, -1, -1, 1],
    }


def test_what_a_decoder_lacks_is_named() -> None:
    songs = Songs(PLAIN, seed=1)
    arguments = songs.tree, songs.node_logp, songs.song_idx, songs.n_songs
    with pytest.raises(ValueError, match="'oracle' needs true_idx"):
        decode(*arguments, decoder="oracle")
    for width in (None, 0):
        with pytest.raises(ValueError, match=f"needs a beam_width of at least 1, found {width}"):
            decode(*arguments, decoder="beam", beam_width=width)
    for mixed in (songs.song_idx[::-1], songs.song_idx + 1, songs.song_idx - 1):
        with pytest.raises(ValueError, match=r"song_idx must not fall and lie in 0\.\.3; sort the slices"):
            decode(songs.tree, songs.node_logp, mixed, songs.n_songs)
