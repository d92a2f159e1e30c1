"""What one writes first: librosa, linen and a loop over slices. Usage: python -m benchmarks.plain_script SONG BUNDLE"""

import json
import sys
from pathlib import Path

import jax
import librosa
import numpy as np
from safetensors.numpy import load_file

from benchmarks.linen_net import plain_net
from hgenre.nets.spec import net_from_json

song, bundle = Path(sys.argv[1]), Path(sys.argv[2])
about = json.loads((bundle / "manifest.json").read_text())
spec, cut = about["features"], about["slices"]
arrays = load_file(bundle / "weights.safetensors")


def variables_of(node: str) -> dict:
    nested: dict = {}
    for name, array in arrays.items():
        first, *parents, leaf = name.split("/")
        if first == node:
            place = nested
            for parent in parents:
                place = place.setdefault(parent, {})
            place[leaf] = array
    return nested


def answer(node: dict, x: np.ndarray, p: float, found: dict[str, float]) -> None:
    """Adds the probability of every genre under a node for one slice (1, mel, frame)."""
    logits = nets[node["name"]](x) / about["temperatures"][node["name"]]
    for child, p_child in zip(node["children"], np.asarray(jax.nn.softmax(logits))[0], strict=True):
        if isinstance(child, str):
            found[child] = p * float(p_child)
        else:
            answer(child, x, p * float(p_child), found)


nets = {}
children = {about["tree"]["name"]: about["tree"]["children"]}
children |= {child["name"]: child["children"] for child in about["tree"]["children"]}
for name in about["nets"]:
    net = plain_net(net_from_json(about["nets"][name]), len(children[name]))
    variables = variables_of(name)
    nets[name] = jax.jit(lambda x, net=net, variables=variables: net.apply(variables, x, train=False))

y, _ = librosa.load(song, sr=spec["sample_rate_hz"], mono=True)
power = librosa.feature.melspectrogram(
    y=y,
    sr=spec["sample_rate_hz"],
    n_fft=spec["n_fft"],
    hop_length=spec["hop_length"],
    n_mels=spec["n_mels"],
    fmin=spec["fmin_hz"],
    fmax=spec["fmax_hz"],
    center=False,
)
frames = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
mean, std = arrays["normalisation/mean_db"], arrays["normalisation/std_db"]
rows = []
for start in range(0, frames.shape[1] - cut["n_frames"] + 1, cut["step_frames"]):
    part = frames[:, start : start + cut["n_frames"]]
    level = 10 * np.log10(np.mean(10 ** (part / 10)))
    x = (np.maximum(part - level, -60) - mean[:, None]) / std[:, None]
    found: dict[str, float] = {}
    answer(about["tree"], x[None], 1.0, found)
    rows.append([found[genre] for genre in about["labels"]])
p = np.array(rows)
votes = np.bincount(p.argmax(axis=1), minlength=p.shape[1])
print(
    json.dumps(
        {
            "genre": about["labels"][int(votes.argmax())],
            "probabilities": dict(zip(about["labels"], p.mean(axis=0).tolist(), strict=True)),
        }
    )
)
