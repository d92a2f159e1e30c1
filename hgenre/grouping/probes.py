"""Linear probes for many sets of genres at once: what a specialist of each set would answer, read from an embedding.

A probe is a multinomial logistic regression with an L2 penalty on its weights, not on its bias, fitted to the songs of
its set of genres and answering only these. A subset is a bitmask, bit g for genre g. Each probe minimises over its
songs

    mean cross-entropy + l2 / 2 * ||weights||^2,

which is scikit-learn's ``LogisticRegression`` with ``C = 1 / (l2 * n_songs)``, or ``C = 2 / (l2 * n_songs)`` for two
genres, where scikit-learn has one row of weights instead of two opposite ones.

All probes are one XLA program of products of the same songs with many probes' weights. They are fitted by nonlinear
conjugate gradients, with Polak and Ribiere's choice of the direction and a restart where it is negative (J. Nocedal and
S. Wright, Numerical Optimization, 2006, section 5.2). Logits are linear along a direction, so the line search needs no
product with the songs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from hgenre.errors import HgenreError

L2_CANDIDATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
"""Half decades upwards from near scikit-learn's own choice of C = 1, which is an l2 of 0.002 for 500 songs."""

GRADIENT_TOLERANCE = 1e-6
"""Largest absolute gradient of a fitted probe. The weights are within the gradient's norm / l2 of the best ones, so
scikit-learn's own 1e-4 would leave probabilities undecided where the penalty is small."""

MAX_STEPS = 2000
"""Steps after which a fit is given up."""

SEARCH_TOLERANCE = 0.1
"""Slope at the end of a line search over that at its beginning; conjugate directions ask for a close search."""

MAX_SEARCH_STEPS = 20
"""Steps of a line search, which near the end of a fit looks for a slope below rounding."""

SUBSETS_AT_ONCE = 16
"""Probes that are fitted side by side, until the last of them is done; a bound on memory."""


