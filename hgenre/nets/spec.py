"""What a net is made of; travels in the bundle. Importing this costs nothing: no flax here."""

from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from hgenre.errors import BundleError

Precision = Literal["float32", "bfloat16"]
"""Of what passes between the layers while a net is trained; no part of the net."""
Cell = Literal["gru", "lstm"]
Stem = Literal["pretrained", "new"]

NETS: dict[str, tuple[str, ...]] = {
    "short_chunk": ("widths", "dropout"),
    "deep_cnn": ("widths", "dense_widths", "dropout", "norm"),
    "base_cnn": ("widths", "dense_widths"),
    "crnn": ("widths", "dense_widths", "dropout", "cell", "recurrent_width"),
    "cnn_rnn": ("widths", "dense_widths", "dropout", "cell", "recurrent_width"),
    "lmfcc_cnn": ("widths", "dropout"),
    "mlp": ("dense_widths", "dropout", "norm"),
    "fma_cnn": ("widths", "dense_widths", "dropout"),
    "vgg16": ("dense_widths", "dropout", "input_size", "stem"),
}
"""Every kind of net, built by the module of the same name, with the fields of its spec that it reads."""

_N_WIDTHS = {
    "base_cnn": {"widths": 2, "dense_widths": 1},
    "lmfcc_cnn": {"widths": 3},
    "fma_cnn": {"widths": 2, "dense_widths": 1},
}
"""How many widths the kinds need that are not free in it."""


@dataclass(frozen=True)
class NetSpec:
    """One net: its kind and its free sizes.

    Attributes:
        kind: a key of ``NETS``. A field that the kind does not read keeps its default.
        widths: channels of the convolutions, first to last.
        dense_widths: widths of the hidden dense layers, first to last; perhaps none.
        dropout: probability of dropping a unit where the net does that in training.
        norm: whether layers have a BatchNorm.
        cell, recurrent_width: kind and width of the recurrent layer.
        input_size: (mel, frame) that the net resizes a slice to; None takes it as it is.
        stem: ``pretrained`` has VGG16's own first two convolutions, ``new`` trains two in their place.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    kind: str = "short_chunk"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    dense_widths: tuple[int, ...] = (256, 64)
    dropout: float = 0.3
    norm: bool = True
    cell: Cell = "gru"
    recurrent_width: int = 64
    input_size: tuple[int, int] | None = None
    stem: Stem = "pretrained"


def net_problems(spec: NetSpec) -> list[tuple[str, Any, str]]:
    """Every (field, what was found, what is needed) that makes no net."""
    if spec.kind not in list(NETS):
        return [("kind", spec.kind, f"one of {', '.join(NETS)}")]
    rules: dict[str, tuple[bool, str]] = {
        "widths": (min(spec.widths, default=0) >= 1, "widths of at least 1"),
        "dense_widths": (min(spec.dense_widths, default=1) >= 1, "widths of at least 1"),
        "dropout": (0 <= spec.dropout < 1, "a dropout in [0, 1)"),
        "norm": (isinstance(spec.norm, bool), "true or false"),
        "cell": (spec.cell in get_args(Cell), "gru or lstm"),
        "recurrent_width": (spec.recurrent_width >= 1, "at least 1"),
        "input_size": (min(spec.input_size or (1,)) >= 1, "a height and a width of at least 1"),
        "stem": (spec.stem in get_args(Stem), "pretrained or new"),
    }
    problems: list[tuple[str, Any, str]] = []
    for field in fields(spec)[1:]:
        name, value = field.name, getattr(spec, field.name)
        is_fine, needed = rules[name]
        n_widths = _N_WIDTHS.get(spec.kind, {}).get(name)
        if name not in NETS[spec.kind]:
            if value != field.default:
                problems.append((name, value, f"nothing: {spec.kind} has no {name} and reads {_and(NETS[spec.kind])}"))
        elif not is_fine:
            problems.append((name, value, needed))
        elif n_widths is not None and len(value) != n_widths:
            problems.append((name, value, f"{n_widths} of them for {spec.kind}"))
    return problems


def _and(names: tuple[str, ...]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def net_to_json(spec: NetSpec) -> dict[str, Any]:
    """The spec as plain JSON values."""
    return asdict(spec)


def net_from_json(values: dict[str, Any]) -> NetSpec:
    """Inverse of ``net_to_json``; raises BundleError on fields, kinds or sizes that make no net.

    Values written before a field was known go without it.
    """
    try:
        size = values.get("input_size")
        spec = NetSpec(
            kind=values["kind"],
            widths=tuple(int(w) for w in values["widths"]),
            dense_widths=tuple(int(w) for w in values["dense_widths"]),
            dropout=float(values["dropout"]),
            norm=values.get("norm", True),
            cell=values.get("cell", "gru"),
            recurrent_width=int(values.get("recurrent_width", 64)),
            input_size=None if size is None else (int(size[0]), int(size[1])),
            stem=values.get("stem", "pretrained"),
        )
    except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise BundleError(f"net spec {values!r} cannot be read: {type(error).__name__} {error}") from None
    if problems := net_problems(spec):
        told = "; ".join(f"{field}: found {found!r}, needed {needed}" for field, found, needed in problems)
        raise BundleError(f"net spec of kind {spec.kind!r} makes no net: {told}; use the hgenre that wrote it")
    return spec
