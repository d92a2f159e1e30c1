import numpy as np
import pytest

from hgenre.grouping.spectral import WEAKEST_TIE, connected, spectral_groups
from tests.planted_confusions import LABELS, PLANTED, together


@pytest.mark.parametrize("seed", range(5))
def test_groups_that_nothing_ties_are_found(seed: int) -> None:
    rng = np.random.default_rng(seed)
    c = together(LABELS, PLANTED) * rng.uniform(0.5, 1.5, (10, 10)) + 5 * np.eye(10)
    assert spectral_groups(c, LABELS, 4) == PLANTED


def test_the_weakest_tie_is_a_share_of_the_mean_similarity() -> None:
    alike = np.array([[0.0, 0.6, 0.0], [0.6, 0.0, 0.0], [0.0, 0.0, 0.0]])
    tied = connected(alike) - alike
    np.testing.assert_allclose(tied, WEAKEST_TIE * 0.2 * (1 - np.eye(3)))


def test_a_ring_is_cut_into_arcs() -> None:
    ring = np.eye(10) * 5 + np.roll(np.eye(10), 1, axis=1) + np.roll(np.eye(10), -1, axis=1)
    ring[4, 5] = ring[9, 0] = 0.0
    assert spectral_groups(ring, LABELS, 2) == (LABELS.genres[:5], LABELS.genres[5:])
