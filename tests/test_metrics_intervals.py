import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.metrics.intervals import (
    McNemar,
    beyond_chance,
    compare_right,
    difference_of_independent,
    mcnemar_exact,
    mean_std,
    paired_bootstrap,
    wilson,
)
from tests.oracles import newcombe

pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_agrees_with_scipy(n: int, share: float, level: float) -> None:
    from scipy.stats import binomtest

    n_right = round(share * n)
    expected = binomtest(n_right, n).proportion_ci(confidence_level=level, method="wilson")
    assert wilson(n_right, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_knows_nothing_without_songs() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@settings(deadline=None)
@given(pairs)
def test_mcnemar_is_the_exact_coin(songs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*songs, strict=True)
    a_only = sum(x and not y for x, y in songs)
    b_only = sum(y and not x for x, y in songs)
    n = a_only + b_only
    tail = sum(math.comb(n, k) for k in range(min(a_only, b_only) + 1))
    found = mcnemar_exact(a, b)
    assert (found.a_only, found.b_only) == (a_only, b_only)
    assert found.p == pytest.approx(min(1.0, 2 * tail / 2**n), rel=1e-9)


def test_mcnemar_of_equal_answers_says_nothing() -> None:
    assert mcnemar_exact([True, False], [True, False]) == McNemar(1.0, 0, 0)


def every_draw(a: list[bool], b: list[bool], clusters: list[str]) -> list[float]:
    """All bootstrap draws of clusters, each equally likely."""
    members = [[i for i, c in enumerate(clusters) if c == name] for name in sorted(set(clusters))]
    draws = []
    for draw in itertools.product(members, repeat=len(members)):
        songs = [i for cluster in draw for i in cluster]
        draws.append(sum(a[i] - b[i] for i in songs) / len(songs))
    return draws


@pytest.mark.parametrize("clusters", [None, ["x", "x", "y", "z", "z", "z"], ["p", "q", "p", "q", "r", "s"]])
def test_bootstrap_agrees_with_every_possible_draw(clusters: list[str] | None) -> None:
    a = [True, True, False, True, False, True]
    b = [False, True, True, False, False, True]
    draws = every_draw(a, b, clusters or list("123456"))
    for level in (0.5, 0.8, 0.95):
        low, high = paired_bootstrap(a, b, 40_000, seed=1, clusters=clusters, level=level)
        # The quantile steps over a discrete distribution, so each end must sit where the exact probability mass is.
        tail = (1 - level) / 2
        for end, mass in ((low, tail), (high, 1 - tail)):
            assert np.mean(np.less(draws, end - 1e-9)) <= mass + 0.01
            assert np.mean(np.less_equal(draws, end + 1e-9)) >= mass - 0.01


@settings(max_examples=20, deadline=None)
@given(pairs)
def test_bootstrap_of_single_song_clusters_is_that_of_songs(songs: list[tuple[bool, bool]]) -> None:
    a, b = zip(*songs, strict=True)
    assert paired_bootstrap(a, b, 500, seed=3, clusters=np.arange(len(a))) == paired_bootstrap(a, b, 500, seed=3)


def test_bootstrap_of_large_artists_is_wider() -> None:
    rng = np.random.default_rng(0)
    artists = np.repeat(np.arange(20), 10)
    a, b = np.repeat(rng.random(20) < 0.6, 10), np.repeat(rng.random(20) < 0.5, 10)
    by_song, by_artist = paired_bootstrap(a, b, seed=0), paired_bootstrap(a, b, seed=0, clusters=artists)
    assert by_artist[1] - by_artist[0] > 2 * (by_song[1] - by_song[0])


def test_bootstrap_follows_its_seed() -> None:
    a, b = np.arange(97) % 3 > 0, np.arange(97) % 5 > 0
    assert paired_bootstrap(a, b, 50, seed=1) == paired_bootstrap(a, b, 50, seed=1)
    assert paired_bootstrap(a, b, 50, seed=1) != paired_bootstrap(a, b, 50, seed=2)


def test_bootstrap_and_mcnemar_need_the_same_songs() -> None:
    with pytest.raises(ValueError, match="must answer the same songs"):
        mcnemar_exact([True], [True, False])
    with pytest.raises(ValueError, match="must answer the same songs"):
        paired_bootstrap([True], [True, False], seed=0)
    with pytest.raises(ValueError, match="at least 1 song"):
        paired_bootstrap([], [], seed=0)


def test_one_seed_has_no_deviation() -> None:
    assert mean_std([0.5]) == (0.5, None)
    assert mean_std([1.0, 2.0, 3.0]) == pytest.approx((2.0, 1.0))


def test_a_comparison_holds_what_its_parts_say() -> None:
    tree, flat = np.arange(40) % 4 > 0, np.arange(40) % 5 > 1
    artists = np.arange(40) // 8
    found = compare_right(tree, flat, artists, seed=3)
    test = mcnemar_exact(tree, flat)
    assert found == {
        "difference": pytest.approx(30 / 40 - 24 / 40),
        "interval": list(paired_bootstrap(tree, flat, seed=3, clusters=artists)),
        "mcnemar_p": test.p,
        "tree_only": test.a_only,
        "flat_only": test.b_only,
        "n": 40,
    }
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize(
    ("p", "interval", "sure"),
    [
        (0.049, (0.01, 0.2), True),
        (0.049, (-0.2, -0.01), True),
        (0.05, (0.01, 0.2), False),
        (0.01, (0.0, 0.2), False),
        (0.01, (-0.1, 0.2), False),
    ],
)
def test_chance_must_fail_both_ways(p: float, interval: tuple[float, float], sure: bool) -> None:
    assert beyond_chance(p, interval) is sure


@given(st.integers(1, 300), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_a_difference_between_different_songs_has_newcombes_interval(
    n_a: int, n_b: int, share_a: float, share_b: float
) -> None:
    right_a, right_b = round(share_a * n_a), round(share_b * n_b)
    a, b = (right_a / n_a, wilson(right_a, n_a)), (right_b / n_b, wilson(right_b, n_b))
    low, high = difference_of_independent(*a, *b)
    assert (low, high) == pytest.approx(newcombe(right_a, n_a, right_b, n_b), abs=1e-9)
    assert -1 <= low <= a[0] - b[0] <= high <= 1
    assert difference_of_independent(*b, *a) == pytest.approx((-high, -low))


def test_newcombes_own_example() -> None:
    """Table II of the paper, method 10: 56/70 less 48/80."""
    low, high = difference_of_independent(56 / 70, wilson(56, 70), 48 / 80, wilson(48, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
