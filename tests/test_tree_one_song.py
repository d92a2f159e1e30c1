"""One song's account: ways against paths written out, and the node that decided."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import TreeError
from hgenre.tree.one_song import why_song
from hgenre.tree.route import Route
from hgenre.tree.spec import Node, TreeSpec, child_name
from tests.oracles import first_best, genre_paths, genre_probabilities, song_answer, steps_probability
from tests.small_trees import PLAIN, genre_trees, random_node_logp


def logs(root: list[list[float]], left: list[float], right: list[float]) -> dict[str, np.ndarray]:
    """Node outputs of PLAIN; the specialists say the same of every slice."""
    p = {"root": root, "left": [left] * len(root), "right": [right] * len(root)}
    return {name: np.log(rows) for name, rows in p.items()}


ROOT_WRONG = logs([[0.3, 0.7], [0.4, 0.6], [0.6, 0.4]], [0.8, 0.1, 0.1], [0.1, 0.8, 0.1])
SPECIALIST_WRONG = logs([[0.9, 0.1]] * 3, [0.2, 0.5, 0.3], [0.1, 0.8, 0.1])
UNSURE = logs([[0.6, 0.4]] * 3, [0.5, 0.3, 0.2], [0.05, 0.9, 0.05])
"""The root prefers left and left prefers a, but e in right is likelier than a."""


@pytest.mark.parametrize(
    ("node_logp", "true_genre", "answer", "decided", "verdict"),
    [
        (
            ROOT_WRONG,
            "a",
            "e",
            ("lost", "root", "left", 1.3 / 3, "right", 1.7 / 3, True),
            "Answered e, not a: lost at root, which chose right (57%) before left (43%).",
        ),
        (
            SPECIALIST_WRONG,
            "c",
            "b",
            ("lost", "left", "c", 0.3, "b", 0.5, True),
            "Answered b, not c: lost at left, which chose b (50%) before c (30%).",
        ),
        (
            UNSURE,
            "a",
            "e",
            ("lost", "left", "a", 0.5, "b", 0.3, False),
            "Answered e, not a: every node on its way chose rightly, but not by enough; the least sure was left, with "
            "a (50%) against b (30%).",
        ),
        (
            SPECIALIST_WRONG,
            "b",
            "b",
            ("won", "left", "b", 0.5, "c", 0.3, False),
            "Answered b, and rightly; the closest call was at left: b (50%) before c (30%).",
        ),
        (
            ROOT_WRONG,
            None,
            "e",
            ("open", "root", "right", 1.7 / 3, "left", 1.3 / 3, False),
            "Answered e; nearest to another answer at root: right (57%) before left (43%).",
        ),
    ],
)
def test_the_node_that_decided(
    node_logp: dict[str, np.ndarray], true_genre: str | None, answer: str, decided: tuple[Any, ...], verdict: str
) -> None:
    found = why_song(PLAIN, node_logp, true_genre=true_genre)
    assert (found["answer"], found["true_genre"]) == (answer, true_genre)
    keys = ("outcome", "node", "child", "p", "rival", "rival_p", "by_vote")
    assert found["decided"] == pytest.approx(dict(zip(keys, decided, strict=True)))
    assert found["verdict"] == verdict


def test_a_route_answers_its_own_way() -> None:
    assert why_song(PLAIN, UNSURE)["answer"] == "e"
    hard = why_song(PLAIN, UNSURE, route=Route("hard", "song"))
    assert hard["answer"] == "a"
    assert [row["genre"] for row in hard["slices"]] == ["a"] * 3


@given(genre_trees(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_ways_agree_with_paths_written_out(tree: TreeSpec, seed: int) -> None:
    node_logp = random_node_logp(tree, (4,), seed)
    found = why_song(tree, node_logp, start_s=[0.0, 1.0, 2.0, 3.0])
    rows = [{name: np.exp(logp[i]).tolist() for name, logp in node_logp.items()} for i in range(4)]
    p_of_slice = [genre_probabilities(tree, row) for row in rows]
    assert found["answer"] == tree.labels.genres[song_answer(p_of_slice, "majority")]
    json.dumps(found)

    def best(genres: set[str]) -> tuple[float, list[str]]:
        ways = [
            (
                math.fsum(steps_probability(steps, row) for row in rows) / 4,
                [child_name(node.children[i]) for node, i in steps],
            )
            for steps, genre in genre_paths(tree.root)
            if genre in genres
        ]
        return max(ways, key=lambda way: way[0])

    for way, genres in (
        (found["way"], {found["answer"]}),
        (found["runner_up"], set(tree.labels) - {found["answer"]}),
    ):
        p, names = best(genres)
        assert [name for name, _ in way] == ["root", *names]
        assert way[-1][1] == pytest.approx(p)
        assert all(above >= below for (_, above), (_, below) in itertools.pairwise(way))
    for i, (row, p_of_genre) in enumerate(zip(found["slices"], p_of_slice, strict=True)):
        here: Node | str = tree.root
        names = ["root"]
        while isinstance(here, Node):
            here = here.children[first_best(rows[i][here.name]) if len(here.children) > 1 else 0]
            names.append(child_name(here))
        assert row["way"] == names
        assert row["genre"] == tree.labels.genres[first_best(p_of_genre)]
        assert (row["start_s"], row["p"]) == (float(i), pytest.approx(max(p_of_genre)))
    assert [node["node"] for node in found["nodes"]] == [node.name for node in tree.net_nodes]
    for node in found["nodes"]:
        assert sum(child["votes"] for child in node["children"]) == 4
        assert sum(child["p"] for child in node["children"]) == pytest.approx(1)
        assert node["n_came"] == sum(node["node"] in row["way"] for row in found["slices"])


def test_an_unknown_genre_is_named() -> None:
    with pytest.raises(TreeError, match="genre 'polka' is not among a, b, c, d, e, f"):
        why_song(PLAIN, UNSURE, true_genre="polka")