@dataclass(frozen=True, eq=False)
class Probes:
    """Fitted probes, one a subset.

    Attributes:
        weights: (subset, feature, genre) float32 over standardised features; 0 for genres outside the subset.
        bias: (subset, genre) float32, likewise.
        subsets: (subset,) int32 bitmasks.
        mean, std: (feature,) of the training songs; see :func:`standardise`.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    subsets: NDArray[np.int32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    def probabilities(self, x: ArrayLike, subset: int) -> NDArray[np.float32]:
        """Probabilities (song, genre) of one subset's probe: rows sum to 1, genres outside the subset have 0.

        Args:
            x: (song, feature).

        Raises:
            ValueError: features that are not as many as the probes' own, no probe of this subset, or the empty one.
            HgenreError: a feature that is not finite.
        """
        [found] = np.nonzero(self.subsets == subset)
        if not len(found) or subset == 0:
            raise ValueError(f"no probe of subset {subset:#b} gives probabilities; fit one of a non-empty subset")
        songs = _with_ones(jnp.asarray(self._standardised(x)))
        return np.asarray(_probabilities(self._affine()[found[0]], self.subsets[found[0]], songs)).T

    def all_probabilities(self, x: ArrayLike) -> NDArray[np.float32]:
        """Every probe's probabilities (subset, song, genre), as :meth:`probabilities`; 0 throughout for the empty set.

        Raises:
            ValueError, HgenreError: as :meth:`probabilities`.
        """
        return np.asarray(_all_probabilities(self._affine(), self.subsets, self._standardised(x)))

    def _affine(self) -> NDArray[np.float32]:
        """Weights and bias (subset, genre, feature + 1)."""
        return np.concatenate([self.weights.swapaxes(1, 2), self.bias[:, :, None]], axis=2)

    def _standardised(self, x: ArrayLike) -> NDArray[np.float32]:
        values = _finite(x)
        if values.shape[1] != len(self.mean):
            raise ValueError(f"the probes read {len(self.mean)} features a song, found {values.shape[1]}")
        return standardise(values, self.mean, self.std)


def fit_probes(x: ArrayLike, genre_idx: ArrayLike, subsets: ArrayLike, l2: float, n_genres: int) -> Probes:
    """The probes of subsets of genres, fitted until no gradient is above ``GRADIENT_TOLERANCE``.

    Features are standardised over all songs given, whatever their genre; a song takes part in the fits of the subsets
    that hold its genre.

    Args:
        x: (song, feature), as the embedding of a song.
        genre_idx: (song,) int in [0, n_genres).
        subsets: (subset,) int bitmasks below ``2 ** n_genres``; 0 is the empty subset.
        l2: weight of the penalty, above 0: without it the probe of genres that can be told apart has no end.

    Raises:
        ValueError: shapes, genres or subsets that do not fit.
        HgenreError: a feature that is not finite, an ``l2`` that is not above 0, a subset with a genre that no song
            has, or a fit that did not converge.
    """
    values, genres, masks = _finite(x), np.asarray(genre_idx), np.asarray(subsets)
    if not 1 <= n_genres <= 31:
        raise ValueError(f"a bitmask holds 1 to 31 genres, found {n_genres}")
    if genres.shape != (len(values),) or not np.isin(genres, np.arange(n_genres)).all():
        raise ValueError(
            f"{len(values)} songs need a genre index each, in 0..{n_genres - 1}; found shape {genres.shape}"
        )
    if (
        masks.ndim != 1
        or not masks.size
        or masks.dtype.kind not in "iu"
        or not ((masks >= 0) & (masks < 2**n_genres)).all()
    ):
        raise ValueError(f"subsets of {n_genres} genres are a row of bitmasks in 0..{2**n_genres - 1}")
    if not 0 < l2 < np.inf:
        raise HgenreError(f"the penalty of a probe is {l2}; it must be a number above 0, such as 0.01")
    wanted = np.bitwise_or.reduce(masks, initial=0)
    if missing := [g for g in range(n_genres) if wanted >> g & 1 and not (genres == g).any()]:
        raise HgenreError(
            f"no training song has the genre of index {', '.join(map(str, missing))}, which a probe should tell from "
            "others; give songs of it, or subsets without it"
        )
    mean, std = _moments(values)
    masks = masks.astype(np.int32)
    affine, gradient = map(np.asarray, _fit(standardise(values, mean, std), genres, masks, l2, n_genres))
    if not (gradient <= GRADIENT_TOLERANCE).all():
        worst = int(gradient.argmax())
        raise HgenreError(
            f"{int((~(gradient <= GRADIENT_TOLERANCE)).sum())} of {len(masks)} probes did not converge in {MAX_STEPS} "
            f"steps; the largest gradient is {gradient[worst]:.1e}, of subset {masks[worst]:#b}, and should be at most "
            f"{GRADIENT_TOLERANCE:.0e}: take a larger l2 than {l2:g}"
        )
    return Probes(affine[:, :, :-1].swapaxes(1, 2), affine[:, :, -1], masks, mean, std)


def choose_l2(
    x: ArrayLike,
    genre_idx: ArrayLike,
    x_validation: ArrayLike,
    genre_validation: ArrayLike,
    candidates: Sequence[float] = L2_CANDIDATES,
) -> float:
    """The penalty under which the probe of all genres has the smallest log loss on validation songs.

    Of equally good ones the largest is taken.

    Args:
        x, x_validation: (song, feature).
        genre_idx, genre_validation: (song,) int.

    Raises:
        ValueError, HgenreError: as :func:`fit_probes`, or no candidate, or no validation song.
    """
    truth = np.asarray(genre_validation)
    if not len(candidates) or not len(truth):
        raise ValueError(f"a penalty is chosen from candidates by songs, found {len(candidates)} and {len(truth)}")
    n_genres = int(max(np.max(genre_idx), truth.max())) + 1
    everything = 2**n_genres - 1

    def log_loss(l2: float) -> float:
        p = fit_probes(x, genre_idx, [everything], l2, n_genres).probabilities(x_validation, everything)
        p_true = p[np.arange(len(truth)), truth]
        return float(-np.log(np.maximum(p_true, np.finfo(np.float32).tiny), dtype=np.float64).mean())

    return min(sorted(candidates, reverse=True), key=log_loss)


def standardise(x: NDArray[np.float32], mean: NDArray[np.float32], std: NDArray[np.float32]) -> NDArray[np.float32]:
    """Features (song, feature) minus the training songs' mean, divided by their deviation (feature,).

    A column that is constant over the training songs has an infinite deviation here, so it becomes 0 everywhere.
    """
    return (x - mean) / std


def _moments(x: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and deviation (feature,) of the columns, infinite where a deviation is within the rounding of float32."""
    mean, std, float32 = x.mean(axis=0, dtype=np.float64), x.std(axis=0, dtype=np.float64), np.finfo(np.float32)
    std[std <= float32.eps * np.abs(mean) + float32.tiny] = np.inf
    return mean.astype(np.float32), std.astype(np.float32)


