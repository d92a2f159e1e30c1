"""Pictures of groupings hold the figures they are of, in an order that keeps groups together."""

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from hgenre.errors import HgenreError
from hgenre.grouping.groups import group_of_genre
from hgenre.grouping.linkage import linkage_groups, linkage_tree
from hgenre.labels import Labels
from hgenre.report.groupings import listed
from hgenre.report.pictures.of_groupings import (
    KINDS,
    LOSSES,
    dendrogram_figure,
    draw_grouping,
    draw_sweep,
    group_counts_figure,
    group_order,
    grouped_confusion_figure,
    grouping_figures,
    ledgers_figure,
    sweep_figures,
)
from hgenre.report.pictures.saving import PALETTE
from hgenre.training.grouping_file import Grouping
from tests.planted_groupings import LABELS, NONE, PLANTED, planted_grouping, planted_results
from tests.test_report_pictures import check_files

GROUP_IDX = group_of_genre(PLANTED, LABELS).tolist()


def distances(n: int, seed: int) -> np.ndarray:
    places = np.random.default_rng(seed).normal(size=(n, 3))
    return np.asarray(np.linalg.norm(places[:, None] - places, axis=2))


@settings(max_examples=50)
@given(n=st.integers(2, 9), seed=st.integers(0, 1000), data=st.data())
def test_genres_stand_by_group_and_as_the_leaves_do_where_these_agree(n: int, seed: int, data: st.DataObject) -> None:
    labels, distance = Labels(tuple(f"g{k}" for k in range(n))), distances(n, seed)
    tree = linkage_tree(distance, labels, "average")
    group_idx = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n))
    order = group_order(tree, group_idx)
    assert sorted(order) == list(range(n))
    changes = sum(group_idx[a] != group_idx[b] for a, b in pairwise(order))
    assert changes == len(set(group_idx)) - 1
    cut = linkage_groups(distance, labels, data.draw(st.integers(1, n)), "average")
    assert tuple(group_order(tree, group_of_genre(cut, labels).tolist())) == tree.leaves


def test_confusions_are_shares_in_the_order_given_and_groups_are_framed() -> None:
    counts = np.random.default_rng(0).integers(0, 30, (6, 6))
    counts[3] = 0
    order = [0, 2, 4, 3, 5, 1]
    axes, bar = grouped_confusion_figure(counts, LABELS.genres, GROUP_IDX, order, "a run", "songs").axes
    shown = axes.images[0].get_array()
    assert shown is not None
    told = [row for row in range(6) if order[row] != 3]
    shares = counts[order][:, order] / np.maximum(counts[order].sum(axis=1, keepdims=True), 1)
    np.testing.assert_allclose(np.ma.filled(shown, -1)[told], shares[told])
    assert np.ma.getmaskarray(shown)[3].all(), "a genre without songs has no shares"
    assert [text.get_text() for text in axes.get_yticklabels()] == [LABELS.genres[g] for g in order]
    frames = {(*patch.get_xy(), patch.get_width()) for patch in axes.patches if isinstance(patch, Rectangle)}
    assert frames == {(-0.5, -0.5, 3), (3.5, 3.5, 2)}
    numbers = {(int(t.get_position()[0]), int(t.get_position()[1])): t.get_text() for t in axes.texts}
    assert all(numbers[column, row] == f"{100 * shares[row, column]:.0f}" for column, row in numbers)
    assert len(numbers) == (shares >= 0.005).sum()
    assert bar.get_ylabel() == "share of the true genre"


def test_a_dendrogram_joins_at_the_distances_and_colours_what_is_in_one_group() -> None:
    tree = linkage_tree(distances(6, 1), LABELS, "average")
    groups = linkage_groups(distances(6, 1), LABELS, 3, "average")
    group_idx = group_of_genre(groups, LABELS).tolist()
    axes = dendrogram_figure(tree, LABELS.genres, group_idx, "a run", "songs", "distance").axes[0]
    assert [text.get_text() for text in axes.get_yticklabels()] == [LABELS.genres[leaf] for leaf in tree.leaves]
    joins = [np.asarray(line.get_xydata()) for line in axes.lines]
    np.testing.assert_allclose([line[1:3, 0] for line in joins], np.repeat(tree.merges[:, 2:3], 2, axis=1))
    inside = [group for group in groups if len(group) > 1]
    coloured = [line for line in axes.lines if to_hex(line.get_color()) != "#606060"]
    assert len(coloured) == sum(len(group) - 1 for group in inside)
    assert {to_hex(line.get_color()) for line in coloured} == set(PALETTE[: len(inside)])
    # Lines that end in a join begin where the two before it lie in the middle.
    rows: dict[int, float] = {leaf: float(row) for row, leaf in enumerate(tree.leaves)}
    for k, (line, merge) in enumerate(zip(joins, tree.merges, strict=True)):
        a, b = int(merge[0]), int(merge[1])
        assert [line[0, 1], line[3, 1]] == [rows[a], rows[b]]
        rows[6 + k] = (rows[a] + rows[b]) / 2


def test_genres_that_are_all_alike_have_a_dendrogram() -> None:
    tree = linkage_tree(np.zeros((6, 6)), LABELS, "average")
    axes = dendrogram_figure(tree, LABELS.genres, GROUP_IDX, "a run", "songs", "distance").axes[0]
    assert axes.get_xlim()[0] < 0 < axes.get_xlim()[1]


def test_bars_are_the_ledger_and_end_at_one() -> None:
    rows = listed(planted_results())
    names, shares = [row["name"] for row in rows], [row["ledger"] for row in rows]
    axes = ledgers_figure(names, shares, 0.61, "a run").axes[0]
    for cell, container in zip(LOSSES, axes.containers, strict=True):
        bars = [patch for patch in container if isinstance(patch, Rectangle)]
        np.testing.assert_allclose([bar.get_width() for bar in bars], [own[cell] for own in shares])
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in bars], 1)
    assert np.asarray(axes.lines[0].get_xdata())[0] == 0.61
    assert len(axes.get_yticklabels()) == len(rows)


