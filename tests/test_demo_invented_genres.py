"""The invented genres: the same arrays for the same seed, easy groups, hard genres."""

import numpy as np
import pytest
import soxr
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from hgenre.demo.corpus import InventedSong, invented_songs
from hgenre.demo.invented_genres import GROUPS, STYLES, invent_artist, play, record


def test_groups_part_the_genres() -> None:
    assert sorted(genre for genres in GROUPS.values() for genre in genres) == sorted(STYLES)


@pytest.mark.parametrize("genre", STYLES)
@pytest.mark.parametrize("n_channels", [1, 2])
def test_recording_has_its_shape_and_level(genre: str, n_channels: int) -> None:
    rng = np.random.default_rng(3)
    artist = invent_artist(rng)
    music = play(genre, artist, 24000, 16000, rng)
    recording = record(music, artist, 16000, n_channels, rng)
    assert recording.shape == (24000, n_channels)
    assert recording.dtype == np.float32
    assert np.isfinite(recording).all()
    assert 0.0999 < np.abs(recording).max() < 0.9501


@pytest.mark.parametrize("genre", STYLES)
def test_music_is_bit_identical_for_a_seed_and_another_for_another(genre: str) -> None:
    artist = invent_artist(np.random.default_rng(0))
    first, again, other = (play(genre, artist, 32000, 16000, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.5


def test_a_song_is_the_same_in_a_larger_corpus() -> None:
    small = {song.song_id: song.waveform for song in invented_songs(1, seed=5)}
    large = {song.song_id: song.waveform for song in invented_songs(2, seed=5)}
    assert len(small) == 8
    assert len(large) == 16
    for song_id, waveform in small.items():
        np.testing.assert_array_equal(waveform, large[song_id])


@pytest.fixture(scope="module")
def songs() -> list[InventedSong]:
    return list(invented_songs(24, seed=0))


def test_groups_are_easy_and_genres_are_hard(songs: list[InventedSong]) -> None:
    features = np.stack([_band_statistics(song) for song in songs])
    genres = np.array([song.genre for song in songs])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))
    folds = StratifiedGroupKFold(6, shuffle=True, random_state=0)
    answers = cross_val_predict(model, features, genres, groups=[song.artist for song in songs], cv=folds)

    group_of = {genre: group for group, members in GROUPS.items() for genre in members}
    group_accuracy = np.mean([group_of[a] == group_of[g] for a, g in zip(answers, genres, strict=True)])
    genre_accuracy = np.mean(answers == genres)
    assert group_accuracy > 0.95
    assert 0.6 < genre_accuracy < 0.9


def test_forms_rates_and_channels_do_not_tell_the_genre(songs: list[InventedSong]) -> None:
    for genre in STYLES:
        own = [song for song in songs if song.genre == genre]
        forms = [song.form for song in own]
        assert {form: forms.count(form) for form in forms} == {"wav": 6, "flac": 6, "ogg": 6, "mp3": 6}
        assert {song.sample_rate_hz for song in own} == {16000, 22050}
        assert {song.waveform.shape[1] for song in own} == {1, 2}
        assert all(8 <= len(song.waveform) / song.sample_rate_hz <= 12 for song in own)


def test_an_artist_has_four_songs_of_one_genre(songs: list[InventedSong]) -> None:
    artists = {song.artist for song in songs}
    assert len(artists) == 48
    for artist in artists:
        own = [song for song in songs if song.artist == artist]
        assert len(own) == 4
        assert len({song.genre for song in own}) == 1


def _band_statistics(song: InventedSong) -> np.ndarray:
    """Mean and standard deviation over frames of 60 log-spaced band levels in dB, at 16 kHz."""
    waveform = song.waveform.mean(axis=1)
    if song.sample_rate_hz != 16000:
        waveform = soxr.resample(waveform, song.sample_rate_hz, 16000)
    frames = np.lib.stride_tricks.sliding_window_view(waveform, 1024)[::512] * np.hanning(1024)
    power = np.abs(np.fft.rfft(frames)) ** 2
    edges = np.unique(np.geomspace(2, 500, 61).astype(int))
    levels_db = 10 * np.log10(1e-10 + np.add.reduceat(power, edges, axis=1))
    return np.concatenate([levels_db.mean(axis=0), levels_db.std(axis=0)])
