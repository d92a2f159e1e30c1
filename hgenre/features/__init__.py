"""Pure array functions from waveforms to normalised slices, cepstra and rows of tables; imports numpy only."""

from hgenre.features.cepstra import cepstral_statistics, frames_stream, mfcc
from hgenre.features.log_mel import log_mel, log_mel_stream, mel_filters
from hgenre.features.normalise import (
    Normalisation,
    fit_normalisation,
    level_free,
    song_statistics,
    standardise,
    statistics_for,
)
from hgenre.features.slices import (
    cut_slices,
    cut_stream,
    repeat_to_slice,
    silence_level_db,
    slice_level_db,
    slice_starts,
    voiced,
)
from hgenre.features.spec import (
    ArraySpec,
    Cepstra,
    CepstralSpec,
    FeatureSpec,
    LogMelSpec,
    MelScale,
    SliceSpec,
    TableSpec,
    described,
    digest,
    from_json,
    log_mel_of,
    to_json,
)
from hgenre.features.steadiness import steady

__all__ = [
    "ArraySpec",
    "Cepstra",
    "CepstralSpec",
    "FeatureSpec",
    "LogMelSpec",
    "MelScale",
    "Normalisation",
    "SliceSpec",
    "TableSpec",
    "cepstral_statistics",
    "cut_slices",
    "cut_stream",
    "described",
    "digest",
    "fit_normalisation",
    "frames_stream",
    "from_json",
    "level_free",
    "log_mel",
    "log_mel_of",
    "log_mel_stream",
    "mel_filters",
    "mfcc",
    "repeat_to_slice",
    "silence_level_db",
    "slice_level_db",
    "slice_starts",
    "song_statistics",
    "standardise",
    "statistics_for",
    "steady",
    "to_json",
    "voiced",
]
