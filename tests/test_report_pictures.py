import json
import os
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import librosa
import matplotlib
import numpy as np
import pytest
import soundfile
from matplotlib.collections import Collection
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.fft import dct

from hgenre.data.frame_source import FrameSource
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import FeatureError, HgenreError, TooShortAudioError
from hgenre.features import ArraySpec, CepstralSpec, LogMelSpec, SliceSpec, TableSpec
from hgenre.labels import Labels
from hgenre.metrics.intervals import wilson
from hgenre.report.pictures import of_music
from hgenre.report.pictures.of_music import (
    Excerpt,
    first_songs,
    mean_cepstra,
    mfcc_means_figure,
    music_figures,
    pca_figure,
    song_figures,
    song_row,
    spectral_shape,
    spectrograms_figure,
    waveform_figure,
)
from hgenre.report.pictures.of_runs import (
    confusion_figure,
    draw_run,
    genre_bars_figure,
    learning_curves_figure,
    read_run,
    run_figures,
)
from hgenre.report.pictures.saving import BLUE, ORANGE, PALETTE, save_figure, short
from hgenre.training.border import config_from_dict
from hgenre.training.prepare import Prepared
from tests.test_report import example

GENRES = ("blues", "jazz$_{", "rock & roll <loud>")
COUNTS = np.array([[5, 0, 1], [2, 0, 2], [0, 0, 0]])
ARRAYS = ArraySpec(n_mels=4, frame_rate_hz=2.0, scale="dB", db_per_unit=1.0)


def history(net: str, seed: str, losses: list[float], **more: float) -> list[dict[str, Any]]:
    """Rows as ``csv.DictReader`` gives them: all text."""
    columns = {"loss": 2.0, "accuracy": 0.25, **more}
    return [
        {"seed": seed, "net": net, "epoch": str(k), "validation_loss": str(loss)}
        | {name: str(value / k) for name, value in columns.items()}
        for k, loss in enumerate(losses, start=1)
    ]


def face(collection: Collection) -> str:
    return to_hex(np.asarray(collection.get_facecolor())[0])


def check_files(paths: list[Path]) -> None:
    """A PNG that is not blank, and an SVG that is XML with something drawn in it."""
    png, svg = paths
    pixels = imread(png)
    assert min(pixels.shape[:2]) > 200
    assert pixels[..., :3].std() > 0.02
    tree = ElementTree.parse(svg)
    assert tree.getroot().tag == "{http://www.w3.org/2000/svg}svg"
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}path"))) > 10


def test_a_confusion_matrix_shows_the_shares_of_each_true_genre_and_the_counts() -> None:
    axes, _ = confusion_figure(COUNTS, GENRES, "a run").axes
    shown = axes.images[0].get_array()
    assert shown is not None
    np.testing.assert_allclose(np.ma.filled(shown[:2], -1), [[5 / 6, 0, 1 / 6], [0.5, 0, 0.5]])
    assert np.ma.getmaskarray(shown)[2].all(), "a genre without songs has no shares"
    assert [label.get_text() for label in axes.get_yticklabels()] == list(GENRES)
    told = {(round(t.get_position()[0]), round(t.get_position()[1]), t.get_text()) for t in axes.texts}
    assert told == {(0, 0, "5"), (0, 0, "83 %"), (2, 0, "1"), (2, 0, "17 %")} | {
        (column, 1, text) for column in (0, 2) for text in ("2", "50 %")
    }


def test_no_numbers_and_small_names_in_a_confusion_of_many_genres() -> None:
    n_genres = 40
    figure = confusion_figure(np.eye(n_genres, dtype=int), [f"genre {k}" for k in range(n_genres)], "many")
    axes = figure.axes[0]
    assert list(axes.texts) == []
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(left.x1 <= right.x0 for left, right in pairwise(boxes))


