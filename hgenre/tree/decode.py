"""Ways to an answer from one set of node outputs: hard, soft, beam and oracle decoding of many songs' slices at once.

The compiled program decodes while it runs the nets; here every net has answered every slice, so that one pass over the
music serves every decoder. Slices stand song by song, and a row depends on no song but its own.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from hgenre.tree.posterior import NodeLogp, log_posterior, routed_log_posterior, routing_nodes
from hgenre.tree.route import Unit
from hgenre.tree.spec import Node, TreeSpec, home_path
from hgenre.tree.vote import answer_songs, sum_sorted_slices

AnyDecoder = Literal["soft", "hard", "beam", "oracle"]


def decode(
    tree: TreeSpec,
    node_logp: NodeLogp,
    song_idx: np.ndarray,
    n_songs: int,
    *,
    decoder: AnyDecoder = "soft",
    unit: Unit = "slice",
    beam_width: int | None = None,
    true_idx: np.ndarray | None = None,
) -> np.ndarray:
    """Log-probabilities (slice, genre) along the paths that a decoder enters; ``-inf`` off them.

    A node routes where one of its children is a node; a node of genres only is never pruned, whoever enters it.

    * ``soft`` enters every path: the posterior, and each row's ``exp`` sums to 1.
    * ``hard`` enters at every node that routes the likeliest child of each slice, or under ``unit="song"`` the child
      that most of the song's slices prefer (ties by summed probability, then by the order of children).
    * ``beam`` keeps at every level the ``beam_width`` likeliest partial paths of each slice, or under ``unit="song"``
      those of the largest mean probability over the song's slices. A path that has come to a genre, or to a node of
      genres only, stands against longer ones as it is. As wide as there are paths it is ``soft``; of width 1 by slice
      it is ``hard`` by slice.
    * ``oracle`` enters the true genre's home at every node that routes; ``unit`` changes nothing.

    Args:
        node_logp: node -> (slice, child) natural log-probabilities for every node with two children or more; voiced
            slices only.
        song_idx: (slice,) int in [0, n_songs), not falling.
        true_idx: (song,) int, for ``oracle``.

    Raises:
        ValueError: songs are mixed up, or ``beam`` has no width or ``oracle`` no truth.
    """
    song_idx = np.asarray(song_idx)
    if len(song_idx) and ((np.diff(song_idx) < 0).any() or song_idx[0] < 0 or song_idx[-1] >= n_songs):
        raise ValueError(f"song_idx must not fall and lie in 0..{n_songs - 1}; sort the slices by song")
    node_logp = {name: np.asarray(logp, np.float64) for name, logp in node_logp.items()}
    match decoder:
        case "soft":
            return log_posterior(tree, node_logp)
        case "hard":
            chosen = routed_children(tree, node_logp, song_idx, n_songs, unit)
            by_slice = chosen if unit == "slice" else {name: child[song_idx] for name, child in chosen.items()}
            return routed_log_posterior(tree, node_logp, by_slice)
        case "oracle":
            if true_idx is None:
                raise ValueError("decoder 'oracle' needs true_idx, the true genre of every song")
            home, truth = home_children(tree), np.asarray(true_idx)[song_idx]
            return routed_log_posterior(tree, node_logp, {n.name: home[n.name][truth] for n in routing_nodes(tree)})
        case "beam":
            if beam_width is None or beam_width < 1:
                raise ValueError(f"decoder 'beam' needs a beam_width of at least 1, found {beam_width}")
            return _beam(tree, node_logp, song_idx, n_songs, unit, beam_width)


def routed_children(
    tree: TreeSpec, node_logp: NodeLogp, song_idx: np.ndarray, n_songs: int, unit: Unit
) -> dict[str, np.ndarray]:
    """Node that routes -> (slice,) or (song,) child that hard routing enters there, wherever else the item may be.

    A song without slices prefers -1.
    """
    if unit == "slice":
        return {node.name: node_logp[node.name].argmax(axis=-1) for node in routing_nodes(tree)}
    return {
        node.name: answer_songs(sum_sorted_slices(node_logp[node.name], song_idx, n_songs)).genre_idx
        for node in routing_nodes(tree)
    }


def home_children(tree: TreeSpec) -> dict[str, np.ndarray]:
    """Node -> (genre,) index of the child on each genre's home path; -1 where that path does not pass the node."""
    home = {node.name: np.full(len(tree.labels), -1) for node in tree.nodes}
    for genre_idx, genre in enumerate(tree.labels):
        for node in home_path(tree, genre):
            if isinstance(node, Node):
                home[node.name][genre_idx] = node.home_child_idx(genre)
    return home


def _beam(
    tree: TreeSpec, node_logp: NodeLogp, song_idx: np.ndarray, n_songs: int, unit: Unit, width: int
) -> np.ndarray:
    def steps(end: Node | str, so_far: np.ndarray, *, into_genres: bool) -> Iterator[tuple[Node | str, np.ndarray]]:
        if isinstance(end, str) or not (into_genres or _routes(end)):
            yield end, so_far
            return
        for i, child in enumerate(end.children):
            yield child, so_far if len(end.children) == 1 else so_far + node_logp[end.name][:, i]

    paths: list[tuple[Node | str, np.ndarray]] = [(tree.root, np.zeros(len(song_idx)))]
    while any(_routes(end) for end, _ in paths):
        paths = [step for path in paths for step in steps(*path, into_genres=False)]
        logp = np.stack([logp for _, logp in paths], axis=-1)
        worth = logp if unit == "slice" else sum_sorted_slices(logp, song_idx, n_songs).sum_p
        rank = np.argsort(np.argsort(-worth, axis=-1, kind="stable"), axis=-1)
        kept = rank < width if unit == "slice" else (rank < width)[song_idx]
        paths = [(end, np.where(kept[:, i], logp[:, i], -np.inf)) for i, (end, _) in enumerate(paths)]
    found = np.full((len(song_idx), len(tree.labels)), -np.inf)
    for path in paths:
        for genre, logp in steps(*path, into_genres=True):
            column = found[:, tree.labels.index(str(genre))]
            np.logaddexp(column, logp, out=column)
    return found


def _routes(end: Node | str) -> bool:
    return isinstance(end, Node) and any(isinstance(child, Node) for child in end.children)
