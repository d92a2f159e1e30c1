"""How well two feature tables agree where they have the same songs."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hgenre.data.feature_table import read_rows
from hgenre.errors import ManifestError


@dataclass(frozen=True)
class TableComparison:
    """Differences between two tables, a column at a time.

    Attributes:
        n_songs: songs in both tables with as many rows.
        missing: songs of ours that are not in theirs or have another number of rows there, or bad cells in either.
        columns: column -> (median, largest) absolute difference over rows, as shares of the column's standard deviation
            over all rows of theirs; differences as they are where that is 0.
        only_ours, only_theirs: columns that were not compared.
    """

    n_songs: int
    missing: tuple[str, ...]
    columns: dict[str, tuple[float, float]]
    only_ours: tuple[str, ...]
    only_theirs: tuple[str, ...]


def compare_tables(ours: str | Path, theirs: str | Path) -> TableComparison:
    """Our table held against theirs; songs of theirs that ours lacks do not matter.

    Raises:
        ManifestError: one of them is no table, or they share no song or no column.
    """
    our_columns, our_rows, our_errors = read_rows(ours)
    their_columns, their_rows, _ = read_rows(theirs)
    shared = [name for name in our_columns if name in their_columns]
    songs = [s for s in our_rows if s in their_rows and our_rows[s].shape[1] == their_rows[s].shape[1]]
    if not songs or not shared:
        such = [next(iter(rows), "(none)") for rows in (our_rows, their_rows)]
        raise ManifestError(
            f"{ours} and {theirs} share {len(songs)} songs with as many rows and {len(shared)} columns; needed are "
            f"some of both. Songs are such as {such[0]!r} and {such[1]!r}"
        )
    a = np.concatenate([our_rows[song] for song in songs], axis=1)[[our_columns.index(name) for name in shared]]
    place = [their_columns.index(name) for name in shared]
    b = np.concatenate([their_rows[song] for song in songs], axis=1)[place]
    std = np.concatenate([*their_rows.values()], axis=1)[place].std(axis=1, dtype=np.float64)
    apart = np.abs(a.astype(np.float64) - b) / np.where(std > 0, std, 1)[:, None]
    return TableComparison(
        len(songs),
        tuple(sorted({*our_rows, *our_errors} - set(songs))),
        {name: (float(np.median(row)), float(row.max())) for name, row in zip(shared, apart, strict=True)},
        tuple(name for name in our_columns if name not in their_columns),
        tuple(name for name in their_columns if name not in our_columns),
    )
