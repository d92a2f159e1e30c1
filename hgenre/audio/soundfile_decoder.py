"""libsndfile through soundfile: WAV, AU, AIFF, CAF, FLAC, Ogg Vorbis and Opus, MP3."""

from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO

import numpy as np
import soundfile

from hgenre.audio.decoding import CallbackFile, DecoderRefusal, Decoding, to_mono

# Samples a read: large enough that calls cost nothing, small enough for a thousand channels.
CHUNK_SAMPLES = 16_384
# libsndfile's count is SF_COUNT_MAX, 2**63 - 1, where a stream does not state one.
UNKNOWN_SAMPLES = 1 << 62
# Without a tag libmpg123 estimates the length of an MP3 to about a frame, and the two decoders trim its ends by less.
MP3_TOLERANCE_SAMPLES = 2 * 1152


class _ForwardOnly(soundfile.SoundFile):
    """A SoundFile that never seeks.

    soundfile seeks to where it already is after every read; in MP3 that drops the bit reservoir, which changes samples
    and makes libmpg123 complain on stderr.
    """

    def seekable(self) -> bool:
        return False


def open_soundfile(file: BinaryIO) -> Decoding:
    """The file as libsndfile decodes it; raises DecoderRefusal.

    libsndfile never learns the name: by the suffix alone it would take any .au, .vox or .gsm for headerless samples.
    """
    file.seek(0)
    try:
        sound = _ForwardOnly(CallbackFile(file))
    except soundfile.LibsndfileError as error:
        raise DecoderRefusal(_plain(error)) from None
    faults: list[str] = []
    n_samples = None if sound.frames >= UNKNOWN_SAMPLES else sound.frames
    return Decoding(
        decoder="soundfile",
        codec=f"{sound.format}/{sound.subtype}".lower(),
        sample_rate_hz=sound.samplerate,
        n_channels=sound.channels,
        chunks=_chunks(sound, file, faults),
        close=sound.close,
        # In Ogg this is the end page's position, and tells of pages lost in the middle, which libsndfile passes over.
        n_stated_samples=None if sound.format == "MP3" else n_samples,
        n_expected_samples=n_samples,
        faults=faults,
    )


def _chunks(sound: soundfile.SoundFile, file: BinaryIO, faults: list[str]) -> Iterator[np.ndarray]:
    interleaved = np.empty((CHUNK_SAMPLES, sound.channels), np.float32)
    # Reading on into the tags behind a FLAC stream is an error; in MP3 the count may be only an estimate.
    n_readable, n_tolerance = (UNKNOWN_SAMPLES, MP3_TOLERANCE_SAMPLES) if sound.format == "MP3" else (sound.frames, 0)
    n_samples, stop = 0, ""
    while n_samples < n_readable:
        try:
            n_read = len(sound.read(out=interleaved[: n_readable - n_samples]))
        except soundfile.LibsndfileError as error:
            stop = _plain(error)
            break
        if n_read == 0:
            break
        yield to_mono(interleaved[:n_read].T)
        n_samples += n_read
    if stop or n_samples == 0 or n_samples < sound.frames - n_tolerance:
        yield from _rest(sound.samplerate, file, n_samples, stop, faults)


def _rest(sample_rate_hz: int, file: BinaryIO, n_samples: int, stop: str, faults: list[str]) -> Iterator[np.ndarray]:
    """What PyAV makes of the samples from ``n_samples`` on, where libsndfile stopped with the error ``stop`` or early.

    ffmpeg finds its way back into a stream behind damage, and reads on where a WAV states 0 bytes of samples.
    """
    if stop:
        faults.append(f"damaged {n_samples / sample_rate_hz:.2f} s in (libsndfile: {stop})")
    try:
        from hgenre.audio.pyav_decoder import open_pyav

        rest = open_pyav(file)
    except (ImportError, DecoderRefusal):
        return
    with closing(rest):
        if rest.sample_rate_hz != sample_rate_hz:
            return
        n_seen = 0
        for chunk in rest.chunks:
            n_seen += len(chunk)
            if n_seen > n_samples:
                yield chunk[max(0, len(chunk) - (n_seen - n_samples)) :]
        if not stop and n_samples and n_seen > n_samples + MP3_TOLERANCE_SAMPLES:
            faults.append(f"damaged {n_samples / sample_rate_hz:.2f} s in (libsndfile takes it for the end)")
        faults.extend(rest.faults)


def _plain(error: soundfile.LibsndfileError) -> str:
    return error.error_string.removeprefix("Error : ").rstrip(".").lower()
