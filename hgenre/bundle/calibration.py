"""Calibration as a bundle's manifest holds it."""

from typing import Any

from hgenre.errors import BundleError
from hgenre.tree.calibration import TEMPERATURE_RANGE, Calibration
from hgenre.tree.evidence import Evidence, SongEvidence, answer_path
from hgenre.tree.spec import TreeSpec


def calibration_to_json(calibration: Calibration) -> dict[str, Any]:
    """Temperatures, source, and a row ``[p_true, path_p, n_right]`` a song of evidence."""
    return {
        "path_temperature": calibration.path_temperature,
        "song_temperature": calibration.song_temperature,
        "source": calibration.source,
        "evidence": [[s.p_true, list(s.path_p), s.n_right] for s in calibration.evidence],
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
    lengths = {len(answer_path(tree, genre)) for genre in tree.labels}
    found = []
    for row in rows:
        match row:
            case [p_true, list(path_p), int(n_right)] if (
                len(path_p) in lengths
                and n_right in range(len(path_p) + 1)
                and all(_is_number(p) and 0 <= p <= 1 for p in (p_true, *path_p))
                and path_p == sorted(path_p, reverse=True)
            ):
                found.append(SongEvidence(float(p_true), tuple(map(float, path_p)), n_right))
            case _:
                raise BundleError(
                    f"calibration has evidence {row!r}; needed the probability of a song's true genre, those along the "
                    "path to its vote in this tree, never rising, and how many steps of that path hold the truth"
                )
    return tuple(found)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)
