"""The routing options that several commands share."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from hgenre.tree.route import Route


class DecoderOption(StrEnum):
    soft = "soft"
    hard = "hard"


class UnitOption(StrEnum):
    slice = "slice"
    song = "song"


class AggregationOption(StrEnum):
    majority = "majority"
    mean_probability = "mean_probability"
    mean_log_probability = "mean_log_probability"


Decoder = Annotated[
    DecoderOption | None,
    typer.Option("--route", help="soft: all nets, full posterior. hard: only entered nets run. Default: the model's."),
]
Unit = Annotated[
    UnitOption | None, typer.Option("--unit", help="With --route hard: each slice, or the song's vote, finds the way.")
]
Aggregation = Annotated[AggregationOption | None, typer.Option("--vote", help="How slices become a song's answer.")]


def chosen_route(
    default: "Route", decoder: DecoderOption | None, unit: UnitOption | None, vote: AggregationOption | None
) -> "Route":
    """The model's own route with what the user set in its place."""
    from dataclasses import replace

    options = {"decoder": decoder, "unit": unit, "aggregation": vote}
    chosen: dict[str, Any] = {name: str(value) for name, value in options.items() if value}
    route = replace(default, **chosen)
    if unit is not None and route.decoder != "hard":
        raise typer.BadParameter("--unit needs --route hard: under soft routing no slice takes one way")
    return route
