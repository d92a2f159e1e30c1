"""Slow, independent ways to the same answers, each written from its definition."""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from hgenre.data.manifest import Song
from hgenre.tree.spec import Node, TreeSpec


def reachable_songs(song: Song, songs: Sequence[Song], by: str) -> set[str]:
    """Ids of the songs that are tied to ``song`` by chains of ids, checksums and (``by="artist"``) artists.

    Spreads over everything that ties, also ids of songs that are not in the list, until nothing is added.
    """
    tied_ids, tied_sha256, tied_artists = {song.song_id}, set[str](), set[str]()
    while True:
        before = len(tied_ids) + len(tied_sha256) + len(tied_artists)
        for other in songs:
            artist = " ".join(other.artist.lower().split()) if by == "artist" else ""
            if {other.song_id, other.duplicate_of} & tied_ids or other.sha256 in tied_sha256 or artist in tied_artists:
                tied_ids |= {other.song_id, other.duplicate_of} - {""}
                tied_sha256 |= {other.sha256} - {""}
                tied_artists |= {artist} - {""}
        if before == len(tied_ids) + len(tied_sha256) + len(tied_artists):
            return tied_ids & {other.song_id for other in songs}


def genre_paths(child: Node | str) -> list[tuple[tuple[tuple[Node, int], ...], str]]:
    """Every way from a child down to a genre: the (node, child index) it takes, and the genre."""
    if isinstance(child, str):
        return [((), child)]
    return [
        (((child, i), *steps), genre)
        for i, grandchild in enumerate(child.children)
        for steps, genre in genre_paths(grandchild)
    ]


def genre_probabilities(tree: TreeSpec, node_p: Mapping[str, Sequence[float]]) -> list[float]:
    """Probability of each genre in label order, by adding up the products of probabilities along its paths."""
    terms: dict[str, list[float]] = {genre: [] for genre in tree.labels}
    for steps, genre in genre_paths(tree.root):
        terms[genre].append(math.prod(node_p[node.name][i] for node, i in steps if len(node.children) > 1))
    return [math.fsum(terms[genre]) for genre in tree.labels]


def first_best(values: Sequence[float]) -> int:
    """Index of the first of the largest values."""
    return max(range(len(values)), key=lambda i: (values[i], -i))


def routed_probabilities(
    tree: TreeSpec, node_p_of_slice: Sequence[Mapping[str, Sequence[float]]], *, as_one: bool
) -> list[list[float]]:
    """Probability (slice, genre) after each slice entered the likeliest child at every node, 0 off its path.

    ``as_one``: the slices are a song's voiced slices and go the way that most of them prefer at each node; ties by
    summed probability, then by the order of children.
    """

    def choice(node: Node, voters: Sequence[Mapping[str, Sequence[float]]]) -> int:
        if len(node.children) == 1:
            return 0
        votes = [first_best(p[node.name]) for p in voters]
        return max(
            range(len(node.children)),
            key=lambda i: (votes.count(i), math.fsum(p[node.name][i] for p in voters), -i),
        )

    answers = []
    for node_p in node_p_of_slice:
        voters = node_p_of_slice if as_one else [node_p]
        here: Node | str = tree.root
        entered_p = 1.0
        answer = dict.fromkeys(tree.labels, 0.0)
        while isinstance(here, Node):
            p = [1.0] if len(here.children) == 1 else list(node_p[here.name])
            entered_idx = choice(here, voters)
            if any(isinstance(child, Node) for child in here.children):
                entered_p *= p[entered_idx]
                here = here.children[entered_idx]
                continue
            answer |= {str(genre): entered_p * share for genre, share in zip(here.children, p, strict=True)}
            break
        else:
            answer[here] = entered_p
        answers.append([answer[genre] for genre in tree.labels])
    return answers


