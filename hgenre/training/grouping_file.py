"""A grouping on disk: groups with the songs whose answers they were derived from, so that none of these is a test."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hgenre.bundle import SeenSong
from hgenre.errors import ConfigError, TreeError
from hgenre.labels import Labels
from hgenre.tree.spec import tree_from_groups

SPLIT = "grouping"
"""The part that a song has in a bundle whose groups alone were derived from it."""

FILE = "grouping.json"

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Grouping:
    """Groups of genres, and what they were derived from.

    Attributes:
        groups: nested groups as ``tree_from_groups`` takes them.
        songs: every song whose answers the groups were derived from, with split ``SPLIT``.
        about: method, evidence and findings, for whoever reads the file.
    """

    labels: Labels
    groups: dict[str, Any] | list[Any]
    songs: tuple[SeenSong, ...]
    about: Mapping[str, Any] = field(default_factory=dict)


def grouping_to_json(grouping: Grouping) -> dict[str, Any]:
    """The grouping as the file holds it."""
    return {
        "schema_version": _SCHEMA_VERSION,
        "labels": list(grouping.labels),
        "groups": grouping.groups,
        **grouping.about,
        "songs": [[song.song_id, song.sha256] for song in grouping.songs],
    }


def read_grouping(path: str | Path) -> Grouping:
    """The grouping that ``hgenre group derive`` wrote.

    Raises:
        ConfigError: the file is missing, damaged, of another version, or its groups make no tree.
    """
    source = str(path)
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            source, [("file", f"cannot be read: {error.strerror}; write one: hgenre group derive")]
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(source, [("file", f"is not JSON: {error}; write one: hgenre group derive")]) from None
    match values:
        case {"schema_version": 1, "labels": list(names), "groups": dict() | list() as groups, "songs": list(songs)}:
            pass
        case {"schema_version": int(version)} if version != _SCHEMA_VERSION:
            problem = f"is {version}, this hgenre reads {_SCHEMA_VERSION}; derive the groups again"
            raise ConfigError(source, [("schema_version", problem)])
        case _:
            problem = "holds no schema_version, labels, groups and songs; write one: hgenre group derive"
            raise ConfigError(source, [("file", problem)])
    if not songs or not all(
        isinstance(s, list) and len(s) == 2 and all(isinstance(part, str) for part in s) for s in songs
    ):
        problem = "must name each song that the groups were derived from as [song id, sha256]; derive the groups again"
        raise ConfigError(source, [("songs", problem)])
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(source, [("labels", f"are no list of genres: {names}; derive the groups again")])
    try:
        labels = Labels(tuple(names))
        tree_from_groups(labels, groups)
    except TreeError as error:
        raise ConfigError(source, [("groups", problem) for problem in error.problems]) from None
    known = ("schema_version", "labels", "groups", "songs")
    about = {key: value for key, value in values.items() if key not in known}
    return Grouping(labels, groups, tuple(SeenSong(i, sha256, SPLIT) for i, sha256 in songs), about)
