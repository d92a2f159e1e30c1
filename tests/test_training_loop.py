"""The loop over one net: it learns, repeats itself, stops in time, and does not listen to silence."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from hgenre.bundle.bundle import flatten
from hgenre.compiled.devices import shardings
from hgenre.compiled.node_outputs import EVALUATION_SLICES, build_logits
from hgenre.errors import FeatureError
from hgenre.features import Normalisation, fit_normalisation, standardise
from hgenre.nets.build import build_net
from hgenre.training.config import AugmentConfig, OptimiserConfig
from hgenre.training.loop import (
    Epoch,
    NodeTask,
    TrainedNet,
    TrainState,
    build_optimiser,
    build_step,
    learning_rates,
    slice_logits,
    train_net,
    validate,
    warm,
)
from hgenre.training.songs import LearningSongs, standard_of
from hgenre.tree.calibration import fit_temperature
from tests.planted_songs import planted_songs, songs_of
from tests.small_bundles import FEATURES, NET, SLICES, silent, sounding

OFF = AugmentConfig(0.0, 0.0, 0, 0, 0, 0, 0.0)
OPTIMISER = OptimiserConfig(
    epochs=8, batch_size=16, min_steps=6, learning_rate=1e-2, weight_decay=1e-3, label_smoothing=0.0, patience=3
)
SMALL = replace(NET, dropout=0.1)
N_CHILDREN = 3
TASK = NodeTask("root", N_CHILDREN, np.array([0, 1, 2, -1]))
TRAIN = planted_songs([6, 6, 6, 2], seed=1)
VALIDATION = planted_songs([3, 3, 3, 1], seed=2)
STANDARD = standard_of(fit_normalisation((TRAIN.cut(i) for i in range(len(TRAIN))), FEATURES))


def trained(
    seed: int = 0, validation: LearningSongs = VALIDATION, optimiser: OptimiserConfig = OPTIMISER, **options: Any
) -> TrainedNet:
    net = build_net(SMALL, N_CHILDREN, optimiser.precision)
    return train_net(net, TASK, TRAIN, validation, STANDARD, optimiser, OFF, seed=seed, **options)


def digest(variables: Any) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in flatten(variables).items()}


def fresh_state(seed: int = 0) -> TrainState:
    variables = build_net(SMALL, N_CHILDREN).init(jax.random.key(seed), FEATURES.n_mels, SLICES.n_frames)
    optimiser = build_optimiser(OPTIMISER).init(variables["params"])
    return TrainState(variables["params"], variables["batch_stats"], optimiser)


def rows(slices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return slices, np.full(slices.shape[:2], -3, np.float32), np.full(slices.shape[:2], 8, np.float32)


def step_with(augment: AugmentConfig = OFF) -> Any:
    return jax.jit(build_step(build_net(SMALL, N_CHILDREN), FEATURES, N_CHILDREN, OPTIMISER, augment))


def test_one_batch_can_be_learned_by_heart() -> None:
    slices = sounding(16, seed=3)
    child_idx = np.random.default_rng(3).integers(0, N_CHILDREN, 16)
    step, state, losses = step_with(), fresh_state(), []
    for i in range(60):
        state, measured = step(state, *rows(slices), child_idx, np.float32(1e-2), jax.random.key(i))
        losses.append(float(measured.loss))
    assert losses[0] > 0.7
    assert losses[-1] < 0.05
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    logits = build_net(SMALL, N_CHILDREN).apply(variables, standardise(*rows(slices), FEATURES))
    assert np.asarray(logits).argmax(axis=1).tolist() == child_idx.tolist()


def test_planted_genres_are_learned_and_the_loss_falls() -> None:
    epochs: list[Epoch] = []
    result = trained(on_epoch=epochs.append)
    assert tuple(epochs) == result.history
    assert [epoch.epoch for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert result.history[-1].loss < 0.5 * result.history[0].loss
    assert result.history[result.kept_epoch - 1].accuracy == 1.0
    assert all(isinstance(array, np.ndarray) for array in flatten(result.variables).values())


def test_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = trained(seed=5), trained(seed=5), trained(seed=6)
    assert digest(first.variables) == digest(again.variables)
    assert [epoch.loss for epoch in first.history] == [epoch.loss for epoch in again.history]
    assert digest(first.variables) != digest(other.variables)


@pytest.mark.parametrize(
    "optimiser",
    [
        replace(OPTIMISER, epochs=1, resident=True),
        replace(OPTIMISER, epochs=1, steps_per_dispatch=4),
        replace(OPTIMISER, epochs=1, steps_per_dispatch=100, resident=True),
    ],
)
def test_steps_in_one_call_and_frames_on_the_device_change_no_weight(optimiser: OptimiserConfig) -> None:
    one_by_one = trained(optimiser=replace(OPTIMISER, epochs=1))
    found = trained(optimiser=optimiser)
    for name, array in flatten(one_by_one.variables).items():
        np.testing.assert_allclose(flatten(found.variables)[name], array, rtol=1e-3, atol=1e-4, err_msg=name)
    assert found.history[0].loss == pytest.approx(one_by_one.history[0].loss, rel=1e-4)


def test_half_precision_learns_the_planted_genres_in_whole_weights() -> None:
    found = trained(optimiser=replace(OPTIMISER, precision="bfloat16"))
    assert {array.dtype for array in flatten(found.variables).values()} == {np.dtype(np.float32)}
    assert found.history[found.kept_epoch - 1].accuracy > 0.9
    assert digest(found.variables) != digest(trained().variables)


def test_training_stops_after_its_patience_and_keeps_the_best_epoch() -> None:
    """Validation songs with the wrong genres: the better the net learns, the worse its validation loss."""
    perverse = replace(VALIDATION, genre_idx=(VALIDATION.genre_idx + 1) % 3)
    result = trained(validation=perverse)
    losses = [epoch.validation_loss for epoch in result.history]
    assert len(losses) == result.kept_epoch + OPTIMISER.patience < OPTIMISER.epochs
    assert losses[result.kept_epoch - 1] == min(losses)
    logits_of = build_logits(build_net(SMALL, N_CHILDREN), FEATURES)
    judged = validate(logits_of, result.variables, TASK, TASK.of(perverse), STANDARD)
    assert judged.song_loss == pytest.approx(min(losses), rel=1e-6)
    assert judged.song_accuracy == result.history[result.kept_epoch - 1].accuracy


def test_silent_slices_weigh_nothing() -> None:
    slices = np.concatenate([sounding(10, seed=4), silent(6)])
    heard = np.random.default_rng(4).integers(0, N_CHILDREN, 10)
    for augment in (OFF, replace(OFF, mixup_alpha=5.0)):
        results = []
        for child_of_silence in (0, 2):
            child_idx = np.concatenate([heard, np.full(6, child_of_silence)])
            state, measured = step_with(augment)(
                fresh_state(), *rows(slices), child_idx, np.float32(1e-2), jax.random.key(0)
            )
            results.append((digest(jax.device_get(state.params)), float(measured.loss)))
        assert results[0] == results[1]
        child_idx = np.concatenate([(heard + 1) % N_CHILDREN, np.zeros(6, int)])
        _, measured = step_with(augment)(fresh_state(), *rows(slices), child_idx, np.float32(1e-2), jax.random.key(0))
        assert float(measured.loss) != results[0][1]


def test_a_batch_of_silence_moves_only_statistics_and_decay() -> None:
    child_idx = np.zeros(16, int)
    state, measured = step_with()(fresh_state(), *rows(silent(16)), child_idx, np.float32(0), jax.random.key(0))
    assert float(measured.loss) == 0
    assert digest(jax.device_get(state.params)) == digest(jax.device_get(fresh_state().params))


def test_warm_start_takes_every_layer_but_the_last() -> None:
    mine, other = ({"params": s.params, "batch_stats": s.batch_stats} for s in (fresh_state(1), fresh_state(2)))
    started = warm(other, mine)
    for name, array in flatten(started).items():
        source = mine if name.startswith("params/logits/") else other
        assert np.array_equal(array, flatten(source)[name])
    assert jax.tree.map(np.shape, started) == jax.tree.map(np.shape, mine)


def test_warm_start_may_come_from_a_net_with_other_children() -> None:
    source = trained().variables
    wider = {**source, "params": {**source["params"], "logits": {"kernel": np.zeros((16, 9)), "bias": np.zeros(9)}}}
    before = digest(wider)
    starts = (lambda drawn: drawn, partial(warm, wider))
    losses = [trained(seed=9, start=start).history[0].validation_loss for start in starts]
    assert losses[1] < losses[0]
    assert digest(wider) == before


@pytest.mark.parametrize(
    ("train", "validation", "message"),
    [
        (TRAIN.where(TRAIN.genre_idx == 3), VALIDATION, "node 'root' has 0 training and 9 validation songs, needed at"),
        (TRAIN, VALIDATION.where([False] * 10), "node 'root' has 18 training and 0 validation songs, needed at least"),
        (TRAIN, songs_of({"quiet": np.full((12, 50), -100.0)}, [0]), "all 1 songs are silent; nothing to judge"),
    ],
    ids=["no training songs", "no validation songs", "silence"],
)
def test_nothing_to_learn_from_is_an_error(train: LearningSongs, validation: LearningSongs, message: str) -> None:
    net = build_net(SMALL, N_CHILDREN)
    with pytest.raises(FeatureError, match=message):
        train_net(net, TASK, train, validation, STANDARD, OPTIMISER, OFF, seed=0)


def test_diverged_training_stops_with_a_word() -> None:
    def nothing_deviates(songs: LearningSongs, i: int) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(12, np.float32), np.full(12, 1e-38, np.float32)

    net = build_net(SMALL, N_CHILDREN)
    with pytest.raises(
        FeatureError, match=r"node 'root': training diverged in epoch 1: .* lower optimiser.learning_rate"
    ):
        train_net(net, TASK, TRAIN, VALIDATION, nothing_deviates, OPTIMISER, OFF, seed=0)


def test_a_task_takes_the_songs_under_its_node() -> None:
    assert set(TASK.of(TRAIN).genre_idx.tolist()) == {0, 1, 2}
    assert len(TASK.of(TRAIN)) == 18


def test_validation_is_the_mean_over_songs_of_mean_probabilities_at_the_best_temperature() -> None:
    variables = trained().variables
    net = build_net(SMALL, N_CHILDREN)
    songs = TASK.of(VALIDATION)
    logits, song_idx = slice_logits(build_logits(net, FEATURES), variables, songs, STANDARD, 2)
    assert np.bincount(song_idx).tolist() == [2] * len(songs)
    temperature = fit_temperature(logits, songs.genre_idx[song_idx])
    losses, hits, slice_losses, slice_hits = [], [], [], []
    for i in range(len(songs)):
        cut = songs.cut(i)[:2]
        mean_db, std_db = (np.tile(a, (2, 1)) for a in STANDARD(songs, i))
        mine = np.asarray(net.apply(variables, standardise(cut, mean_db, std_db, FEATURES)), np.float64)
        np.testing.assert_allclose(logits[song_idx == i], mine, atol=1e-3)
        p = np.exp(mine / temperature - np.logaddexp.reduce(mine / temperature, axis=1)[:, None]).mean(axis=0)
        losses.append(-np.log(p[songs.genre_idx[i]]))
        plain = np.exp(mine - np.logaddexp.reduce(mine, axis=1)[:, None])[:, songs.genre_idx[i]]
        slice_losses += list(-np.log(plain))
        slice_hits += list(mine.argmax(axis=1) == songs.genre_idx[i])
        hits.append(p.argmax() == songs.genre_idx[i])
    judged = validate(build_logits(net, FEATURES), variables, TASK, songs, STANDARD)
    assert judged.song_loss == pytest.approx(np.mean(losses), abs=1e-4)
    assert judged.song_accuracy == np.mean(hits)
    assert judged.slice_loss == pytest.approx(np.mean(slice_losses), abs=1e-4)
    assert judged.slice_accuracy == pytest.approx(np.mean(slice_hits))


def test_the_last_epoch_is_kept_on_demand_whatever_patience_says() -> None:
    perverse = replace(VALIDATION, genre_idx=(VALIDATION.genre_idx + 1) % 3)
    to_the_end = replace(OPTIMISER, keep="last", epochs=5, patience=1)
    found = trained(validation=perverse, optimiser=to_the_end)
    assert found.kept_epoch == len(found.history) == 5
    cut_short = trained(validation=perverse, optimiser=replace(to_the_end, keep="best"))
    assert len(cut_short.history) < 5


def test_a_constant_schedule_is_the_learning_rate_at_every_step() -> None:
    rates = learning_rates(replace(OPTIMISER, schedule="constant"), 7)
    assert rates.dtype == np.float32
    np.testing.assert_array_equal(rates, np.full(7, OPTIMISER.learning_rate, np.float32))


def test_frozen_layers_keep_their_weights_and_the_others_learn() -> None:
    frozen = frozenset({"stem", "block1/conv2"})
    net = replace(build_net(SMALL, N_CHILDREN), frozen=frozen)
    step = jax.jit(build_step(net, FEATURES, N_CHILDREN, OPTIMISER, OFF))
    slices, child_idx = sounding(16, seed=3), np.random.default_rng(3).integers(0, N_CHILDREN, 16)
    before = fresh_state()
    kept = flatten(jax.device_get(before.params))
    after, _ = step(before, *rows(slices), child_idx, np.float32(1e-2), jax.random.key(0))
    for name, array in flatten(jax.device_get(after.params)).items():
        is_same = np.array_equal(array, kept[name])
        assert is_same == name.startswith(("stem/", "block1/conv2/")), name


def test_logits_of_many_slices_come_in_chunks_and_leave_silence_out() -> None:
    n_slices = EVALUATION_SLICES // 2 + 3
    frames = {name: sounding(n_slices, seed).transpose(1, 0, 2).reshape(12, -1) for seed, name in enumerate("abc")}
    frames["b"] = np.concatenate([frames["b"], np.full((12, 40), -100.0, np.float32)], axis=1)
    songs = songs_of(frames, [0, 1, 2])
    net = build_net(SMALL, N_CHILDREN)
    variables = trained().variables
    standard = standard_of(Normalisation("training", np.zeros(12, np.float32), np.ones(12, np.float32)))
    logits, song_idx = slice_logits(build_logits(net, FEATURES), variables, songs, standard, None)
    assert np.bincount(song_idx).tolist() == [n_slices] * 3
    last = net.apply(variables, standardise(songs.cut(2)[-1:], np.zeros((1, 12)), np.ones((1, 12)), FEATURES))
    np.testing.assert_allclose(logits[-1:], last, atol=1e-4)


@pytest.mark.parametrize("n_steps", [1, 2, 30, 400])
def test_learning_rate_warms_up_and_cools_down(n_steps: int) -> None:
    rates = learning_rates(OPTIMISER, n_steps)
    assert rates.shape == (n_steps,)
    assert rates[0] == 0
    assert rates.max() <= OPTIMISER.learning_rate * (1 + 1e-6)
    n_warm = max(1, n_steps // 20)
    assert (np.diff(rates[: n_warm + 1]) > 0).all()
    assert (np.diff(rates[n_warm:]) <= 0).all()
    if n_steps >= 100:
        assert rates[n_warm] == pytest.approx(OPTIMISER.learning_rate)
        assert rates[-1] < 0.01 * OPTIMISER.learning_rate


def test_only_kernels_decay() -> None:
    state = fresh_state()
    params = jax.tree.map(lambda a: np.ones_like(a), state.params)
    transform = build_optimiser(OPTIMISER)
    updates, _ = transform.update(jax.tree.map(np.zeros_like, params), transform.init(params), params)
    for name, update in flatten(updates).items():
        wanted = -OPTIMISER.weight_decay if name.endswith("kernel") else 0
        np.testing.assert_allclose(update, wanted, rtol=1e-6)


def test_batches_are_spread_over_as_many_devices_as_divide_them() -> None:
    n_devices = len(jax.local_devices())
    over_slices, copied = shardings(16)
    assert len(over_slices.device_set) == max(n for n in range(1, n_devices + 1) if 16 % n == 0)
    assert copied.is_fully_replicated


TWO_DEVICES = """
import sys
import jax
jax.config.update("jax_num_cpu_devices", 2)
import numpy as np
import tests.test_training_loop as here

np.savez(sys.argv[1], **here.three_steps(n_devices=2))
"""


def three_steps(n_devices: int) -> dict[str, np.ndarray]:
    """The variables after three steps over so many devices."""
    over_slices, copied = shardings(16)
    assert len(over_slices.device_set) == n_devices
    state = jax.device_put(fresh_state(), copied)
    for i in range(3):
        arrays = jax.device_put((*rows(sounding(16, i)), np.arange(16) % N_CHILDREN), over_slices)
        state, _ = step_with()(state, *arrays, np.float32(1e-3), jax.random.key(i))
    return flatten(jax.device_get({"params": state.params, "batch_stats": state.batch_stats}))


@pytest.mark.skipif(len(jax.local_devices()) > 1, reason="the tests themselves run on several devices")
def test_two_devices_train_as_one(tmp_path: Path) -> None:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    path = tmp_path / "two.npz"
    done = subprocess.run([sys.executable, "-c", TWO_DEVICES, path], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    one = three_steps(n_devices=1)
    with np.load(path) as two:
        assert set(two) == set(one)
        for name, array in one.items():
            np.testing.assert_allclose(two[name], array, rtol=1e-3, atol=1e-5, err_msg=name)
