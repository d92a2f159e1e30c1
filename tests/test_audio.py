"""The door for sound: formats, rates, channels, blocks, and what it refuses."""

import contextlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hgenre.audio
from hgenre.audio import open_audio, read_audio
from hgenre.audio.decoding import to_mono
from hgenre.audio.pyav_decoder import open_pyav
from hgenre.errors import AudioError, EmptyAudioError, NonFiniteAudioError, UnreadableAudioError
from tests.audio_files import tones, write_ffmpeg, write_sound

NATIVE_HZ = 22_050


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of two signals where they overlap, at their best shift; an encoder delays its signal and pads it."""
    n_fft = 1 << (len(a) + len(b)).bit_length()
    products = np.fft.irfft(np.fft.rfft(a, n_fft) * np.conj(np.fft.rfft(b, n_fft)), n_fft)
    shift = int(products.argmax())
    shift -= n_fft if shift > n_fft // 2 else 0
    a, b = a[max(0, shift) :], b[max(0, -shift) :]
    n_overlap = min(len(a), len(b))
    return float(np.corrcoef(a[:n_overlap], b[:n_overlap])[0, 1])


def test_the_package_exports_what_it_names() -> None:
    assert {"AudioFacts", "AudioStream", "open_audio", "read_audio"} <= set(hgenre.audio.__all__)
    assert all(hasattr(hgenre.audio, name) for name in hgenre.audio.__all__)


def test_importing_the_room_imports_no_decoder() -> None:
    script = "import sys, hgenre.audio; print(sorted({'av', 'soundfile', 'soxr'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("suffix", ["wav", "au", "aiff", "aif", "flac", "caf", "w64", "rf64"])
def test_lossless_formats_give_the_samples_back(tmp_path: Path, suffix: str) -> None:
    sound = tones()
    waveform, facts = read_audio(write_sound(tmp_path / f"a.{suffix}", sound))
    assert waveform.dtype == np.float32
    np.testing.assert_allclose(waveform, (sound[:, 0] + sound[:, 1]) / 2, atol=1 / 32_768)
    assert (facts.decoder, facts.sample_rate_hz, facts.n_channels) == ("soundfile", NATIVE_HZ, 2)
    assert (facts.n_samples, facts.duration_s) == (len(sound), len(sound) / NATIVE_HZ)
    assert (facts.truncated, facts.warnings) == (False, ())


@pytest.mark.parametrize(
    ("subtype", "step"),
    [("PCM_U8", 2**-7), ("PCM_16", 2**-15), ("PCM_24", 2**-23), ("PCM_32", 2**-24), ("FLOAT", 0), ("DOUBLE", 0)],
)
def test_sample_formats_are_exact_to_their_step(tmp_path: Path, subtype: str, step: float) -> None:
    sound = tones(n_channels=1)
    waveform, facts = read_audio(write_sound(tmp_path / "a.wav", sound, subtype=subtype))
    np.testing.assert_allclose(waveform, sound[:, 0], rtol=0, atol=step)
    assert facts.codec == f"wav/{subtype.lower()}"


@pytest.mark.parametrize(
    ("suffix", "subtype"),
    [
        *(("wav", subtype) for subtype in ("ULAW", "ALAW", "IMA_ADPCM", "MS_ADPCM", "GSM610")),
        *(("au", subtype) for subtype in ("ULAW", "G721_32")),
        ("caf", "ALAC_16"),
    ],
)
def test_compressed_samples_are_whole(tmp_path: Path, suffix: str, subtype: str) -> None:
    sound = tones(n_channels=1)[:, 0]
    waveform, facts = read_audio(write_sound(tmp_path / f"a.{suffix}", sound, subtype=subtype))
    assert (facts.truncated, facts.warnings) == (False, ())
    # coded in blocks of at most 1017 samples, the last one padded
    assert 0 <= len(waveform) - len(sound) < 1017
    assert correlation(waveform, sound) > 0.97


@pytest.mark.parametrize("name", ["a.mp3", "a.ogg"])
def test_lossy_formats_of_libsndfile(tmp_path: Path, name: str) -> None:
    sound = tones()
    waveform, facts = read_audio(write_sound(tmp_path / name, sound))
    assert correlation(waveform, sound.mean(axis=1)) > 0.99
    assert (len(waveform), facts.truncated) == (len(sound), False)


@pytest.mark.parametrize(
    ("name", "codec", "form", "decoder"),
    [
        ("a.m4a", "aac", "ipod", "pyav"),
        ("a.m4a", "alac", "ipod", "pyav"),
        ("a.mp4", "aac", "mp4", "pyav"),
        ("a.aac", "aac", "adts", "pyav"),
        ("a.wma", "wmav2", "asf", "pyav"),
        ("a.webm", "libopus", "webm", "pyav"),
        ("a.mka", "aac", "matroska", "pyav"),
        ("a.wv", "wavpack", None, "pyav"),
        ("a.opus", "libopus", "ogg", "soundfile"),
        ("a.mp3", "libmp3lame", "mp3", "soundfile"),
    ],
)
def test_what_ffmpeg_writes_is_read(tmp_path: Path, name: str, codec: str, form: str | None, decoder: str) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this ffmpeg has no {codec}")
    rate_hz = 48_000
    sound = tones(sample_rate_hz=rate_hz)
    waveform, facts = read_audio(write_ffmpeg(tmp_path / name, codec, sound, rate_hz, form))
    assert correlation(waveform, sound.mean(axis=1)) > 0.99
    # An encoder's frames of at most 4096 samples do not fit the sound: up to two more or one less.
    assert -4096 <= facts.n_samples - len(sound) <= 2 * 4096
    assert (facts.decoder, facts.sample_rate_hz, facts.n_channels) == (decoder, rate_hz, 2)
    assert (facts.truncated, facts.warnings) == (False, ())


def test_alac_is_lossless(tmp_path: Path) -> None:
    sound = tones(sample_rate_hz=44_100)
    waveform, facts = read_audio(write_ffmpeg(tmp_path / "a.m4a", "alac", sound, form="ipod"))
    np.testing.assert_allclose(waveform, (sound[:, 0] + sound[:, 1]) / 2, atol=1 / 32_768)
    assert facts.codec == "mov/alac"


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
def test_mono_is_the_mean_of_all_channels(tmp_path: Path, n_channels: int) -> None:
    sound = tones(n_channels=n_channels)
    waveform, facts = read_audio(write_sound(tmp_path / "a.wav", sound, subtype="FLOAT"))
    np.testing.assert_allclose(waveform, sound.mean(axis=1), atol=1e-7)
    assert facts.n_channels == n_channels


@pytest.mark.parametrize("n_channels", [1, 2, 6, 8, 9, 16, 64])
def test_any_number_of_channels_goes_through_ffmpeg(tmp_path: Path, n_channels: int) -> None:
    sound = tones(duration_s=0.2, n_channels=n_channels)
    with write_sound(tmp_path / "a.caf", sound, subtype="FLOAT").open("rb") as file:
        decoding = open_pyav(file)
        waveform = np.concatenate(list(decoding.chunks))
        decoding.close()
    np.testing.assert_allclose(waveform, sound.mean(axis=1), atol=1e-6)
    assert decoding.n_channels == n_channels


def test_stereo_to_mono_is_exactly_half_the_sum() -> None:
    left, right = tones().T
    np.testing.assert_array_equal(to_mono(np.stack([left, right])), (left + right) / 2)


@pytest.mark.parametrize("target_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("native_hz", [16_000, 22_050, 44_100])
@pytest.mark.parametrize("block_s", [0.01, 0.7, 30.0])
def test_blocks_are_soxr_on_the_whole(tmp_path: Path, native_hz: int, target_hz: int, block_s: float) -> None:
    sound = tones(sample_rate_hz=native_hz, n_channels=1)[:, 0]
    path = write_sound(tmp_path / "a.wav", sound, native_hz, subtype="FLOAT")
    with open_audio(path, target_hz, block_s) as stream:
        blocks = list(stream)
        assert stream.sample_rate_hz == target_hz
        assert stream.facts.sample_rate_hz == native_hz
    np.testing.assert_allclose(np.concatenate(blocks), soxr.resample(sound, native_hz, target_hz), atol=1e-6)
    assert all(block.dtype == np.float32 and block.ndim == 1 for block in blocks)
    np.testing.assert_array_equal(np.concatenate(blocks), read_audio(path, target_hz)[0])


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac"])
def test_blocks_decode_as_the_whole_and_say_nothing(
    tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]
) -> None:
    sound = tones(duration_s=5)
    path = write_sound(tmp_path / f"a.{suffix}", sound)
    with open_audio(path, block_s=0.5) as stream:
        waveform = np.concatenate(list(stream))
    whole, _ = soundfile.read(path, dtype="float32")
    # libmpg123 rounds the last bit differently after a seek, which soundfile makes
    np.testing.assert_allclose(waveform, (whole[:, 0] + whole[:, 1]) / 2, rtol=0, atol=2**-22)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "name", ["Sigur Rós – Ágætis byrjun.flac", " space .wav", "音楽.ogg", "no suffix", "a.wav.mp3"]
)
def test_the_bytes_decide_whatever_the_name(tmp_path: Path, name: str) -> None:
    path = write_sound(tmp_path / "plain.flac", tones(duration_s=0.5)).rename(tmp_path / name)
    waveform, facts = read_audio(path)
    assert (facts.codec, facts.path, len(waveform)) == ("flac/pcm_16", str(path), NATIVE_HZ // 2)
    assert len(read_audio(str(path))[0]) == len(waveform)


def test_facts_wait_for_the_last_block(tmp_path: Path) -> None:
    with open_audio(write_sound(tmp_path / "a.wav", tones()), block_s=0.5) as stream:
        next(iter(stream))
        with pytest.raises(RuntimeError, match="only after the last block"):
            _ = stream.facts
        assert sum(1 for _ in stream) > 0
        assert stream.facts.n_samples == 2 * NATIVE_HZ


@pytest.mark.parametrize("suffix", ["wav", "m4a"])
def test_a_stream_may_be_closed_early(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "wav":
        write_sound(path, tones())
    else:
        write_ffmpeg(path, "aac", tones(), NATIVE_HZ, "ipod")
    with open_audio(path, 16_000, block_s=0.1) as stream:
        next(iter(stream))
    assert list(stream) == []
    stream.close()


def test_one_sample_is_a_sound(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", np.full((1, 1), 0.5, np.float32))
    waveform, facts = read_audio(path)
    assert (waveform.tolist(), facts.n_samples) == ([0.5], 1)
    assert len(read_audio(path, 1_000)[0]) <= 1


@pytest.mark.parametrize(
    ("rate_hz", "block_s"), [(0, 30.0), (-1, 30.0), (16_000, 0.0), (16_000, float("nan")), (16_000, float("inf"))]
)
def test_impossible_arguments_are_refused(tmp_path: Path, rate_hz: int, block_s: float) -> None:
    with pytest.raises(ValueError, match="need sample_rate_hz >= 1 and 0 < block_s < inf, found"):
        open_audio(tmp_path / "a.wav", rate_hz, block_s)


def test_an_hour_streams_in_bounded_memory(tmp_path: Path) -> None:
    path, rate_hz = tmp_path / "hour.wav", 8_000
    minute = tones(60, rate_hz, 1)
    with soundfile.SoundFile(path, "w", rate_hz, 1, "PCM_U8") as hour:
        for _ in range(60):
            hour.write(minute)
    with open_audio(path, 16_000, block_s=10.0) as stream:
        tracemalloc.start()
        n_samples = sum(len(block) for block in stream)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert n_samples == 3600 * 16_000
    assert stream.facts.duration_s == 3600
    # 28.8 MB on disk, 230 MB decoded; a block and its resampled copy are under 1 MB each
    assert peak < 4_000_000


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match=r"gone\.mp3: cannot be opened \(No such file") as caught:
        read_audio(tmp_path / "gone.mp3")
    assert caught.value.path == str(tmp_path / "gone.mp3")
    assert "check the path and its permissions" in caught.value.message


def test_a_path_that_no_file_can_have() -> None:
    with pytest.raises(UnreadableAudioError, match="null"):
        read_audio("a\0.mp3")


def test_a_directory(tmp_path: Path) -> None:
    with pytest.raises(UnreadableAudioError, match="is a directory; needed an audio file"):
        read_audio(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(UnreadableAudioError, match="neither a file nor a directory"):
        read_audio(tmp_path / "pipe.wav")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.wav", tones())
    path.chmod(0)
    with pytest.raises(UnreadableAudioError, match="Permission denied"):
        read_audio(path)


def test_a_refused_open_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_sound(tmp_path / "a.wav", tones())

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnreadableAudioError, match=r"cannot be opened \(Permission denied\)"):
        read_audio(path)


def test_zero_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    path.touch()
    with pytest.raises(EmptyAudioError, match="has 0 bytes"):
        read_audio(path)


@pytest.mark.parametrize("suffix", ["wav", "au", "aiff", "caf", "w64"])
def test_a_header_without_samples(tmp_path: Path, suffix: str) -> None:
    path = write_sound(tmp_path / f"a.{suffix}", np.empty((0, 1), np.float32))
    with pytest.raises(EmptyAudioError, match="0 samples behind it"):
        read_audio(path)


# A suffix alone makes libsndfile read .au, .vox and .gsm as headerless samples.
@pytest.mark.parametrize("suffix", ["mp3", "wav", "au", "snd", "vox", "gsm", "raw", "flac", "m4a"])
def test_text_is_no_sound_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    path.write_text("These are the lyrics, not the song.\n" * 500)
    with pytest.raises(UnreadableAudioError) as caught:
        read_audio(path)
    for part in ("soundfile: ", "PyAV: ", "b'These ar'", "needed WAV", "get a whole copy"):
        assert part in str(caught.value)


@pytest.mark.parametrize("start", [b"", b"\xff\xfb\x90\x00", b"\xff\xf1\x50\x80", b"ID3\x04\x00\x00\x00\x00\x00\x10"])
@pytest.mark.parametrize("n_bytes", [50, 5_000, 400_000])
def test_noise_is_no_sound(tmp_path: Path, start: bytes, n_bytes: int) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(start + np.random.default_rng(n_bytes).bytes(n_bytes))
    with pytest.raises(UnreadableAudioError, match="no decoder can read it"):
        read_audio(path)


def test_headerless_samples_are_no_sound(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes((tones()[:, 0] * 32_767).astype("<i2").tobytes())
    with pytest.raises(UnreadableAudioError):
        read_audio(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{}\n#EXT-X-ENDLIST\n"),
        ("a.ffconcat", "ffconcat version 1.0\nfile '{}'\n"),
        ("a.mp3", "ffconcat version 1.0\nfile '{}'\n"),
    ],
)
def test_a_list_cannot_open_other_files(tmp_path: Path, name: str, text: str) -> None:
    secret = write_ffmpeg(tmp_path / "secret.aac", "aac", tones(), NATIVE_HZ, "adts")
    path = tmp_path / name
    path.write_text(text.format(secret.name))
    with pytest.raises(UnreadableAudioError):
        read_audio(path)


def test_a_file_of_pictures_only(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableAudioError, match="no audio stream in the mov file, only video"):
        read_audio(path)


def test_without_pyav_the_message_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_ffmpeg(tmp_path / "a.m4a", "aac", tones(), NATIVE_HZ, "ipod")
    monkeypatch.delitem(sys.modules, "hgenre.audio.pyav_decoder", raising=False)
    monkeypatch.delattr("hgenre.audio.pyav_decoder", raising=False)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UnreadableAudioError, match=r"PyAV: .*\bav\b"):
        read_audio(path)


@pytest.mark.parametrize("rate_hz", [1, 999, 768_001, 2_000_000_000])
def test_an_absurd_rate_is_refused(tmp_path: Path, rate_hz: int) -> None:
    path = write_sound(tmp_path / "a.au", tones())
    data = bytearray(path.read_bytes())
    data[16:20] = rate_hz.to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(UnreadableAudioError, match=f"states {rate_hz} samples a second; needed 1000 to 768000"):
        read_audio(path)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e13])
def test_non_finite_samples_are_counted_and_placed(tmp_path: Path, bad: float) -> None:
    sound = tones(duration_s=3)
    sound[[NATIVE_HZ, NATIVE_HZ + 7, -1], [0, 1, 0]] = bad
    path = write_sound(tmp_path / "a.wav", sound, subtype="FLOAT")
    message = (
        r"3 of 66150 samples are NaN, infinite or beyond 1e12 of full scale, the first at sample 22050 \(1\.000 s\)"
    )
    with pytest.raises(NonFiniteAudioError, match=message):
        read_audio(path, 16_000)
    with open_audio(path, block_s=0.5) as stream, pytest.raises(NonFiniteAudioError, match=message):
        list(stream)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    sound = tones(duration_s=0.3)
    for suffix in ("wav", "au", "aiff", "flac", "ogg", "mp3", "caf"):
        write_sound(folder / f"a.{suffix}", sound)
    for suffix, codec, form in (("m4a", "aac", "ipod"), ("wma", "wmav2", "asf"), ("webm", "libopus", "webm")):
        write_ffmpeg(folder / f"a.{suffix}", codec, sound, 48_000, form)
    return folder


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    suffix=st.sampled_from(["wav", "au", "aiff", "flac", "ogg", "mp3", "caf", "m4a", "wma", "webm"]),
    # headers are where damage hurts
    patches=st.lists(
        st.tuples(st.integers(0, 100) | st.integers(0, 10_000), st.binary(min_size=1, max_size=8)), max_size=3
    ),
    kept=st.just(1.0) | st.floats(0, 1),
)
def test_damaged_bytes_give_samples_or_an_audio_error(
    tmp_path: Path, sounds: Path, suffix: str, patches: list[tuple[int, bytes]], kept: float
) -> None:
    damaged = bytearray((sounds / f"a.{suffix}").read_bytes())
    for at, patch in patches:
        damaged[at : at + len(patch)] = patch
    path = tmp_path / "a.bin"
    path.write_bytes(damaged[: round(kept * len(damaged))])
    with contextlib.suppress(AudioError):
        waveform, facts = read_audio(path)
        assert waveform.dtype == np.float32
        assert np.isfinite(waveform).all()
        assert len(waveform) == facts.n_samples > 0
