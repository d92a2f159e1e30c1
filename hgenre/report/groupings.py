"""Groupings beside their controls, in words: what a sweep found, and what is known of groups that were derived."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from hgenre.errors import HgenreError
from hgenre.grouping.structure import Structure
from hgenre.grouping.structure import verdict as structure_verdict
from hgenre.report.figures import bullets, interval, is_sure, p_value, paired, percent
from hgenre.report.grouping_verdict import RIVALS, free_search, groups_key, usual_way, verdict
from hgenre.report.markdown import PROTOCOLS
from hgenre.report.table import escape, table
from hgenre.tree.spec import genres_under, tree_from_groups

if TYPE_CHECKING:
    from hgenre.training.grouping_file import Grouping

Json = Mapping[str, Any]

N_BEST = 10
"""So many groupings, the best inside the training parts, stand in the first table."""

COLUMNS = (
    *("grouping", "songs right", "95 % interval", "less flat net", "95 % interval", "McNemar p", "random", "random p"),
    *("L", "R", "B", "specialists", "stability", "inside"),
)

LEGEND = (
    "*random*: mean and deviation of groupings of the same sizes that know nothing of the music; *random p*: the share "
    "of them that are at least as good, *exact* where all that exist were tried.",
    "*L*, *R*, *B*: points of songs lost inside the group, by the choice of the group, and by both, when every song "
    "takes one path. *specialists*: groups of two genres or more, which are what a tree costs. *stability*: adjusted "
    "Rand index between folds and seeds (1: always the same, 0: as chance has it). *inside*: songs right in the "
    "cross-validation inside the training parts, which groupings were derived from. The training parts of several "
    "folds hold songs that other folds test, so how groupings rank there is no independent evidence.",
)


def read_sweep(folder: Path) -> dict[str, Any]:
    """What ``hgenre group sweep`` left in a folder.

    Raises:
        HgenreError: there is no ``results.json``, or it is damaged or of another command.
    """
    path = folder / "results.json"
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise HgenreError(
            f"{folder} is no sweep: it has no results.json, which hgenre group sweep writes; name the folder that it "
            "was told (--out)"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise HgenreError(f"{path} cannot be read ({error}); run hgenre group sweep again") from None
    if not isinstance(results, dict) or not {"candidates", "partitions"} <= set(results):
        raise HgenreError(
            f"{path} compares no groupings, so another command wrote it; name a folder that hgenre group sweep wrote"
        )
    return results


@contextmanager
def reported(source: str, command: str) -> Iterator[None]:
    """Tells what is missing or of another kind in a file as an HgenreError that names the command to run again."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, ZeroDivisionError) as mistake:
        raise HgenreError(
            f"{source} cannot be shown, an entry is missing or of another kind ({mistake!r}); run {command} again"
        ) from mistake


def render(results: Json, pictures: Mapping[str, str] | None = None) -> str:
    """Markdown report of ``hgenre.studies.grouping.sweep.sweep``.

    Args:
        pictures: caption -> path of an image, relative to the report.

    Raises:
        HgenreError: an entry is missing or of another kind.
    """
    with reported("results.json", "hgenre group sweep"):
        sections = [
            f"# {escape(results['name'])}: which genres belong together",
            *_verdict_section(results),
            *_trained(results.get("trained", [])),
            "## Groupings beside their controls",
            comparison_table(results),
            bullets(LEGEND),
            "## Their groups",
            bullets(_groups(row) for row in listed(results)),
            *_others(results["others"]),
            *_partitions(results),
            *_together(results),
            *_pictures(pictures or {}),
            "## How it was measured",
            bullets(_measured(results)),
            f"~~~text\n{results['command']}\n~~~",
            "## Every candidate",
            table(COLUMNS, [_cells(row) for row in results["candidates"]]),
        ]
        return "\n\n".join(sections) + "\n"