def song_answer(p_of_slice: Sequence[Sequence[float]], aggregation: str) -> int:
    """Index of the genre that a song's voiced slices name together; the earlier label where nothing else decides."""
    genres = range(len(p_of_slice[0]))
    votes = [sum(first_best(p) == g for p in p_of_slice) for g in genres]
    sum_p = [math.fsum(p[g] for p in p_of_slice) for g in genres]
    sum_logp = [math.fsum(max(math.log(p[g]), -30.0) if p[g] > 0 else -30.0 for p in p_of_slice) for g in genres]
    match aggregation:
        case "majority":
            return max(genres, key=lambda g: (votes[g], sum_p[g], -g))
        case "mean_probability":
            return first_best(sum_p)
        case _:
            return first_best(sum_logp)


def negative_log_likelihood(
    temperature: float, logits: Sequence[Sequence[float]], child_idx: Sequence[int], weights: Sequence[float]
) -> float:
    """Weighted mean of ``-log softmax(logits / temperature)[child]``."""
    losses = []
    for row, child in zip(logits, child_idx, strict=True):
        total = math.fsum(math.exp((value - row[child]) / temperature) for value in row)
        losses.append(math.log(total))
    return math.fsum(w * loss for w, loss in zip(weights, losses, strict=True)) / math.fsum(weights)


def calibration_error(confidence: Sequence[float], right: Sequence[bool], n_bins: int) -> float:
    """Songs in ``n_bins`` of equal number by mean rank among all; gap of confidence and accuracy weighted by songs."""
    n = len(confidence)
    bins: dict[int, list[int]] = {}
    for i, sure in enumerate(confidence):
        below = sum(other < sure for other in confidence)
        alike = sum(other == sure for other in confidence)
        share_below = Fraction(2 * below + alike, 2 * n)
        bins.setdefault(math.floor(share_below * n_bins), []).append(i)
    return math.fsum(abs(math.fsum(confidence[i] - right[i] for i in songs)) for songs in bins.values()) / n


def mean_risks(confidence: Sequence[float], right: Sequence[bool]) -> list[float]:
    """Share of wrong answers among the first 1, 2, ... songs, mean over every order from the surest down."""
    songs = range(len(confidence))
    orders = [
        order
        for order in itertools.permutations(songs)
        if all(confidence[a] >= confidence[b] for a, b in itertools.pairwise(order))
    ]
    return [
        math.fsum(sum(not right[i] for i in o[:n]) / n for o in orders) / len(orders) for n in range(1, len(songs) + 1)
    ]


def routing_steps(steps: Sequence[tuple[Node, int]]) -> tuple[tuple[Node, int], ...]:
    """The steps of a genre's path that are a choice of where to go: all but the one at a node of genres only."""
    return tuple((node, i) for node, i in steps if any(isinstance(child, Node) for child in node.children))


def steps_probability(steps: Sequence[tuple[Node, int]], node_p: Mapping[str, Sequence[float]]) -> float:
    return math.prod(node_p[node.name][i] for node, i in steps if len(node.children) > 1)


def beam_probabilities(
    tree: TreeSpec, node_p_of_slice: Sequence[Mapping[str, Sequence[float]]], width: int, *, as_one: bool
) -> list[list[float]]:
    """Probability (slice, genre) over the paths that are among the ``width`` likeliest beginnings at every level."""

    def surviving(voters: Sequence[Mapping[str, Sequence[float]]]) -> list[tuple[tuple[tuple[Node, int], ...], str]]:
        paths = genre_paths(tree.root)
        for level in range(1, 1 + max(len(routing_steps(steps)) for steps, _ in paths)):
            begun = list(dict.fromkeys(routing_steps(steps)[:level] for steps, _ in paths))
            begun.sort(key=lambda steps: -math.fsum(steps_probability(steps, p) for p in voters))
            paths = [path for path in paths if routing_steps(path[0])[:level] in begun[:width]]
        return paths

    answers = []
    for node_p in node_p_of_slice:
        answer = dict.fromkeys(tree.labels, 0.0)
        for steps, genre in surviving(node_p_of_slice if as_one else [node_p]):
            answer[genre] += steps_probability(steps, node_p)
        answers.append([answer[genre] for genre in tree.labels])
    return answers


