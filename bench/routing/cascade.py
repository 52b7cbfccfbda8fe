#!/usr/bin/env python3
"""What a trained task in front of a provider saves, over HTTP: CLINC150, banking77, snips, and the slots of restaurant8k.

  bench/routing/cascade.py DATA --store DIR [--only clinc150,snips] [--risk 0.02] [--json FILE]

DATA holds clinc150/, banking77/, snips/ and restaurant8k/ as published. A task is trained by `shoal tune probe` on one part of
train, certified by `shoal tune certify` on another that it has not seen (CLINC150: val; else one text in five, copies
together), and served by `shoal serve` with a route that has the task for its local tier (`local_task`, `risk`) and the provider
for the rest. The client asks that route once for each text; who answered, the tokens and the costs are what Shoal says. It is
an error here when the route keeps another text, or says another label, than /v1/classify does. Texts come in a seeded order,
those out of scope among the others: label by label, as in the files, scores drift, and the server notices. Slots of restaurant8k
depend on what the last question asked for, which a chat does not say: there the client asks /v1/classify, and where the answer
has "keep": false, the provider.

The provider is SYNTHETIC: a replay of the gold answer, wrong for a seeded 3 % of the texts; it counts a token for each four
characters. It is priced like a cheap API (gpt-5.4-nano) and like a frontier one (gpt-5.5), by the table that Shoal comes with.

The test was stated before the first run: the cascade is not below the provider when the lower end of a one-sided 95 % bound of
accuracy(cascade) - accuracy(provider), by a paired bootstrap of texts (10,000 draws), is above -0.5 points.
"""
import argparse
import concurrent.futures
import csv
import hashlib
import http.client
import http.server
import json
import math
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHOAL = ROOT / "build/release/bin/shoal"
EMBEDDER = "all-minilm-l6-v2"
CHEAP, FRONTIER = "gpt-5.4-nano", "gpt-5.5"
WRONG, MARGIN, DRAWS, SEED = 0.03, 0.005, 10_000, 1
AT_ONCE, THREADS, CALIBRATION = 64, 4, 5
# Coverage at a risk of 2 % (of snips: what a prototype had); tokens saved in scope and with texts out of scope mixed in; the most of these that are kept.
COVERAGE = {"clinc150": 0.90, "banking77": 0.82, "snips": 1.0, "restaurant8k": 0.75}
SAVED, SAVED_MIXED, OUTSIDE_KEPT = 0.80, 0.70, 0.08


def plain(text):
    return re.sub(r"[\W_]+", "", text.lower())


def draw(*parts):
    return int.from_bytes(hashlib.sha256("\0".join(map(str, (SEED, *parts))).encode()).digest()[:8]) / 2**64


def apart(rows):
    """One text in five for the certificate; copies are on one side."""
    held = [row for row in rows if draw("part", plain(row["text"])) < 1 / CALIBRATION]
    return [row for row in rows if draw("part", plain(row["text"])) >= 1 / CALIBRATION], held


def labelled(pairs):
    return [{"text": text, "label": label} for text, label in pairs]


def clinc150(data):
    rows = json.loads((data / "clinc150/data_full.json").read_text())
    return (labelled(rows["train"] + rows["oos_train"]), labelled(rows["val"] + rows["oos_val"]), labelled(rows["test"]),
            labelled(rows["oos_test"]))


def banking77(data):
    parts = {}
    for name in ("train", "test"):
        with (data / f"banking77/{name}.csv").open(newline="") as file:
            parts[name] = labelled((row["text"], row["category"]) for row in csv.DictReader(file))
    return (*apart(parts["train"]), parts["test"], [])


def snips(data):
    parts = {"train": [], "test": []}
    for path in sorted((data / "snips").glob("*.json")):
        for intent, utterances in json.loads(path.read_bytes().decode("utf-8", "replace")).items():
            part = parts["train" if path.name.startswith("train_") else "test"]
            part += labelled(("".join(c["text"] for c in one["data"]), intent) for one in utterances)
    return (*apart(parts["train"]), parts["test"], [])