def listed(results: Json) -> list[dict[str, Any]]:
    """The candidates of the first table, one a grouping: given ones, the best inside, each method's own count.

    Of candidates with the same groups in every fold the first is taken, with its own count if there is one; ``same``
    are the others' names.
    """
    rows = results["candidates"]
    inside = sorted((row for row in rows if row["evidence"]), key=lambda row: -row["inner_accuracy"])
    chosen = {groups_key(row) for row in rows if not row["evidence"] or row["n_groups"] is None}
    chosen |= set(list(dict.fromkeys(map(groups_key, inside)))[:N_BEST])
    alike: dict[str, list[Json]] = {}
    for row in sorted(
        rows, key=lambda row: (bool(row["evidence"]), -row["inner_accuracy"], row["n_groups"] is not None)
    ):
        if (key := groups_key(row)) in chosen:
            alike.setdefault(key, []).append(row)
    return [{**first, "same": [row["name"] for row in others]} for first, *others in alike.values()]


def comparison_table(results: Json) -> str:
    """The nets without groups, and the listed candidates."""
    rows = [*results["baselines"], *listed(results)]
    return table(COLUMNS, [_cells(row) for row in rows])


def render_grouping(grouping: "Grouping", source: str) -> str:
    """Markdown of a grouping file: its groups, and what ``hgenre group derive`` knew of them.

    Raises:
        HgenreError: what is known of them is of another kind.
    """
    about, labels = grouping.about, grouping.labels
    with reported(source, "hgenre group derive"):
        children = tree_from_groups(labels, grouping.groups).root.children
        facts = [f"{escape('+'.join(genres_under(child)))}" for child in children]
        if all(isinstance(child, str) for child in children):
            facts = ["No groups: every genre stands directly under the root."]
        facts.append(f"Derived from {len(grouping.songs)} songs, none of which may test these groups.")
        if "method" in about:
            facts += [
                f"Method {escape(about['method'])}; confusions: {escape(about['evidence'])}, {about['n_folds']} folds.",
                f"The flat net has {percent(about['flat_accuracy'])} of these songs right, out of fold.",
                escape(structure_verdict(Structure(**about["structure"]))),
                f"With the flat net as router the specialists of {escape(_written(about['derived']))} can win at most "
                f"{100 * about['forecast']['inside']['share']:.1f} points "
                f"({interval(about['forecast']['inside']['interval'])}).",
            ]
        if stable := about.get("stability"):
            facts.append(
                f"Between groups of {stable['n_groupings']} sets of songs drawn anew the adjusted Rand index is "
                f"{stable['mean']:.2f} on average (1: always the same, 0: as chance has it)."
            )
        if flattened := about.get("flattened"):
            facts += map(escape, flattened["steps"])
        sections = [f"# {escape(about.get('name', source))}: groups", bullets(facts)]
        if together := about.get("together"):
            sections += ["## Which genres come together", _pairs(labels.genres, together)]
            sections.append("Shares of the groupings of songs drawn anew; pairs above one half.")
        if "command" in about:
            sections.append(f"~~~text\n{about['command']}\n~~~")
        return "\n\n".join(sections) + "\n"


def _verdict_section(results: Json) -> Iterable[str]:
    yield bullets(verdict(results))
    rows = [row for row in (usual_way(results["candidates"]), free_search(results["candidates"])) if row]
    header = ["chosen without these songs", "songs right"]
    header += [cell for rival in RIVALS.values() for cell in (f"less {rival}", "95 % interval", "McNemar p")]
    cells = [
        [row["name"], percent(row["accuracy"]), *(cell for key in RIVALS for cell in paired(row[key]))] for row in rows
    ]
    if cells:
        yield table(header, cells)


def _cells(row: Json) -> list[str]:
    """A row under COLUMNS; a model without groups has no more than its accuracy."""
    name, sd = row["name"], row.get("sd")
    if same := row.get("same"):
        name += f"; the same: {same[0]}" if len(same) == 1 else f"; the same: {same[0]} and {len(same) - 1} more"
    accuracy = percent(row["accuracy"]) + (f" ± {100 * sd:.1f}" if sd is not None else "")
    difference, bounds, p = paired(row["beside_flat"])
    cells = [name, accuracy, interval(row["interval"]), difference, bounds, p]
    if random := row.get("random"):
        exact = " exact" if random["is_exact"] else ""
        cells += [f"{percent(random['mean'])} ± {100 * random['sd']:.1f}", p_value(random["p"]) + exact]
    else:
        cells += ["–", "–"]
    ledger = row.get("ledger") or {}
    cells += [f"{100 * ledger[cell]:.1f}" if cell in ledger else "–" for cell in "LRB"]
    for key, written in (("n_specialists", "{:.1f}"), ("stability", "{:.2f}")):
        cells.append(written.format(row[key]) if key in row else "–")
    return [*cells, percent(row["inner_accuracy"]) if "inner_accuracy" in row else "–"]


