"""What a tree can win, against song after song sent down the tree by hand."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import HgenreError
from hgenre.grouping.forecast import Share, chance_verdict, forecast, verdict
from hgenre.labels import Labels
from hgenre.metrics.classification import Scores, scores_of
from hgenre.metrics.intervals import wilson
from hgenre.tree.spec import ROOT, Node, TreeSpec, flat_tree, tree_from_groups
from tests.oracles import losing_node
from tests.small_trees import CHAINED, FLAT, LABELS, OVERLAPPING, PLAIN, RAGGED, genre_trees


def random_scores(labels: Labels, seed: int, most: int = 6) -> Scores:
    counts = np.random.default_rng(seed).integers(0, most, (len(labels), len(labels)))
    counts[0, -1] += 1
    return scores_of(counts, labels)


def songs_of(scores: Scores) -> list[tuple[str, str]]:
    """(true genre, answer) of every song."""
    genres = [row.genre for row in scores.per_genre]
    return [
        pair
        for i, j in itertools.product(range(len(genres)), repeat=2)
        for pair in [(genres[i], genres[j])] * scores.confusion[i][j]
    ]


def router_of(tree: TreeSpec) -> str:
    here = tree.root
    while len(here.children) == 1 and isinstance(here.children[0], Node):
        here = here.children[0]
    return here.name


@settings(max_examples=60)
@given(tree=genre_trees(), seed=st.integers(0, 1000))
def test_every_error_is_where_the_song_lost_its_genre(tree: TreeSpec, seed: int) -> None:
    scores = random_scores(tree.labels, seed)
    found, songs = forecast(scores, tree), songs_of(scores)
    lost_at = [losing_node(tree, *song) for song in songs]
    by_node, router = Counter(lost_at), router_of(tree)
    assert {row.node: row.error.n for row in found.nodes if row.error.n} == {k: v for k, v in by_node.items() if k}
    assert [row.node for row in found.nodes] == [node.name for node in tree.net_nodes]
    assert (found.right.n, found.across.n) == (by_node[None], by_node[router])
    for row in found.genres:
        own = [node for (truth, _), node in zip(songs, lost_at, strict=True) if truth == row.genre]
        assert (row.right.n, row.right.of, row.across.n) == (own.count(None), len(own), own.count(router))
        assert row.inside.n == len(own) - own.count(None) - own.count(router)


@settings(max_examples=60)
@given(tree=genre_trees(), seed=st.integers(0, 1000))
def test_shares_add_up(tree: TreeSpec, seed: int) -> None:
    found = forecast(random_scores(tree.labels, seed), tree)
    assert found.right.n + found.inside.n + found.across.n == found.n
    assert found.ceiling.n == found.n - found.across.n
    assert sum(row.error.n for row in found.nodes) == found.inside_of_errors.of == found.n - found.right.n
    for kind in ("right", "inside", "across"):
        assert sum(getattr(row, kind).n for row in found.genres) == getattr(found, kind).n
    chance = sum(row.chance_error for row in found.nodes)
    assert chance == pytest.approx(found.inside_of_errors.of / found.n)
    assert found.nodes[0].chance_error == pytest.approx(chance * (1 - found.chance_inside_of_errors))
    for share in (found.right, found.inside, found.across, found.ceiling, *(row.error for row in found.nodes)):
        assert share == Share(share.n, found.n, share.n / found.n, wilson(share.n, found.n))


@settings(max_examples=20)
@given(tree=genre_trees(max_genres=5), seed=st.integers(0, 1000))
def test_chance_is_the_mean_over_all_ways_to_deal_the_genres(tree: TreeSpec, seed: int) -> None:
    songs = songs_of(random_scores(tree.labels, seed))
    deals = [dict(zip(tree.labels, dealt, strict=True)) for dealt in itertools.permutations(tree.labels)]
    lost = Counter(losing_node(tree, deal[truth], deal[answer]) for deal in deals for truth, answer in songs)
    found = forecast(random_scores(tree.labels, seed), tree)
    for row in found.nodes:
        assert row.chance_error == pytest.approx(lost[row.node] / len(deals) / len(songs))


@pytest.mark.parametrize("tree", [PLAIN, RAGGED, OVERLAPPING, CHAINED])
def test_a_node_is_entered_by_what_it_answers_loses_and_never_held(tree: TreeSpec) -> None:
    scores = random_scores(LABELS, 3)
    rows = {row.node: row for row in forecast(scores, tree).nodes}
    for node in tree.net_nodes:
        under = {inner.name for inner in TreeSpec(Labels(node.genres), node).net_nodes}
        way = [g for g in LABELS if _goes_home_through(tree, g, node.name)]
        right = sum(truth == answer and answer in way for truth, answer in songs_of(scores))
        row = rows[node.name]
        assert row.n_entered == right + row.n_strays + sum(rows[name].error.n for name in under)
        assert row.n_entered == sum(answer in way for _, answer in songs_of(scores))


def _goes_home_through(tree: TreeSpec, genre: str, name: str) -> bool:
    here: Node | str = tree.root
    while isinstance(here, Node):
        if here.name == name:
            return True
        here = here.children[here.home_child_idx(genre)]
    return False


def test_depths_are_told() -> None:
    found = forecast(random_scores(LABELS, 0), RAGGED)
    assert [(row.node, row.depth) for row in found.nodes] == [("root", 0), ("deep", 1), ("deeper", 2), ("deepest", 3)]


@settings(max_examples=20)
@given(tree=genre_trees(), seed=st.integers(0, 1000))
def test_the_order_of_the_labels_does_not_matter(tree: TreeSpec, seed: int) -> None:
    scores = random_scores(tree.labels, seed)
    order = np.random.default_rng(seed).permutation(len(tree.labels))
    shuffled = Labels(tuple(tree.labels.genres[i] for i in order))
    other = scores_of(np.array(scores.confusion)[np.ix_(order, order)], shuffled)
    assert forecast(other, tree) == forecast(scores, tree)


@pytest.mark.parametrize(
    "tree",
    [
        FLAT,
        tree_from_groups(LABELS, {genre.upper(): [genre] for genre in LABELS}),
        tree_from_groups(LABELS, {"all": list(LABELS)}),
    ],
    ids=["flat", "singletons", "one group"],
)
def test_without_specialists_all_error_is_the_routers(tree: TreeSpec) -> None:
    scores = random_scores(LABELS, 1)
    found = forecast(scores, tree)
    assert (found.inside.n, found.across.n) == (0, scores.n - scores.n_right)
    assert found.ceiling == found.right
    low, high = found.across.interval
    assert verdict(found) == (
        f"This tree has no specialists: all {100 - 100 * scores.accuracy:.1f} points of error of the flat net "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}) are the router's."
    )
    assert chance_verdict(found).startswith("There is no error, or no specialist, ")


def confused(within: int, across: int) -> Scores:
    """Confusion of PLAIN's genres: so many songs a pair inside a group, and a pair across groups."""
    group = np.arange(6) // 3
    counts = np.where(group[:, None] == group, within, across) + 7 * np.eye(6, dtype=np.int64)
    return scores_of(counts, LABELS)