def oracle_probabilities(tree: TreeSpec, node_p: Mapping[str, Sequence[float]], truth: str) -> list[float]:
    """Probability of each genre over the paths that go where the first listing of the true genre is, while they can."""
    home = next(routing_steps(steps) for steps, genre in genre_paths(tree.root) if genre == truth)
    answer = dict.fromkeys(tree.labels, 0.0)
    for steps, genre in genre_paths(tree.root):
        if routing_steps(steps) == home:
            answer[genre] += steps_probability(steps, node_p)
    return [answer[genre] for genre in tree.labels]


def losing_node(tree: TreeSpec, truth: str, answer: str) -> str | None:
    """Name of the last node at which a song still could reach its true genre, when it goes home to its answer.

    None when the answer is right.
    """
    if truth == answer:
        return None
    here: Node | str = tree.root
    lost_at = ""
    while isinstance(here, Node) and any(genre == truth for _, genre in genre_paths(here)):
        lost_at = here.name
        here = next(child for child in here.children if any(genre == answer for _, genre in genre_paths(child)))
    return lost_at


def ancestors_and_heights(tree: TreeSpec, genre: str) -> tuple[set[str], list[dict[str, int]]]:
    """A genre's ancestors by name, itself among them but not the root; and each path's nodes with their heights."""

    def height(child: Node | str) -> int:
        return max(len(steps) for steps, _ in genre_paths(child))

    paths = [[node for node, _ in steps] for steps, end in genre_paths(tree.root) if end == genre]
    names = {node.name for path in paths for node in path} - {tree.root.name}
    return {genre} | names, [{node.name: height(node) for node in path} for path in paths]


def least_common_height(tree: TreeSpec, a: str, b: str) -> int:
    """Least height of the last node that a path to ``a`` and a path to ``b`` have in common; 0 for one genre."""
    if a == b:
        return 0
    ways = itertools.product(ancestors_and_heights(tree, a)[1], ancestors_and_heights(tree, b)[1])
    return min(min(height for name, height in one.items() if name in other) for one, other in ways)


def ledger_entry(tree: TreeSpec, choice: Mapping[str, int], truth: str) -> tuple[str, bool, dict[str, float]]:
    """What became of one item: its cell (A, L, R or B), whether it was answered right, and how it blames the nodes.

    The blame is the Shapley value by its definition: over all orders in which the nodes on the way home may be mended,
    how often mending this one is what makes the item right. An item that is answered right blames nobody.
    """
    home = next(steps for steps, genre in genre_paths(tree.root) if genre == truth)
    decisions = [(node.name, choice[node.name] == i) for node, i in home if len(node.children) > 1]
    (_, routed), below = decisions[0], [fine for _, fine in decisions[1:]]
    cell = {(True, True): "A", (True, False): "L", (False, True): "R", (False, False): "B"}[routed, all(below)]
    here: Node | str = tree.root
    while isinstance(here, Node):
        here = here.children[choice[here.name] if len(here.children) > 1 else 0]
    blame = {name: 0.0 for name, _ in decisions}
    if here != truth:
        orders = list(itertools.permutations(blame))
        for order in orders:
            lost = {name for name, fine in decisions if not fine}
            for name in order:
                if lost == {name}:
                    blame[name] += 1 / len(orders)
                lost -= {name}
    return cell, here == truth, blame


def calibrated_probabilities(
    tree: TreeSpec,
    logits_of_slice: Sequence[Mapping[str, Sequence[float]]],
    temperatures: Mapping[str, float],
    path_temperature: float,
    song_temperature: float,
) -> list[float]:
    """A song's genre probabilities: powers of probabilities, scaled to sum to 1, for the slices and for their mean."""

    def powers(p: Sequence[float], temperature: float) -> list[float]:
        raised = [value ** (1 / temperature) for value in p]
        return [value / math.fsum(raised) for value in raised]

    slices = []
    for logits in logits_of_slice:
        node_p = {n: powers([math.exp(v) for v in row], temperatures[n]) for n, row in logits.items()}
        slices.append(powers(genre_probabilities(tree, node_p), path_temperature))
    return powers([math.fsum(column) / len(slices) for column in zip(*slices, strict=True)], song_temperature)


