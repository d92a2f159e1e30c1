"""hgenre's nets in PyTorch, with the weights of hgenre's own, in ``channels_last`` on all cores."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from hgenre.nets.build import build_net
from hgenre.nets.spec import NetSpec

LARGEST_DIFFERENCE = 1e-3


def torch_net(spec: NetSpec, n_children: int, n_mels: int, n_frames: int) -> nn.Module:
    """The net of a spec, checked to give the logits that hgenre's net gives with the same weights.

    It takes (slice, channel, mel, frame) with one channel.
    """
    torch.set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    ours = build_net(spec, n_children)
    variables = jax.device_get(ours.init(jax.random.key(0), n_mels, n_frames))
    net: nn.Module
    match spec.kind:
        case "deep_cnn":
            net = TorchDeepCNN(spec, variables, n_mels, n_frames)
        case "short_chunk":
            net = TorchShortChunk(spec, variables)
    net = net.to(memory_format=torch.channels_last)

    x = np.random.default_rng(0).normal(0, 1, (4, n_mels, n_frames)).astype(np.float32)
    with torch.inference_mode():
        theirs = net.eval()(torch.from_numpy(x)[:, None]).numpy()
    difference = np.abs(theirs - np.asarray(ours.apply(variables, x))).max()
    if difference > LARGEST_DIFFERENCE:
        raise SystemExit(f"benchmark: PyTorch's {spec.kind} and hgenre's differ by {difference:.1e} in a logit")
    return net


class TorchDeepCNN(nn.Module):
    def __init__(self, spec: NetSpec, variables: Mapping[str, Any], n_mels: int, n_frames: int) -> None:
        super().__init__()
        params, stats = variables["params"], variables["batch_stats"]
        depth = len(spec.widths)
        self.convs = nn.ModuleList(_conv(params[f"conv{i}"]) for i in range(1, depth + 1))
        self.norms = nn.ModuleList(_norm(params[f"norm{i}"], stats[f"norm{i}"]) for i in range(1, depth + 1))
        # linen flattens (mel, frame, channel), torch (channel, mel, frame).
        kernel = params["dense1"]["kernel"]
        flat = kernel.reshape(n_mels >> depth, n_frames >> depth, spec.widths[-1], -1)
        first = {**params["dense1"], "kernel": flat.transpose(2, 0, 1, 3).reshape(kernel.shape)}
        self.dense = nn.ModuleList([_dense(first), _dense(params["dense2"])])
        self.logits = _dense(params["logits"])
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Any) -> Any:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = functional.max_pool2d(functional.relu(norm(conv(x))), 2)
        x = x.flatten(1)
        for dense in self.dense:
            x = self.dropout(functional.relu(dense(x)))
        return self.logits(x)


class TorchShortChunk(nn.Module):
    def __init__(self, spec: NetSpec, variables: Mapping[str, Any]) -> None:
        super().__init__()
        params, stats = variables["params"], variables["batch_stats"]
        self.stem = _conv(params["stem"], stride=2)
        self.stem_norm = _norm(params["stem_norm"], stats["stem_norm"])
        names = [f"block{i}" for i in range(1, len(spec.widths))]
        self.blocks = nn.ModuleList(TorchResidualBlock(params[name], stats[name]) for name in names)
        self.dropout = nn.Dropout(spec.dropout)
        self.logits = _dense(params["logits"])

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.stem_norm(_same(self.stem, x)))
        for block in self.blocks:
            x = block(x)
        return self.logits(self.dropout(torch.cat([x.mean((2, 3)), x.amax((2, 3))], dim=1)))


class TorchResidualBlock(nn.Module):
    def __init__(self, params: Mapping[str, Any], stats: Mapping[str, Any]) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv(params["conv1"], stride=2), _conv(params["conv2"])
        self.shortcut = _conv(params["shortcut"], stride=2)
        self.norm1, self.norm2, self.shortcut_norm = (
            _norm(params[name], stats[name]) for name in ("norm1", "norm2", "shortcut_norm")
        )

    def forward(self, x: Any) -> Any:
        y = functional.relu(self.norm1(_same(self.conv1, x)))
        return functional.relu(self.norm2(self.conv2(y)) + self.shortcut_norm(self.shortcut(x)))


def _same(conv: nn.Conv2d, x: Any) -> Any:
    """A strided convolution padded as XLA's ``SAME``, which puts an odd padding's larger half behind."""
    sides = []
    for size, kernel, stride in zip(reversed(x.shape[2:]), conv.kernel_size, conv.stride, strict=True):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    return conv(functional.pad(x, sides))


def _conv(params: Mapping[str, Any], stride: int = 1) -> nn.Conv2d:
    kernel = torch.from_numpy(params["kernel"].transpose(3, 2, 0, 1).copy())
    n_out, n_in, size, _ = kernel.shape
    padding = size // 2 if stride == 1 else 0
    conv = nn.Conv2d(n_in, n_out, size, stride=stride, padding=padding, bias="bias" in params)
    conv.weight.data = kernel
    if "bias" in params:
        conv.bias.data = torch.from_numpy(params["bias"].copy())
    return conv


def _norm(params: Mapping[str, Any], stats: Mapping[str, Any]) -> nn.BatchNorm2d:
    """linen's momentum is the share that is kept, torch's the share that is new."""
    norm = nn.BatchNorm2d(len(params["scale"]), eps=1e-5, momentum=0.1)
    norm.weight.data, norm.bias.data = (torch.from_numpy(params[name].copy()) for name in ("scale", "bias"))
    norm.running_mean, norm.running_var = (torch.from_numpy(stats[name].copy()) for name in ("mean", "var"))
    return norm


def _dense(params: Mapping[str, Any]) -> nn.Linear:
    dense = nn.Linear(*params["kernel"].shape)
    dense.weight.data = torch.from_numpy(params["kernel"].T.copy())
    dense.bias.data = torch.from_numpy(params["bias"].copy())
    return dense
