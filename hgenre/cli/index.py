"""``hgenre index``: lists and measures the songs of a folder or table."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hgenre.data.layouts import Listing
    from hgenre.data.manifest import Song


def index(
    source: Annotated[
        Path, typer.Argument(help="A folder a genre, FMA's folders, a CSV of path and genre, or a manifest to verify.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="The manifest to write. Default SOURCE/manifest.csv; none when a manifest is verified."),
    ] = None,
    tracks_csv: Annotated[Path | None, typer.Option(help="FMA's table of tracks, where it lies elsewhere.")] = None,
    checksums: Annotated[bool, typer.Option(help="Read every file once more for its sha256.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Make the manifest of a music collection, or verify the one it has. Faulty files are listed, not dropped."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from hgenre.data.index import differences, measure
    from hgenre.data.layouts import list_songs
    from hgenre.data.manifest import check_writable, write_manifest
    from hgenre.errors import ManifestError

    listing = list_songs(source, tracks_csv=tracks_csv)
    if out is None and listing.layout != "manifest":
        out = (source if source.is_dir() else source.parent) / "manifest.csv"
        if out.exists():
            raise ManifestError(
                f"{out}: is there already and will not be replaced unasked; name the manifest with --out"
            )
    if out is not None:
        check_writable(out)
    remarks: list[tuple[Song, str]] = []
    with Progress(*Progress.get_default_columns(), MofNCompleteColumn(), console=Console(stderr=True)) as progress:
        task = progress.add_task("decoding", total=len(listing.manifest.songs))

        def on_song(song: "Song", remark: str) -> None:
            progress.advance(task)
            if remark:
                remarks.append((song, remark))

        manifest = measure(listing, checksums=checksums, on_song=on_song)
    if out is not None:
        write_manifest(manifest, out)
    found = differences(listing.manifest, manifest) if listing.layout == "manifest" else ()
    (_print_json if as_json else _print_tables)(listing, manifest.songs, remarks, found, out)
    if all(song.fault for song in manifest.songs):
        raise typer.Exit(1)


def _print_json(
    listing: "Listing",
    songs: "tuple[Song, ...]",
    remarks: "list[tuple[Song, str]]",
    found: tuple[str, ...],
    out: Path | None,
) -> None:
    import json

    from hgenre.data.manifest import SPLIT_VALUES

    readable = [song for song in songs if not song.fault]
    report = {
        "layout": listing.layout,
        "manifest": None if out is None else str(out),
        "n_songs": len(songs),
        "n_readable": len(readable),
        "genres": {genre: sum(song.genre == genre for song in readable) for genre in _genres(songs)},
        "splits": {name: sum(song.split == name for song in readable) for name in SPLIT_VALUES if name},
        "faults": [
            {"song_id": song.song_id, "path": song.path, "fault": song.fault, "reason": remark}
            for song, remark in remarks
            if song.fault
        ],
        "warnings": [{"song_id": s.song_id, "path": s.path, "reason": remark} for s, remark in remarks if not s.fault],
        "duplicates": {song.song_id: song.duplicate_of for song in songs if song.duplicate_of},
        "skipped": [{"path": path, "reason": reason} for path, reason in listing.skipped],
        "differences": list(found),
    }
    typer.echo(json.dumps(report, ensure_ascii=False))


def _print_tables(
    listing: "Listing",
    songs: "tuple[Song, ...]",
    remarks: "list[tuple[Song, str]]",
    found: tuple[str, ...],
    out: Path | None,
) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    genres = Table("genre", "readable", "faulty", "duplicates", "artists", title=listing.layout)
    for genre in _genres(songs):
        members = [song for song in songs if song.genre == genre]
        n_faulty = sum(bool(song.fault) for song in members)
        n_duplicates = sum(bool(song.duplicate_of) for song in members)
        n_artists = len({song.artist for song in members if song.artist})
        counts = (len(members) - n_faulty, n_faulty, n_duplicates, n_artists)
        genres.add_row(escape(genre) or "(none)", *map(str, counts))
    console.print(genres)
    n_readable = sum(not song.fault for song in songs)
    console.print(f"{n_readable} of {len(songs)} songs are readable", highlight=False)
    lines = [f"{song.path}: {song.fault or 'warning'}: {remark}" for song, remark in remarks]
    skips = Counter((reason, Path(path).suffix or "other") for path, reason in listing.skipped)
    lines += [f"skipped {count} {suffix} files: {reason}" for (reason, suffix), count in skips.items()]
    if listing.layout == "manifest":
        lines += [f"{len(found)} differences from the manifest", *(f"  {sentence}" for sentence in found)]
    lines.append(f"wrote {out}" if out else "nothing written; --out writes the measured manifest")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _genres(songs: "tuple[Song, ...]") -> list[str]:
    return sorted({song.genre for song in songs})
