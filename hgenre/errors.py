"""Every error a user of hgenre can meet.

    HgenreError
    ├── AudioError                one audio file; carries its path and a machine-readable kind
    │   ├── UnreadableAudioError  no decoder could make sense of the bytes
    │   ├── EmptyAudioError       no bytes, or a header with no samples behind it
    │   ├── NonFiniteAudioError   NaN or infinite samples
    │   ├── SilentAudioError      nothing loud enough to judge
    │   └── TooShortAudioError    holds less than half a slice
    ├── ConfigError               a run's configuration; lists every mistake with its dotted path
    ├── OptionError               what a model was asked for and cannot give; lists every mistake by its option
    ├── TreeError                 groups and labels that do not make a genre tree
    │   └── GroupCountError       a number of groups that genres, or a method, do not come to
    ├── ManifestError             a manifest, a data folder or a split
    │   └── LeakError             songs (or artists, or duplicates) on both sides of a split
    ├── FeatureError              arrays or cache entries that do not match their feature spec
    └── BundleError               a trained bundle that is missing, damaged or from another schema

Each message says what happened, where, what was found, what was needed, and what to do next.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class HgenreError(Exception):
    """Root of all errors that hgenre raises on purpose; ``kind`` is stable and machine-readable."""

    kind: ClassVar[str] = "error"


class AudioError(HgenreError):
    """One audio file could not be used. ``path`` names it; ``message`` is the sentence without the path."""

    kind = "audio"

    def __init__(self, path: str | Path, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = str(path)
        self.message = message


class UnreadableAudioError(AudioError):
    """No decoder could make sense of the file."""

    kind = "unreadable"


class EmptyAudioError(AudioError):
    """The file holds no samples."""

    kind = "empty"


class NonFiniteAudioError(AudioError):
    """The file holds NaN or infinite samples."""

    kind = "non_finite"


class SilentAudioError(AudioError):
    """No slice of the file is loud enough to have a vote."""

    kind = "silent"


class TooShortAudioError(AudioError):
    """The file holds less than half a slice."""

    kind = "too_short"


class ConfigError(HgenreError):
    """A configuration with mistakes; ``problems`` holds (dotted path, sentence) for every one of them."""

    kind = "config"

    def __init__(self, source: str, problems: Sequence[tuple[str, str]]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = "1 mistake" if len(self.problems) == 1 else f"{len(self.problems)} mistakes"
        lines = "".join(f"\n  {where}: {what}" for where, what in self.problems)
        super().__init__(f"{source}: {count} in the configuration:{lines}")


class OptionError(HgenreError):
    """What a model was asked for and cannot give; ``problems`` holds (argument's name, sentence) for every mistake."""

    kind = "option"

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(f"{name}: {what}" for name, what in self.problems))


class TreeError(HgenreError):
    """Groups and labels that do not make a genre tree; ``problems`` names every mistake."""

    kind = "tree"
    lead: ClassVar[str] = "not a genre tree: "

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.lead + "; ".join(self.problems))


class GroupCountError(TreeError):
    """A number of groups that cannot be made of these genres, or that a method does not come to."""

    lead = ""


class ManifestError(HgenreError):
    """A manifest, a data folder or a split that cannot be used."""

    kind = "manifest"


class LeakError(ManifestError):
    """Evidence stands on both sides of a split; ``songs`` names what leaks."""

    kind = "leak"

    def __init__(self, message: str, songs: Sequence[str]) -> None:
        super().__init__(message)
        self.songs = tuple(songs)


class FeatureError(HgenreError):
    """Arrays or cache entries that do not match their feature spec."""

    kind = "features"


class BundleError(HgenreError):
    """A trained bundle that is missing, damaged or of another schema."""

    kind = "bundle"
