"""Drop a genre: what the other genres gain when one is never heard of, and how much of that needed no learning."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hgenre.errors import ConfigError, ManifestError, OptionError
from hgenre.evaluate import SongOutcome, compare
from hgenre.held_out import song_outcomes
from hgenre.labels import Labels
from hgenre.metrics.intervals import wilson
from hgenre.studies.folds import OutOfFold
from hgenre.studies.protocols import Learners, OnProgress, figures, learn
from hgenre.training.prepare import Prepared, fold_protocol
from hgenre.training.progress import Progress


def ablate(
    prepared: Prepared,
    held_out: Sequence[Sequence[str]],
    dropped: Sequence[str],
    learners: Learners,
    *,
    command: str = "",
    on_progress: OnProgress = lambda share_done, what, progress: None,
) -> dict[str, Any]:
    """Learners with all genres and, for each dropped genre by itself, without it, as plain JSON values.

    The model with all genres is trained once. All figures are of the remaining genres' songs among those set aside:

    * ``before``: the model with all genres;
    * ``barred``: the same model, the dropped genre's probability set to 0 in every slice before the vote;
    * ``after``: a model trained without the dropped genre's songs, the same songs set aside.

    Args:
        held_out: song ids that each fold sets aside, see ``fold_ids``.
        dropped: genres.

    Returns:
        * ``labels``, ``n_folds`` (those run), ``seconds``, ``not_run`` (nets or kind of classifier: why), ``warnings``;
        * ``dropped``: genre -> ``n_songs``, ``seconds`` and ``models``: model -> ``before, barred, after`` (see
          ``figures``), ``change`` (after less before), ``change_barred`` (barred less before), ``change_learned``
          (after less barred), each a ``compare_right``, and ``per_genre``, a row for each remaining genre with songs
          set aside: ``genre, n``, songs right ``before, barred, after`` (``accuracy, interval``) and the changes.

    Raises:
        OptionError: a genre that is not there, or that leaves fewer than two.
        ConfigError: a tree is asked for and the configuration gives no groups.
        ManifestError: all songs set aside are of the dropped genre.
    """
    started = time.perf_counter()
    protocol = fold_protocol(prepared.config)
    _check(prepared, dropped, learners)
    remaining_of = {genre: _remaining(prepared, held_out, genre) for genre in dropped}

    def step(i: int, what: str) -> OnProgress:
        def report(share: float, doing: str, progress: Progress | None) -> None:
            on_progress((i + share) / (len(remaining_of) + 1), f"{what}: {doing}", progress)

        return report

    whole = learn(prepared, held_out, learners, command=command, on_progress=step(0, "all genres"))
    results: dict[str, Any] = {
        "labels": list(prepared.labels),
        "n_folds": len(held_out),
        "dropped": {},
        "not_run": dict(whole.not_run),
        "warnings": list(whole.warnings),
    }
    for i, (genre, remaining) in enumerate(remaining_of.items(), start=1):
        found = learn(
            without_genre(prepared, genre),
            remaining,
            replace(learners, net=whole.nets is not None, classical=tuple(whole.classical)),
            command=command,
            on_progress=step(i, f"without {genre}"),
        )
        genre_idx = prepared.labels.index(genre)
        models = {}
        for name, (folds, own_name) in whole.models.items():
            if name not in found.answers:
                continue
            before = [o for o in whole.answers[name] if o.true_idx != genre_idx]
            barred = [o for o in barred_answers(folds, own_name, genre_idx) if o.true_idx != genre_idx]
            after = found.answers[name]
            models[name] = {
                "before": figures(before, prepared.labels, protocol),
                "barred": figures(barred, prepared.labels, protocol),
                "after": figures(after, found.prepared.labels, protocol),
                **_changes(before, barred, after),
                "per_genre": _per_genre(before, barred, after, prepared.labels),
            }
        n_songs = sum(map(len, remaining))
        results["dropped"][genre] = {"n_songs": n_songs, "seconds": sum(found.seconds.values()), "models": models}
        results["not_run"] |= {f"{kind} without {genre}": why for kind, why in found.not_run.items()}
        results["warnings"] += found.warnings
    results["warnings"] = list(dict.fromkeys([*prepared.warnings, *results["warnings"]]))
    return {**results, "seconds": time.perf_counter() - started}


def without_genre(prepared: Prepared, genre: str) -> Prepared:
    """The songs of all other genres, and a configuration whose groups do not hold this one."""
    songs = tuple(song for song in prepared.songs if song.genre != genre)
    tree = prepared.config.tree
    if tree.groups is not None:
        tree = replace(tree, groups=pruned(tree.groups, genre))
    return replace(
        prepared,
        config=replace(prepared.config, tree=tree),
        labels=Labels(tuple(other for other in prepared.labels if other != genre)),
        songs=songs,
        source=replace(prepared.source, songs=songs),
    )


def pruned(groups: Mapping[str, Any] | Sequence[Any], genre: str) -> list[Any]:
    """Nested groups, as a configuration writes them, without a genre.

    An empty group goes, and a group of one stands for what it holds.
    """
    left: list[Any] = []
    for item in [groups] if isinstance(groups, str | Mapping) else groups:
        if isinstance(item, str):
            left += [item] if item != genre else []
        elif isinstance(item, Mapping):
            for name, inner in item.items():
                rest = pruned(inner, genre)
                left += [{name: rest}] if len(rest) > 1 else rest
        else:
            left += pruned(item, genre)
    # Where groups overlap, two of them may shrink to the same genre.
    return [item for i, item in enumerate(left) if item not in left[:i]]


def barred_answers(folds: OutOfFold, model: str, genre_idx: int) -> list[SongOutcome]:
    """A model's answers if no slice may be this genre: its probability is 0, and the others' sum to 1 again."""
    answers = []
    for held in folds.heard:
        logp = held.models[model].log_posterior()
        logp[:, genre_idx] = -np.inf
        logp -= np.logaddexp.reduce(logp, axis=1, keepdims=True)
        answers += song_outcomes(held, logp)
    return answers


def _check(prepared: Prepared, dropped: Sequence[str], learners: Learners) -> None:
    labels = prepared.labels
    known = ", ".join(labels)
    problems = [
        ("drop", f"found {genre!r}, which is no genre of these songs; they have {known}")
        for genre in dropped
        if genre not in labels.genres
    ]
    if not dropped:
        problems.append(("drop", f"no genre was named; the songs have {known}"))
    if len(labels) < 3:
        problems.append(("drop", f"without one of {known} one genre is left; a classifier needs at least two"))
    if problems:
        raise OptionError(problems)
    if learners.tree and prepared.config.tree.groups is None:
        problem = "is missing: groups found in the flat net's confusions would differ with the genre; give the groups"
        raise ConfigError(prepared.config.name, [("tree.groups", problem)])


def _remaining(prepared: Prepared, held_out: Sequence[Sequence[str]], genre: str) -> list[list[str]]:
    """The songs of other genres that each fold sets aside; folds without any are left out."""
    genre_of = {song.song_id: song.genre for song in prepared.songs}
    remaining = [[song_id for song_id in ids if genre_of[song_id] != genre] for ids in held_out]
    if not any(remaining):
        raise ManifestError(
            f"all {sum(map(len, held_out))} songs set aside are of the dropped genre {genre!r}, so there is nothing to "
            "compare; run more folds"
        )
    return [ids for ids in remaining if ids]


def _changes(
    before: Sequence[SongOutcome], barred: Sequence[SongOutcome], after: Sequence[SongOutcome]
) -> dict[str, Any]:
    return {
        "change": compare(after, before),
        "change_barred": compare(barred, before),
        "change_learned": compare(after, barred),
    }


def _per_genre(
    before: Sequence[SongOutcome], barred: Sequence[SongOutcome], after: Sequence[SongOutcome], labels: Labels
) -> list[dict[str, Any]]:
    # The model without the genre counts the others anew, so songs are told apart by what the whole model knows.
    genre_of = {o.song_id: o.true_idx for o in before}
    rows = []
    for genre_idx in sorted(set(genre_of.values())):
        own = [[o for o in answers if genre_of[o.song_id] == genre_idx] for answers in (before, barred, after)]
        right = dict(zip(("before", "barred", "after"), map(_accuracy, own), strict=True))
        rows.append({"genre": labels.genres[genre_idx], "n": len(own[0]), **right, **_changes(*own)})
    return rows


def _accuracy(answers: Sequence[SongOutcome]) -> dict[str, Any]:
    n_right = sum(o.genre_idx == o.true_idx for o in answers)
    return {"accuracy": n_right / len(answers), "interval": list(wilson(n_right, len(answers)))}
