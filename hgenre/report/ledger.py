"""The routing ledger in words: what its tables and figures are called, in reports and on the terminal."""

from collections.abc import Mapping
from typing import Any

from hgenre.report.figures import percent, points

Json = Mapping[str, Any]

SQUARE = (("A", "right"), ("L", "lost inside the group")), (("R", "lost by the choice of group"), ("B", "lost by both"))
"""Cells and what they mean, in the rows of ROUTED and the columns of FOUND."""
ROUTED = ("sent to its group", "sent to another group")
FOUND = ("its genre found there", "another genre found there")

NODE_COLUMNS = ("node", "chooses", "songs whose way passes it", "of them sent wrong", "songs lost here")


def node_rows(ledger: Json) -> list[tuple[str, ...]]:
    """A row of NODE_COLUMNS a node, root first; a song that several nodes lose is shared by them."""
    return [
        (
            node["node"],
            "the group" if node["routes"] else "the genre",
            str(node["n_passing"]),
            str(node["n_wrong"]),
            f"{node['blame']:.1f}",
        )
        for node in ledger["songs"]["nodes"]
    ]


def ledger_facts(ledger: Json) -> list[str]:
    """What the table of songs comes to."""
    songs = ledger["songs"]
    given, router = songs["accuracy_given_right_routing"], songs["nodes"][0]["node"]
    return [
        f"group chosen rightly {percent(songs['routing_accuracy'])}; genre found, given the right group "
        f"{'–' if given is None else percent(given)}",
        f"right if {router} alone never erred (A + R) {percent(songs['oracle_router_accuracy'])}; if it guessed, each "
        f"group as often as now, {percent(ledger['random_router']['A'])}",
        f"covariance {points(songs['covariance'])} points (above 0: songs hard to route are hard to name)",
        f"one path a song: {percent(songs['hard_accuracy'])} right (A, and {songs['rescued']} rescued by another group "
        f"that holds their genre); one path a slice, then a vote: {points(ledger['residue'])} points beside A",
    ]
