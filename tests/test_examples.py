"""The examples in docstrings do what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

from hgenre.shipped import ROOT, shipped_bundles

PACKAGE = Path(__file__).parent.parent / "hgenre"
SHIPPED = "gtzan10-tree"


def module_names() -> list[str]:
    """The modules with examples."""
    sources = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>>" in path.read_text(encoding="utf-8")]
    return [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__") for path in sources
    ]


@pytest.mark.parametrize("module_name", module_names())
def test_examples(module_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(module_name)
    examples = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert examples
    ready = [test for test in examples if SHIPPED not in (test.docstring or "") or SHIPPED in shipped_bundles()]
    for example in ready:
        told: list[str] = []
        failed = doctest.DocTestRunner(verbose=False).run(example, out=told.append).failed
        assert not failed, "".join(told)
    if len(ready) < len(examples):
        missing = ", ".join(test.name for test in examples if test not in ready)
        pytest.skip(f"{missing}: {ROOT / 'artifacts' / SHIPPED} is not there")


def test_there_are_examples_of_the_public_verbs() -> None:
    assert {"hgenre", "hgenre.predict", "hgenre.train"} <= set(module_names())
