"""A promise about wrong answers, from labels to the next answer: `shoal route certify` shows a threshold or says what is
missing, a server keeps answers by it, and what it was shown for is told when something else runs."""
import itertools
import json
import math
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import SHOAL
from test_optimise import padded_model

NAMES = ["Lily", "Tom", "Mia", "Ben", "Sue", "Max", "Anna", "Sam", "Zoe", "Tim", "Amy", "Jack", "Lucy", "Bob", "Emma", "Leo",
         "Sara", "Dan", "Kate", "Joe"]
THINGS = ["ball", "cat", "dog", "car", "tree", "cake", "book", "hat", "bird", "fish", "box", "doll", "boat", "cup", "flower",
          "house", "kite", "apple", "star", "bear"]
PLACES = ["park", "garden", "kitchen", "forest"]


def run(*args, data_dir, code=0):
    done = subprocess.run([SHOAL, *map(str, args), "--data-dir", data_dir], capture_output=True, text=True, timeout=240)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def scores(path, count, seed=1):
    """Of answers with the score s half of (1 - s) squared are wrong: at most 5 % of those from 0.45 on."""
    drawn = random.Random(seed)
    lines = []
    for i in range(count):
        score = drawn.random()
        lines.append({"score": round(score, 6), "right": drawn.random() >= 0.5 * (1 - score) ** 2, "group": f"q{i}"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lines


def binomial_at_most(k, m, p):
    return sum(math.comb(m, i) * p**i * (1 - p) ** (m - i) for i in range(k + 1))


def test_scores_become_a_certificate_that_anybody_can_check(tmp_path):
    lines = scores(tmp_path / "scores.jsonl", 2000)
    args = ["route", "certify", "--risk", "0.05", "--task", "any", "--scores", tmp_path / "scores.jsonl"]
    dry = run(*args, "--dry-run", data_dir=tmp_path / "data")
    assert "Nothing was written" in dry and not (tmp_path / "data" / "certificates").exists()
    text = run(*args, data_dir=tmp_path / "data")
    assert "at most 5 % of them are wrong" in text and "must escalate at least" in text
    file = Path(re.search(r"Wrote (\S+)", text).group(1))
    made = json.loads(file.read_text())
    assert (made["risk"], made["confidence"], made["key"]["task"]) == (0.05, 0.95, "any")
    wrong = sum(not line["right"] for line in lines)
    assert made["least_escalated"] == pytest.approx((wrong / 2000 - 0.05) / 0.95)
    thresholds = [point["threshold"] for point in made["certified"]]
    assert thresholds == sorted(thresholds, reverse=True) and len(thresholds) > 5
    # The proof, by another's arithmetic; and that the labels of the certifying half are among those of the file.
    for point in made["certified"]:
        assert binomial_at_most(point["wrong"], point["kept"], 0.05) <= 0.05
        kept = [line for line in lines if line["score"] >= point["threshold"]]
        assert point["kept"] <= len(kept) and point["wrong"] <= sum(not line["right"] for line in kept)
    assert 0.30 < 1 - thresholds[-1] < 0.55, "a risk of 5 % allows 0.548"
    report = json.loads(run(*args, "--json", "--excludes", "out-of-scope", data_dir=tmp_path / "data"))
    assert report["gates"][0]["excludes"] == "out-of-scope" and report["gates"][0]["refusal"] is None
    assert report["gates"][0]["certified"] == made["certified"], "the same labels and seed: the same certificate"


def test_a_refusal_says_what_is_missing(tmp_path):
    scores(tmp_path / "few.jsonl", 200)
    text = run("route", "certify", "--risk", "0.02", "--task", "any", "--scores", tmp_path / "few.jsonl", data_dir=tmp_path,
               code=8)
    more = int(re.search(r"with (\d+) more it will be", text).group(1))
    assert more > 500 and "149 kept ones are needed" in text and not (tmp_path / "certificates").exists()
    (tmp_path / "noise.jsonl").write_text("".join(
        json.dumps({"score": i % 97, "right": i % 3 > 0}) + "\n" for i in range(1000)))
    text = run("route", "certify", "--risk", "0.05", "--task", "any", "--scores", tmp_path / "noise.jsonl", data_dir=tmp_path,
               code=8)
    assert "more labels would not help" in text
    report = json.loads(run("route", "certify", "--risk", "0.05", "--task", "any", "--scores", tmp_path / "noise.jsonl",
                            "--json", data_dir=tmp_path, code=8))
    assert report["gates"][0]["file"] is None and report["gates"][0]["more_labels"] is None


def test_late_misses_are_inside_the_risk(tmp_path):
    lines = scores(tmp_path / "scores.jsonl", 2000)
    for line in lines[::10]:
        line["late"] = True
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = run("route", "certify", "--risk", "0.05", "--task", "any", "--scores", tmp_path / "scores.jsonl", data_dir=tmp_path,
               code=8)
    assert "200 of them after they had been committed" in text


def test_what_is_wrong_in_a_command_or_a_file_is_named(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"score": 0.5, "right": true}\n{"score": 0.5, "right": "yes"}\n')
    args = ["route", "certify", "--task", "any"]
    assert "line 2: right: wanted true or false" in run(*args, "--risk", "0.05", "--scores", tmp_path / "bad.jsonl",
                                                        data_dir=tmp_path, code=2)
    assert "--scores FILE, or --data FILE" in run(*args, "--risk", "0.05", data_dir=tmp_path, code=2)
    assert "--risk" in run(*args, "--risk", "1.5", "--scores", tmp_path / "bad.jsonl", data_dir=tmp_path, code=2)
    assert "--risk" in run(*args, "--scores", tmp_path / "bad.jsonl", data_dir=tmp_path, code=2)


def questions(path, verbs):
    """Beginnings of tales that a model of tales goes on with as expected but for one in 50, and such that may go on in
    many ways, where it is less sure and never right."""
    lines = []
    for i, (name, thing, place, verb) in enumerate(itertools.product(NAMES, THINGS, PLACES, verbs)):
        tale = f"One day, {name} {verb} to the {place} with a {thing}. {name} was"
        lines.append({"prompt": tale, "answer": "very" if i % 50 else "never"})
        lines.append({"prompt": f"{tale[:-4]} saw a big", "answer": "never"})
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture(scope="module")
def tales(stories, tmp_path_factory):
    """A data folder with a tiny model, tables fitted on its answers, and certificates of other ones."""
    folder = tmp_path_factory.mktemp("tales")
    data_dir = folder / "data"
    padded_model(folder / "tiny.gguf")  # whose rows can be written in other types
    run("models", "import", folder / "tiny.gguf", "--name", "tiny", data_dir=data_dir)
    questions(folder / "fit.jsonl", ["went"])
    questions(folder / "other.jsonl", ["ran"])
    ask = ["--model", "tiny", "--task", "tales", "--grader", "contains", "--max-tokens", "4", "--commit-tokens", "2"]
    run("route", "fit", *ask, "--data", folder / "fit.jsonl", data_dir=data_dir)
    return folder, ask


def certify(tales, *args, code=0, data="other.jsonl", risk="0.05"):
    folder, ask = tales
    return run("route", "certify", "--risk", risk, *ask, "--data", folder / data, *args, data_dir=folder / "data", code=code)


def test_labels_that_a_table_was_fitted_on_certify_nothing(tales):
    report = json.loads(certify(tales, "--dry-run", "--json", data="fit.jsonl", risk="0.1"))
    labels = report["gates"][0]["labels"]
    assert 0.27 * 3200 < labels["all"] + labels["repeated"] <= 0.3 * 3200, "only what was held out"
    assert "of 3200, those that no table was fitted on" in report["source"]
    text = certify(tales, "--dry-run", "--fit-seed", "2", data="fit.jsonl", code=2)
    assert "another part than these options say" in text and "--seed 1" in text
    assert not (tales[0] / "data" / "certificates").exists()


def test_a_route_promises_a_risk_and_says_what_voids_it(tales, serve, tmp_path):
    folder, _ = tales
    text = certify(tales)
    assert "Streams, by their first 2 tokens" in text and "Answers that are sent whole" in text
    files = sorted(path.name for path in (folder / "data" / "certificates").iterdir())
    assert [re.sub(r"\.[0-9a-f]{12}\.", ".HASH.", name) for name in files] == [
        "tales.tiny.HASH.stream.k2.risk5.json", "tales.tiny.HASH.whole.k2.risk5.json"]
    certificates = {gate: json.loads((folder / "data" / "certificates" / name).read_text())
                    for gate, name in zip(("stream", "whole"), files)}

    remote_data = tmp_path / "remote"
    run("models", "import", folder / "tiny.gguf", "--name", "tiny", data_dir=remote_data)
    other = serve("", data_dir=remote_data)
    config = (f'[provider.large]\nbase_url = "http://127.0.0.1:{other.port}/v1"\nlocal = true\n'
              '[route.shoal-auto]\npolicy = "slm_first"\nlocal = "tiny"\nremote = ["large/tiny"]\ntask = "tales"\n'
              'commit_tokens = 2\ncommit_ms = 60000\nrisk = 0.05\n')
    server = serve(config, data_dir=folder / "data")

    def ask(prompt, headers=None, **more):
        return server.post("/v1/completions", {"prompt": prompt, "temperature": 0, "max_tokens": 4} | more, headers=headers)

    def stream(prompt):
        receipt = None
        for event in server.events("/v1/completions", {"prompt": prompt, "temperature": 0, "max_tokens": 4, "stream": True}):
            receipt = event.get("x_shoal", receipt) if isinstance(event, dict) else receipt
        return receipt

    sure, unsure = "One day, Pat ran to the park with a ball. Pat was", "One day, Pat ran to the park with a ball. Pat saw a big"
    for gate, receipt in (("whole", ask(sure)[2]["x_shoal"]), ("stream", stream(sure))):
        assert receipt["route"] == "local", receipt
        assert receipt["threshold"] == certificates[gate]["certified"][-1]["threshold"]
        proof = receipt["reasons"][0]
        assert proof["signal"] == "certificate" and proof["rule"] == "risk at most 0.05, shown with a confidence of 0.95"
    status, headers, answer = ask(unsure)
    assert status == 200 and answer["x_shoal"]["route"] == "escalated", answer
    assert "risk at most 0.05" in headers["x-shoal-certificate"]
    # It holds for what must stay here, too.
    assert ask(sure, headers={"x-shoal-privacy": "local_only"})[2]["x_shoal"]["route"] == "local"
    status, _, body = ask(unsure, headers={"x-shoal-privacy": "local_only"})
    assert status == 503 and body["error"]["code"] == "low_confidence", body
    # Another sampler is another gate.
    receipt = ask(sure, temperature=1)[2]["x_shoal"]
    assert receipt["route"] == "remote" and receipt["reasons"][0]["value"].startswith("void: sampler temperature 1")

    # The quantisation is swapped under the running server.
    run("models", "optimise", "tiny", "--candidate", "Q8_0", data_dir=folder / "data")
    try:
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while "configuration reloaded" not in server.log() and time.monotonic() < deadline:
            time.sleep(0.02)
        status, headers, answer = ask(sure)
        receipt = answer["x_shoal"]
        assert receipt["route"] == "remote" and receipt["confidence"] is None and "threshold" not in receipt, receipt
        assert receipt["reasons"][0] == {"signal": "certificate", "value": "void: quantisation Q8_0",
                                         "rule": "certified for F32", "effect": "no threshold"}
        assert headers["x-shoal-certificate"] == "void: quantisation Q8_0, certified for F32"
        kept = server.get(f"/v1/shoal/receipts/{receipt['decision_id']}")[2]
        assert kept["detail"]["reasons"] == receipt["reasons"]
        assert stream(sure)["reasons"][0]["value"] == "void: quantisation Q8_0"
        status, _, body = ask(sure, headers={"x-shoal-privacy": "local_only"})
        assert status == 503 and body["error"]["code"] == "low_confidence", body
        assert "void: quantisation Q8_0 (certified for F32)" in body["error"]["message"]
    finally:
        run("models", "optimise", "tiny", "--undo", data_dir=folder / "data")
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while server.log().count("configuration reloaded") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ask(sure)[2]["x_shoal"]["route"] == "local", "what it was shown for runs again"

    # A certificate that was written over by hand proves nothing.
    path = folder / "data" / "certificates" / files[1]
    text = path.read_text()
    path.write_text(text.replace('"risk": 0.05,', '"risk": 0.0001,', 1))
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 30
    while server.log().count("configuration reloaded") < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert "a certificate is not used" in server.log() and "thresholds whose labels show the risk" in server.log()
    assert ask(sure)[2]["x_shoal"]["reasons"][0]["value"] == "void: gate whole"
    path.write_text(text)
