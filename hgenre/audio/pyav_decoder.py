"""ffmpeg through PyAV: AAC, ALAC, WMA, Opus and Vorbis in MP4, Matroska or ASF, WavPack, and what libsndfile refuses.

The bytes are not trusted. ffmpeg gets an open file, never a name; demuxers that open other files (playlists, concat
lists) are not on its list, and no protocol is, so a file cannot name another one. A container must have a signature;
MP3 and ADTS have none, and ffmpeg finds their sync words in any noise, so there frames must follow one another.
"""

from collections.abc import Iterator
from itertools import chain
from typing import BinaryIO

import av
import av.container
import numpy as np

from hgenre.audio.decoding import CallbackFile, DecoderRefusal, Decoding, to_mono
from hgenre.audio.mpeg import find_first_frame
from hgenre.audio.truncation import stated_samples

SIGNED_FORMATS = ("aiff", "ape", "asf", "au", "caf", "flac", "matroska", "mov", "ogg", "tta", "w64", "wav", "wv")
SYNC_WORD_FORMATS = ("aac", "mp3")
_OPTIONS = {"format_whitelist": ",".join(SIGNED_FORMATS + SYNC_WORD_FORMATS), "protocol_whitelist": "-"}


def open_pyav(file: BinaryIO) -> Decoding:
    """The file's best audio stream as ffmpeg decodes it; raises DecoderRefusal."""
    stated = stated_samples(file)
    n_exact = stated.n_samples if stated and stated.n_tolerance == 0 else None
    file.seek(0)
    try:
        container = av.open(CallbackFile(file), "r", options=_OPTIONS, metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise DecoderRefusal(_plain(error)) from None
    try:
        return _decode(container, file, n_exact)
    except (av.FFmpegError, ValueError) as error:
        container.close()
        raise DecoderRefusal(_plain(error)) from None
    except DecoderRefusal:
        container.close()
        raise


def _decode(container: av.container.InputContainer, file: BinaryIO, n_exact: int | None) -> Decoding:
    form = container.format.name.split(",")[0]
    if form in SYNC_WORD_FORMATS:
        position = file.tell()
        if find_first_frame(file) is None:
            raise DecoderRefusal(f"no run of {form} frames")
        file.seek(position)
    stream = container.streams.best("audio")
    if not isinstance(stream, av.AudioStream):
        found = ", ".join(sorted({other.type for other in container.streams})) or "no stream at all"
        raise DecoderRefusal(f"no audio stream in the {form} file, only {found}")
    if stream.codec_context is None:
        raise DecoderRefusal(f"no decoder for the audio in the {form} file")
    faults: list[str] = []
    frames = _packed_frames(container, stream, n_exact, faults)
    # The first frame knows: an HE-AAC header may state half the rate that is decoded.
    first = next(frames, None)
    return Decoding(
        decoder="pyav",
        codec=f"{form}/{stream.codec_context.name}",
        sample_rate_hz=first.sample_rate if first else stream.codec_context.sample_rate,
        n_channels=first.layout.nb_channels if first else stream.codec_context.channels,
        chunks=(_mono_of(frame) for frame in chain([first] if first else [], frames)),
        close=container.close,
        faults=faults,
    )


def _packed_frames(
    container: av.container.InputContainer, stream: av.AudioStream, n_exact: int | None, faults: list[str]
) -> Iterator[av.AudioFrame]:
    """Every frame that decodes, as packed float32; a damaged packet is left out and told of in ``faults``.

    Stops after ``n_exact`` samples: ffmpeg takes the tags behind a WavPack stream for a damaged block.
    """
    packed = av.AudioResampler(format="flt")
    n_samples = n_bad_packets = 0
    first_fault = ""
    packets = container.demux(stream)
    while n_samples != n_exact:
        try:
            packet = next(packets, None)
            if packet is None:
                break
        except av.FFmpegError as error:
            faults.append(f"reading stopped early (ffmpeg: {_plain(error)})")
            break
        try:
            decoded = packet.decode()
        except av.FFmpegError as error:
            n_bad_packets += 1
            first_fault = first_fault or _plain(error)
            continue
        try:
            for frame in decoded:
                n_samples += frame.samples
                yield from packed.resample(frame)
        except ValueError:
            faults.append("rate or channels change within the stream; decoded up to there")
            break
    if n_bad_packets:
        faults.append(f"{n_bad_packets} packets do not decode (ffmpeg: {first_fault})")


def _mono_of(frame: av.AudioFrame) -> np.ndarray:
    """The frame as mono; packed, because of eight planes or more PyAV 18 counts too many and reads foreign memory."""
    return to_mono(frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T)


def _plain(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()
