"""Audio files as slices, and reading ahead: in order, bounded, errors in place, no thread left behind."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hgenre.audio import read_audio
from hgenre.data.audio_slices import BLOCK_SLICES, REPEATED, AudioSlices, expected_slices, read_ahead
from hgenre.errors import TooShortAudioError, UnreadableAudioError
from hgenre.features import LogMelSpec, SliceSpec, cut_slices, log_mel
from tests.audio_files import cut, tones, write_sound

FEATURES = LogMelSpec(8000, 512, 256, 16, 0.0, 4000.0)
SLICES = SliceSpec(30, 31)


def threads() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("read-ahead")}


class Song:
    """Blocks that carry the song's number; notes how many were begun."""

    begun = 0

    def __init__(self, number: int, n_blocks: int = 3, error: Exception | None = None) -> None:
        self.number = number
        self.n_blocks = n_blocks
        self.error = error

    def __iter__(self) -> Iterator[np.ndarray]:
        Song.begun += 1
        for _ in range(self.n_blocks):
            yield np.full((1, 1, 1), self.number)
        if self.error:
            raise self.error


def settle() -> None:
    """Waits until the reading threads have nothing more to do."""
    before = -1
    while before != Song.begun:
        before = Song.begun
        time.sleep(0.05)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    Song.begun = 0
    yield
    assert threads() == set()


def test_slices_are_those_of_the_whole_file(tmp_path: Path) -> None:
    n_slices = BLOCK_SLICES + 5
    path = write_sound(tmp_path / "a.wav", tones(n_slices * 31 * 256 / 8000, 22_050))
    song = AudioSlices(path, FEATURES, SLICES)
    blocks = list(song)
    waveform, facts = read_audio(path, 8000)
    np.testing.assert_array_equal(np.concatenate(blocks), cut_slices(log_mel(waveform, FEATURES), SLICES))
    assert [len(block) for block in blocks] == [BLOCK_SLICES, 5]
    assert song.facts == facts
    assert song.warnings == ()


def test_a_short_song_warns_and_a_shorter_one_is_refused(tmp_path: Path) -> None:
    sound = tones(1.0, 8000, 1)
    song = AudioSlices(write_sound(tmp_path / "a.wav", sound[:4096], 8000), FEATURES, SLICES)
    assert [block.shape for block in song] == [(1, 16, 30)]
    assert song.warnings == (REPEATED,)
    message = r"shorter.wav: holds 0.51 s of sound; needed half a slice, 0.51 s$"
    with pytest.raises(TooShortAudioError, match=message):
        list(AudioSlices(write_sound(tmp_path / "shorter.wav", sound[:4095], 8000), FEATURES, SLICES))


def test_warnings_of_a_damaged_file_come_first(tmp_path: Path) -> None:
    whole = write_sound(tmp_path / "a.wav", tones(1.4, 8000, 1), 8000)
    song = AudioSlices(cut(whole, 0.6), FEATURES, SLICES)
    assert len(list(song)) == 1
    assert song.facts is not None
    assert song.facts.truncated
    assert song.warnings == (*song.facts.warnings, REPEATED)


@pytest.mark.parametrize("n_songs", [0, 1, 2, 40])
def test_order_is_kept(n_songs: int) -> None:
    songs = [Song(number, n_blocks=number % 7) for number in range(n_songs)]
    found = [[int(block[0, 0, 0]) for block in blocks] for blocks in read_ahead(songs)]
    assert found == [[number] * (number % 7) for number in range(n_songs)]


@pytest.mark.parametrize("n_songs", [1, 9])
def test_errors_stand_where_the_blocks_would(n_songs: int) -> None:
    songs = [Song(i, 2, UnreadableAudioError(f"{i}.wav", "bad") if i % 2 == 0 else None) for i in range(n_songs)]
    for i, blocks in enumerate(read_ahead(songs)):
        assert next(blocks)[0, 0, 0] == next(blocks)[0, 0, 0] == i
        if i % 2 == 0:
            with pytest.raises(UnreadableAudioError, match=rf"^{i}\.wav: bad$"):
                next(blocks)
        else:
            assert next(blocks, None) is None


def test_only_a_few_songs_are_open_at_once() -> None:
    reading = read_ahead([Song(number) for number in range(100)], n_threads=2)
    for taken in range(1, 10):
        list(next(reading))
        settle()
        assert Song.begun <= taken + 4
    reading.close()
    assert Song.begun < 20


def test_a_long_song_waits_for_its_reader() -> None:
    n_made = 0

    class Long:
        def __iter__(self) -> Iterator[np.ndarray]:
            nonlocal n_made
            for n_made in range(1, 1001):  # noqa: B007 - counted outside
                yield np.zeros((1, 1, 1))

    reading = read_ahead([Long(), Song(1)], n_blocks=4)
    blocks = next(reading)
    for n_taken in range(1, 6):
        next(blocks)
        time.sleep(0.05)
        assert n_made <= n_taken + 5
    reading.close()
    assert n_made < 20


@pytest.mark.parametrize("n_taken", [1, 3])
def test_closing_early_stops_the_threads(n_taken: int) -> None:
    reading = read_ahead([Song(number, n_blocks=50) for number in range(30)])
    for _ in range(n_taken):
        list(next(reading))
    assert threads()
    reading.close()
    assert not threads()


def test_an_interrupt_stops_the_threads() -> None:
    def interrupted() -> None:
        for _ in read_ahead([Song(number) for number in range(30)]):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        interrupted()
    del caught


@pytest.mark.parametrize("form", ["wav", "mp3", "flac", "ogg"])
def test_the_number_of_slices_is_told_before_any_is_decoded(form: str, tmp_path: Path) -> None:
    path = write_sound(tmp_path / f"a.{form}", tones(7.3, 22_050), 22_050)
    told: list[int] = []
    blocks = iter(AudioSlices(path, FEATURES, SLICES, told.append))
    first = next(blocks)
    assert len(told) == 1
    assert abs(told[0] - sum(len(block) for block in (first, *blocks))) <= 1


def test_expected_slices_are_those_that_are_cut() -> None:
    for n_samples in (1, 500, 512, 7_000, 7_935, 7_936, 8_192, 15_871, 15_872, 100_000):
        cut = len(cut_slices(log_mel(np.zeros(n_samples, np.float32), FEATURES), SLICES))
        assert expected_slices(n_samples / 8000, FEATURES, SLICES) == max(1, cut)


def test_a_header_that_promises_the_impossible_costs_nothing() -> None:
    assert expected_slices((1 << 61) / 8000, FEATURES, SLICES) > 1 << 40
