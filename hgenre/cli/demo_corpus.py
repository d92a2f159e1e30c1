"""``hgenre demo-corpus``: writes the corpus of invented genres."""

from pathlib import Path
from typing import Annotated

import typer


def demo_corpus(
    directory: Annotated[
        Path, typer.Argument(help="New or empty folder for the songs and manifest.csv.", metavar="DIR")
    ],
    songs_per_genre: Annotated[int, typer.Option(min=1, help="Songs in each of the eight genres.")] = 24,
    seed: Annotated[
        int, typer.Option(min=0, help="Another seed gives other songs by other artists, of the same genres.")
    ] = 0,
) -> None:
    """Synthesise a small corpus of eight invented genres in three groups, as WAV, FLAC, OGG and MP3."""
    from rich.console import Console
    from rich.progress import track

    from hgenre.demo.corpus import invented_songs, write_corpus
    from hgenre.demo.invented_genres import STYLES

    songs = track(
        invented_songs(songs_per_genre, seed),
        description="synthesising",
        total=songs_per_genre * len(STYLES),
        console=Console(stderr=True),
    )
    typer.echo(write_corpus(songs, directory))
