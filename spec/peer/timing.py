"""What the training steps in PyTorch share: their command line, their timing, and a JSON line per case."""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch


def measure(name, training_step, steps, warm_up):
    torch.manual_seed(0)
    step = training_step(name)
    for _ in range(warm_up):
        step()
    started = time.perf_counter()
    for _ in range(steps):
        step()
    elapsed = time.perf_counter() - started
    return {
        "case": name,
        "ms_per_step": round(1000 * elapsed / steps, 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "steps": steps,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def main(file, description, cases, training_step, steps, warm_up):
    """training_step(name) returns a function that trains a case by a step."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--cases", default=",".join(cases), help="names, separated by commas (default: all)")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--threads", type=int, help="default: as PyTorch chooses")
    options = parser.parse_args()
    names = options.cases.split(",")
    for name in names:
        if name not in cases:
            parser.error(f"unknown case {name} (there are {', '.join(cases)})")
    if options.steps < 1:
        parser.error("--steps must be 1 or more")
    if options.threads:
        torch.set_num_threads(options.threads)
    if len(names) == 1:
        print(json.dumps(measure(names[0], training_step, options.steps, warm_up)), flush=True)
        return
    for name in names:  # a process each, so that peak_mb is that case's own
        command = [sys.executable, file, "--cases", name, "--steps", str(options.steps)]
        if options.threads:
            command += ["--threads", str(options.threads)]
        subprocess.run(command, check=True)
