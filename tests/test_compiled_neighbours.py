"""A song's answer is the same alone, in any batch, in any order, beside silence or full scale: stage by stage."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hgenre.compiled.answering as answering
from hgenre.bundle import Bundle
from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.exported import bundle_program, weights_of
from hgenre.compiled.program import Program, ProgramAnswer, Weights, build_program
from hgenre.errors import TooShortAudioError, UnreadableAudioError
from hgenre.features import level_free, slice_level_db, standardise, voiced
from hgenre.nets.build import build_net
from hgenre.tree.route import Route
from hgenre.tree.vote import Aggregation, SongSums
from tests.oracles import genre_probabilities, routed_probabilities, song_answer
from tests.small_bundles import FEATURES, NET, ROUTES, silent, sounding, tiny_bundle
from tests.small_trees import RAGGED

Songs = Sequence[tuple[str, np.ndarray]]

PIECE = sounding(5, seed=1)
NEIGHBOURS = {
    "music": sounding(5, seed=2),
    "silence": silent(5),
    "full scale": np.full_like(PIECE, 60.0),
    "almost nothing": sounding(5, seed=3, level_db=-95.0),
}


@cache
def jitted(route: Route) -> Program:
    """One function for all numbers of slices; jax compiles it for each."""
    return jax.jit(bundle_program(tiny_bundle(RAGGED), route))


MOST_ROWS = 256


@cache
def quick(route: Route) -> Program:
    """Nets that look at a few values of the slice; compiled once, for ``MOST_ROWS`` rows."""

    def look(weights: Any, x: Any) -> Any:
        return x[:, :, 0] @ weights

    run = jax.jit(build_program(RAGGED, {node.name: look for node in RAGGED.net_nodes}, route, FEATURES))

    def program(weights: Weights, *rows: Any) -> ProgramAnswer:
        n_rows = len(rows[0])
        padded = [np.concatenate([a, np.ones((MOST_ROWS - n_rows, *a.shape[1:]), a.dtype)]) for a in rows]
        padded[-1][n_rows:] = False
        sums, logp = jax.device_get(run(weights, *padded))
        return ProgramAnswer(SongSums(*(a[:n_rows] for a in sums)), logp[:n_rows])

    return program


def always(program: Program) -> Callable[[int], Program]:
    return lambda size: program


def quick_weights() -> Weights:
    random = np.random.default_rng(0)
    drawn = {
        node.name: random.normal(0, 1, (FEATURES.n_mels, len(node.children))).astype(np.float32)
        for node in RAGGED.net_nodes
    }
    return Weights(drawn, {name: np.float32(1.5) for name in drawn}, np.float32(0.8))


def answered(bundle: Bundle, route: Route, songs: Iterable[tuple[str, Any]]) -> dict[str, SongResult]:
    """Answers of the quick nets, all songs in order."""
    found = dict(answer_all(bundle, route, songs, always(quick(route)), quick_weights()))
    return {key: result for key, result in found.items() if isinstance(result, SongResult)}


def assert_same(ours: SongResult, theirs: SongResult) -> None:
    assert ours.genre_idx == theirs.genre_idx
    assert ours.votes.tolist() == theirs.votes.tolist()
    assert ours.voiced.tolist() == theirs.voiced.tolist()
    assert ours.steady.tolist() == theirs.steady.tolist()
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-5)
    np.testing.assert_allclose(np.exp(ours.logp), np.exp(theirs.logp), atol=1e-5)


@pytest.mark.parametrize("neighbour", NEIGHBOURS.values(), ids=NEIGHBOURS)
def test_slices_to_logits_look_at_one_slice(neighbour: np.ndarray) -> None:
    bundle = tiny_bundle(RAGGED)
    mean_db, std_db = bundle.normalisation.mean_db, bundle.normalisation.std_db
    both = np.concatenate([neighbour, PIECE])

    def seen(slices: np.ndarray, xp: Any) -> tuple[Any, ...]:
        rows = (len(slices), 1)
        return (
            slice_level_db(slices, xp),
            voiced(slices, FEATURES, xp),
            level_free(slices, FEATURES, xp),
            standardise(slices, np.tile(mean_db, rows), np.tile(std_db, rows), FEATURES, xp),
        )

    for xp in (np, jnp):
        for alone, beside in zip(seen(PIECE, xp), seen(both, xp), strict=True):
            np.testing.assert_allclose(beside[5:], alone, atol=1e-5)
    apply = jax.jit(build_net(NET, 3).apply)
    x = [standardise(s, np.tile(mean_db, (len(s), 1)), np.tile(std_db, (len(s), 1)), FEATURES) for s in (PIECE, both)]
    alone, beside = (apply(bundle.variables["root"], rows) for rows in x)
    np.testing.assert_allclose(beside[5:], alone, atol=1e-5)


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_songs_of_real_nets_are_answered_as_if_alone(route: Route, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "CHUNK_SIZES", (16,))
    bundle = tiny_bundle(RAGGED)
    weights = weights_of(bundle)

    def answers(songs: Songs) -> dict[str, Any]:
        streams = [(key, [slices]) for key, slices in songs]
        return dict(answer_all(bundle, route, streams, always(jitted(route)), weights))

    alone = answers([("piece", PIECE)])["piece"]
    assert alone.n_slices == 5
    assert alone.votes.sum() == 5
    first, *rest = NEIGHBOURS.items()
    assert_same(answers([("piece", PIECE), first, *rest])["piece"], alone)
    assert_same(answers([first, *rest[::-1], ("piece", PIECE)])["piece"], alone)
    among = answers([first, ("piece", PIECE), *rest])
    assert_same(among["piece"], alone)
    assert among["silence"].genre_idx == -1
    assert among["silence"].votes.tolist() == [0] * 6


def test_songs_of_real_nets_equal_the_nets_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "CHUNK_SIZES", (16,))
    bundle = tiny_bundle(RAGGED)
    x = standardise(
        PIECE, np.tile(bundle.normalisation.mean_db, (5, 1)), np.tile(bundle.normalisation.std_db, (5, 1)), FEATURES
    )
    node_p: list[dict[str, list[float]]] = [{} for _ in PIECE]
    for node in bundle.tree.net_nodes:
        apply = jax.jit(build_net(NET, len(node.children)).apply)
        logits = np.asarray(apply(bundle.variables[node.name], x), np.float64) / bundle.temperatures[node.name]
        for row, values in zip(node_p, logits, strict=True):
            row[node.name] = (np.exp(values - values.max()) / np.exp(values - values.max()).sum()).tolist()
    wanted = {
        "soft": [genre_probabilities(bundle.tree, row) for row in node_p],
        "hard by slice": routed_probabilities(bundle.tree, node_p, as_one=False),
        "hard by song": routed_probabilities(bundle.tree, node_p, as_one=True),
    }
    for name, route in ROUTES.items():
        songs = [("piece", [PIECE])]
        [(_, result)] = answer_all(bundle, route, songs, always(jitted(route)), weights_of(bundle))
        assert isinstance(result, SongResult)
        np.testing.assert_allclose(np.exp(result.logp), wanted[name], atol=1e-5)
        np.testing.assert_allclose(result.probabilities, np.mean(wanted[name], axis=0), atol=1e-5)
        assert result.genre_idx == song_answer(wanted[name], "majority")


def many_songs() -> Songs:
    """Songs of 0 to 30 slices, some with silent slices, one silent throughout, one longer than the largest chunk."""
    songs = [(f"song {n}", sounding(n, seed=n)) for n in (3, 0, 1, 7, 30, 2, 16, 5, 1, 4, 11)]
    songs = [(f"{key} no {i}", slices) for i, (key, slices) in enumerate(songs)]
    holed = sounding(9, seed=40)
    holed[[0, 4, 5]] = -100.0
    return [*songs[:4], ("holed", holed), ("silent", silent(6)), *songs[4:], ("long", sounding(90, seed=41))]


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize("kind", ["training", "song"])
def test_packing_changes_no_answer(route: Route, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tiny_bundle(RAGGED, kind=kind)
    songs = many_songs()
    alone: dict[str, SongResult] = {}
    for key, slices in songs:
        alone |= answered(bundle, route, [(key, [slices])])

    def in_blocks(slices: np.ndarray, n: int) -> Iterator[np.ndarray]:
        for start in range(0, len(slices), n):
            yield slices[start : start + n]

    for sizes, n_block, order in (((4, 16, 64), 32, 1), ((8,), 3, 1), ((2, 16), 5, -1), ((128,), 1, 1)):
        monkeypatch.setattr(answering, "CHUNK_SIZES", sizes)
        streams = [(key, in_blocks(slices, n_block)) for key, slices in songs[::order]]
        together = answered(bundle, route, streams)
        assert list(together) == [key for key, _ in songs[::order]]
        for key, result in together.items():
            assert_same(result, alone[key])


@pytest.mark.parametrize("aggregation", ["majority", "mean_probability", "mean_log_probability"])
def test_chunks_are_voted_on_together(aggregation: Aggregation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "CHUNK_SIZES", (8,))
    route = Route(aggregation=aggregation)
    for result in answered(tiny_bundle(RAGGED), route, [(key, [s]) for key, s in many_songs()]).values():
        p = np.exp(result.logp[result.voiced].astype(np.float64))
        if len(p):
            assert result.genre_idx == song_answer(p.tolist(), aggregation)
            np.testing.assert_allclose(result.probabilities, p.mean(axis=0), atol=1e-5)
        else:
            assert result.genre_idx == -1
            assert (result.probabilities == 0).all()


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
def test_padding_rows_change_nothing(route: Route) -> None:
    bundle = tiny_bundle(RAGGED)
    weights = weights_of(bundle)

    def run(slices: np.ndarray) -> Any:
        n_rows = len(slices)
        return jitted(route)(
            weights,
            slices,
            np.tile(bundle.normalisation.mean_db, (n_rows, 1)),
            np.tile(bundle.normalisation.std_db, (n_rows, 1)),
            np.zeros(n_rows, np.int32),
            np.arange(n_rows) < 4,
        )

    plain = run(PIECE[:4])
    for padding in (silent(12), sounding(12, seed=5), np.zeros_like(sounding(12, seed=5))):
        padded = run(np.concatenate([PIECE[:4], padding]))
        np.testing.assert_allclose(np.exp(padded.logp[:4]), np.exp(plain.logp), atol=1e-5)
        for ours, theirs in zip(padded.sums, plain.sums, strict=True):
            np.testing.assert_allclose(ours[0], theirs[0], atol=1e-4)
            assert (np.asarray(ours[1:]) == 0).all()


def test_broken_songs_stand_in_their_place_and_harm_no_other() -> None:
    bundle, route = tiny_bundle(RAGGED), Route()

    def broken(after: int) -> Iterator[np.ndarray]:
        yield from [sounding(3, seed=6)] * after
        raise UnreadableAudioError("x.mp3", "damaged")

    songs: list[tuple[str, Any]] = [
        ("at once", broken(0)),
        ("piece", [PIECE]),
        ("midway", broken(2)),
        ("late", broken(60)),
        ("again", [PIECE]),
    ]
    program = quick(route)
    weights = quick_weights()
    found = list(answer_all(bundle, route, songs, always(program), weights, catch=(UnreadableAudioError,)))
    assert [key for key, _ in found] == [key for key, _ in songs]
    results = dict(found)
    assert all(isinstance(results[key], UnreadableAudioError) for key in ("at once", "midway", "late"))
    alone = answered(bundle, route, [("piece", [PIECE])])["piece"]
    for key in ("piece", "again"):
        result = results[key]
        assert isinstance(result, SongResult)
        assert_same(result, alone)


def test_errors_that_were_not_expected_end_the_run() -> None:
    def broken() -> Iterator[np.ndarray]:
        raise TooShortAudioError("x.mp3", "too short")
        yield

    with pytest.raises(TooShortAudioError):
        answered(tiny_bundle(RAGGED), Route(), [("x", broken())])


def test_a_program_that_fails_ends_the_run() -> None:
    def fails(*_: Any) -> Any:
        raise MemoryError("no room")

    songs = [("x", [PIECE])] * 40
    with pytest.raises(MemoryError, match="no room"):
        list(answer_all(tiny_bundle(RAGGED), Route(), songs, always(fails), quick_weights()))


@pytest.mark.parametrize("n_cores", [1, 2, 3])
def test_answers_come_before_all_songs_are_read(n_cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_n_cores", lambda: n_cores)
    taken = []

    def songs() -> Iterator[tuple[str, list[np.ndarray]]]:
        for i in range(160):
            taken.append(i)
            yield f"{i}", [PIECE]

    program = quick(Route())
    answers = answer_all(tiny_bundle(RAGGED), Route(), songs(), always(program), quick_weights())
    next(answers)
    assert len(taken) * len(PIECE) <= (n_cores + 2) * answering.CHUNK_SIZES[-1] + len(PIECE)
    assert len(list(answers)) == 159


@pytest.mark.parametrize("route", ROUTES.values(), ids=ROUTES)
@pytest.mark.parametrize(
    ("n_slices", "n_songs"), [(1, 1), (4, 1), (5, 1), (100, 1), (9, 2), (9, 40), (64, 3), (70, 2), (49, 1), (130, 1)]
)
def test_the_first_chunk_is_foretold(route: Route, n_slices: int, n_songs: int) -> None:
    bundle = tiny_bundle(RAGGED)
    sizes: list[int] = []

    def program_of(size: int) -> Program:
        sizes.append(size)
        return quick(route)

    songs = [(f"{i}", np.array_split(sounding(n_slices, seed=i), max(1, n_slices // 20))) for i in range(n_songs)]
    list(answer_all(bundle, route, songs, program_of, quick_weights()))
    assert sizes[0] == answering.first_chunk_size(bundle, route, n_slices, n_songs)
