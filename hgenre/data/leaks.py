"""The guard of a split: refuses evidence that stands on two sides, and names it."""

from collections.abc import Callable, Iterable, Mapping

from hgenre.data.manifest import Song
from hgenre.data.splits import Protocol, artist_key, clusters
from hgenre.errors import LeakError

_MAX_GROUPS_NAMED = 10
_MAX_SONGS_NAMED = 2
_NO_SIDE = ("", "dropped")


def check_disjoint(songs: Iterable[Song], split: Mapping[str, str], *, protocol: Protocol) -> None:
    """Refuse a split whose sides share a duplicate (or, with ``protocol="artist"``, an artist).

    Songs that ``split`` does not name, or whose split is "" or "dropped", stand on no side. Songs of unknown artist
    cannot be checked for artists; only ``artist_key`` tells which they are.

    Raises:
        LeakError: with the numbers, the first ten groups by name, and in ``songs`` every song of every such group.
    """
    placed = [song for song in songs if split.get(song.song_id, "") not in _NO_SIDE]
    cluster_of = clusters(placed, by="song")
    repeated = _groups(placed, lambda song: cluster_of[song.song_id])
    leaks = [(f"duplicates of {name}", group) for name, group in repeated.items() if _n_sides(group, split) > 1]
    n_duplicates = len(leaks)
    if protocol == "artist":
        performed = _groups([song for song in placed if artist_key(song)], artist_key)
        leaks += [(f"artist {g[0].artist}", g) for g in performed.values() if _n_sides(g, split) > 1]
    if not leaks:
        return
    counts = [f"{n_duplicates} groups of duplicates"] if n_duplicates else []
    counts += [f"{len(leaks) - n_duplicates} artists"] if len(leaks) > n_duplicates else []
    named = "".join(f"\n  {name}: {_sides(group, split)}" for name, group in leaks[:_MAX_GROUPS_NAMED])
    more = f"\n  and {len(leaks) - _MAX_GROUPS_NAMED} more" if len(leaks) > _MAX_GROUPS_NAMED else ""
    raise LeakError(
        f"the split leaks (protocol {protocol}): {' and '.join(counts)} on more than one side:{named}{more}\n"
        f"  move each to one side, set their split to dropped, or let hgenre split the songs itself",
        sorted({song.song_id for _, group in leaks for song in group}),
    )


def overlap(seen: Iterable[tuple[str, str]], songs: Iterable[Song]) -> tuple[str, ...]:
    """Ids of the songs that a model has seen, in order; ``seen`` holds the (song id, sha256) of what it learned from.

    A song was seen when its id, its sha256 or any of its duplicates was.
    """
    learned = [Song(song_id, path="", genre="", sha256=sha256) for song_id, sha256 in seen]
    songs = tuple(songs)
    cluster_of = clusters([*learned, *songs], by="song")
    seen_clusters = {cluster_of[song.song_id] for song in learned}
    return tuple(song.song_id for song in songs if cluster_of[song.song_id] in seen_clusters)


def _groups(songs: Iterable[Song], key: Callable[[Song], str]) -> dict[str, list[Song]]:
    groups: dict[str, list[Song]] = {}
    for song in songs:
        groups.setdefault(key(song), []).append(song)
    return groups


def _n_sides(group: Iterable[Song], split: Mapping[str, str]) -> int:
    return len({split[song.song_id] for song in group})


def _sides(group: Iterable[Song], split: Mapping[str, str]) -> str:
    """Such as "train (3: a, b, ...), valid (1: c)"."""
    parts = []
    for side, members in _groups(group, lambda song: split[song.song_id]).items():
        names = ", ".join(song.song_id for song in members[:_MAX_SONGS_NAMED])
        dots = ", ..." if len(members) > _MAX_SONGS_NAMED else ""
        parts.append(f"{side} ({len(members)}: {names}{dots})")
    return ", ".join(parts)
