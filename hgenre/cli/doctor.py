"""``hgenre doctor``: versions, devices and decoders, what is missing and how to get it."""

import json
import platform
import sys
from typing import Annotated, Any

import typer

PACKAGES = [
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "soundfile",
    "soxr",
    "av",
    "safetensors",
    "pydantic",
    "typer",
]


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """Say whether this installation can decode, train and predict; exit status 1 if something needed is missing."""
    found = _examine()
    if as_json:
        print(json.dumps(found))
    else:
        for section in ("versions", "devices", "decoders", "places"):
            print(section)
            for name, what in found[section].items():
                print(f"  {name:<14} {what}")
        for problem in found["problems"]:
            print(f"missing: {problem}", file=sys.stderr)
    if found["problems"]:
        raise typer.Exit(1)


def _examine() -> dict[str, Any]:
    from importlib.metadata import PackageNotFoundError, version

    from hgenre import __version__
    from hgenre.data.cache import default_cache_dir
    from hgenre.shipped import shipped_bundles

    problems: list[str] = []
    versions = {"hgenre": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
            problems.append(f"package {name}; `pip install {name}`")
    decoders: dict[str, str] = {}
    try:
        import soundfile

        decoders["soundfile"] = f"libsndfile {soundfile.__libsndfile_version__}: WAV AU AIFF FLAC OGG MP3"
    except (ImportError, OSError) as error:
        problems.append(f"soundfile cannot be loaded ({error}); `pip install --force-reinstall soundfile`")
    try:
        import av

        decoders["PyAV"] = f"{av.__version__}: AAC M4A ALAC WMA Opus"
    except ImportError as error:
        problems.append(f"PyAV cannot be loaded ({error}); `pip install --force-reinstall av`")
    devices: dict[str, str] = {}
    try:
        import jax

        devices = {str(d.id): f"{d.platform} {d.device_kind}" for d in jax.devices()}
    except (ImportError, RuntimeError) as error:
        problems.append(f"jax has no device ({error}); see its installation guide, or unset JAX_PLATFORMS")
    if "gtzan10-tree" not in shipped_bundles():
        problems.append("the default model gtzan10-tree; install hgenre again")
    places = {"cache": str(default_cache_dir())}
    for name, path in shipped_bundles().items():
        places[f"model {name}"] = str(path)
    return {"versions": versions, "devices": devices, "decoders": decoders, "places": places, "problems": problems}