@pytest.mark.parametrize("labels", [GENRES, [f"a very long genre name {k}" for k in range(10)]])
def test_names_of_genres_do_not_overlap(labels: list[str]) -> None:
    n_genres = len(labels)
    counts = np.ones((n_genres, n_genres), dtype=int)
    for figure in (confusion_figure(counts, labels, "a run"), genre_bars_figure(counts, counts, labels, "a run")):
        figure.canvas.draw()
        axes = figure.axes[0]
        down = [label.get_window_extent() for label in axes.get_yticklabels()]
        assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(down))
        across = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(left.x1 <= right.x0 for left, right in pairwise(across))


def test_bars_are_the_recalls_of_slices_and_songs_and_intervals_are_wilsons() -> None:
    slices = 3 * COUNTS + np.diag([0, 4, 0])
    axes = genre_bars_figure(slices, COUNTS, GENRES, "a run").axes[0]
    of_slices, of_songs, intervals = axes.containers
    widths = [[bar.get_width() for bar in container] for container in (of_slices, of_songs)]
    np.testing.assert_allclose(widths, [[15 / 18, 4 / 16, 0], [5 / 6, 0, 0]])
    assert isinstance(intervals, ErrorbarContainer)
    [segments] = intervals.lines[2]
    drawn = np.array([segment[:, 0] for segment in segments.get_segments()])
    np.testing.assert_allclose(drawn, [wilson(5, 6), wilson(0, 4)], atol=1e-12)
    assert [label.get_text().rsplit(" ", 1)[1] for label in axes.get_yticklabels()] == ["(6)", "(4)", "(0)"]


def test_learning_curves_are_the_history_beside_each_other_and_the_kept_epoch_is_marked() -> None:
    more = {"slice_loss": 3.0, "train_accuracy": 0.9, "slice_accuracy": 0.6}
    rows = history("flat", "0", [3, 1, 2], **more) + history("rival/flat 2", "0", [1, 1], **more)
    above, below = learning_curves_figure(rows, "a run").axes
    curves = {to_hex(line.get_color()): line.get_xydata() for line in above.lines[:2]}
    np.testing.assert_allclose(np.array(curves[BLUE]), [[1.0, 2.0], [2.0, 1.0], [3.0, 2 / 3]])
    np.testing.assert_allclose(np.array(curves[ORANGE]), [[1.0, 3.0], [2.0, 1.5], [3.0, 1.0]])
    np.testing.assert_allclose(np.array(below.lines[0].get_ydata()), [0.9, 0.45, 0.3])
    np.testing.assert_allclose(np.array(below.lines[1].get_ydata()), [0.6, 0.3, 0.2])
    np.testing.assert_allclose(np.array(above.lines[2].get_xydata()), [[2, 1.5]])
    last, _ = learning_curves_figure(rows, "a run", keep="last").axes
    np.testing.assert_allclose(np.array(last.lines[2].get_xydata()), [[3, 1]])


def test_a_history_without_figures_of_slices_shows_validation_songs() -> None:
    figure = learning_curves_figure(history("flat", "0", [3, 1, 2]), "a run")
    above, below = figure.axes
    np.testing.assert_allclose(np.array(above.lines[1].get_ydata()), [3, 1, 2])
    assert [len(line.get_xdata()) for line in below.lines] == [3, 1]  # type: ignore[arg-type]
    assert "validation songs" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_of_several_fits_the_median_is_thick() -> None:
    fits = {"0/0": [3.0, 1.0, 2.0], "0/1": [5.0, 4.0], "0/2": [4.0, 6.0, 7.0]}
    rows = [row for seed, losses in fits.items() for row in history("flat", seed, losses)]
    above, _ = learning_curves_figure(rows, "a run").axes
    thick = [line for line in above.lines if line.get_linewidth() == 2 and to_hex(line.get_color()) == ORANGE]
    np.testing.assert_allclose([np.array(line.get_ydata()) for line in thick], [[4, 4, 4.5]])


@pytest.mark.parametrize(("n_nets", "told"), [(1, "one net; one fit"), (2, "2 nets; one fit")])
def test_learning_curves_say_how_many_nets_and_fits_they_are_of(n_nets: int, told: str) -> None:
    rows = [row for k in range(n_nets) for row in history(f"net {k}", "0", [3, 1])]
    assert learning_curves_figure(rows, "a run").get_suptitle().splitlines()[-1] == told


