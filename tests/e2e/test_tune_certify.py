"""Slots of texts, and certificates of trained tasks: made by `shoal tune`, kept by /v1/classify, void when the task changes."""
import json
import random
import shutil
import signal
import time
from xml.etree import ElementTree

import pytest
from conftest import EMBED_MODEL
from test_tune_probe import banking, report, shoal, some_rows, write  # noqa: F401

SLOTS = ["people", "time"]


def slot_rows(count, seed):
    """"a table for 3 at 7 pm", a number alone that was asked for, and numbers that are no slot; an accent before each span."""
    draw = random.Random(seed)
    rows = []
    for i in range(count):
        number = str(draw.randint(1, 12))
        row = {"text": "", "spans": []}

        def add(slot, words, row=row):
            row["spans"].append({"slot": slot, "start": len(row["text"]), "end": len(row["text"]) + len(words)})
            row["text"] += words
        if i % 4 == 0:
            slot = draw.choice(SLOTS)
            row["asked"] = [slot]
            add(slot, number)
        elif i % 4 == 1:
            row["text"] = f"no thanks, {number} is too much"
        else:
            row["text"] = draw.choice(["a caf\u00e9 table for ", "\u00e0 deux: we are "])
            add("people", number)
            row["text"] += " at "
            add("time", f"{draw.randint(1, 12)} pm")
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def slots(home):
    data = write(home / "slots.jsonl", slot_rows(120, 1))
    return report("tune", "probe", data, "--task", "booking", "--data-dir", home)


def noisy_rows(count, seed):
    """As some_rows, one in ten with a label that no text says."""
    draw = random.Random(seed)
    rows = some_rows(count, seed)
    for row in rows:
        if draw.random() < 0.1:
            row["text"] = f"well {draw.randint(0, 10**6)} hmm"
    return rows


@pytest.fixture(scope="module")
def classes(home):
    data = write(home / "train.jsonl", noisy_rows(240, 1) + [{"text": f"zebra {i} quarks vexing", "label": "oos"} for i in range(12)])
    return report("tune", "probe", data, "--task", "kinds", "--no-embedder", "--out-of-scope", "oos", "--data-dir", home)


def classify(server, **body):
    status, _, answer = server.post("/v1/classify", body)
    return status, answer


def test_slots_are_measured_and_served_with_characters(home, slots, serve):
    assert slots["slots"] == SLOTS and slots["held_out"]["f1"] > 0.95 and "0.1" in slots["search_space"]["penalty"]
    held = write(home / "held.jsonl", slot_rows(40, 2))
    tested = report("tune", "test", "booking", held, "--data-dir", home)
    assert tested["texts"] == 40 and tested["f1"] > 0.95 and set(tested["by_slot"]) == set(SLOTS)
    assert report("tune", "show", "booking", "--data-dir", home)["slots"] == SLOTS
    assert "F1" in shoal("tune", "show", "booking", "--data-dir", home).stdout

    server = serve(data_dir=home, args=["--no-models"])
    rows = slot_rows(40, 2)
    status, body = classify(server, task="booking", input=[row["text"] for row in rows], asked=[row.get("asked", []) for row in rows])
    assert status == 200 and body["slots"] == SLOTS, body
    right = 0
    for row, one in zip(rows, body["data"], strict=True):
        for span in one["spans"]:
            assert row["text"][span["start"]:span["end"]] == span["text"] and 0 <= span["p"] <= 1
        right += [(s["slot"], s["start"], s["end"]) for s in one["spans"]] == [(s["slot"], s["start"], s["end"]) for s in row["spans"]]
    # The same slots as the measurement found.
    assert right == round(tested["texts_right"] * 40) > 35
    alone = [classify(server, task="booking", input="7", asked=[[slot]])[1]["data"][0]["spans"][0]["slot"] for slot in SLOTS]
    assert alone == SLOTS


