"""GPT-2 trained by PyTorch and recorded for meshparity-judge: how to use meshparity_recorder.py.

    python3 gpt2_pytorch.py --record recording                           one process
    python3 gpt2_pytorch.py --record recording --accumulate 4            microbatches
    python3 gpt2_pytorch.py --record recording --ranks 2                 DistributedDataParallel
    python3 gpt2_pytorch.py --record recording --ranks 2 --tensor-parallel
    meshparity-judge recording

Its data are lines of sums and products, of which the answers alone are targets: parts have
different numbers of them, as in fine-tuning. `--bug NAME` plants one of planted_bugs.py.
"""

import argparse
import contextlib
import math
import os
import tempfile

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

import planted_bugs
import tensor_parallel
from meshparity_recorder import Recorder

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../corpus/facts.txt")


class Attention(nn.Module):
    """Causal, of as many heads as its projection has: a tensor-parallel rank has some of them."""

    def __init__(self, channels, heads):
        super().__init__()
        self.c_attn = nn.Linear(channels, 3 * channels)
        self.c_proj = nn.Linear(channels, channels)
        self.size = channels // heads
        self.scale = 1 / math.sqrt(self.size)

    def hidden(self, positions):
        """(query, key): True where the key is in the query's future."""
        return torch.ones(positions, positions, dtype=torch.bool).triu(diagonal=1)

    def forward(self, x):
        batch, positions, _ = x.shape
        query, key, value = (
            part.view(batch, positions, -1, self.size).transpose(1, 2)
            for part in self.c_attn(x).chunk(3, dim=2)
        )
        scores = query @ key.transpose(2, 3) * self.scale
        weights = scores.masked_fill(self.hidden(positions), -math.inf).softmax(dim=3)
        return self.c_proj((weights @ value).transpose(1, 2).reshape(batch, positions, -1))


