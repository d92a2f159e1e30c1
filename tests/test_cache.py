"""The feature cache: whole entries or none, stale folders refused, faults collected."""

import errno
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hgenre.data.cache import FeatureCache, audio_frames, default_cache_dir, fill, open_cache
from hgenre.data.manifest import Manifest, Song
from hgenre.errors import FeatureError, HgenreError, ManifestError, UnreadableAudioError
from hgenre.features import LogMelSpec, digest, log_mel

SPEC = LogMelSpec(n_mels=8)


def key(seed: int) -> str:
    return hashlib.sha256(str(seed).encode()).hexdigest()


def some_frames(seed: int, n_frames: int = 50) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((8, n_frames)).astype(np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return open_cache(tmp_path / "cache", SPEC)


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("n_frames", [0, 1, 50])
def test_an_entry_comes_back_as_it_was_put(cache: FeatureCache, n_frames: int) -> None:
    assert cache.get(key(1)) is None
    cache.put(key(1), some_frames(1, n_frames))
    found = cache.get(key(1))
    assert found is not None
    assert found.dtype == np.float32
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, some_frames(1, n_frames))
    cache.put(key(1), some_frames(2))
    np.testing.assert_array_equal(found, some_frames(1, n_frames))
    np.testing.assert_array_equal(cache.get(key(1)), some_frames(2))


def test_frames_that_are_not_contiguous_are_kept(cache: FeatureCache) -> None:
    cache.put(key(1), some_frames(1)[:, ::3])
    cache.put(key(2), np.asfortranarray(some_frames(2)))
    np.testing.assert_array_equal(cache.get(key(1)), some_frames(1)[:, ::3])
    np.testing.assert_array_equal(cache.get(key(2)), some_frames(2))


def test_the_layout_is_one_folder_a_spec(tmp_path: Path, cache: FeatureCache) -> None:
    cache.put(key(1), some_frames(1))
    folder = digest(SPEC)
    assert files_in(tmp_path / "cache") == [f"{folder}/{key(1)[:2]}/{key(1)}.npy", f"{folder}/spec.json"]
    other = open_cache(tmp_path / "cache", LogMelSpec(n_mels=8, mel_scale="htk"))
    assert other.get(key(1)) is None
    assert open_cache(tmp_path / "cache", SPEC).get(key(1)) is not None


def test_an_entry_is_a_plain_npy_file(cache: FeatureCache) -> None:
    cache.put(key(1), some_frames(1))
    np.testing.assert_array_equal(
        np.load(cache.root / key(1)[:2] / f"{key(1)}.npy", allow_pickle=False), some_frames(1)
    )


@pytest.mark.parametrize(
    "frames", [np.zeros((8, 5), np.float64), np.zeros((7, 5), np.float32), np.zeros(8, np.float32)]
)
def test_put_refuses_frames_of_another_spec(cache: FeatureCache, frames: np.ndarray) -> None:
    with pytest.raises(FeatureError, match=r"must be float32 of shape \(8, frame\), found float"):
        cache.put(key(1), frames)


@pytest.mark.parametrize("name", ["../../outside", "", "A" * 64, "0" * 63])
def test_a_key_is_a_digest_and_never_a_path(cache: FeatureCache, name: str) -> None:
    with pytest.raises(FeatureError, match="is not a sha256 of 64 lower-case hexadecimal digits"):
        cache.get(name)
    with pytest.raises(FeatureError, match="is not a sha256"):
        cache.put(name, some_frames(1))


@pytest.mark.parametrize(
    "entry",
    [some_frames(1).astype(np.float64), some_frames(1)[:5], some_frames(1)[0], np.array([{}], dtype=object)],
    ids=["dtype", "bands", "axes", "pickle"],
)
def test_an_entry_of_another_kind_counts_as_absent(cache: FeatureCache, entry: np.ndarray) -> None:
    cache.put(key(1), some_frames(1))
    np.save(cache.root / key(1)[:2] / f"{key(1)}.npy", entry, allow_pickle=True)
    assert cache.get(key(1)) is None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_header_is_absent_or_still_fits_the_spec(cache: FeatureCache, data: st.DataObject) -> None:
    cache.put(key(1), some_frames(1))
    entry = cache.root / key(1)[:2] / f"{key(1)}.npy"
    content = bytearray(entry.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, 127))] = data.draw(st.integers(0, 255))
    entry.write_bytes(content)
    found = cache.get(key(1))
    assert found is None or (found.dtype == np.float32 and found.shape[0] == 8 and np.asarray(found).sum() is not None)


