"""Frame headers of the two streams without a signature, MPEG audio and ADTS AAC; no decoding.

Sources: ISO/IEC 11172-3 and 13818-3 (MPEG audio frame header), ISO/IEC 14496-3 (ADTS), id3.org (ID3v2 size), and the
Xing/LAME and VBRI tags as LAME and Fraunhofer write them.
"""

from dataclasses import dataclass
from typing import BinaryIO

# kbit/s by bitrate index 1..14
_BITRATES = {
    ("1", 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    ("1", 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    ("1", 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    ("2", 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    ("2", 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    ("2", 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}

# Random bytes look like a frame header about once in 2000 positions, so four in step begin by chance once in 10^13.
CHAINED_FRAMES = 4
# As far as libmpg123 looks for the first frame.
SEARCH_BYTES = 65_536
_WINDOW_BYTES = SEARCH_BYTES + CHAINED_FRAMES * 8192  # an ADTS frame is at most 8191 bytes, an MPEG frame less


@dataclass(frozen=True)
class FrameHeader:
    """One frame's form; ``n_tag_bytes`` is where a Xing tag would lie in it (None for ADTS)."""

    n_bytes: int
    n_samples: int
    n_tag_bytes: int | None


def parse_frame(header: bytes) -> FrameHeader | None:
    """The MPEG audio or ADTS frame header in the first bytes, or None where there is none."""
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    if layer == 4:
        return _parse_adts(header)
    bitrate_idx, rate_idx, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or bitrate_idx in (0, 15) or rate_idx == 3:
        return None
    first_version = version == 3
    bits = 1000 * _BITRATES["1" if first_version else "2", layer][bitrate_idx - 1]
    n_samples = {1: 384, 2: 1152, 3: 1152 if first_version else 576}[layer]
    slot_bytes = 4 if layer == 1 else 1
    n_bytes = slot_bytes * (n_samples * bits // (8 * slot_bytes * _RATES_HZ[version][rate_idx]) + padding)
    mono = header[3] >> 6 == 3
    side_bytes = (17 if mono else 32) if first_version else (9 if mono else 17)
    return FrameHeader(n_bytes, n_samples, 4 + side_bytes)


def _parse_adts(header: bytes) -> FrameHeader | None:
    n_bytes = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
    if header[1] & 0xF6 != 0xF0 or header[2] >> 2 & 15 > 12 or n_bytes < 7:
        return None
    return FrameHeader(n_bytes, 1024 * ((header[6] & 3) + 1), None)


def find_first_frame(file: BinaryIO) -> int | None:
    """Byte where a run of frames begins that follow one another, after any ID3v2 tags; None if there is none.

    The run is ``CHAINED_FRAMES`` long, or reaches the end of a file that holds no more than that (at least two).
    """
    start = after_id3(file)
    window = read_at(file, start, _WINDOW_BYTES)
    at_end = len(window) < _WINDOW_BYTES
    offset = window.find(b"\xff")
    while 0 <= offset < SEARCH_BYTES:
        if _run_begins(window, offset, at_end):
            return start + offset
        offset = window.find(b"\xff", offset + 1)
    return None


def _run_begins(window: bytes, offset: int, at_end: bool) -> bool:
    for n_frames in range(CHAINED_FRAMES):
        frame = parse_frame(window[offset : offset + 7])
        if frame is None:
            return at_end and n_frames >= 2 and len(window) - offset < 7
        offset += frame.n_bytes
        if offset > len(window):
            return at_end and n_frames >= 1
    return True


def after_id3(file: BinaryIO) -> int:
    """Byte after the ID3v2 tags that the file begins with."""
    start = 0
    while True:
        header = read_at(file, start, 10)
        if len(header) < 10 or header[:3] != b"ID3":
            return start
        n_footer = 10 if header[5] & 0x10 else 0
        start += (
            10 + n_footer + sum((byte & 0x7F) << shift for byte, shift in zip(header[6:], (21, 14, 7, 0), strict=True))
        )


def stated_samples(file: BinaryIO) -> tuple[int, int] | None:
    """Samples a channel that the Xing, Info or VBRI tag promises, and samples in a frame; None without a tag.

    The delay and padding that LAME writes behind the tag are taken off, as decoders do.
    """
    start = find_first_frame(file)
    if start is None:
        return None
    data = read_at(file, start, 4096)
    frame = parse_frame(data)
    if frame is None or frame.n_tag_bytes is None:
        return None
    data = data[: frame.n_bytes]
    if data[36:40] == b"VBRI" and len(data) >= 54:
        return int.from_bytes(data[50:54], "big") * frame.n_samples, frame.n_samples
    tag = data[frame.n_tag_bytes :]
    if tag[:4] not in (b"Xing", b"Info") or len(tag) < 12 or not tag[7] & 1:
        return None
    n_samples = int.from_bytes(tag[8:12], "big") * frame.n_samples
    if tag[7] & 15 == 15 and len(tag) >= 144:
        edges = int.from_bytes(tag[141:144], "big")
        n_samples -= (edges >> 12) + (edges & 0xFFF)
    return max(0, n_samples), frame.n_samples


def read_at(file: BinaryIO, start: int, n_bytes: int) -> bytes:
    """Up to ``n_bytes`` bytes from ``start``; none where a hostile size points past all files, or the disk fails."""
    try:
        file.seek(start)
        return file.read(n_bytes)
    except (OSError, OverflowError, ValueError):
        return b""
