"""Measures the engine beside llama-server, built from the same source; see docs/benchmarks.md.

    python3 bench/engine                       everything, ten pairs
    python3 bench/engine streams stall --quick these, three pairs

Both servers run in turns, each time fresh; a ratio is ours by theirs, with a one-sided 95 % bound of its geometric
mean by paired bootstrap. Figures of one side are min / median / p99 / max.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # common

import latency
import servers
import throughput
import work
from common import BIN, BUILD, machine
from stats import percentile

BENCHES = {
    "streams": throughput.bench_streams, "mixed": throughput.bench_mixed, "overhead": latency.bench_overhead,
    "hop": latency.bench_hop, "single": throughput.bench_single, "ttft": latency.bench_ttft,
    "stall": latency.bench_stall, "sharing": work.bench_sharing, "cancel": work.bench_cancel, "idle": work.bench_idle,
    "signals": work.bench_signals, "exact": throughput.bench_exact, "optimise": throughput.bench_optimise,
}
MODELS = ("minimind2-26m", "smollm2-135m", "tinyllama-1.1b")


class Run:
    """What a benchmark asks of this run, and where it says what it found."""

    def __init__(self, options):
        self.quick, self.pairs = options.quick, options.pairs or (3 if options.quick else 10)
        self.wanted, self.pull = options.models.split(","), options.pull
        self.optimise_flags = options.optimise_flags.split()
        self.found = {}

    def begin(self, name, what):
        self.name = name
        self.found[name] = []
        print(f"\n== {name}: {what} (load {os.getloadavg()[0]:.2f})", flush=True)

    def models(self, *labels):
        """Those of the labels that were asked for and are here; says which are not."""
        for label in labels:
            if label not in self.wanted:
                continue
            model = servers.find_model(label, self.pull)
            if model is None:
                self.note(f"{label}: skipped, it is not on this machine (--pull fetches what the catalogue has)")
            else:
                yield model

    def configuration(self, model, sides):
        print(f"  {model.label}, {model.path.stat().st_size >> 20} MiB")
        for side in sides:
            print(f"    {side.name}: {side.configuration}", flush=True)

    def report(self, model, sides, pairs):
        self.configuration(model, sides)
        pairs.print()
        self.found[self.name].append({"model": model.label, "configuration": {s.name: s.configuration for s in sides},
                                      "rows": pairs.as_json()})

    def figure(self, what, values, unit):
        print(f"  {what:<52} {min(values):10.2f} {statistics.median(values):10.2f} {percentile(values, 0.99):10.2f} "
              f"{max(values):10.2f} {unit} n={len(values)}", flush=True)
        self.found[self.name].append({"what": what, "unit": unit, "values": values})

    def note(self, text):
        print(f"  {text}", flush=True)

    def unsupported(self, what):
        self.note(f"not supported by this build: {what}")


def main():
    parser = argparse.ArgumentParser(prog="bench/engine", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="three pairs and short runs")
    parser.add_argument("--pairs", type=int, help="pairs of runs; 10, or 3 with --quick")
    parser.add_argument("--models", default=",".join(MODELS), help="only these, with commas between")
    parser.add_argument("--threads", type=int, default=servers.threads, help="compute threads of both servers; one per core")
    parser.add_argument("--pull", action="store_true", help="fetch models that are not here")
    parser.add_argument("--llama-server", type=Path, help="another build, such as that of `tools/third_party.py path llama_server --patches 0`")
    parser.add_argument("--optimise-flags", default="", help="passed on to `shoal models optimise`")
    parser.add_argument("--json", type=Path, help="also write every value there")
    options = parser.parse_args()
    if unknown := [b for b in options.benches if b not in BENCHES]:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are: {', '.join(BENCHES)}")
    if unknown := [m for m in options.models.split(",") if m not in MODELS]:
        parser.error(f"no model named {', '.join(unknown)}; there are: {', '.join(MODELS)}")
    for program in ("shoal", "shoal-worker", "load_client", "frame_clock.so"):
        if not (BIN / program).exists():
            sys.exit(f"bench/engine: {BIN / program} is not built; `ninja -C {BUILD} shoal shoal-worker load_client frame_clock`")
    servers.Llama.binary = options.llama_server and options.llama_server.resolve()
    servers.threads = options.threads
    run = Run(options)
    print(machine())
    print(f"llama-server: {servers.Llama.binary or servers.third_party('llama_server')}; {run.pairs} pairs")
    failed = []
    for name in options.benches or BENCHES:
        run.begin(name, BENCHES[name].__doc__)
        try:
            BENCHES[name](run)
        except (RuntimeError, AssertionError, subprocess.SubprocessError) as error:
            run.note(f"FAILED: {error}")
            failed.append(name)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "found": run.found}, indent=1))
    if failed:
        sys.exit(f"bench/engine: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
