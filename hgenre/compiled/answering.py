"""Songs in, song answers out: slices of many songs packed into chunks of a few fixed sizes.

A chunk may hold several songs or a part of one; sums are additive, so packing changes no answer. XLA runs a convolution
on one core of a CPU, so a chunk a core runs at a time, and one more that fills the gaps.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from hgenre.bundle import Bundle
from hgenre.features import statistics_for, steady, voiced
from hgenre.tree.calibration import sharpen
from hgenre.tree.route import Route
from hgenre.tree.vote import SongAnswers, SongSums, answer_songs

if TYPE_CHECKING:
    from hgenre.compiled.program import Program
    from hgenre.compiled.resident import Resident

CHUNK_SIZES = (4, 16, 64, 128)
"""Numbers of slices a program is compiled for; the last chunk of all is padded."""

MOST_CHUNKS = 3
"""Chunks of a smaller size that are run in place of one of the next size: they spread over cores and need less padding,
but each call costs time of its own."""

MOST_CORES = 8
"""Cores that chunks are spread over."""

Key = TypeVar("Key")
T = TypeVar("T")


@dataclass(frozen=True)
class SongResult:
    """What a bundle says of one song.

    Attributes:
        genre_idx: the answer; -1 where every slice is silent.
        probabilities: (genre,) mean over voiced slices; calibrated as a song, where the bundle knows how.
        votes: (genre,) int, slices that voted for each genre.
        logp: (slice, genre) natural log, for every slice in order of time.
        voiced: (slice,) bool.
        steady: (slice,) bool, slices of steady noise; they vote as the others do.
    """

    genre_idx: int
    probabilities: np.ndarray
    votes: np.ndarray
    logp: np.ndarray
    voiced: np.ndarray
    steady: np.ndarray

    @property
    def n_slices(self) -> int:
        return len(self.logp)


class _Block(NamedTuple):
    song: int
    slices: np.ndarray
    mean_db: np.ndarray
    std_db: np.ndarray
    voiced: np.ndarray


class _Part(NamedTuple):
    """What a chunk says of one of its songs."""

    song: int
    sums: SongSums
    logp: np.ndarray
    voiced: np.ndarray


@dataclass
class _OpenSong(Generic[Key]):
    key: Key
    n_waiting: int = 0
    complete: bool = False
    error: Exception | None = None
    sums: SongSums | None = None
    logp: list[np.ndarray] = field(default_factory=list)
    voiced: list[np.ndarray] = field(default_factory=list)
    steady: list[np.ndarray] = field(default_factory=list)


def answer_all(
    bundle: Bundle,
    route: Route,
    songs: Iterable[tuple[Key, Iterable[np.ndarray]]],
    program_of: "Callable[[int], Program | Resident]",
    weights: Any,
    *,
    catch: tuple[type[Exception], ...] = (),
) -> Iterator[tuple[Key, SongResult | Exception]]:
    """Answers songs in order.

    Args:
        songs: (key, blocks of slices (slice, mel, frame) in dB) a song; a song may have no slice.
        program_of: number of slices -> compiled program.
        weights: the programs' first argument.
        catch: errors that end one song and not the run; they stand in the result's place.

    Memory is bounded by a chunk a core, one more and a block; under song routing or per-song normalisation by a song's
    slices.
    """
    queue: list[_OpenSong[Key]] = []
    pending: list[_Block] = []
    running: deque[Callable[[], list[_Part]]] = deque()
    first = 0
    whole_songs = _in_whole_songs(bundle, route)
    most_running = min(_n_cores(), MOST_CORES) + 1

    def start(blocks: list[_Block], size: int) -> None:
        if len(running) >= most_running:
            gather()
        running.append(_in_thread(partial(_run, program_of(size), weights, blocks, size)))

    def gather() -> None:
        for part in running.popleft()():
            opened = queue[part.song - first]
            opened.sums = part.sums if opened.sums is None else opened.sums + part.sums
            opened.logp.append(part.logp)
            opened.voiced.append(part.voiced)
            opened.n_waiting -= len(part.logp)

    def flush(everything: bool) -> None:
        while n_rows := sum(len(b.slices) for b in pending):
            if n_rows >= CHUNK_SIZES[-1] or (everything and whole_songs):
                taken = (_take_songs if whole_songs else _take)(pending, CHUNK_SIZES[-1])
                start(taken, _holding_size(sum(len(b.slices) for b in taken)))
            elif everything:
                size = _spreading_size(n_rows)
                while pending:
                    start(_take(pending, size), size)
            else:
                return
        while everything and running:
            gather()

    def finished() -> Iterator[tuple[Key, SongResult | Exception]]:
        nonlocal first
        while queue and queue[0].complete and queue[0].n_waiting == 0:
            opened = queue.pop(0)
            first += 1
            yield opened.key, opened.error or _result(opened, route, bundle)

    for ordinal, (key, blocks) in enumerate(songs):
        opened: _OpenSong[Key] = _OpenSong(key)
        queue.append(opened)
        try:
            for block in _with_statistics(bundle, blocks, ordinal, whole=whole_songs):
                opened.n_waiting += len(block.slices)
                opened.steady.append(steady(block.slices, bundle.features))
                pending.append(block)
                if not whole_songs:
                    flush(everything=False)
        except catch as error:
            opened.error = error
            opened.n_waiting -= sum(len(b.slices) for b in pending if b.song == ordinal)
            pending[:] = [b for b in pending if b.song != ordinal]
        opened.complete = True
        flush(everything=False)
        yield from finished()
    flush(everything=True)
    yield from finished()


def first_chunk_size(bundle: Bundle, route: Route, n_slices: int, n_songs: int) -> int:
    """The size of the program that ``answer_all`` runs first if so many songs have so many slices each."""
    if _in_whole_songs(bundle, route):
        return _holding_size(min(n_slices * n_songs, max(CHUNK_SIZES[-1], n_slices)))
    n_rows = n_slices * n_songs
    return CHUNK_SIZES[-1] if n_rows >= CHUNK_SIZES[-1] else _spreading_size(n_rows)


def _in_whole_songs(bundle: Bundle, route: Route) -> bool:
    return route.decoder == "hard" and route.unit == "song" and not bundle.tree.is_flat


def _with_statistics(bundle: Bundle, blocks: Iterable[np.ndarray], song: int, *, whole: bool) -> Iterator[_Block]:
    if whole or bundle.normalisation.kind == "song":
        held = [b for b in blocks if len(b)]
        blocks = [np.concatenate(held)] if held else []
    for slices in blocks:
        if not len(slices):
            continue
        mean_db, std_db = statistics_for(slices, bundle.normalisation, bundle.features)
        rows = (len(slices), 1)
        yield _Block(song, slices, np.tile(mean_db, rows), np.tile(std_db, rows), voiced(slices, bundle.features))


def _take(pending: list[_Block], n_rows: int) -> list[_Block]:
    """Removes up to ``n_rows`` rows from the front, cutting the last block if need be."""
    taken: list[_Block] = []
    while pending and n_rows:
        block = pending.pop(0)
        if len(block.slices) > n_rows:
            pending.insert(0, _Block(block.song, *(a[n_rows:] for a in block[1:])))
            block = _Block(block.song, *(a[:n_rows] for a in block[1:]))
        taken.append(block)
        n_rows -= len(block.slices)
    return taken


def _take_songs(pending: list[_Block], n_rows: int) -> list[_Block]:
    """Removes blocks, a whole song each, from the front: as many as fit into ``n_rows`` rows, and one at least."""
    taken = [pending.pop(0)]
    while pending and sum(len(b.slices) for b in (*taken, pending[0])) <= n_rows:
        taken.append(pending.pop(0))
    return taken


def _holding_size(n_rows: int) -> int:
    """The smallest compiled size that holds the rows; powers of two above the largest."""
    for size in CHUNK_SIZES:
        if n_rows <= size:
            return size
    return 1 << (n_rows - 1).bit_length()


def _spreading_size(n_rows: int) -> int:
    """The smallest compiled size of which a few hold the rows, or else the largest."""
    return next((size for size in CHUNK_SIZES if n_rows <= MOST_CHUNKS * size), CHUNK_SIZES[-1])


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _in_thread(work: Callable[[], T]) -> Callable[[], T]:
    """Starts the work and returns a function that waits for its result, or raises its error.

    ``concurrent.futures`` would do, but importing it takes longer than answering a song's chunk.
    """
    outcome: list[tuple[T, None] | tuple[None, BaseException]] = []

    def run() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:
            outcome.append((None, error))

    def result() -> T:
        thread.join()
        [(value, error)] = outcome
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    thread = Thread(target=run, name="answer-chunk")
    thread.start()
    return result


def _run(program: "Program | Resident", weights: Any, blocks: list[_Block], size: int) -> list[_Part]:
    """One chunk through its program, taken apart by song."""
    slices, mean_db, std_db, is_voiced = (np.concatenate([b[i] for b in blocks]) for i in (1, 2, 3, 4))
    song = np.concatenate([np.full(len(b.slices), b.song) for b in blocks])
    known, song_idx = np.unique(song, return_inverse=True)
    n_padding = size - len(slices)
    song_sums, row_logp = program(
        weights,
        _pad(slices.astype(np.float32, copy=False), n_padding),
        _pad(mean_db, n_padding, 0.0),
        _pad(std_db, n_padding, 1.0),
        _pad(song_idx.astype(np.int32), n_padding),
        _pad(is_voiced, n_padding),
    )
    logp = np.asarray(row_logp)
    sums = [np.asarray(a, np.float64) for a in song_sums]
    parts = []
    for row, ordinal in enumerate(known):
        mine = np.flatnonzero(song_idx == row)
        parts.append(_Part(int(ordinal), SongSums(*(a[row] for a in sums)), logp[mine], is_voiced[mine]))
    return parts


def _pad(rows: np.ndarray, n_padding: int, value: float = 0) -> np.ndarray:
    if not n_padding:
        return rows
    return np.concatenate([rows, np.full((n_padding, *rows.shape[1:]), value, rows.dtype)])


def _result(opened: _OpenSong, route: Route, bundle: Bundle) -> SongResult:
    n_genres = len(bundle.labels)
    if opened.sums is None:
        nothing, no_slice = np.zeros(n_genres), np.zeros(0, bool)
        return SongResult(-1, nothing, nothing.astype(int), np.zeros((0, n_genres), np.float32), no_slice, no_slice)
    answers: SongAnswers = answer_songs(SongSums(*(np.asarray(a)[None] for a in opened.sums)), route.aggregation)
    probabilities = answers.probabilities[0]
    if bundle.calibration and route.decoder == "soft" and answers.genre_idx[0] >= 0:
        probabilities = sharpen(probabilities, bundle.song_temperature)
    return SongResult(
        genre_idx=int(answers.genre_idx[0]),
        probabilities=probabilities,
        votes=opened.sums.votes.round().astype(int),
        logp=np.concatenate(opened.logp),
        voiced=np.concatenate(opened.voiced),
        steady=np.concatenate(opened.steady),
    )
