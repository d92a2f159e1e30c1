"""The examples in docstrings do what they say."""

import doctest
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hgenre"


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
    for example in examples:
        told: list[str] = []
        failed = doctest.DocTestRunner(verbose=False).run(example, out=told.append).failed
        assert not failed, "".join(told)


def test_there_are_examples_of_the_public_verbs() -> None:
    assert {"hgenre", "hgenre.predict", "hgenre.train"} <= set(module_names())
