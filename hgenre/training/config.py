"""A run's configuration in frozen dataclasses; ``hgenre.training.border`` reads and checks it."""

from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from hgenre.features.spec import MelScale
from hgenre.nets.spec import NetSpec, Precision

_STRICT: dict[str, Any] = {"extra": "forbid", "allow_inf_nan": False}


@dataclass(frozen=True)
class ArraysConfig:
    """Spectrograms in an archive, taken over as ``hgenre import-features`` does; see there.

    Attributes:
        archive: ``.npz`` file; a path as ``DataConfig.manifest``.
        join: CSV by song id with what else is known of the songs, a path too.
        ids_key: where the archive keeps the song ids.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    archive: str
    frame_rate_hz: float
    scale: str
    db_per_unit: float | None = None
    join: str = ""
    ids_key: str | None = None


@dataclass(frozen=True)
class DataConfig:
    """Which songs, and how they are split.

    Attributes:
        manifest: CSV in the contract's columns; relative to the configuration file; ``$NAME`` is expanded.
        arrays: in place of a manifest, an archive of spectrograms.
        table: in place of a manifest, a CSV with rows of features, read as it is: the public tables of GTZAN and FMA,
            or what ``hgenre features table`` wrote; a path too.
        join: with ``table``: CSV by song id with what else is known of its songs; a path too.
        statistics: take 140 statistics of MFCC over a song, FMA's set, in place of its ready-made spectrogram.
        genres: only songs of these; empty takes all.
        protocol: ``artist`` keeps artists (and duplicates) on one side, ``song`` keeps songs (and duplicates) on one
            side, ``listed`` takes ``lists`` or the manifest's own split column. ``slice-random`` splits and scores
            single slices without regard to songs, as much of the literature does: it leaks.
        lists: with ``listed``: ``train``, ``test`` and perhaps ``valid``, each a text file with one song id a line.
        test_share: share of songs set aside for the result.
        validation_share: share of the remaining songs for early stopping, temperatures and grouping.
        use_splits: only songs whose split column holds one of these; empty takes all.
        seed: of the split.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    manifest: str = ""
    arrays: ArraysConfig | None = None
    table: str = ""
    join: str = ""
    statistics: bool = False
    genres: tuple[str, ...] = ()
    protocol: Literal["song", "artist", "listed", "slice-random"] = "artist"
    lists: dict[str, str] = field(default_factory=dict)
    test_share: float = 0.2
    validation_share: float = 0.15
    use_splits: tuple[Literal["train", "valid", "test", "dropped"], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class CepstraConfig:
    """MFCC in place of mel bands; see ``Cepstra``."""

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    n_mfcc: int = 13
    lifter: int = 0


@dataclass(frozen=True)
class FeatureConfig:
    """Log-mel features and slices; see ``LogMelSpec``.

    Ready-made arrays bring their own spec and take only slices and ``cepstra``; a row of a table is a slice.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    sample_rate_hz: int = 16000
    n_fft: int = 1024
    hop_length: int = 512
    n_mels: int = 96
    fmin_hz: float = 0.0
    fmax_hz: float = 8000.0
    mel_scale: MelScale = "slaney"
    slice_s: float = 3.0
    step_s: float = 3.0
    normalise: Literal["training", "song"] = "training"
    cepstra: CepstraConfig | None = None


@dataclass(frozen=True)
class TreeConfig:
    """The groups, or how to find them.

    Attributes:
        groups: nested tables and lists of genres; None derives groups from the flat net's held-out confusions.
        grouping: in place of groups, a file that ``hgenre group derive`` wrote; a path as ``DataConfig.manifest``.
            ``read_config`` puts its groups into ``groups``; no song that they were derived from may be tested.
        n_groups: with derived groups: how many; None lets the confusions choose.
        warm_start: nodes start from the flat net's weights where they have its net spec (as HD-CNN, Yan et al. 2015).
        joint_epochs: epochs in which root and specialists, each trained by itself, are then tuned together on the
            tree's own loss; 0 leaves that out. What validation songs do not gain by is not kept.
        joint_learning_rate: highest learning rate of those epochs.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    groups: dict[str, Any] | list[Any] | None = None
    grouping: str = ""
    n_groups: int | None = None
    warm_start: bool = True
    joint_epochs: int = 0
    joint_learning_rate: float = 4e-4


@dataclass(frozen=True)
class RivalsConfig:
    """What a tree is held against beside the flat net; a report without one of them says so in its first line.

    Attributes:
        flat_ensembles: flat nets that differ by their seeds, averaged: as many as the tree has nets, and two.
        shared_trunk: one net with one head a node.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    flat_ensembles: bool = True
    shared_trunk: bool = True


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW; without weight decay it is Adam.

    Attributes:
        schedule: of the learning rate: a warm-up and a cosine down to zero, or the same at every step.
        keep: the epoch with the best validation song log-loss, or the last, whatever ``patience`` says.
        slices_per_song: random crops a song and epoch (an epoch of a node counts its own songs).
        min_steps: a node with few songs has at least so many steps an epoch.
        patience: epochs without improvement before training stops.
        balance: 0 draws songs alike; 1 draws genres alike.
        precision: of what passes between layers; parameters, BatchNorm's statistics and the loss are float32.
        steps_per_dispatch: steps that the device runs in one call.
        resident: whether all frames a net learns from are copied to the device once and cut there.

    The last three are meant for accelerators, where none of them has been measured. On a CPU several steps a call are
    many times slower, and bfloat16 gains nothing.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    epochs: int = 40
    batch_size: int = 64
    slices_per_song: int = 4
    min_steps: int = 4
    learning_rate: float = 4e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    keep: Literal["best", "last"] = "best"
    weight_decay: float = 1e-2
    label_smoothing: float = 0.05
    patience: int = 12
    balance: float = 1.0
    precision: Precision = "float32"
    steps_per_dispatch: int = 1
    resident: bool = False


@dataclass(frozen=True)
class AugmentConfig:
    """What training does to a slice, beside cutting it at a random time; 0 switches a kind off.

    Attributes:
        gain_db: level error, uniform in +-.
        tilt_db: spectral tilt from lowest to highest band, uniform in +-.
        n_freq_masks, freq_mask_mels, n_time_masks, time_mask_frames: SpecAugment (Park et al. 2019), masks up to so
            wide.
        mixup_alpha: Beta(alpha, alpha) mixing weights (Zhang et al. 2018).
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    gain_db: float = 3.0
    tilt_db: float = 6.0
    n_freq_masks: int = 2
    freq_mask_mels: int = 12
    n_time_masks: int = 2
    time_mask_frames: int = 10
    mixup_alpha: float = 0.0


FoldProtocol = Literal["slice-random", "song", "artist"]
"""From the one that leaks most to the one that leaks least."""


@dataclass(frozen=True)
class Reported:
    """One figure that somebody published of a system; it gets a row of its own.

    Attributes:
        name: of the row; the recipe's title where empty.
        model: whose figure of ours stands beside it: ``flat``, ``tree``, or the kind of a classical classifier, as in
            ``svm`` and ``svm tree``.
        protocol: under which of the recipe's protocols; the first where empty.
        figure: whether songs were answered, or slices.
        percent: right answers; None where no number was given.
        said: what was said of it in words.
        n: songs or slices that were answered; None where that is unknown.
        is_same_data: whether our songs are of the same genres and form, so that the two figures can agree.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str = ""
    model: str = "flat"
    protocol: FoldProtocol | Literal[""] = ""
    figure: Literal["song", "slice"] = "song"
    percent: float | None = None
    said: str = ""
    n: int | None = None
    is_same_data: bool = True


@dataclass(frozen=True)
class RecipeConfig:
    """A published system that the configuration runs, for ``hgenre reproduce``.

    Attributes:
        row: its place among the recipes.
        title: the system in a few words.
        source: how its figures were measured, in words.
        reported: its figures.
        differences: why ours need not agree, a sentence each.
        protocols: under which it is run; the configuration's own where empty.
        n_folds: into how many parts the songs are split; each tests once, or only the first ``folds_run`` of them do.
        with_tree: whether the configuration's tree is trained, or its flat net alone.
        with_net: False where classical classifiers are all there is.
        classical: kinds of classical classifiers, see ``hgenre.baselines``.
        without: a genre; the recipe is then about leaving its songs out, as ``hgenre ablate`` does.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    row: int
    title: str
    source: str
    reported: tuple[Reported, ...] = ()
    differences: tuple[str, ...] = ()
    protocols: tuple[FoldProtocol, ...] = ()
    n_folds: int = 5
    folds_run: int = 1
    with_tree: bool = False
    with_net: bool = True
    classical: tuple[str, ...] = ()
    without: str = ""


@dataclass(frozen=True)
class RunConfig:
    """One training run.

    Attributes:
        net: of root and flat net.
        specialist_net: of the other nodes; ``net`` when None.
        node_nets: of single nodes, by name.
        pretrained: file of weights that a net of kind ``vgg16`` starts from; a path as ``data.manifest``.
        next_net: progressive resizing: when ``net`` is trained, this one goes on from its layers of the same shapes.
        genre_sets: sets of genres whose songs are scored apart as well (answers may still be any genre).
        recipe: what the configuration reproduces.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = _STRICT

    name: str
    data: DataConfig = field(default_factory=DataConfig)
    seeds: tuple[int, ...] = (0,)
    features: FeatureConfig = field(default_factory=FeatureConfig)
    net: NetSpec = field(default_factory=NetSpec)
    specialist_net: NetSpec | None = None
    node_nets: dict[str, NetSpec] = field(default_factory=dict)
    pretrained: str = ""
    next_net: NetSpec | None = None
    tree: TreeConfig = field(default_factory=TreeConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    rivals: RivalsConfig = field(default_factory=RivalsConfig)
    genre_sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    licence: str = ""
    data_statement: str = ""
    recipe: RecipeConfig | None = None


def config_to_dict(config: RunConfig) -> dict[str, Any]:
    """The whole configuration, defaults resolved, as plain JSON values."""
    return asdict(config)
