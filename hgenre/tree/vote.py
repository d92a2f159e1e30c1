"""A song's answer from its slices: segment sums inside the compiled program, then a choice.

Sums are additive, so a song that comes in several chunks is answered by adding its chunks' sums.
"""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

Array = Any
Aggregation = Literal["majority", "mean_probability", "mean_log_probability"]

LOGP_FLOOR = -30.0
"""Natural log; a slice speaks against a genre no louder than p = 1e-13, so that no single slice has a veto."""


class SongSums(NamedTuple):
    """Sums over a song's voiced slices."""

    votes: Array  # (song, genre): slices whose likeliest genre this is
    sum_p: Array  # (song, genre)
    sum_logp: Array  # (song, genre), floored at LOGP_FLOOR a slice
    n_voiced: Array  # (song,)

    def __add__(self, other: Any) -> "SongSums":
        return SongSums(*(a + b for a, b in zip(self, other, strict=True)))


def sum_slices(logp: Array, song_idx: Array, voiced: Array, n_songs: int) -> SongSums:
    """Sums of (slice, genre) log-probabilities a song; runs under ``jax.jit``.

    Args:
        logp: (slice, genre), natural log.
        song_idx: (slice,) int in [0, n_songs).
        voiced: (slice,) bool; silent and padding slices have no vote.
        n_songs: static.
    """
    import jax
    import jax.numpy as jnp

    weight = voiced.astype(logp.dtype)[:, None]
    votes = jax.nn.one_hot(jnp.argmax(logp, axis=-1), logp.shape[-1], dtype=logp.dtype)

    def add(values: Array) -> Array:
        return jax.ops.segment_sum(values, song_idx, num_segments=n_songs)

    return SongSums(
        votes=add(votes * weight),
        sum_p=add(jnp.exp(logp) * weight),
        sum_logp=add(jnp.maximum(logp, LOGP_FLOOR) * weight),
        n_voiced=add(weight[:, 0]),
    )


def sum_sorted_slices(logp: np.ndarray, song_idx: np.ndarray, n_songs: int) -> SongSums:
    """``sum_slices`` in numpy, for slices that are all voiced and stand song by song.

    Args:
        logp: (slice, genre), natural log.
        song_idx: (slice,) int in [0, n_songs), not falling; a song may have no slice.
    """
    n_voiced = np.bincount(song_idx, minlength=n_songs)
    heard = n_voiced > 0
    starts = (np.cumsum(n_voiced) - n_voiced)[heard]

    def add(values: np.ndarray) -> np.ndarray:
        sums = np.zeros((n_songs, values.shape[-1]))
        sums[heard] = np.add.reduceat(values, starts, axis=0)
        return sums

    votes = np.zeros_like(logp, dtype=np.float64)
    votes[np.arange(len(logp)), logp.argmax(axis=-1)] = 1
    return SongSums(
        votes=add(votes),
        sum_p=add(np.exp(logp, dtype=np.float64)),
        sum_logp=add(np.maximum(logp, LOGP_FLOOR, dtype=np.float64)),
        n_voiced=n_voiced,
    )


@dataclass(frozen=True)
class SongAnswers:
    """What the slices of each song say together."""

    genre_idx: np.ndarray  # (song,) int; -1 where no slice has a vote
    probabilities: np.ndarray  # (song, genre): mean over voiced slices, whichever way the answer was found


def answer_songs(sums: SongSums, aggregation: Aggregation = "majority") -> SongAnswers:
    """The answer of each song.

    ``majority``: most votes; ties are broken by summed probability, then by label order. ``mean_probability`` and
    ``mean_log_probability``: the largest mean; ties by label order.
    """
    votes, sum_p, sum_logp, n_voiced = (np.asarray(a, np.float64) for a in sums)
    match aggregation:
        case "majority":
            leading = votes == votes.max(axis=-1, keepdims=True)
            winner = np.argmax(np.where(leading, sum_p, -np.inf), axis=-1)
        case "mean_probability":
            winner = np.argmax(sum_p, axis=-1)
        case "mean_log_probability":
            winner = np.argmax(sum_logp, axis=-1)
    heard = n_voiced > 0
    return SongAnswers(
        genre_idx=np.where(heard, winner, -1),
        probabilities=sum_p / np.maximum(n_voiced, 1)[:, None],
    )
