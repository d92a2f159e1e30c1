"""The page about extending hgenre: what it says to add is added, a net to a copy of the package, and then runs."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import hgenre
from hgenre.data.manifest import Manifest
from tests.conftest import TINY, Finished
from tests.test_run import strict_json, toml

PACKAGE = Path(hgenre.__file__).parent
PAGE = PACKAGE.parent / "docs" / "extending.md"
TABLE = "NETS: dict[str, tuple[str, ...]] = {\n"


def blocks(heading: str) -> list[str]:
    """The blocks of code under a heading, without their fences."""
    text = PAGE.read_text(encoding="utf-8")
    section = re.split(r"^## ", text.split(f"## {heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^```\w+\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


def test_a_new_net_is_one_file_and_one_line(corpus: Manifest, tmp_path: Path) -> None:
    file, line, table = blocks("A new net")
    net = tomllib.loads(table)["net"]
    copy = shutil.copytree(PACKAGE, tmp_path / "hgenre", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "nets" / f"{net['kind']}.py").write_text(file)
    spec = copy / "nets" / "spec.py"
    assert spec.read_text().count(TABLE) == line.count("\n") == 1
    spec.write_text(spec.read_text().replace(TABLE, TABLE + line))
    config = tmp_path / "new.toml"
    config.write_text(toml({**TINY, "net": net, "optimiser": {**TINY["optimiser"], "epochs": 2}}))

    script = "import sys, hgenre.cli; print(hgenre.__file__, file=sys.stderr); hgenre.cli.main()"
    arguments = ["train-tree", config, "--data", corpus.root / "manifest.csv", "--out", tmp_path / "run"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(str(copy))
    manifest = json.loads((tmp_path / "run" / "bundle" / "manifest.json").read_text())
    assert {own["kind"] for own in manifest["nets"].values()} == {net["kind"]}
    assert manifest["arrays"]["root/params/dense1/kernel"] == [2 * TINY["features"]["n_mels"], *net["dense_widths"]]


def test_a_new_recipe_is_one_file(
    hgenre: Callable[..., Finished], corpus: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = blocks("A new recipe")
    recipe = tomllib.loads(text)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / f"{recipe['name']}.toml").write_text(text)
    command = ["reproduce", recipe["name"], "--recipes", "mine"]
    assert f"hgenre {' '.join(command)}" in PAGE.read_text()

    monkeypatch.delenv("MUSIC", raising=False)
    assert hgenre(*command).out.count("not run: data absent") == 2
    monkeypatch.setenv("MUSIC", str(corpus.root))
    done = hgenre(*command)

    assert done.status == 0, done.err
    protocols = strict_json(Path("runs") / "mine" / recipe["name"] / "results.json")["protocols"]
    assert list(protocols) == recipe["recipe"]["protocols"]
    for protocol, figure in (("slice-random", "slice"), ("song", "song")):
        accuracy = protocols[protocol]["models"]["svm"][figure]["accuracy"]
        assert f"| {100 * accuracy:.1f} % | " in done.out
    assert hgenre(*command).out == done.out
