"""Taxonomies in files: the shipped one states what FMA says, and every mistake is told by its place."""

import csv
import re
from pathlib import Path

import pytest

from hgenre.errors import ConfigError
from hgenre.labels import Labels
from hgenre.predict import load
from hgenre.taxonomy import read_taxonomy, shipped_taxonomies
from hgenre.tree.spec import Node, child_name

GTZAN = Labels(("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"))
FMA_NAMES = {"hiphop": "Hip-Hop", "reggae": "Reggae - Dub"}
NONE = Labels(("a",))


def test_the_shipped_taxonomy_is_read_by_its_name_and_by_its_path() -> None:
    by_name = read_taxonomy("gtzan10-fma", GTZAN)
    assert by_name.name == "gtzan10-fma"
    assert by_name == read_taxonomy(shipped_taxonomies()["gtzan10-fma"], GTZAN)
    assert set(by_name.tree.labels) == set(GTZAN) == set(load("gtzan10-tree").genres)


@pytest.mark.real_data
def test_the_shipped_taxonomy_says_what_fma_says(gtzan: Path) -> None:
    with open(gtzan.parent / "fma_small" / "genres.csv", encoding="utf-8", newline="") as file:
        rows = {row["genre_id"]: row for row in csv.DictReader(file)}
    parent_of = {row["title"]: rows[row["parent"]]["title"] for row in rows.values() if row["parent"] != "0"}
    tree = read_taxonomy("gtzan10-fma", GTZAN).tree
    found = {(child_name(child), node.name) for node in tree.nodes for child in node.children if isinstance(child, str)}
    titles = {genre: FMA_NAMES.get(genre, genre.capitalize()) for genre in GTZAN}
    assert {row["title"] for row in rows.values()} >= set(titles.values())
    expected = {(genre, parent_of.get(title, "root")) for genre, title in titles.items()}
    assert found == expected - {("rock", "root")} | {("rock", "Rock")}


def test_the_whole_hierarchy_of_fma_is_shipped() -> None:
    tree = read_taxonomy("fma", Labels(("Rock", "Hip-Hop", "Metal"))).tree
    assert (len(tree.labels), len(tree.levels)) == (163, 5)
    rock = next(node for node in tree.root.children if child_name(node) == "All Rock")
    assert {"Rock", "All Metal", "All Punk"} <= {child_name(child) for child in rock.children}  # type: ignore[union-attr]


@pytest.mark.real_data
def test_the_whole_hierarchy_is_the_published_one(gtzan: Path) -> None:
    with open(gtzan.parent / "fma_small" / "genres.csv", encoding="utf-8", newline="") as file:
        rows = {row["genre_id"]: row for row in csv.DictReader(file)}
    tree = read_taxonomy("fma", Labels(("Rock",))).tree
    own_node = {child: node for node in tree.nodes for child in node.children if isinstance(child, str)}
    parent_of = {child.name: node.name for node in tree.nodes for child in node.children if isinstance(child, Node)}
    for row in rows.values():
        # A genre with narrower ones stands in a node of its own, and that in the node of its parent.
        has_narrower = any(other["parent"] == row["genre_id"] for other in rows.values())
        at = own_node[row["title"]].name
        if has_narrower:
            assert at == f"All {row['title']}"
            at = parent_of[at]
        assert at == ("root" if row["parent"] == "0" else f"All {rows[row['parent']]['title']}")
    assert len(tree.labels) == len(rows)


def test_a_path_goes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gtzan10-fma").write_text('groups = ["a", "b"]', encoding="utf-8")
    assert read_taxonomy("gtzan10-fma", NONE).tree.is_flat


def test_a_taxonomy_may_hold_more_and_deeper_genres(tmp_path: Path) -> None:
    path = tmp_path / "deep.toml"
    path.write_text('groups = ["c", { one = ["b", { two = ["a", "d"] }] }, { three = ["d"] }]', encoding="utf-8")
    taxonomy = read_taxonomy(path, Labels(("a", "b")))
    assert (taxonomy.name, taxonomy.tree.labels.genres) == ("deep", ("c", "b", "a", "d"))
    assert [node.name for node in taxonomy.tree.nodes] == ["root", "one", "two", "three"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("groups = [", r"file: is not TOML: "),
        (b"groups = ['\xff']", r"file: is not TOML: 'utf-8' codec"),
        ("", r"groups: found None, needed a list or a table"),
        ("groups = 'a'", r"groups: found 'a', needed a list or a table"),
        ("groups = []", r"groups: the list of genres is empty"),
        ("groups = ['a']\nname = 'x'", r"1 mistake .*\n  name: is unknown; a taxonomy holds groups alone"),
        ("groups = ['a', 3]", r"groups: groups\[1\]: found 3, needed a genre, a list or a table"),
        ("groups = ['a', { a = ['b'] }]", r"groups: group 'a' has the name of a genre"),
        ("groups = { x = ['b'], y = ['c'] }", r"groups: lacks a, which the model answers; it holds b, c; add them"),
    ],
)
def test_mistakes_are_told_by_their_place(text: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message) as caught:
        read_taxonomy(path, NONE)
    assert caught.value.source == str(path)


def test_a_taxonomy_that_is_not_there_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nosuch: .*\n  file: does not exist, nor .* a shipped one \(.*gtzan10-fma"):
        read_taxonomy("nosuch", NONE)
    with pytest.raises(ConfigError, match=re.escape(f"{tmp_path}: 1 mistake")):
        read_taxonomy(tmp_path, NONE)