def test_faults_of_slots_are_told(home, slots, classes, serve):
    def refused(row, *said):
        data = write(home / "bad.jsonl", slot_rows(40, 1) + [row])
        done = shoal("tune", "probe", data, "--task", "bad", "--data-dir", home)
        assert done.returncode == 2 and "line 41" in done.stderr and all(one in done.stderr for one in said), done.stderr
    refused({"text": "at 7", "spans": [{"slot": "time", "start": 3, "end": 9}]}, "4 characters")
    refused({"text": "at 7", "spans": [{"slot": "time", "start": 3, "end": 3}]}, "ends before")
    refused({"text": "at 7", "spans": [{"start": 0, "end": 2}]}, "no slot")
    refused({"text": "at 7"}, "spans")
    done = shoal("tune", "probe", home / "slots.jsonl", "--task", "kinds", "--data-dir", home)
    assert done.returncode == 2 and "task of classes" in done.stderr
    done = shoal("tune", "probe", home / "train.jsonl", "--task", "booking", "--no-embedder", "--data-dir", home)
    assert done.returncode == 2 and "task of slots" in done.stderr
    other = write(home / "other.jsonl", [{"text": "x", "spans": [{"slot": "colour", "start": 0, "end": 1}]}])
    done = shoal("tune", "test", "booking", other, "--data-dir", home)
    assert done.returncode == 2 and "colour" in done.stderr

    server = serve(data_dir=home, args=["--no-models"])
    for asked, said in ([["colour"]], "people, time"), ([], "each of the 1 inputs"), (["time"], "array of names"):
        status, body = classify(server, task="booking", input="7", asked=asked)
        assert status == 400 and body["error"]["param"].startswith("asked") and said in body["error"]["message"], body
    assert classify(server, task="kinds", input="7", asked=[[]])[0] == 400
    assert classify(server, labels=["a", "b"], input="7", asked=[[]])[0] == 400


def scores_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_certificate_keeps_what_it_promises_until_the_task_changes(home, classes, serve, tmp_path):
    held = write(home / "calibration.jsonl", noisy_rows(400, 7) + [{"text": f"quarks {i} vexing", "label": "oos"} for i in range(8)])
    common = ["--out-of-scope", "oos", "--data-dir", home]
    server = serve(data_dir=home, args=["--no-models"])
    texts = [row["text"] for row in noisy_rows(60, 9)]
    _, body = classify(server, task="kinds", input=texts)
    assert "certificate" not in body and all("keep" not in one and one["score"] >= 0 for one in body["data"])

    shown = report("tune", "certify", "kinds", held, "--risk", "0.05", *common)
    assert shown["risk"] == 0.05 and shown["excludes"] == "out-of-scope" and shown["out_of_scope"] == 8
    assert 0.5 < shown["certified"][-1]["coverage"] < 1 and shown["certified"][-1]["upper"] <= 0.05
    text = shoal("tune", "certify", "kinds", held, "--risk", "0.05", "--dry-run", *common).stdout
    assert "Promised, with a confidence of 95 %" in text and "--dry-run" in text

    server.process.send_signal(signal.SIGHUP)
    end = time.monotonic() + 10
    while "certificate" not in (body := classify(server, task="kinds", input=texts)[1]):
        assert time.monotonic() < end, server.log()
        time.sleep(0.05)
    certificate = body["certificate"]
    assert certificate["threshold"] == shown["certified_threshold"] and certificate["risk"] == 0.05 and len(certificate["id"]) == 12
    kept = [one["keep"] for one in body["data"]]
    assert kept == [one["score"] >= certificate["threshold"] for one in body["data"]] and 30 < sum(kept) < 60
    for one in body["data"]:
        assert one["score"] == pytest.approx(one["p_right"] * (1 - one["out_of_scope"]))
    server.stop()

    # Another file of this name, and a certificate that somebody has changed: nothing is kept, and why is said.
    again = tmp_path / "again"
    shutil.copytree(home / "tasks", again / "tasks")
    report("tune", "probe", write(again / "more.jsonl", noisy_rows(150, 3)), "--task", "kinds", "--no-embedder", "--data-dir", again)
    path = again / "tasks" / "booking.certificate.json"
    path.write_text((again / "tasks" / "kinds.certificate.json").read_text().replace('"wrong": 0,', '"wrong": 30,'))
    server = serve(data_dir=again, args=["--no-models"])
    _, body = classify(server, task="kinds", input=texts)
    assert "certificate" not in body and "tune certify kinds" in body["certificate_void"]
    assert not any(one["keep"] for one in body["data"])
    _, body = classify(server, task="booking", input="7")
    assert body["certificate_void"] and not body["data"][0]["keep"]
    assert server.log().count("certificate is void") == 2


def test_a_promise_that_nothing_shows_is_refused(home, classes):
    done = shoal("tune", "certify", "kinds", home / "train.jsonl", "--risk", "0.05", "--out-of-scope", "oos", "--data-dir", home)
    assert done.returncode == 2 and "was trained on" in done.stderr
    few = write(home / "few.jsonl", noisy_rows(30, 5))
    done = shoal("tune", "certify", "kinds", few, "--risk", "0.02", "--data-dir", home)
    assert done.returncode == 8 and "Refused" in done.stdout


def test_slots_are_certified_too(home, slots, serve):
    held = write(home / "slots-held.jsonl", slot_rows(1200, 8))
    # Few texts differ: copies do not count, and so a loose promise.
    done = shoal("tune", "certify", "booking", held, "--risk", "0.2", "--json", "--data-dir", home)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = json.loads(done.stdout)
    assert shown["labels"]["repeated"] > 0 and shown["key"]["quantisation"] == "slots"
    server = serve(data_dir=home, args=["--no-models"])
    _, body = classify(server, task="booking", input=["we are 3 at 9 pm", "qwerty 3 uiop 4"])
    assert body["certificate"]["threshold"] == shown["certified_threshold"] and body["data"][0]["keep"], body
    assert body["data"][0]["score"] == body["data"][0]["p_right"]