def test_a_run_is_drawn_from_its_folder_the_same_bytes_each_time(tmp_path: Path) -> None:
    results = example()
    write_run(tmp_path, results, "seed,net,epoch,loss,validation_loss,accuracy,seconds\n0,flat,1,2,2,0.5,1\n")
    drawn = draw_run(tmp_path)
    names = [
        f"{kind}-{model}" for model in ("tree", "flat") for kind in ("confusion-songs", "confusion-slices", "genres")
    ]
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == sorted(
        f"{name}.{form}" for name in [*names, "learning"] for form in ("png", "svg")
    )
    first = {path.name: path.read_bytes() for paths in drawn.values() for path in paths}
    check_files(drawn["Confusions of songs, tree"])
    for paths in drawn.values():
        ElementTree.parse(paths[1])
    figure = next(figure for stem, _, figure in run_figures(*read_run(tmp_path)) if stem == "confusion-songs-tree")
    counts = np.array(results["models"]["tree"]["song"]["confusion"])
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    np.testing.assert_allclose(np.ma.filled(shown, -1), counts / counts.sum(axis=1, keepdims=True))

    del results["models"]["tree"]
    write_run(tmp_path, results, "")
    left = {path.name for paths in draw_run(tmp_path).values() for path in paths}
    assert left == {f"{name}.{form}" for name in names if name.endswith("flat") for form in ("png", "svg")}
    there = {path.name: path.read_bytes() for path in (tmp_path / "pictures").iterdir()}
    assert there == {name: first[name] for name in left}

    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "learning.png").write_text("not of this run")
    draw_run(tmp_path, tmp_path / "mine")
    assert (tmp_path / "mine" / "learning.png").exists()


def write_run(folder: Path, results: dict[str, Any], rows: str) -> None:
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "history.csv").write_text(rows) if rows else (folder / "history.csv").unlink()


@pytest.mark.parametrize(
    ("config", "labels"), [('{"optimiser": null}', ["a", "b"]), ("{}", ["a", "b", "c", "d", "e", "f", "g"])]
)
def test_a_run_of_damaged_files_is_told(config: str, labels: list[str], tmp_path: Path) -> None:
    write_run(tmp_path, {**example(), "labels": labels}, "seed,net\n")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(HgenreError, match="run the training again"):
        draw_run(tmp_path)


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(HgenreError, match=r"is no run: it has no results\.json, which train-tree.*name the folder"):
        draw_run(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(HgenreError, match=r"the run's files cannot be read .*; run the training again"):
        draw_run(tmp_path)
    (tmp_path / "results.json").write_text('{"name": "x", "labels": ["a"]}')
    with pytest.raises(HgenreError, match=r"cannot be drawn, an entry is missing or of another kind.*'models'"):
        draw_run(tmp_path)


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HgenreError, match=r"picture\.png cannot be written .*; choose another place \(--out\)"):
        save_figure(Figure(), tmp_path / "file" / "picture")


def test_a_picture_that_cannot_take_its_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "picture.png" / "in the way").mkdir(parents=True)
    with pytest.raises(HgenreError, match=r"picture\.png cannot be written"):
        save_figure(Figure(), tmp_path / "picture")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_the_users_settings_of_matplotlib_return() -> None:
    with matplotlib.rc_context({"font.size": 31.0}):
        figure = confusion_figure(COUNTS, GENRES, "a run")
        assert matplotlib.rcParams["font.size"] == 31
    assert figure.axes[0].yaxis.label.get_fontsize() == 10


def test_a_name_is_cut_to_the_room_there_is() -> None:
    assert short(" hip\n hop ") == "hip hop"
    assert short("x" * 30) == "x" * 23 + "…"
    assert short("a\udcff\x07b") == "a\ufffd\ufffdb"