def _groups(row: Json) -> str:
    """A candidate's groups, the most frequent first."""
    n_folds = len(row["groups"])
    times = Counter(map(_written, row["groups"]))
    shown = [
        escape(groups) + (f" ({n} of {n_folds} folds)" if n < n_folds else "") for groups, n in times.most_common(3)
    ]
    rest = len(times) - len(shown)
    return f"{escape(row['name'])}: {'; '.join(shown)}" + (f"; and {rest} others" if rest else "")


def _written(groups: Sequence[Sequence[str]]) -> str:
    return ", ".join("+".join(group) for group in groups)


def _others(rows: Sequence[Json]) -> Iterable[str]:
    if not rows:
        return
    yield "## Pruned, deeper and overlapping trees"
    yield table([*COLUMNS[:8], "flat in"], [[*_cells(row)[:8], _flat_in(row)] for row in rows])
    yield (
        "*auto-flattened*: groups that do not pay inside the training part are taken away, and where none does the "
        "tree is flat: do not use one there. *recursive splitting*: groups are split again as long as that pays. "
        "*overlapping*: a genre joins every group that its songs stray into, as in HD-CNN."
    )


def _flat_in(row: Json) -> str:
    """In how many folds nothing is left of the groups."""
    if "trees" in row:
        flat = [all(isinstance(child, str) for child in tree["children"]) for tree in row["trees"]]
    else:
        flat = [all(len(group) == 1 for group in groups) for groups in row["groups"]]
    return f"{sum(flat)} of {len(flat)} folds"


def _partitions(results: Json) -> Iterable[str]:
    yield "## All groupings, by number of groups"
    rows = [
        [
            str(row["n_groups"]),
            str(row["n"]),
            f"{percent(row['mean'])} ± {100 * row['sd']:.1f}" if row["n"] > 1 else percent(row["mean"]),
            percent(row["best"]),
        ]
        for row in results["partitions"]
    ]
    yield table(["groups", "groupings", "songs right", "best"], rows)
    yield (
        "One group is the flat probe, and as many groups as genres are the flat net. The best is one grouping "
        "for all folds, chosen on these very songs, so it is no estimate of anything."
    )


def _together(results: Json) -> Iterable[str]:
    yield "## Which genres come together"
    yield _pairs(results["labels"], results["together"])
    yield (
        "Shares of the groupings of all folds and seeds, over three ways: all groupings searched, the best of what the "
        "methods derive, and average linkage with its own count; pairs above one half."
    )


def _pairs(labels: Sequence[str], together: Sequence[Sequence[float]]) -> str:
    """Pairs of genres that are in one group in more than half of some groupings."""
    pairs = [(a, b) for b in range(len(labels)) for a in range(b) if together[a][b] > 0.5]
    if not pairs:
        return "No two genres are in one group in more than half of the groupings."
    pairs.sort(key=lambda pair: -together[pair[0]][pair[1]])
    rows = [[f"{labels[a]}, {labels[b]}", f"{100 * together[a][b]:.0f} %"] for a, b in pairs]
    return table(["genres", "in one group"], rows)