def stopped_song(tree: TreeSpec, voted: str, path_p: Sequence[float], threshold: float) -> set[str]:
    """The genres of a song's answer: the smallest step that is sure enough of those that leave a genre out."""
    at: Node | str = tree.root
    steps = []
    while isinstance(at, Node):
        at = next(c for c in at.children if voted in ({c} if isinstance(c, str) else c.genres))
        steps.append({at} if isinstance(at, str) else set(at.genres))
    steps = [genres for genres in steps if genres != set(tree.labels)]
    sure = [genres for genres, p in zip(steps, path_p, strict=True) if p >= threshold]
    return min(sure, key=len, default=set())


def first_failing_threshold(
    tree: TreeSpec, songs: Sequence[tuple[str, str, Sequence[float]]], target: float, confidence: float, n_steps: int
) -> float | None:
    """The last of a row of thresholds before an exact binomial tail exceeds ``1 - confidence``.

    They answer evenly many songs more each, from as many as must all be right. A song is its true genre, its vote and
    the probabilities along the vote's path.
    """
    surest = sorted((path_p[0] for *_, path_p in songs), reverse=True)
    least = next(n for n in itertools.count(1) if target**n <= 1 - confidence)
    if least > len(songs):
        return None
    taken = None
    for i in range(n_steps):
        threshold = surest[round(least + (len(songs) - least) * i / (n_steps - 1)) - 1]
        answers = [(true, stopped_song(tree, voted, path_p, threshold)) for true, voted, path_p in songs]
        n = sum(bool(genres) for _, genres in answers)
        n_wrong = sum(bool(genres) and true not in genres for true, genres in answers)
        tail = math.fsum(math.comb(n, w) * (1 - target) ** w * target ** (n - w) for w in range(n_wrong + 1))
        if tail > 1 - confidence:
            break
        taken = threshold
    return taken


def change_ratio(bands: Sequence[Sequence[float]], part_frames: int, noise_variance: Sequence[float]) -> float:
    """Weighted mean over a slice's bands (mel, frame) in dB of the variance of part means re that of noise.

    A band weighs by its height above 30 dB below the loudest, and above -99 dB.
    """
    levels = [statistics.fmean(band) for band in bands]
    weights = [max(0.0, level - max(max(levels) - 30, -99)) for level in levels]
    whole_parts = [range(i, i + part_frames) for i in range(0, len(bands[0]) - part_frames + 1, part_frames)]
    ratios = [
        statistics.variance([statistics.fmean([band[i] for i in part]) for part in whole_parts]) / variance
        for band, variance in zip(bands, noise_variance, strict=True)
    ]
    return sum(w * r for w, r in zip(weights, ratios, strict=True)) / sum(weights)


def gru_last_state(weights: Mapping[str, Mapping[str, np.ndarray]], frames: np.ndarray) -> np.ndarray:
    """Cho et al. 2014 over frames (frame, channel), one step after the other, from a state of zeros."""
    state = np.zeros(weights["hn"]["kernel"].shape[0])
    for x in frames:
        reset, update = (_sigmoid(_affine(weights[f"i{g}"], x) + state @ weights[f"h{g}"]["kernel"]) for g in "rz")
        new = np.tanh(_affine(weights["in"], x) + reset * _affine(weights["hn"], state))
        state = (1 - update) * new + update * state
    return state


def lstm_last_state(weights: Mapping[str, Mapping[str, np.ndarray]], frames: np.ndarray) -> np.ndarray:
    """Hochreiter and Schmidhuber 1997 with a forget gate, over frames (frame, channel), from states of zeros."""
    state = memory = np.zeros(weights["hi"]["kernel"].shape[0])
    for x in frames:
        gates = {g: x @ weights[f"i{g}"]["kernel"] + _affine(weights[f"h{g}"], state) for g in "ifgo"}
        memory = _sigmoid(gates["f"]) * memory + _sigmoid(gates["i"]) * np.tanh(gates["g"])
        state = _sigmoid(gates["o"]) * np.tanh(memory)
    return state


