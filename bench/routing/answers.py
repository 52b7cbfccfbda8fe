#!/usr/bin/env python3
"""What judging an answer is worth beside judging the question, and beside the answer's length: answers.py [--seeds N].
GSM8K with Mixtral's answers before GPT-4, and ZeroEval's small models before GPT-4o, of whose answers only lengths are known.
`shoal eval route` computes everything; settings are chosen by cross-validation inside each training fold. A pair whose gap is
within two of its standard errors has no APGR to speak of, one with fewer than fifty right or wrong answers no AUROC: they are
shown, and do not count there; the mean of all stands beside it."""
import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHOAL = ROOT / "build" / "release" / "bin" / "shoal"
DATA = Path(os.environ.get("SHOAL_TEST_DATA", ROOT.parent / "shared" / "data"))
STRONG = "gpt-4o-2024-08-06"
PAIRS = {"gsm": ("gemma-2-2b-it", "Qwen2-7B-Instruct", "Phi-3.5-mini-instruct", "Meta-Llama-3-8B-Instruct")} | {
    task: ("gemma-2-2b-it", "Qwen2.5-3B-Instruct", "Phi-3.5-mini-instruct", "Qwen2.5-7B-Instruct") for task in ("crux", "math-l5")}


def compare(*args, seeds):
    command = [str(a) for a in (SHOAL, "eval", "route", *args, "--seeds", seeds, "--json")]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    report = json.loads(done.stdout)
    return report, {router["router"]: router for router in report["routers"]}


def bar(name, value, least):
    print(f"{'met   ' if value >= least else 'MISSED'} {name}: {value:.3f}, bar {least}")
    return value >= least


def gsm8k(seeds):
    folder = DATA / "routellm" / "gsm8k"
    report, routers = compare("--outcomes", folder / "gsm8k_responses.csv", "--exclude", folder / "contaminated_prompts.jsonl",
                              "--weak", "mistralai/Mixtral-8x7B-Instruct-v0.1", "--strong", "gpt-4-1106-preview",
                              "--router", "answer-length", "--router", "length", "--router", "learned",
                              "--router", "learned-answer", seeds=seeds)
    print(f"GSM8K, {report['rows']} rows, {report['folds']} folds, {report['partitions']} partitions")
    for name, found in routers.items():
        print(f"  {name:16} APGR {found['apgr']:.3f} +-{found['by_row']['standard_error']:.3f} "
              f"{[round(one, 3) for one in found['apgr_by_partition']]}, AUROC of difficulty {found['auroc_difficulty']:.3f}")
    return [bar("GSM8K before the answer", routers["learned"]["apgr"], 0.64),
            bar("GSM8K with the answer", routers["learned-answer"]["apgr"], 0.81)]


MEASURES = {"APGR": ("learned-answer", "apgr", "difference"),
            "AUROC": ("learned-answer-wrong", "auroc_difficulty", "auroc_difference")}


def measures_of(report):
    """What this pair says something about."""
    rows, weak = report["rows"], report["weak_accuracy"]
    gap = report["gain"] - report["harm"]
    error = math.sqrt((report["gain"] + report["harm"] - gap * gap) / rows)
    return {name for name, counts in (("APGR", gap > 2 * error), ("AUROC", min(weak, 1 - weak) * rows >= 50)) if counts}


def zeroeval(seeds):
    folder = DATA / "zeroeval_outcomes"
    won = {name: [] for name in MEASURES}
    everywhere = {name: [] for name in MEASURES}
    print("\nZeroEval, minus the length of the answer: APGR of learned-answer, AUROC of learned-answer-wrong")
    for task, models in PAIRS.items():
        for model in models:
            report, routers = compare("--outcomes", folder / f"{task}_outcomes.csv", "--join", folder / f"{task}_output_chars.csv",
                                      "--weak", model, "--strong", STRONG, "--answer-length", model, "--router", "answer-length",
                                      "--router", "learned-answer", "--router", "learned-answer-wrong", seeds=seeds)
            shown, counting = "", measures_of(report)
            for name, (router, key, error) in MEASURES.items():
                less = routers[router][key] - routers["answer-length"][key]
                spread = routers[router][error]["standard_error"]
                shown += f"  {less:+.3f} +-{spread:.3f}{'' if name in counting else ' (does not count)'}"
                everywhere[name].append(less)
                if name in counting:
                    won[name].append((less, spread))
            print(f"  {task:8} {model:26}{shown}", flush=True)
    out = []
    for name, pairs in won.items():
        mean = sum(less for less, _ in pairs) / len(pairs)
        error = math.sqrt(sum(spread ** 2 for _, spread in pairs)) / len(pairs)
        print(f"{name}: mean of {len(pairs)} pairs {mean:+.3f} +-{error:.3f} (as if they were independent); of all {len(everywhere[name])} "
              f"{sum(everywhere[name]) / len(everywhere[name]):+.3f}")
        out.append(bar(f"ZeroEval {name} over the length", mean, 0.03))
        out.append(bar(f"ZeroEval {name}, the lowest pair in standard errors", min(less / spread for less, spread in pairs), -2))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    met = gsm8k(seeds) + zeroeval(seeds)
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
