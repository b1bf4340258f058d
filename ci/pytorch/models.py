"""The models' forward passes in PyTorch, as their papers have them. Backward is autograd's.

`p` holds the parameters by name, weights of linear layers as (inputs, outputs). Constants that the
numerics contract rounds to float32 before they are used are rounded here too: `float32`.
"""

import math

import numpy
import torch
from torch.nn import functional


def float32(number):
    return float(numpy.float32(number))


def mlp(p, recipe, tokens):
    """Bengio et al. (JMLR 3, 2003): the context's vectors joined, then linear layers with ReLU.

    tokens (batch, context) -> logits (batch, vocabulary)
    """
    x = p["embedding.weight"][tokens].flatten(1)
    for n in range(int(recipe["layers"])):
        x = torch.relu(x @ p[f"hidden.{n}.weight"] + p[f"hidden.{n}.bias"])
    return x @ p["output.weight"] + p["output.bias"]


def layer_norm(p, name, x):
    weight, bias = p[name + ".weight"], p[name + ".bias"]
    return functional.layer_norm(x, weight.shape, weight, bias, eps=float32(1e-5))


def attention(p, name, x, heads, dropout):
    """Causal self-attention (Vaswani et al., arXiv:1706.03762). x (batch, positions, channels)"""
    batch, positions, channels = x.shape
    size = channels // heads
    joined = x @ p[name + ".c_attn.weight"] + p[name + ".c_attn.bias"]
    query, key, value = (
        part.view(batch, positions, heads, size).transpose(1, 2)
        for part in joined.split(channels, dim=2)
    )
    scores = query @ key.transpose(2, 3) * float32(1 / math.sqrt(size))  # (.., heads, query, key)
    future = torch.ones(positions, positions, dtype=torch.bool).triu(diagonal=1)
    weights = torch.softmax(scores.masked_fill(future, -math.inf), dim=3)
    output = (dropout.attention(weights) @ value).transpose(1, 2).reshape(x.shape)
    return output @ p[name + ".c_proj.weight"] + p[name + ".c_proj.bias"]


def feed_forward(p, name, x):
    up = x @ p[name + ".c_fc.weight"] + p[name + ".c_fc.bias"]
    up = functional.gelu(up, approximate="tanh")
    return up @ p[name + ".c_proj.weight"] + p[name + ".c_proj.bias"]


def gpt2(p, recipe, tokens, dropout):
    """Radford et al. (2019): layer norm before each branch, GELU by tanh.

    tokens (batch, positions) -> logits (batch, positions, vocabulary); `dropout[n]` is layer n's.
    """
    heads = int(recipe["heads"])
    x = p["wte.weight"][tokens] + p["wpe.weight"][: tokens.shape[1]]
    x = dropout[0].embedding(x)
    for n in range(int(recipe["layers"])):
        h = f"h.{n}"
        y = attention(p, h + ".attn", layer_norm(p, h + ".ln_1", x), heads, dropout[n])
        x = x + dropout[n].projection(y)
        y = feed_forward(p, h + ".mlp", layer_norm(p, h + ".ln_2", x))
        x = x + dropout[n].down(y)
    head = p["wte.weight"] if recipe["tied"] == "true" else p["lm_head.weight"]
    return layer_norm(p, "ln_f", x) @ head.T


def mean_loss(logits, targets):
    """The mean over all targets of the batch; -1 stands for none."""
    logits = logits.reshape(-1, logits.shape[-1])
    return functional.cross_entropy(logits, targets.reshape(-1).long(), ignore_index=-1)
