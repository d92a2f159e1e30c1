import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hgenre.errors import TreeError
from hgenre.grouping.average_linkage import derive_groups
from hgenre.grouping.confusion import soft_confusion
from hgenre.grouping.groups import Groups, groups_by_name
from hgenre.grouping.stability import adjusted_rand, bootstrap, co_membership, stability
from hgenre.labels import Labels
from tests.oracles import rand_adjusted

SIX = Labels(tuple("abcdef"))
THREES: Groups = (("a", "b", "c"), ("d", "e", "f"))
PAIRS: Groups = (("a", "b"), ("c", "d"), ("e", "f"))

numbered = st.lists(st.integers(0, 3), min_size=6, max_size=6).map(lambda numbers: groups_by_name(numbers, SIX))


@given(numbered, numbered)
@settings(max_examples=60, deadline=None)
def test_the_adjusted_rand_index_counts_pairs(groups_a: Groups, groups_b: Groups) -> None:
    found = adjusted_rand(groups_a, groups_b, SIX)
    assert found == pytest.approx(adjusted_rand(groups_b, groups_a, SIX))
    if groups_a == groups_b:
        assert found == 1.0
    else:
        assert found == pytest.approx(rand_adjusted(groups_a, groups_b))


def test_stability_is_over_all_pairs() -> None:
    between = rand_adjusted(THREES, PAIRS)
    found = stability([THREES, PAIRS, THREES], SIX)
    assert found.mean == pytest.approx((1 + 2 * between) / 3)
    assert found.sd == pytest.approx(np.std([1, between, between]))
    assert found.n_groupings == 3
    assert stability([PAIRS, PAIRS], SIX).sd == 0.0


def test_co_membership_is_the_share_of_groupings() -> None:
    share = co_membership([THREES, PAIRS, PAIRS, PAIRS], SIX)
    np.testing.assert_array_equal(np.diag(share), 1.0)
    assert (share[0, 1], share[0, 2], share[2, 3], share[0, 5]) == (1.0, 0.25, 0.75, 0.0)
    np.testing.assert_array_equal(share, share.T)


def test_bootstrap_draws_whole_clusters() -> None:
    # A song's row of probabilities is a power of its cluster's number alone, so a mean tells what was drawn.
    clusters = np.array(["x", "y", "x", "z", "y", "x"])
    p = np.eye(6)
    seen = []

    def derive(confusion: np.ndarray) -> Groups:
        seen.append(confusion[0])
        return PAIRS

    assert bootstrap(np.zeros(6, dtype=int), p, clusters, derive, 200, seed=1) == (PAIRS,) * 200
    share = np.array(seen)
    for name in "xyz":
        columns = share[:, clusters == name]
        assert (columns == columns[:, :1]).all()
    # Each column is the times its cluster was drawn over the number of songs drawn: three clusters a draw.
    first = share[:, [0, 1, 3]]
    times = np.round(first / first.sum(axis=1, keepdims=True) * 3, 9)
    assert set(times.ravel().tolist()) == {0.0, 1.0, 2.0, 3.0}
    assert times.mean(axis=0) == pytest.approx([1, 1, 1], abs=0.2)


def test_bootstraps_of_many_clear_songs_agree_and_follow_the_seed() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(6), 30)
    concentration = 0.2 + 4 * np.kron(np.eye(2), np.ones((3, 3))) + 8 * np.eye(6)
    p = np.stack([rng.dirichlet(concentration[g]) for g in truth])

    def derive(confusion: np.ndarray) -> Groups:
        return derive_groups(confusion, SIX, 2)

    songs = np.arange(len(truth))
    found = bootstrap(truth, p, songs, derive, 20, seed=3)
    assert stability(found, SIX).mean == 1.0
    assert found[0] == THREES == derive(soft_confusion(truth, p, 6))
    noise = rng.dirichlet(np.ones(6), size=len(truth))
    assert bootstrap(truth, noise, songs, derive, 20, seed=3) == bootstrap(truth, noise, songs, derive, 20, seed=3)
    assert bootstrap(truth, noise, songs, derive, 20, seed=3) != bootstrap(truth, noise, songs, derive, 20, seed=4)
    assert stability(bootstrap(truth, noise, songs, derive, 20, seed=3), SIX).mean < 0.7


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(TreeError, match="stability compares at least 2 groupings, found 1"):
        stability([PAIRS], SIX)
    with pytest.raises(TreeError, match="co-membership needs at least 1 grouping, found none"):
        co_membership([], SIX)
    with pytest.raises(TreeError, match="genre 'f' is in no group"):
        adjusted_rand(PAIRS, (*PAIRS[:2], ("e",)), SIX)
