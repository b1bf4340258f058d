"""Trainers in PyTorch before the judge: honest ones, and the same with planted bugs.

    clients.py [--short] JUDGE

JUDGE is meshparity-judge. golden/clients/gpt2_pytorch.py trains and records, each run in a process
of its own. Honest runs have to be verified; bugged ones different, and named: the first hypothesis
is one that fits. --short: a few of each.

Exit status: 0 as it has to be, 1 not, 2 bad usage, 3 the judge or a trainer failed.
"""

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import shlex
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
CLIENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../golden/clients")
sys.path.insert(0, CLIENTS)

import gpt2_pytorch
import planted_bugs

FORK = multiprocessing.get_context("fork")  # torch is imported once
SMALL = "--layers 2 --channels 32"
HONEST = {
    "one process": "--steps 10",
    "4 microbatches": "--accumulate 4",
    "data parallel, 2 ranks": "--ranks 2",
    "data parallel, 4 ranks": "--ranks 4",
    "data parallel, 2 ranks, 2 microbatches": "--ranks 2 --accumulate 2",
    "tensor parallel, 2 ranks": "--ranks 2 --tensor-parallel",
    "tensor parallel, 2 ranks, 2 microbatches": "--ranks 2 --tensor-parallel --accumulate 2",
}
SHORT_HONEST = ("data parallel, 2 ranks, 2 microbatches", "tensor parallel, 2 ranks")
SHORT_BUGS = ("bias-before-the-sum", "smaller-epsilon", "summed-over-ranks", "tied-use-missing")


def train(arguments, log):
    """In a process of its own, whose streams go into a file."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    gpt2_pytorch.main(arguments)


class Failed(Exception):
    """A trainer or the judge did not come to an end."""


def judged(judge, options):
    """(verdict as JSON, what the judge printed) of one run."""
    with tempfile.TemporaryDirectory() as scratch:
        recording, log = os.path.join(scratch, "recording"), os.path.join(scratch, "log")
        arguments = [*shlex.split(options), "--record", recording]
        trainer = FORK.Process(target=train, args=(arguments, log))
        trainer.start()
        trainer.join()
        if trainer.exitcode:
            with open(log) as file:
                raise Failed(f"gpt2_pytorch.py {options}:\n{file.read()}")
        verdict = os.path.join(scratch, "verdict.json")
        run = subprocess.run([judge, recording, "--json", verdict], capture_output=True, text=True)
        if run.returncode not in (0, 1, 4):
            raise Failed(f"the judge of {options} ends with {run.returncode}:\n{run.stderr}")
        with open(verdict) as file:
            return json.load(file), run.stdout


def table(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths)).rstrip())


def largest(verdict, key):
    return max(float(line[key]) for line in verdict["lines"])


def first_tensor(verdict):
    """The first that differs from the oracle's, or else between ranks."""
    found = [verdict["first"]] if verdict["first"] else verdict["replicas"]
    return f"step {found[0]['step']}, {found[0]['tensor']}" if found else "-"


def judge_honest(names, pool, judge):
    """Prints their table. True if all of them are verified."""
    runs = {name: pool.submit(judged, judge, HONEST[name]) for name in names}
    rows = [("client", "verdict", "tensors", "error/bound", "bound/value")]
    good = True
    for name, run in runs.items():
        verdict, text = run.result()
        if name == names[0] or verdict["verdict"] != "verified":
            print(f"{name}: gpt2_pytorch.py {HONEST[name]}\n{text}")
        good = good and verdict["verdict"] == "verified"
        worst = [f"{largest(verdict, key):.3g}" for key in ("error_over_bound", "bound_over_value")]
        rows.append((name, verdict["verdict"], str(len(verdict["lines"])), *worst))
    table(rows)
    return good


def judge_bugs(names, pool, judge):
    """Prints their table. True if all of them are different, and named."""
    bugs = planted_bugs.BUGS
    options = {name: f"{SMALL} {bugs[name].options} --bug {name}" for name in names}
    runs = {name: pool.submit(judged, judge, options[name]) for name in names}
    rows = [("bug", "catalogue", "verdict", "first difference", "first hypothesis", "fits")]
    different = named = 0
    for name, run in runs.items():
        verdict, _ = run.result()
        hypotheses = [hypothesis["name"] for hypothesis in verdict.get("hypotheses", [])]
        fits = bool(hypotheses) and hypotheses[0] in bugs[name].fitting
        different += verdict["verdict"] == "different"
        named += fits
        hypothesis = hypotheses[0] if hypotheses else "-"
        cells = (bugs[name].catalogue or "-", verdict["verdict"], first_tensor(verdict), hypothesis)
        rows.append((name, *cells, "yes" if fits else "no"))
    table(rows)
    print(f"{len(names)} bugs: {different} different, {named} named by the first hypothesis")
    return different == named == len(names)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("judge")
    parser.add_argument("--short", action="store_true")
    options = parser.parse_args()
    honest = SHORT_HONEST if options.short else tuple(HONEST)
    bugs = SHORT_BUGS if options.short else tuple(planted_bugs.BUGS)
    try:
        with concurrent.futures.ProcessPoolExecutor(os.cpu_count(), FORK) as pool:
            good = judge_honest(honest, pool, options.judge)
            print()
            good = judge_bugs(bugs, pool, options.judge) and good
    except Failed as failure:
        print(f"error: {failure}", file=sys.stderr)
        sys.exit(3)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
