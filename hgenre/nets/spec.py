"""What a net is made of; travels in the bundle. Importing this costs nothing: no flax here."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from hgenre.errors import BundleError

NetKind = Literal["short_chunk", "deep_cnn"]
Precision = Literal["float32", "bfloat16"]
"""Of what passes between the layers while a net is trained; no part of the net."""


@dataclass(frozen=True)
class NetSpec:
    """One net: its kind and its free sizes.

    Attributes:
        kind: ``short_chunk`` (compact residual CNN) or ``deep_cnn`` (four convolutions and three dense layers).
        widths: channels of the convolutions, first to last.
        dense_widths: ``deep_cnn`` only: widths of the two hidden dense layers.
        dropout: probability of dropping a unit before (``short_chunk``) or after (``deep_cnn``) the dense layers.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "allow_inf_nan": False}

    kind: NetKind = "short_chunk"
    widths: tuple[int, ...] = (16, 32, 64, 128)
    dense_widths: tuple[int, ...] = (256, 64)
    dropout: float = 0.3


def net_to_json(spec: NetSpec) -> dict[str, Any]:
    """The spec as plain JSON values."""
    return asdict(spec)


def net_from_json(values: dict[str, Any]) -> NetSpec:
    """Inverse of ``net_to_json``; raises BundleError on fields, kinds or sizes that make no net."""
    try:
        spec = NetSpec(
            kind=values["kind"],
            widths=tuple(int(w) for w in values["widths"]),
            dense_widths=(int(values["dense_widths"][0]), int(values["dense_widths"][1])),
            dropout=float(values["dropout"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise BundleError(f"net spec {values!r} cannot be read: {type(error).__name__} {error}") from None
    if spec.kind not in ("short_chunk", "deep_cnn"):
        raise BundleError(f"net of kind {spec.kind!r}; this version knows short_chunk and deep_cnn")
    sizes = (*spec.widths, *spec.dense_widths)
    if not spec.widths or min(sizes) < 1 or not 0 <= spec.dropout < 1:
        raise BundleError(f"net spec {values!r} needs widths of at least 1 and a dropout in [0, 1)")
    return spec
