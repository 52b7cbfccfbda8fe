#!/usr/bin/env python3
"""What general small models are worth as classifiers, and in front of each other: SmolLM2-135M and TinyLlama-1.1B.

  bench/routing/small_models.py DATA --store DIR [--only snips,clinc] [--texts 200] [--json FILE]

DATA holds snips/ and clinc150/ as published; DIR is a data folder with both models. snips has 7 intents, CLINC150 is asked for
its 10 domains. Each question has two short examples of each label in front and ends in a colon, so the model goes on with a label.

First, how a label is best read from a model, on the same test texts:
  greedy            what it writes (/v1/completions); sure by the log-probability of the first token, or the mean of all
  scored            the most probable of the given labels (/v1/score), by the sum over its tokens, or by the mean;
                    contextual: divided by what the model says to the same question about "N/A" (Zhao et al., 2021);
                    batch: divided by the mean of 100 texts (Zhou et al., 2024), as "calibrate": "batch" of /v1/classify does
Differences to greedy are paired; their errors come from a bootstrap of texts. AUROC: how well the sureness tells right from wrong.

Then SmolLM2 in front of TinyLlama, which a second server runs as a provider: a calibration from --fit training texts
(`shoal route fit`), the smallest risk that can be certified with as many others (`shoal route certify`), and what the route does
with the test texts, at the certificate's threshold or, where there is none, at 0.8. Greedy, whole answers.
"""
import argparse
import collections
import hashlib
import json
import math
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # common

from common import SHOAL, Serve, machine, request
from snips_labels import examples, utterances

SMALL, LARGE = "smollm2-135m-instruct", "tinyllama-1.1b-chat"
RISKS = (0.02, 0.05, 0.10, 0.20, 0.30)
TOKENS, COMMIT, DRAWS, SEED, THRESHOLD, BATCH = 10, 2, 2_000, 1, 0.8, 100
SHORTEST_EXAMPLE, LONGEST_EXAMPLE = 12, 32


def shuffled(rows):
    return sorted(rows, key=lambda row: hashlib.sha256(row[0].encode()).digest())


def snips(data):
    rows = utterances(data / "snips")
    shown = examples(rows, 2)
    test = {}
    for path in sorted((data / "snips").glob("validate_*.json")):
        for intent, found in json.loads(path.read_bytes().decode("utf-8", "replace")).items():
            for one in found:
                text = " ".join("".join(part["text"] for part in one["data"]).split())
                test.setdefault(text.lower(), (text, intent))
    return "Intent", shown, [row for row in rows if row not in shown and row[0].lower() not in test], shuffled(test.values())


def clinc(data):
    rows = json.loads((data / "clinc150/data_full.json").read_text())
    domains = {intent: domain for domain, intents in json.loads((data / "clinc150/domains.json").read_text()).items()
               for intent in intents}
    train, test = (shuffled([(text, domains[intent]) for text, intent in rows[part]]) for part in ("train", "test"))
    by_domain = collections.defaultdict(list)
    for text, domain in train:
        if SHORTEST_EXAMPLE <= len(text) <= LONGEST_EXAMPLE:
            by_domain[domain].append((text, domain))
    shown = [by_domain[domain][i] for i in range(2) for domain in sorted(by_domain)]
    return "Domain", shown, [row for row in train if row not in shown], test


class Task:
    """The questions of a set: what stands in front, and texts to fit, to certify and to test with."""

    def __init__(self, name, data, fit, texts):
        self.name = name
        self.word, shown, train, test = {"snips": snips, "clinc": clinc}[name](data)
        self.head = "".join(f"Text: {text}\n{self.word}: {label}\n\n" for text, label in shown)
        self.labels = sorted({label for _, label in shown})
        self.fit, self.certify, self.test = train[:fit], train[fit:2 * fit], test[:texts]

    def ask(self, text):
        return f"{self.head}Text: {text}\n{self.word}:"

    def write(self, rows, path):
        path.write_text("".join(json.dumps({"prompt": self.ask(text), "answer": label}) + "\n" for text, label in rows))
        return path


def post(server, path, body):
    status, answer = request(server.port, "POST", path, body)
    if status != 200:
        sys.exit(f"{path} {status}: {answer[:500]}")
    return json.loads(answer)


