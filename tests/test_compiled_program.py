"""The compiled program against routing one slice at a time in Python.

The nets here read their logits off the slices, a frame a node, so that slices can be sent wherever a test wants them.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
import pytest

from hgenre.compiled.program import TILE_SLICES, ProgramAnswer, Weights, build_program
from hgenre.features import ArraySpec
from hgenre.tree.calibration import temper
from hgenre.tree.posterior import log_posterior
from hgenre.tree.route import Route
from hgenre.tree.spec import TreeSpec
from tests.oracles import first_best, genre_probabilities, routed_probabilities
from tests.small_bundles import ROUTES
from tests.small_trees import TREES

N_SLICES = 2 * TILE_SLICES + 4
N_CHILDREN = 6
FEATURES = ArraySpec(n_mels=N_CHILDREN, frame_rate_hz=1.0, scale="logits")
PUSH = 9.0
"""Added to a logit to make its child the likeliest; not so large that probabilities tie at 1 in single precision."""
TEMPERATURE = {"root": 0.7, "left": 1.3}


def read_off(frame: int, n_children: int) -> Callable[[Any, Any], Any]:
    return lambda variables, x: x[:, :n_children, frame]


@cache
def program(tree_name: str, route: Route, path_temperature: float = 1.0) -> Callable[..., ProgramAnswer]:
    tree = TREES[tree_name]
    apply = {node.name: read_off(k, len(node.children)) for k, node in enumerate(tree.net_nodes)}
    temperature = {name: np.float32(TEMPERATURE.get(name, 1.0)) for name in apply}
    weights = Weights({name: {} for name in apply}, temperature, np.float32(path_temperature))
    run = jax.jit(build_program(tree, apply, route, FEATURES))

    def answer(logits: np.ndarray, song_idx: np.ndarray, voiced: np.ndarray) -> ProgramAnswer:
        plain = np.zeros((len(logits), N_CHILDREN), np.float32), np.ones((len(logits), N_CHILDREN), np.float32)
        return ProgramAnswer(*jax.device_get(run(weights, logits, *plain, song_idx.astype(np.int32), voiced)))

    return answer


def node_p(tree: TreeSpec, logits: np.ndarray) -> list[dict[str, list[float]]]:
    """Each slice's probabilities at every node, in double precision."""
    rows = []
    for values in logits.astype(np.float64):
        row = {}
        for k, node in enumerate(tree.net_nodes):
            scaled = values[: len(node.children), k] / np.float32(TEMPERATURE.get(node.name, 1.0))
            weights = np.exp(scaled - scaled.max())
            row[node.name] = (weights / weights.sum()).tolist()
        rows.append(row)
    return rows