class FeedForward(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.c_fc = nn.Linear(channels, 4 * channels)
        self.act = nn.GELU(approximate="tanh")
        self.c_proj = nn.Linear(4 * channels, channels)

    def forward(self, x):
        return self.c_proj(self.act(self.c_fc(x)))


class Layer(nn.Module):
    def __init__(self, channels, heads):
        super().__init__()
        self.ln_1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, heads)
        self.ln_2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT2(nn.Module):
    """tokens (batch, positions) -> logits (batch, positions, vocabulary)

    Linear layers begin as PyTorch's do. No bias is zero: what is wrong with one is seen at once."""

    def __init__(self, vocabulary, positions, layers, heads, channels):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, channels)
        self.wpe = nn.Embedding(positions, channels)
        self.h = nn.ModuleList(Layer(channels, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(channels)
        self.lm_head = nn.Linear(channels, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        for embedding in (self.wte, self.wpe):
            nn.init.normal_(embedding.weight, std=0.1)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for layer in self.h:
            x = layer(x)
        return self.lm_head(self.ln_f(x))


class Corpus:
    """Bytes of a text, and which of them are answers."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.bytes = torch.tensor(list(file.read()))
        answer, answers = False, []
        for byte in self.bytes.tolist():
            answers.append(answer)
            answer = byte == ord("=") or answer and byte != ord("\n")
        self.answers = torch.tensor(answers)

    def batch(self, generator, samples, positions):
        """tokens, targets (samples, positions): the next byte, or -1 if it is no answer."""
        begins = torch.randint(len(self.bytes) - positions, (samples, 1), generator=generator)
        at = begins + torch.arange(positions)
        return self.bytes[at], torch.where(self.answers[at + 1], self.bytes[at + 1], -1)


class Trainer:
    """One rank's."""

    def __init__(self, options, rank):
        self.options, self.rank = options, rank
        self.data_ranks = 1 if options.tensor_parallel else options.ranks
        torch.manual_seed(options.seed)
        sizes = (options.vocabulary, options.positions, options.layers, options.heads)
        self.model = GPT2(*sizes, options.channels)
        if options.bug:
            planted_bugs.BUGS[options.bug].plant(self)
        slices = {}
        if options.tensor_parallel:
            slices = tensor_parallel.share_out(self.model, rank, options.ranks)
        parameters = dict(self.model.named_parameters())
        self.sharded = [p for name, p in parameters.items() if name in slices]
        self.replicated = [p for name, p in parameters.items() if name not in slices]
        self.optimizer = self.make_optimizer()
        self.model = self.wrap()
        self.recorder = None
        if options.record:
            self.recorder = self.make_recorder(slices)

    def make_optimizer(self):
        """Matrices decay, biases and layer norms do not."""
        parameters = list(self.model.parameters())
        matrices = {"params": [p for p in parameters if p.dim() == 2], "weight_decay": 0.1}
        vectors = {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}
        return torch.optim.AdamW([matrices, vectors], lr=1e-3)

    def wrap(self):
        return DistributedDataParallel(self.model) if self.data_ranks > 1 else self.model

    def make_recorder(self, slices):
        """What this trainer is meant to do."""
        options = self.options
        names = [n.replace("module.", "") for n, p in self.model.named_parameters() if p.dim() == 2]
        description = {
            "kind": "gpt2",
            "layers": options.layers,
            "heads": options.heads,
            "eps": 1e-5,
            "gelu": "tanh",
            "tied": True,
            "biases": True,
            "weights": "output_input",
        }
        return Recorder(
            options.record,
            self.model,
            description,
            self.optimizer,
            steps=range(options.steps),
            clip={"max_norm": options.clip, "formula": "torch"},
            optimizer_means={"decayed": names},
            slices=slices,
        )

    def loss(self, logits, targets, all_targets):
        """A part's share in the mean over all targets of the global batch. Its gradient will be
        averaged over ranks, so it is multiplied by their number here."""
        total = functional.cross_entropy(
            logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum"
        )
        return total * (self.data_ranks / all_targets)

    def part(self, tokens, targets, samples, all_targets):
        """Forward and backward of a microbatch. Returns its loss."""
        if self.recorder:
            self.recorder.part(tokens, targets, samples)
        loss = self.loss(self.model(tokens), targets, all_targets)
        if self.recorder:
            self.recorder.loss(loss)
        loss.backward()
        return loss.item()

    def clip(self):
        if self.options.tensor_parallel:
            squared_norm = tensor_parallel.squared_norm(self.sharded, self.replicated)
            tensor_parallel.clip(self.model.parameters(), squared_norm, self.options.clip)
        else:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.options.clip)

    def step(self, tokens, targets):
        """One step of training on a global batch. Returns the sum of this rank's losses."""
        self.optimizer.zero_grad()
        parts = self.options.accumulate
        size = len(tokens) // (self.data_ranks * parts)
        first = 0 if self.options.tensor_parallel else self.rank * parts
        loss = 0.0
        for number in range(first, first + parts):
            samples = number * size, (number + 1) * size
            rows = slice(*samples)
            with self.reduced_if(number == first + parts - 1):
                loss += self.part(tokens[rows], targets[rows], samples, (targets >= 0).sum())
        if self.recorder:
            self.recorder.gradients()
        self.clip()
        self.optimizer.step()
        return loss

    def reduced_if(self, last):
        """DistributedDataParallel reduces gradients in the last backward pass of a step alone."""
        several = self.data_ranks > 1
        return self.model.no_sync() if several and not last else contextlib.nullcontext()


def train(rank, options, meeting):
    """On one rank. They meet in a file."""
    torch.set_num_threads(1)
    if options.ranks > 1:
        torch.distributed.init_process_group(
            "gloo", f"file://{meeting}", rank=rank, world_size=options.ranks
        )
    trainer = Trainer(options, rank)
    corpus, generator = Corpus(CORPUS), torch.Generator().manual_seed(options.seed)
    for step in range(options.steps):
        tokens, targets = corpus.batch(generator, options.batch, options.positions)
        loss = trainer.step(tokens, targets)
        if rank == 0:
            print(f"step {step}: loss {loss / trainer.data_ranks:.6f} of rank 0")
    if options.ranks > 1:
        torch.distributed.destroy_process_group()


def read_options(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--record", metavar="FOLDER", help="records every step there")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--ranks", type=int, default=1, help="processes, which talk by gloo")
    parser.add_argument("--tensor-parallel", action="store_true", help="ranks share out layers")
    parser.add_argument("--accumulate", type=int, default=1, help="microbatches of a rank's batch")
    parser.add_argument("--batch", type=int, default=8, help="samples of the global batch")
    parser.add_argument("--positions", type=int, default=32)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--vocabulary", type=int, default=256)
    parser.add_argument("--clip", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bug", choices=sorted(planted_bugs.BUGS), metavar="NAME")
    options = parser.parse_args(arguments)
    split = options.accumulate * (1 if options.tensor_parallel else options.ranks)
    if options.batch % split:
        parser.error(f"a batch of {options.batch} samples cannot be split into {split} equal parts")
    return options


def main(arguments=None):
    options = read_options(arguments)
    if options.ranks == 1:
        train(0, options, None)
        return
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.start_processes(
            train, (options, folder + "/ranks"), nprocs=options.ranks, start_method="fork"
        )


if __name__ == "__main__":
    main()
