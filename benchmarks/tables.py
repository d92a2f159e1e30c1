"""Results as markdown, and the place in a document where they stand."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

Result = Mapping[str, Any]

MARKERS = re.compile(r"(<!-- table: scripts/bench[^\n]*-->\n).*?(<!-- end of table -->)", re.DOTALL)


def report(results: Sequence[Result]) -> str:
    """All tables, then where and when they were measured."""
    parts = [
        _ratio_table([r for r in results if "comparisons" in r]),
        *(_growth_table(r) for r in results if "n_songs" in r),
        "\n".join(f"* {line}" for line in dict.fromkeys(_measured(r["measured"]) for r in results)),
    ]
    return "\n\n".join(part for part in parts if part)


def write_tables(path: Path, results: Sequence[Result]) -> None:
    """Replaces what stands between the document's two markers."""
    text = path.read_text()
    if not MARKERS.search(text):
        raise SystemExit(
            f"benchmark: {path} has no place for the tables; "
            "give it the lines '<!-- table: scripts/bench -->' and '<!-- end of table -->'"
        )
    path.write_text(MARKERS.sub(lambda found: f"{found[1]}\n{report(results)}\n\n{found[2]}", text))


def _ratio_table(results: Sequence[Result]) -> str:
    """Medians, paired ratios (lowest..highest round), targets, and the floor of our side with the share reached."""
    if not results:
        return ""
    lines = [
        "| what | ours | baseline | ratio (lowest..highest) | target | met | floor of ours (reached) |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for found in result["comparisons"]:
            sides = " | ".join(_side(result, found[which]) for which in ("ours", "baseline"))
            if "skipped" in found:
                ratio, met = f"skipped: {found['skipped']}", ""
            else:
                ratio = f"**{_ratio(found['ratio'])}** ({_ratio(found['lowest'])}..{_ratio(found['highest'])})"
                met = {None: "", True: "yes", False: "no"}[found["met"]]
            floor = result["floors"].get(found["ours"])
            reached = f"{floor['floor']:.3g} {result['unit']} ({floor['fraction']:.0%})" if floor else ""
            lines.append(f"| {result['what']} | {sides} | {ratio} | {found['target'] or ''} | {met} | {reached} |")
    return "\n".join(lines)


def _side(result: Result, label: str) -> str:
    if label not in result["values"]:
        return label
    note = f" ({result['notes'][label]})" if label in result["notes"] else ""
    return f"{label}{note}: {median(result['values'][label]):.3g} {result['unit']}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _growth_table(result: Result) -> str:
    rows = zip(result["n_songs"], result["seconds"], result["peak_gib"], strict=True)
    return "\n".join(
        [
            f"{result['what']}:",
            "",
            "| songs | s | ms a song | peak GiB |",
            "|---|---|---|---|",
            *(f"| {n} | {s:.3g} | {1000 * s / n:.3g} | {gib:.2f} |" for n, s, gib in rows),
            "",
            f"Time grows with the exponent {result['time_exponent']:.2f} (fitted beyond one song's "
            f"{result['one_song']['seconds']:.3g} s; {result['last_time_exponent']:.2f} between the last two sizes), "
            f"memory with {result['last_memory_exponent']:.2f} between the last two sizes.",
        ]
    )


def _measured(about: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {found}" for name, found in about["versions"].items())
    limits = about["limits"]
    return (
        f"{about['date']}, `{' '.join(about['command'])}`. {about['machine']}: {limits['gflop_per_s']:.0f} GFLOP/s "
        f"(float32 product of matrices), {limits['gbyte_per_s']:.0f} GB/s (copy), "
        f"{limits['python_start_ms']:.0f} ms to start an interpreter. {versions}."
    )
