"""Songs in, answers out: a loaded model and what it says."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np

from hgenre.bundle import Bundle, load_bundle
from hgenre.errors import AudioError, BundleError, FeatureError, OptionError, SilentAudioError
from hgenre.features import (
    ArraySpec,
    FeatureSpec,
    cut_slices,
    described,
    frames_stream,
    log_mel_of,
)
from hgenre.features.slices import SILENCE_DBFS
from hgenre.shipped import find_bundle
from hgenre.tree.answer import Answer, abstain, answer_genre, answer_set, answer_surely, path_to
from hgenre.tree.conformal import coverage_threshold
from hgenre.tree.route import Route
from hgenre.tree.stopping import CONFIDENCE, stopping_threshold
from hgenre.tree.vote import Aggregation

EVIDENCE_VOTE: Aggregation = "majority"
"""By what the songs of a bundle's evidence were answered: thresholds found in it hold for such answers alone."""

STEADY = "steady noise: nothing in it changes as music does, so no genre is claimed"


@dataclass(frozen=True)
class SliceAnswer:
    """What one slice says: ``path`` holds (node or genre, probability), from the root to ``genre``."""

    start_s: float
    genre: str
    p: float
    path: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class SongAnswer:
    """What a model says of one song.

    Attributes:
        genre: the slices' vote.
        confidence: probability of ``genre``, in [0, 1].
        answer: what the model claims: ``genre``, unless it was asked to be sure or heard steady noise only.
        tree_path: (node or genre, probability that the song is in it), root first, down to ``genre``.
        probabilities: genre -> calibrated mean over voiced slices; under hard routing those of entered groups only.
        votes: genre -> number of slices.
        slices: voiced slices in order of time.
    """

    path: str
    genre: str
    confidence: float
    answer: Answer
    tree_path: tuple[tuple[str, float], ...]
    probabilities: dict[str, float]
    votes: dict[str, int]
    n_slices: int
    duration_s: float
    truncated: bool
    model: str
    warnings: tuple[str, ...]
    slices: tuple[SliceAnswer, ...]

    def to_json(self, *, timeline: bool = False) -> dict[str, Any]:
        """The contract's JSON object; ``timeline`` adds the slices."""
        record: dict[str, Any] = {
            "path": self.path,
            "genre": self.genre,
            "confidence": self.confidence,
            "answer": self.answer.to_json(),
            "probabilities": self.probabilities,
            "votes": self.votes,
            "n_slices": self.n_slices,
            "duration_s": self.duration_s,
            "truncated": self.truncated,
            "model": self.model,
            "warnings": list(self.warnings),
        }
        if timeline:
            record["slices"] = [
                {"start_s": s.start_s, "genre": s.genre, "p": s.p, "path": [list(step) for step in s.path]}
                for s in self.slices
            ]
        return record


@dataclass(frozen=True)
class SongFault:
    """Why a song has no answer."""

    path: str
    kind: str
    message: str

    def to_json(self, *, timeline: bool = False) -> dict[str, Any]:
        """The contract's JSON object; a fault has no slices to add."""
        return {"path": self.path, "error": {"kind": self.kind, "message": self.message}}


