"""``hgenre features``: tables of features from audio, and how well two tables agree."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from hgenre.data.table_from_audio import TableSong
    from hgenre.errors import HgenreError

features = typer.Typer(no_args_is_help=True, help="Tables of the 57 features of GTZAN's public tables.")


@features.command()
def table(
    sources: Annotated[
        list[Path], typer.Argument(metavar="SOURCE...", help="A folder a genre, a manifest, or audio files.")
    ],
    out: Annotated[Path, typer.Option(help="The CSV to write.")],
    slice_s: Annotated[
        float | None, typer.Option(help="A row for every slice of so many seconds; without, a row a song.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compute a feature table from audio, with the columns of GTZAN's public tables. Bad files are named."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    from hgenre.cli.progress import columns
    from hgenre.data.feature_table import write_table
    from hgenre.data.manifest import check_writable
    from hgenre.data.table_from_audio import rows_of_songs, songs_of_sources

    songs = songs_of_sources(sources)
    check_writable(out)
    found: dict[TableSong, HgenreError] = {}
    console = Console(stderr=True)
    with Progress(*columns(), MofNCompleteColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("features", total=len(songs))

        def on_done(song: "TableSong", error: "HgenreError | None") -> None:
            progress.advance(task)
            if error is not None:
                found[song] = error

        rows = rows_of_songs(songs, slice_s, on_done)
    faults = [(song, found[song]) for song in songs if song in found]
    for _, error in faults:
        typer.echo(f"hgenre: {error}", err=True)
    if rows:
        write_table(out, rows)
    n_good = len(songs) - len(faults)
    if as_json:
        _print_json(
            table=str(out) if rows else None,
            n_rows=len(rows),
            n_songs=n_good,
            faults=[{"path": str(s.path), "kind": e.kind, "message": str(e)} for s, e in faults],
        )
    else:
        where = f"wrote {out}" if rows else "nothing written"
        typer.echo(f"{len(rows)} rows of {n_good} of {len(songs)} songs: {where}")
    if faults:
        raise typer.Exit(1)


@features.command()
def compare(
    ours: Annotated[Path, typer.Argument(help="A table, such as `hgenre features table` writes.")],
    theirs: Annotated[Path, typer.Argument(help="A table with those songs and perhaps more.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Differences between two feature tables, in standard deviations of each column of THEIRS."""
    from dataclasses import asdict

    from hgenre.data.table_comparison import compare_tables

    found = compare_tables(ours, theirs)
    if as_json:
        columns = {name: {"median": m, "largest": x} for name, (m, x) in found.columns.items()}
        _print_json(ours=str(ours), theirs=str(theirs), **{**asdict(found), "columns": columns})
        return
    width = max(map(len, found.columns))
    typer.echo(f"{'column':{width}}   median  largest")
    for name, (median, largest) in found.columns.items():
        typer.echo(f"{name:{width}}  {median:7.1e}  {largest:7.1e}")
    typer.echo(f"{found.n_songs} songs compared; differences are shares of a column's standard deviation in {theirs}")
    for what, names in (
        ("songs missing there, or of other rows", found.missing),
        ("columns of ours alone", found.only_ours),
        ("columns of theirs alone", found.only_theirs),
    ):
        if names:
            shown = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
            typer.echo(f"{len(names)} {what}: {shown}")


def _print_json(**report: object) -> None:
    import json

    typer.echo(json.dumps(report, ensure_ascii=False))