def test_principal_components_are_those_of_the_singular_value_decomposition() -> None:
    rows = np.random.default_rng(0).normal(size=(30, 5)) @ np.diag([9, 3, 1, 1, 0]) + 7
    rows[:, 2] += rows[:, 0]
    genre_idx = np.arange(30) % 3
    axes = pca_figure(rows, genre_idx, GENRES, "songs").axes[0]
    spread = rows.std(axis=0)
    standard = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    u, s, _ = np.linalg.svd(standard, full_matrices=False)
    shares = s**2 / (s**2).sum()
    assert axes.get_xlabel() == f"first component, {100 * shares[0]:.1f} % of the variance"
    assert axes.get_ylabel() == f"second component, {100 * shares[1]:.1f} % of the variance"
    for genre, (songs, mean) in enumerate(zip(axes.collections[::2], axes.collections[1::2], strict=True)):
        places = np.asarray(songs.get_offsets())
        np.testing.assert_allclose(np.abs(places), np.abs(u[genre::3, :2] * s[:2]), atol=1e-9)
        np.testing.assert_allclose(np.asarray(mean.get_offsets())[0], places.mean(axis=0))
        assert face(songs) == PALETTE[genre]


def test_of_many_genres_the_largest_are_coloured() -> None:
    genre_idx = np.repeat(np.arange(25), np.where(np.arange(25) < 5, 1, 3))
    rows = np.random.default_rng(1).normal(size=(len(genre_idx), 3))
    figure = pca_figure(rows, genre_idx, [f"g{k}" for k in range(25)], "songs")
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["5 others", *(f"g{k} (3)" for k in range(5, 25))]
    means = figure.axes[0].collections[2::2]
    looks = {(face(mean), np.asarray(mean.get_paths()[0].vertices).tobytes()) for mean in means}
    assert len(looks) == 20


def test_a_songs_row_is_mean_and_deviation_of_bands_or_the_mean_of_columns() -> None:
    frames = np.array([[1, 3], [5, 5]], np.float32)
    assert song_row(frames, ARRAYS).tolist() == [2, 5, 1, 0]
    assert song_row(frames, TableSpec(("tempo", "energy"), 30.0)).tolist() == [2, 5]


def test_spectrograms_are_the_frames_on_one_scale_over_seconds_and_hertz() -> None:
    spec = LogMelSpec()
    rng = np.random.default_rng(2)
    songs = [Excerpt(genre, f"{genre}.1", rng.uniform(-100, high, (96, 50))) for genre, high in (("a", -10), ("b", 0))]
    figure = spectrograms_figure(songs, spec, "two")
    for axes, song in zip(figure.axes, songs, strict=False):
        [image] = axes.images
        assert np.array_equal(np.asarray(image.get_array()), song.frames)
        high = max(song.frames.max() for song in songs)
        assert image.get_clim() == (high - 80, high)
        assert image.get_extent()[:2] == [0, 50 / spec.frame_rate_hz]
        assert axes.get_title(loc="left").strip() == song.genre
        assert [text.get_text() for text in axes.texts] == [song.song_id]
    centres_hz = librosa.mel_frequencies(n_mels=98, fmin=0, fmax=8000)[1:-1]
    places = dict(
        zip((t.get_text() for t in figure.axes[0].get_yticklabels()), figure.axes[0].get_yticks(), strict=True)
    )
    assert list(places) == ["0.5", "1", "2", "4", "8"]
    assert places.pop("8") == 95.5
    for khz, place in places.items():
        assert np.interp(place, np.arange(96), centres_hz) == pytest.approx(1000 * float(khz))


@pytest.mark.parametrize(
    ("spec", "unit", "axis"),
    [
        (ARRAYS, "dB", "mel band"),
        (replace(ARRAYS, db_per_unit=None), "stored value", "mel band"),
        (CepstralSpec(ARRAYS, n_mfcc=4), "coefficient's value", "coefficient"),
    ],
)
def test_spectrograms_say_what_their_values_are(spec: Any, unit: str, axis: str) -> None:
    figure = spectrograms_figure([Excerpt("a", "a.1", np.random.default_rng(3).normal(size=(4, 9)))], spec, "one")
    assert figure.axes[0].get_ylabel() == axis
    assert figure.axes[-1].get_ylabel() == unit


