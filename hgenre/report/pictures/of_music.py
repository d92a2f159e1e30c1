"""Pictures of music: songs in the plane of their features, spectrograms, cepstra on two splits, one song in time."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hgenre.audio import AudioStream, open_audio, resample
from hgenre.errors import FeatureError, TooShortAudioError
from hgenre.features import ArraySpec, CepstralSpec, FeatureSpec, LogMelSpec, TableSpec, log_mel, mfcc
from hgenre.features.log_mel import mel_edges_hz
from hgenre.report.figures import percent
from hgenre.report.pictures.saving import BLUE, EDGE, GREY, MARKERS, ORANGE, PALETTE, lattice, short, style, title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

    from hgenre.data.manifest import Song
    from hgenre.training.prepare import Prepared

N_MFCC = 13

MAX_COLOURED = 20
"""With more genres the largest have colours and the others are grey."""

MAX_PANELS = 20

MAX_STEM_BYTES = 200
"""Of a song's name in the names of its pictures: file systems take 255 in all."""

TOLD_HZ = (500, 1000, 2000, 4000, 8000, 16000)

SHOWN_S = 30.0
"""How much of a song a spectrogram shows."""

LONGEST_S = 600.0
"""How much of a single song is read and drawn: an hour in memory, with its spectrum, would take gigabytes."""

DB_SHOWN = 80.0
"""Below the loudest value everything is black: ``top_db`` of librosa.power_to_db."""

N_FFT = 2048
"""Samples a frame of centroid and rolloff, at the file's own rate: librosa's."""

ROLLOFF_SHARE = 0.85
"""Share of a frame's magnitude below its rolloff: librosa's, after Tzanetakis and Cook (2002)."""

SILENCE = 1e-4
"""A frame of a lower root mean square, -80 dB re full scale, has no centroid to speak of."""

N_POINTS = 1500
"""Points of a curve over time: about one a pixel of the picture's width, however long the song is."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Frames (mel, frame) of a part of one song, and whose they are; genre "" where the picture's title says it."""

    genre: str
    song_id: str
    frames: np.ndarray


