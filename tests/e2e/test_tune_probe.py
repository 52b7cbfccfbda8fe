"""Classes of texts: trained by `shoal tune probe`, scored by `tune test`, served by /v1/classify; both give one result."""
import csv
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import EMBED_MODEL, ROOT, SHOAL, WEIGHTS

DATA = Path(os.environ.get("SHOAL_TEST_DATA", ROOT.parent / "shared" / "data"))
BANKING = DATA / "banking77"
WORDS = {"card": ["card", "lost", "stolen", "freeze", "block"], "weather": ["weather", "rain", "sunny", "forecast", "wind"],
         "music": ["music", "play", "song", "album", "band"]}


def shoal(*args, timeout=240):
    env = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")} | {"XDG_CONFIG_HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"}
    return subprocess.run([str(SHOAL), *map(str, args)], capture_output=True, text=True, env=env, timeout=timeout)


def report(*args):
    done = shoal(*args, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def some_rows(count, seed):
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        label = sorted(WORDS)[i % len(WORDS)]
        rows.append({"text": f"please {draw.choice(WORDS[label])} my {draw.choice(WORDS[label])} number {i}", "label": label})
    return rows


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(home):
    rows = some_rows(120, 1) + [{"text": f"zebra {i} quarks vexing", "label": "oos"} for i in range(12)]
    data = write(home / "train.jsonl", rows)
    return report("tune", "probe", data, "--task", "kinds", "--no-embedder", "--out-of-scope", "oos", "--data-dir", home)


def test_the_report_says_what_was_measured_and_chosen(home, trained):
    assert trained["texts"] == 120 and trained["out_of_scope_texts"] == 12 and trained["embedder"] is None
    hashed = trained["hashed"]
    assert hashed["low"] < hashed["accuracy"] <= hashed["high"] and hashed["accuracy"] > 0.95
    assert hashed["out_of_scope_auroc"] > 0.9 and 1.3 in trained["search_space"]["of_hashed"]
    assert report("tune", "show", "--data-dir", home) == {"tasks": ["kinds"]}
    shown = report("tune", "show", "kinds", "--data-dir", home)
    assert shown["labels"] == ["card", "music", "weather"] and len(shown["data_sha256"]) == 64
    text = shoal("tune", "show", "kinds", "--data-dir", home).stdout
    assert "3 labels, trained on 120 texts" in text and "without embeddings" in text


def test_the_same_data_and_seed_give_the_same_file(home, trained):
    file = Path(trained["file"])
    before = file.read_bytes()
    report("tune", "probe", home / "train.jsonl", "--task", "kinds", "--no-embedder", "--out-of-scope", "oos", "--data-dir", home)
    assert file.read_bytes() == before


def test_bad_data_are_told(home, trained):
    few = write(home / "few.jsonl", some_rows(6, 1))
    done = shoal("tune", "probe", few, "--task", "x", "--no-embedder", "--data-dir", home)
    assert done.returncode == 2 and "card (2)" in done.stderr and "3 different texts" in done.stderr
    one = write(home / "one.jsonl", [{"text": f"text {i}", "label": "same"} for i in range(9)])
    done = shoal("tune", "probe", one, "--task", "x", "--no-embedder", "--data-dir", home)
    assert done.returncode == 2 and "one label, same" in done.stderr
    fields = write(home / "fields.jsonl", [{"sentence": "a", "label": "b"}])
    done = shoal("tune", "probe", fields, "--task", "x", "--no-embedder", "--data-dir", home)
    assert done.returncode == 2 and "sentence" in done.stderr and "--text-field" in done.stderr
    empty = write(home / "empty.jsonl", some_rows(9, 1) + [{"text": " ", "label": "card"}])
    done = shoal("tune", "probe", empty, "--task", "x", "--no-embedder", "--data-dir", home)
    assert done.returncode == 2 and "line 10" in done.stderr
    done = shoal("tune", "probe", few, "--task", "../x", "--no-embedder", "--data-dir", home)
    assert done.returncode == 2 and "cannot be called" in done.stderr
    done = shoal("tune", "show", "kind", "--data-dir", home)
    assert done.returncode == 5 and "kinds" in done.stderr
    both = write(home / "both.jsonl", some_rows(30, 1) + [{"text": "please lost my card number 0", "label": label} for label in WORDS])
    done = shoal("tune", "probe", both, "--task", "both", "--no-embedder", "--data-dir", home)
    assert done.returncode == 0 and "more than one label" in done.stdout
    (home / "tasks" / "both.task").unlink()


def classify(server, **body):
    return server.post("/v1/classify", body)


def test_the_server_answers_with_the_trained_task(home, trained, serve):
    server = serve(data_dir=home, args=["--no-models"])
    texts = ["freeze the stolen card", "will there be rain or wind", "vexing zebra quarks", "\N{GRINNING FACE}"]
    status, _, body = classify(server, task="kinds", input=texts)
    assert status == 200, body
    assert body["task"] == "kinds" and body["labels"] == ["card", "music", "weather"] and body["out_of_scope_from"] == "examples"
    first, second, strange, _ = body["data"]
    assert [first["label"], second["label"]] == ["card", "weather"]
    for one in body["data"]:
        assert abs(sum(one["probs"]) - 1) < 1e-3 and 0 <= one["p_right"] <= 1 and not one["embedded"] and one["num_classes"] == 3
    assert strange["out_of_scope"] > 0.5 > first["out_of_scope"]

    status, _, body = classify(server, task="kind", input="x")
    assert status == 404 and body["error"]["param"] == "task" and "kinds" in body["error"]["message"]
    status, _, body = classify(server, task="kinds", labels=["a", "b"], input="x")
    assert status == 400 and body["error"]["param"] == "labels"
    status, _, body = classify(server, input="x")
    assert status == 400 and body["error"]["param"] == "labels"
    status, _, body = classify(server, task="kinds")
    assert status == 400 and body["error"]["param"] == "input"


def test_a_task_that_comes_later_is_there_after_a_reload_and_a_damaged_one_is_not(home, trained, serve):
    server = serve(data_dir=home, args=["--no-models"])
    report("tune", "probe", write(home / "more.jsonl", some_rows(60, 2)), "--task", "more", "--no-embedder", "--data-dir", home)
    assert classify(server, task="more", input="x")[0] == 404
    broken = bytearray(Path(trained["file"]).read_bytes())
    broken[len(broken) // 2] ^= 1
    (home / "tasks" / "broken.task").write_bytes(broken)
    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while classify(server, task="more", input="x")[0] != 200:
        assert time.monotonic() < end, server.log()
        time.sleep(0.05)
    assert classify(server, task="broken", input="x")[0] == 404 and "SHA-256" in server.log()
    (home / "tasks" / "broken.task").unlink()


@pytest.fixture(scope="module")
def banking(home):
    weights = WEIGHTS / "all-MiniLM-L6-v2-q8_0.gguf"
    if not BANKING.exists() or not weights.exists():
        pytest.skip(f"no test data at {BANKING}, or no weights at {weights}")
    done = shoal("models", "import", weights, "--name", EMBED_MODEL, "--data-dir", home)
    assert done.returncode == 0, done.stderr
    by_label = {}
    for row in csv.DictReader((BANKING / "train.csv").open(newline="")):
        by_label.setdefault(row["category"], []).append(row["text"])
    rows = [{"text": text, "label": label} for label in sorted(by_label)[:8] for text in by_label[label][:50]]
    return write(home / "banking.jsonl", rows), write(home / "held.jsonl", [
        {"text": text, "label": label} for label in sorted(by_label)[:8] for text in by_label[label][50:90]])


def test_banking_is_better_with_embeddings_and_served_alike(home, banking, serve):
    train, held = banking
    trained = report("tune", "probe", train, "--task", "banking", "--embedder", EMBED_MODEL, "--data-dir", home)
    assert trained["embedder"] == EMBED_MODEL and trained["fused"]["log_loss"] < trained["hashed"]["log_loss"]
    assert trained["fused"]["accuracy"] > 0.9
    tested = report("tune", "test", "banking", held, "--data-dir", home)
    assert tested["fused"]["accuracy"] > 0.9 and tested["fused"]["standard_error"] > 0

    server = serve(data_dir=home)
    rows = [json.loads(line) for line in held.read_text().splitlines()]
    right = 0
    for first in range(0, len(rows), 64):
        part = rows[first:first + 64]
        status, _, body = classify(server, task="banking", input=[row["text"] for row in part])
        assert status == 200 and "degraded" not in body and all(one["embedded"] for one in body["data"]), body
        right += sum(one["label"] == row["label"] for one, row in zip(body["data"], part, strict=True))
    # The classes that the measurement uses are those that the server runs.
    assert right == round(tested["fused"]["accuracy"] * len(rows))


def test_without_its_embedder_the_hashed_part_answers_and_says_so(home, banking, serve):
    train, _ = banking
    report("tune", "probe", train, "--task", "banking", "--embedder", EMBED_MODEL, "--data-dir", home)
    server = serve(data_dir=home, args=["--no-models"])
    status, _, body = classify(server, task="banking", input="I still have not received my new card")
    assert status == 200 and EMBED_MODEL in body["degraded"] and not body["data"][0]["embedded"], body
