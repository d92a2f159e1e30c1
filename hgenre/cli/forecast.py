"""``hgenre forecast``: what a tree can win over the flat net, before it is trained."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hgenre.grouping.forecast import Forecast, Share
    from hgenre.metrics.classification import Scores
    from hgenre.tree.spec import TreeSpec


def forecast(
    results: Annotated[
        Path, typer.Argument(help="results.json of a run, or what `hgenre evaluate --json` has printed.")
    ],
    tree: Annotated[
        str | None,
        typer.Option(
            help="A configuration with groups, a shipped model, a bundle's or a run's folder; else RESULTS's own."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> None:
    """Tell what a tree can win, from a flat net's confusions: within groups by specialists, beyond by routing."""
    from hgenre.grouping.forecast import chance_verdict, verdict
    from hgenre.grouping.forecast import forecast as foretell
    from hgenre.tree.draw import draw_tree
    from hgenre.tree.spec import tree_to_json

    given = _read(results)
    router, scores = _confusion(given, results)
    spec = _tree(tree, given, results, scores)
    found = foretell(scores, spec)
    sentences = [verdict(found, router), chance_verdict(found)]
    notes = _notes(given, own_groups=tree is None or not _is_config(tree))
    if as_json:
        shape = {"router": router, "labels": list(spec.labels), "tree": tree_to_json(spec)}
        told = {"verdict": sentences[0], "chance_verdict": sentences[1], "notes": notes}
        print(json.dumps({**shape, **found.to_json(), **told}))
        return
    print(draw_tree(spec) + "\n")
    _print_tables(found, router)
    print("\n" + "\n".join([*sentences, *(f"note: {note}" for note in notes)]))


def _read(path: Path) -> dict[str, Any]:
    from hgenre.errors import HgenreError

    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HgenreError(f"{path} cannot be read: {error.strerror}; give the results.json of a run") from None
    except (ValueError, RecursionError) as error:
        raise HgenreError(f"{path} is not JSON ({error}); give the results.json of a run") from None
    if not isinstance(found, dict):
        raise HgenreError(f"{path} holds no JSON object; give the results.json of a run")
    return found


def _confusion(given: dict[str, Any], path: Path) -> "tuple[str, Scores]":
    """Who answered, and the scores of the answers for songs."""
    from hgenre.errors import HgenreError
    from hgenre.metrics.classification import Scores

    match given:
        case {"models": {"flat": {"song": {} as song}}}:
            router = "the flat net"
        case {"model": str(name), "song": {} as song}:
            router = f"model {name}"
        case _:
            raise HgenreError(
                f"{path} holds no confusion of a flat net's answers for songs, neither at models.flat.song (a run's "
                "results.json) nor at song (`hgenre evaluate --json`); give one of the two"
            )
    try:
        scores = Scores.from_json(song)
    except HgenreError as error:
        raise HgenreError(f"{path}: {error}") from None
    genres = [row.genre for row in scores.per_genre]
    if given.get("labels") != genres:
        raise HgenreError(
            f"{path}: labels are {given.get('labels')}, but the scores are over {genres}; the file is damaged, run "
            "the evaluation again"
        )
    return router, scores


def _is_config(tree: str) -> bool:
    return Path(tree).is_file() or tree.endswith(".toml")


def _tree(tree: str | None, given: dict[str, Any], path: Path, scores: "Scores") -> "TreeSpec":
    """The tree that was asked for, over the genres of the scores where the source leaves them open."""
    from hgenre.bundle import load_bundle
    from hgenre.errors import HgenreError, TreeError
    from hgenre.labels import Labels
    from hgenre.shipped import find_bundle
    from hgenre.training.border import read_config
    from hgenre.tree.spec import tree_from_groups, tree_from_json

    labels = Labels(tuple(row.genre for row in scores.per_genre))
    if tree is not None and not _is_config(tree):
        return load_bundle(find_bundle(tree)).tree
    try:
        if tree is None:
            if "tree" not in given:
                raise HgenreError(f"{path} names no tree of its own; give one with --tree")
            return tree_from_json(labels, given["tree"])
        groups = read_config(tree, resolve=False).tree.groups
        if groups is None:
            raise HgenreError(
                f"{tree} gives no groups, its tree is to be derived in training; write them under tree.groups, or "
                "give a trained tree's bundle"
            )
        return tree_from_groups(labels, groups)
    except (TreeError, RecursionError) as error:
        raise HgenreError(f"{tree or path} does not fit the genres of {path}, {', '.join(labels)}: {error}") from None


def _notes(given: dict[str, Any], *, own_groups: bool) -> list[str]:
    """What makes the figures look better than they are."""
    notes = []
    match given.get("grouping"):
        case {"source": "derived"} if own_groups and "n_folds" in given:
            notes.append("optimistic: the groups were derived from confusions on songs that are counted here")
        case {"source": "derived"} if own_groups:
            notes.append("the groups were derived from confusions on validation songs, which are not counted here")
    if given.get("protocol") == "slice-random":
        notes.append("slices of one song stood on both sides of the split, so these confusions are too few")
    if given.get("n_seen"):
        notes.append(f"{given['n_seen']} of these songs were seen in training, so these confusions are too few")
    return notes


def _print_tables(found: "Forecast", router: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    # A file or a pipe has no width to keep to.
    console = Console(width=None if sys.stdout.isatty() else 1000, highlight=False)
    console.print(f"{found.n} songs, answered by {router}", markup=False)
    shares = Table("", "songs", "share", "95 % interval")
    for name, share in (
        ("answered rightly", found.right),
        ("error inside groups: specialists can win at most", found.inside),
        ("error across groups: the router must win", found.across),
        ("ceiling of hard routing with this router", found.ceiling),
    ):
        shares.add_row(name, str(share.n), *_figures(share))
    console.print(shares)
    nodes = Table("node", "songs entering", "strays among them", "lost here", "of all", "95 % interval", "by chance")
    for node in found.nodes:
        counts = (str(count) for count in (node.n_entered, node.n_strays, node.error.n))
        name = "  " * node.depth + escape(node.node)
        nodes.add_row(name, *counts, *_figures(node.error), f"{node.chance_error:.1%}")
    console.print(nodes)
    genres = Table("genre", "songs", "right", "lost inside", "95 % interval", "lost across", "95 % interval")
    for genre in found.genres:
        figures = (f"{genre.right.share:.1%}", *_figures(genre.inside), *_figures(genre.across))
        genres.add_row(escape(genre.genre), str(genre.right.of), *figures)
    console.print(genres)


def _figures(share: "Share") -> tuple[str, str]:
    low, high = share.interval
    return f"{share.share:.1%}", f"{100 * low:.1f} to {100 * high:.1f}"
