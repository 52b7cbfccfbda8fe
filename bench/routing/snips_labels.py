#!/usr/bin/env python3
"""Makes the labelled questions of `shoal serve --demo-cascade`: SNIPS intents, asked with two examples of each.

  bench/routing/snips_labels.py DATA/snips intents.jsonl
  shoal route fit --model smollm2-135m-instruct --task demo-intents --data intents.jsonl --commit-tokens 2 \\
    --max-tokens 10 --stop $'\\n' --grader label

DATA/snips holds train_INTENT_full.json of github.com/sonos/nlu-benchmark, 2017-06-custom-intent-engines (CC0). The same
arguments give the same file, byte for byte.
"""
import argparse
import hashlib
import json
from pathlib import Path

INTENTS = ["AddToPlaylist", "BookRestaurant", "GetWeather", "PlayMusic", "RateBook", "SearchCreativeWork",
           "SearchScreeningEvent"]
# Characters: the examples stand in front of every question.
SHORTEST_EXAMPLE, LONGEST_EXAMPLE = 12, 32
# The best of six sets on 80 questions that are in no file made here (numbers 3,000 to 3,079).
FIRST_EXAMPLE = 2


def utterances(folder):
    """(text, intent), once each, in an order that depends on the texts alone."""
    found = {}
    for intent in INTENTS:
        # A few files are not clean UTF-8.
        rows = json.loads((folder / f"train_{intent}_full.json").read_bytes().decode("utf-8", "replace"))[intent]
        for row in rows:
            text = " ".join("".join(part["text"] for part in row["data"]).split())
            if text and "\ufffd" not in text:
                found.setdefault(text.lower(), (text, intent))
    return [found[key] for key in sorted(found, key=lambda key: hashlib.sha256(key.encode()).digest())]


def examples(rows, per_intent):
    """Short ones of each intent, intents in turn."""
    short = [row for row in rows if SHORTEST_EXAMPLE <= len(row[0]) <= LONGEST_EXAMPLE]
    by_intent = {intent: [row for row in short if row[1] == intent][FIRST_EXAMPLE:FIRST_EXAMPLE + per_intent]
                 for intent in INTENTS}
    return [by_intent[intent][i] for i in range(per_intent) for intent in INTENTS]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--questions", type=int, default=1600)
    parser.add_argument("--skip", type=int, default=0, help="questions to leave out first: others than those of a fit")
    parser.add_argument("--examples", type=int, default=2, help="of each intent")
    args = parser.parse_args()
    rows = utterances(args.folder)
    shown = examples(rows, args.examples)
    head = "".join(f"Text: {text}\nIntent: {intent}\n\n" for text, intent in shown)
    asked = [row for row in rows if row not in shown][args.skip:args.skip + args.questions]
    with args.out.open("w", encoding="utf-8") as out:
        for text, intent in asked:
            out.write(json.dumps({"prompt": f"{head}Text: {text}\nIntent:", "answer": intent}, ensure_ascii=False) + "\n")
    print(f"{len(asked)} questions, sha256 {hashlib.sha256(args.out.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