def test_candidates_stand_over_the_spread_of_all_groupings() -> None:
    partitions = planted_results()["partitions"]
    points = {"by confusions": [(2.0, 0.7), (3.5, 0.8)], "given": [(3.0, 0.5)]}
    figure = group_counts_figure(partitions, points, {"flat net": 0.61}, "a run")
    axes = figure.axes[0]
    lines = {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines}
    np.testing.assert_allclose(lines["by confusions"][:, 1], [0.7, 0.8])
    np.testing.assert_allclose(lines["by confusions"][:, 0], [2, 3.5], atol=0.25)
    assert lines["flat net"][0, 1] == 0.61
    best = next(xy for label, xy in lines.items() if label.startswith("best one"))
    np.testing.assert_allclose(best, [(row["n_groups"], row["best"]) for row in partitions])
    edges = np.asarray(axes.collections[0].get_paths()[0].vertices)
    assert edges[:, 1].max() == pytest.approx(max(row["mean"] + row["sd"] for row in partitions))
    assert edges[:, 1].min() == pytest.approx(min(row["mean"] - row["sd"] for row in partitions))
    assert "203 groupings" in figure.get_suptitle()


def test_a_sweep_is_drawn_the_same_bytes_each_time(tmp_path: Path) -> None:
    first = draw_sweep(planted_results(), tmp_path / "a")
    again = draw_sweep(planted_results(), tmp_path / "b")
    names = ("confusion", "dendrogram", "ledgers", "groupings")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(
        f"{name}.{form}" for name in names for form in ("png", "svg")
    )
    assert list(first) == list(again)
    for caption, paths in first.items():
        assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again[caption]]
        check_files(paths)


def test_pictures_of_a_sweep_are_of_its_results() -> None:
    results = planted_results()
    figures = {stem: figure for stem, _, figure in sweep_figures(results)}
    axes = figures["confusion"].axes[0]
    order = [LABELS.index(text.get_text()) for text in axes.get_yticklabels()]
    shown = axes.images[0].get_array()
    assert shown is not None
    expected = np.array(results["confusion"])[np.ix_(order, order)]
    np.testing.assert_allclose(np.ma.filled(shown, -1), expected, atol=1e-9)
    assert {patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle)} == {2, 3}
    points = {str(line.get_label()): line for line in figures["groupings"].axes[0].lines}
    counted = sum(len(np.asarray(points[kind].get_xdata())) for kind in KINDS)
    assert counted == len(results["candidates"])
    of_confusions = [row for row in results["candidates"] if row["evidence"].startswith(("soft", "hard"))]
    assert len(np.asarray(points["by confusions"].get_xdata())) == len(of_confusions)


def test_a_sweep_without_structure_is_drawn_too(tmp_path: Path) -> None:
    assert len(draw_sweep(planted_results(NONE), tmp_path)) == 4


@pytest.mark.parametrize(
    "groups",
    [
        ["rai", {"a": ["dub", "polka"]}, {"b": ["zouk", "fado"]}, "cumbia"],
        {"all": ["dub", "zouk"], "rest": ["polka", "cumbia", {"deeper": ["fado", "rai"]}]},
    ],
)
def test_a_grouping_file_is_drawn_with_its_own_groups(groups: Any, tmp_path: Path) -> None:
    own = planted_grouping()
    grouping = Grouping(LABELS, groups, own.songs, own.about)
    drawn = draw_grouping(grouping, "grouping.json", tmp_path)
    assert [png.stem for png, _ in drawn.values()] == ["confusion", "dendrogram"]
    for paths in drawn.values():
        check_files(paths)
    axes = next(iter(grouping_figures(grouping)))[2].axes[0]
    frames = sorted(patch.get_width() for patch in axes.patches if isinstance(patch, Rectangle))
    assert frames == ([2, 2] if isinstance(groups, list) else [2, 4])


def test_many_genres_of_long_names_do_not_overlap() -> None:
    labels = Labels(tuple(f"a very long genre name {k}" for k in range(11)))
    tree, group_idx = linkage_tree(distances(11, 2), labels, "average"), [0] * 5 + [1] * 6
    order = group_order(tree, group_idx)
    for figure in (
        grouped_confusion_figure(np.ones((11, 11)), labels.genres, group_idx, order, "a run", "songs"),
        dendrogram_figure(tree, labels.genres, group_idx, "a run", "songs", "distance"),
        ledgers_figure(
            [f"{name}, 4 groups, auto-flattened" for name in labels], [dict.fromkeys("ALRB", 0.25)] * 11, 0.5, "a"
        ),
    ):
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].get_yticklabels()]
        assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(boxes))
        assert all(box.x0 >= 0 for box in boxes)


def test_what_cannot_be_drawn_is_told(tmp_path: Path) -> None:
    for key in ("confusion", "partitions", "labels"):
        results = copy.deepcopy(planted_results())
        del results[key]
        with pytest.raises(
            HgenreError, match=rf"results\.json cannot be shown, .*'{key}'.*; run hgenre group sweep again"
        ):
            draw_sweep(results, tmp_path)
    bare = Grouping(LABELS, [*LABELS.genres], planted_grouping().songs)
    with pytest.raises(HgenreError, match=r"mine\.json cannot be shown, .*'method'.*; run hgenre group derive again"):
        draw_grouping(bare, "mine.json", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(HgenreError, match=r"confusion\.png cannot be written .*; choose another place \(--out\)"):
        draw_sweep(planted_results(), tmp_path / "file")
