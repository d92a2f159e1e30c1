"""How far answers go, on trees of every shape."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.tree.answer import Answer, abstain, answer_genre, answer_set, answer_surely, path_to
from hgenre.tree.spec import TreeSpec
from tests.small_trees import CHAINED, OVERLAPPING, PLAIN, RAGGED, genre_trees

P = {"a": 0.05, "b": 0.1, "c": 0.15, "d": 0.4, "e": 0.2, "f": 0.1}


def rounded(answer: Answer) -> list[list[object]]:
    return [[name, round(p, 6)] for name, p in answer.path]


def test_a_genre_is_answered_as_it_is() -> None:
    answer = answer_genre(RAGGED, "d", P)
    assert (answer.label, answer.kind, answer.genres, answer.reason) == ("d", "genre", ("d",), "")
    assert rounded(answer) == [["root", 1], ["deep", 0.85], ["deeper", 0.75], ["deepest", 0.6], ["d", 0.4]]
    assert path_to(RAGGED, "d", P) == answer.path
    assert answer.to_json() == {
        "label": "d",
        "kind": "genre",
        "genres": ["d"],
        "depth": 4,
        "path": [list(step) for step in answer.path],
    }


@pytest.mark.parametrize(
    ("tree", "threshold", "label", "genres", "depth"),
    [
        (RAGGED, 0.4, "d", "d", 4),
        (RAGGED, 0.41, "deepest", "de", 3),
        (RAGGED, 0.75, "deeper", "cde", 2),
        (RAGGED, 0.85, "deep", "bcde", 1),
        (PLAIN, 0.7, "right", "def", 1),
        (OVERLAPPING, 0.5, "one", "abcd", 1),  # the home of d; it is in inner and in two as well
        (CHAINED, 0.3, "d", "d", 4),  # the groups above hold nothing else, and so they are the genre
    ],
)
def test_a_sure_answer_is_the_deepest_that_reaches_the_threshold(
    tree: TreeSpec, threshold: float, label: str, genres: str, depth: int
) -> None:
    answer = answer_surely(tree, "d", P, threshold, 0.9)
    assert (answer.label, "".join(answer.genres), answer.to_json()["depth"]) == (label, genres, depth)
    assert answer.kind == ("genre" if len(genres) == 1 else "group")
    assert answer.path == path_to(tree, "d", P)[: depth + 1]
    assert answer.reason == ""


def test_an_unsure_answer_claims_nothing_and_says_why() -> None:
    answer = answer_surely(PLAIN, "d", P, 0.75, 0.9)
    assert answer.to_json() == {
        "label": None,
        "kind": "abstain",
        "genres": [],
        "depth": 0,
        "path": [["root", pytest.approx(1)]],
    }
    assert answer.reason == "right is only 70.0% likely; needed 75.0% for answers that are right 90.0% of the time"
    for p, needed, said in [
        (0.99987, 0.999951, "left is only 99.99% likely; needed 100.00% for"),
        (0.9999496, 1.0, "left is only 99.99% likely; needed 100.00% for"),
        (0.999998, 0.999999, "left is only 99.9998% likely; needed 99.9999% for"),
        (0.9999988, 1.0, "left is only 99.9999% likely; needed 100.0000% for"),
    ]:
        nearly = {**dict.fromkeys("abcdef", 0.0), "a": p, "d": 1 - p}
        assert answer_surely(PLAIN, "a", nearly, needed, 0.95).reason.startswith(said)
    assert answer_surely(CHAINED, "d", P, 0.45, 0.8).reason.startswith("second is only 40.0% likely; needed 45.0%")


@pytest.mark.parametrize(
    ("genre", "threshold", "label", "kind", "genres", "names"),
    [
        ("d", 0.3, "d", "genre", "d", ["root", "right", "d"]),
        ("a", 0.5, "a", "genre", "a", ["root", "left", "a"]),
        ("d", 0.2, None, "set", "de", ["root"]),
        ("f", 0.2, "right", "group", "def", ["root", "right"]),
        ("a", 0.2, None, "set", "ade", ["root"]),
        ("d", 0.05, None, "abstain", "", ["root"]),
    ],
)
def test_a_set_is_called_what_it_is(
    genre: str, threshold: float, label: str | None, kind: str, genres: str, names: list[str]
) -> None:
    answer = answer_set(PLAIN, genre, P, threshold, 0.9)
    assert (answer.label, answer.kind, "".join(answer.genres)) == (label, kind, genres)
    assert [name for name, _ in answer.path] == names
    assert bool(answer.reason) == (kind == "abstain")


def test_a_set_of_all_genres_says_why() -> None:
    answer = answer_set(PLAIN, "d", P, 0.0, 0.999)
    assert answer.reason == "no genre can be left out if 99.9% of all songs must find theirs in the answer"
    assert abstain(PLAIN, P, "because").reason == "because"


def test_a_group_that_is_not_on_the_vote_s_way_is_named_too() -> None:
    answer = answer_set(OVERLAPPING, "d", {"a": 0, "b": 0, "c": 0.3, "d": 0.4, "e": 0.3, "f": 0}, 0.3, 0.9)
    assert (answer.label, answer.genres) == ("inner", ("c", "d", "e"))
    assert rounded(answer) == [["root", 1], ["two", 1], ["inner", 1]]


@given(genre_trees(), st.data())
@settings(max_examples=60)
def test_a_sure_answer_holds_the_vote_and_is_sure(tree: TreeSpec, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(1, 100), min_size=len(tree.labels), max_size=len(tree.labels)))
    p = {genre: w / sum(weights) for genre, w in zip(tree.labels, weights, strict=True)}
    genre = data.draw(st.sampled_from(tree.labels.genres))
    low, high = sorted(data.draw(st.tuples(st.floats(0, 1), st.floats(0, 1))))
    sure, surer = (answer_surely(tree, genre, p, threshold, 0.9) for threshold in (low, high))
    assert set(sure.genres) <= (set(surer.genres) or set(tree.labels))
    if surer.kind != "abstain":
        assert genre in surer.genres
        assert len(surer.genres) < len(tree.labels)
        assert sum(p[g] for g in surer.genres) >= high - 1e-6
