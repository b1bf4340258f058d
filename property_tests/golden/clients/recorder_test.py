"""The recorder for PyTorch: it writes what the step took and made, and changes nothing."""

import os
import sys
import tempfile
import unittest
import warnings

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "../../../golden/clients"))

import torch
from torch import nn
from torch.nn import functional

from gpt2_pytorch import GPT2
from meshparity_recorder import Recorder, RecordingError
from recorded_file import read
from tensor_parallel import attention_ranges

GPT2_HERE = {
    "kind": "gpt2",
    "layers": 2,
    "heads": 2,
    "eps": 1e-5,
    "gelu": "tanh",
    "tied": True,
    "biases": True,
    "weights": "output_input",
}


def small_gpt2(seed=1):
    torch.manual_seed(seed)
    return GPT2(vocabulary=11, positions=5, layers=2, heads=2, channels=8)


def batch(seed=2):
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(11, (2, 4, 5), generator=generator)
    return drawn[0], drawn[1]


def mean_loss(model, tokens, targets):
    return functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())


def adamw(model, **options):
    return torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1, **options)


def steps_of(model, optimizer, recorder, number):
    """Of training, each on two microbatches."""
    for step in range(number):
        optimizer.zero_grad()
        tokens, targets = batch(step)
        for rows in (slice(0, 1), slice(1, 4)):
            recorder.part(tokens[rows], targets[rows])
            loss = mean_loss(model, tokens[rows], targets[rows]) / 2
            recorder.loss(loss).backward()
        recorder.gradients()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()


class Silent:
    """A recorder that is none."""

    part = gradients = lambda self, *_: None
    loss = lambda self, loss: loss


