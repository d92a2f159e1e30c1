"""Trees split as deep as it pays: planted structure is found at its depth, and none is made of noise."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.deeper import Answers, split_recursively
from hgenre.grouping.exhaustive import right_songs, tables
from hgenre.grouping.partitions import set_partitions
from hgenre.grouping.summed_tree import summed_node_logp, summed_posterior
from hgenre.labels import Labels
from hgenre.tree.draw import draw_tree
from hgenre.tree.spec import flat_tree, genres_under, tree_from_groups

LABELS = Labels(("a", "b", "c", "d", "e", "f"))


def masks_of(*groups: str) -> set[int]:
    return {sum(1 << LABELS.index(genre) for genre in group) for group in groups}


def songs(good: set[int], poor: set[int], n_songs: int, seed: int) -> Answers:
    """Songs of six genres: flat net and probes guess, probes of ``good`` sets know, those of ``poor`` ones half."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 6, n_songs)
    rows = np.arange(n_songs)
    # The flat net always knows the half of the genres, a-b-c or d-e-f, and nothing else.
    noise = random.dirichlet(np.ones(6), n_songs)
    p = np.where((np.arange(6) // 3) == (truth // 3)[:, None], noise, 1e-6)
    p /= p.sum(axis=1, keepdims=True)
    probes = np.zeros((64, n_songs, 6))
    for subset in range(1, 64):
        held = (subset >> np.arange(6) & 1).astype(bool)
        own = random.dirichlet(np.ones(6), n_songs) * held
        own /= own.sum(axis=1, keepdims=True)
        knows = 1.0 if subset in good else 0.6 if subset in poor else 0.0
        known = held[truth] & (random.random(n_songs) < knows)
        own[known] *= 0.05
        own[rows[known], truth[known]] += 0.95
        probes[subset] = own
    return Answers(p, probes.astype(np.float32), truth)


def three(good: set[int], poor: set[int] = frozenset(), n_songs: int = 150) -> list[Answers]:  # type: ignore[assignment]
    return [songs(good, poor, n_songs, seed) for seed in (1, 2, 3)]


def test_a_planted_split_is_found_and_goes_no_deeper() -> None:
    tree, tried = split_recursively(three(masks_of("abc", "def")), LABELS)
    assert tree == tree_from_groups(LABELS, [{"a+b+c": ["a", "b", "c"]}, {"d+e+f": ["d", "e", "f"]}])
    assert [split.pays for split in tried] == [True, False, False]
    assert tried[0].net_win.n == 450


def test_a_second_level_is_found() -> None:
    """The specialist of a, b, c tells c from the two others, and only that of a and b tells these apart."""
    parts = [songs(masks_of("ab", "def"), masks_of("abc"), 300, seed) for seed in (1, 2, 3)]
    tree, _ = split_recursively(parts, LABELS)
    inner = {"a+b+c": [{"a+b": ["a", "b"]}, "c"]}
    assert tree == tree_from_groups(LABELS, [inner, {"d+e+f": ["d", "e", "f"]}]), draw_tree(tree)


def test_nodes_of_one_name_are_told_apart() -> None:
    """The first three genres are joined to the same as the last three."""
    labels = Labels(("a", "b+c", "d/", "a+b", "c", "d-"))
    parts = [songs(masks_of("abc", "def"), set(), 150, seed) for seed in (1, 2, 3)]
    tree, _ = split_recursively(parts, labels)
    assert [genres_under(child) for child in tree.root.children] == [labels.genres[:3], labels.genres[3:]]


@given(st.integers(0, 999), st.permutations(range(6)))
@settings(max_examples=30, deadline=None)
def test_the_order_of_labels_does_not_matter(seed: int, order: list[int]) -> None:
    """Few songs, so that many splits are equally good."""
    parts = [songs(masks_of("abc"), masks_of("de"), 6, seed + i) for i in range(2)]
    labels = Labels(tuple(LABELS.genres[g] for g in order))
    subsets = sum((np.arange(64) >> k & 1) << old for k, old in enumerate(order))
    turned = [
        Answers(part.p_flat[:, order], part.probe_p[subsets][:, :, order], np.argsort(order)[part.true_idx])
        for part in parts
    ]
    first, other = (split_recursively(own, names)[1][0] for own, names in ((parts, LABELS), (turned, labels)))
    assert set(map(frozenset, other.groups)) == set(map(frozenset, first.groups))
    assert (other.net_win.won, other.net_win.lost) == (first.net_win.won, first.net_win.lost)


def test_noise_is_not_split() -> None:
    tree, tried = split_recursively(three(set()), LABELS)
    assert tree == flat_tree(LABELS)
    assert len(tried) == 1
    assert not tried[0].pays


def test_one_part_cannot_choose_and_measure() -> None:
    with pytest.raises(ValueError, match="chosen and measured on different songs, found 1 part"):
        split_recursively(three(set())[:1], LABELS)


@given(st.integers(0, 202), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_two_level_tree_answers_as_its_partition_is_scored(which: int, seed: int) -> None:
    part = songs(masks_of("abc"), masks_of("de"), 30, seed)
    partition = set_partitions(6)[[which]]
    groups = [
        [genre for genre, g in zip(LABELS, partition[0], strict=True) if g == k] for k in range(partition.max() + 1)
    ]
    tree = tree_from_groups(LABELS, [group[0] if len(group) == 1 else {"+".join(group): group} for group in groups])
    logp = summed_posterior(tree, part.p_flat, part.probe_p)
    np.testing.assert_allclose(np.exp(logp).sum(axis=1), 1, rtol=1e-5)
    value, right = tables(part.p_flat, part.probe_p.max(axis=2), part.probe_p.argmax(axis=2), part.true_idx, "soft")
    assert np.array_equal(logp.argmax(axis=1) == part.true_idx, right_songs(value, right, partition)[0])


def test_overlapping_and_deeper_trees_are_answered_too() -> None:
    part = songs(masks_of("abc"), masks_of("cd"), 50, 0)
    overlapping = tree_from_groups(LABELS, [{"left": ["a", "b", "c"]}, {"right": ["c", "d", {"low": ["e", "f"]}]}])
    found = summed_node_logp(overlapping, part.p_flat, part.probe_p)
    assert {name: logp.shape for name, logp in found.items()} == {
        "root": (50, 2),
        "left": (50, 3),
        "right": (50, 3),
        "low": (50, 2),
    }
    # A genre of two groups counts at its home, the first of them.
    np.testing.assert_allclose(np.exp(found["root"][:, 0]), part.p_flat[:, :3].sum(axis=1), rtol=1e-6)
    right = part.probe_p[0b111100]
    np.testing.assert_allclose(np.exp(found["right"][:, 2]), right[:, 4] + right[:, 5], rtol=1e-5)
    np.testing.assert_allclose(np.exp(found["low"]), part.probe_p[0b110000][:, 4:], rtol=1e-5, atol=1e-30)
    total = np.exp(summed_posterior(overlapping, part.p_flat, part.probe_p)).sum(axis=1)
    np.testing.assert_allclose(total, 1, rtol=1e-5)