def test_the_verdict_is_plain() -> None:
    # 12 pairs are inside and 18 across: 36 and 18 errors of 6 * (7 + 3) + 54 songs' 114.
    found = forecast(confused(within=3, across=1), PLAIN)
    low, high = wilson(36, 114)
    assert verdict(found, "model x") == (
        f"With model x as router the specialists can win at most 31.6 points (95 % interval {100 * low:.1f} to "
        f"{100 * high:.1f}); anything beyond must come from a better router."
    )


@pytest.mark.parametrize(
    ("within", "across", "meaning"),
    [
        (3, 1, "the groups follow the confusions"),
        (1, 1, "these songs do not show that the groups have to do with the confusions"),
        (1, 3, "the groups part what is confused"),
    ],
)
def test_chance_is_said_beside_the_groups(within: int, across: int, meaning: str) -> None:
    sentence = chance_verdict(forecast(confused(within, across), PLAIN))
    n_inside, n_wrong = 12 * within, 12 * within + 18 * across
    assert sentence.startswith(f"Of all errors {100 * n_inside / n_wrong:.1f} % stay inside a group (95 % interval ")
    assert sentence.endswith(f"groups of these sizes drawn at random hold 40.0 % on average: {meaning}.")


@pytest.mark.parametrize(("n_inside", "n_across"), [(3, 2), (1, 4)])
def test_few_errors_prove_nothing_about_the_groups(n_inside: int, n_across: int) -> None:
    counts = 7 * np.eye(6, dtype=np.int64)
    counts[0, 1], counts[0, 4] = n_inside, n_across
    assert "these songs do not show" in chance_verdict(forecast(scores_of(counts, LABELS), PLAIN))


def test_a_flat_net_without_mistakes_leaves_nothing_to_win() -> None:
    found = forecast(scores_of(np.eye(6, dtype=np.int64), LABELS), PLAIN)
    assert (found.inside.share, found.across.share, found.ceiling.share) == (0.0, 0.0, 1.0)
    assert found.inside_of_errors == Share(0, 0, 0.0, (0.0, 1.0))
    assert "at most 0.0 points" in verdict(found)
    assert chance_verdict(found).startswith("There is no error")


def test_one_genre_has_nothing_to_confuse() -> None:
    alone = Labels(("jazz",))
    found = forecast(scores_of(np.array([[3]]), alone), flat_tree(alone))
    assert [row.node for row in found.nodes] == [ROOT]
    assert found.right.n == 3


def test_other_genres_are_named() -> None:
    scores = scores_of(np.eye(2, dtype=np.int64), Labels(("a", "polka")))
    with pytest.raises(HgenreError, match="over the genres a, polka, the tree over a, b, c, d, e, f; give a tree of"):
        forecast(scores, PLAIN)
