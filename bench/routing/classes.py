#!/usr/bin/env python3
"""What the tasks of `shoal tune probe` are worth, beside the bars that were set for them: classes of CLINC150, banking77 and snips,
and slots of restaurant8k.

  bench/routing/classes.py DATA [--store DIR] [--only snips,banking77,clinc150,restaurant8k]

DATA holds clinc150/data_full.json, banking77/{train,test}.csv, snips/*.json and restaurant8k/{train_0,test}.json, as published.
Everything is fitted on train (CLINC: with its 100 training texts out of scope); the test is read once, by `shoal tune test`,
which scores with the classes that the server runs. DIR is a data folder with all-minilm-l6-v2; snips is measured without it.
"""
import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SHOAL = ROOT / "build/release/bin/shoal"
EMBEDDER = "all-minilm-l6-v2"
SWAPS_COST = 5.0
LONGEST_S, LONGEST_US = 60.0, 20.0
SLOTS_F1 = 0.93
# Percent right of each part, and AUROC of texts out of scope.
BARS = {"snips": {"hashed": 98.0}, "banking77": {"hashed": 90.5, "fused": 93.5},
        "clinc150": {"hashed": 92.0, "fused": 95.0, "out_of_scope": 0.975}}


def snips(data):
    parts = {"train": [], "test": []}
    for path in sorted((data / "snips").glob("*.json")):
        rows = json.loads(path.read_bytes().decode("utf-8", "replace"))
        for intent, utterances in rows.items():
            for one in utterances:
                parts["train" if path.name.startswith("train_") else "test"].append(("".join(c["text"] for c in one["data"]), intent))
    return parts["train"], parts["test"]


def banking77(data):
    parts = []
    for name in ("train", "test"):
        with (data / f"banking77/{name}.csv").open(newline="") as file:
            parts.append([(row["text"], row["category"]) for row in csv.DictReader(file)])
    return parts


def clinc150(data):
    rows = json.loads((data / "clinc150/data_full.json").read_text())
    return rows["train"] + rows["oos_train"], rows["test"] + rows["oos_test"]


def shoal(*args):
    done = subprocess.run([str(SHOAL), *map(str, args), "--json"], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def line(what, value, unit, note, bar=None, low_is_good=False):
    met = "" if bar is None else f"bar {bar:g}: " + ("met" if (value <= bar if low_is_good else value >= bar) else "MISSED")
    print(f"{what:<46} {value:9.3f} {unit:<4} {note:<24} {met}", flush=True)


def measure(name, rows, store, folder):
    for part, texts in zip(("train", "test"), rows, strict=True):
        (folder / f"{part}.jsonl").write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in texts))
    common = ["--data-dir", store] + (["--out-of-scope", "oos"] if name == "clinc150" else [])
    embedding = ["--embedder", EMBEDDER] if "fused" in BARS[name] else ["--no-embedder"]
    task = f"bench-{name}"
    trained = shoal("tune", "probe", folder / "train.jsonl", "--task", task, *embedding, *common)
    tested = shoal("tune", "test", task, folder / "test.jsonl", *common)
    seconds = trained["embed_seconds"] + trained["fit_seconds"]
    line(f"{name}: embedding and training", seconds, "s", f"{trained['texts']} texts", LONGEST_S if name == "banking77" else None, True)
    line(f"{name}: size of the file", trained["file_bytes"] / 2**20, "MiB", "")
    line(f"{name}: a hashed decision, p50", tested["p50_us"], "us", "")
    line(f"{name}: a hashed decision, p99", tested["p99_us"], "us", "", LONGEST_US, True)
    for part in ("hashed", "fused"):
        if part not in tested:
            continue
        of, cross = tested[part], trained[part]
        right = 100 * of["accuracy"]
        line(f"{name} {part}: right, cross-validated", 100 * cross["accuracy"], "%", f"{100 * cross['low']:.2f} to {100 * cross['high']:.2f}")
        line(f"{name} {part}: right on the test", right, "%", f"standard error {100 * of['standard_error']:.2f}", BARS[name].get(part))
        line(f"{name} {part}: points lost to swapped letters", right - 100 * of["accuracy_with_swaps"], "", "one in five words", SWAPS_COST, True)
        line(f"{name} {part}: calibration error of p_right", of["ece"], "", "debiased")
        line(f"{name} {part}: AUROC of p_right", of["right_auroc"], "", "")
        if tested["out_of_scope_texts"]:
            bar = BARS[name]["out_of_scope"] if part == "fused" else None
            line(f"{name} {part}: AUROC of out_of_scope", of["out_of_scope_auroc"], "", f"{tested['out_of_scope_texts']} texts", bar)


def slots(data, store, folder):
    for part, name in (("train", "train_0"), ("test", "test")):
        with (folder / f"{part}.jsonl").open("w") as file:
            for row in json.loads((data / f"restaurant8k/{name}.json").read_text()):
                spans = [{"slot": one["slot"], "start": one["valueSpan"].get("startIndex", 0), "end": one["valueSpan"]["endIndex"]}
                         for one in row.get("labels", [])]
                asked = row.get("context", {}).get("requestedSlots", [])
                file.write(json.dumps({"text": row["userInput"]["text"], "spans": spans, "asked": asked}) + "\n")
    trained = shoal("tune", "probe", folder / "train.jsonl", "--task", "bench-restaurant8k", "--data-dir", store)
    tested = shoal("tune", "test", "bench-restaurant8k", folder / "test.jsonl", "--data-dir", store)
    line("restaurant8k: training", trained["fit_seconds"], "s", f"{trained['texts']} texts")
    line("restaurant8k: F1 of slots, cross-validated", trained["held_out"]["f1"], "", f"standard error {trained['held_out']['standard_error']:.4f}")
    line("restaurant8k: F1 of slots on the test", tested["f1"], "", f"standard error {tested['standard_error']:.4f}", SLOTS_F1)
    line("restaurant8k: texts with every slot right", 100 * tested["texts_right"], "%", f"{tested['texts']} texts")
    line("restaurant8k: AUROC of p_right", tested["right_auroc"], "", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--only", default=",".join([*BARS, "restaurant8k"]))
    options = parser.parse_args()
    for name in options.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            if name == "restaurant8k":
                slots(options.data, options.store, Path(folder))
            else:
                measure(name, globals()[name](options.data), options.store, Path(folder))


if __name__ == "__main__":
    main()
