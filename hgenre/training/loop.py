"""The loop that trains the net of one node."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from hgenre.compiled.devices import shardings
from hgenre.compiled.node_outputs import Rows, build_logits, run_rows
from hgenre.errors import FeatureError
from hgenre.features import level_free, voiced
from hgenre.features.spec import FeatureSpec, SliceSpec
from hgenre.nets.build import LAST_LAYER, Net, Variables
from hgenre.training.augment import mixup, perturb_spectrum, spec_augment
from hgenre.training.config import AugmentConfig, OptimiserConfig
from hgenre.training.songs import Batch, LearningSongs, Standard, random_batches, side_by_side, spread_slices
from hgenre.tree.calibration import fit_temperature, slice_weights

Array = Any

VALIDATION_SLICES_PER_SONG = 5


class TrainState(NamedTuple):
    """What one step turns into the next."""

    params: Any
    batch_stats: Any
    optimiser: Any


@dataclass(frozen=True)
class Validation:
    """What a net says of validation songs.

    Attributes:
        song_loss, song_accuracy: over songs, of the mean probability of a few slices each at the best temperature.
        slice_loss, slice_accuracy: over those slices, at temperature 1 as in training; songs weigh alike.
    """

    song_loss: float
    song_accuracy: float
    slice_loss: float
    slice_accuracy: float


class Measured(NamedTuple):
    """What a step finds of its own batch, dropout and augmentation on: loss, and share of slices right."""

    loss: Array
    accuracy: Array


@dataclass(frozen=True)
class Epoch:
    """One line of a net's history.

    Attributes:
        loss, train_accuracy: means over the epoch's batches, dropout and augmentation on.
        validation_loss, accuracy: over validation songs; see ``Validation``.
        slice_loss, slice_accuracy: over validation slices, to be held beside those of training.
    """

    epoch: int
    loss: float
    train_accuracy: float
    validation_loss: float
    accuracy: float
    slice_loss: float
    slice_accuracy: float
    seconds: float


@dataclass(frozen=True)
class TrainedNet:
    """The variables of the epoch that is kept, and how training got there."""

    variables: Variables
    history: tuple[Epoch, ...]
    kept_epoch: int


@dataclass(frozen=True)
class NodeTask:
    """What one net has to tell apart: child of each genre (genre,), -1 for genres that are not under the node."""

    name: str
    n_children: int
    child_of_genre: np.ndarray

    def of(self, songs: LearningSongs) -> LearningSongs:
        """The songs whose genre is under this node."""
        return songs.where(self.child_of_genre[songs.genre_idx] >= 0)


def train_net(
    net: Net,
    task: NodeTask,
    train: LearningSongs,
    validation: LearningSongs,
    standard: Standard,
    optimiser: OptimiserConfig,
    augment: AugmentConfig,
    *,
    seed: int,
    start: Callable[[Variables], Variables] = lambda drawn: drawn,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> TrainedNet:
    """Trains one net on the songs under its node; keeps the epoch with the best validation song log-loss, or the last.

    Weights, draws and augmentation follow from ``seed``; ``start`` makes the weights to begin with from those drawn.
    The batch is spread over all local devices; batch statistics are those of the whole batch.

    Raises:
        FeatureError: no training or no validation song stands under the node, or the loss became NaN.
    """
    train, validation = task.of(train), task.of(validation)
    if not len(train) or not len(validation):
        raise FeatureError(
            f"node {task.name!r} has {len(train)} training and {len(validation)} validation songs, needed at least one "
            "of each; give the split more songs or merge the group"
        )
    n_batches = max(optimiser.min_steps, math.ceil(optimiser.slices_per_song * len(train) / optimiser.batch_size))
    rates = learning_rates(optimiser, n_batches * optimiser.epochs)
    root_key = jax.random.key(seed)
    init_key, step_key = jax.random.split(root_key)
    random = np.random.default_rng(seed)

    _, replicated = shardings(optimiser.batch_size)
    variables = start(net.init(init_key, train.features.n_mels, train.slices.n_frames))
    state = TrainState(
        variables["params"], variables["batch_stats"], build_optimiser(optimiser).init(variables["params"])
    )
    state = jax.device_put(state, replicated)
    update = build_update(net, train.features, train.slices, task.n_children, optimiser, augment)
    resident = side_by_side(train) if optimiser.resident else None
    frames = jax.device_put(resident.frames, replicated) if resident else None
    logits_of = build_logits(net, train.features)

    history: list[Epoch] = []
    kept: tuple[float, int, Variables] | None = None
    for epoch in range(1, optimiser.epochs + 1):
        started = time.perf_counter()
        measured: list[Measured] = []
        batches = random_batches(
            train,
            standard,
            task.child_of_genre,
            n_batches=n_batches,
            batch_size=optimiser.batch_size,
            balance=optimiser.balance,
            random=random,
            resident=resident,
        )
        n_done = (epoch - 1) * n_batches
        while together := list(islice(batches, optimiser.steps_per_dispatch)):
            # One step at a time: with a second one waiting, XLA's threads on a busy CPU can all be taken by devices
            # that wait for each other. The next batch is made while a step runs all the same.
            jax.block_until_ready(state)
            numbers = np.arange(n_done, n_done + len(together))
            state, found = update(state, frames, together, rates[numbers], numbers, step_key)
            measured.append(found)
            n_done += len(together)
        current = {"params": state.params, "batch_stats": state.batch_stats}
        losses, accuracies = zip(*jax.device_get(measured), strict=True)
        loss = validation_loss = float(np.mean(np.concatenate(losses)))
        if math.isfinite(loss):
            judged = validate(logits_of, current, task, validation, standard)
            validation_loss = judged.song_loss
        if not (math.isfinite(loss) and math.isfinite(validation_loss)):
            raise FeatureError(
                f"node {task.name!r}: training diverged in epoch {epoch}: training loss {loss}, validation loss "
                f"{validation_loss}; lower optimiser.learning_rate, found {optimiser.learning_rate}"
            )
        history.append(
            Epoch(
                epoch=epoch,
                loss=loss,
                train_accuracy=float(np.mean(np.concatenate(accuracies))),
                validation_loss=validation_loss,
                accuracy=judged.song_accuracy,
                slice_loss=judged.slice_loss,
                slice_accuracy=judged.slice_accuracy,
                seconds=time.perf_counter() - started,
            )
        )
        on_epoch(history[-1])
        if optimiser.keep == "last":
            if epoch == optimiser.epochs:
                kept = (validation_loss, epoch, jax.device_get(current))
            continue
        if kept is None or validation_loss < kept[0]:
            kept = (validation_loss, epoch, jax.device_get(current))
        if epoch - kept[1] >= optimiser.patience:
            break
    assert kept is not None
    return TrainedNet(kept[2], tuple(history), kept[1])


def warm(start: Variables, drawn: Variables) -> Variables:
    """``drawn`` with every layer but the last taken from ``start``, a net of the same spec."""
    last = {LAST_LAYER: drawn["params"][LAST_LAYER]}
    return {"params": {**start["params"], **last}, "batch_stats": start["batch_stats"]}


@cache
def build_optimiser(config: OptimiserConfig) -> optax.GradientTransformation:
    """AdamW (Loshchilov and Hutter 2019) at a learning rate of 1, which the step scales; only kernels decay."""
    kernels = partial(jax.tree.map, lambda parameter: parameter.ndim > 1)
    return optax.adamw(1.0, weight_decay=config.weight_decay, mask=kernels)


def learning_rates(config: OptimiserConfig, n_steps: int) -> np.ndarray:
    """(step,) float32 learning rates: a linear warm-up over 5 % of the steps, then a cosine to zero; or one for all."""
    if config.schedule == "constant":
        return np.full(n_steps, config.learning_rate, np.float32)
    schedule = optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, max(1, n_steps // 20), max(2, n_steps))
    return np.asarray(schedule(np.arange(n_steps)), np.float32)


@cache
def build_update(
    net: Net,
    features: FeatureSpec,
    slices: SliceSpec,
    n_children: int,
    optimiser: OptimiserConfig,
    augment: AugmentConfig,
) -> Callable[..., tuple[TrainState, Measured]]:
    """(state, frames, batches, rates (step,), numbers (step,), key) -> (state, measured (step,)): a step a batch.

    The same function for the same arguments, so that the nets of all nodes, folds and seeds that share a shape are
    compiled once. All steps run in one call of the device. ``frames`` (mel, frame) are those on the device that the
    batches name their slices in, or None. Step n draws from ``fold_in(key, n)``.
    """
    step = build_step(net, features, n_children, optimiser, augment)

    @partial(jax.jit, donate_argnums=0)
    def steps(
        state: TrainState, frames: Array | None, batches: tuple[Array, ...], rates: Array, numbers: Array, key: Array
    ) -> tuple[TrainState, Measured]:
        def one(state: TrainState, inputs: Any) -> tuple[TrainState, Measured]:
            (cut, *others), rate, number = inputs
            if frames is not None:
                cut = jax.vmap(lambda first: jax.lax.dynamic_slice_in_dim(frames, first, slices.n_frames, axis=1))(cut)
            return step(state, cut, *others, rate, jax.random.fold_in(key, number))

        if len(rates) == 1:  # no scan, in which a CPU is ten times slower
            state, found = one(state, jax.tree.map(lambda a: a[0], (batches, rates, numbers)))
            return state, jax.tree.map(lambda a: a[None], found)
        return jax.lax.scan(one, state, (batches, rates, numbers))

    slice_sharding, _ = shardings(optimiser.batch_size)
    sharding = NamedSharding(slice_sharding.mesh, PartitionSpec(None, *slice_sharding.spec))

    def update(
        state: TrainState, frames: Array | None, batches: Sequence[Batch], rates: Array, numbers: Array, key: Array
    ) -> tuple[TrainState, Measured]:
        columns = zip(*((b.slices, b.mean_db, b.std_db, b.child_idx) for b in batches), strict=True)
        arrays = tuple(column[0][None] if len(batches) == 1 else np.stack(column) for column in columns)
        return steps(state, frames, jax.device_put(arrays, sharding), rates, numbers, key)

    return update


def build_step(
    net: Net,
    features: FeatureSpec,
    n_children: int,
    optimiser: OptimiserConfig,
    augment: AugmentConfig,
) -> Callable[..., tuple[TrainState, Measured]]:
    """The step: (state, slices, mean_db, std_db, child_idx, rate, key) -> (state, measured), to be compiled.

    Silent slices weigh 0. Layers that the net has frozen keep their weights.
    """
    transform = build_optimiser(optimiser)

    def unless_frozen(kept: Callable[[Array], Array], params: Any) -> Any:
        """``params`` with ``kept`` applied to what is frozen."""
        if not net.frozen:
            return params
        return jax.tree_util.tree_map_with_path(lambda path, a: kept(a) if is_frozen(path, net.frozen) else a, params)

    def step(
        state: TrainState, slices: Array, mean_db: Array, std_db: Array, child_idx: Array, rate: Array, key: Array
    ) -> tuple[TrainState, Measured]:
        spectrum_key, mask_key, mix_key, dropout_key = jax.random.split(key, 4)
        weight = voiced(slices, features, jnp).astype(jnp.float32)
        x = perturb_spectrum(level_free(slices, features, jnp), spectrum_key, augment)
        x = spec_augment((x - mean_db[:, :, None]) / std_db[:, :, None], mask_key, augment)
        targets = optax.smooth_labels(jax.nn.one_hot(child_idx, n_children), optimiser.label_smoothing)
        targets *= weight[:, None]  # so that a silent slice adds nothing to the one it is mixed with either
        x, targets = mixup(x, targets, mix_key, augment)

        def loss_of(params: Any) -> tuple[Array, Any]:
            variables = {"params": unless_frozen(jax.lax.stop_gradient, params), "batch_stats": state.batch_stats}
            logits, batch_stats = net.train_apply(variables, x, dropout_key)
            right = logits.argmax(axis=-1) == targets.argmax(axis=-1)

            def over_slices(values: Array) -> Array:
                return jnp.sum(values * weight) / jnp.maximum(weight.sum(), 1)

            return over_slices(optax.softmax_cross_entropy(logits, targets)), (batch_stats, over_slices(right))

        (loss, (batch_stats, accuracy)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state.params)
        updates, optimiser_state = transform.update(gradient, state.optimiser, state.params)
        updates = unless_frozen(jnp.zeros_like, jax.tree.map(lambda update: rate * update, updates))
        params = optax.apply_updates(state.params, updates)
        return TrainState(params, batch_stats, optimiser_state), Measured(loss, accuracy)

    return step


def is_frozen(path: Sequence[Any], frozen: frozenset[str]) -> bool:
    """Whether a parameter's path lies in one of the ``frozen`` layers, whose own paths are joined by slashes."""
    keys = [str(part.key) for part in path]
    return any("/".join(keys[:depth]) in frozen for depth in range(1, len(keys) + 1))


