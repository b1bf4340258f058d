"""One update by PyTorch's optimizers, and what the contract's rounded constants may do to it."""

import itertools
import math

import torch

from models import float32


def step_size(recipe, step):
    """Warm-up, then the decay; see learning_rate in model/optimizer.h."""
    lr, min_lr = float(recipe["lr"]), float(recipe["min-lr"])
    warmup, steps = int(recipe["warmup"]), int(recipe["steps"])
    if step < warmup:
        return lr * (step + 1) / warmup
    decay = recipe["decay"]
    begin = max(warmup, steps - steps // 10) if decay == "wsd" else warmup
    if decay == "constant" or step < begin:
        return lr
    way = (step - begin) / (steps - begin)
    if decay == "cosine":
        return min_lr + (1 + math.cos(math.pi * way)) / 2 * (lr - min_lr)
    return lr - way * (lr - min_lr)


def clip_factor(step):
    most = float(step.recipe["clip"])
    norm = torch.cat([gradient.flatten() for gradient in step.grad.values()]).norm().item()
    return 1.0 if most == 0 or norm == 0 else min(1.0, most / norm)


def updated_by_pytorch(step):
    """After the update: {"param": {name: values}, "exp_avg": ..., "exp_avg_sq": ...}"""
    recipe, clip = step.recipe, clip_factor(step)
    parameters = {name: values.clone().requires_grad_() for name, values in step.param.items()}
    for name, values in parameters.items():
        values.grad = clip * step.grad[name]
    lr = step_size(recipe, step.number)
    if recipe["optimizer"] == "sgd":
        torch.optim.SGD(parameters.values(), lr=lr).step()
        return {"param": {name: values.detach() for name, values in parameters.items()}}
    matrices = [values for values in parameters.values() if values.dim() == 2]
    vectors = [values for values in parameters.values() if values.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
        lr=lr,
        betas=(float(recipe["beta1"]), float(recipe["beta2"])),
        eps=float(recipe["eps"]),
        weight_decay=float(recipe["weight-decay"]),
    )
    for name, values in parameters.items():
        optimizer.state[values] = {
            "step": torch.tensor(float(step.number)),
            "exp_avg": step.exp_avg[name].clone(),
            "exp_avg_sq": step.exp_avg_sq[name].clone(),
        }
    optimizer.step()
    updated = {"param": {name: values.detach() for name, values in parameters.items()}}
    for moment in ("exp_avg", "exp_avg_sq"):
        states = ((name, optimizer.state[values]) for name, values in parameters.items())
        updated[moment] = {name: state[moment] for name, state in states}
    return updated


class Rule:
    """An update as the contract writes it, in float64; `constant` is `float`, or rounds them."""

    def __init__(self, step, constant):
        recipe, lr, t = step.recipe, step_size(step.recipe, step.number), step.number + 1
        beta1, beta2 = float(recipe["beta1"]), float(recipe["beta2"])
        self.is_sgd = recipe["optimizer"] == "sgd"
        self.clip, self.lr = constant(clip_factor(step)), constant(lr)
        self.beta1, self.rest1 = constant(beta1), constant(1 - beta1)
        self.beta2, self.rest2 = constant(beta2), constant(1 - beta2)
        self.step_size = constant(lr / (1 - beta1**t))
        self.root = constant(1 / math.sqrt(1 - beta2**t))
        self.epsilon = constant(float(recipe["eps"]))
        self.decay = constant(lr * float(recipe["weight-decay"]))

    def moments(self, m, v, g):
        g = self.clip * g
        return self.beta1 * m + self.rest1 * g, self.beta2 * v + self.rest2 * g * g

    def values(self, w, m, v):
        """From the new moments."""
        kept = w - self.decay * w if w.dim() == 2 else w
        return kept - self.step_size * m / (v.sqrt() * self.root + self.epsilon)


def update_bounds(step, name, bounds):
    """How far the recorded update of a parameter may be from PyTorch's: {"param": ..., ...}.

    `bounds` are the oracle's, on the roundings of the update; of values, given the new moments. Two
    things come in beside them. Constants are rounded to float32: what that does is the difference
    it makes to one formula. And new moments are off by their own bounds: values rise or fall with
    each of the two, so the corners of the box that they are in show the most that this can do.
    """
    exact, rounded = Rule(step, float), Rule(step, float32)
    w, g = step.param[name], step.grad[name]
    if exact.is_sgd:
        moved = (rounded.lr * rounded.clip - exact.lr * exact.clip) * g
        return {"param": bounds["param"][name] + moved.abs()}
    before = step.exp_avg[name], step.exp_avg_sq[name], g
    m, v = rounded.moments(*before)
    m_exact, v_exact = exact.moments(*before)
    m_off, v_off = bounds["exp_avg"][name], bounds["exp_avg_sq"][name]
    w_new = rounded.values(w, m, v)
    corner = torch.zeros_like(w)
    for a, b in itertools.product((-1, 1), repeat=2):
        at = rounded.values(w, m + a * m_off, (v + b * v_off).clamp(min=0))
        corner = torch.maximum(corner, (at - w_new).abs())
    constants = (w_new - exact.values(w, m_exact, v_exact)).abs()
    return {
        "param": bounds["param"][name] + corner + constants,
        "exp_avg": m_off + (m - m_exact).abs(),
        "exp_avg_sq": v_off + (v - v_exact).abs(),
    }
