"""A tree as lines of text."""

from hgenre.tree.spec import Node, TreeSpec


def draw_tree(tree: TreeSpec) -> str:
    """The tree with box-drawing characters, one node or genre a line, children in order."""
    lines = [tree.root.name]

    def walk(node: Node, indent: str) -> None:
        for i, child in enumerate(node.children):
            last = i == len(node.children) - 1
            name = child if isinstance(child, str) else f"[{child.name}]"
            lines.append(f"{indent}{'└── ' if last else '├── '}{name}")
            if isinstance(child, Node):
                walk(child, indent + ("    " if last else "│   "))

    walk(tree.root, "")
    return "\n".join(lines)
