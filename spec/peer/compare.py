#!/usr/bin/env python3
"""spdlua beside eager PyTorch, case by case, alternating, and the medians as a Markdown table.

    compare.py [--cases tms_5-2,lm_mlp] [--steps 20] [--repeats 3] [--threads 2] [--spdlua ./spdlua]

Run it from the top of the checkout with a Python that has torch and transformers (`make bench-peer` does). spdlua takes
more steps than PyTorch, so that both measure for a comparable time. Steps of language models take seconds, so few are
enough.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
TOYS = {"script": "spd_step_torch.py", "steps": 20, "spdlua_steps": 10}  # steps of PyTorch; of spdlua for each of these
LANGUAGE = {"script": "lm_step_torch.py", "steps": 3, "spdlua_steps": 3}
PEERS = {
    **dict.fromkeys(
        ["tms_5-2", "tms_5-2-id", "tms_40-10", "tms_40-10-id", "resid_mlp1", "resid_mlp2", "resid_mlp3"], TOYS
    ),
    "lm_embed": LANGUAGE,
    "lm_mlp": LANGUAGE,
}


def run(command, case, steps, threads):
    """The JSON line that one benchmark prints for one case."""
    command = command + ["--cases", case, "--steps", str(steps), "--threads", str(threads)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    lines = [line for line in finished.stdout.splitlines() if line.startswith("{")]
    if finished.returncode != 0 or len(lines) != 1:
        sys.exit(f"compare: {' '.join(command)} failed with status {finished.returncode}")
    result = json.loads(lines[0])
    if result["case"] != case or result["threads"] != threads:
        sys.exit(f"compare: asked for {case} with {threads} threads, found {lines[0]}")
    print(f"{command[0]}: {lines[0]}", file=sys.stderr, flush=True)
    return result


def median(results, key):
    return statistics.median(result[key] for result in results)


def row(case, ours, theirs):
    times = median(ours, "ms_per_step"), median(theirs, "ms_per_step")
    peaks = median(ours, "peak_mb"), median(theirs, "peak_mb")
    return (
        f"| {case} | {times[0]:.2f} | {times[1]:.1f} | {times[1] / times[0]:.1f} "
        f"| {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[1] / peaks[0]:.1f} |"
    )


def main():
    parser = argparse.ArgumentParser(description="spdlua beside eager PyTorch on this machine.")
    parser.add_argument("--cases", default=",".join(PEERS), help="names, separated by commas (default: all)")
    parser.add_argument("--steps", type=int, help="of PyTorch (default: 20 of a toy, 3 of a language model)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--spdlua", default="./spdlua")
    options = parser.parse_args()
    cases = options.cases.split(",")
    for case in cases:
        if case not in PEERS:
            parser.error(f"unknown case {case} (there are {', '.join(PEERS)})")
    if (options.steps is not None and options.steps < 1) or min(options.repeats, options.threads) < 1:
        parser.error("--steps, --repeats and --threads must be 1 or more")
    ours = [options.spdlua, "experiments/benchmark.lua"]
    table, version = [], ""
    for case in cases:
        peer = PEERS[case]
        steps = options.steps or peer["steps"]
        theirs = [sys.executable, os.path.join(FOLDER, peer["script"])]
        spdlua_runs, torch_runs = [], []
        for _ in range(options.repeats):
            spdlua_runs.append(run(ours, case, peer["spdlua_steps"] * steps, options.threads))
            torch_runs.append(run(theirs, case, steps, options.threads))
        version = torch_runs[0]["torch"]
        table.append(row(case, spdlua_runs, torch_runs))
    print(f"Medians of {options.repeats} alternating runs, {options.threads} threads, PyTorch {version}.\n")
    print("| case | spdlua ms/step | PyTorch ms/step | times faster | spdlua peak MB | PyTorch peak MB | times less |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    print("\n".join(table))


if __name__ == "__main__":
    main()
