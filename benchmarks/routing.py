"""Answering many slices: hard routing against running every specialist, and against one flat net."""

import time
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.floors import Work, net_flops
from benchmarks.invented import FEATURES, GROUPS, SLICES, flat_bundle, slices, tree_bundle
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import worker
from hgenre.nets.spec import NetSpec

SLICES_A_SONG = 10
BY_SLICE, BY_SONG, EVERY, FLAT = "hard, by slice", "hard, by song", "every specialist", "one flat net"


def row(scratch: Path, n_slices: int, *, one_program: bool = False, limit: float | None = None) -> Row:
    """``limit`` is that of hard routing against one flat net."""
    tree, flat = str(tree_bundle(scratch)), str(flat_bundle(scratch, NetSpec()))

    def side(bundle: str, decoder: str, unit: str = "slice") -> Any:
        return partial(
            worker,
            "benchmarks.routing:answers",
            bundle=bundle,
            decoder=decoder,
            unit=unit,
            n_slices=n_slices,
            one_program=one_program,
            cache_dir=str(scratch / "cache"),
        )

    how = f"in one program of {n_slices}" if one_program else "as predict packs them"
    routed = Work(
        "convolutions and dense layers of the root and, for each slice, the smallest of the specialists",
        flops=n_slices * (_net_flops(len(GROUPS)) + min(_net_flops(len(genres)) for genres in GROUPS.values())),
    )
    return Row(
        name="routing",
        what=f"{n_slices} slices {how}, root and 3 specialists over 10 genres",
        unit="s",
        sides={
            BY_SLICE: side(tree, "hard"),
            BY_SONG: side(tree, "hard", "song"),
            EVERY: side(tree, "soft"),
            FLAT: side(flat, "soft"),
        },
        comparisons=(
            Comparison(BY_SLICE, EVERY, limit=0.5),
            Comparison(BY_SONG, EVERY, limit=0.5),
            Comparison(BY_SLICE, FLAT, limit),
            Comparison(EVERY, FLAT),
        ),
        work={BY_SLICE: routed, BY_SONG: routed, EVERY: all_nets(n_slices)},
    )


def all_nets(n_slices: int) -> Work:
    """Slices through the root and every specialist of the invented tree."""
    widths = [len(GROUPS), *(len(genres) for genres in GROUPS.values())]
    return Work("convolutions and dense layers of all nets", flops=n_slices * sum(map(_net_flops, widths)))


def _net_flops(n_children: int) -> float:
    return net_flops(NetSpec(), n_children, FEATURES.n_mels, SLICES.n_frames)


def answers(
    bundle: str,
    decoder: Literal["soft", "hard"],
    unit: Literal["slice", "song"],
    n_slices: int,
    one_program: bool,
    cache_dir: str,
) -> Round:
    """Songs of ten slices answered from their slices in dB, by the programs that ``predict`` runs."""
    import jax
    import numpy as np

    from hgenre.bundle import load_bundle
    from hgenre.compiled.answering import answer_all
    from hgenre.compiled.exported import cached_program, weights_of
    from hgenre.tree.route import Route

    model = load_bundle(bundle)
    route = Route(decoder, unit)
    rows = slices(n_slices, seed=1)
    songs = list(enumerate([part] for part in np.split(rows, range(SLICES_A_SONG, n_slices, SLICES_A_SONG))))
    weights = weights_of(model)
    program_of = cache(lambda n_rows: cached_program(model, route, n_rows, Path(cache_dir)))
    normalisation = model.normalisation
    whole = (
        rows,
        np.tile(normalisation.mean_db, (n_slices, 1)),
        np.tile(normalisation.std_db, (n_slices, 1)),
        np.arange(n_slices, dtype=np.int32) // SLICES_A_SONG,
        np.ones(n_slices, bool),
    )

    def run() -> float:
        started = time.perf_counter()
        if one_program:
            jax.block_until_ready(program_of(n_slices)(weights, *whole))
        else:
            for _ in answer_all(model, route, songs, program_of, weights):
                pass
        return time.perf_counter() - started

    return run
