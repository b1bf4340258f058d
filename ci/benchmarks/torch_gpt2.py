"""Trains GPT-2 with PyTorch, eagerly and on one thread, and prints steps per second.

The same model, batch and optimiser as this project's trainers. What is not training is kept out of
the loop: batches are made before it starts, there is no data loader, and the loss is never read
back. Processor time, as ours.
"""

import argparse
import math
import time

import torch
from torch.nn import functional

FUSED_ATTENTION = hasattr(functional, "scaled_dot_product_attention")


def numbers():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in (
        "vocabulary", "layers", "heads", "channels", "positions", "sequence", "batch", "steps",
    ):
        parser.add_argument("--" + name, type=int, required=True)
    parser.add_argument("--clip", type=float, default=0.0)
    return parser.parse_args()


class Layer(torch.nn.Module):
    """Attention and feed-forward, each after a layer norm."""

    def __init__(self, channels):
        super().__init__()
        self.norms = torch.nn.ModuleList(torch.nn.LayerNorm(channels) for _ in range(2))
        self.qkv = torch.nn.Linear(channels, 3 * channels)
        self.projection = torch.nn.Linear(channels, channels)
        self.up = torch.nn.Linear(channels, 4 * channels)
        self.down = torch.nn.Linear(4 * channels, channels)


def layer_norm(norm, x):
    return functional.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def linear(layer, x):
    return functional.linear(x, layer.weight, layer.bias)


def attention(x, heads, mask):
    batch, positions, width = x.shape
    size = width // 3 // heads
    q, k, v = (part.view(batch, positions, heads, size).transpose(1, 2)
               for part in x.split(width // 3, dim=2))
    if FUSED_ATTENTION:
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        scores = (q @ k.transpose(-2, -1)).mul_(1 / math.sqrt(size)).add_(mask)
        y = torch.softmax(scores, -1) @ v
    return y.transpose(1, 2).reshape(batch, positions, width // 3)


def optimizer_of(parameters):
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": 0.1},
        {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0},
    ]
    # Of what this version has, the fastest first: not every one works on processors.
    for how in ({"fused": True}, {"foreach": True}, {}):
        try:
            optimizer = torch.optim.AdamW(groups, lr=1e-4, **how)
            for p in parameters:
                p.grad = torch.zeros_like(p)
            optimizer.step()
            return optimizer
        except (RuntimeError, TypeError):
            continue
    raise RuntimeError("no AdamW")


def main():
    sizes = numbers()
    torch.set_num_threads(1)
    torch.manual_seed(42)
    token = torch.nn.Embedding(sizes.vocabulary, sizes.channels)
    position = torch.nn.Embedding(sizes.positions, sizes.channels)
    layers = torch.nn.ModuleList(Layer(sizes.channels) for _ in range(sizes.layers))
    last = torch.nn.LayerNorm(sizes.channels)
    parameters = [p for part in (token, position, layers, last) for p in part.parameters()]
    for p in parameters:
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.02)
    optimizer = optimizer_of(parameters)
    places = torch.arange(sizes.sequence)
    mask = torch.full((sizes.sequence, sizes.sequence), -math.inf).triu(1)
    shape = (sizes.batch, sizes.sequence)
    batches = [
        (torch.randint(sizes.vocabulary, shape), torch.randint(sizes.vocabulary, shape).view(-1))
        for _ in range(min(sizes.steps, 100))
    ]

    def train(steps):
        for step in range(steps):
            tokens, targets = batches[step % len(batches)]
            optimizer.zero_grad(set_to_none=True)
            x = functional.embedding(tokens, token.weight) + position.weight[places]
            for layer in layers:
                y = linear(layer.qkv, layer_norm(layer.norms[0], x))
                x = x + linear(layer.projection, attention(y, sizes.heads, mask))
                y = linear(layer.up, layer_norm(layer.norms[1], x))
                x = x + linear(layer.down, functional.gelu(y, approximate="tanh"))
            logits = functional.linear(layer_norm(last, x), token.weight)
            functional.cross_entropy(logits.view(-1, sizes.vocabulary), targets).backward()
            if sizes.clip > 0:
                torch.nn.utils.clip_grad_norm_(parameters, sizes.clip)
            optimizer.step()

    train(max(sizes.steps // 10, 1))
    begin = time.process_time()
    train(sizes.steps)
    print(sizes.steps / (time.process_time() - begin))


main()
