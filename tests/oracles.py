"""Slow, independent ways to the same answers, each written from its definition."""

from collections.abc import Sequence

from hgenre.data.manifest import Song


def reachable_songs(song: Song, songs: Sequence[Song], by: str) -> set[str]:
    """Ids of the songs that are tied to ``song`` by chains of ids, checksums and (``by="artist"``) artists.

    Spreads over everything that ties, also ids of songs that are not in the list, until nothing is added.
    """
    tied_ids, tied_sha256, tied_artists = {song.song_id}, set[str](), set[str]()
    while True:
        before = len(tied_ids) + len(tied_sha256) + len(tied_artists)
        for other in songs:
            artist = " ".join(other.artist.lower().split()) if by == "artist" else ""
            if {other.song_id, other.duplicate_of} & tied_ids or other.sha256 in tied_sha256 or artist in tied_artists:
                tied_ids |= {other.song_id, other.duplicate_of} - {""}
                tied_sha256 |= {other.sha256} - {""}
                tied_artists |= {artist} - {""}
        if before == len(tied_ids) + len(tied_sha256) + len(tied_artists):
            return tied_ids & {other.song_id for other in songs}
