"""Bugs that real trainers shipped, for the trainer of gpt2_pytorch.py: what the judge has to see.

    python3 planted_bugs.py      lists them: name, options, catalogue, hypotheses that fit

A bug is a function of the trainer, called when its model is made and nothing else is. It replaces
one of its methods, a layer's function, or one of tensor_parallel.py's.
"""

import contextlib
import itertools
import math
import typing

import torch
from torch.nn import functional

import tensor_parallel
from tensor_parallel import squares, summed

ACCUMULATED = "--accumulate 2"
DATA_PARALLEL = "--ranks 2"
TENSOR_PARALLEL = "--ranks 2 --tensor-parallel"
BUGS = {}


class Bug(typing.NamedTuple):
    plant: typing.Callable
    options: str  # of gpt2_pytorch.py
    catalogue: str  # entries that it is an example of
    fitting: typing.Tuple[str, ...]  # hypotheses that name it


def bug(options, catalogue, *fitting):
    def register(plant):
        BUGS[plant.__name__.replace("_", "-")] = Bug(plant, options, catalogue, fitting)
        return plant

    return register


# The loss and the sum over parts.

def mean_over(logits, targets):
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1)


@bug(ACCUMULATED, "A01", "mean-of-means")
def mean_of_each_microbatch(trainer):
    """Microbatches have different numbers of targets."""
    parts = trainer.options.accumulate
    trainer.loss = lambda logits, targets, _: mean_over(logits, targets) / parts


@bug(DATA_PARALLEL, "A11", "mean-of-means")
def mean_of_each_rank(trainer):
    trainer.loss = lambda logits, targets, _: mean_over(logits, targets)


@bug(ACCUMULATED, "A02", "summed-over-axis-again", "factor")
def not_divided_by_accumulation(trainer):
    loss, parts = trainer.loss, trainer.options.accumulate
    trainer.loss = lambda *arguments: loss(*arguments) * parts


@bug(ACCUMULATED, "A16", "one-part-only")
def zero_grad_in_the_loop(trainer):
    def part(*arguments):
        trainer.optimizer.zero_grad()
        return type(trainer).part(trainer, *arguments)

    trainer.part = part


def after_each_part(trainer, change):
    """change(number of the part), after its backward pass."""
    numbers = itertools.cycle(range(trainer.options.accumulate))

    def part(*arguments):
        loss = type(trainer).part(trainer, *arguments)
        change(next(numbers))
        return loss

    trainer.part = part


def scale_gradients(module, factor):
    for parameter in module.parameters():
        parameter.grad.mul_(factor)


@bug("--accumulate 4", "A04 I05", "parts-weighted")
def moving_average_over_microbatches(trainer):
    """The sum so far is scaled each time."""
    after_each_part(trainer, lambda _: scale_gradients(trainer.model, 0.5))


@bug("--accumulate 4", "D13", "part-twice")
def first_microbatch_twice(trainer):
    after_each_part(trainer, lambda number: number or scale_gradients(trainer.model, 2))


@bug("", "E13", "factor", "summed-over-axis-again")
def doubled_in_a_group_of_one(trainer):
    after_each_part(trainer, lambda _: scale_gradients(trainer.model, 2))


@bug("", "E03 E19", "rounded-to-bf16")
def accumulated_in_bfloat16(trainer):
    def round_all(_):
        for parameter in trainer.model.parameters():
            parameter.grad.copy_(parameter.grad.bfloat16())

    after_each_part(trainer, round_all)


@bug("", "E12", "not-zeroed", "stale-gradient")
def gradients_never_zeroed(trainer):
    optimizer = trainer.make_optimizer()
    optimizer.zero_grad = lambda: None
    trainer.make_optimizer = lambda: optimizer


# Data parallel.


@bug(DATA_PARALLEL, "A06 A07", "summed-over-axis-again")
def summed_over_ranks(trainer):
    """Where an average is meant."""

    def add(_, bucket):
        torch.distributed.all_reduce(bucket.buffer())
        future = torch.futures.Future()
        future.set_result(bucket.buffer())
        return future

    def wrap():
        model = type(trainer).wrap(trainer)
        model.register_comm_hook(None, add)
        return model

    trainer.wrap = wrap


def never_reduced(trainer, names):
    ddp = torch.nn.parallel.DistributedDataParallel
    ddp._set_params_and_buffers_to_ignore_for_model(trainer.model, names)