def greedy(server, model, task, text):
    """(answer, first token's log-probability, mean of all, the whole answer)."""
    got = post(server, "/v1/completions", {"model": model, "prompt": task.ask(text), "max_tokens": TOKENS, "stop": ["\n"],
                                           "temperature": 0, "logprobs": 1})
    choice = got["choices"][0]
    logprobs = (choice.get("logprobs") or {}).get("token_logprobs") or [-math.inf]
    return choice["text"].strip(), logprobs[0], sum(logprobs) / len(logprobs), got


def softmax(values):
    most = max(values)
    weights = [math.exp(value - most) for value in values]
    return [weight / sum(weights) for weight in weights]


def scored(server, model, task, text):
    """Per way: the probability of each label."""
    got = post(server, "/v1/score", {"model": model, "prompt": task.ask(text), "labels": [f" {label}" for label in task.labels],
                                     "calibrate": "contextual", "content_free": task.ask("N/A")})
    out = {}
    for norm in ("sum", "mean"):
        for calibrated in (False, True):
            out[f"scored, {norm}" + (", contextual" if calibrated else "")] = softmax([
                (one["logprob"] - (one["content_free_logprob"] if calibrated else 0)) / (len(one["tokens"]) if norm == "mean" else 1)
                for one in got["data"]])
    return out


def add_batch(ways):
    for first in range(0, len(ways), BATCH):
        some = ways[first:first + BATCH]
        for way in ("scored, sum", "scored, mean"):
            usual = [sum(one[way][k] for one in some) / len(some) for k in range(len(some[0][way]))]
            for one in some:
                one[f"{way}, batch"] = softmax([math.log(p / u) if p > 0 else -math.inf for p, u in zip(one[way], usual, strict=True)])


def share(values):
    values = list(values)
    mean = sum(values) / max(1, len(values))
    return mean, math.sqrt(mean * (1 - mean) / max(1, len(values)))


def auroc(sure, right):
    pairs = sorted(zip(sure, right, strict=True))
    ranks, i = 0.0, 0
    while i < len(pairs):
        j = i
        while j < len(pairs) and pairs[j][0] == pairs[i][0]:
            j += 1
        ranks += sum(one[1] for one in pairs[i:j]) * (i + 1 + j) / 2
        i = j
    n = sum(right)
    return (ranks - n * (n + 1) / 2) / (n * (len(right) - n)) if 0 < n < len(right) else math.nan


def error_of_mean(values):
    pick = random.Random(SEED)
    means = [sum(pick.choices(values, k=len(values))) / len(values) for _ in range(DRAWS)]
    centre = sum(means) / DRAWS
    return math.sqrt(sum((one - centre) ** 2 for one in means) / (DRAWS - 1))


def labels(server, model, task, out):
    """Prints the first part; gives the greedy answers."""
    began = time.monotonic()
    answers = [greedy(server, model, task, text) for text, _ in task.test]
    greedy_seconds = (time.monotonic() - began) / len(answers)
    right = [answer == label for (answer, *_), (_, label) in zip(answers, task.test, strict=True)]
    began = time.monotonic()
    ways = [scored(server, model, task, text) for text, _ in task.test]
    seconds = (time.monotonic() - began) / len(ways)
    add_batch(ways)
    print(f"\n{task.name}, {model}: {len(task.test)} texts, {len(task.labels)} labels, two examples of each; "
          f"{greedy_seconds:.2f} s greedy, {seconds:.2f} s scored")
    mean, error = share(right)
    print(f"  greedy                      {mean:.3f} +- {error:.3f}{'':<26} AUROC {auroc([a[1] for a in answers], right):.3f} by the "
          f"first token, {auroc([a[2] for a in answers], right):.3f} by the mean", flush=True)
    out.append({"set": task.name, "model": model, "way": "greedy", "right": mean})
    for way in ways[0]:
        good = [task.labels[one[way].index(max(one[way]))] == label for one, (_, label) in zip(ways, task.test, strict=True)]
        mean, error = share(good)
        differences = [a - b for a, b in zip(good, right, strict=True)]
        difference = sum(differences) / len(differences)
        print(f"  {way:<27} {mean:.3f} +- {error:.3f}  to greedy {difference:+.3f} +- {error_of_mean(differences):.3f}  "
              f"AUROC {auroc([max(one[way]) for one in ways], good):.3f}", flush=True)
        out.append({"set": task.name, "model": model, "way": way, "right": mean, "to_greedy": difference})
    return answers