def _finite(x: ArrayLike) -> NDArray[np.float32]:
    values = np.asarray(x, np.float32)
    if values.ndim != 2 or not values.size:
        raise ValueError(f"features must be (song, feature), at least one of each, found shape {values.shape}")
    if not np.isfinite(values).all():
        raise HgenreError(
            f"{int((~np.isfinite(values)).any(axis=1).sum())} of {len(values)} songs have a feature that is NaN or "
            "infinite; did the training of the net that made them diverge?"
        )
    return values


def _held(subset: jax.Array, n_genres: int) -> jax.Array:
    """Which genres (genre,) a subset holds."""
    return (subset >> jnp.arange(n_genres) & 1) == 1


def _with_ones(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)


def _softmax(logits: jax.Array, held: jax.Array) -> jax.Array:
    """Probabilities (genre, song) over the genres that are held, 0 for others; uniform where none is held."""
    return jax.nn.softmax(jnp.where(held[:, None], logits, jnp.finfo(logits.dtype).min), axis=0)


def _probabilities(affine: jax.Array, subset: jax.Array, songs: jax.Array) -> jax.Array:
    """Probabilities (genre, song) of one probe (genre, feature + 1)."""
    return _softmax(affine @ songs.T, _held(subset, len(affine)))


@jax.jit
def _all_probabilities(affine: jax.Array, subsets: jax.Array, x: jax.Array) -> jax.Array:
    songs = _with_ones(x)

    def one(probe: tuple[jax.Array, jax.Array]) -> jax.Array:
        weights, subset = probe
        return jnp.where(subset == 0, 0.0, _probabilities(weights, subset, songs).T)

    return jax.lax.map(one, (affine, subsets), batch_size=SUBSETS_AT_ONCE)


