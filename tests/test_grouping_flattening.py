"""Groups that pay stay, groups that do not go, and a tree of none of them is no tree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.grouping.exhaustive import score, subset_mass, tables
from hgenre.grouping.flattening import auto_flatten, net_wins, verdict
from hgenre.grouping.groups import Groups
from hgenre.grouping.partitions import of_groups, set_partitions, to_groups
from hgenre.labels import Labels

LABELS = Labels(("a", "b", "c", "d", "e"))
GROUPS: Groups = (("a", "b"), ("c", "d"), ("e",))


def planted(good: tuple[str, ...], n_songs: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Tables of songs whose group the flat net always knows and whose genre it guesses.

    The probes of ``good`` genres' pairs are always right, all others guess as the flat net does.
    """
    random = np.random.default_rng(seed)
    truth = random.integers(0, 5, n_songs)
    partner = np.array([1, 0, 3, 2, 4])
    p = np.full((n_songs, 5), 0.001)
    lead = random.random(n_songs) < 0.5
    rows = np.arange(n_songs)
    p[rows, truth], p[rows, partner[truth]] = np.where(lead, 0.6, 0.3), np.where(lead, 0.3, 0.6)
    p[rows[truth == 4], 4] = 0.9
    p /= p.sum(axis=1, keepdims=True)
    top, choice = np.ones((32, n_songs)), np.zeros((32, n_songs), int)
    good_masks = {
        sum(1 << LABELS.index(genre) for genre in pair) for pair in (("a", "b"), ("c", "d")) if set(pair) <= set(good)
    }
    for subset in range(1, 32):
        held = np.array([bool(subset >> g & 1) for g in range(5)])
        inside = np.where(held, p, 0)
        inside /= inside.sum(axis=1, keepdims=True)
        choice[subset], top[subset] = inside.argmax(axis=1), inside.max(axis=1)
        if subset in good_masks:
            choice[subset] = np.where(held[truth], truth, choice[subset])
    return tables(p, top, choice, truth, "hard")


def test_groups_that_pay_stay() -> None:
    value, right = planted(("a", "b", "c", "d"))
    found = auto_flatten(value, right, GROUPS, LABELS)
    assert found.groups == GROUPS
    assert found.steps == ()
    assert [won.group for won in found.net_wins] == [("a", "b"), ("c", "d")]
    assert all(won.pays and won.lost == 0 and won.won > 20 for won in found.net_wins)
    assert verdict(found) == "The groups that pay are a+b, c+d; every other genre stands directly under the root."


def test_a_group_that_does_not_pay_is_dissolved() -> None:
    value, right = planted(("a", "b"))
    found = auto_flatten(value, right, GROUPS, LABELS)
    assert found.groups == (("a", "b"), ("c",), ("d",), ("e",))
    (step,) = found.steps
    assert step.startswith("c+d is dissolved: it wins 0 and loses 0 of 400 songs (95 % interval ")


def test_without_a_group_that_pays_there_is_no_tree() -> None:
    value, right = planted(())
    found = auto_flatten(value, right, GROUPS, LABELS)
    assert found.is_flat
    assert found.groups == (("a",), ("b",), ("c",), ("d",), ("e",))
    assert len(found.steps) == 2
    assert verdict(found) == "Do not use a tree here: no group wins more songs than chance explains."


def test_a_group_goes_into_another_where_that_serves_more_songs() -> None:
    """a+b alone is always wrong, c+d alone guesses, together they are always right."""
    value, right = planted(())
    right = right.copy()
    right[0b00011] = False
    right[0b01111] = np.isin(np.arange(5), [0, 1, 2, 3])[truth_of(right)]
    found = auto_flatten(value, right, GROUPS, LABELS)
    assert found.groups == (("a", "b", "c", "d"), ("e",))
    assert "a+b is merged" in found.steps[0]


def truth_of(right: np.ndarray) -> np.ndarray:
    """The genre of each song: that whose single subset is right."""
    return right[1 << np.arange(5)].argmax(axis=0)


@st.composite
def any_tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    seed, n_songs = draw(st.integers(0, 999)), draw(st.integers(1, 60))
    random = np.random.default_rng(seed)
    p, truth = random.dirichlet(np.ones(5), n_songs), random.integers(0, 5, n_songs)
    q = random.dirichlet(np.ones(5), (32, n_songs)) * (np.arange(32)[:, None, None] >> np.arange(5) & 1)
    q[1:] /= q[1:].sum(axis=2, keepdims=True)
    return tables(p, q.max(axis=2), q.argmax(axis=2), truth, draw(st.sampled_from(["hard", "soft"])))