@pytest.mark.parametrize("n_bytes", [0, 5, 100, 128, 1000, -1])
def test_a_cut_off_entry_counts_as_absent(cache: FeatureCache, n_bytes: int) -> None:
    cache.put(key(1), some_frames(1))
    entry = cache.root / key(1)[:2] / f"{key(1)}.npy"
    entry.write_bytes(entry.read_bytes()[:n_bytes])
    assert cache.get(key(1)) is None
    cache.put(key(1), some_frames(1))
    np.testing.assert_array_equal(cache.get(key(1)), some_frames(1))


@pytest.mark.parametrize("changed", [{"hop_length": 7}, {"format": 0}])
def test_a_stale_folder_is_refused(tmp_path: Path, cache: FeatureCache, changed: dict[str, int]) -> None:
    spec_path = cache.root / "spec.json"
    spec_path.write_text(json.dumps({**json.loads(spec_path.read_text()), **changed}))
    with pytest.raises(FeatureError, match=r"cached features are stale: made under .* delete that folder"):
        open_cache(tmp_path / "cache", SPEC)


def test_a_damaged_spec_file_is_refused(tmp_path: Path, cache: FeatureCache) -> None:
    (cache.root / "spec.json").write_text("{")
    with pytest.raises(FeatureError, match=r"spec\.json: not JSON .* delete the folder"):
        open_cache(tmp_path / "cache", SPEC)


def test_old_partial_files_are_removed_and_fresh_ones_left(tmp_path: Path, cache: FeatureCache) -> None:
    partial = cache.root / "partial"
    (partial / "old").write_bytes(b"half")
    (partial / "fresh").write_bytes(b"half")
    two_hours_ago = time.time() - 7200
    os.utime(partial / "old", (two_hours_ago, two_hours_ago))
    open_cache(tmp_path / "cache", SPEC)
    assert files_in(partial) == ["fresh"]


def test_the_default_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.delenv("HGENRE_CACHE", raising=False)
    assert default_cache_dir() == Path("/xdg/hgenre")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache" / "hgenre"
    monkeypatch.setenv("HGENRE_CACHE", "/elsewhere")
    assert default_cache_dir() == Path("/elsewhere")


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HgenreError, match=r"file/.* cannot be opened: Not a directory; .*HGENRE_CACHE"):
        open_cache(tmp_path / "file", SPEC)


def test_a_killed_writer_leaves_whole_entries_only(tmp_path: Path) -> None:
    script = """
        import sys, numpy as np
        from hgenre.data.cache import open_cache
        from hgenre.features import LogMelSpec
        cache = open_cache(sys.argv[1], LogMelSpec(n_mels=8))
        for i in range(10**6):
            cache.put(f"{i % 40:064x}", np.full((8, 50_000), i, np.float32))
            if i == 0:
                print("writing", flush=True)
    """
    for pause_s in (0.03, 0.11, 0.2):
        writer = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        with writer.stdout as stdout:
            assert stdout.readline() == "writing\n"
        time.sleep(pause_s)
        writer.send_signal(signal.SIGKILL)
        assert writer.wait() == -signal.SIGKILL
    cache = open_cache(tmp_path, SPEC)
    entries = sorted(cache.root.glob("??/*"))
    assert entries
    for entry in entries:
        frames = cache.get(entry.stem)
        assert frames is not None
        assert frames.shape == (8, 50_000)
        assert (frames == frames[0, 0]).all()


