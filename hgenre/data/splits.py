"""Who may learn from what: songs grouped into clusters, and clusters dealt to splits or folds.

The three protocols of the literature are ``slice-random`` (slices of one song on both sides: it leaks, and is here to
show how much), ``song`` (no song, nor its duplicate, on two sides) and ``artist`` (nor any artist).
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from hgenre.data.manifest import Song
from hgenre.errors import LeakError, ManifestError

Protocol = Literal["song", "artist"]


def clusters(songs: Iterable[Song], *, by: Protocol = "artist") -> dict[str, str]:
    """Each song's cluster, named by the smallest song id in it; songs of one cluster must stay on one side.

    Songs are joined when one is the duplicate of the other, both are duplicates of a third (in the list or not), or
    their sha256 are equal; ``by="artist"`` also joins songs of one artist. Artist names are compared without regard
    to case and blanks; a name that holds several artists is one name; an unknown artist joins nothing.
    """
    songs = tuple(songs)
    roots = _roots([_tokens(song, by) for song in songs])
    names: dict[str, str] = {}
    for song, root in zip(songs, roots, strict=True):
        names[root] = min(names.get(root, song.song_id), song.song_id)
    return {song.song_id: names[root] for song, root in zip(songs, roots, strict=True)}


def artist_key(song: Song) -> str:
    """The artist's name as it is compared: without regard to case and to the number of blanks; "" where unknown."""
    return " ".join(song.artist.casefold().split())