PARTITIONS = set_partitions(5)


@given(any_tables(), st.integers(0, len(PARTITIONS) - 1))
@settings(max_examples=60, deadline=None)
def test_net_wins_add_up_to_what_the_tree_gains(drawn: tuple[np.ndarray, np.ndarray], which: int) -> None:
    value, right = drawn
    groups = to_groups(PARTITIONS[which], LABELS)
    n_flat, n_tree = score(value, right, np.stack([PARTITIONS[-1], PARTITIONS[which]]))
    found = net_wins(value, right, groups, LABELS)
    alone = [group for group in groups if len(group) == 1]
    gained = sum(won.won - won.lost for won in found)
    if not alone:
        assert gained == n_tree - n_flat
    for won in found:
        low, high = won.interval
        assert low <= (won.won - won.lost) / won.n <= high
        assert won.pays == (low > 0)
        assert not won.pays or won.won > won.lost


@given(any_tables(), st.integers(0, len(PARTITIONS) - 1))
@settings(max_examples=40, deadline=None)
def test_what_is_left_pays_and_is_a_grouping(drawn: tuple[np.ndarray, np.ndarray], which: int) -> None:
    found = auto_flatten(*drawn, to_groups(PARTITIONS[which], LABELS), LABELS)
    assert of_groups(found.groups, LABELS).shape == (5,)
    assert all(won.pays for won in found.net_wins)
    assert found.is_flat == all(len(group) == 1 for group in found.groups)


@given(any_tables(), st.integers(0, len(PARTITIONS) - 1), st.permutations(range(5)))
@settings(max_examples=60, deadline=None)
def test_the_order_of_labels_does_not_matter(
    drawn: tuple[np.ndarray, np.ndarray], which: int, order: list[int]
) -> None:
    """Few songs, so that ways are often equally good."""
    value, right = drawn
    given_groups = to_groups(PARTITIONS[which], LABELS)
    labels = Labels(tuple(LABELS.genres[i] for i in order))
    moved = [sum(1 << k for k, i in enumerate(order) if subset >> i & 1) for subset in range(32)]
    value_moved, right_moved = np.empty_like(value), np.empty_like(right)
    value_moved[moved], right_moved[moved] = value, right
    groups = tuple(
        tuple(g for g in labels if g in group)
        for group in sorted(given_groups, key=lambda group: min(labels.index(g) for g in group))
    )
    expected, found = (
        auto_flatten(value, right, given_groups, LABELS),
        auto_flatten(value_moved, right_moved, groups, labels),
    )
    assert set(map(frozenset, found.groups)) == set(map(frozenset, expected.groups))


@pytest.mark.parametrize("genres", ["abcdef", "fbacde"])
def test_of_equally_weak_groups_the_first_by_name_goes_first(genres: str) -> None:
    """No group wins a song; a+f would with b+e, and b+e still more with c+d."""
    labels, n_songs = Labels(tuple(genres)), 3
    truth, taken_for = [labels.index(genre) for genre in "acc"], [labels.index(genre) for genre in "fdd"]
    p = np.full((n_songs, 6), 0.01)
    p[range(n_songs), truth], p[range(n_songs), taken_for] = 0.4, 0.56
    value, right = subset_mass(p), np.zeros((64, n_songs), bool)
    right[1 << np.array(truth), range(n_songs)] = True
    right[sum(1 << labels.index(genre) for genre in "afbe"), 0] = True
    right[sum(1 << labels.index(genre) for genre in "becd"), 1:] = True
    groups = to_groups(of_groups(("af", "be", "cd"), labels), labels)
    step = auto_flatten(value, right, groups, labels).steps[0]
    assert set(step.split(" is merged: it wins 0 and loses 0")[0]) == set("a+f")


@pytest.mark.parametrize(("won", "lost", "pays"), [(0, 0, False), (5, 0, True), (3, 1, False), (1, 9, False)])
def test_few_songs_show_nothing(won: int, lost: int, pays: bool) -> None:
    """Singles decide what the flat net says; the group of a and b wins and loses as told."""
    n = won + lost
    truth = np.zeros(n + 1, int)
    value, right = np.zeros((4, n + 1)), np.zeros((4, n + 1), bool)
    value[1, :won], value[2, :won] = 0.4, 0.6
    value[1, won:], value[2, won:] = 0.6, 0.4
    value[3] = 1.0
    right[1] = truth == 0
    right[3, :won], right[3, won:n], right[3, n] = True, False, True
    (found,) = net_wins(value, right, (("a", "b"),), Labels(("a", "b")))
    assert (found.won, found.lost, found.pays) == (won, lost, pays)
