"""What a bundle gets right, on songs it has not seen."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hgenre.bundle import Bundle
from hgenre.compiled.answering import SongResult, answer_all
from hgenre.compiled.exported import cached_program, weights_of
from hgenre.data.feature_table import statistics_table
from hgenre.data.frame_source import FrameSource
from hgenre.data.frames import contents, open_frames
from hgenre.data.leaks import overlap
from hgenre.data.manifest import Manifest, Song
from hgenre.data.splits import clusters
from hgenre.errors import FeatureError, LeakError, ManifestError
from hgenre.features import ArraySpec, Cepstra, CepstralSpec, FeatureSpec, LogMelSpec, TableSpec, cut_slices
from hgenre.features.cepstra import STATISTICS
from hgenre.labels import Labels
from hgenre.metrics.classification import Scores, score
from hgenre.metrics.hierarchical import ancestor_heights, hierarchical_scores, least_expected_cost, node_height
from hgenre.metrics.intervals import compare_right
from hgenre.metrics.reliability import confidence_report
from hgenre.taxonomy import Taxonomy
from hgenre.tree.posterior import routing_nodes
from hgenre.tree.route import Route

PARTIAL = (
    "hard routing gives the probabilities of the groups that slices enter, which do not sum to 1: no log-loss, Brier "
    "score, classwise calibration error or least expected cost; route softly for them"
)
"""What ``evaluate`` says of figures that it leaves out."""


@dataclass(frozen=True)
class SongOutcome:
    """One evaluated song: the truth and what was answered, as positions in the label list."""

    song_id: str
    cluster: str  # songs of one artist and duplicates share it
    true_idx: int
    genre_idx: int
    middle_genre_idx: int  # of the slice in the middle alone
    probabilities: np.ndarray  # (genre,)
    slice_genre_idx: np.ndarray  # (slice,), voiced slices


def outcomes(
    bundle: Bundle,
    songs: Sequence[Song],
    frames: Callable[[str], np.ndarray],
    cache_dir: Path,
    route: Route | None = None,
    on_song: Callable[[], None] = lambda: None,
) -> list[SongOutcome]:
    """The bundle's answers for songs whose frames are at hand; songs without a voiced slice are left out."""
    route = route or bundle.route
    programs: dict[int, Any] = {}

    def program_of(n_slices: int) -> Any:
        if n_slices not in programs:
            programs[n_slices] = cached_program(bundle, route, n_slices, cache_dir)
        return programs[n_slices]

    streams = ((song, [cut_slices(frames(song.song_id), bundle.slices)]) for song in songs)
    cluster_of = clusters(songs, by="artist")
    found = []
    for song, result in answer_all(bundle, route, streams, program_of, weights_of(bundle)):
        on_song()
        assert isinstance(result, SongResult)
        if result.genre_idx < 0:
            continue
        genre_idx = result.logp[result.voiced].argmax(axis=1)
        found.append(
            SongOutcome(
                song_id=song.song_id,
                cluster=cluster_of[song.song_id],
                true_idx=bundle.labels.index(song.genre),
                genre_idx=result.genre_idx,
                middle_genre_idx=int(genre_idx[len(genre_idx) // 2]),
                probabilities=result.probabilities,
                slice_genre_idx=genre_idx,
            )
        )
    return found


def left_out(songs: Sequence[Song], found: Sequence[SongOutcome]) -> list[str]:
    """A sentence for every song that has no outcome: none of its slices is loud enough to judge."""
    answered = {o.song_id for o in found}
    return [f"{song.song_id} left out: silent" for song in songs if song.song_id not in answered]


def scores(found: Sequence[SongOutcome], labels: Labels) -> dict[str, Scores]:
    """Scores over songs and over their slices."""
    true_idx = np.array([o.true_idx for o in found])
    n_slices = [len(o.slice_genre_idx) for o in found]
    return {
        "song": score(true_idx, np.array([o.genre_idx for o in found]), labels),
        "slice": score(np.repeat(true_idx, n_slices), np.concatenate([o.slice_genre_idx for o in found]), labels),
    }


def middle_scores(found: Sequence[SongOutcome], labels: Labels) -> Scores:
    """Scores of the slice in the middle of each song alone: input of equal form, however long the song."""
    return score(np.array([o.true_idx for o in found]), np.array([o.middle_genre_idx for o in found]), labels)


def confidence(found: Sequence[SongOutcome], *, whole: bool = True) -> dict[str, Any]:
    """What the songs' probabilities are worth; the calibration error's interval is over artists where known.

    ``whole`` as for ``confidence_report``.
    """
    return confidence_report(
        np.array([o.probabilities for o in found]),
        [o.true_idx for o in found],
        [o.genre_idx for o in found],
        [o.cluster for o in found],
        whole=whole,
    )


def under_taxonomy(
    found: Sequence[SongOutcome], labels: Labels, taxonomy: Taxonomy, *, whole: bool = True
) -> dict[str, Any]:
    """How bad the songs' mistakes are under a taxonomy, and the same for the answers of ``least_cost`` expected there.

    ``height`` is the largest severity that the taxonomy knows. An expected cost needs ``whole`` probabilities, and is
    None without.
    """
    true_idx = np.array([o.true_idx for o in found])

    cost = ancestor_heights(labels, taxonomy.tree)

    def described(answer_idx: np.ndarray) -> dict[str, Any]:
        right = score(true_idx, answer_idx, labels)
        scores = hierarchical_scores(true_idx, answer_idx, labels, taxonomy.tree)
        return {"accuracy": right.accuracy, "interval": list(right.interval), **scores.to_json()}

    return {
        "name": taxonomy.name,
        "height": node_height(taxonomy.tree.root),
        **described(np.array([o.genre_idx for o in found])),
        "least_cost": described(least_expected_cost([o.probabilities for o in found], cost)) if whole else None,
    }


def compare(ours: Sequence[SongOutcome], theirs: Sequence[SongOutcome], *, seed: int = 0) -> dict[str, Any]:
    """Paired comparison over the same songs: difference of accuracies, bootstrap over artists, exact McNemar."""
    by_id = {o.song_id: o for o in theirs}
    pairs = [(o, by_id[o.song_id]) for o in ours if o.song_id in by_id]

    a = np.array([o.genre_idx == o.true_idx for o, _ in pairs])
    b = np.array([o.genre_idx == o.true_idx for _, o in pairs])
    return compare_right(a, b, np.array([o.cluster for o, _ in pairs]), seed=seed)


def scores_json(found: Mapping[str, Scores]) -> dict[str, Any]:
    """Scores as ``results.json`` holds them."""
    return {kind: s.to_json() for kind, s in found.items()}


def frames_for(
    bundle: Bundle, manifest: Manifest, cache_dir: Path, on_done: Callable[[Song], None] = lambda _: None
) -> FrameSource:
    """The manifest's frames as this bundle wants them; raises FeatureError where its songs have others."""
    features = bundle.features
    cepstra = Cepstra(features.n_mfcc, features.lifter) if isinstance(features, CepstralSpec) else None
    # What a cepstrum or a row of statistics is of, or the features themselves.
    source_spec = getattr(features, "of", None) or features
    needed = {LogMelSpec: "audio files", ArraySpec: "ready-made arrays", TableSpec: "rows of a feature table"}
    found = contents(manifest)
    if found != needed[type(source_spec)]:
        raise FeatureError(
            f"the manifest's songs are {found}, model {bundle.name} needs {needed[type(source_spec)]}; give a manifest "
            "of the kind it was trained on"
        )
    log_mel = source_spec if isinstance(source_spec, LogMelSpec) else LogMelSpec()
    slices = None if isinstance(features, TableSpec) else bundle.slices
    source = open_frames(manifest, log_mel, slices, cache_dir, cepstra=cepstra, on_done=on_done)
    if isinstance(features, TableSpec) and features.of is not None:
        source = statistics_table(source, features.n_mels // len(STATISTICS))
    if source.spec != features:
        raise FeatureError(
            f"{manifest.root}: {_difference(source.spec, features, bundle.name)}; give a manifest of the kind it was "
            "trained on"
        )
    return source


def _difference(found: FeatureSpec, needed: FeatureSpec, name: str) -> str:
    """How songs' features are unlike those that a model needs, in words; of tables by columns and length of rows."""
    if isinstance(found, TableSpec) and isinstance(needed, TableSpec) and found.of == needed.of:
        if found.columns == needed.columns:
            return f"a row stands for {found.row_s:g} s, model {name} needs rows of {needed.row_s:g} s"
        odd = [column for column in found.columns if column not in needed.columns]
        absent = [column for column in needed.columns if column not in found.columns]
        lists = [f"{what} {', '.join(some[:10])}" for what, some in (("lacks", absent), ("has also", odd)) if some]
        order = "has the columns in another order"
        return f"the table {' and '.join(lists) or order}, model {name} needs its {len(needed.columns)} columns alone"
    return f"the songs are {found}, model {name} needs {needed}"


def check_songs(bundle: Bundle, manifest: Manifest, *, allow_seen: bool) -> Sequence[str]:
    """The songs that a bundle has seen among those that it is to be scored on; raises as ``evaluate``."""
    if not manifest.usable:
        raise ManifestError(
            f"nothing to evaluate: none of {len(manifest.songs)} songs has a genre and no fault; see the manifest's "
            "columns genre, fault and split"
        )
    unknown = sorted({song.genre for song in manifest.usable} - set(bundle.labels))
    if unknown:
        raise ManifestError(
            f"the manifest has genres {', '.join(unknown)} that model {bundle.name} does not know; it knows "
            f"{', '.join(bundle.labels)}; leave those songs out"
        )
    seen = overlap([(s.song_id, s.sha256) for s in bundle.songs_seen], manifest.usable)
    if seen and not allow_seen:
        raise LeakError(
            f"model {bundle.name} has seen {len(seen)} of the {len(manifest.usable)} songs, among them "
            f"{', '.join(seen[:10])}; an accuracy on them would mean nothing. Leave them out, or say --allow-seen and "
            "the result will say so too",
            seen,
        )
    return seen


def evaluate(
    bundle: Bundle,
    manifest: Manifest,
    cache_dir: Path,
    *,
    route: Route | None = None,
    allow_seen: bool = False,
    taxonomy: Taxonomy | None = None,
    on_song: Callable[[], None] = lambda: None,
    on_frames: Callable[[Song], None] = lambda _: None,
) -> dict[str, Any]:
    """Scores of a bundle on a manifest's songs, as ``results.json`` holds them; its mistakes too, under a ``taxonomy``.

    Raises:
        LeakError: songs that the bundle has seen are among them, unless ``allow_seen``, and then the result says so.
        ManifestError: genres that the bundle does not know, or nothing to evaluate.
    """
    seen = check_songs(bundle, manifest, allow_seen=allow_seen)
    source = frames_for(bundle, manifest, cache_dir, on_frames)
    found = outcomes(bundle, source.songs, source.frames, cache_dir, route, on_song)
    if not found:
        reasons = "".join(f"\n  {song_id}: {why}" for song_id, why in list(source.errors.items())[:10])
        raise ManifestError(f"nothing to evaluate: no song has a slice that is loud enough to judge{reasons}")
    route = route or bundle.route
    whole = route.decoder == "soft" or not routing_nodes(bundle.tree)
    warnings = [f"{song_id} left out: {why}" for song_id, why in source.errors.items()]
    warnings += left_out(source.songs, found)
    if not whole:
        warnings.append(PARTIAL)
    if seen:
        warnings.append(f"{len(seen)} of these songs were seen in training: this is no estimate of accuracy")
    return {
        "model": bundle.name,
        "digest": bundle.digest,
        "route": {"decoder": route.decoder, "unit": route.unit, "aggregation": route.aggregation},
        "n_songs": len(found),
        "n_seen": len(seen),
        "labels": list(bundle.labels),
        **scores_json(scores(found, bundle.labels)),
        "middle_slice": middle_scores(found, bundle.labels).to_json(),
        "confidence": confidence(found, whole=whole),
        **({"taxonomy": under_taxonomy(found, bundle.labels, taxonomy, whole=whole)} if taxonomy else {}),
        "warnings": warnings,
    }
