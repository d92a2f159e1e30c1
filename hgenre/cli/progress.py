"""Progress bars, on stderr, with the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from hgenre.data.manifest import Song
    from hgenre.training.progress import Progress as FitProgress


def columns() -> "tuple[ProgressColumn, ...]":
    """The columns of every bar."""
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    return (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())


@contextmanager
def training_progress() -> (
    "Iterator[tuple[Callable[[Song, int], None], Callable[[str, float, FitProgress | None], None]]]"
):
    """(on_frames, on_fit) callbacks that draw to stderr.

    ``on_fit`` takes what is being fitted, the share of the whole run that is done, and the fit's own progress, if it
    tells of any.
    """
    import sys

    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(*columns(), console=console, transient=True, disable=not console.is_terminal) as bars:
        frames_bar = bars.add_task("features", visible=False)
        fit_bar = bars.add_task("training", total=1.0, visible=False)

        def on_frames(song: "Song", n_songs: int) -> None:
            bars.update(frames_bar, total=n_songs, visible=True, advance=1)

        def on_fit(what: str, share_done: float, progress: "FitProgress | None") -> None:
            bars.update(frames_bar, visible=False)
            if progress is None:
                bars.update(fit_bar, visible=True, completed=share_done, description=what)
                if not console.is_terminal:
                    print(f"{share_done:4.0%}  {what}", file=sys.stderr, flush=True)
                return
            epoch = progress.epoch
            line = (
                f"{what}{progress.net} epoch {epoch.epoch}/{progress.n_epochs} loss {epoch.loss:.3f} "
                f"validation {epoch.accuracy:.0%} of songs"
            )
            bars.update(fit_bar, visible=True, completed=share_done, description=line)
            if not console.is_terminal and (epoch.epoch == 1 or epoch.epoch % 10 == 0):
                print(f"{share_done:4.0%}  {line}", file=sys.stderr, flush=True)

        yield on_frames, on_fit
