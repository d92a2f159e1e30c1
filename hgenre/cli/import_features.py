"""``hgenre import-features``: takes over spectrograms that were computed elsewhere."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Edge(StrEnum):
    """Which edge of an image holds the lowest band."""

    bottom = "bottom"
    top = "top"


def import_features(
    source: Annotated[Path, typer.Argument(help="An .npz archive, or a folder a genre of PNG or JPEG images.")],
    out: Annotated[Path, typer.Option(help="Folder for features.npy, spec.json and manifest.csv.")],
    frame_rate_hz: Annotated[float, typer.Option(help="Frames (columns of an image) a second.")],
    scale: Annotated[str, typer.Option(help="What a value means, in words, such as 'dB below the clip maximum'.")],
    db_per_unit: Annotated[
        float | None, typer.Option(help="Factor from values to dB: 1 where they are dB; none where unknown.")
    ] = None,
    join: Annotated[
        Path | None, typer.Option(help="CSV by song_id (or id) with artist, album, split, duplicate_of.")
    ] = None,
    key: Annotated[str | None, typer.Option(help="Archive: the key of the (song, mel, frame) array.")] = None,
    ids_key: Annotated[str | None, typer.Option(help="Archive: the key of the song ids. Default ids.")] = None,
    genres_key: Annotated[str, typer.Option(help="Archive: the key of the genres.")] = "genres",
    n_mels: Annotated[int | None, typer.Option(help="Images: rows, one a mel band.")] = None,
    low_band: Annotated[Edge, typer.Option(help="Images: the edge with the lowest band.")] = Edge.bottom,
) -> None:
    """Import ready-made spectrograms, with their frame rate and scale on record."""
    from hgenre.data.import_features import import_arrays, import_images

    if not source.is_dir():
        manifest = import_arrays(
            source,
            out,
            frame_rate_hz=frame_rate_hz,
            scale=scale,
            db_per_unit=db_per_unit,
            key=key,
            ids_key=ids_key,
            genres_key=genres_key,
            join=join,
        )
    elif n_mels is None:
        raise typer.BadParameter("a folder of images needs --n-mels, the number of rows of every image")
    elif db_per_unit is not None:
        raise typer.BadParameter("--db-per-unit is for archives; images hold luminance, whose dB are unknown")
    else:
        manifest = import_images(
            source,
            out,
            frame_rate_hz=frame_rate_hz,
            scale=scale,
            n_mels=n_mels,
            low_band=low_band.value,
            join=join,
        )
    songs = manifest.songs
    typer.echo(
        f"{len(songs)} songs of {len(manifest.labels)} genres, {sum(bool(song.artist) for song in songs)} with artist, "
        f"{sum(bool(song.duplicate_of) for song in songs)} duplicates: {out / 'manifest.csv'}"
    )