def expected(tree: TreeSpec, route: Route, logits: np.ndarray, song_idx: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Probabilities (slice, genre), slice by slice and song by song."""
    rows = node_p(tree, logits)
    if route.decoder == "soft":
        return np.array([genre_probabilities(tree, row) for row in rows])
    p = np.zeros((len(rows), len(tree.labels)))
    for song in set(song_idx.tolist()):
        mine = [i for i in range(len(rows)) if song_idx[i] == song and voiced[i]]
        if mine:
            p[mine] = routed_probabilities(tree, [rows[i] for i in mine], as_one=route.unit == "song")
    return p


def crowds(tree: TreeSpec, n_slices: int, seed: int) -> dict[str, np.ndarray]:
    """Logits (slice, child, node): ways in which slices can crowd into the nodes."""
    random = np.random.default_rng(seed)
    drawn = random.normal(0, 1.5, (n_slices, N_CHILDREN, len(tree.net_nodes))).astype(np.float32)
    pushed = {}
    for child in range(len(tree.net_nodes[0].children)):
        pushed[f"all to child {child}"] = drawn.copy()
        pushed[f"all to child {child}"][:, child, 0] += PUSH
    in_turn = drawn.copy()
    for i in range(n_slices):
        in_turn[i, i % len(tree.net_nodes[0].children), 0] += PUSH
    lonely = drawn.copy()
    lonely[:-1, 0, :] += PUSH
    lonely[-1, 0, :] -= PUSH
    return {
        "at random": drawn,
        "in turn": in_turn,
        "all but one down one way": lonely,
        "undecided": np.zeros_like(drawn),
        "all alike": np.repeat(drawn[:1], n_slices, axis=0),
        **pushed,
    }


def favourite(p: np.ndarray) -> int:
    """The likeliest genre; equal are those that single precision cannot tell apart."""
    with np.errstate(divide="ignore"):
        return first_best(np.log(p).round(4).tolist())


def check(tree_name: str, route: Route, logits: np.ndarray, song_idx: np.ndarray, voiced: np.ndarray) -> None:
    tree = TREES[tree_name]
    answer = program(tree_name, route)(logits, song_idx, voiced)
    wanted = expected(tree, route, logits, song_idx, voiced)
    counted = voiced if route.decoder == "hard" else np.ones_like(voiced)
    np.testing.assert_allclose(np.exp(answer.logp)[counted], wanted[counted], atol=1e-5)
    assert (answer.logp[~counted] == -np.inf).all()
    for song in range(len(logits)):
        mine = wanted[(song_idx == song) & voiced]
        votes = [sum(favourite(p) == genre for p in mine) for genre in range(len(tree.labels))]
        assert answer.sums.votes[song].tolist() == votes
        assert answer.sums.n_voiced[song] == len(mine)
        np.testing.assert_allclose(answer.sums.sum_p[song], mine.sum(axis=0), atol=1e-4)


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("tree_name", TREES)
def test_program_equals_the_way_of_each_slice_however_they_crowd(tree_name: str, route: Route) -> None:
    for seed, logits in enumerate(crowds(TREES[tree_name], N_SLICES, seed=1).values()):
        random = np.random.default_rng(seed)
        for n_songs in (1, 4, N_SLICES):
            song_idx = random.permutation(np.arange(N_SLICES) % n_songs)
            check(tree_name, route, logits, song_idx, random.random(N_SLICES) < 0.85)
    check(tree_name, route, logits, song_idx, np.zeros(N_SLICES, bool))


@pytest.mark.parametrize(("n_slices", "route"), [(1, Route("hard")), (3, Route("hard", "song"))])
def test_fewer_slices_than_a_tile(n_slices: int, route: Route) -> None:
    for logits in crowds(TREES["ragged"], n_slices, seed=2).values():
        check("ragged", route, logits, np.zeros(n_slices, int), np.ones(n_slices, bool))


@pytest.mark.parametrize("tree_name", TREES)
def test_soft_program_equals_the_posterior_in_numpy(tree_name: str) -> None:
    tree = TREES[tree_name]
    logits = crowds(tree, N_SLICES, seed=3)["at random"]
    rows = node_p(tree, logits)
    node_logp = {node.name: np.log([row[node.name] for row in rows]) for node in tree.net_nodes}
    everyone = np.ones(N_SLICES, bool)
    answer = program(tree_name, Route(), 1.4)(logits, np.zeros(N_SLICES, int), everyone)
    np.testing.assert_allclose(np.exp(answer.logp), np.exp(temper(log_posterior(tree, node_logp), 1.4)), atol=1e-5)
    np.testing.assert_allclose(np.exp(answer.logp).sum(axis=1), 1, atol=1e-5)


def test_a_path_s_temperature_is_for_whole_posteriors() -> None:
    logits = crowds(TREES["plain"], N_SLICES, seed=3)["at random"]
    for route in ROUTES.values():
        sharp, blunt = (
            program("plain", route, temperature)(logits, np.zeros(N_SLICES, int), np.ones(N_SLICES, bool)).logp
            for temperature in (1.0, 3.0)
        )
        assert np.array_equal(sharp, blunt) == (route.decoder == "hard")


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_order_of_the_slices_changes_nothing(route: Route) -> None:
    logits = crowds(TREES["ragged"], N_SLICES, seed=4)["at random"]
    random = np.random.default_rng(4)
    song_idx, voiced = random.integers(0, 3, N_SLICES), random.random(N_SLICES) < 0.8
    order = random.permutation(N_SLICES)
    run = program("ragged", route)
    straight, shuffled = run(logits, song_idx, voiced), run(logits[order], song_idx[order], voiced[order])
    np.testing.assert_allclose(np.exp(shuffled.logp), np.exp(straight.logp[order]), atol=1e-6)
    for ours, theirs in zip(shuffled.sums, straight.sums, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_hard_by_slice_can_differ_from_soft_and_by_song() -> None:
    logits = crowds(TREES["overlapping"], N_SLICES, seed=5)["at random"]
    song_idx, voiced = np.zeros(N_SLICES, int), np.ones(N_SLICES, bool)
    answers = {name: program("overlapping", route)(logits, song_idx, voiced) for name, route in ROUTES.items()}
    p = {name: np.exp(answer.logp) for name, answer in answers.items()}
    assert (p["hard by slice"] <= p["soft"] + 1e-5).all()
    entered = {name: {tuple(row > 0) for row in p[name]} for name in ROUTES}
    assert len(entered["hard by slice"]) > 1
    assert len(entered["hard by song"]) == 1