def shoal(*args, also=()):
    done = subprocess.run([str(SHOAL), *map(str, args), "--json"], capture_output=True, text=True)
    if done.returncode not in (0, *also):
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def certify(task, folder, home):
    """The smallest risk that can be shown, and what the others lack."""
    asked = ["--model", SMALL, "--task", f"bench-{task.name}", "--commit-tokens", COMMIT, "--max-tokens", TOKENS, "--stop", "\n",
             "--grader", "label", "--data-dir", home]
    shoal("route", "fit", "--data", task.write(task.fit, folder / "fit.jsonl"), *asked)
    data = task.write(task.certify, folder / "certify.jsonl")
    for risk in RISKS:
        shown = shoal("route", "certify", "--risk", risk, "--data", data, *asked, also=[8])
        whole = next((one for one in shown["gates"] if one["gate"] == "whole"), {})
        if whole.get("certified"):
            gate = whole["certified"][-1]
            print(f"  risk {risk}: certified, kept from {gate['threshold']:.3f}, {gate['coverage']:.3f} of the labels", flush=True)
            return risk
        print(f"  risk {risk}: {whole.get('refusal', 'refused')}", flush=True)
    return None


def cascade(task, small, large, folder, options, out):
    home = folder / f"home-{task.name}"
    home.mkdir()
    (home / "models").symlink_to((options.store / "models").resolve())
    print(f"\n{task.name}: {SMALL} before {LARGE}, calibrated on {len(task.fit)} texts, certified with {len(task.certify)} others")
    risk = certify(task, folder, home)
    gate = f"risk = {risk}" if risk else f"threshold = {THRESHOLD}"
    upstream = Serve(data_dir=options.store)
    server = Serve(data_dir=home, config=(
        f'[provider.large]\nbase_url = "http://127.0.0.1:{upstream.port}/v1"\nlocal = true\n[[price]]\nprovider = "large"\n'
        'model = "*"\nfrom = "2026-01-01"\ninput_usd = "0.15"\noutput_usd = "0.60"\n'
        f'[route.both]\nlocal = "{SMALL}"\nremote = ["large/{LARGE}"]\ntask = "bench-{task.name}"\n'
        f'commit_tokens = {COMMIT}\ncommit_ms = 60000\n{gate}\n'))
    answers = [greedy(server, "both", task, text) for text, _ in task.test]
    server.stop()
    upstream.stop()
    gold = [label for _, label in task.test]
    small_right, large_right, right = ([answer == label for (answer, *_), label in zip(of, gold, strict=True)]
                                       for of in (small, large, answers))
    kept = [one[3]["x_shoal"]["route"] == "local" for one in answers]
    kept_share, error = share(kept)
    risk_seen, risk_error = share(not r for r, k in zip(right, kept, strict=True) if k)
    tokens = [one[3]["usage"]["total_tokens"] for one in large]
    saved = 1 - sum(t for t, k in zip(tokens, kept, strict=True) if not k) / sum(tokens)
    print(f"  {gate}: local share {kept_share:.3f} +- {error:.3f}, wrong of what was kept {risk_seen:.3f} +- {risk_error:.3f}, "
          f"tokens of the large one saved {saved:.3f}")
    chance = random.Random(SEED)
    by_chance = [s if chance.random() < kept_share else big for s, big in zip(small_right, large_right, strict=True)]
    oracle = [s or big for s, big in zip(small_right, large_right, strict=True)]
    for what, values in (("cascade", right), (f"always {LARGE}", large_right), (f"always {SMALL}", small_right),
                         (f"random, {kept_share:.2f} kept", by_chance), ("oracle", oracle)):
        print("  right, {:<30} {:.3f} +- {:.3f}".format(what, *share(values)), flush=True)
    out.append({"set": task.name, "gate": gate, "local_share": kept_share, "risk": risk_seen, "tokens_saved": saved,
                "right": share(right)[0], "small_right": share(small_right)[0], "large_right": share(large_right)[0]})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--only", default="snips,clinc")
    parser.add_argument("--texts", type=int, default=200, help="to test with")
    parser.add_argument("--fit", type=int, default=1_500, help="to calibrate with, and as many to certify with")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(machine())
    out = []
    for name in options.only.split(","):
        task = Task(name, options.data, options.fit, options.texts)
        with tempfile.TemporaryDirectory() as folder:
            server = Serve(data_dir=options.store)
            small, large = (labels(server, model, task, out) for model in (SMALL, LARGE))
            server.stop()
            cascade(task, small, large, Path(folder), options, out)
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