class RecorderTest(unittest.TestCase):
    def setUp(self):
        torch.set_num_threads(1)
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.folder = os.path.join(scratch.name, "recording")

    def equal(self, left, right):
        self.assertTrue(torch.equal(left, right), f"{left}\n{right}")

    def close(self, left, right):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)

    def recorded(self, model, description=GPT2_HERE, **options):
        """One step of it on one part."""
        recorder = Recorder(self.folder, model, description, **options)
        tokens, targets = batch()
        recorder.part(tokens, targets)
        loss = recorder.loss(mean_loss(model, tokens, targets))
        loss.backward()
        tokens.zero_()
        recorder.gradients()
        return read(self.folder)

    def fails(self, words, function, *arguments, **keywords):
        with self.assertRaises(RecordingError) as caught:
            function(*arguments, **keywords)
        self.assertIn(words, str(caught.exception))
        self.assertIn("\ntry: ", str(caught.exception))

    def test_changes_no_bit(self):
        watched, alone = small_gpt2(), small_gpt2()
        optimizer, silent = adamw(watched), adamw(alone)
        steps_of(watched, optimizer, Recorder(self.folder, watched, GPT2_HERE, optimizer), 3)
        steps_of(alone, silent, Silent(), 3)
        for left, right in zip(watched.parameters(), alone.parameters()):
            self.equal(left, right)

    def test_parameters_gradients_and_moments(self):
        model = small_gpt2()
        optimizer = adamw(model)
        begin = {name: p.detach().clone() for name, p in model.named_parameters()}
        recorder = Recorder(self.folder, model, GPT2_HERE, optimizer, steps=range(1, 3))
        steps_of(model, optimizer, recorder, 4)
        self.assertEqual(
            sorted(os.listdir(self.folder)), ["step-000001.safetensors", "step-000002.safetensors"]
        )
        twin = small_gpt2()
        twins = adamw(twin)
        steps_of(twin, twins, Silent(), 1)
        (tensors, told), (following, _) = read(self.folder, 1), read(self.folder, 2)
        self.assertEqual(told["optimizer"]["update"], 2)
        tokens, targets = batch(1)
        self.equal(tensors["batch.tokens"], tokens)
        self.equal(tensors["batch.targets"], targets)
        twins.zero_grad()
        losses = [mean_loss(twin, tokens[r], targets[r]) / 2 for r in (slice(0, 1), slice(1, 4))]
        for loss in losses:
            loss.backward()
        self.equal(tensors["loss"], torch.stack(losses))
        for name, parameter in twin.named_parameters():
            self.assertFalse(torch.equal(parameter, begin[name]))
            self.equal(tensors["param/" + name], parameter)
            self.equal(tensors["grad/" + name], parameter.grad)
            self.equal(tensors["param_after/" + name], following["param/" + name])
            for moment in ("exp_avg", "exp_avg_sq"):
                self.equal(tensors[f"state/{moment}/{name}"], twins.state[parameter][moment])
                after = tensors[f"state_after/{moment}/{name}"]
                self.equal(after, following[f"state/{moment}/{name}"])
        self.assertNotIn("grad/lm_head.weight", tensors)

    def test_first_update_begins_with_moments_of_zero(self):
        model = small_gpt2()
        optimizer = adamw(model)
        steps_of(model, optimizer, Recorder(self.folder, model, GPT2_HERE, optimizer), 1)
        tensors, told = read(self.folder)
        self.equal(tensors["state/exp_avg/ln_f.bias"], torch.zeros(8))
        self.assertEqual(told["optimizer"]["update"], 1)

    def test_operations_are_their_own(self):
        """Each gradient of an input is the module's alone, without the residual's."""
        model = small_gpt2()
        tensors, _ = self.recorded(model)
        norm = modules_of(model)["h.1.ln_2"]
        x = tensors["input/h.1.ln_2"].clone().requires_grad_()
        y = norm(x)
        self.equal(tensors["output/h.1.ln_2"], y)
        y.backward(tensors["grad_output/h.1.ln_2"])
        self.close(tensors["grad_input/h.1.ln_2"], x.grad)
        for name, module in modules_of(model).items():
            if isinstance(module, nn.Linear):
                gradient = tensors["grad_output/" + name]
                self.close(tensors["grad_input/" + name], gradient @ module.weight)
                if name != "lm_head":
                    self.close(module.weight.grad, gradient.T @ tensors["input/" + name])
        self.equal(tensors["input/h.0.attn.c_attn"], tensors["output/h.0.ln_1"])
        self.equal(tensors["grad_output/h.0.ln_1"], tensors["grad_input/h.0.attn.c_attn"])
        self.assertEqual(tensors["output/wte"].shape, (20, 8))
        self.assertEqual(tensors["grad_output/wpe"].shape, (5, 8))
        self.assertNotIn("input/wte", tensors)

    def test_what_is_changed_in_place_later(self):
        class InPlace(nn.Module):
            def __init__(self):
                super().__init__()
                self.wte, self.lm_head = nn.Embedding(11, 8), nn.Linear(8, 11)

            def forward(self, tokens):
                x = self.wte(tokens)
                x *= 2
                logits = self.lm_head(x)
                logits += 1
                return logits

        model = InPlace()
        description = {**GPT2_HERE, "layers": 0, "tied": False}
        tensors, _ = self.recorded(model, description)
        self.equal(tensors["batch.tokens"], batch()[0])
        self.equal(tensors["output/wte"], model.wte(batch()[0]).flatten(0, 1))
        self.close(2 * tensors["output/wte"], tensors["input/lm_head"])
        self.close(tensors["output/lm_head"], model.lm_head(tensors["input/lm_head"]))
        self.close(tensors["grad_output/wte"], 2 * tensors["grad_input/lm_head"])
        self.close(model.lm_head.bias.grad, tensors["grad_output/lm_head"].sum(0))

    def test_names_of_wrappers_are_dropped(self):
        class Wrapped(nn.Module):
            def __init__(self, model):
                super().__init__()
                self.module = nn.ModuleDict({"transformer": model})
                model.h[0]._modules["_checkpoint_wrapped_module"] = model.h[0]._modules.pop("attn")
                model.h[0].__dict__["attn"] = model.h[0]._checkpoint_wrapped_module

            def forward(self, tokens):
                return self.module["transformer"](tokens)

        tensors, _ = self.recorded(
            Wrapped(small_gpt2()),
            rename=lambda name: name.replace("h.0.c_", "h.0.attn.c_"),
        )
        plain = small_gpt2()
        for name, parameter in plain.named_parameters():
            self.equal(tensors["param/" + name], parameter)
        self.assertIn("grad_input/h.0.attn.c_proj", tensors)

    def test_layers_of_other_classes(self):
        class Conv1D(nn.Module):
            """As in transformers: weight (inputs, outputs)."""

            def __init__(self, inputs, outputs):
                super().__init__()
                self.weight = nn.Parameter(torch.randn(inputs, outputs))
                self.bias = nn.Parameter(torch.randn(outputs))

            def forward(self, x):
                return torch.addmm(self.bias, x.view(-1, x.shape[-1]), self.weight).view(
                    *x.shape[:-1], -1
                )

        model = small_gpt2()
        for layer in model.h:
            layer.mlp.c_fc = Conv1D(8, 32)
        tensors, _ = self.recorded(model)
        self.assertEqual(tensors["output/h.0.mlp.c_fc"].shape, (20, 32))
        x, weight = tensors["input/h.0.mlp.c_fc"], tensors["param/h.0.mlp.c_fc.weight"]
        self.close(tensors["grad/h.0.mlp.c_fc.weight"], x.T @ tensors["grad_output/h.0.mlp.c_fc"])
        self.close(tensors["output/h.0.mlp.c_fc"], x @ weight + tensors["param/h.0.mlp.c_fc.bias"])

    def test_slices_of_parameters_and_activations(self):
        ranges = attention_ranges(8, 1, 2)
        self.assertEqual(ranges, [[4, 8], [12, 16], [20, 24]])
        slices = {
            "h.0.attn.c_attn.weight": ([48, 8], [[[24, 48]], [[0, 8]]]),
            "h.0.mlp.c_proj.weight": ([8, 64], [[[0, 8]], [[32, 64]]]),
        }
        _, told = self.recorded(small_gpt2(), slices=slices)
        weight = {"shape": [48, 8], "ranges": [[[24, 48]], [[0, 8]]]}
        columns = {"shape": [20, 48], "ranges": [[[0, 20]], [[24, 48]]]}
        rows = {"shape": [20, 64], "ranges": [[[0, 20]], [[32, 64]]]}
        self.assertEqual(told["slices"]["param/h.0.attn.c_attn.weight"], weight)
        self.assertEqual(told["slices"]["grad/h.0.attn.c_attn.weight"], weight)
        self.assertEqual(told["slices"]["output/h.0.attn.c_attn"], columns)
        self.assertEqual(told["slices"]["grad_output/h.0.attn.c_attn"], columns)
        self.assertEqual(told["slices"]["input/h.0.mlp.c_proj"], rows)
        self.assertEqual(told["slices"]["grad_input/h.0.mlp.c_proj"], rows)
        self.assertEqual(len(told["slices"]), 8)

    def test_rows_of_an_mlp_are_samples(self):
        class MLP(nn.Module):
            def __init__(self):
                super().__init__()
                self.embedding, self.output = nn.Embedding(11, 8), nn.Linear(24, 11)

            def forward(self, tokens):
                return self.output(self.embedding(tokens).flatten(1))

        model = MLP()
        recorder = Recorder(self.folder, model, {"kind": "mlp", "weights": "output_input"})
        tokens, targets = batch()[0][:, :3], batch()[1][:, :1]
        recorder.part(tokens, targets)
        recorder.loss(functional.cross_entropy(model(tokens), targets.flatten())).backward()
        recorder.gradients()
        tensors, _ = read(self.folder)
        self.assertEqual(tensors["output/embedding"].shape, (4, 24))
        self.equal(tensors["output/embedding"], tensors["input/output"])
        self.equal(tensors["grad_output/embedding"], tensors["grad_input/output"])

    def test_ranks_and_parts(self):
        model = small_gpt2()
        recorder = Recorder(self.folder, model, GPT2_HERE, rank=1, ranks=2)
        tokens, targets = batch()
        self.fails("which samples", recorder.part, tokens, targets)
        for samples in ((4, 6), (6, 8)):
            rows = slice(samples[0] - 4, samples[1] - 4)
            recorder.part(tokens[rows], targets[rows], samples=samples, weight=0.5)
            recorder.loss(mean_loss(model, tokens[rows], targets[rows])).backward()
        recorder.gradients()
        tensors, told = read(self.folder, rank=".rank-0001")
        self.assertEqual((told["rank"], told["ranks"]), (1, 2))
        self.assertEqual(told["parts"][1], {"samples": [6, 8], "weight": 0.5})
        self.assertEqual(tensors["output/h.0.ln_1"].shape, (20, 8))
        self.assertEqual(tensors["loss"].shape, (2,))

    def test_optimizers_are_described(self):
        model = small_gpt2()
        matrices = [p for p in model.parameters() if p.dim() == 2]
        vectors = [p for p in model.parameters() if p.dim() == 1]
        groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0}]
        optimizer = torch.optim.AdamW(groups, lr=0.5, betas=(0.8, 0.9), eps=1e-6)
        options = {"clip": {"max_norm": 0.1, "formula": "torch"}, "updates_before": 7}
        recorder = Recorder(self.folder, model, GPT2_HERE, optimizer, **options)
        steps_of(model, optimizer, recorder, 1)
        told = read(self.folder)[1]
        described = told["optimizer"]
        self.assertEqual(told["clip"], {"max_norm": 0.1, "formula": "torch"})
        self.assertEqual(len(described.pop("decayed")), len(matrices))
        numbers = {"lr": 0.5, "beta1": 0.8, "beta2": 0.9, "eps": 1e-6, "weight_decay": 0.1}
        self.assertEqual(described, {"kind": "adamw", "update": 8, **numbers})
        for bad in (
            torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
            torch.optim.Adam(model.parameters(), weight_decay=0.1),
            torch.optim.RMSprop(model.parameters()),
        ):
            self.fails("knows no update by", Recorder, self.folder, model, GPT2_HERE, bad)

    def test_schedules_before_and_after(self):
        """The rate is that of the step, whichever of scheduler and recorder came first."""
        for first in (True, False):
            with self.subTest(scheduler_first=first), tempfile.TemporaryDirectory() as scratch:
                model = small_gpt2()
                optimizer = adamw(model)
                schedule = lambda: torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
                scheduler = schedule() if first else None
                recorder = Recorder(scratch, model, GPT2_HERE, optimizer, steps=range(2))
                scheduler = scheduler or schedule()
                with warnings.catch_warnings():
                    warnings.simplefilter("error")
                    for _ in range(2):
                        steps_of(model, optimizer, recorder, 1)
                        scheduler.step()
                rates = [read(scratch, step)[1]["optimizer"]["lr"] for step in range(2)]
                self.assertEqual(rates, [0.01, 0.005])

    def test_no_gradient_is_zero(self):
        model = small_gpt2()
        model.h[1].mlp.forward = lambda x: torch.zeros_like(x)
        forward = model.h[0].mlp.forward
        model.h[0].mlp.forward = lambda x: forward(x).detach()
        del model.h[1].mlp.c_fc, model.h[1].mlp.c_proj
        tensors, _ = self.recorded(model)
        self.equal(tensors["grad/h.0.mlp.c_fc.weight"], torch.zeros(32, 8))
        self.equal(tensors["grad_input/h.0.mlp.c_fc"], torch.zeros(20, 8))

    def test_misuse_is_named(self):
        model = small_gpt2()
        optimizer = adamw(model)
        recorder = Recorder(self.folder, model, GPT2_HERE, optimizer)
        tokens, targets = batch()
        self.fails("without a part", recorder.loss, torch.zeros(()))
        self.fails("without a part", recorder.gradients)
        self.fails("step 0 has no part", optimizer.step)
        self.fails("tokens are", recorder.part, tokens, targets[:, 1:])
        recorder.part(tokens, targets)
        self.fails("has no loss", recorder.gradients)
        loss = recorder.loss(mean_loss(model, tokens, targets))
        self.fails("ran twice", model, tokens)
        self.fails("no parameter has a gradient", recorder.gradients)
        loss.backward()
        self.fails("step 0 has no gradients", optimizer.step)
        recorder.gradients()
        self.fails("but no update", recorder.part, tokens, targets)
        optimizer.step()
        recorder.part(tokens, targets)  # beyond `steps`
        self.fails("holds a recording already", Recorder, self.folder, model, GPT2_HERE)
        none = {"h.9.weight": ([1], [[0, 1]])}
        self.fails("no parameter", Recorder, self.folder, model, GPT2_HERE, slices=none)

    def test_unknown_modules_are_named(self):
        model = small_gpt2()
        model.extra = nn.MultiheadAttention(8, 2)
        self.fails("'extra' is a MultiheadAttention", Recorder, self.folder, model, GPT2_HERE)
        compiled = small_gpt2()
        compiled.__dict__["_orig_mod"] = compiled
        self.fails("compiled", Recorder, self.folder, compiled, GPT2_HERE)

    def test_without_operations(self):
        model = small_gpt2()
        tensors, _ = self.recorded(model, operations=False)
        self.assertFalse([name for name in tensors if "put/" in name])
        self.assertIn("grad/wte.weight", tensors)

    def test_types(self):
        model = small_gpt2().double()
        self.fails("float64", self.recorded, model)
        model = small_gpt2().bfloat16()
        tensors, told = self.recorded(model, premises={"arithmetic": "bf16"})
        self.equal(tensors["param/wte.weight"], model.wte.weight)
        self.assertEqual(told["arithmetic"], "bf16")


def modules_of(model):
    return dict(model.named_modules())


if __name__ == "__main__":
    unittest.main()
