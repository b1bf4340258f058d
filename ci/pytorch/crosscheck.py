"""Recomputes recorded steps with PyTorch's autograd in float64 and holds the recording to it.

    crosscheck.py [--plant] DIR

DIR holds what meshparity-train --record-tensors wrote, and beside it the bounds of
meshparity-bounds. With --plant, mistakes are then planted in what was recorded: each must be found.

Every element of the loss, the gradients and the updated parameters and moments has a derived bound
on what float32's roundings may do to it. PyTorch's own, in float64, are 2^-29 of their size: they
are covered where no ratio comes closer to 1 than a millionth.

Exit status: 0 all within the bounds and all mistakes found, 1 not, 2 bad usage.
"""

import argparse
import math
import sys

import torch

from models import gpt2, mean_loss, mlp
from optimizers import update_bounds, updated_by_pytorch
from philox import Dropout
from recording import read_steps

MOST = 1 - 1e-6  # the largest ratio, see above


def loss_and_gradients(step):
    """PyTorch's, from a step's parameters and batch: {"loss": ..., "grad/<name>": ...}."""
    p = {name: values.clone().requires_grad_() for name, values in step.param.items()}
    if step.recipe["model"] == "gpt2":
        dropout = [Dropout(step.recipe, step.number, n) for n in range(int(step.recipe["layers"]))]
        logits = gpt2(p, step.recipe, step.tokens, dropout)
    else:
        logits = mlp(p, step.recipe, step.tokens)
    loss = mean_loss(logits, step.targets)
    loss.backward()
    gradients = {"grad/" + name: values.grad for name, values in p.items()}
    return {"loss": loss.detach().reshape(1), **gradients}


def expected_of(step, bounds, has_next):
    """{"grad/<name>" and so on: (PyTorch's tensor, how far the recorded one may be)}"""
    expected = {}
    for what, values in loss_and_gradients(step).items():
        group, _, name = what.partition("/")
        expected[what] = values, bounds[group][name]
    if not has_next:
        return expected
    updated = updated_by_pytorch(step)
    for name in step.param:
        for group, bound in update_bounds(step, name, bounds).items():
            expected[group + "/" + name] = updated[group][name], bound
    return expected


def recorded_of(step, following):
    """The same tensors as they were recorded."""
    recorded = {"loss": torch.tensor([step.loss], dtype=torch.float64)}
    recorded.update(("grad/" + name, values) for name, values in step.grad.items())
    if following is not None:
        for group in ("param", "exp_avg", "exp_avg_sq"):
            for name, values in getattr(following, group).items():
                recorded[group + "/" + name] = values
    return recorded


def compare(recorded, expected):
    """(largest difference / bound, largest difference / largest element)"""
    value, bound = expected
    if recorded.shape != value.shape:
        return math.inf, math.inf
    off = (recorded - value).abs()
    ratios = torch.where(off == 0, 0.0, off / bound).nan_to_num(nan=math.inf)
    largest = value.abs().max().item()
    return ratios.max().item(), off.max().item() / (largest if largest > 0 else 1)


class Worst:
    """The worst of one tensor over all steps."""

    def __init__(self):
        self.ratio = self.relative = 0.0
        self.step = 0

    def add(self, step, ratio, relative):
        if ratio > self.ratio:
            self.ratio, self.step = ratio, step
        self.relative = max(self.relative, relative)


GROUPS = ("grad", "param", "exp_avg", "exp_avg_sq")


def show(worst, steps):
    """A line for each parameter, and the verdict: True if all are within their bounds."""
    print("largest difference: of its tensor's largest element, and of its bound")
    print(f"{'':<22}" + "".join(f"{group:>19}" for group in GROUPS))
    names = [what.removeprefix("grad/") for what in worst if what.startswith("grad/")]
    for name, row in [("loss", ["loss"])] + [(n, [f"{g}/{n}" for g in GROUPS]) for n in names]:
        cells = (worst[what] for what in row if what in worst)
        text = "".join(f"{cell.relative:>10.1e}{cell.ratio:>9.2g}" for cell in cells)
        print(f"{name:<22}{text}")
    largest = max(worst, key=lambda what: worst[what].ratio)
    within = worst[largest].ratio <= MOST
    print(
        f"{len(worst)} tensors of {steps} steps {'are within' if within else 'BREAK'} their bounds:"
        f" at most {worst[largest].ratio:.3g} of it, {largest} of step {worst[largest].step}"
    )
    return within


def crosscheck(steps):
    """True if all that was recorded is within its bounds."""
    worst = {}
    for step, recorded, expected in steps:
        if recorded.keys() != expected.keys():
            print(f"step {step.number} lacks", sorted(recorded.keys() ^ expected.keys()))
            return False
        for what in expected:
            ratio, relative = compare(recorded[what], expected[what])
            worst.setdefault(what, Worst()).add(step.number, ratio, relative)
    return show(worst, len(steps))


def mistakes(what, values, before):
    """To plant in a tensor: [(what is wrong, the wrong tensor)]. `before`: before the update."""
    if what.startswith("param/"):
        return [("its update is a hundredth too large", values + 0.01 * (values - before))]
    planted = [("it is a thousandth too large", 1.001 * values)]
    if what.startswith("grad/"):
        planted.append(("it is halved", values / 2))
        planted.append(("its sign is lost", values.abs()))
    return planted


def find_mistakes(steps):
    """True if each mistake, planted in every step, breaks a bound in one of them."""
    found = {}
    for step, recorded, expected in steps:
        for what, values in recorded.items():
            before = step.param.get(what.partition("/")[2])
            for mistake, wrong in mistakes(what, values, before):
                breaks = compare(wrong, expected[what])[0] > MOST
                found[what, mistake] = found.get((what, mistake), False) or breaks
    missed = [planted for planted, is_found in found.items() if not is_found]
    for what, mistake in missed:
        print(f"not found: {what}: {mistake}")
    print(f"{len(found) - len(missed)} of {len(found)} planted mistakes found")
    return not missed


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--plant", action="store_true", help="mistakes too, that must be found")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    recorded = read_steps(arguments.directory)
    if len(recorded) < 2:
        parser.error(f"'{arguments.directory}' needs at least two recorded steps")
    steps = []
    for i, (step, bounds) in enumerate(recorded):
        following = recorded[i + 1][0] if i + 1 < len(recorded) else None
        expected = expected_of(step, bounds, following is not None)
        steps.append((step, recorded_of(step, following), expected))
    good = crosscheck(steps)
    if arguments.plant:
        good = find_mistakes(steps) and good
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
