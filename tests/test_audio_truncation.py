"""Files that end early: the decodable part is answered and the loss is told; whole files are never suspected."""

import io
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from hgenre.audio import read_audio
from hgenre.audio.mpeg import after_id3, find_first_frame, parse_frame
from hgenre.audio.pyav_decoder import open_pyav
from hgenre.audio.soundfile_decoder import open_soundfile
from hgenre.audio.truncation import missing_bytes, stated_samples
from hgenre.errors import UnreadableAudioError
from tests.audio_files import cut, tones, write_ffmpeg, write_sound

RATE_HZ = 22_050
DURATION_S = 10
# What a cut can cost beside its share of the bytes: headers, and one Ogg page (1 s) or WavPack block (0.5 s).
SLACK = 0.15


def write(folder: Path, name: str) -> Path:
    """Ten seconds in the format the name says; ``faststart`` puts an MP4's index in front."""
    sound = tones(DURATION_S)
    match name:
        case "aac.m4a" | "alac.m4a":
            return write_ffmpeg(folder / name, name[:-4], sound, RATE_HZ, "ipod", {"movflags": "faststart"})
        case "aac.aac":
            return write_ffmpeg(folder / name, "aac", sound, RATE_HZ, "adts")
        case "lame.mp3":
            return write_ffmpeg(folder / name, "libmp3lame", sound, RATE_HZ, "mp3")
        case "opus.webm":
            return write_ffmpeg(folder / name, "libopus", tones(DURATION_S, 48_000), 48_000, "webm")
        case "wma.wma":
            return write_ffmpeg(folder / name, "wmav2", sound, RATE_HZ, "asf")
        case "wavpack.wv":
            return write_ffmpeg(folder / name, "wavpack", sound, RATE_HZ)
        case "opus.opus":
            return write_sound(folder / name, tones(DURATION_S, 24_000), 24_000, "OPUS")
    return write_sound(folder / name, sound)


NAMES = [
    *("pcm.wav", "pcm.rf64", "pcm.au", "pcm.aiff", "pcm.caf", "flac.flac", "vorbis.ogg", "opus.opus", "sndfile.mp3"),
    *("lame.mp3", "aac.m4a", "alac.m4a", "aac.aac", "opus.webm", "wma.wma", "wavpack.wv"),
]


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("name", NAMES)
def test_a_cut_file_answers_with_its_part_and_says_so(tmp_path: Path, name: str, fraction: float) -> None:
    whole, whole_facts = read_audio(write(tmp_path, name))
    part, facts = read_audio(cut(tmp_path / name, fraction))
    assert (whole_facts.truncated, whole_facts.warnings) == (False, ())
    assert facts.truncated
    assert facts.warnings
    assert abs(len(part) / len(whole) - fraction) < SLACK
    assert facts.n_samples == len(part)
    # the part is the beginning of the whole, except where the last frame lost its neighbour
    n_same = len(part) - 6_000
    if n_same > 0:
        np.testing.assert_allclose(part[:n_same], whole[:n_same], atol=1e-4)


@pytest.mark.parametrize("name", ["pcm.wav", "pcm.rf64", "pcm.au", "pcm.aiff", "flac.flac", "vorbis.ogg", "alac.m4a"])
def test_a_few_lost_bytes_are_noticed(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    path.write_bytes(path.read_bytes()[:-5])
    assert read_audio(path)[1].truncated


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pcm.wav", r"truncated: its header promises 882044 bytes, the file has 441022"),
        ("pcm.au", r"truncated: its header promises 882024 bytes, the file has 441012"),
        ("flac.flac", r"truncated: its FLAC STREAMINFO states 220500 samples, \d+ decode"),
        ("sndfile.mp3", r"truncated: its MP3 frame count states 220500 samples, \d+ decode"),
        ("vorbis.ogg", r"truncated: its last Ogg page has \d+ of \d+ bytes"),
    ],
)
def test_the_warning_has_the_numbers(tmp_path: Path, name: str, message: str) -> None:
    _, facts = read_audio(cut(write(tmp_path, name), 0.5))
    assert any(re.fullmatch(message, warning) for warning in facts.warnings)


def test_an_ogg_cut_between_pages_lacks_its_end_page(tmp_path: Path) -> None:
    path = write(tmp_path, "vorbis.ogg")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"OggS")])
    assert "no end page" in read_audio(path)[1].warnings[0]


def test_an_ogg_that_lost_a_page_in_the_middle(tmp_path: Path) -> None:
    path = write(tmp_path, "vorbis.ogg")
    data = path.read_bytes()
    pages = [at for at in range(len(data)) if data.startswith(b"OggS", at)]
    path.write_bytes(data[: pages[3]] + data[pages[4] :])
    _, facts = read_audio(path)
    assert facts.truncated
    assert "states 220500 samples" in facts.warnings[0]