@partial(jax.jit, static_argnames="n_genres")
def _fit(
    x: jax.Array, genre_idx: jax.Array, subsets: jax.Array, l2: float, n_genres: int
) -> tuple[jax.Array, jax.Array]:
    """Weights and bias (subset, genre, feature + 1) of each probe, and its largest absolute gradient (subset,).

    ``x`` (song, feature) is standardised.
    """
    songs = _with_ones(x)
    pull = jnp.full(songs.shape[1], l2).at[-1].set(0.0)
    is_genre = genre_idx == jnp.arange(n_genres)[:, None]

    def fit(subset: jax.Array) -> tuple[jax.Array, jax.Array]:
        held = _held(subset, n_genres)
        truth = (is_genre & held[:, None]).astype(songs.dtype)
        share = truth.sum(axis=0) / jnp.maximum(truth.sum(), 1)

        def gradient_at(weights: jax.Array, logits: jax.Array) -> jax.Array:
            return ((_softmax(logits, held) - truth) * share) @ songs + pull * weights

        def along(here: _Fit, change: jax.Array, length: jax.Array) -> tuple[jax.Array, jax.Array]:
            """Slope and curvature of the loss at a length of the direction, which changes logits by ``change``."""
            p = _softmax(here.logits + length * change, held)
            mean = (p * change).sum(axis=0)
            penalty = pull * here.direction
            slope = (
                share @ (mean - (truth * change).sum(axis=0))
                + (penalty * (here.weights + length * here.direction)).sum()
            )
            return slope, share @ (p * (change - mean) ** 2).sum(axis=0) + (penalty * here.direction).sum()

        def step(here: _Fit) -> _Fit:
            change = here.direction @ songs.T
            length = _root(partial(along, here, change), (pull * here.direction**2).sum())
            weights = here.weights + length * here.direction
            # Adding the change to the logits would save a product, but the gradient would be that of drifting logits.
            logits = weights @ songs.T
            gradient = gradient_at(weights, logits)
            turn = (gradient * (gradient - here.gradient)).sum() / (here.gradient**2).sum()
            direction = jnp.maximum(turn, 0.0) * here.direction - gradient
            falls = (direction * gradient).sum() < 0
            return _Fit(weights, logits, gradient, jnp.where(falls, direction, -gradient), here.n_steps + 1)

        def unfinished(here: _Fit) -> jax.Array:
            return (jnp.abs(here.gradient).max() > GRADIENT_TOLERANCE) & (here.n_steps < MAX_STEPS)

        weights, logits = jnp.zeros((n_genres, songs.shape[1])), jnp.zeros((n_genres, len(songs)))
        gradient = gradient_at(weights, logits)
        end = jax.lax.while_loop(unfinished, step, _Fit(weights, logits, gradient, -gradient, jnp.zeros((), int)))
        return end.weights, jnp.abs(end.gradient).max()

    return jax.lax.map(fit, subsets, batch_size=SUBSETS_AT_ONCE)


class _Fit(NamedTuple):
    """A probe on its way: weights, gradient and direction (genre, feature + 1), logits (genre, song)."""

    weights: jax.Array
    logits: jax.Array
    gradient: jax.Array
    direction: jax.Array
    n_steps: jax.Array


def _root(slope_at: Callable[[jax.Array], tuple[jax.Array, jax.Array]], bend: jax.Array) -> jax.Array:
    """Where a rising slope, below 0 at 0, is near 0: by Newton's method, in a bracket that is halved where it errs.

    ``slope_at`` gives a slope and its derivative, which is nowhere below ``bend``: so the root is not beyond the place
    where the slope at 0 would be made up for by ``bend`` alone.
    """

    def unfinished(here: _Search) -> jax.Array:
        return (jnp.abs(here.slope) > SEARCH_TOLERANCE * jnp.abs(slope)) & (here.n_steps < MAX_SEARCH_STEPS)

    def narrow(here: _Search) -> _Search:
        low = jnp.where(here.slope < 0, here.length, here.low)
        high = jnp.where(here.slope < 0, here.high, here.length)
        newton = here.length - here.slope / here.curvature
        length = jnp.where((low < newton) & (newton <= high), newton, (low + high) / 2)
        return _Search(length, *slope_at(length), low, high, here.n_steps + 1)

    zero = jnp.zeros(())
    slope, curvature = slope_at(zero)
    start = _Search(zero, slope, curvature, zero, -slope / bend, jnp.zeros((), int))
    return jax.lax.while_loop(unfinished, narrow, start).length


class _Search(NamedTuple):
    """A line search on its way, and the bracket that holds its root."""

    length: jax.Array
    slope: jax.Array
    curvature: jax.Array
    low: jax.Array
    high: jax.Array
    n_steps: jax.Array
