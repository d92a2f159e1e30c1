"""Tree probabilities from ready node outputs: HiClass against hgenre.

HiClass is given the nodes' probabilities through local classifiers that hand out columns of its input, hgenre the
logarithms that its own nets give; both end in probabilities over genres. HiClass divides by each row's sum at the end,
which is 1 here anyway. It asks only specialists that at least one song of the batch chooses, so the batch must be
large enough that each is chosen: its probabilities for one song depend on the others.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.floors import FLOAT_BYTES, Work
from benchmarks.invented import GROUPS, LABELS
from benchmarks.rounds import Comparison, Round, Row
from benchmarks.worker import worker
from hgenre.tree.posterior import log_posterior
from hgenre.tree.spec import TreeSpec, tree_from_groups

LARGEST_DIFFERENCE = 1e-6
CALLS_A_ROUND = 20
COMPILED, NUMPY, HICLASS = "hgenre, compiled", "hgenre, numpy", "HiClass, per parent node"


def row(n_songs: int = 10_000) -> Row:
    def side(prepare: str, needs: str = "") -> Any:
        return partial(worker, f"benchmarks.posterior:{prepare}", needs=needs, n_songs=n_songs)

    n_outputs = len(GROUPS) + len(LABELS)
    work = Work(
        "node outputs read and probabilities written once",
        n_bytes=FLOAT_BYTES * n_songs * (n_outputs + len(LABELS)),
    )
    return Row(
        name="posterior",
        what=f"tree probabilities of {n_songs} songs from node outputs, {len(LABELS)} genres in {len(GROUPS)} groups",
        unit="s",
        sides={
            COMPILED: side("by_jax"),
            NUMPY: side("by_numpy"),
            HICLASS: side("by_hiclass", "hiclass"),
        },
        comparisons=(Comparison(COMPILED, HICLASS, limit=0.05), Comparison(NUMPY, HICLASS)),
        work={COMPILED: work, NUMPY: work},
    )


def by_numpy(n_songs: int) -> Round:
    tree = tree_from_groups(LABELS, GROUPS)
    logp = node_logp(tree, n_songs)
    return _timed(lambda: np.exp(log_posterior(tree, logp)))


def by_jax(n_songs: int) -> Round:
    """From numpy arrays to numpy arrays, so that the way in and out counts."""
    import jax
    import jax.numpy as jnp

    tree = tree_from_groups(LABELS, GROUPS)
    logp = node_logp(tree, n_songs)
    posterior = jax.jit(lambda logp: jnp.exp(log_posterior(tree, logp, jnp)))
    return _timed(lambda: np.asarray(posterior(logp)))


def by_hiclass(n_songs: int) -> Round:
    """Checked to give hgenre's probabilities."""
    from hiclass import LocalClassifierPerParentNode
    from sklearn.base import BaseEstimator, ClassifierMixin

    tree = tree_from_groups(LABELS, GROUPS)
    logp = node_logp(tree, n_songs)
    columns = [*GROUPS, *(genre for genres in GROUPS.values() for genre in genres)]
    x = np.exp(np.concatenate([*logp.values()], axis=1))

    class ReadyOutputs(ClassifierMixin, BaseEstimator):
        """Hands out the columns of its classes."""

        def fit(self, x: np.ndarray, y: np.ndarray) -> "ReadyOutputs":
            self.classes_ = np.unique(y)
            self.columns_ = [columns.index(name.rsplit(":", 1)[-1]) for name in self.classes_]
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return x[:, self.columns_]

    ways = [[group, genre] for group, genres in GROUPS.items() for genre in genres]
    model = LocalClassifierPerParentNode(ReadyOutputs()).fit(x[: len(ways)], ways)
    order = [list(model.classes_[-1]).index(genre) for genre in LABELS]
    ours = np.exp(log_posterior(tree, logp))
    difference = np.abs(model.predict_proba(x)[:, order] - ours).max()
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"benchmark: HiClass and hgenre differ by {difference:.1e} in a probability")
    return _timed(lambda: model.predict_proba(x))


def node_logp(tree: TreeSpec, n_rows: int) -> dict[str, np.ndarray]:
    """Node -> (row, child) float32, root first."""
    random = np.random.default_rng(0)
    found = {}
    for node in tree.net_nodes:
        logits = random.normal(0, 1.5, (n_rows, len(node.children)))
        found[node.name] = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).astype(np.float32)
    return found


def _timed(call: Callable[[], Any]) -> Round:
    def run() -> float:
        started = time.perf_counter()
        for _ in range(CALLS_A_ROUND):
            call()
        return (time.perf_counter() - started) / CALLS_A_ROUND

    return run
