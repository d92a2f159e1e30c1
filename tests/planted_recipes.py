"""Recipes on planted tables, so small that classifiers run them in a moment."""

from pathlib import Path
from typing import Any

from hgenre.training.config import config_to_dict
from tests.planted_tables import planted_table
from tests.test_run import toml

REPORTED = {"model": "svm", "percent": 50.0, "n": 100}


def write_recipe(
    folder: Path, name: str, *, row: int = 1, recipe: dict[str, Any] | None = None, **sections: Any
) -> Path:
    """``<folder>/<name>.toml``, by default with an SVM under two protocols, on a table beside the folder."""
    folder.mkdir(exist_ok=True)
    planted = {"n_slices": 4, "genre_signal": 1.0, "n_genres": 3}
    data = config_to_dict(planted_table(folder.resolve().parent, **planted))["data"]  # type: ignore[arg-type]
    told = {
        "title": f"the system {name}",
        "source": "songs of three genres",
        "reported": [REPORTED],
        "differences": ["other songs"],
        "protocols": ["slice-random", "song"],
        "n_folds": 2,
        "with_net": False,
        "classical": ["svm"],
    }
    config = {
        "name": name,
        "recipe": {"row": row, **told, **(recipe or {})},
        "data": {**{key: data[key] for key in ("table", "join", "protocol")}, **sections.pop("data", {})},
        "augment": dict.fromkeys(("gain_db", "tilt_db", "n_freq_masks", "n_time_masks"), 0),
        **sections,
    }
    path = folder / f"{name}.toml"
    path.write_text(toml(config))
    return path
