"""Calibration that weighs what can be seen of an answer, with a real model: fitted, served, told in receipts, certified."""
import json
import math
import os
import subprocess

import pytest
from conftest import SHOAL, WEIGHTS

MODEL = "stories15m-q4_0"
PROMPTS = [f"{name} had a {thing}. One day" for name in "Tom Lily Ben Mia Max Anna Sam Lucy Tim Jane Bob Amy Jack Sue Dan".split()
           for thing in "ball dog cat bird tree car hat cake boat fish star book shoe frog moon kite duck bear cup bell".split()]


def run(*args, data_dir):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    return subprocess.run([str(SHOAL), *map(str, args), "--data-dir", str(data_dir)], capture_output=True, text=True, timeout=120,
                          env=clean)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data folder with the model, and tables for it that were fitted on 300 answers."""
    path = WEIGHTS / "stories15M-q4_0.gguf"
    if not path.exists():
        pytest.skip(f"no test weights at {path}")
    folder = tmp_path_factory.mktemp("checks")
    assert run("models", "import", path, data_dir=folder).returncode == 0
    (folder / "questions.jsonl").write_text("".join(
        json.dumps({"prompt": prompt, "answers": ["play", "happy", "park", "went"]}) + "\n" for prompt in PROMPTS))
    return folder


ASK = ("--model", MODEL, "--task", "stories", "--grader", "contains", "--max-tokens", 12)


@pytest.fixture(scope="module")
def fitted(folder):
    done = run("route", "fit", *ASK, "--few", "--data", folder / "questions.jsonl", "--json", data_dir=folder)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_three_hundred_answers_make_a_table(folder, fitted):
    whole = fitted["tables"][0]
    assert (fitted["answers"], whole["fitted_on"], whole["held_out"]["answers"]) == (300, 210, 90)
    checks = [one["name"] for one in whole.get("checks", [])]
    assert whole["format"] == ("shoal-calibration-2" if checks else "shoal-calibration-1")
    assert whole["steps"] == [], "too few answers for steps"
    assert whole["key"]["sampler"] == "greedy"
    text = run("route", "fit", *ASK, "--few", "--data", folder / "questions.jsonl", data_dir=folder).stdout
    assert "(Platt)" in text
    for name in checks:
        assert f"  {name}\n" in text
    assert ("Checks of the answers: not weighed" in text) is (not checks)
    (folder / "few.jsonl").write_text("".join((folder / "questions.jsonl").read_text().splitlines(True)[:284]))
    done = run("route", "fit", *ASK, "--few", "--data", folder / "few.jsonl", data_dir=folder)
    assert done.returncode == 2 and "284 different questions; 285 are needed" in done.stderr


def test_what_is_seen_of_an_answer_counts_and_is_told(folder, fitted, serve):
    """The fitted table, with a weight for answers that were cut off: -4 of log-odds."""
    whole = fitted["tables"][0]
    path = whole.pop("file")
    table = {"checks_version": 1, "checks": [{"name": "cut", "center": 0.5, "spread": 0.5, "weight": -2.0}]}
    table = whole | table | {"format": "shoal-calibration-2", "logistic": whole["logistic"] | {"weight": [0, 0, 0, 0], "bias": 1.0}}
    with open(path, "w") as file:
        json.dump(table, file)
    server = serve(f'[provider.gone]\nbase_url = "http://127.0.0.1:9/v1"\nlocal = true\n'
                   f'[route.stories]\npolicy = "slm_first"\nlocal = "{MODEL}"\nremote = ["gone/big"]\ntask = "stories"\n'
                   f'threshold = 0.8\nlatency = "relaxed"\ncommit_tokens = 64\n', data_dir=folder)

    def ask(**fields):
        status, _, answer = server.post("/v1/completions", {"model": "stories", "prompt": PROMPTS[0], "temperature": 0} | fields)
        assert status == 200, answer
        return answer["choices"][0], answer["x_shoal"]

    choice, receipt = ask(max_tokens=40, stop=["."])
    assert choice["finish_reason"] == "stop"
    assert receipt["route"] == "local" and receipt["confidence"] == pytest.approx(1 / (1 + math.exp(-3)))
    assert receipt["reasons"] == [{"signal": "confidence", "value": "0.95", "rule": "at least 0.80", "effect": "keep"}]
    choice, receipt = ask(max_tokens=4)
    assert choice["finish_reason"] == "length"
    assert receipt["confidence"] == pytest.approx(1 / (1 + math.exp(1)))
    assert {"signal": "check cut", "value": "1.00", "rule": "log-odds of being right", "effect": "-4.00"} in receipt["reasons"]
    # A file whose checks this version does not read is named, and not used.
    with open(path, "w") as file:
        json.dump(table | {"checks_version": 99}, file)
    other = serve(server.config.read_text(), data_dir=folder)
    status, _, answer = other.post("/v1/completions", {"model": "stories", "prompt": PROMPTS[0], "temperature": 0, "max_tokens": 4})
    assert status == 200 and answer["x_shoal"].get("confidence") is None, answer["x_shoal"]
    assert "checks_version" in other.log() and "fit it again" in other.log()
