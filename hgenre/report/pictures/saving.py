"""How every picture looks, and how it becomes files of the same bytes every time."""

import io
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hgenre.errors import HgenreError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 150

FORMS: Mapping[str, dict[str, str | None]] = {"png": {"Software": None}, "svg": {"Date": None}}
"""Formats of every picture, and what of their metadata would change from day to day, or with matplotlib alone."""

PALETTE = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#fbafe4",
    "#949494",
    "#ece133",
    "#56b4e9",
)
"""Ten colours that colour-blind people tell apart: ``colorblind`` of seaborn 0.13, https://seaborn.pydata.org."""

BLUE, ORANGE, GREY, EDGE = PALETTE[0], PALETTE[1], "#b0b0b0", "#202020"

MARKERS = "os^DvPX<>*"
"""Colours come round after ten genres; a genre is told by its marker too, in case colours are not seen."""

STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#606060",
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 12,
    "font.size": 10,
    "grid.color": "#e4e4e4",
    "legend.frameon": False,
    "savefig.dpi": DPI,
    "svg.hashsalt": "hgenre",
    # Names of genres and songs are no formulas, whatever signs they hold.
    "text.parse_math": False,
}

MAX_NAME = 24


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings for every picture, whatever the user's own are; theirs return afterwards."""
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A sign that the font lacks is drawn as an empty box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font", category=UserWarning)
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def short(name: str, length: int = MAX_NAME) -> str:
    """A name on one line and of a length that axes have room for; signs that cannot be shown are replaced by \ufffd."""
    line = "".join(sign if sign.isprintable() else "\ufffd" for sign in " ".join(name.split()))
    return line if len(line) <= length else line[: length - 1] + "…"


def title(figure: "Figure", lines: Sequence[str]) -> None:
    """What the figure shows, left above it: the first line large, the others small."""
    first, *rest = lines
    figure.suptitle("\n".join([first, *rest]), x=0.01, ha="left", linespacing=1.35)


def lattice(axes: "Axes", axis: str) -> None:
    """Faint lines across the axis along which values are read."""
    axes.grid(axis=axis)  # type: ignore[arg-type]
    axes.tick_params(length=0 if axis == "both" else 3)


@style()
def save_figure(figure: "Figure", path_stem: Path) -> list[Path]:
    """Writes ``path_stem`` + ``.png`` and ``.svg``, each beside its place and renamed; returns both paths.

    The same figure gives the same bytes: no date, and ids drawn from a fixed salt.

    Raises:
        HgenreError: nothing can be written there.
    """
    written = []
    for form, metadata in FORMS.items():
        data = io.BytesIO()
        figure.savefig(data, format=form, metadata=metadata)
        path = path_stem.with_name(f"{path_stem.name}.{form}")
        beside = path.with_name(f".{path.name}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_bytes(data.getvalue())
            os.replace(beside, path)
        except OSError as error:
            raise HgenreError(f"{path} cannot be written ({error.strerror}); choose another place (--out)") from None
        finally:
            with suppress(OSError):
                beside.unlink()
        written.append(path)
    return written