def restaurant8k(data):
    def rows(name):
        out = []
        for row in json.loads((data / f"restaurant8k/{name}.json").read_text()):
            spans = [{"slot": one["slot"], "start": one["valueSpan"].get("startIndex", 0), "end": one["valueSpan"]["endIndex"]}
                     for one in row.get("labels", [])]
            out.append({"text": row["userInput"]["text"], "spans": spans, "asked": row.get("context", {}).get("requestedSlots", [])})
        return out
    return (*apart(rows("train_0")), rows("test"), [])


def gold(row):
    """What an answer must be, as text: a label, or all spans."""
    if "label" in row:
        return row["label"]
    return json.dumps(sorted([one["slot"], one["start"], one["end"]] for one in row["spans"]))


class Replay:
    """The provider: answers each known question with gold, or with another text's where the seed says that it is wrong."""

    def __init__(self, rows):
        answers = sorted({gold(row) for row in rows})
        self.answers = {}
        for i, row in enumerate(rows):
            wrong = draw("wrong", i, row["text"]) < WRONG
            others = [one for one in answers if one != gold(row)]
            self.answers[f"{i}"] = others[int(draw("other", i) * len(others))] if wrong else gold(row)
        replay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                answer = replay.answers[asked["user"]]
                tokens = sum(len(one["content"]) + 3 for one in asked["messages"]) // 4
                body = json.dumps({"id": "replay", "object": "chat.completion", "created": 1, "model": asked["model"],
                                   "choices": [{"index": 0, "finish_reason": "stop",
                                                "message": {"role": "assistant", "content": answer}}],
                                   "usage": {"prompt_tokens": tokens, "completion_tokens": (len(answer) + 3) // 4,
                                             "total_tokens": tokens + (len(answer) + 3) // 4}}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Shoal:
    def __init__(self, folder, upstream, routes):
        config = folder / "config.toml"
        config.write_text(f'[provider.openai]\nbase_url = "http://127.0.0.1:{upstream.server.server_port}/v1"\nlocal = true\n'
                          'durability = "none"\n[ledger]\ndaily_usd = "1000"\n' + routes)
        self.log = folder / "stderr.txt"
        out = folder / "stdout.txt"
        self.process = subprocess.Popen([SHOAL, "serve", "--config", config, "--port", "0", "--data-dir", folder],
                                        stdout=out.open("wb"), stderr=self.log.open("wb"))
        end = time.monotonic() + 60
        while not (found := re.search(r"http://[\w.\[\]:]+?:(\d+)", out.read_text())):
            if self.process.poll() is not None or time.monotonic() > end:
                sys.exit(self.log.read_text())
            time.sleep(0.05)
        self.port = int(found.group(1))
        self.local = threading.local()

    def post(self, path, body):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        self.local.connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        answer = self.local.connection.getresponse()
        text = answer.read()
        if answer.status != 200:
            sys.exit(f"{path} {answer.status}: {text[:500]}")
        return json.loads(text)

    def close(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def each(items, work):
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(work, items))


def ask_task(server, task, rows):
    """Per text: (answer, keep)."""
    def part(first):
        some = rows[first:first + AT_ONCE]
        body = {"task": task, "input": [row["text"] for row in some]}
        if "asked" in some[0]:
            body["asked"] = [row["asked"] for row in some]
        got = server.post("/v1/classify", body)
        if "degraded" in got or "certificate_void" in got or "certificate" not in got:
            sys.exit(f"no certified answer: {json.dumps(got)[:300]}")
        return [(one["label"] if "label" in one else json.dumps(sorted([s["slot"], s["start"], s["end"]] for s in one["spans"])),
                 one["keep"]) for one in got["data"]]
    return [one for some in each(range(0, len(rows), AT_ONCE), part) for one in some]


def asked_of(row):
    return row["text"] + (f"\nAsked for: {', '.join(row['asked'])}" if row.get("asked") else "")


def routes_of(task, risk, instruction):
    """A route for each model, of its name."""
    return "".join(f'[route."{model}"]\nlocal_task = "{task}"\nremote = ["openai/{model}"]\nrisk = {risk}\n'
                   f'system_prompt = {json.dumps(instruction)}\n' for model in (CHEAP, FRONTIER))


def ask_provider(server, model, rows, numbers, instruction):
    """Per number: (answer, tokens, USD), as Shoal counted them."""
    def one(i):
        got = server.post("/v1/chat/completions", {"model": f"openai/{model}", "user": f"{i}", "messages": [
            {"role": "system", "content": instruction}, {"role": "user", "content": asked_of(rows[i])}]})
        return i, (got["choices"][0]["message"]["content"], got["usage"]["total_tokens"], float(got["x_shoal"]["cost_usd"]))
    return dict(each(numbers, one))


def ask_route(server, model, rows, local):
    """The same of a route, for what it sent on. It must keep what /v1/classify keeps, and say its labels."""
    def one(i):
        got = server.post("/v1/chat/completions", {"model": model, "user": f"{i}",
                                                   "messages": [{"role": "user", "content": rows[i]["text"]}]})
        answer, told = got["choices"][0]["message"]["content"], got["x_shoal"]
        if told["route"] not in ("local", "escalated") or (told["route"] == "local") != local[i][1]:
            sys.exit(f"/v1/classify says {local[i]}, the route {json.dumps(told)}")
        if told["route"] == "local":
            if answer != local[i][0] or told["egress"] != "none":
                sys.exit(f"/v1/classify says {local[i]}, the route {answer}: {json.dumps(told)}")
            return None
        return i, (answer, got["usage"]["total_tokens"], float(told["cost_usd"]))
    return dict(sent for sent in each(range(len(rows)), one) if sent)


def instruction_of(rows):
    if "label" in rows[0]:
        return "Which label fits the text? Reply with the label only.\n" + "\n".join(sorted({row["label"] for row in rows}))
    return ("Which parts of the text fill which slots? Reply with a JSON list of [slot, start, end] only.\n" +
            "\n".join(sorted({one["slot"] for row in rows for one in row["spans"]})))


def lower_bound(differences):
    pick = random.Random(SEED)
    means = sorted(sum(pick.choices(differences, k=len(differences))) / len(differences) for _ in range(DRAWS))
    return means[int(0.05 * DRAWS)]


def share(values):
    values = list(values)
    mean = sum(values) / max(1, len(values))
    return mean, math.sqrt(mean * (1 - mean) / max(1, len(values)))


def bar(value, wanted, low=False):
    return f"bar {wanted:g}: " + ("met" if (value <= wanted if low else value >= wanted) else "MISSED")


def report(name, traffic, rows, local, remote, cascade, out):
    right = [answer == gold(row) for row, (answer, _) in zip(rows, local, strict=True)]
    keep = [kept for _, kept in local]
    provider = [remote[CHEAP][i][0] == gold(row) for i, row in enumerate(rows)]
    final = [right[i] if keep[i] else cascade[CHEAP][i][0] == gold(rows[i]) for i in range(len(rows))]
    kept_share, kept_error = share(keep)
    risk, risk_error = share(not r for r, k in zip(right, keep, strict=True) if k)
    saved = {model: 1 - sum(one[1] for one in cascade[model].values()) / sum(one[1] for one in remote[model].values())
             for model in (CHEAP, FRONTIER)}
    cost = {model: 1 - sum(one[2] for one in cascade[model].values()) / sum(one[2] for one in remote[model].values())
            for model in (CHEAP, FRONTIER)}
    usd = {model: [1000 * sum(one[2] for one in of[model].values()) / len(rows) for of in (remote, cascade)]
           for model in (CHEAP, FRONTIER)}
    chance = random.Random(SEED)
    by_chance = [r if chance.random() < kept_share else p for r, p in zip(right, provider, strict=True)]
    oracle = [r or p for r, p in zip(right, provider, strict=True)]
    low = lower_bound([f - p for f, p in zip(final, provider, strict=True)])
    print(f"\n{name}, {traffic}: {len(rows)} texts")
    print(f"  local share                     {kept_share:.4f} +- {kept_error:.4f}")
    print(f"  wrong of what was kept          {risk:.4f} +- {risk_error:.4f}")
    print(f"  tokens of the provider saved    {saved[CHEAP]:.4f}           "
          f"{bar(saved[CHEAP], SAVED_MIXED if traffic.startswith('with') else SAVED)}")
    for model in (CHEAP, FRONTIER):
        print(f"  {model:<13} cost saved       {cost[model]:.4f}           USD per 1,000 texts {usd[model][0]:.4f} -> {usd[model][1]:.4f}")
    for what, values in (("cascade", final), ("always remote", provider), ("always local", right),
                         (f"random, {kept_share:.2f} kept", by_chance), ("oracle", oracle)):
        mean, error = share(values)
        print(f"  right, {what:<24} {mean:.4f} +- {error:.4f}")
    print(f"  oracle's local share            {share(right)[0]:.4f}")
    print(f"  not below the provider          {low:+.4f} is the lower end, wanted above {-MARGIN:+.4f}: "
          f"{'shown' if low > -MARGIN else 'NOT SHOWN'}", flush=True)
    out.append({"set": name, "traffic": traffic, "texts": len(rows), "local_share": kept_share, "risk": risk, "tokens_saved": saved[CHEAP],
                "cost_saved": cost, "right": share(final)[0], "provider_right": share(provider)[0], "local_right": share(right)[0],
                "random_right": share(by_chance)[0], "oracle_right": share(oracle)[0], "lower_end": low})


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def shoal(*args, also=()):
    done = subprocess.run([str(SHOAL), *map(str, args), "--json"], capture_output=True, text=True)
    if done.returncode not in (0, *also):
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def measure(name, parts, options, folder, out):
    train, calibration, test, outside = parts
    task = f"cascade-{name}"
    home = folder / name
    home.mkdir()
    (home / "models").symlink_to((options.store / "models").resolve())
    common = ["--data-dir", home] + (["--out-of-scope", "oos"] if outside else [])
    embedding = [] if name == "restaurant8k" else ["--no-embedder"] if name == "snips" else ["--embedder", EMBEDDER]
    shoal("tune", "probe", write(folder / "train.jsonl", train), "--task", task, *embedding, *common)
    shown = shoal("tune", "certify", task, write(folder / "calibration.jsonl", calibration), "--risk", options.risk, *common, also=[8])
    if "certified_threshold" not in shown:
        print(f"\n{name}: nothing is certified: {shown['refusal']}")
        return
    print(f"\n{name}: trained on {len(train)}, certified on {shown['labels']['all']} texts: risk {options.risk}, confidence 0.95, "
          f"kept from {shown['certified_threshold']:.4f}")
    rows = [row | {"inside": part is test} for part in (test, outside) for row in part]
    rows.sort(key=lambda row: draw("order", row["text"]))
    inside = [i for i, row in enumerate(rows) if row["inside"]]
    replay = Replay(rows)
    instruction = instruction_of(rows)
    slots = "label" not in rows[0]
    server = Shoal(home, replay, "" if slots else routes_of(task, options.risk, instruction))
    try:
        local = ask_task(server, task, rows)
        numbers = range(len(rows))
        remote = {model: ask_provider(server, model, rows, numbers, instruction) for model in (CHEAP, FRONTIER)}
        if slots:
            sent = [i for i in numbers if not local[i][1]]
            cascade = {model: ask_provider(server, model, rows, sent, instruction) for model in (CHEAP, FRONTIER)}
        else:
            cascade = {model: ask_route(server, model, rows, local) for model in (CHEAP, FRONTIER)}
    finally:
        server.close()
        replay.close()
    coverage, error = share(local[i][1] for i in inside)
    print(f"  coverage of the test            {coverage:.4f} +- {error:.4f}  {bar(coverage, COVERAGE[name])}")
    if outside:
        kept, error = share(local[i][1] for i in numbers if not rows[i]["inside"])
        print(f"  out of scope that is kept       {kept:.4f} +- {error:.4f}  {bar(kept, OUTSIDE_KEPT, True)}")

    def part(of):
        return {model: {n: answers[i] for n, i in enumerate(inside) if i in answers} for model, answers in of.items()}
    report(name, "in scope", [rows[i] for i in inside], [local[i] for i in inside], part(remote), part(cascade), out)
    if outside:
        report(name, f"with {100 * len(outside) / len(rows):.0f} % out of scope", rows, local, remote, cascade, out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--only", default=",".join(COVERAGE))
    parser.add_argument("--risk", type=float, default=0.02)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"The provider is synthetic: gold with {100 * WRONG:g} % seeded errors, a token for each four characters.")
    out = []
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            measure(name, globals()[name](options.data), options, Path(folder), out)
    if options.json:
        options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
