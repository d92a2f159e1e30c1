"""Answering many slices: hard routing against running every specialist, and against one flat net."""

import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.invented import flat_bundle, slices, tree_bundle
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import worker

SLICES_A_SONG = 10
EVERY, FLAT = "every specialist", "one flat net"


def row(scratch: Path, n_slices: int, *, one_program: bool = False) -> Row:
    tree, flat = str(tree_bundle(scratch)), str(flat_bundle(scratch))

    def side(bundle: str, decoder: str, unit: str = "slice") -> Any:
        return partial(
            worker,
            "benchmarks.routing:answers",
            bundle=bundle,
            decoder=decoder,
            unit=unit,
            n_slices=n_slices,
            one_program=one_program,
        )

    how = f"in one program of {n_slices}" if one_program else "as predict packs them"
    return Row(
        name="routing",
        what=f"{n_slices} slices {how}, root and 3 specialists over 10 genres",
        unit="s",
        sides={
            "hard, by slice": side(tree, "hard"),
            "hard, by song": side(tree, "hard", "song"),
            EVERY: side(tree, "soft"),
            FLAT: side(flat, "soft"),
        },
        comparisons=(
            Comparison("hard, by slice", EVERY, limit=0.5),
            Comparison("hard, by song", EVERY, limit=0.5),
            Comparison("hard, by slice", FLAT),
            Comparison(EVERY, FLAT),
        ),
    )


def answers(
    bundle: str,
    decoder: Literal["soft", "hard"],
    unit: Literal["slice", "song"],
    n_slices: int,
    one_program: bool,
) -> Round:
    """Songs of ten slices answered from their slices in dB."""
    import jax
    import numpy as np

    from hgenre.bundle import load_bundle
    from hgenre.compiled.answering import answer_all
    from hgenre.compiled.exported import bundle_program, weights_of
    from hgenre.tree.route import Route

    model = load_bundle(bundle)
    route = Route(decoder, unit)
    rows = slices(n_slices, seed=1)
    songs = list(enumerate([part] for part in np.split(rows, range(SLICES_A_SONG, n_slices, SLICES_A_SONG))))
    weights = weights_of(model)
    program = jax.jit(bundle_program(model, route))
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
            jax.block_until_ready(program(weights, *whole))
        else:
            for _ in answer_all(model, route, songs, lambda n_rows: program, weights):
                pass
        return time.perf_counter() - started

    return run