def split_songs(songs: Iterable[Song], *, protocol: Protocol, shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The split of each song: clusters stay whole, and every genre is shared out as ``shares`` says.

    Clusters are dealt from the largest to the smallest (equal ones in an order drawn from ``seed``), each to the
    split where it lowers the squared distance from the wanted number of songs per genre most. A genre whose clusters
    hold at most ``m`` of its songs and of no other genre misses its share by at most ``m`` songs. The result does not
    depend on the order of the songs.

    Args:
        songs: Distinct songs with a genre, usually ``manifest.usable``.
        shares: Split name to its part of the songs; above 0, adding up to 1.

    Raises:
        ManifestError: the shares are wrong, or there are too few clusters to fill every split.
    """
    _check_shares(shares)
    songs = tuple(songs)
    cluster_of = clusters(songs, by=protocol)
    sides = _deal(songs, cluster_of, np.array(list(shares.values())), seed)
    split = {song.song_id: list(shares)[sides[cluster_of[song.song_id]]] for song in songs}
    empty = [name for name in shares if name not in split.values()]
    if empty:
        raise ManifestError(_too_few(songs, cluster_of, protocol, empty, min(shares[name] for name in empty)))
    return split


def folds(songs: Iterable[Song], *, protocol: Protocol, n_folds: int, seed: int) -> tuple[tuple[str, ...], ...]:
    """The held-out song ids of each cross-validation fold, sorted; every song is held out exactly once.

    Raises:
        ManifestError: fewer than 2 folds, or fewer clusters than folds.
    """
    if n_folds < 2:
        raise ManifestError(f"cross-validation needs at least 2 folds, found {n_folds}")
    names = [str(fold_idx) for fold_idx in range(n_folds)]
    split = split_songs(songs, protocol=protocol, shares=dict.fromkeys(names, 1 / n_folds), seed=seed)
    return tuple(tuple(sorted(song_id for song_id, fold in split.items() if fold == name)) for name in names)


def slice_random_split(
    n_slices_per_song: Mapping[str, int], shares: Mapping[str, float], seed: int
) -> dict[str, tuple[str, ...]]:
    """The split of each song's slices, drawn without regard to songs. This leaks, and only the leak meter wants it.

    Returns:
        Song id to one split name a slice. Numbers of slices follow the shares to within one slice.

    Raises:
        ManifestError: the shares are wrong.
    """
    _check_shares(shares)
    song_ids = sorted(n_slices_per_song)
    counts = [n_slices_per_song[song_id] for song_id in song_ids]
    edges = np.round(np.cumsum(list(shares.values())) * sum(counts)).astype(int)
    ranks = np.random.default_rng(seed).permutation(sum(counts))
    sides = np.minimum(np.searchsorted(edges, ranks, side="right"), len(shares) - 1)
    names = list(shares)
    ends = np.cumsum(counts)
    return {
        song_id: tuple(names[side] for side in sides[end - count : end])
        for song_id, count, end in zip(song_ids, counts, ends, strict=True)
    }


def read_id_lists(lists: Mapping[str, str | Path]) -> dict[str, str]:
    """The split of each song named in published lists: split name to a text file with one song id a line.

    Empty lines and lines that start with ``#`` are skipped; ``blues/blues.00029.wav`` counts as ``blues.00029``.

    Raises:
        ManifestError: a list cannot be read or names no song.
        LeakError: a song stands in two lists.
    """
    split: dict[str, str] = {}
    twice: list[str] = []
    for name, path in lists.items():
        try:
            lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{path}: the list of {name} songs cannot be read: {error}") from None
        song_ids = [_listed_id(line.strip()) for line in lines if line.strip() and not line.startswith("#")]
        if not song_ids:
            raise ManifestError(f"{path}: the list of {name} songs is empty; needed is one song id a line")
        twice += [song_id for song_id in song_ids if split.get(song_id, name) != name]
        split.update(dict.fromkeys(song_ids, name))
    if twice:
        raise LeakError(
            f"{len(twice)} songs stand in two of the lists {', '.join(lists)}: {', '.join(twice[:10])}; "
            f"take each out of all lists but one",
            twice,
        )
    return split


def _check_shares(shares: Mapping[str, float]) -> None:
    if not all(share > 0 for share in shares.values()) or not math.isclose(sum(shares.values()), 1.0, abs_tol=1e-6):
        given = ", ".join(f"{name} {share:g}" for name, share in shares.items()) or "none"
        raise ManifestError(f"shares of the splits must be above 0 and add up to 1, found {given}")


def _too_few(
    songs: Sequence[Song], cluster_of: Mapping[str, str], protocol: Protocol, empty: Sequence[str], share: float
) -> str:
    """Which genre comes nearest to having clusters enough for every split, and how many would do.

    If clusters hold equally many songs of one genre, ``1 / share`` of them are always enough: a split that lacks a
    whole cluster of the genre is served before one that lacks less.
    """
    lost = f"no songs are left for {', '.join(empty)}: "
    if not songs:
        return f"{lost}there are none to share out; give songs"
    members: dict[str, set[str]] = {}
    for song in songs:
        members.setdefault(song.genre, set()).add(cluster_of[song.song_id])
    most = max(sorted(members), key=lambda genre: len(members[genre]))
    n_found, n_needed = len(members[most]), math.ceil(1 / share - 1e-9)
    found = f"{n_found} {protocol}{'s' if n_found > 1 else ''}"
    found += f" in {sum(song.genre == most for song in songs)} songs" if protocol == "artist" else ", duplicates as one"
    return (
        f"{lost}every genre is shared out by itself, and songs that belong together stay together (protocol "
        f"{protocol}); even {most} has only {found}, and a share of {share:.2g} needs about {n_needed} in a genre; "
        f"give more {protocol}s a genre, a larger share, or fewer folds"
    )


def _listed_id(line: str) -> str:
    name = PurePosixPath(line)
    return name.stem if name.suffix.lower() in {".wav", ".au", ".mp3", ".flac", ".ogg"} else line


def _tokens(song: Song, by: Protocol) -> list[str]:
    tokens = [f"id {song.song_id}"]
    if song.duplicate_of:
        tokens.append(f"id {song.duplicate_of}")
    if song.sha256:
        tokens.append(f"sha256 {song.sha256}")
    if by == "artist" and (artist := artist_key(song)):
        tokens.append(f"artist {artist}")
    return tokens


def _roots(token_lists: Sequence[Sequence[str]]) -> list[str]:
    """A name of the connected component of each list; lists are connected by tokens they share (union-find)."""
    parent: dict[str, str] = {}

    def find(token: str) -> str:
        while parent.setdefault(token, token) != token:
            parent[token] = parent[parent[token]]
            token = parent[token]
        return token

    for tokens in token_lists:
        for token in tokens[1:]:
            parent[find(token)] = find(tokens[0])
    return [find(tokens[0]) for tokens in token_lists]


def _deal(songs: Sequence[Song], cluster_of: Mapping[str, str], shares: np.ndarray, seed: int) -> dict[str, int]:
    """Index of the side that each cluster goes to."""
    genre_idx = {genre: idx for idx, genre in enumerate(sorted({song.genre for song in songs}))}
    members: dict[str, Counter[str]] = {}
    for song in songs:
        members.setdefault(cluster_of[song.song_id], Counter())[song.genre] += 1
    drawn = [sorted(members)[idx] for idx in np.random.default_rng(seed).permutation(len(members))]
    n_genre = np.zeros(len(genre_idx))
    for song in songs:
        n_genre[genre_idx[song.genre]] += 1
    missing = np.outer(shares, n_genre)
    sides: dict[str, int] = {}
    for cluster in sorted(drawn, key=lambda name: -members[name].total()):
        n_added = np.zeros(len(genre_idx))
        for genre, count in members[cluster].items():
            n_added[genre_idx[genre]] = count
        # Of sum((missing - n_added)**2) over genres, only this product differs between sides. Where genres tie, the
        # side that lacks most songs in all goes first.
        gain = np.round(missing @ n_added, 6)
        side = int(np.lexsort((-missing.sum(axis=1).round(6), -gain))[0])
        missing[side] -= n_added
        sides[cluster] = side
    return sides
