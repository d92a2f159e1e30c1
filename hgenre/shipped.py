"""Where the bundles and configurations that come with hgenre are."""

from collections.abc import Sequence
from pathlib import Path

from hgenre.errors import BundleError

_PACKAGE = Path(__file__).resolve().parent
_INSTALLED = _PACKAGE / "_shipped"
ROOT = _INSTALLED if _INSTALLED.exists() else _PACKAGE.parent
"""Holds ``artifacts/`` and ``configs/``: inside the package when installed, the checkout's top when editable."""


def shipped_bundles() -> dict[str, Path]:
    """Name -> directory of every bundle that comes with hgenre."""
    found = sorted((ROOT / "artifacts").glob("*/manifest.json"))
    return {path.parent.name: path.parent for path in found}


def find_bundle(name_or_path: str | Path, *, of_run: Sequence[str] = ("bundle", "flat")) -> Path:
    """The directory of a bundle: one that exists, the first of ``of_run`` in a run's folder, or a shipped one by name.

    Raises:
        BundleError: there is no folder of that name, nor is it a shipped one's.
    """
    path = Path(name_or_path)
    shipped = shipped_bundles()
    if str(name_or_path) in shipped and not (path / "manifest.json").exists():
        return shipped[str(name_or_path)]
    if (path / "manifest.json").exists():
        return path
    if found := next(filter(_is_there, (path / place for place in of_run)), None):
        return found
    if _is_there(path):
        return path
    names = ", ".join(shipped) or "none"
    raise BundleError(f"no model {str(name_or_path)!r}: no such folder, and not among the shipped ones ({names})")


def _is_there(path: Path) -> bool:
    # A replacement that was cut off left the old bundle under the second name; load_bundle brings it back.
    return path.is_dir() or path.with_name(f".{path.name}.old").is_dir()
