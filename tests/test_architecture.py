"""The rooms of the house: imports go down, rooms never import each other in a circle, heavy ones are late."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

import hgenre
from hgenre.bundle import save_bundle
from hgenre.predict import load
from tests.small_bundles import FEATURES, tiny_bundle

PACKAGE = Path(hgenre.__file__).parent
FLOORS = (
    {"audio", "features", "tree", "metrics", "errors", "labels"},
    {"nets", "grouping", "account"},
    {"data", "bundle", "compiled", "training", "demo", "shipped", "taxonomy", "baselines"},
    {"train", "predict", "evaluate", "why", "held_out", "calibrate", "trust", "results"},
    {"studies", "report"},
    {"cli"},
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def modules() -> Iterator[tuple[str, Path]]:
    """(room, file) of every module but the package's own ``__init__``."""
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative != Path("__init__.py"):
            yield relative.parts[0].removesuffix(".py"), path


def imported(path: Path, *, at_import_time: bool = False) -> set[str]:
    """Modules that a file imports, in functions and for type checking too unless ``at_import_time``."""
    found: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found |= {module} if module != "hgenre" else {f"hgenre.{name.name}" for name in node.names}
        late = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (at_import_time and (late or typing)):
            waiting += ast.iter_child_nodes(node)
    return found


def rooms_imported_by() -> dict[str, set[str]]:
    rooms: dict[str, set[str]] = defaultdict(set)
    for room, path in modules():
        names = {name.split(".")[1] for name in imported(path) if name.startswith("hgenre.")}
        rooms[room] |= names - {room, "__version__"}
    return rooms


def test_every_room_stands_on_a_floor() -> None:
    assert {room for room, _ in modules()} == set(FLOOR_OF)


def test_imports_go_down_or_stay_on_their_floor() -> None:
    up = [(a, b) for a, targets in rooms_imported_by().items() for b in targets if FLOOR_OF[b] > FLOOR_OF[a]]
    assert up == []


def test_rooms_do_not_import_each_other_in_a_circle() -> None:
    rest = {room: set(targets) for room, targets in rooms_imported_by().items()}
    while free := [room for room, targets in rest.items() if not targets & set(rest)]:
        for room in free:
            del rest[room]
    assert rest == {}


def test_only_nets_know_flax() -> None:
    users = {room for room, path in modules() for name in imported(path) if name.split(".")[0] == "flax"}
    assert users == {"nets"}


def test_ground_floor_has_no_log_no_environment_and_no_random_state() -> None:
    for room, path in modules():
        if FLOOR_OF[room] == 0 and room != "audio":
            assert not imported(path) & {"logging", "os", "random", "secrets", "tempfile", "time"}, path
            assert set(re.findall(r"random\.\w+", path.read_text(encoding="utf-8"))) <= {"random.default_rng"}, path


def test_nothing_unpickles() -> None:
    for _, path in modules():
        assert not imported(path) & {"pickle", "dill", "joblib", "shelve", "marshal"}, path
        assert "allow_pickle=True" not in path.read_text(encoding="utf-8"), path


def test_public_names_are_what_they_seem() -> None:
    assert sorted(hgenre.__all__) == list(hgenre.__all__)
    assert set(hgenre._HOMES) == set(hgenre.__all__)
    for name in hgenre.__all__:
        value = getattr(hgenre, name)
        assert value.__name__ == name
        assert value.__doc__
        assert value.__module__.startswith("hgenre.")
    with pytest.raises(AttributeError, match="module 'hgenre' has no attribute 'nothing'"):
        _ = hgenre.nothing
    stated = {name for name in imported(PACKAGE / "__init__.py") if name.startswith("hgenre.")}
    assert stated == set(hgenre._HOMES.values())


def loaded_by(script: str, *arguments: object, cwd: Path | None = None) -> set[str]:
    """``sys.modules`` after a script, in a process of its own."""
    report = "\nimport sys; print('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script + report, *map(str, arguments)], capture_output=True, text=True, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {
    *("jax", "flax", "librosa", "sklearn", "numpy", "scipy", "pandas", "optax", "pydantic", "av", "soundfile"),
    *("matplotlib", "h5py", "xgboost", "numba"),
}


def test_importing_hgenre_costs_nothing() -> None:
    assert not loaded_by("import hgenre") & (HEAVY | {"typer", "rich"})


def test_the_usual_prediction_is_read_without_typer() -> None:
    assert not loaded_by("import hgenre.cli, hgenre.cli.answers") & (HEAVY | {"typer", "rich"})


def test_help_is_instant() -> None:
    script = """
import sys
from hgenre.cli import main
sys.argv = ["hgenre", "--help"]
try:
    main()
except SystemExit as end:
    assert end.code == 0
"""
    assert not loaded_by(script) & HEAVY


def test_prediction_with_a_warm_cache_loads_only_what_it_needs(cache_dir: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 2 * FEATURES.sample_rate_hz)
    soundfile.write(tmp_path / "noise.wav", noise, FEATURES.sample_rate_hz)
    save_bundle(tiny_bundle(), tmp_path / "bundle")
    [warm] = load(tmp_path / "bundle").predict([tmp_path / "noise.wav"])
    script = """
import sys
from hgenre.predict import load
[answer] = load(sys.argv[1]).predict([sys.argv[2]])
assert answer.genre == sys.argv[3], answer
"""
    names = loaded_by(script, tmp_path / "bundle", tmp_path / "noise.wav", getattr(warm, "genre", warm))
    assert "jaxlib" in names
    assert names & ((HEAVY | {"typer", "rich"}) - {"numpy", "soundfile"}) == set()
