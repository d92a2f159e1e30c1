"""Calibration as a bundle's manifest holds it."""

from typing import Any

from hgenre.errors import BundleError
from hgenre.tree.calibration import TEMPERATURE_RANGE, Calibration
from hgenre.tree.evidence import Evidence, SongEvidence, answer_path
from hgenre.tree.spec import TreeSpec


def calibration_to_json(calibration: Calibration) -> dict[str, Any]:
    """Temperatures, source, and a row ``[true_idx, genre_idx, p_true, path_p]`` a song of evidence."""
    return {
        "path_temperature": calibration.path_temperature,
        "song_temperature": calibration.song_temperature,
        "source": calibration.source,
        "evidence": [[s.true_idx, s.genre_idx, s.p_true, list(s.path_p)] for s in calibration.evidence],
    }


def calibration_from_json(tree: TreeSpec, value: Any) -> Calibration:
    """Inverse of ``calibration_to_json``; raises BundleError on anything that no calibration of this tree can be."""
    match value:
        case {"path_temperature": path, "song_temperature": song, "source": str(source), "evidence": list(rows)} if (
            len(value) == 4
        ):
            low, high = TEMPERATURE_RANGE
            if not all(_is_number(t) and low <= t <= high for t in (path, song)):
                raise BundleError(
                    f"temperatures of path and song must be numbers from {low} to {high}, found {path!r} and {song!r}"
                )
            return Calibration(float(path), float(song), source, _evidence(tree, rows))
    raise BundleError("calibration needs path_temperature, song_temperature, source and evidence, and nothing else")


def _evidence(tree: TreeSpec, rows: list[Any]) -> Evidence:
    n_steps = [len(answer_path(tree, genre)) for genre in tree.labels]
    places = range(len(n_steps))
    found = []
    for row in rows:
        match row:
            case [int(true_idx), int(genre_idx), p_true, list(path_p)] if (
                true_idx in places
                and genre_idx in places
                and len(path_p) == n_steps[genre_idx]
                and all(_is_number(p) and 0 <= p <= 1 for p in (p_true, *path_p))
                and path_p == sorted(path_p, reverse=True)
            ):
                found.append(SongEvidence(true_idx, genre_idx, float(p_true), tuple(map(float, path_p))))
            case _:
                raise BundleError(
                    f"calibration has evidence {row!r}; needed a song's true genre and vote as positions among "
                    f"{len(places)} genres, the probability of the truth, and those along the vote's path, never rising"
                )
    return tuple(found)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
