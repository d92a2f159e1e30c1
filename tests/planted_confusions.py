"""Confusions whose groups are known, because they were put there."""

import numpy as np

from hgenre.labels import Labels

LABELS = Labels(("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock"))
PLANTED = (("blues", "country", "rock"), ("classical", "jazz"), ("disco", "hiphop", "pop", "reggae"), ("metal",))
EIGHT = Labels(("electronic", "experimental", "folk", "hiphop", "instrumental", "international", "pop", "rock"))

Groups = tuple[tuple[str, ...], ...]


def together(labels: Labels, groups: Groups) -> np.ndarray:
    """Whether two genres are in one group (genre, genre)."""
    group_of = {genre: i for i, group in enumerate(groups) for genre in group}
    return np.array([[group_of[a] == group_of[b] for b in labels] for a in labels])


def planted(labels: Labels, groups: Groups, seed: int) -> np.ndarray:
    """Confusion (genre, genre) whose mistakes stay mostly inside the groups; genres differ in size."""
    rng = np.random.default_rng(seed)
    same = together(labels, groups)
    c = np.where(same, rng.uniform(0.8, 1.2, same.shape), rng.uniform(0.0, 0.2, same.shape)) + 5 * np.eye(len(labels))
    return c * rng.uniform(1, 20, len(labels))[:, None]


def planted_vectors(labels: Labels, groups: Groups, seed: int) -> np.ndarray:
    """Vectors (genre, feature) that lie near those of their group and far from the others, of any length."""
    rng = np.random.default_rng(seed)
    places = together(labels, groups) @ rng.normal(0, 1, (len(labels), 16))
    unit = places / np.linalg.norm(places, axis=1, keepdims=True)
    return unit + rng.normal(0, 0.02, places.shape)


def counts(mistaken_for: np.ndarray, seed: int) -> np.ndarray:
    """Hard confusion (genre, genre) of genres of 20 to 120 songs that make mistakes in these proportions."""
    rng = np.random.default_rng(seed)
    n = len(mistaken_for)
    c = np.zeros((n, n), dtype=np.int64)
    for i, share in enumerate(np.where(np.eye(n, dtype=bool), 0.0, mistaken_for)):
        n_songs = rng.integers(20, 120)
        n_wrong = rng.binomial(n_songs, rng.uniform(0.2, 0.5))
        c[i] = rng.multinomial(n_wrong, share / share.sum())
        c[i, i] = n_songs - n_wrong
    return c