def song_row(frames: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """A song's features: mean and deviation over time of each band, ``(2 * mel,)``; of a table, each column's mean."""
    mean = frames.mean(axis=1, dtype=np.float64)
    return mean if isinstance(spec, TableSpec) else np.concatenate([mean, frames.std(axis=1, dtype=np.float64)])


@style()
def pca_figure(rows: np.ndarray, genre_idx: np.ndarray, labels: Sequence[str], heading: str) -> "Figure":
    """Songs on the first two principal components of their standardised features, a colour and marker a genre.

    Args:
        rows: (song, feature); what does not vary counts nothing.
        genre_idx: (song,) indices into ``labels``.
    """
    from matplotlib.figure import Figure
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    pca = PCA(2, svd_solver="full")
    places = pca.fit_transform(StandardScaler().fit_transform(rows))
    first, second = places.T
    counts = np.bincount(genre_idx, minlength=len(labels))
    chosen = _largest(counts, MAX_COLOURED)
    figure = Figure(figsize=(8.6, 6))
    axes = figure.add_subplot()
    others = ~np.isin(genre_idx, chosen)
    if others.any():
        axes.scatter(first[others], second[others], s=10, color=GREY, label=f"{len(labels) - len(chosen)} others")
    # After ten genres the colours come round, one marker further on.
    looks = [(genre, PALETTE[k % 10], MARKERS[(k + k // 10) % len(MARKERS)]) for k, genre in enumerate(chosen)]
    for genre, colour, marker in looks:
        told, own = f"{short(labels[genre])} ({counts[genre]})", genre_idx == genre
        look: dict[str, Any] = {"color": colour, "marker": marker, "edgecolor": EDGE}
        axes.scatter(first[own], second[own], 22, alpha=0.8, linewidths=0.3, label=told, **look)
        axes.scatter(first[own].mean(), second[own].mean(), 130, linewidths=1.2, zorder=3, **look)
    shares = pca.explained_variance_ratio_
    axes.set(
        xlabel=f"first component, {percent(shares[0])} of the variance",
        ylabel=f"second component, {percent(shares[1])} of the variance",
    )
    lattice(axes, "both")
    figure.legend(loc="outside right upper", title="genre (songs)", alignment="left")
    title(figure, [heading, f"{len(rows)} songs, {rows.shape[1]} standardised features; large marks are genres' means"])
    return figure


@style()
def spectrograms_figure(excerpts: Sequence[Excerpt], spec: FeatureSpec, heading: str) -> "Figure":
    """Spectrograms of songs side by side, on one scale of dB (of stored values where dB are unknown)."""
    from matplotlib.figure import Figure

    unit, images = _unit(spec), [excerpt.frames for excerpt in excerpts]
    if in_db := unit.startswith("dB"):
        high = max(float(image.max()) for image in images)
        low = max(min(float(image.min()) for image in images), high - DB_SHOWN)
    else:
        low, high = np.percentile(np.concatenate([image.ravel() for image in images]), [1, 99])
    n_rows = -(-len(images) // 5)
    n_columns = -(-len(images) // n_rows)
    figure = Figure(
        figsize=(
            9.0 if len(images) == 1 else max(6.0, 1.2 + (3.1 if n_columns < 4 else 2.5) * n_columns),
            1.4 + 2.3 * n_rows,
        )
    )
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
    for axes in panels.flat[len(images) :]:
        axes.set_axis_off()
    for place, (axes, excerpt, image) in enumerate(zip(panels.flat, excerpts, images, strict=False)):
        drawn = _spectrogram(axes, image, spec, low, high)
        if excerpt.genre:
            axes.set_title(f"{short(excerpt.genre)}\n", size=10)
            axes.text(0, 1.03, short(excerpt.song_id), transform=axes.transAxes, size=8, color="#505050")
        if place % n_columns:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(_axis_of(spec))
        if place + n_columns >= len(images):
            axes.set_xlabel("seconds")
    figure.colorbar(drawn, ax=panels, label=unit, aspect=30, extend="min" if in_db else "both")
    title(figure, [heading])
    return figure


@style()
def mfcc_means_figure(
    train: np.ndarray,
    test: np.ndarray,
    train_genre: np.ndarray,
    test_genre: np.ndarray,
    labels: Sequence[str],
    heading: str,
) -> "Figure":
    """Each genre's mean cepstra on two parts of the songs, with 95 % intervals: where they lie apart the music differs.

    Coefficients are shown less their mean over the training songs, in these songs' standard deviations: raw ones differ
    a hundredfold. Intervals are 1.96 standard errors of a mean over songs; a genre of one song has none.

    Args:
        train, test: (song, coefficient) means over each song.
        train_genre, test_genre: (song,) indices into ``labels``.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    centre, spread = train.mean(axis=0), train.std(axis=0)
    spread[spread == 0] = 1
    chosen = _largest(np.bincount(train_genre, minlength=len(labels)), MAX_PANELS)
    n_rows = -(-len(chosen) // 5)
    n_columns = -(-len(chosen) // n_rows)
    figure = Figure(figsize=(max(6.5, 0.8 + 2.4 * n_columns), 1.6 + 2.0 * n_rows))
    panels = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for axes in panels.flat[len(chosen) :]:
        axes.set_axis_off()
    for place, (axes, genre) in enumerate(zip(panels.flat, chosen, strict=False)):
        told = []
        axes.axhline(0, color="#909090", linewidth=0.8)
        for part, of, colour, marker, aside in (
            (train, train_genre, BLUE, "o", -0.15),
            (test, test_genre, ORANGE, "s", 0.15),
        ):
            own = (part[of == genre] - centre) / spread
            told.append(str(len(own)))
            if len(own):
                error = 1.96 * own.std(axis=0, ddof=1) / np.sqrt(len(own)) if len(own) > 1 else None
                at = np.arange(part.shape[1]) + aside
                axes.errorbar(at, own.mean(axis=0), yerr=error, color=colour, fmt=marker, markersize=3, elinewidth=1)
        axes.set_title(f"{short(labels[genre])} ({' and '.join(told)})", size=9.5)
        lattice(axes, "y")
        if place % n_columns == 0:
            axes.set_ylabel("deviations")
        if place + n_columns >= len(chosen):
            axes.set_xlabel("coefficient")
            axes.set_xticks(range(0, train.shape[1], 3))
            axes.tick_params(labelbottom=True)
    handles = [
        Line2D([], [], color=BLUE, marker="o", linestyle="none", markersize=4, label="training songs"),
        Line2D([], [], color=ORANGE, marker="s", linestyle="none", markersize=4, label="test songs"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    of_all = (
        f"{len(chosen)} genres" if len(chosen) == len(labels) else f"the {len(chosen)} largest of {len(labels)} genres"
    )
    title(
        figure,
        [
            heading,
            f"{len(train)} training and {len(test)} test songs, {of_all}; training songs have mean 0 and deviation 1",
        ],
    )
    return figure


@style()
def waveform_figure(waveform: np.ndarray, sample_rate_hz: int, heading: str) -> "Figure":
    """A song's waveform, and where the middle and the upper edge of its spectrum lie over time.

    Centroid and 85 % rolloff of frames of 2048 samples as librosa computes them; medians over a second or, in a long
    song, a 1500th of it. What is silent has neither.
    """
    from matplotlib.figure import Figure

    duration_s = len(waveform) / sample_rate_hz
    figure = Figure(figsize=(9, 5))
    above, below = figure.subplots(2, 1, sharex=True)
    edges = np.linspace(0, len(waveform), min(N_POINTS, len(waveform)) + 1).astype(int)[:-1]
    low, high = np.minimum.reduceat(waveform, edges), np.maximum.reduceat(waveform, edges)
    above.fill_between(edges / sample_rate_hz, low, high, color=BLUE, linewidth=0.4)
    loudest = max(float(np.abs(waveform).max()), 1e-3)
    above.set(ylabel="amplitude", ylim=(-1.05 * loudest, 1.05 * loudest))
    times_s, centroid_hz, rolloff_hz = spectral_shape(waveform, sample_rate_hz)
    curves = (("85 % rolloff", rolloff_hz / 1000, ORANGE), ("spectral centroid", centroid_hz / 1000, BLUE))
    for name, curve, colour in curves:
        below.plot(times_s, curve, color=colour, linewidth=0.6, alpha=0.45)
        below.plot(times_s, _running_median(curve, times_s), color=colour, linewidth=2, label=name)
    below.set(xlabel="seconds", ylabel="kHz", xlim=(0, duration_s), ylim=(0, None))
    for axes in (above, below):
        lattice(axes, "y")
    figure.legend(loc="outside lower center", ncols=2)
    title(figure, [heading, f"{duration_s:.1f} s at {sample_rate_hz} Hz"])
    return figure


def spectral_shape(waveform: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Middle of each frame in seconds, and its centroid and 85 % rolloff in Hz (frame,); NaN where it is silent.

    Frames of 2048 samples start every 512, in a song of more than 1500 such frames so far apart that there are 1500.
    """
    import librosa

    hop_length = max(N_FFT // 4, len(waveform) // N_POINTS)
    magnitudes = np.abs(librosa.stft(waveform, n_fft=N_FFT, hop_length=hop_length, center=False))
    silent = librosa.feature.rms(y=waveform, frame_length=N_FFT, hop_length=hop_length, center=False)[0] < SILENCE
    found = (
        librosa.feature.spectral_centroid(S=magnitudes, sr=sample_rate_hz)[0],
        librosa.feature.spectral_rolloff(S=magnitudes, sr=sample_rate_hz, roll_percent=ROLLOFF_SHARE)[0],
    )
    times_s = (np.arange(len(silent)) * hop_length + N_FFT / 2) / sample_rate_hz
    centroid_hz, rolloff_hz = (np.where(silent, np.nan, curve) for curve in found)
    return times_s, centroid_hz, rolloff_hz


def music_figures(prepared: "Prepared") -> Iterator[tuple[str, str, "Figure"]]:
    """File stem, caption and figure of every picture of a configuration's songs.

    Principal components; spectrograms of three genres, where there are more, and of every genre, each by the song whose
    id comes first; mean cepstra on the training and test part of the configuration's split. Feature tables have the
    first alone.

    Raises:
        FeatureError: songs have one feature only.
        ConfigError, ManifestError: the songs cannot be split; the pictures before the last need no split.
    """
    from hgenre.training.prepare import TEST, TRAIN, split_for

    name, labels, spec, frames = prepared.config.name, prepared.labels, prepared.source.spec, prepared.source.frames
    rows = np.stack([song_row(frames(song.song_id), spec) for song in prepared.songs])
    genre_idx = np.array([labels.index(song.genre) for song in prepared.songs])
    if rows.shape[1] < 2:
        raise FeatureError(
            f"{name}: songs have one feature, and principal components need two; add a column to the table"
        )
    heading = f"{name}: songs by the principal components of their features"
    yield "pca", "Principal components of features", pca_figure(rows, genre_idx, labels.genres, heading)
    if isinstance(spec, TableSpec):
        return
    firsts = first_songs(prepared.songs)
    what = "cepstra" if isinstance(spec, CepstralSpec) else "mel spectrograms"
    chosen = {"mel-genres": labels.genres[:MAX_PANELS]}
    if len(labels) > 3:
        chosen = {"mel-three-genres": tuple(labels.genres[i] for i in (0, len(labels) // 2, -1)), **chosen}
    for stem, genres in chosen.items():
        heard = [_excerpt(firsts[genre], frames, spec) for genre in genres]
        told = f"{len(genres)} of {len(labels)} genres" if len(genres) < len(labels) else f"all {len(labels)} genres"
        heading = f"{name}: {what} of {told}, the first song of each by id, its first {SHOWN_S:.0f} s"
        yield stem, f"{what.capitalize()} of {told}", spectrograms_figure(heard, spec, heading)
    split = split_for(prepared)
    sides = {side: [song for song in prepared.songs if split.get(song.song_id) == side] for side in (TRAIN, TEST)}
    means = {side: np.stack([mean_cepstra(frames(song.song_id), spec) for song in own]) for side, own in sides.items()}
    genres_of = {side: np.array([labels.index(song.genre) for song in own]) for side, own in sides.items()}
    heading = f"{name}: mean MFCC of each genre, training and test songs"
    yield (
        "mfcc-means",
        "Mean MFCC of each genre in the training and the test part",
        mfcc_means_figure(means[TRAIN], means[TEST], genres_of[TRAIN], genres_of[TEST], labels.genres, heading),
    )


def song_figures(path: Path) -> Iterator[tuple[str, str, "Figure"]]:
    """File stem, caption and figure of every picture of one audio file, of a long one of its first ten minutes.

    Raises:
        AudioError: the file cannot be read, or holds less than one frame.
    """
    with open_audio(path) as stream:
        rate_hz = stream.sample_rate_hz
        n_most = round(LONGEST_S * rate_hz)
        # A sample more than is drawn tells that the song is longer.
        waveform = _first_samples(stream, n_most + 1)
    is_longer, waveform = len(waveform) > n_most, waveform[:n_most]
    spec = LogMelSpec()
    heard = log_mel(resample(waveform, rate_hz, spec.sample_rate_hz), spec)
    if heard.shape[1] == 0 or len(waveform) < N_FFT:
        raise TooShortAudioError(
            path,
            f"holds {len(waveform) / rate_hz:.3f} s; needed {N_FFT} samples, {N_FFT / rate_hz:.3f} s, to draw",
        )
    name = short(path.name, 60) + (f", its first {LONGEST_S / 60:g} minutes" if is_longer else "")
    stem = os.fsencode(path.stem)[:MAX_STEM_BYTES].decode(errors="ignore")
    heading = f"{name}: waveform, spectral centroid and rolloff"
    yield f"{stem}-waveform", "Waveform", waveform_figure(waveform, rate_hz, heading)
    heading = f"{name}: mel spectrogram, {spec.n_mels} bands"
    yield f"{stem}-mel", "Mel spectrogram", spectrograms_figure([Excerpt("", "", heard)], spec, heading)


def first_songs(songs: "Sequence[Song]") -> "dict[str, Song]":
    """Of each genre the song whose id comes first."""
    return {song.genre: song for song in sorted(songs, key=lambda song: song.song_id, reverse=True)}


def mean_cepstra(frames: np.ndarray, spec: FeatureSpec) -> np.ndarray:
    """A song's mean cepstra (coefficient,): 13, or fewer of fewer bands; of cepstral features those that there are."""
    if not isinstance(spec, CepstralSpec):
        frames = mfcc(frames, min(N_MFCC, len(frames)))
    return np.asarray(frames.mean(axis=1, dtype=np.float64))


def _first_samples(stream: AudioStream, n_samples: int) -> np.ndarray:
    """The (sample,) that a stream begins with, as many as asked for where there are so many."""
    blocks: list[np.ndarray] = []
    for block in stream:
        blocks.append(block)
        if sum(map(len, blocks)) >= n_samples:
            break
    return np.concatenate(blocks)[:n_samples]


def _excerpt(song: "Song", frames: Callable[[str], np.ndarray], spec: FeatureSpec) -> Excerpt:
    return Excerpt(song.genre, song.song_id, frames(song.song_id)[:, : round(SHOWN_S * spec.frame_rate_hz)])


def _spectrogram(axes: "Axes", image: np.ndarray, spec: FeatureSpec, low: float, high: float) -> "AxesImage":
    drawn = axes.imshow(
        image,
        cmap="magma",
        vmin=low,
        vmax=high,
        origin="lower",
        aspect="auto",
        extent=(0, image.shape[1] / spec.frame_rate_hz, -0.5, len(image) - 0.5),
    )
    if isinstance(spec, LogMelSpec):
        edges_hz = mel_edges_hz(spec)
        told_hz = [hz for hz in TOLD_HZ if spec.fmin_hz <= hz <= spec.fmax_hz]
        # The highest frequency is where the last filter ends, half a band above its row.
        places = np.minimum(np.interp(told_hz, edges_hz, np.arange(-1, len(image) + 1)), len(image) - 0.5)
        axes.set_yticks(places, [f"{hz / 1000:g}" for hz in told_hz])
    return drawn


def _axis_of(spec: FeatureSpec) -> str:
    match spec:
        case LogMelSpec():
            return "kHz"
        case CepstralSpec():
            return "coefficient"
        case _:
            return "mel band"


def _unit(spec: FeatureSpec) -> str:
    match spec:
        case LogMelSpec():
            return "dB re full scale"
        case ArraySpec():
            return "stored value" if spec.db_per_unit is None else "dB"
        case _:
            return "coefficient's value"


def _largest(counts: np.ndarray, n: int) -> np.ndarray:
    """The ``n`` genres with most songs, in label order; the earlier of two with as many."""
    return np.sort(np.argsort(-counts, kind="stable")[:n])


def _running_median(curve: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Median over a second around each frame, nine frames at least; NaN where none of them has a value."""
    step_s = times_s[1] - times_s[0] if len(times_s) > 1 else 1.0
    half = max(4, round(0.5 / step_s))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(curve, half, constant_values=np.nan), 2 * half + 1)
    medians = np.full(len(curve), np.nan)
    heard = ~np.isnan(windows).all(axis=1)
    medians[heard] = np.nanmedian(windows[heard], axis=1)
    return medians