def validate(
    logits_of: Callable[..., Array], variables: Variables, task: NodeTask, songs: LearningSongs, standard: Standard
) -> Validation:
    """The net's losses and accuracies over validation songs.

    A node's probabilities get a temperature in the end, so epochs are compared as they would be used: without it an
    early epoch that knows little but says so would beat a later one that knows more and exaggerates.
    """
    logits, song_idx = slice_logits(logits_of, variables, songs, standard, VALIDATION_SLICES_PER_SONG)
    slice_child_idx = task.child_of_genre[songs.genre_idx[song_idx]]
    weights = slice_weights(song_idx)
    temperature = fit_temperature(logits, slice_child_idx, weights)
    p = np.asarray(jax.nn.softmax(logits / temperature, axis=-1), np.float64)
    total = np.zeros((len(songs), task.n_children))
    np.add.at(total, song_idx, p)
    heard = np.bincount(song_idx, minlength=len(songs)) > 0
    mean_p = total[heard] / total[heard].sum(axis=1, keepdims=True)
    child_idx = task.child_of_genre[songs.genre_idx[heard]]
    true_p = mean_p[np.arange(len(mean_p)), child_idx]
    logp = np.asarray(jax.nn.log_softmax(logits, axis=-1), np.float64)
    return Validation(
        song_loss=float(-np.log(np.maximum(true_p, 1e-12)).mean()),
        song_accuracy=float((mean_p.argmax(axis=1) == child_idx).mean()),
        slice_loss=float(-np.average(logp[np.arange(len(logp)), slice_child_idx], weights=weights)),
        slice_accuracy=float(np.average(logp.argmax(axis=1) == slice_child_idx, weights=weights)),
    )


def slice_logits(
    logits_of: Callable[..., Array],
    variables: Variables,
    songs: LearningSongs,
    standard: Standard,
    n_slices_per_song: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (slice, child) of voiced slices of songs, in chunks of one size, and the song (slice,) each came from."""
    song_idx: list[np.ndarray] = []

    def rows() -> Iterator[Rows]:
        for i in range(len(songs)):
            slices = spread_slices(songs, i, n_slices_per_song)
            slices = slices[voiced(slices, songs.features)].astype(np.float32)
            mean_db, std_db = standard(songs, i)
            song_idx.append(np.full(len(slices), i))
            yield Rows(slices, np.tile(mean_db, (len(slices), 1)), np.tile(std_db, (len(slices), 1)))

    answers = run_rows({"net": logits_of}, {"net": variables}, rows())
    if not answers:
        raise FeatureError(f"all {len(songs)} songs are silent; nothing to judge")
    return answers["net"], np.concatenate(song_idx)