def _trained(rows: Sequence[Json]) -> Iterable[str]:
    """Groupings trained as trees of CNNs."""
    if not rows:
        return
    yield "## Trained as trees of CNNs"
    yield bullets(_trained_verdict(rows))
    header = [
        "tree",
        "root",
        "songs right",
        "95 % interval",
        "less flat net",
        "95 % interval",
        "McNemar p",
        *"LRB",
        "nets",
    ]
    cells = [
        [
            row["name"],
            row["root"] or "–",
            percent(row["accuracy"]),
            interval(row["interval"]),
            *paired(row["beside_flat"]),
            *(f"{100 * row['ledger'][cell]:.1f}" if row["ledger"] else "–" for cell in "LRB"),
            f"{row['n_nets']:.1f}" if "n_nets" in row else "–",
        ]
        for row in rows
    ]
    yield table(header, cells)
    yield (
        "*root*: *summed* is the flat net, its probabilities summed by group; *trained* a net of its own; *one net* a "
        "shared trunk with a head a node, tuned on the tree's loss. *nets*: of a tree, mean over folds; a specialist "
        "learns from the songs of its genres alone. Random groupings have the sizes of the first one that has groups."
    )


def _trained_verdict(rows: Sequence[Json]) -> Iterable[str]:
    random = [row["accuracy"] for row in rows if row["is_random"]]
    trees = [row for row in rows if row["root"] and not row["is_random"]]
    if random and (summed := [row for row in trees if row["root"] == "summed"]):
        best = max(random)
        yield (
            f"Random groupings, {len(random)} of them, have {percent(sum(random) / len(random))} of the songs right on "
            f"average and {percent(best)} at best; better than all of these: "
            f"{sum(row['accuracy'] > best for row in summed)} of the {len(summed)} others with the same root."
        )
    ahead, behind = (
        [row for row in trees if is_sure(row["beside_flat"]) and sign * row["beside_flat"]["difference"] > 0]
        for sign in (1, -1)
    )
    yield (
        f"Of {len(trees)} trees with groups that are not random {len(ahead)} are ahead of the flat net by more than "
        f"chance explains, and {len(behind)} behind it."
    )
    for rival in (row for row in rows if not row["root"] and row["beside_flat"]["tree_only"]):
        n_more = sum(row["accuracy"] > rival["accuracy"] for row in trees)
        yield f"More songs right than the {escape(rival['name'])} ({percent(rival['accuracy'])}): {n_more} of them."


def _pictures(pictures: Mapping[str, str]) -> Iterable[str]:
    if pictures:
        yield "## Pictures"
    for caption, path in pictures.items():
        yield f"![{escape(caption)}]({quote(path)})"


def _measured(results: Json) -> Iterable[str]:
    protocol, n, seeds = results["protocol"], results["n_songs"], results["seeds"]
    meaning = f" ({PROTOCOLS[protocol]})" if protocol in PROTOCOLS else ""
    yield (
        f"Protocol {escape(protocol)}{meaning}: {results['n_folds']} folds, of which {results['folds_run']} took their "
        f"turn as the songs set aside; {sum(n)} songs scored, {_range(n)} a fold."
    )
    yield (
        f"In each fold a flat net learns from the other songs, and a cross-validation in {results['n_inner']} folds "
        "inside these gives the evidence that groupings are derived from: no grouping has seen a song that it is "
        "scored on."
    )
    yield (
        "Scored are summed trees: the flat net, its probabilities summed by group, and for every group of two genres "
        "or more a linear probe on the flat net's embedding; the answer is the genre of the largest product. So a tree "
        "has two opinions of a song, and its fair rival is the mean of the flat net and of a probe over all genres. L, "
        "R and B are of one path a song, so 100 less their sum is not the accuracy beside them."
    )
    told = ", ".join(map(str, seeds))
    if len(seeds) > 1:
        yield (
            f"Seeds {told}: accuracies, random groupings and stability are over all of them, intervals and McNemar's p "
            "over the songs of the first."
        )
    else:
        yield f"Seed {told}: how much the initial weights matter was not measured."
    yield (
        "Intervals of accuracies are Wilson's, of differences by bootstrap over artists (songs where artists are "
        "unknown). No p-value is corrected for how many groupings are compared."
    )
    machine = "; ".join(f"{key} {value}" for key, value in results["machine"].items())
    yield f"Features: {escape(results['features'])}. Machine: {escape(machine)}. Time: {results['seconds']:.0f} s."
    yield from (f"Warning: {escape(warning)}" for warning in results["warnings"])


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