def test_an_mp4_without_its_index_is_unreadable_and_says_why(tmp_path: Path) -> None:
    path = cut(write_ffmpeg(tmp_path / "a.m4a", "aac", tones(DURATION_S), RATE_HZ, "ipod"), 0.5)
    with pytest.raises(UnreadableAudioError, match=r"it is truncated: its header promises \d+ bytes, the file has \d+"):
        read_audio(path)


@pytest.mark.parametrize("name", ["flac.flac", "sndfile.mp3"])
def test_a_file_damaged_in_the_middle_goes_on_behind_the_damage(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    whole, _ = read_audio(path)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 1_500] = np.random.default_rng(3).bytes(1_500)
    path.write_bytes(data)
    part, facts = read_audio(path)
    assert facts.truncated
    assert any("s in (libsndfile" in warning for warning in facts.warnings)
    assert 0.95 * len(whole) < len(part) <= len(whole)
    # the last half second is there: what follows the damage was decoded
    end = part[-RATE_HZ // 2 :]
    assert np.abs(end).max() > 0.3


def test_a_sound_header_with_nothing_behind_it_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path, "flac.flac")
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"\xff\xf8") + 40])
    with pytest.raises(UnreadableAudioError, match="header is sound but nothing behind it decodes"):
        read_audio(path)


@pytest.mark.parametrize("name", ["pcm.wav", "flac.flac", "sndfile.mp3", "vorbis.ogg", "aac.m4a", "wavpack.wv"])
def test_bytes_behind_the_end_are_no_loss(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, name)
    n_samples = read_audio(path)[1].n_samples
    id3v1 = b"TAG" + bytes(125)
    path.write_bytes(path.read_bytes() + id3v1)
    _, facts = read_audio(path)
    assert (facts.n_samples, facts.truncated, facts.warnings) == (n_samples, False, ())


@pytest.mark.parametrize("size", [0, 0x7FFF_FFFF, 0x7FFF_F000, 0xFFFF_FFFF, 0xFFFF_FFFF - 36])
def test_a_streamed_wav_that_could_not_know_its_size_is_whole(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, "pcm.wav")
    data = bytearray(path.read_bytes())
    data[4:8] = struct.pack("<I", min(size + 36, 0xFFFF_FFFF) if size else 0)
    data[40:44] = struct.pack("<I", size)
    path.write_bytes(data)
    _, facts = read_audio(path)
    assert (facts.n_samples, facts.truncated) == (DURATION_S * RATE_HZ, False)


def test_a_streamed_au_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "pcm.au")
    data = bytearray(path.read_bytes())
    data[8:12] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    _, facts = read_audio(path)
    assert (facts.n_samples, facts.truncated) == (DURATION_S * RATE_HZ, False)


def test_a_streamed_flac_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, "flac.flac")
    data = bytearray(path.read_bytes())
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    path.write_bytes(data)
    _, facts = read_audio(path)
    assert (facts.n_samples, facts.truncated) == (DURATION_S * RATE_HZ, False)


def test_a_streamed_matroska_is_whole(tmp_path: Path) -> None:
    sound = tones(DURATION_S, 48_000)
    path = write_ffmpeg(tmp_path / "a.webm", "libopus", sound, 48_000, "webm", {"live": "1"})
    assert not read_audio(path)[1].truncated


def test_an_mp3_without_a_frame_count_is_not_suspected(tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "a.mp3", "libmp3lame", tones(DURATION_S), RATE_HZ, "mp3", {"write_xing": "0"})
    with path.open("rb") as file:
        assert stated_samples(file) is None
    assert not read_audio(cut(path, 0.5))[1].truncated


def test_chunks_before_the_samples_are_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "pcm.wav")
    data = path.read_bytes()
    odd_chunk = b"LIST" + struct.pack("<I", 5) + b"hello\0"
    data = data[:4] + struct.pack("<I", len(data) - 8 + len(odd_chunk)) + data[8:36] + odd_chunk + data[36:]
    path.write_bytes(data)
    assert not read_audio(path)[1].truncated
    path.write_bytes(data[:-1])
    assert read_audio(path)[1].warnings == (
        f"truncated: its header promises {len(data)} bytes, the file has {len(data) - 1}",
    )


class FailingDisk(io.BytesIO):
    """Bytes that cannot be read any more once ``failing`` is set."""

    failing = False

    def read(self, n_bytes: int | None = -1, /) -> bytes:
        if self.failing:
            raise OSError(5, "Input/output error")
        return super().read(n_bytes)


