"""Records training steps of a PyTorch model, for meshparity-judge. Copy this file next to yours.

It needs torch, 1.13 or newer, and nothing else. golden/RECORDINGS.md says what a recording is.

    from meshparity_recorder import Recorder

    description = {"kind": "gpt2", "layers": 4, "heads": 4, "eps": 1e-5, "gelu": "tanh",
                   "tied": True, "biases": True, "weights": "output_input"}
    recorder = Recorder("recording", model, description, optimizer, steps=range(3),
                        clip={"max_norm": 1.0, "formula": "torch"})
    for tokens, targets in batches:
        optimizer.zero_grad()
        recorder.part(tokens, targets)        # before a forward pass
        loss = cross_entropy(model(tokens), targets)
        recorder.loss(loss).backward()        # the number whose backward pass is run
        recorder.gradients()                  # all are added up, none is clipped
        clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()                      # writes recording/step-000000.safetensors

Beyond `steps` they do nothing. A step that is recorded takes the memory of its file.

*What you mean.* The judge holds the program to what you declare: model, clipping and the number of
the update are not read from the program. The optimizer's numbers are, because schedules change
them; `optimizer_means` has those that you declare, such as {"decayed": [names]}.

*Microbatches.* Each is a `part`. Its `weight` is what the gradient of its own loss is multiplied by
before all are added up: 1 where the loss was divided before its backward pass.

*DistributedDataParallel.* Every rank has a Recorder of the same folder, and says which samples of
the global batch a part has: `part(tokens, targets, samples=(begin, end))`. The weight is 1 / ranks,
since gradients are averaged. The sum of weight x loss over all parts of all ranks has to be the
mean over all targets of the global batch: a mean of means is not, where ranks differ in targets.

*Tensor parallel.* `slices` says what this rank has of whole parameters, {name: (shape, ranges)}:
for each dimension the ranges [begin, end] of the whole that, joined, are this rank's. Query, key
and value of the second half of the heads, of 64 channels:

    {"h.0.attn.c_attn.weight": ([192, 64], [[[32, 64], [96, 128], [160, 192]], [[0, 64]]]), ...}

Ranks that share samples name the same ones. Communication belongs into a layer's module: a
column-parallel one adds up its input's gradient, a row-parallel one its output.

*Operations.* Modules with a `weight` of their own (Linear, Conv1D, LayerNorm, Embedding, and yours
of that kind) are recorded: inputs, outputs and the gradients of both. Their names are those of
Hugging Face's GPT-2, without prefixes of wrappers; `rename` maps yours to them. Logits have to come
from a module `lm_head`. `operations=False` records none: no bound for a whole transformer is sharp,
so that the judge can verify updates alone. torch.compile leaves operations no values of their own:
record the model before it is compiled. FSDP's flat parameters have no names: not supported.
"""

import ctypes
import functools
import json
import os
import types

import torch
from torch import nn

WRAPPERS = "module _orig_mod _fsdp_wrapped_module _checkpoint_wrapped_module transformer".split()
DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64", torch.int32: "I32"}


class RecordingError(RuntimeError):
    """The program and what it told the recorder do not fit. The message says what to try."""


def fail(what, next_step):
    raise RecordingError(f"{what}\ntry: {next_step}")


class Part:
    """What a forward and backward pass took and made: {"input/h.0.ln_1": (rows, width), ...}."""

    def __init__(self, tokens, targets, samples, weight):
        self.tokens, self.targets = copy(tokens), copy(targets)
        self.samples, self.weight = samples, weight
        self.loss, self.values = None, {}

    def add(self, name, value):
        if self.values.get(name) is not None:
            fail(
                f"'{name.partition('/')[2]}' ran twice in one part",
                "part() before each forward pass, no activation checkpointing, or operations=False",
            )
        a_row_is_a_sample = self.targets.shape != self.tokens.shape  # of an MLP
        value = copy(value)
        rows = value.flatten(1) if a_row_is_a_sample else value.reshape(-1, value.shape[-1])
        self.values[name] = rows

    def get(self, name):
        """A gradient that never came is zero."""
        if name not in self.values:
            fail(f"'{name}' is not in every part", "the same modules in each, or operations=False")
        value = self.values[name]
        return torch.zeros_like(self.values[name[len("grad_") :]]) if value is None else value


