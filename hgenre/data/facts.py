"""What else is known of songs, joined by id from a table: artists, albums, splits, repetitions, genres."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hgenre.data.arrays import find_ids, open_archive
from hgenre.data.layouts import read_tracks, split_name
from hgenre.data.manifest import SPLIT_VALUES, Song, read_table, table_mistakes
from hgenre.errors import FeatureError, ManifestError

_COLUMNS = ("genre", "artist", "album", "split", "duplicate_of")


def read_facts(path: str | Path) -> dict[str, dict[str, str]]:
    """Song id -> what a file knows of genre, artist, album, split and duplicate_of; "" where it knows nothing.

    The file is a CSV by ``song_id`` (or ``id``, ``track_id``) with any of those columns (``fault_filtered`` stands for
    a split, ``genre_top`` for a genre), FMA's ``tracks.csv``, or an ``.npz`` archive of ids and ``genres``.

    Raises:
        ManifestError: no such table, or mistakes in it, each with its line.
        FeatureError: the archive is damaged or holds no ids and genres.
    """
    path = Path(path)
    if path.suffix == ".npz":
        return _archive_facts(path)
    if _is_tracks(path):
        found = read_tracks(path)
        return {
            str(track_id): {"genre": genre, "artist": artist, "album": album, "split": split, "duplicate_of": ""}
            for track_id, (genre, artist, album, split) in found.items()
        }
    header, rows = read_table(path)
    id_column = next((name for name in ("song_id", "id", "track_id") if name in header), None)
    if id_column is None:
        raise ManifestError(f"{path}: columns are {', '.join(header)}; needed is song_id (or id, or track_id)")
    split_column = "split" if "split" in header else "fault_filtered"
    genre_column = "genre" if "genre" in header else "genre_top"
    facts: dict[str, dict[str, str]] = {}
    problems = []
    for line, row in rows:
        if row[id_column] in facts:
            problems.append(f"line {line}: {id_column} {row[id_column]!r} stands twice")
        split = split_name(row.get(split_column, ""))
        if split not in SPLIT_VALUES:
            problems.append(f"line {line}: {split_column} {split!r} is none of {', '.join(SPLIT_VALUES[1:])} or empty")
        known = {column: row.get(column, "") for column in _COLUMNS}
        facts[row[id_column]] = {**known, "split": split, "genre": row.get(genre_column, "")}
    if problems:
        raise table_mistakes(path, problems)
    return facts


def with_facts(
    songs: Sequence[Song], facts: Mapping[str, Mapping[str, str]], join: str | Path | None
) -> tuple[Song, ...]:
    """The songs with what is known of them; a song keeps its own genre where it has one.

    Args:
        join: Where the facts come from, for the error.

    Raises:
        ManifestError: none of the songs is in a table that is not empty.
    """
    if facts and not any(song.song_id in facts for song in songs):
        raise ManifestError(
            f"{join}: none of the {len(songs)} songs is in the joined table: songs are such as "
            f"{songs[0].song_id!r}, the table's ids such as {next(iter(facts))!r}"
        )
    return tuple(_with_song_facts(song, facts.get(song.song_id, {})) for song in songs)


def _with_song_facts(song: Song, facts: Mapping[str, str]) -> Song:
    return replace(
        song,
        genre=song.genre or facts.get("genre", ""),
        artist=facts.get("artist", ""),
        album=facts.get("album", ""),
        split=facts.get("split", ""),
        duplicate_of=facts.get("duplicate_of", "") or song.duplicate_of,
    )


def _archive_facts(path: Path) -> dict[str, dict[str, str]]:
    with open_archive(path) as archive:
        song_ids = find_ids(archive, None)
        genres = [str(genre).strip() for genre in archive["genres"].ravel()] if "genres" in archive.files else []
        if len(genres) != len(song_ids):
            raise FeatureError(f"{len(song_ids)} ids and {len(genres)} genres; needed is one of each a song")
        if twice := [song_id for song_id, count in Counter(song_ids).items() if count > 1]:
            raise FeatureError(f"{len(twice)} ids stand twice: {', '.join(twice[:10])}; keep one of each")
    nothing = dict.fromkeys(_COLUMNS, "")
    return {song_id: {**nothing, "genre": genre} for song_id, genre in zip(song_ids, genres, strict=True)}


def _is_tracks(path: Path) -> bool:
    """Whether the file has the header lines of FMA's ``tracks.csv``."""
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            first, *groups = file.readline().strip().split(",")
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read as a CSV table: {error}") from None
    return not first and bool(groups) and set(groups) <= {"album", "artist", "set", "track"}