def swept_logits(weights: Mapping[str, Mapping[str, np.ndarray]], coefficients: np.ndarray) -> np.ndarray:
    """The sweep over time of a slice (coefficient, frame): three convolutions with pools between, dense at the end."""
    n_steps = coefficients.shape[1] // 3
    kernel = weights["conv1"]["kernel"].reshape(3, len(coefficients), -1)
    rows = [
        sum(coefficients[:, 3 * step + i] @ kernel[i] for i in range(3)) + weights["conv1"]["bias"]
        for step in range(n_steps)
    ]
    for name in ("conv2", "conv3"):
        heard = [np.maximum(row, 0) for row in rows]
        pooled = [np.maximum(heard[i], heard[i + 1]) for i in range(0, len(heard) - 1, 2)]
        padded = [0 * pooled[0], *pooled, 0 * pooled[0]]
        kernel, bias = weights[name]["kernel"], weights[name]["bias"]
        rows = [sum(padded[t + i] @ kernel[i] for i in range(3)) + bias for t in range(len(pooled))]
    mean: np.ndarray = np.mean([np.maximum(row, 0) for row in rows], axis=0)
    return _affine(weights["logits"], mean)


def _affine(layer: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    product: np.ndarray = x @ layer["kernel"] + layer["bias"]
    return product


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def barred_vote(p: Sequence[Sequence[float]], barred: int) -> int:
    """The song's answer from slices' probabilities (slice, genre) where no slice may be the barred genre."""
    votes, sums = [0] * len(p[0]), [0.0] * len(p[0])
    for row in p:
        rest = [0.0 if genre == barred else value for genre, value in enumerate(row)]
        rest = [value / sum(rest) for value in rest]
        votes[rest.index(max(rest))] += 1
        sums = [before + value for before, value in zip(sums, rest, strict=True)]
    return max(range(len(votes)), key=lambda genre: (votes[genre], sums[genre]))


def newcombe(n_right_a: int, n_a: int, n_right_b: int, n_b: int) -> tuple[float, float]:
    """Newcombe's interval of a difference of proportions, method 10, at 95 %: from Wilson's bounds by bisection."""

    def wilson_bounds(n_right: int, n: int) -> tuple[float, float]:
        share = n_right / n

        def bound(inside: float, outside: float) -> float:
            # A proportion is inside where the share that was found lies within 1.96 of its standard errors.
            for _ in range(200):
                middle = (inside + outside) / 2
                is_inside = abs(share - middle) <= 1.959963984540054 * math.sqrt(middle * (1 - middle) / n)
                inside, outside = (middle, outside) if is_inside else (inside, middle)
            return inside

        return bound(share, 0.0), bound(share, 1.0)

    (low_a, high_a), (low_b, high_b) = wilson_bounds(n_right_a, n_a), wilson_bounds(n_right_b, n_b)
    p_a, p_b = n_right_a / n_a, n_right_b / n_b
    return (
        p_a - p_b - math.sqrt((p_a - low_a) ** 2 + (high_b - p_b) ** 2),
        p_a - p_b + math.sqrt((high_a - p_a) ** 2 + (p_b - low_b) ** 2),
    )


def groupings(genres: Sequence[str]) -> list[list[list[str]]]:
    """Every way to part genres into groups: the first stands alone, or joins a group of a way to part the others."""
    if not genres:
        return [[]]
    first, found = genres[0], []
    for groups in groupings(genres[1:]):
        found.append([[first], *groups])
        for i, group in enumerate(groups):
            found.append([*groups[:i], [first, *group], *groups[i + 1 :]])
    return found


def summed_tree_answer(
    groups: Sequence[Sequence[str]],
    p_flat: Mapping[str, float],
    p_probe: Mapping[frozenset[str], Mapping[str, float]],
    decoder: str,
) -> str:
    """A song's genre when the flat net's probabilities, summed by group, lead to a probe; earlier groups win ties."""
    mass = [math.fsum(p_flat[genre] for genre in group) for group in groups]
    if decoder == "hard":
        probe = p_probe[frozenset(groups[first_best(mass)])]
        return max(probe, key=lambda genre: probe[genre])
    joint = {
        genre: entered * p
        for group, entered in zip(groups, mass, strict=True)
        for genre, p in p_probe[frozenset(group)].items()
    }
    return max(joint, key=lambda genre: joint[genre])


def n_right_of_largest(
    value: Sequence[Sequence[float]], right: Sequence[Sequence[bool]], groups: Sequence[Sequence[int]]
) -> int:
    """Songs right in their group of largest value, by tables (subset, song); of equals the lowest first genre wins."""
    subsets = [sum(2**genre for genre in group) for group in sorted(groups, key=min)]
    return sum(
        right[subsets[first_best([value[subset][song] for subset in subsets])]][song] for song in range(len(value[0]))
    )


def probe_gradient(
    weights: np.ndarray,
    bias: np.ndarray,
    z: np.ndarray,
    genre_idx: np.ndarray,
    genres: Sequence[int],
    l2: float,
) -> float:
    """Largest absolute gradient of the mean cross-entropy over the songs of some genres + l2 / 2 * ||weights||^2.

    Over weights (feature, genre) and bias (genre,) of standardised features (song, feature).
    """
    slope, at_bias = l2 * weights.astype(float), np.zeros(len(bias))
    mine = [song for song, genre in enumerate(genre_idx) if genre in genres]
    for song in mine:
        logits = z[song].astype(float) @ weights + bias
        e = {genre: math.exp(logits[genre] - max(logits[list(genres)])) for genre in genres}
        for genre in genres:
            excess = (e[genre] / sum(e.values()) - (genre == genre_idx[song])) / len(mine)
            slope[:, genre] += excess * z[song]
            at_bias[genre] += excess
    return float(max(np.abs(slope).max(), np.abs(at_bias).max()))


def agglomerated(distance: np.ndarray, n_groups: int, method: str) -> set[frozenset[int]]:
    """Groups of positions after joining the cheapest pair of groups again and again, from distances (genre, genre).

    Ward's cost is what the sum of squares around the mean grows by, which squared distances within a group tell.
    """

    def spread(group: frozenset[int]) -> float:
        return math.fsum(distance[i, j] ** 2 for i, j in itertools.combinations(sorted(group), 2)) / len(group)

    def cost(a: frozenset[int], b: frozenset[int]) -> float:
        between = [float(distance[i, j]) for i in a for j in b]
        if method == "ward":
            return spread(a | b) - spread(a) - spread(b)
        return max(between) if method == "complete" else statistics.mean(between)

    groups = [frozenset([i]) for i in range(len(distance))]
    while len(groups) > n_groups:
        a, b = min(itertools.combinations(groups, 2), key=lambda pair: cost(*pair))
        groups = [g for g in groups if g not in (a, b)] + [a | b]
    return set(groups)


def rand_adjusted(groups_a: Sequence[Sequence[str]], groups_b: Sequence[Sequence[str]]) -> float:
    """The adjusted Rand index from its definition: pairs that both put together, against what chance would."""

    def pairs(groups: Sequence[Sequence[str]]) -> set[frozenset[str]]:
        return {frozenset(pair) for group in groups for pair in itertools.combinations(group, 2)}

    in_a, in_b = pairs(groups_a), pairs(groups_b)
    chance = len(in_a) * len(in_b) / math.comb(sum(map(len, groups_a)), 2)
    return (len(in_a & in_b) - chance) / ((len(in_a) + len(in_b)) / 2 - chance)


def dealt_tables(mistakes: Sequence[Sequence[int]]) -> dict[tuple[tuple[int, ...], ...], float]:
    """Probability of each table (genre, genre) when wrong answers are dealt anew to the songs, none becoming right."""
    n = range(len(mistakes))
    cards = [(i, j) for i in n for j in n for _ in range(mistakes[i][j])]
    found: dict[tuple[tuple[int, ...], ...], int] = {}
    for answers in itertools.permutations([answer for _, answer in cards]):
        dealt = [(truth, answer) for (truth, _), answer in zip(cards, answers, strict=True)]
        if all(truth != answer for truth, answer in dealt):
            table = tuple(tuple(dealt.count((i, j)) for j in n) for i in n)
            found[table] = found.get(table, 0) + 1
    return {table: times / sum(found.values()) for table, times in found.items()}