@pytest.mark.parametrize("name", ["pcm.wav", "flac.flac", "vorbis.ogg", "sndfile.mp3", "aac.m4a", "wavpack.wv"])
def test_a_failing_disk_ends_the_sound(tmp_path: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    disk = FailingDisk(write(tmp_path, name).read_bytes())
    decoding = open_pyav(disk) if name.endswith((".m4a", ".wv")) else open_soundfile(disk)
    n_samples = len(next(decoding.chunks))
    disk.failing = True
    n_samples += sum(len(chunk) for chunk in decoding.chunks)
    decoding.close()
    assert 0 < n_samples < DURATION_S * RATE_HZ
    assert missing_bytes(disk) is None
    assert "Traceback" not in capfd.readouterr().err


def test_a_picture_in_front_of_an_mp3(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "sndfile.mp3")
    n_picture = 300_000
    size = bytes((n_picture >> shift) & 0x7F for shift in (21, 14, 7, 0))
    data = b"ID3\x03\x00\x00" + size + b"\xff\xfb\x90\x64" * (n_picture // 4) + path.read_bytes()
    path.write_bytes(data)
    with path.open("rb") as file:
        assert after_id3(file) == find_first_frame(file) == 10 + n_picture
    _, facts = read_audio(path)
    assert (facts.n_samples, facts.truncated) == (DURATION_S * RATE_HZ, False)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("header", "n_bytes", "n_samples"),
    [
        ("fffb9064000000", 417, 1152),  # MPEG-1 layer III, 128 kbit/s, 44.1 kHz
        ("fffb9264000000", 418, 1152),  # the same, padded
        ("fff3806400000000", 208, 576),  # MPEG-2 layer III, 64 kbit/s, 22.05 kHz
        ("fffd9064000000", 522, 1152),  # MPEG-1 layer II, 160 kbit/s
        ("ffff9064000000", 312, 384),  # MPEG-1 layer I, 288 kbit/s
        ("fff15080017ffc", 11, 1024),  # ADTS AAC
    ],
)
def test_frame_headers_of_the_standards(header: str, n_bytes: int, n_samples: int) -> None:
    frame = parse_frame(bytes.fromhex(header))
    assert frame is not None
    assert (frame.n_bytes, frame.n_samples) == (n_bytes, n_samples)


@pytest.mark.parametrize(
    "header", ["00000000000000", "ffeb9064000000", "fffbf064000000", "fffb0064000000", "fffb9c6400"]
)
def test_what_is_no_frame_header(header: str) -> None:
    assert parse_frame(bytes.fromhex(header)) is None


@pytest.mark.parametrize("n_tag", [4, 0])
def test_a_vbri_tag_is_counted(n_tag: int) -> None:
    first = bytearray(b"\xff\xfb\x90\x64" + bytes(413))
    first[36:40] = b"VBRI"[:n_tag].ljust(4, b"\0")
    first[50:54] = (1000).to_bytes(4, "big")
    stated = stated_samples(io.BytesIO(first + 5 * (b"\xff\xfb\x90\x64" + bytes(413))))
    assert (stated and stated.n_samples) == (1_152_000 if n_tag else None)


SIGNATURES = [
    *(b"RIFF\0\0\0\0WAVE", b"RF64\xff\xff\xff\xffWAVEds64", b"RIFX\0\0\0\0WAVE", b".snd", b"dns.", b"FORM\0\0\0\0AIFF"),
    *(b"caff\0\1\0\0", b"\x30\x26\xb2\x75", b"\x1a\x45\xdf\xa3", b"OggS", b"\0\0\0\x18ftyp", b"fLaC", b"wvpk", b"ID3"),
    b"\xff\xfb\x90\x64",
]


@given(st.sampled_from(SIGNATURES), st.binary(max_size=300))
def test_no_header_breaks_the_parsers(signature: bytes, rest: bytes) -> None:
    file = io.BytesIO(signature + rest)
    missing, stated = missing_bytes(file), stated_samples(file)
    assert missing is None or missing.startswith("truncated: ")
    assert stated is None or 0 <= stated.n_samples < 1 << 64


def test_a_million_empty_chunks_end_soon() -> None:
    header = b"RIFF\xff\xff\xff\xffWAVE"
    assert missing_bytes(io.BytesIO(header + b"junk\0\0\0\0" * 1_000_000)) is None


def test_wavs_of_libsndfile_state_their_end_exactly(tmp_path: Path) -> None:
    for n_samples in (1, 2, 3, 1_000):
        path = tmp_path / f"{n_samples}.wav"
        soundfile.write(path, np.zeros(n_samples), RATE_HZ, subtype="PCM_U8")
        assert not read_audio(path)[1].truncated