@bug(DATA_PARALLEL, "E22 E01", "one-part-only")
def one_parameter_not_reduced(trainer):
    never_reduced(trainer, ["h.1.mlp.c_fc.weight"])


@bug(DATA_PARALLEL, "H02 E26", "one-part-only")
def biases_not_reduced(trainer):
    never_reduced(trainer, [n for n, p in trainer.model.named_parameters() if p.dim() == 1])


@bug(DATA_PARALLEL + " " + ACCUMULATED, "E21", "parts-weighted", "one-part-only")
def no_sync_after_the_forward_pass(trainer):
    """DistributedDataParallel reads its flag in the forward pass, which has been by then."""
    reduced = []

    def reduced_if(last):
        reduced[:] = [last]
        return contextlib.nullcontext()

    def loss(*arguments):
        trainer.model.require_backward_grad_sync = reduced[0]
        return type(trainer).loss(trainer, *arguments)

    trainer.reduced_if, trainer.loss = reduced_if, loss


# Tensor parallel.


@bug(TENSOR_PARALLEL, "B01", "bias-counted-again")
def bias_before_the_sum(trainer):
    tensor_parallel.RowParallel.forward = lambda layer, x: tensor_parallel.SumOverRanks.apply(
        functional.linear(x, layer.weight, layer.bias)
    )


@bug(TENSOR_PARALLEL, "B02", "divided-twice", "factor")
def share_of_the_bias(trainer):
    """Right forward, but the bias has a share of its gradient."""
    tensor_parallel.RowParallel.forward = lambda layer, x: tensor_parallel.SumOverRanks.apply(
        functional.linear(x, layer.weight, layer.bias / trainer.options.ranks)
    )


@bug(TENSOR_PARALLEL, "B03", "partial-sum")
def sum_of_a_copy(trainer):
    """What is returned was never reduced."""

    def forward(context, x):
        summed(x)
        return x.view_as(x)

    tensor_parallel.SumOverRanks.forward = staticmethod(forward)


@bug(TENSOR_PARALLEL, "A15", "partial-sum", "one-part-only")
def input_gradient_not_summed(trainer):
    tensor_parallel.CopyToRanks.backward = staticmethod(lambda context, gradient: gradient)


@bug(TENSOR_PARALLEL, "H01", "divided-twice")
def averaged_partial_sums(trainer):
    def mean(context, x):
        return summed(x) / trainer.options.ranks

    tensor_parallel.SumOverRanks.forward = staticmethod(mean)
    tensor_parallel.CopyToRanks.backward = staticmethod(mean)