def test_mean_cepstra_of_a_genre_are_told_in_deviations_of_the_training_songs() -> None:
    rng = np.random.default_rng(4)
    train, test = rng.normal(5, 3, (12, 4)), rng.normal(8, 3, (5, 4))
    train_genre, test_genre = np.arange(12) % 3, np.array([0, 0, 0, 0, 1])
    panels = mfcc_means_figure(train, test, train_genre, test_genre, GENRES, "two parts").axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        "blues (4 and 4)",
        "jazz$_{ (4 and 1)",
        "rock & roll <loud> (4 and 0)",
    ]
    standard = [(part - train.mean(axis=0)) / train.std(axis=0) for part in (train, test)]
    for genre, axes in enumerate(panels):
        for container, part, of in zip(axes.containers, standard, (train_genre, test_genre), strict=False):
            own = part[of == genre]
            assert isinstance(container, ErrorbarContainer)
            line, _, bars = container.lines
            np.testing.assert_allclose(np.asarray(line.get_ydata()), own.mean(axis=0))
            if len(own) > 1:
                half = 1.96 * own.std(axis=0, ddof=1) / np.sqrt(len(own))
                drawn = [segment[:, 1] for segment in bars[0].get_segments()]
                np.testing.assert_allclose(np.diff(drawn)[:, 0] / 2, half)
    assert [len(axes.containers) for axes in panels] == [2, 2, 1]


def test_mean_cepstra_are_those_of_the_cosine_transform() -> None:
    frames = np.random.default_rng(5).normal(size=(16, 20)).astype(np.float32)
    spec = ArraySpec(16, 2.0, "dB", 1.0)
    expected = dct(frames, axis=0, norm="ortho")[:13].mean(axis=1)
    np.testing.assert_allclose(mean_cepstra(frames, spec), expected, atol=1e-5)
    np.testing.assert_allclose(mean_cepstra(frames, CepstralSpec(spec, n_mfcc=16)), frames.mean(axis=1), atol=1e-6)


def test_centroid_and_rolloff_of_a_sine_are_its_pitch_and_silence_has_none() -> None:
    rate = 16000
    sine = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(2 * rate) / rate).astype(np.float32)
    waveform = np.concatenate([sine, np.zeros(2 * rate, np.float32)])
    times_s, centroid_hz, rolloff_hz = spectral_shape(waveform, rate)
    sounding = times_s < 1.9
    np.testing.assert_allclose(centroid_hz[sounding], 1000, rtol=0.02)
    np.testing.assert_allclose(rolloff_hz[sounding], 1000, rtol=0.02)
    assert np.isnan(centroid_hz[times_s > 2.1]).all()
    assert np.isnan(rolloff_hz[times_s > 2.1]).all()
    figure = waveform_figure(waveform, rate, "a sine")
    above, below = figure.axes
    low, high = above.collections[0].get_datalim(above.transData).intervaly
    assert (low, high) == pytest.approx((-0.5, 0.5), abs=1e-3)
    np.testing.assert_array_equal(np.asarray(below.lines[2].get_ydata()), centroid_hz / 1000)


def test_a_long_song_has_no_more_points_than_the_picture_has_pixels() -> None:
    times_s, centroid_hz, _ = spectral_shape(np.ones(3_000_000, np.float32), 8000)
    assert 1400 < len(times_s) == len(centroid_hz) <= 1500
    assert times_s[-1] == pytest.approx(375, abs=1)


