"""Tables of features whose songs, artists or genres can be told by their numbers."""

from pathlib import Path
from typing import Any

import numpy as np

from hgenre.data.feature_table import write_table
from hgenre.training.border import config_from_dict
from hgenre.training.config import RunConfig

COLUMNS = tuple(f"feature {i}" for i in range(8))


def planted_table(
    folder: Path,
    *,
    n_genres: int = 3,
    n_songs: int = 8,
    n_slices: int = 30,
    genre_signal: float = 0.0,
    song_signal: float = 0.0,
    artists: bool = True,
    seed: int = 0,
    genres: np.ndarray | None = None,
    **sections: Any,
) -> RunConfig:
    """A configuration on a table of ``n_songs`` a genre, two an artist, with noise of deviation 1 in every cell.

    ``genre_signal`` and ``song_signal`` are the deviations of what slices of a genre, and of a song, have in common.
    ``genres`` (genre, column) takes the place of what genres have in common, drawn alike otherwise.
    """
    random = np.random.default_rng(seed)
    if genres is None:
        genres = random.normal(0, 1, (n_genres, len(COLUMNS)))
    rows, facts = [], ["song_id,artist"]
    for g in range(n_genres):
        for i in range(n_songs):
            song = genre_signal * genres[g] + song_signal * random.normal(0, 1, len(COLUMNS))
            slices = song + random.normal(0, 1, (n_slices, len(COLUMNS)))
            name = f"genre{g}.{i:05d}"
            rows += [(f"{name}.{k}.wav", 66150, own, f"genre{g}") for k, own in enumerate(slices)]
            facts.append(f"{name},{f'artist {g} {i // 2}' if artists else ''}")
    write_table(folder / "table.csv", rows, COLUMNS)
    (folder / "songs.csv").write_text("\n".join(facts) + "\n")
    data = {
        "table": str(folder / "table.csv"),
        "join": str(folder / "songs.csv"),
        "protocol": "song",
        **sections.pop("data", {}),
    }
    off = dict.fromkeys(("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"), 0)
    return config_from_dict({"name": "planted", "data": data, "augment": off, **sections})