class Model:
    """A bundle ready to answer. Programs are compiled when first needed and kept in the user's cache folder.

    Args:
        target_accuracy: in (0, 1); answers climb to a group, or to nothing, so that this share of them is right.
        coverage: in (0, 1); answers are sets of genres that hold the true one for this share of songs.

    Both shares are meant for later songs like those of the bundle's evidence: the first is reached with a probability
    of ``CONFIDENCE``, the second on average, as far as the evidence is what ``tree/evidence.py`` wants it to be.

    Attributes:
        out_of_reach: why every song will be left without an answer, if what is asked for is more than the evidence can
            promise; else empty.

    Raises:
        FeatureError: the bundle wants features that are no frames of audio.
        OptionError: both of the above, one out of its range, or one together with hard routing or with another vote
            than by majority, as the songs of evidence were answered.
        BundleError: the bundle holds no evidence of held-out songs to find a threshold with.
    """

    def __init__(
        self,
        bundle: Bundle,
        route: Route | None = None,
        cache_dir: Path | None = None,
        *,
        target_accuracy: float | None = None,
        coverage: float | None = None,
    ) -> None:
        self.bundle = bundle
        self.route = route or bundle.route
        self._features = audio_features(bundle)
        self._decide, self.out_of_reach = _decision(bundle, self.route, target_accuracy, coverage)
        self._cache_dir = cache_dir
        self._programs: dict[int, Callable[..., Any]] = {}
        self._loading = Lock()
        self._expects = False

    @property
    def genres(self) -> tuple[str, ...]:
        return self.bundle.labels.genres

    def predict(self, paths: str | Path | Sequence[str | Path]) -> list[SongAnswer | SongFault]:
        """An answer or a fault for every file, in order; one path is a list of one.

        >>> import hgenre, numpy as np, soundfile
        >>> soundfile.write("noise.wav", np.random.default_rng(0).normal(0, 0.1, 5 * 16000), 16000)
        >>> model = hgenre.load("gtzan10-tree")
        >>> [answer] = model.predict(["noise.wav"])
        >>> answer.genre in model.genres
        True
        """
        return list(self.predict_each([paths] if isinstance(paths, str | Path) else paths))

    def predict_each(self, paths: Sequence[str | Path]) -> Iterator[SongAnswer | SongFault]:
        """As ``predict``, one song after the other while the next ones are read."""
        from hgenre.data.audio_slices import AudioSlices, read_ahead

        expect = partial(self._expect, len(paths))
        songs = [AudioSlices(path, self._features, self.bundle.slices, expect) for path in paths]
        for song, result in self._answer(zip(songs, read_ahead(songs), strict=True)):
            facts = song.facts
            try:
                if isinstance(result, Exception):
                    raise result
                if facts is None:
                    raise AudioError(song.path, "reading ended early; try again")
                yield self._song_answer(song.path, result, facts.duration_s, facts.truncated, song.warnings)
            except AudioError as error:
                yield SongFault(song.path, error.kind, error.message)

    def predict_waveform(self, waveform: np.ndarray, sample_rate_hz: int) -> SongAnswer:
        """The answer for a mono waveform (sample,) of floats, full scale 1.0.

        Raises:
            AudioError: nothing in it can be judged: more than one axis, no floats, empty, not finite, silent, or less
                than half a slice.

        >>> import numpy as np, hgenre
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 5 * 16000)
        >>> answer = hgenre.load("gtzan10-tree").predict_waveform(noise, 16000)
        >>> round(sum(answer.probabilities.values()), 3)
        1.0
        """
        from hgenre.audio import resample
        from hgenre.data.audio_slices import REPEATED, too_short

        resampled = resample(waveform, sample_rate_hz, log_mel_of(self._features).sample_rate_hz)
        duration_s = len(waveform) / sample_rate_hz
        nothing = np.empty((self._features.n_mels, 0), np.float32)
        frames = np.concatenate([nothing, *frames_stream([resampled], self._features)], axis=1)
        slices = cut_slices(frames, self.bundle.slices)
        if not len(slices):
            raise too_short("waveform", duration_s, self._features, self.bundle.slices)
        [(_, result)] = self._answer([(None, [slices])])
        warnings = (REPEATED,) if frames.shape[1] < self.bundle.slices.n_frames else ()
        return self._song_answer("waveform", result, duration_s, False, warnings)

    def log_proba(self, waveform: np.ndarray, sample_rate_hz: int) -> np.ndarray:
        """Natural logarithms (genre,) of the song's probabilities, in the order of ``genres``.

        >>> import numpy as np, hgenre
        >>> noise = np.random.default_rng(0).normal(0, 0.1, 5 * 16000)
        >>> hgenre.load("gtzan10-tree").log_proba(noise, 16000).shape
        (10,)
        """
        probabilities = self.predict_waveform(waveform, sample_rate_hz).probabilities
        with np.errstate(divide="ignore"):
            return np.log(np.array(list(probabilities.values())))

    def _answer(self, songs: Iterable[tuple[Any, Iterable[np.ndarray]]]) -> Iterator[tuple[Any, Any]]:
        from hgenre.compiled.answering import answer_all

        return answer_all(self.bundle, self.route, songs, self._program_of, None, catch=(AudioError,))

    def _expect(self, n_songs: int, n_slices: int) -> None:
        """Loads the first program while songs are decoded; the number of slices is what the first song promises."""
        from hgenre.compiled.answering import first_chunk_size

        if not self._expects:
            self._expects = True
            size = first_chunk_size(self.bundle, self.route, n_slices, n_songs)
            # No daemon: an interpreter that ends while XLA's loader runs crashes.
            Thread(target=self._load_resident, args=[size], name="load-program").start()

    def _load_resident(self, n_slices: int) -> None:
        with self._loading:
            if n_slices not in self._programs and (program := self._resident(n_slices)):
                self._programs[n_slices] = program

    def _program_of(self, n_slices: int) -> Callable[..., Any]:
        """The program for so many slices; it has its weights already and disregards its first argument."""
        with self._loading:
            program = self._programs.get(n_slices) or self._resident(n_slices) or self._compiled(n_slices)
            self._programs[n_slices] = program
        return program

    def _resident(self, n_slices: int) -> Callable[..., Any] | None:
        from hgenre.compiled.resident import resident_program

        program = resident_program(self.bundle, self.route, n_slices, self._cache_directory, lambda: self._placed)
        return program and (lambda _, *arguments: program(self._placed, *arguments))

    def _compiled(self, n_slices: int) -> Callable[..., Any]:
        from hgenre.compiled.exported import cached_program

        program = cached_program(self.bundle, self.route, n_slices, self._cache_directory)
        weights = self._weights
        return lambda _, *arguments: program(weights, *arguments)

    @cached_property
    def _placed(self) -> Any:
        from hgenre.compiled.resident import place_weights

        return place_weights(self.bundle)

    @cached_property
    def _weights(self) -> Any:
        from hgenre.compiled.exported import weights_of

        return weights_of(self.bundle)

    @property
    def _cache_directory(self) -> Path:
        from hgenre.data.cache import default_cache_dir

        return self._cache_dir or default_cache_dir()

    def _song_answer(
        self, path: str, result: Any, duration_s: float, truncated: bool, warnings: tuple[str, ...]
    ) -> SongAnswer:
        if result.genre_idx < 0:
            n = result.n_slices
            what = "its one slice is not" if n == 1 else f"none of its {n} slices is"
            raise SilentAudioError(path, f"{what} loud enough to judge (above {SILENCE_DBFS:.0f} dB re full scale)")
        labels = self.bundle.labels
        genre = labels.genres[result.genre_idx]
        p = dict(zip(labels, result.probabilities.tolist(), strict=True))
        answer = self._decide(genre, p)
        if result.steady[result.voiced].all():
            answer = abstain(self.bundle.tree, p, STEADY)
        step_s = self.bundle.slices.step_frames / self._features.frame_rate_hz
        return SongAnswer(
            path=path,
            genre=genre,
            confidence=p[genre],
            answer=answer,
            tree_path=path_to(self.bundle.tree, genre, p),
            probabilities=p,
            votes=dict(zip(labels, result.votes.tolist(), strict=True)),
            n_slices=int(result.voiced.sum()),
            duration_s=duration_s,
            truncated=truncated,
            model=self.bundle.name,
            warnings=(*warnings, answer.reason) if answer.reason else warnings,
            slices=tuple(
                self._slice_answer(i * step_s, row)
                for i, (row, heard) in enumerate(zip(result.logp, result.voiced, strict=True))
                if heard
            ),
        )

    def _slice_answer(self, start_s: float, logp: np.ndarray) -> SliceAnswer:
        p = dict(zip(self.bundle.labels, np.exp(logp).tolist(), strict=True))
        genre = self.bundle.labels.genres[int(logp.argmax())]
        return SliceAnswer(round(start_s, 3), genre, p[genre], path_to(self.bundle.tree, genre, p))


