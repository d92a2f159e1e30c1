"""What a sweep of groupings comes to, in sentences: whether confusions, or any groups at all, beat their controls."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hgenre.grouping.structure import ALPHA
from hgenre.report.figures import is_sure, p_value, percent, points
from hgenre.report.table import escape

Json = Mapping[str, Any]

RIVALS = {
    "beside_flat": "the flat net",
    "beside_probe": "the flat probe",
    "beside_pair": "the mean of flat net and flat probe",
}


def verdict(results: Json) -> list[str]:
    """Whether grouping by confusions beats grouping at random, and whether any tree beats what has no groups."""
    rows = results["candidates"]
    found = [row for row in rows if _is_of_confusions(row)]
    usual, free = usual_way(rows), free_search(rows)
    chosen = [row for row in (usual, free) if row and row["n_specialists"]]
    said = []
    if usual:
        said.append(
            f"**{_headline(usual)}** {_beside_random(usual)} This is the way that `hgenre group derive` takes unless "
            "told otherwise, so one test, not the best of many."
        )
    if found:
        said.append(_many_tests(found))
    if free:
        said.append(
            f"Searched among all {results['n_partitions']} groupings, by songs of the training parts alone: "
            f"{_beside_random(free)}"
        )
    for key, rival in RIVALS.items():
        said.append(_beside_rival(_distinct(chosen), rows, key, rival))
    said.append(_structure(results["structure"]))
    return said


def usual_way(rows: Sequence[Json]) -> Json | None:
    """What ``hgenre group derive`` makes by default."""
    usual = ("average", "soft, songs", None)
    return next((row for row in rows if (row["method"], row["evidence"], row["n_groups"]) == usual), None)


def free_search(rows: Sequence[Json]) -> Json | None:
    """The best of all groupings, by probes inside the training parts."""
    return next((row for row in rows if row["method"] == "exhaustive by probes" and row["n_groups"] is None), None)


def groups_key(row: Json) -> str:
    """The same for candidates that came to the same groups in every fold."""
    return json.dumps(row["groups"])


def _is_of_confusions(row: Json) -> bool:
    return row["evidence"].split(",")[0] in ("soft", "hard")


def _distinct(rows: Sequence[Json]) -> list[Json]:
    return list({groups_key(row): row for row in reversed(rows)}.values())


def _headline(row: Json) -> str:
    if _beats_random(row):
        return "Grouping by confusions beats random grouping of the same sizes."
    if row["accuracy"] > row["random"]["mean"]:
        return "Grouping by confusions is ahead of random grouping of the same sizes, but within chance."
    return "Grouping by confusions is no better than random grouping of the same sizes."


def _beats_random(row: Json) -> bool:
    return bool(row["random"]["p"] <= ALPHA)


def _beside_random(row: Json) -> str:
    random = row["random"]
    if not row["n_specialists"]:
        return f"{_named(row)} comes to no groups in any fold: by its evidence no tree is of use."
    kind = f"all {random['n']}" if random["is_exact"] else f"{random['n']} drawn"
    return (
        f"{_named(row)} has {percent(row['accuracy'])} of {row['beside_flat']['n']} songs right, groupings of its "
        f"sizes that know nothing of the music {percent(random['mean'])} ± {100 * random['sd']:.1f} ({kind}; "
        f"p = {p_value(random['p'])})."
    )


def _many_tests(rows: Sequence[Json]) -> str:
    """How many of the groupings beat their random ones, and how many would by chance."""
    own = [row for row in _distinct(rows) if row["n_specialists"]]
    if not own:
        return "No method comes to groups by confusions."
    n_better = sum(map(_beats_random, own))
    # A p-value is a count over a count, so it need not come to exactly 0.05.
    by_chance = sum(_n_at_most_alpha(row["random"]) for row in own)
    gain = sum(row["accuracy"] - row["random"]["mean"] for row in own) / len(own)
    return (
        f"Confusions led to {len(own)} different groupings ({len(rows)} candidates). {n_better} have p ≤ {ALPHA}; if "
        f"none were better than random, {by_chance:.1f} would be expected. On average they have {points(gain)} points "
        "on their random ones. They resemble each other, so these are no independent tests."
    )


def _n_at_most_alpha(random: Json) -> float:
    """Probability that a grouping no better than random has a p-value of at most 0.05, at most."""
    n = random["n"] if random["is_exact"] else random["n"] + 1
    return int(round(ALPHA * n, 9)) / n


def _beside_rival(chosen: Sequence[Json], rows: Sequence[Json], key: str, rival: str) -> str:
    """Whether the groupings that no song tested had a say in beat a rival, and how many of all do."""
    own = [row for row in _distinct(rows) if row["n_specialists"]]
    said = [
        f"**{' and '.join(map(_named, found))} {verb} {rival}**, by more than chance explains."
        for verb, sign in (("won against", 1), ("lost to", -1))
        if (found := _sure(chosen, key, sign))
    ] or [f"**No grouping chosen without these songs differs from {rival} by more than chance explains.**"]
    return (
        f"{' '.join(said)} Of all {len(own)} different groupings {len(_sure(own, key, 1))} are ahead of it beyond "
        f"chance and {len(_sure(own, key, -1))} behind it; were all equal to it, at most {0.025 * len(own):.1f} of "
        "each would be expected."
    )


def _sure(rows: Sequence[Json], key: str, sign: int) -> list[Json]:
    """The rows whose difference to a rival has this sign, beyond chance."""
    return [row for row in rows if is_sure(row[key]) and sign * row[key]["difference"] > 0]


def _named(row: Json) -> str:
    return f'"{escape(row["name"])}"'


def _structure(folds: Sequence[Json]) -> str:
    found = [own for own in folds if own["is_there"]]
    mean, by_chance = (sum(own[name] for own in folds) / len(folds) for name in ("statistic", "null_mean"))
    return (
        f"Mistakes inside the training parts know groups in {len(found)} of {len(folds)} folds (p ≤ {ALPHA}): groups "
        f"hold {100 * mean:.1f} points more of them than their sizes explain, and {100 * by_chance:.1f} where wrong "
        "answers are dealt anew."
    )
