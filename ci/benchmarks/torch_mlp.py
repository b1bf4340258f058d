"""Trains the character model with PyTorch, eagerly and on one thread, and prints steps per second.

The same model, batch and optimiser as this project's trainers. What is not training is kept out of
the loop: batches are indexed before it starts, there is no data loader, and the loss is never read
back. Processor time, as ours.
"""

import argparse
import time

import torch
from torch.nn import functional


def numbers():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("vocabulary", "context", "embedding", "hidden", "batch", "steps"):
        parser.add_argument("--" + name, type=int, required=True)
    return parser.parse_args()


def main():
    sizes = numbers()
    torch.set_num_threads(1)
    torch.manual_seed(42)
    joined = sizes.context * sizes.embedding
    layers = (
        torch.nn.Embedding(sizes.vocabulary, sizes.embedding),
        torch.nn.Linear(joined, sizes.hidden),
        torch.nn.Linear(sizes.hidden, sizes.vocabulary),
    )
    # Called as functions, layers cost less than as modules.
    table, weight, bias, output_weight, output_bias = parameters = [
        parameter for layer in layers for parameter in layer.parameters()
    ]
    optimizer = torch.optim.SGD(parameters, lr=0.1)
    warmup = max(sizes.steps // 10, 5)
    batches = [
        (
            torch.randint(sizes.vocabulary, (sizes.batch, sizes.context)),
            torch.randint(sizes.vocabulary, (sizes.batch,)),
        )
        for _ in range(min(sizes.steps, 1000))
    ]

    def train(steps):
        for step in range(steps):
            tokens, targets = batches[step % len(batches)]
            optimizer.zero_grad(set_to_none=True)
            x = functional.embedding(tokens, table).view(sizes.batch, joined)
            hidden = functional.linear(x, weight, bias).relu_()
            logits = functional.linear(hidden, output_weight, output_bias)
            functional.cross_entropy(logits, targets).backward()
            optimizer.step()

    train(warmup)
    begin = time.process_time()
    train(sizes.steps)
    print(sizes.steps / (time.process_time() - begin))


main()
