"""Node outputs: every net's logits for every voiced slice, whichever songs are asked about together."""

import numpy as np
import pytest

from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.exported import bundle_program, weights_of
from hgenre.compiled.node_outputs import EVALUATION_SLICES, NodeOutputs, node_outputs
from hgenre.tree.posterior import log_posterior
from hgenre.tree.route import Route
from hgenre.tree.spec import TreeSpec
from tests.small_bundles import silent, sounding, tiny_bundle
from tests.small_trees import CHAINED, OVERLAPPING, PLAIN

HOLED = np.concatenate([sounding(3, seed=5), silent(2), sounding(1, seed=6)])
SONGS = [sounding(4, seed=1), HOLED, silent(3), sounding(7, seed=2)]


def outputs_of(songs: list[np.ndarray], tree: TreeSpec = PLAIN) -> NodeOutputs:
    return node_outputs(tiny_bundle(tree), [[song] for song in songs])


def test_voiced_slices_keep_their_song_and_place() -> None:
    found = outputs_of(SONGS)
    assert found.n_songs == 4
    assert found.song_idx.tolist() == [0] * 4 + [1] * 4 + [3] * 7
    assert found.slice_idx.tolist() == [*range(4), 0, 1, 2, 5, *range(7)]
    assert {name: rows.shape for name, rows in found.logits.items()} == {
        "root": (15, 2),
        "left": (15, 3),
        "right": (15, 3),
    }


def test_a_song_alone_has_the_same_outputs_as_in_company() -> None:
    together = outputs_of(SONGS)
    alone = outputs_of([HOLED])
    for name, rows in alone.logits.items():
        np.testing.assert_allclose(rows, together.logits[name][together.song_idx == 1], rtol=1e-5, atol=1e-5)


def test_blocks_of_a_song_are_one_song() -> None:
    bundle = tiny_bundle(kind="song")
    whole = node_outputs(bundle, [[SONGS[3]]])
    cut = node_outputs(bundle, [[SONGS[3][:2], SONGS[3][2:]]])
    for name in whole.logits:
        np.testing.assert_array_equal(whole.logits[name], cut.logits[name])


def test_more_slices_than_a_chunk_holds() -> None:
    n_slices = EVALUATION_SLICES + 3
    found = outputs_of([sounding(n_slices, seed=3)])
    assert found.slice_idx.tolist() == [*range(n_slices)]
    last = outputs_of([sounding(n_slices, seed=3)[-3:]])
    np.testing.assert_allclose(found.logits["root"][-3:], last.logits["root"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("songs", [[], [silent(2)], [np.zeros((0, 12, 20), np.float32)]])
def test_nothing_to_hear_is_no_slice(songs: list[np.ndarray]) -> None:
    found = outputs_of(songs)
    assert found.n_songs == len(songs)
    assert found.logits["root"].shape == (0, 2)
    assert len(found.song_idx) == len(found.slice_idx) == 0


@pytest.mark.parametrize("tree", [OVERLAPPING, CHAINED])
def test_the_compiled_program_says_the_same(tree: TreeSpec) -> None:
    bundle = tiny_bundle(tree)
    found = outputs_of([SONGS[0]], tree)
    node_logp = {}
    for name, logits in found.logits.items():
        scaled = logits.astype(np.float64) / bundle.temperatures[name]
        node_logp[name] = scaled - np.logaddexp.reduce(scaled, axis=1, keepdims=True)
    program = bundle_program(bundle, Route())
    [(_, result)] = answer_all(bundle, Route(), [(0, [SONGS[0]])], lambda n: program, weights_of(bundle))
    assert isinstance(result, SongResult)
    np.testing.assert_allclose(result.logp, log_posterior(tree, node_logp), atol=1e-4)
