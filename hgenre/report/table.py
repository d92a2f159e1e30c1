"""A markdown table."""

from collections.abc import Sequence


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown table of ``header`` and ``rows``: the first column left, the others right; cells are escaped."""
    rule = [":--", *["--:"] * (len(header) - 1)]
    lines = [[escape(cell) for cell in header], rule, *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: object) -> str:
    """The text on one line, with nothing in it that markdown takes for structure or HTML."""
    line = " ".join(str(text).split())
    for mark in "\\`*_[]|":
        line = line.replace(mark, "\\" + mark)
    return line.replace("&", "&amp;").replace("<", "&lt;")
