"""A dendrogram as lines of text."""

from hgenre.grouping.linkage import LinkageTree
from hgenre.labels import Labels


def draw_dendrogram(tree: LinkageTree, labels: Labels, width: int = 40) -> str:
    """The tree with box-drawing characters: leaves on the left, every join as far right as its distance.

    Args:
        width: columns for the longest distance.
    """
    n_genres, longest = len(labels), max(float(tree.merges[:, 2].max()), 1e-12)
    grid = [[" "] * (width + n_genres) for _ in range(2 * n_genres - 1)]
    at = {leaf: (2 * row, 0) for row, leaf in enumerate(tree.leaves)}
    for k, (a, b, distance, _) in enumerate(tree.merges):
        (upper, x_upper), (lower, x_lower) = sorted((at[int(a)], at[int(b)]))
        # A column right of what it joins, so that equal distances are not drawn over each other.
        x = max(round(float(distance) / longest * width), x_upper + 1, x_lower + 1)
        for row, start, corner in ((upper, x_upper, "┐"), (lower, x_lower, "┘")):
            line = grid[row]
            line[start:x] = ["├" if line[start] == "│" else "─", *"─" * (x - start - 1)]
            line[x] = corner
        for row in range(upper + 1, lower):
            grid[row][x] = "│"
        at[n_genres + k] = (upper + lower) // 2, x
    names = {2 * row: labels.genres[leaf] for row, leaf in enumerate(tree.leaves)}
    longest_name = max(map(len, labels))
    lines = [f"{names.get(row, ''):{longest_name}} {''.join(line)}".rstrip() for row, line in enumerate(grid)]
    return "\n".join(lines)