@bug(TENSOR_PARALLEL, "B04", "permuted-columns")
def columns_instead_of_heads(trainer):
    """Query, key and value joined are cut in equal parts, then taken for three."""

    def ranges(channels, rank, ranks):
        return [[rank * 3 * channels // ranks, (rank + 1) * 3 * channels // ranks]]

    tensor_parallel.attention_ranges = ranges


def layer_norms(trainer):
    return [m for m in trainer.model.modules() if isinstance(m, torch.nn.LayerNorm)]


@bug(TENSOR_PARALLEL, "C01 B08", "one-part-only", "partial-sum")
def layer_norm_of_own_positions(trainer):
    """Sequence parallel: a layer norm's gradient is not summed over ranks."""

    def forward(norm, x):
        owners = torch.arange(x.shape[1]) * trainer.options.ranks // x.shape[1]
        mine = (owners == trainer.rank).float().unsqueeze(1)
        weight = norm.weight * mine + norm.weight.detach() * (1 - mine)
        bias = norm.bias * mine + norm.bias.detach() * (1 - mine)
        return functional.layer_norm(x, x.shape[-1:], eps=norm.eps) * weight + bias

    torch.nn.LayerNorm.forward = forward


@bug(TENSOR_PARALLEL, "C02", "divided-twice", "factor")
def layer_norm_averaged(trainer):
    """Sequence parallel: a layer norm's gradient is averaged over ranks' positions, not summed."""

    def average(_):
        for norm in layer_norms(trainer):
            scale_gradients(norm, 1 / trainer.options.ranks)

    after_each_part(trainer, average)


@bug(TENSOR_PARALLEL, "E06 E07", "shard-misplaced", "shifted")
def shard_of_another_rank(trainer):
    def swap(_):
        gradient = trainer.model.h[0].mlp.c_fc.weight.grad
        all_of_them = [torch.empty_like(gradient) for _ in range(trainer.options.ranks)]
        torch.distributed.all_gather(all_of_them, gradient)
        gradient.copy_(all_of_them[(trainer.rank + 1) % trainer.options.ranks])

    after_each_part(trainer, swap)


@bug(TENSOR_PARALLEL, "B05 E18", "clipped-by-part-norm")
def replicas_counted_in_the_norm(trainer):
    tensor_parallel.squared_norm = lambda sharded, replicated: summed(
        squares(sharded) + squares(replicated)
    )


@bug(TENSOR_PARALLEL, "I02", "clipped-by-part-norm")
def norm_without_replicas(trainer):
    tensor_parallel.squared_norm = lambda sharded, replicated: summed(squares(sharded))


@bug(TENSOR_PARALLEL, "B06 I01", "clipped-by-part-norm")
def clipped_by_own_norm(trainer):
    """Each rank by the norm of what it has."""
    tensor_parallel.squared_norm = lambda sharded, replicated: (
        squares(sharded) + squares(replicated)
    )


@bug(TENSOR_PARALLEL, "E09", "not-clipped")
def clipped_on_one_rank(trainer):
    clip = tensor_parallel.clip
    tensor_parallel.clip = lambda *arguments: trainer.rank or clip(*arguments)


# The model.


@bug("", "D03 D04", "tied-use-missing")
def tied_use_missing(trainer):
    head = trainer.model.lm_head
    head.forward = lambda x: functional.linear(x, head.weight.detach())


@bug("", "D05", "tied-use-twice")
def tied_use_twice(trainer):
    head = trainer.model.lm_head
    head.forward = lambda x: functional.linear(x, 2 * head.weight - head.weight.detach())


@bug("", "", "targets-not-shifted")
def targets_not_shifted(trainer):
    """Each token is its own target."""

    def part(tokens, *arguments):
        trainer.loss = lambda logits, targets, count: type(trainer).loss(
            trainer, logits, torch.where(targets >= 0, tokens, -1), count
        )
        return type(trainer).part(trainer, tokens, *arguments)

    trainer.part = part


def hide_from(trainer, distance):
    """A query's keys, from so many positions ahead."""
    for layer in trainer.model.h:
        layer.attn.hidden = lambda n: torch.ones(n, n, dtype=torch.bool).triu(diagonal=distance)


@bug("", "C08 I10", "mask-missing")
def future_not_hidden(trainer):
    hide_from(trainer, 10**6)


@bug("", "C08", "mask-missing")
def next_token_not_hidden(trainer):
    hide_from(trainer, 2)


@bug("", "B15", "scale-missing")
def scaled_by_all_channels(trainer):
    """Scores are divided by the root of the channels, not of a head's."""
    for layer in trainer.model.h:
        layer.attn.scale = 1 / math.sqrt(trainer.options.channels)


@bug("", "", "gelu-other")
def gelu_by_erf(trainer):
    for layer in trainer.model.h:
        layer.mlp.act = torch.nn.GELU()


@bug("", "", "eps-other")
def smaller_epsilon(trainer):
    for norm in layer_norms(trainer):
        norm.eps = 1e-6


# The update.


@bug("", "", "decay-everywhere")
def decay_of_biases(trainer):
    trainer.make_optimizer = lambda: torch.optim.AdamW(
        trainer.model.parameters(), lr=1e-3, weight_decay=0.1
    )


@bug("", "E15", "other-step-number")
def step_number_begins_at_one(trainer):
    """A step that allocates the optimizer's state has been counted."""

    def make_optimizer():
        optimizer = type(trainer).make_optimizer(trainer)
        for parameter in trainer.model.parameters():
            optimizer.state[parameter] = {
                "step": torch.tensor(1.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        return optimizer

    trainer.make_optimizer = make_optimizer


@bug("", "G09", "other-step-number")
def step_number_not_restored(trainer):
    """As after loading a checkpoint: moments are there, the number of the update is 1 again."""
    clip = trainer.clip

    def clip_and_forget():
        clip()
        for state in trainer.optimizer.state.values():
            state["step"].zero_()

    trainer.clip = clip_and_forget


if __name__ == "__main__":
    for name, entry in BUGS.items():
        print(name, entry.options, entry.catalogue, " ".join(entry.fitting), sep="|")
