"""What the public feature tables of GTZAN say of classical classifiers and of leaks, on the real tables."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hgenre.baselines.pipelines import ClassifierKind
from hgenre.studies.protocols import Learners, figures, under_protocol
from hgenre.studies.recipes import recipes
from hgenre.training.border import read_config
from hgenre.training.config import RunConfig

DATA = Path(os.environ.get("HGENRE_DATA", ""))

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        "HGENRE_DATA" not in os.environ or not (DATA / "gtzan" / "tables").is_dir(),
        reason="needs gtzan/tables under $HGENRE_DATA",
    ),
]


def recipe(name: str) -> RunConfig:
    config = read_config(recipes()[name])
    # What is asked here needs no groups.
    return replace(config, tree=replace(config.tree, groups=None))


def test_published_figures_of_the_30_s_table_lie_in_the_interval_of_ours() -> None:
    """Fast kinds, on the 200 songs of one fold: as many as the published figures rest on."""
    config = recipe("classical-30s")
    assert config.recipe is not None
    published = {row.model: row.percent for row in config.recipe.reported if row.percent is not None}
    kinds: tuple[ClassifierKind, ...] = ("gaussian_nb", "knn", "decision_tree", "svm", "logistic_regression")
    found = under_protocol(config, "song", Learners(net=False, classical=kinds), folds_run=1)
    for kind in kinds:
        song = figures(found.answers[kind], found.prepared.labels)["song"]
        assert song["n"] == 200
        low, high = song["interval"]
        assert low <= published[kind] / 100 <= high, kind


def test_slices_shuffled_promise_more_than_songs_and_artists_apart_hold() -> None:
    config = recipe("classical-3s")
    found = {
        protocol: under_protocol(config, protocol, Learners(net=False, classical=("knn",)))
        for protocol in ("slice-random", "song", "artist")
    }
    right = {p: figures(own.answers["knn"], own.prepared.labels)["slice"]["accuracy"] for p, own in found.items()}
    assert right["slice-random"] > right["song"] + 0.03
    assert right["song"] > right["artist"] + 0.03
