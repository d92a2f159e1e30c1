"""``hgenre models``: the models that come with hgenre."""

import json
from typing import Annotated

import typer


def models(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the shipped models."""
    from hgenre.shipped import shipped_bundles

    found = shipped_bundles()
    if as_json:
        print(json.dumps({name: str(path) for name, path in found.items()}))
        return
    for name, path in found.items():
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        print(f"{name:<20} {len(manifest['labels'])} genres: {', '.join(manifest['labels'])}")