def test_a_song_is_drawn_from_its_file(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a$b.wav", np.random.default_rng(6).normal(0, 0.1, 22050), 22050)
    drawn = {stem: save_figure(figure, tmp_path / stem) for stem, _, figure in song_figures(tmp_path / "a$b.wav")}
    assert list(drawn) == ["a$b-waveform", "a$b-mel"]
    for paths in drawn.values():
        check_files(paths)
    soundfile.write(tmp_path / "short.wav", np.ones(900), 22050)
    with pytest.raises(TooShortAudioError, match=r"short\.wav: holds 0\.041 s; needed 2048 samples, 0\.093 s, to draw"):
        next(song_figures(tmp_path / "short.wav"))


def test_of_a_long_song_the_beginning_is_read_and_said_to_be_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(of_music, "LONGEST_S", 120.0)
    noise = np.random.default_rng(6).normal(0, 0.1, 160 * 8000).astype(np.float32)
    # What is no sound stops a reader that comes so far.
    noise[-1] = np.nan
    soundfile.write(tmp_path / "long.wav", noise, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "whole.wav", noise[: 120 * 8000], 8000, subtype="FLOAT")
    for name, told in (("long", "long.wav, its first 2 minutes"), ("whole", "whole.wav")):
        drawn = [figure for _, _, figure in song_figures(tmp_path / f"{name}.wav")]
        assert drawn[0].get_suptitle() == f"{told}: waveform, spectral centroid and rolloff\n120.0 s at 8000 Hz"
        assert drawn[1].get_suptitle() == f"{told}: mel spectrogram, 96 bands"
        assert drawn[1].axes[0].get_xlim() == pytest.approx((0, 120), abs=0.1)


def test_songs_are_drawn_whatever_their_names_are(tmp_path: Path) -> None:
    song = tmp_path / ("é" * 120 + ".wav")
    soundfile.write(song, np.random.default_rng(6).normal(0, 0.1, 8000), 8000)
    stem, _, figure = next(song_figures(song))
    assert stem == "é" * 100 + "-waveform"
    save_figure(figure, tmp_path / stem)
    odd = os.fsdecode(bytes(tmp_path) + b"/\xff.wav")
    os.rename(song, odd)
    stem, _, figure = next(song_figures(Path(odd)))
    assert figure.get_suptitle().startswith("\ufffd.wav: waveform")
    check_files(save_figure(figure, tmp_path / stem))


def prepared(spec: Any, n_bands: int, genres: tuple[str, ...] = ("a", "b", "c", "d")) -> Prepared:
    """Six songs in each genre, on a split that names them."""
    songs = tuple(
        Song(f"{genre}.{k}", f"{genre}.{k}.wav", genre, split=("train", "valid", "test")[k % 3])
        for genre in genres
        for k in range(6)
    )
    frames = {s.song_id: np.random.default_rng(i).normal(size=(n_bands, 40)).astype("f") for i, s in enumerate(songs)}
    config = config_from_dict({"name": "toy", "data": {"protocol": "listed"}})
    return Prepared(
        config=config,
        manifest=Manifest(songs, Path()),
        labels=Labels(genres),
        songs=songs,
        source=FrameSource(spec, songs, frames.__getitem__, {}),
        slices=SliceSpec(4, 4),
        cache_dir=Path(),
        warnings=(),
    )


def test_the_music_of_a_configuration_is_drawn() -> None:
    ready = prepared(ARRAYS, 4)
    figures = {stem: figure for stem, _, figure in music_figures(ready)}
    assert list(figures) == ["pca", "mel-three-genres", "mel-genres", "mfcc-means"]
    shown = figures["mel-genres"].axes[1].images[0].get_array()
    assert np.array_equal(np.asarray(shown), ready.source.frames("b.0"))
    assert "12 training" not in (told := figures["mfcc-means"].get_suptitle())
    assert "8 training and 8 test songs" in told
    assert first_songs(ready.songs)["c"].song_id == "c.0"
    assert [axes.get_title(loc="left").strip() for axes in figures["mel-three-genres"].axes[:3]] == ["a", "c", "d"]


def test_of_three_genres_every_genre_is_drawn_once() -> None:
    drawn = [(stem, caption) for stem, caption, _ in music_figures(prepared(ARRAYS, 4, ("a", "b", "c")))]
    assert [stem for stem, _ in drawn] == ["pca", "mel-genres", "mfcc-means"]


def test_a_feature_table_has_principal_components_alone() -> None:
    assert [stem for stem, _, _ in music_figures(prepared(TableSpec(("tempo", "energy"), 30.0), 2))] == ["pca"]
    with pytest.raises(FeatureError, match="toy: songs have one feature, and principal components need two; add a col"):
        next(music_figures(prepared(TableSpec(("tempo",), 30.0), 1)))
