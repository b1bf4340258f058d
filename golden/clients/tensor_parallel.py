"""Tensor parallel layers by hand, as in Megatron-LM (Shoeybi et al., arXiv:1909.08053): pairs of a
column-parallel and a row-parallel one, with one sum over all ranks each way."""

import torch
from torch import nn
from torch.nn import functional


def summed(tensor):
    """Over all ranks."""
    tensor = tensor.clone()
    torch.distributed.all_reduce(tensor)
    return tensor


class CopyToRanks(torch.autograd.Function):
    """Megatron's f: every rank reads the same input, so its gradient is the sum of theirs."""

    @staticmethod
    def forward(context, x):
        return x.view_as(x)

    @staticmethod
    def backward(context, gradient):
        return summed(gradient)


class SumOverRanks(torch.autograd.Function):
    """Megatron's g: the output is the sum, so every rank's addend has the sum's gradient."""

    @staticmethod
    def forward(context, x):
        return summed(x)

    @staticmethod
    def backward(context, gradient):
        return gradient


class ColumnParallel(nn.Module):
    """Some outputs of a linear layer; its input is whole. weight (outputs of this rank, inputs)"""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x):
        return functional.linear(CopyToRanks.apply(x), self.weight, self.bias)


class RowParallel(nn.Module):
    """Some inputs of a linear layer; its output is whole, and so is the bias, which comes last."""

    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x):
        return SumOverRanks.apply(functional.linear(x, self.weight)) + self.bias


def joined(tensor, ranges, dimension):
    pieces = [tensor.narrow(dimension, begin, end - begin) for begin, end in ranges]
    return torch.cat(pieces, dimension).detach().clone()


def columns(linear, ranges):
    """This rank's ColumnParallel of a whole layer, and the slices to declare of it."""
    outputs, inputs = linear.weight.shape
    layer = ColumnParallel(joined(linear.weight, ranges, 0), joined(linear.bias, ranges, 0))
    return layer, {
        "weight": ([outputs, inputs], [ranges, [[0, inputs]]]),
        "bias": ([outputs], [ranges]),
    }


def rows(linear, ranges):
    """This rank's RowParallel of a whole layer, and the slice to declare of its weight."""
    outputs, inputs = linear.weight.shape
    layer = RowParallel(joined(linear.weight, ranges, 1), linear.bias.detach().clone())
    return layer, {"weight": ([outputs, inputs], [[[0, outputs]], ranges])}


def attention_ranges(channels, rank, ranks):
    """Query, key and value of this rank's heads."""
    share = channels // ranks
    return [[n * channels + rank * share, n * channels + (rank + 1) * share] for n in range(3)]


def share_out(model, rank, ranks):
    """Replaces a GPT-2's layers by this rank's. Returns the slices for the recorder."""
    channels = model.wte.weight.shape[1]
    heads = channels // model.h[0].attn.size
    if heads % ranks:
        raise ValueError(f"{heads} heads cannot be shared out to {ranks} ranks")

    def mine(size):
        return [[rank * size // ranks, (rank + 1) * size // ranks]]

    slices = {}
    for number, layer in enumerate(model.h):
        for owner, name, cut, ranges in (
            ("attn", "c_attn", columns, attention_ranges(channels, rank, ranks)),
            ("attn", "c_proj", rows, mine(channels)),
            ("mlp", "c_fc", columns, mine(4 * channels)),
            ("mlp", "c_proj", rows, mine(4 * channels)),
        ):
            half = getattr(layer, owner)
            replaced, declared = cut(getattr(half, name), ranges)
            setattr(half, name, replaced)
            for kind, entry in declared.items():
                slices[f"h.{number}.{owner}.{name}.{kind}"] = entry
    return slices


def squares(parameters):
    """The sum over all elements of their gradients."""
    return sum((parameter.grad.double() ** 2).sum() for parameter in parameters)


def squared_norm(sharded, replicated):
    """Of all gradients: every element once, whoever has it."""
    return summed(squares(sharded)) + squares(replicated)


def clip(parameters, squared_norm, max_norm):
    """As torch.nn.utils.clip_grad_norm_ does."""
    factor = (max_norm / (squared_norm.sqrt() + 1e-6)).clamp(max=1.0).float()
    for parameter in parameters:
        parameter.grad.mul_(factor)
