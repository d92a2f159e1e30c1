from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import TreeError
from hgenre.grouping.average_linkage import derive_groups
from hgenre.grouping.groups import excess_within
from hgenre.grouping.structure import Structure, dealt_mistakes, largest_excess, structure, verdict
from hgenre.labels import Labels
from tests.oracles import dealt_tables
from tests.planted_confusions import EIGHT, LABELS, PLANTED, counts, together

UNIFORM = np.ones((10, 10))
SINK = np.where(np.arange(10) == 7, 12.0, 1.0) * UNIFORM


@pytest.mark.parametrize(
    ("labels", "groups"),
    [
        (LABELS, PLANTED),
        (LABELS, (LABELS.genres[:5], LABELS.genres[5:])),
        (EIGHT, (EIGHT.genres[:3], EIGHT.genres[3:6], EIGHT.genres[6:])),
    ],
)
def test_planted_structure_is_there(labels: Labels, groups: tuple[tuple[str, ...], ...]) -> None:
    for seed in range(3):
        found = structure(counts(1 + 7 * together(labels, groups), seed), labels, n_draws=199)
        assert found.is_there
        assert found.p == pytest.approx(1 / 200)
        assert found.statistic > found.null_mean + 0.1


@pytest.mark.parametrize("mistaken_for", [UNIFORM, SINK])
def test_there_is_no_structure_in_mistakes_that_know_no_groups(mistaken_for: np.ndarray) -> None:
    found = structure(counts(mistaken_for, 1), LABELS, n_draws=199)
    assert not found.is_there
    assert found.p > 0.05


def test_structure_is_found_by_mistake_as_often_as_it_says() -> None:
    popular = np.random.default_rng(0).gamma(1, 1, 10) + 0.05
    p = [
        structure(counts(mistaken_for, seed), LABELS, n_draws=99, seed=seed).p
        for seed in range(20)
        for mistaken_for in (SINK, popular * UNIFORM)
    ]
    # Of 40 at 5 % more than 6 come once in 300 times; not 10 to 30 below the middle come once in 1 500 times.
    assert sum(value <= 0.05 for value in p) <= 6
    assert 10 <= sum(value <= 0.5 for value in p) <= 30


@given(st.integers(0, 10_000), st.integers(3, 10), st.integers(1, 6))
@settings(max_examples=50, deadline=None)
def test_the_statistic_is_the_largest_excess_of_average_linkage(seed: int, n_genres: int, n_levels: int) -> None:
    labels = Labels(LABELS.genres[:n_genres])
    c = np.random.default_rng(seed).integers(0, n_levels, (n_genres, n_genres)).astype(float)
    every = [excess_within(c, labels, derive_groups(c, labels, n)) for n in range(2, n_genres)]
    assert largest_excess(c) == pytest.approx(max(every), abs=1e-9)


@pytest.mark.parametrize(
    "mistakes",
    [
        [[0, 2, 1], [1, 0, 1], [1, 1, 0]],
        [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        [[0, 2, 0, 0], [1, 0, 0, 0], [0, 0, 0, 2], [0, 1, 1, 0]],
        [[0, 3, 0, 0], [0, 0, 1, 0], [0, 2, 0, 0], [0, 1, 0, 0]],
    ],
)
def test_every_way_to_deal_wrong_answers_is_equally_likely(mistakes: list[list[int]]) -> None:
    exact, n_draws = dealt_tables(mistakes), 4000
    drawn = Counter(
        tuple(map(tuple, table)) for table in dealt_mistakes(np.array(mistakes, dtype=float), n_draws, 0).tolist()
    )
    assert set(drawn) <= set(exact)
    for table, probability in exact.items():
        assert drawn[table] / n_draws == pytest.approx(
            probability, abs=4 * (probability * (1 - probability) / n_draws) ** 0.5 + 1e-9
        )


def test_p_is_the_share_of_ways_to_deal_that_hold_as_much() -> None:
    mistakes = np.array([[0, 2, 0, 0], [1, 0, 0, 1], [0, 0, 0, 2], [0, 1, 1, 0]])
    right = np.diag([5, 7, 6, 4])
    observed = largest_excess(mistakes + right)
    exact = sum(
        p
        for table, p in dealt_tables(mistakes.tolist()).items()
        if largest_excess(np.array(table) + right) >= observed - 1e-9
    )
    found = structure(mistakes + right, Labels(tuple("abcd")), n_draws=4000)
    assert 0.02 < exact < 0.98
    assert found.p == pytest.approx(exact, abs=0.03)


def test_the_order_of_the_labels_does_not_matter() -> None:
    c = counts(1 + together(LABELS, PLANTED), 5)
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    shuffled = Labels(tuple(LABELS.genres[i] for i in order))
    assert structure(c[np.ix_(order, order)], shuffled, n_draws=50) == structure(c, LABELS, n_draws=50)


def test_without_mistakes_there_is_no_structure() -> None:
    found = structure(np.eye(10) * 30, LABELS, n_draws=20)
    assert found == Structure(statistic=0.0, null_mean=0.0, p=1.0, is_there=False, n_mistakes=0, n_draws=20)
    assert verdict(found) == "There are no mistakes that could tell whether the genres form groups."


def test_two_genres_that_alone_are_answered_wrongly_are_no_group() -> None:
    c = np.diag([20] * 10)
    c[0, 1], c[1, 0] = 6, 9
    assert structure(c, LABELS, n_draws=50).p == 1.0


def test_the_verdict_says_what_was_found_and_what_noise_gives() -> None:
    found = Structure(statistic=0.312, null_mean=0.179, p=0.002, is_there=True, n_mistakes=208, n_draws=500)
    assert verdict(found) == (
        "The mistakes know groups: average-linkage groups hold 31.2 points more of the 208 mistakes than their sizes "
        "explain, and 17.9 where mistakes know no groups (p = 0.002)."
    )
    assert verdict(replace(found, statistic=0.18, p=0.481, is_there=False)) == (
        "No structure: average-linkage groups hold 18.0 points more of the 208 mistakes than their sizes explain, and "
        "17.9 where mistakes know no groups (p = 0.481); groups of these genres would be groups of noise."
    )


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(TreeError, match="structure needs at least 3 genres, found 2"):
        structure(np.ones((2, 2)), Labels(("jazz", "rock")))
    with pytest.raises(TreeError, match="on counts of songs, found values that are not whole; count hard answers"):
        structure(np.full((10, 10), 0.1), LABELS)
    with pytest.raises(TreeError, match=r"square over them, found shape \(9, 9\)"):
        structure(np.eye(9), LABELS)
