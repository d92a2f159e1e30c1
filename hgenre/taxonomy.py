"""A fixed outside taxonomy of genres, by which mistakes are judged: read from a TOML file, or shipped by name."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hgenre.errors import ConfigError, TreeError
from hgenre.labels import Labels
from hgenre.shipped import ROOT
from hgenre.tree.spec import TreeSpec, tree_from_groups


@dataclass(frozen=True)
class Taxonomy:
    """A tree over genres, which may be more than a model knows; ``name`` is that of its file."""

    name: str
    tree: TreeSpec


def shipped_taxonomies() -> dict[str, Path]:
    """Name -> file of every taxonomy that comes with hgenre."""
    return {path.stem: path for path in sorted((ROOT / "configs" / "taxonomies").glob("*.toml"))}


def read_taxonomy(name_or_path: str | Path, labels: Labels) -> Taxonomy:
    """The taxonomy in a TOML file, by its path or by the name of a shipped one.

    The file holds ``groups`` as a run's configuration does, and nothing else.

    Raises:
        ConfigError: no such file, or no tree of genres in it, or it lacks some of ``labels``, which are all named.
    """
    path = Path(name_or_path)
    if not path.is_file():
        path = shipped_taxonomies().get(str(name_or_path), path)
    source = str(path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        names = ", ".join(shipped_taxonomies()) or "none"
        raise ConfigError(
            source, [("file", f"does not exist, nor is it the name of a shipped one ({names})")]
        ) from None
    except OSError as error:
        raise ConfigError(source, [("file", f"cannot be read: {error.strerror}")]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(source, [("file", f"is not TOML: {error}")]) from None
    problems = [(key, "is unknown; a taxonomy holds groups alone") for key in values if key != "groups"]
    if not isinstance(values.get("groups"), Mapping | list):
        problems.append(("groups", f"found {values.get('groups')!r}, needed a list or a table of groups and genres"))
    if problems:
        raise ConfigError(source, problems)
    try:
        tree = tree_from_groups(Labels(tuple(dict.fromkeys(_genres(values["groups"])))), values["groups"])
    except TreeError as error:
        raise ConfigError(source, [("groups", problem) for problem in error.problems]) from None
    missing = [genre for genre in labels if genre not in tree.labels]
    if missing:
        held = ", ".join(tree.labels)
        problem = f"lacks {', '.join(missing)}, which the model answers; it holds {held}; add them, each in its place"
        raise ConfigError(source, [("groups", problem)])
    return Taxonomy(path.stem, tree)


def _genres(groups: Any) -> Iterator[str]:
    """The names of genres in nested groups; what is neither group nor genre is left to the tree's own check."""
    if isinstance(groups, str):
        yield groups
    elif isinstance(groups, Mapping):
        for inner in groups.values():
            yield from _genres(inner)
    elif isinstance(groups, Sequence):
        for inner in groups:
            yield from _genres(inner)
