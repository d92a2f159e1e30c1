"""Faults of public collections that are known by name, each with its source.

What is measured decides: a name on these lists explains a fault that was found, or joins duplicates that different
encodings hide from a checksum. It never removes a file that is sound.
"""

import re
from collections.abc import Iterable

GTZAN_GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")

_GTZAN_ID = re.compile(rf"({'|'.join(GTZAN_GENRES)})\.\d{{5}}")

# The WAV edition of GTZAN that most people hold (https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-
# genre-classification) contains one file without a RIFF header.
GTZAN_UNDECODABLE = {"jazz.00054": "a known fault of GTZAN's WAV edition: this file has samples but no header"}

# Clips whose 30-s mel spectrograms are identical value by value; exact repetitions in GTZAN were first catalogued by
# B. L. Sturm, "The GTZAN dataset: its contents, its faults, their effects on evaluation, and its future use",
# arXiv:1306.1461. Repetitions that are shifted in time are not listed here.
GTZAN_DUPLICATES = (
    ("disco.00098", "disco.00099"),
    ("hiphop.00039", "hiphop.00045"),
    ("hiphop.00076", "hiphop.00078"),
    ("metal.00034", "metal.00094"),
    ("metal.00040", "metal.00061"),
    ("metal.00041", "metal.00062"),
    ("metal.00042", "metal.00063"),
    ("metal.00043", "metal.00064"),
    ("metal.00044", "metal.00065"),
    ("metal.00045", "metal.00066"),
    ("metal.00058", "rock.00016"),
    ("pop.00054", "pop.00060"),
    ("pop.00067", "pop.00071"),
    ("reggae.00081", "reggae.00082"),
)

# Tracks whose length was wrong in the site's metadata, so their 30-s clips were cut at the wrong place and are short
# or hold no audio at all; the tracks at full length are sound. Source: https://github.com/mdeff/fma/issues/8 and
# https://github.com/mdeff/fma/issues/41. Six of them are in fma_small: 98565, 98567, 98569, 99134, 108925, 133297.
FMA_SHORT_CLIPS = frozenset(
    {1486, 5574, 65753, 80391, 98558, 98559, 98560, 98565, 98566, 98567, 98568, 98569, 98571, 99134, 105247}
    | {108924, 108925, 126981, 127336, 133297, 143992}
)
FMA_SHORT_REASON = "a known fault of FMA's clips: cut at the wrong place, for the track's recorded length was wrong"

# FMA's clips last 30 s; encoders round to whole frames, so a sound clip is never a second shorter.
FMA_CLIP_MIN_S = 29.0


def is_gtzan(song_ids: Iterable[str]) -> bool:
    """Whether every id has GTZAN's form, ``<one of its ten genres>.<five digits>``; False for no ids."""
    ids = tuple(song_ids)
    return bool(ids) and all(_GTZAN_ID.fullmatch(song_id) for song_id in ids)


def gtzan_original(song_id: str) -> str:
    """The clip that this GTZAN clip repeats exactly, or "" where none is known."""
    return next((first for first, second in GTZAN_DUPLICATES if second == song_id), "")


def is_fma_short_clip(song_id: str, duration_s: float | None) -> bool:
    """Whether this is one of FMA's wrongly cut clips, and not the same track at full length."""
    known = song_id.isdecimal() and int(song_id) in FMA_SHORT_CLIPS
    return known and (duration_s is None or duration_s < FMA_CLIP_MIN_S)