def test_the_scores_of_the_measurement_are_those_of_the_server_bit_for_bit(home, classes, slots, serve):
    held = noisy_rows(200, 11)
    scored = home / "scores.jsonl"
    report("tune", "test", "kinds", write(home / "bits.jsonl", held), "--scores", scored, "--data-dir", home)
    server = serve(data_dir=home, args=["--no-models"])
    _, body = classify(server, task="kinds", input=[row["text"] for row in held])
    rows = scores_of(scored)
    assert len(rows) == 200 and len({row["score"] for row in rows}) > 50
    assert [one["score"] for one in body["data"]] == [row["score"] for row in rows]
    assert [one["label"] == row["label"] for one, row in zip(body["data"], held, strict=True)] == [row["right"] for row in rows]
    held = slot_rows(200, 12)
    report("tune", "test", "booking", write(home / "bits.jsonl", held), "--scores", scored, "--data-dir", home)
    _, body = classify(server, task="booking", input=[row["text"] for row in held], asked=[row.get("asked", []) for row in held])
    assert [one["score"] for one in body["data"]] == [row["score"] for row in scores_of(scored)]


def test_with_embeddings_the_scores_are_the_servers_too(home, banking, serve):  # noqa: F811
    # Four of the labels, for their embeddings take time.
    train, held = (write(home / f"some-{path.name}", [json.loads(line) for line in path.read_text().splitlines()[:count]])
                   for path, count in zip(banking, (200, 160), strict=True))
    report("tune", "probe", train, "--task", "banking", "--embedder", EMBED_MODEL, "--data-dir", home)
    scored = home / "fused.jsonl"
    report("tune", "test", "banking", held, "--scores", scored, "--data-dir", home)
    server = serve(data_dir=home)
    rows = [json.loads(line) for line in held.read_text().splitlines()]
    # By length and all at once, as the measurement embeds them: in another company a text's embedding differs in its last bits.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["text"].encode()))
    found = {}
    for first in range(0, len(order), 256):
        part = order[first:first + 256]
        status, body = classify(server, task="banking", input=[rows[i]["text"] for i in part])
        assert status == 200 and "degraded" not in body, body
        found |= {i: one["score"] for i, one in zip(part, body["data"], strict=True)}
    wanted = [row["score"] for row in scores_of(scored)]
    assert [found[i] for i in range(len(rows))] == pytest.approx(wanted, abs=1e-3)
    server.stop()

    # The certificate is for answers with embeddings: without them nothing is kept.
    certified = report("tune", "certify", "banking", held, "--risk", "0.2", "--data-dir", home)
    assert certified["key"]["quantisation"] == "fused"
    texts = [row["text"] for row in rows[:64]]
    _, body = classify(serve(data_dir=home), task="banking", input=texts)
    assert sum(one["keep"] for one in body["data"]) > 32, body
    _, body = classify(serve(data_dir=home, args=["--no-models"]), task="banking", input=texts)
    assert "hashed" in body["certificate_void"] and not any(one["keep"] for one in body["data"])


def test_the_scores_of_a_measurement_are_certified_and_drawn(home, classes, tmp_path):
    held = write(home / "many.jsonl", noisy_rows(900, 13) + [{"text": f"quarks {i} vexing", "label": "oos"} for i in range(8)])
    scored, charts = tmp_path / "scores.jsonl", tmp_path / "charts"
    report("tune", "test", "kinds", held, "--out-of-scope", "oos", "--scores", scored, "--data-dir", home)
    assert sum(row["out_of_scope"] for row in scores_of(scored)) == 8
    gate = report("route", "certify", "--risk", "0.05", "--task", "kinds", "--scores", scored, "--charts", charts, "--data-dir",
                  home)["gates"][0]
    kept = gate["certified"][-1]
    said = {name: [element.text for element in ElementTree.parse(charts / name).iter("{http://www.w3.org/2000/svg}text")]
            for name in ("risk.svg", "reliability.svg")}
    assert "promised: 5 %" in said["risk.svg"]
    [of_the_gate] = [text for text in said["risk.svg"] if text and text.startswith("the gate: ")]
    assert f"score {kept['threshold']:.3f}, {100 * kept['coverage']:.1f} % kept" in of_the_gate
    dots = [dot.get("cx") for dot in ElementTree.parse(charts / "reliability.svg").iter("{http://www.w3.org/2000/svg}circle")]
    assert len(dots) == len(set(dots)) > 2
