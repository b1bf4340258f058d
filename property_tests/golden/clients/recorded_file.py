"""Reads what a recorder wrote, by the rules of safetensors."""

import json
import os

import torch


def read(folder, step=0, rank=""):
    """({name: tensor}, metadata)"""
    with open(os.path.join(folder, f"step-{step:06}{rank}.safetensors"), "rb") as file:
        content = file.read()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header, data = json.loads(content[8 : 8 + length]), bytearray(content[8 + length :])
    metadata = json.loads(header.pop("__metadata__")["meshparity"])
    dtypes = {"F32": torch.float32, "I64": torch.int64, "BF16": torch.bfloat16}
    tensors, end = {}, 0
    for name, entry in header.items():
        begin, next_end = entry["data_offsets"]
        assert begin == end, f"{name}: a gap before it"
        end = next_end
        values = torch.frombuffer(data[begin:end], dtype=dtypes[entry["dtype"]])
        tensors[name] = values.reshape(entry["shape"])
    assert end == len(data)
    return tensors, metadata
