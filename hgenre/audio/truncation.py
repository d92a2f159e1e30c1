"""Whether a file is shorter than it says: headers read as plain bytes, apart from any decoder.

Two statements can be checked. ``missing_bytes`` compares the byte sizes in RIFF (RF64), AU, AIFF, CAF, MP4, ASF and
Matroska headers with the size of the file, exactly, and looks for the end page of an Ogg stream. ``stated_samples``
reads the sample counts of FLAC, MP3 and WavPack, to be compared with what was decoded. A size that a writer could not
know (a stream, a pipe) is no statement.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from os import SEEK_END
from typing import BinaryIO

from hgenre.audio import mpeg
from hgenre.audio.mpeg import read_at

# No header worth trusting has more; a hostile one could have millions.
MAX_CHUNKS = 4096
# Writers to a pipe leave 0, all ones, or the largest size short of 2 or 4 GiB.
_PLACEHOLDER_RANGES = (range(1), range(0x7FFF_0000, 0x8000_0000), range(0xFFFF_0000, 0x1_0000_0000))
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


@dataclass(frozen=True)
class StatedSamples:
    """Samples a channel that a header promises, and how many fewer may be decoded from a whole file."""

    n_samples: int
    n_tolerance: int
    source: str


def missing_bytes(file: BinaryIO) -> str | None:
    """A sentence when the container promises more bytes than the file has; None when it is whole or does not say."""
    n_bytes = file.seek(0, SEEK_END)
    head = read_at(file, 0, 16)
    match head[:4]:
        case b"RIFF" | b"RF64" | b"BW64" | b"RIFX":
            end = _riff_end(file, head)
        case b".snd" | b"dns.":
            end = _au_end(head)
        case b"FORM":
            end = _chunk_end(file, 12, ">4sI", b"SSND", even=True)
        case b"caff":
            end = _chunk_end(file, 8, ">4sQ", b"data", even=False)
        case b"\x30\x26\xb2\x75":
            end = _asf_end(file)
        case b"\x1a\x45\xdf\xa3":
            end = _matroska_end(file)
        case b"OggS":
            return _missing_ogg_end(file, n_bytes)
        case _:
            end = _mp4_end(file, n_bytes) if head[4:8] == b"ftyp" else None
    if end is None or end <= n_bytes:
        return None
    return f"truncated: its header promises {end} bytes, the file has {n_bytes}"


def stated_samples(file: BinaryIO) -> StatedSamples | None:
    """The sample count in a FLAC, WavPack or MP3 header; None where there is none."""
    start = mpeg.after_id3(file)
    head = read_at(file, start, 26)
    if head[:4] == b"fLaC" and len(head) == 26:
        # STREAMINFO comes first: 36 bits of total samples end at byte 26, 0 where unknown
        total = int.from_bytes(head[21:26], "big") & 0xF_FFFF_FFFF
        return StatedSamples(total, 0, "FLAC STREAMINFO") if total else None
    if head[:4] == b"wvpk" and len(head) == 26:
        total = int.from_bytes(head[12:16], "little")
        return StatedSamples(total, 0, "WavPack header") if total != 0xFFFF_FFFF else None
    if stated := mpeg.stated_samples(file):
        # Some encoders count the frame that holds the tag, and a cut from a longer stream loses its first frame,
        # whose bits lie in frames that are gone.
        n_samples, n_frame_samples = stated
        return StatedSamples(n_samples, 2 * n_frame_samples, "MP3 frame count")
    return None


def _riff_end(file: BinaryIO, head: bytes) -> int | None:
    order = ">" if head[:4] == b"RIFX" else "<"
    if head[8:12] != b"WAVE":
        return None
    wide = next((body for name, body, _ in _chunks(file, 12, f"{order}4sI", even=True) if name == b"ds64"), None)
    if wide is None:
        return _chunk_end(file, 12, f"{order}4sI", b"data", even=True)
    data = next((body for name, body, _ in _chunks(file, 12, "<4sI", even=True) if name == b"data"), None)
    sizes = read_at(file, wide, 16)
    if data is None or len(sizes) < 16:
        return None
    n_data = int.from_bytes(sizes[8:], "little")
    return data + n_data if 0 < n_data < 1 << 63 else None


def _au_end(head: bytes) -> int | None:
    if len(head) < 12:
        return None
    offset, size = struct.unpack_from(">II" if head[:4] == b".snd" else "<II", head, 4)
    return None if _is_placeholder(size) else offset + size


def _chunk_end(file: BinaryIO, start: int, layout: str, wanted: bytes, *, even: bool) -> int | None:
    for name, body, size in _chunks(file, start, layout, even=even):
        if name == wanted:
            return None if _is_placeholder(size) else body + size
    return None


def _chunks(file: BinaryIO, start: int, layout: str, *, even: bool) -> Iterator[tuple[bytes, int, int]]:
    """(name, first byte, size) of the chunks that stand one behind the other."""
    n_header = struct.calcsize(layout)
    for _ in range(MAX_CHUNKS):
        header = read_at(file, start, n_header)
        if len(header) < n_header:
            return
        name, size = struct.unpack(layout, header)
        yield name, start + n_header, size
        start += n_header + size + (size & 1 if even else 0)


def _asf_end(file: BinaryIO) -> int | None:
    header = read_at(file, 0, 65_536)
    at = header.find(_ASF_FILE_PROPERTIES)
    if at < 0 or len(header) < at + 92:
        return None
    broadcast = header[at + 88] & 1
    size = int.from_bytes(header[at + 40 : at + 48], "little")
    return None if broadcast or not size else size


def _matroska_end(file: BinaryIO) -> int | None:
    after_header = _ebml_element_end(file, 0, 4)
    if after_header is None or read_at(file, after_header, 4) != b"\x18\x53\x80\x67":
        return None
    return _ebml_element_end(file, after_header, 4)


def _ebml_element_end(file: BinaryIO, start: int, n_id: int) -> int | None:
    """Byte after the element at ``start``; None for the reserved size of all ones, which means unknown."""
    field = read_at(file, start + n_id, 8)
    if not field or field[0] == 0:
        return None
    n_field = 9 - field[0].bit_length()
    mask = (1 << 7 * n_field) - 1
    size = int.from_bytes(field[:n_field], "big") & mask
    return None if size == mask or len(field) < n_field else start + n_id + n_field + size


def _mp4_end(file: BinaryIO, n_bytes: int) -> int | None:
    return max(islice(_mp4_box_ends(file, n_bytes), MAX_CHUNKS), default=None)


def _mp4_box_ends(file: BinaryIO, n_bytes: int) -> Iterator[int]:
    start = 0
    while start < n_bytes:
        header = read_at(file, start, 16)
        if len(header) < 8:
            return
        size = int.from_bytes(header[:4], "big")
        if size == 1 and len(header) == 16:
            size = int.from_bytes(header[8:], "big")
        if size < 8 or not header[4:8].isalnum():  # 0 runs to the end of the file; anything else is no box
            return
        start += size
        yield start


def _missing_ogg_end(file: BinaryIO, n_bytes: int) -> str | None:
    """The last page must lie whole in the file and carry the end-of-stream flag (bit 2 of the type, RFC 3533)."""
    tail_start = max(0, n_bytes - 2 * _OGG_PAGE_BYTES)
    tail = read_at(file, tail_start, n_bytes - tail_start)
    at = tail.rfind(b"OggS")
    page = tail[at:]
    if at < 0:
        return None
    if len(page) < 27 or len(page) < 27 + page[26]:
        return f"truncated: its last Ogg page breaks off in its header, at byte {n_bytes}"
    n_page = 27 + page[26] + sum(page[27 : 27 + page[26]])
    if n_page > len(page):
        return f"truncated: its last Ogg page has {len(page)} of {n_page} bytes"
    if not page[5] & 4:
        return f"truncated: the Ogg stream has no end page before the file ends at byte {n_bytes}"
    return None


def _is_placeholder(size: int) -> bool:
    return size >= 1 << 63 or any(size in sizes for sizes in _PLACEHOLDER_RANGES)