def audio_features(bundle: Bundle) -> FeatureSpec:
    """The features that a bundle wants of audio; raises FeatureError where they are no frames of audio."""
    features = bundle.features
    try:
        log_mel_of(features)
    except FeatureError:
        source = getattr(features, "of", None) or features
        scale = f" ({source.scale})" if isinstance(source, ArraySpec) else ""
        raise FeatureError(
            f"model {bundle.name} was trained on {described(features)}{scale}, and audio is answered by its log-mel "
            "frames or their cepstra alone; evaluate it on songs of its own kind, or take a model of such frames"
        ) from None
    return features


def _decision(
    bundle: Bundle, route: Route, target_accuracy: float | None, coverage: float | None
) -> tuple[Callable[[str, Mapping[str, float]], Answer], str]:
    """The function from a song's vote and its genres' probabilities to an answer, and ``Model.out_of_reach``.

    Raises as ``Model`` does.
    """
    tree = bundle.tree
    asked = {k: v for k, v in (("target_accuracy", target_accuracy), ("coverage", coverage)) if v is not None}
    if not asked:
        return partial(answer_genre, tree), ""
    problems = [(name, f"found {v!r}, needed a share between 0 and 1") for name, v in asked.items() if not 0 < v < 1]
    if len(asked) == 2:
        problems.append(("coverage", "asks for something else than a target accuracy does; choose one of them"))
    if route.decoder != "soft":
        problems.append(
            (
                next(iter(asked)),
                "needs the probabilities of all genres, of which the hard route gives a part; take the soft one",
            )
        )
    if route.aggregation != EVIDENCE_VOTE:
        problems.append(
            (
                next(iter(asked)),
                f"found votes by {route.aggregation}, the songs of evidence were answered by {EVIDENCE_VOTE}; take "
                "that vote",
            )
        )
    if problems:
        raise OptionError(problems)
    evidence = bundle.calibration.evidence if bundle.calibration else ()
    if not evidence:
        raise BundleError(
            f"model {bundle.name} holds no evidence of held-out songs, so it can be asked for no "
            f"{next(iter(asked)).replace('_', ' ')}; train it again with this hgenre, or leave that out"
        )
    if coverage is not None:
        if threshold := coverage_threshold(evidence, coverage):
            return partial(answer_set, tree, threshold=threshold, coverage=coverage), ""
        reason = (
            f"model {bundle.name} can leave no genre out if {coverage:.1%} of songs must find theirs in the answer, "
            f"as far as its {len(evidence)} songs of evidence can tell; ask for less"
        )
    else:
        assert target_accuracy is not None
        if (sure := stopping_threshold(evidence, target_accuracy)) is not None:
            return partial(answer_surely, tree, threshold=sure, target_accuracy=target_accuracy), ""
        reason = (
            f"no answers of model {bundle.name} are right {target_accuracy:.1%} of the time as far as its "
            f"{len(evidence)} songs of evidence can tell ({CONFIDENCE:.0%} sure); ask for less"
        )
    return lambda genre, p: abstain(tree, p, reason), reason


def load(
    name_or_path: str | Path = "gtzan10-tree",
    *,
    route: Route | None = None,
    target_accuracy: float | None = None,
    coverage: float | None = None,
) -> Model:
    """A model by the name of a shipped bundle or by the directory of a bundle or a run; the rest is as for ``Model``.

    Raises:
        BundleError: there is no such bundle, or it is damaged.

    >>> import hgenre
    >>> model = hgenre.load("gtzan10-tree")
    >>> len(model.genres)
    10
    """
    return Model(load_bundle(find_bundle(name_or_path)), route, target_accuracy=target_accuracy, coverage=coverage)