@contextmanager
def files_at_most(n_bytes: int) -> Iterator[None]:
    """The system refuses larger files meanwhile, as a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_fails_leaves_nothing(cache: FeatureCache) -> None:
    with files_at_most(1000), pytest.raises(HgenreError, match="cannot be written: File too large"):
        cache.put(key(1), some_frames(1))
    assert files_in(cache.root) == ["spec.json"]


def manifest_of(folder: Path, n_songs: int) -> Manifest:
    songs = []
    for i in range(n_songs):
        content = b"song %d" % i
        (folder / f"{i}.wav").write_bytes(content)
        songs.append(Song(f"s{i}", f"{i}.wav", "rock", sha256=hashlib.sha256(content).hexdigest()))
    return Manifest(tuple(songs), folder)


def read_frames(path: Path) -> np.ndarray:
    return some_frames(int(path.stem))


def test_fill_makes_every_entry_once(tmp_path: Path, cache: FeatureCache) -> None:
    manifest = manifest_of(tmp_path, 12)
    read: list[str] = []
    done: list[str] = []

    def read_and_count(path: Path) -> np.ndarray:
        read.append(path.stem)
        return read_frames(path)

    def on_done(song: Song, error: HgenreError | None) -> None:
        assert threading.current_thread() is threading.main_thread()
        assert error is None
        done.append(song.song_id)

    assert fill(cache, manifest, read_and_count, on_done=on_done) == {}
    assert sorted(done) == sorted(song.song_id for song in manifest.songs)
    assert sorted(read) == sorted(str(i) for i in range(12))
    for i, song in enumerate(manifest.songs):
        np.testing.assert_array_equal(cache.get(song.sha256), some_frames(i))
    assert fill(cache, manifest, read_and_count) == {}
    assert len(read) == 12


def test_fill_makes_damaged_entries_again(tmp_path: Path, cache: FeatureCache) -> None:
    manifest = manifest_of(tmp_path, 2)
    fill(cache, manifest, read_frames)
    sha256 = manifest.songs[1].sha256
    (cache.root / sha256[:2] / f"{sha256}.npy").write_bytes(b"\x93NUMPY")
    assert fill(cache, manifest, read_frames) == {}
    np.testing.assert_array_equal(cache.get(sha256), some_frames(1))


def test_fill_collects_faults_and_goes_on(tmp_path: Path, cache: FeatureCache) -> None:
    manifest = manifest_of(tmp_path, 6)
    songs = manifest.songs
    (tmp_path / "1.wav").write_bytes(b"other bytes")
    (tmp_path / "2.wav").unlink()
    songs = (*songs[:4], replace(songs[4], sha256=""), replace(songs[5], path="5.npz#a"))

    def read(path: Path) -> np.ndarray:
        if path.stem == "3":
            raise UnreadableAudioError(path, "no decoder could read it")
        return read_frames(path)

    done: dict[Song, HgenreError | None] = {}
    errors = fill(cache, Manifest(songs, tmp_path), read, on_done=done.__setitem__)
    assert done == {songs[0]: None, **errors}
    changed, missing, unreadable, unknown, array = (errors[song] for song in songs[1:])
    found = hashlib.sha256(b"other bytes").hexdigest()[:12]
    assert isinstance(changed, ManifestError)
    assert f"changed since it was indexed: the manifest has sha256 {songs[1].sha256[:12]}, the file {found};" in str(
        changed
    )
    assert str(missing) == f"{tmp_path / '2.wav'}: cannot be opened: No such file or directory"
    assert isinstance(unreadable, UnreadableAudioError)
    assert "song s4 has no sha256 in the manifest; `hgenre index` computes it" in str(unknown)
    assert "ready-made array" in str(array)
    assert cache.get(songs[1].sha256) is None


def test_a_full_disk_stops_fill_with_one_error(
    tmp_path: Path, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = manifest_of(tmp_path, 30)
    read: list[Path] = []

    def read_and_count(path: Path) -> np.ndarray:
        read.append(path)
        return read_frames(path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HgenreError, match=r"cannot be written: the disk is full; free space there, or name another"):
        fill(cache, manifest, read_and_count)
    assert len(read) <= 8
    assert files_in(cache.root) == ["spec.json"]


def test_fill_holds_few_songs_at_once(tmp_path: Path, cache: FeatureCache) -> None:
    manifest = manifest_of(tmp_path, 30)
    lock = threading.Lock()
    begun = done = most = 0

    def read(path: Path) -> np.ndarray:
        nonlocal begun, most
        with lock:
            begun += 1
            most = max(most, begun - done)
        return read_frames(path)

    def on_done(song: Song, error: HgenreError | None) -> None:
        nonlocal done
        with lock:
            done += 1
        time.sleep(0.002)

    fill(cache, manifest, read, n_threads=3, on_done=on_done)
    assert begun == done == 30
    assert 1 <= most <= 6


def test_ctrl_c_ends_fill_with_whole_entries_only(tmp_path: Path, cache: FeatureCache) -> None:
    manifest = manifest_of(tmp_path, 40)

    def interrupt(song: Song, error: HgenreError | None) -> None:
        if song == manifest.songs[5]:
            raise KeyboardInterrupt

    n_threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        fill(cache, manifest, read_frames, on_done=interrupt)
    assert threading.active_count() == n_threads
    written = [cache.get(song.sha256) for song in manifest.songs]
    assert 1 <= sum(frames is not None for frames in written) <= 12
    assert len(list(cache.root.glob("??/*"))) == sum(frames is not None for frames in written)
    assert files_in(cache.root / "partial") == []
    assert fill(cache, manifest, read_frames) == {}


def test_frames_of_an_audio_file_are_the_log_mel_of_its_samples(tmp_path: Path) -> None:
    import soundfile

    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 40_000).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", waveform, 16000, subtype="FLOAT")
    frames, facts = audio_frames(tmp_path / "a.wav", LogMelSpec())
    np.testing.assert_array_equal(frames, log_mel(waveform, LogMelSpec()))
    assert facts.duration_s == pytest.approx(2.5)
