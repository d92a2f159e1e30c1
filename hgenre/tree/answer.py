"""How far an answer commits itself: to a genre, a group, a set of genres, or to nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hgenre.tree.conformal import genre_set, group_path
from hgenre.tree.evidence import DECIMALS, answer_path, path_probabilities
from hgenre.tree.spec import Node, TreeSpec, child_name, genres_under, home_path
from hgenre.tree.stopping import deepest_step

Steps = tuple[tuple[str, float], ...]
"""(node or genre, probability that the song is under it), root first."""

Kind = Literal["genre", "group", "set", "abstain"]


@dataclass(frozen=True)
class Answer:
    """What a model claims: the song's genre is one of ``genres``.

    Attributes:
        label: the genre's or the group's name; None where neither is claimed.
        genres: in label order of the tree; empty where the model abstains.
        path: from the root down to the label; the root alone without one.
        reason: why the model abstains, else empty.
    """

    label: str | None
    kind: Kind
    genres: tuple[str, ...]
    path: Steps
    reason: str = ""

    def to_json(self) -> dict[str, Any]:
        """The contract's JSON object."""
        return {
            "label": self.label,
            "kind": self.kind,
            "genres": list(self.genres),
            "depth": len(self.path) - 1,
            "path": [list(step) for step in self.path],
        }


def answer_genre(tree: TreeSpec, genre: str, p: Mapping[str, float]) -> Answer:
    """The genre as it is; ``p`` is genre -> probability here and below."""
    return _at(tree, home_path(tree, genre), p)


def answer_surely(
    tree: TreeSpec, genre: str, p: Mapping[str, float], threshold: float, target_accuracy: float
) -> Answer:
    """The deepest step on the way to the genre whose probability reaches the threshold."""
    steps, home = answer_path(tree, genre), home_path(tree, genre)
    path_p = path_probabilities(steps, p)
    stop = deepest_step(path_p, threshold)
    if stop >= 0:
        return _at(tree, home[: len(home) - len(steps) + stop + 1], p)
    found, needed = _told_apart(path_p[0], threshold)
    return abstain(
        tree,
        p,
        f"{child_name(steps[0])} is only {found} likely; needed {needed} for answers that are right "
        f"{target_accuracy:.1%} of the time",
    )


def answer_set(tree: TreeSpec, genre: str, p: Mapping[str, float], threshold: float, coverage: float) -> Answer:
    """The genre and all whose probability reaches the threshold, by name where they are a group."""
    genres = genre_set([p[g] for g in tree.labels], tree.labels.index(genre), threshold)
    names = tuple(tree.labels.genres[i] for i in genres)
    if len(names) == len(tree.labels):
        return abstain(
            tree, p, f"no genre can be left out if {coverage:.1%} of all songs must find theirs in the answer"
        )
    if len(names) == 1:
        return answer_genre(tree, genre, p)
    if path := group_path(tree, frozenset(names)):
        return _at(tree, path, p)
    return Answer(None, "set", names, _root(tree, p))


def abstain(tree: TreeSpec, p: Mapping[str, float], reason: str) -> Answer:
    """No claim at all."""
    return Answer(None, "abstain", (), _root(tree, p), reason)


def path_to(tree: TreeSpec, genre: str, p: Mapping[str, float]) -> Steps:
    """The way from the root to a genre, through its home where groups overlap."""
    return _with_p(home_path(tree, genre), p)


def _told_apart(p: float, threshold: float) -> tuple[str, str]:
    """Both as percentages, with a digit after the point and as many more as it takes until they differ."""
    told = ((f"{p:.{n}%}", f"{threshold:.{n}%}") for n in range(1, DECIMALS - 1))
    return next((pair for pair in told if pair[0] != pair[1]), (f"{p:.1%}", f"{threshold:.1%}"))


def _at(tree: TreeSpec, path: Sequence[Node | str], p: Mapping[str, float]) -> Answer:
    under = set(genres_under(path[-1]))
    genres = tuple(genre for genre in tree.labels if genre in under)
    return Answer(child_name(path[-1]), "genre" if len(genres) == 1 else "group", genres, _with_p(path, p))


def _root(tree: TreeSpec, p: Mapping[str, float]) -> Steps:
    return _with_p((tree.root,), p)


def _with_p(path: Sequence[Node | str], p: Mapping[str, float]) -> Steps:
    return tuple(zip(map(child_name, path), path_probabilities(path, p), strict=True))