class Recorder:
    """Writes FOLDER/step-<step>.safetensors, of several ranks step-<step>.rank-<rank>.safetensors.

    model            as it is trained, wrapped by DistributedDataParallel or not
    description      {"kind": "gpt2", "layers": .., "heads": .., "eps": .., "gelu": "tanh" or "erf",
                     "tied": .., "biases": .., "weights": "output_input" (Linear) or
                     "input_output" (Conv1D)}, or {"kind": "mlp", "weights": ..}
    optimizer        AdamW, or SGD without momentum; None: updates are not recorded
    steps            those to record; 0 is the first step that this recorder sees
    clip             {"max_norm": .., "formula": "torch" or "exact"}; None: nothing is clipped
    updates_before   how many the optimizer had made before step 0, in a run that goes on
    optimizer_means  numbers that you declare: lr, beta1, beta2, eps, weight_decay, decayed
    slices           of a tensor-parallel rank, {parameter: (shape of the whole, ranges)}
    premises         others of the page: {"arithmetic": "tf32", "longest_chain": 512, "axes": ..}
    operations       False: none is recorded
    rename           from your names of modules and parameters to GPT-2's
    rank, ranks      torch.distributed's, if not given
    """

    def __init__(
        self,
        folder,
        model,
        description,
        optimizer=None,
        steps=range(1),
        clip=None,
        updates_before=0,
        optimizer_means=None,
        slices=None,
        premises=None,
        operations=True,
        rename=lambda name: name,
        rank=None,
        ranks=None,
    ):
        if ranks is None:
            rank, ranks = 0, 1
            if torch.distributed.is_available() and torch.distributed.is_initialized():
                rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.folder, self.rank, self.ranks = folder, rank, ranks
        self.optimizer, self.optimizer_means = optimizer, optimizer_means or {}
        self.steps, self.updates_before, self.slices = steps, updates_before, slices or {}
        self.told = {"recording": 1, "model": description, **(premises or {})}
        if clip is not None:
            self.told["clip"] = clip
        averaged = isinstance(model, nn.parallel.DistributedDataParallel)
        self.weight = 1 / ranks if averaged else 1.0
        self.rename, self.step, self.parts, self.tensors = rename, 0, [], {}
        self.parameters = self.named_parameters(model)
        for name in self.slices.keys() - self.parameters.keys():
            fail(f"slices has '{name}', which is no parameter", ", ".join(self.parameters))
        if operations:
            self.hook_operations(model)
        if optimizer is not None:
            self.described_optimizer()
            self.wrap_step(optimizer)
        os.makedirs(folder, exist_ok=True)
        if any(name.startswith("step-") for name in os.listdir(folder)):
            fail(f"'{folder}' holds a recording already", f"rm -r '{folder}', or another folder")

    def part(self, tokens, targets, samples=None, weight=None):
        """Begins a microbatch, before its forward pass.

        tokens, targets: (samples, positions); targets are shifted already, negative: none. Of an
        MLP (samples, context) and (samples, 1).
        samples: (begin, end) in the global batch; on one rank, if left out, the next ones.
        """
        if not self.recording():
            return
        if tokens.dim() != 2 or targets.shape not in (tokens.shape, (len(tokens), 1)):
            shapes = f"{tuple(tokens.shape)} and targets {tuple(targets.shape)}"
            fail(f"tokens are {shapes}", "(samples, positions), targets shifted by one position")
        if "grad" in self.tensors:
            fail(f"step {self.step} had gradients, but no update", "optimizer.step() before part()")
        if samples is None:
            if self.ranks > 1:
                fail("which samples of the global batch?", "part(.., samples=(begin, end))")
            begin = self.parts[-1].samples[1] if self.parts else 0
            samples = begin, begin + len(tokens)
        if not self.parts:
            self.tensors = {"param": self.copied_parameters()}
            self.tensors.update(self.moments("state", self.step + self.updates_before == 0))
        weight = self.weight if weight is None else weight
        self.parts.append(Part(tokens, targets, samples, weight))

    def loss(self, loss):
        """Takes the number whose backward pass is run for this part. Returns it."""
        if self.recording():
            if not self.parts:
                fail("a loss without a part", "recorder.part() before the forward pass")
            self.parts[-1].loss = copy(loss).reshape(1)
        return loss

    def gradients(self):
        """Takes the gradients: after all backward passes and reductions, before clipping."""
        if not self.recording():
            self.step += self.optimizer is None
            return
        if not self.parts:
            fail("gradients without a part", "recorder.part() before each forward pass")
        if any(part.loss is None for part in self.parts):
            fail("a part has no loss", "recorder.loss(loss).backward()")
        if all(parameter.grad is None for parameter in self.parameters.values()):
            fail("no parameter has a gradient", "gradients() after backward, before zero_grad")
        self.tensors["grad"] = {
            name: copy(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
            for name, parameter in self.parameters.items()
        }
        if self.optimizer is None:
            self.write()

    def recording(self):
        return self.step in self.steps

    def name_of(self, name):
        return self.rename(".".join(word for word in name.split(".") if word not in WRAPPERS))

    def named_parameters(self, model):
        """{name: parameter}; a tied head is the embedding."""
        named = {}
        for place, module in model.named_modules():
            for name, parameter in module.named_parameters(place, recurse=False):
                if parameter.requires_grad:
                    named[self.name_of(name)] = parameter
        if "lm_head.weight" in named and named["lm_head.weight"] is named.get("wte.weight"):
            del named["lm_head.weight"]
        return named

    def hook_operations(self, model):
        if hasattr(model, "_orig_mod"):
            fail("operations of a compiled model have no values", "the model before torch.compile")
        for place, module in model.named_modules():
            own = [name for name, _ in module.named_parameters(recurse=False)]
            if "weight" in own and set(own) <= {"weight", "bias"}:
                self.hook(self.name_of(place), module)
            elif own:
                fail(
                    f"'{place}' is a {type(module).__name__} with {', '.join(own)}",
                    "layers that have a weight and a bias, or operations=False",
                )

    def hook(self, name, module):
        def before(_, inputs):
            if not self.parts or not self.recording():
                return None
            if not inputs:
                fail(f"'{name}' was called with keywords", "its input by position")
            part, x = self.parts[-1], inputs[0]
            if not x.is_floating_point():
                return None
            part.add("input/" + name, x)
            if not x.requires_grad:
                return None
            # Others may read x, too: the gradient of this view is the module's alone.
            x = x.view_as(x)
            part.values["grad_input/" + name] = None
            x.register_hook(functools.partial(part.add, "grad_input/" + name))
            return (x, *inputs[1:])

        def after(_, inputs, output):
            if not self.parts or not self.recording():
                return None
            part = self.parts[-1]
            part.add("output/" + name, output)
            if not output.requires_grad:
                return None
            # The model gets a copy, whose function has the hook: it may change that in place.
            output = output.clone()
            part.values["grad_output/" + name] = None
            output.grad_fn.register_hook(
                lambda _, gradients: part.add("grad_output/" + name, gradients[0])
            )
            return output

        module.register_forward_pre_hook(before)
        module.register_forward_hook(after)

    def wrap_step(self, optimizer):
        original = optimizer.step

        @functools.wraps(original)
        def step(_, *arguments, **keywords):
            if not self.recording():
                self.step += 1
                return original(*arguments, **keywords)
            if not self.parts:
                fail(f"step {self.step} has no part", "recorder.part() before each forward pass")
            if "grad" not in self.tensors:
                fail(f"step {self.step} has no gradients", "recorder.gradients() before clipping")
            result = original(*arguments, **keywords)
            self.tensors["param_after"] = self.copied_parameters()
            self.tensors.update(self.moments("state_after", False))
            self.write()
            return result

        optimizer.step = types.MethodType(step, optimizer)  # schedulers want a method

    def copied_parameters(self):
        return {name: copy(parameter) for name, parameter in self.parameters.items()}

    def moments(self, group, at_first):
        """Adam's, {"state/exp_avg": {name: ..}, ..}: zero before the first update."""
        if self.optimizer is None or isinstance(self.optimizer, torch.optim.SGD):
            return {}
        moments = {}
        for moment in ("exp_avg", "exp_avg_sq"):
            values = moments[f"{group}/{moment}"] = {}
            for name, parameter in self.parameters.items():
                state = self.optimizer.state.get(parameter, {})
                if moment in state:
                    values[name] = copy(state[moment])
                elif at_first:
                    values[name] = copy(torch.zeros_like(parameter))
        return moments

    def described_optimizer(self):
        groups, kind = self.optimizer.param_groups, type(self.optimizer).__name__
        decays = {group["weight_decay"] for group in groups} - {0}
        known = kind == "AdamW" or kind in ("Adam", "SGD") and not decays
        if not known or any(group.get("momentum") or group.get("amsgrad") for group in groups):
            next_step = "AdamW, SGD without momentum and decay, or optimizer=None"
            fail(f"the judge knows no update by {kind} with these options", next_step)
        if len(decays) > 1 or len({group["lr"] for group in groups}) > 1:
            fail("groups of parameters differ in learning rate or decay", "optimizer=None")
        update = self.step + self.updates_before + 1
        described = {"kind": "sgd", "lr": float(groups[0]["lr"]), "update": update}
        if kind != "SGD":
            beta1, beta2 = groups[0]["betas"]
            decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
            described.update(kind="adamw", beta1=beta1, beta2=beta2, eps=groups[0]["eps"])
            described["weight_decay"] = max(decays, default=0.0)
            described["decayed"] = [n for n, p in self.parameters.items() if id(p) in decayed]
        return {**described, **self.optimizer_means}

    def write(self):
        """This step's file, whole or not at all. The next step begins."""
        parts = self.parts
        tensors = {
            "batch.tokens": torch.cat([part.tokens for part in parts]),
            "batch.targets": torch.cat([part.targets for part in parts]),
            "loss": torch.cat([part.loss for part in parts]),
        }
        for group, values in self.tensors.items():
            tensors.update((f"{group}/{name}", value) for name, value in values.items())
        for name in sorted({name for part in parts for name in part.values}):
            tensors[name] = torch.cat([part.get(name) for part in parts])
        told = {**self.told, "step": self.step, "rank": self.rank, "ranks": self.ranks}
        told["parts"] = [{"samples": [*part.samples], "weight": part.weight} for part in parts]
        if self.optimizer is not None:
            told["optimizer"] = self.described_optimizer()
        slices = {name: self.slice_of(name, value) for name, value in tensors.items()}
        told["slices"] = {name: entry for name, entry in slices.items() if entry is not None}
        rank = f".rank-{self.rank:04}" if self.ranks > 1 else ""
        path = os.path.join(self.folder, f"step-{self.step:06}{rank}.safetensors")
        write_safetensors(path, tensors, {"meshparity": json.dumps(told)})
        self.step, self.parts, self.tensors = self.step + 1, [], {}

    def slice_of(self, name, value):
        """What a tensor is of the whole one; of activations, what its columns are. None: all."""
        group, _, of = name.rpartition("/")
        if of in self.slices:
            shape, ranges = self.slices[of]
            return {"shape": shape, "ranges": ranges}
        is_tied = of == "lm_head" and "lm_head.weight" not in self.parameters
        weight = self.slices.get("wte.weight" if is_tied else of + ".weight")
        if weight is None or not group.endswith(("input", "output")):
            return None
        shape, ranges = weight
        outputs = 0 if self.told["model"]["weights"] == "output_input" else 1
        outputs = {"wte": 1, "wpe": 1, "lm_head": 0}.get(of, outputs)
        dimension = outputs if group.endswith("output") else 1 - outputs
        if ranges[dimension] == [[0, shape[dimension]]]:
            return None
        rows = len(value)
        return {"shape": [rows, shape[dimension]], "ranges": [[[0, rows]], ranges[dimension]]}


def copy(tensor):
    """Its values now, in this process's memory."""
    return tensor.detach().to("cpu", copy=True).contiguous()


def write_safetensors(path, tensors, metadata):
    """The length of a JSON header in 8 bytes, the header, the tensors' bytes (little-endian)."""
    tensors = dict(sorted(tensors.items(), key=lambda item: (-item[1].element_size(), item[0])))
    header, end = {"__metadata__": metadata}, 0
    for name, tensor in tensors.items():
        if tensor.dtype not in DTYPES:
            fail(f"'{name}' is {tensor.dtype}", "training in torch.float32 or torch.bfloat16")
        begin, end = end, end + tensor.numel() * tensor.element_size()
        dtype, shape = DTYPES[tensor.dtype], list(tensor.shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".partial", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors.values():
            size = tensor.numel() * tensor.element_size()
            file.write((ctypes.c_char * size).from_address(tensor.data_ptr()))
    os.replace(path + ".partial", path)
