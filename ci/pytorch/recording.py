"""Steps as `meshparity-train --record-tensors` and `meshparity-bounds` write them."""

import json
import os

import numpy
import torch

DTYPES = {"F32": numpy.dtype("<f4"), "I32": numpy.dtype("<i4")}


def read_safetensors(path):
    """({name: array}, metadata): the length of a JSON header, the header, the tensors' bytes."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, tensor in header.items():
        begin, end = tensor["data_offsets"]
        values = numpy.frombuffer(data[begin:end], DTYPES[tensor["dtype"]])
        tensors[name] = values.reshape(tensor["shape"])
    return tensors, metadata


# What a recipe of the MLP leaves out.
DEFAULTS = {"model": "mlp", "optimizer": "sgd", "warmup": "0", "decay": "constant", "min-lr": "0"}
DEFAULTS.update({"beta1": "0.9", "beta2": "0.999", "eps": "1e-8", "weight-decay": "0", "clip": "0"})


def recipe_of(metadata):
    """{key: text}"""
    lines = (line.split("=", 1) for line in metadata["recipe"].splitlines() if "=" in line)
    return DEFAULTS | {key.strip(): value.strip() for key, value in lines}


class Step:
    """Tensors of one recorded step in float64: `param`, `grad`, `exp_avg`, `exp_avg_sq` by name."""

    def __init__(self, path):
        tensors, metadata = read_safetensors(path)
        self.recipe = recipe_of(metadata)
        self.number = json.loads(metadata["meshparity"])["step"]
        self.loss = float(tensors.pop("loss")[0])
        self.tokens = torch.from_numpy(tensors.pop("batch.tokens").astype(numpy.int64))
        self.targets = torch.from_numpy(tensors.pop("batch.targets").astype(numpy.int64))
        groups = grouped(tensors)
        self.param, self.grad = groups["param"], groups["grad"]
        self.exp_avg = groups.get("state/exp_avg", {})
        self.exp_avg_sq = groups.get("state/exp_avg_sq", {})


def grouped(tensors):
    """{"grad": {"wte.weight": float64 tensor, ...}, ...}"""
    groups = {}
    for name, values in tensors.items():
        group, _, parameter = name.rpartition("/") if "/" in name else (name, "", "")
        groups.setdefault(group, {})[parameter] = torch.from_numpy(values.astype(numpy.float64))
    return groups


def read_steps(directory):
    """[(Step, bounds by group and name), ...], in order."""
    steps = []
    while True:
        stem = os.path.join(directory, f"step-{len(steps):06}")
        if not os.path.exists(stem + ".safetensors"):
            return steps
        step = Step(stem + ".safetensors")
        bounds, _ = read_safetensors(stem + ".bounds.safetensors")
        steps.append((step, grouped(bounds)))
