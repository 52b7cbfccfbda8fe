"""Graders of labels, summaries and code on whole suites: a provider whose answers are known, beside a small real model."""
import json
import re

import pytest
from conftest import CHAT_MODEL, ROOT, Server
from scripted import Scripted
from test_eval_run import evaluate

SUITES = ROOT / "tests" / "fixtures" / "suites"
GOOD = {}


@pytest.fixture(scope="module")
def remote(models, tmp_path_factory):
    upstream = Scripted(lambda model, text: GOOD[text]).start()
    tmp = tmp_path_factory.mktemp("serve")
    (tmp / "data").mkdir()
    (tmp / "data" / "models").symlink_to(models / "models")
    running = Server(upstream.config("up", ["good"]), tmp=tmp, data_dir=tmp / "data")
    yield running
    upstream.stop()
    assert running.stop() == 0, running.log()


def test_labels_have_slices_and_a_confusion_matrix(remote, tmp_path):
    rows = [json.loads(line) for line in (SUITES / "intents" / "messages.jsonl").read_text().splitlines()]
    GOOD.clear()
    GOOD.update({row["prompt"]: row["answer"].title() + "." for row in rows})
    GOOD[rows[4]["prompt"]] = "account"
    GOOD[rows[5]["prompt"]] = "I do not know"
    report = json.loads(evaluate(remote, "run", SUITES / "intents", "--route", "up/good", "--route", CHAT_MODEL, "--out", tmp_path,
                                 "--json").stdout)
    good, small = report["routes"]
    assert good["accuracy"]["value"] == 6 / 8
    assert good["confusion"]["labels"] == ["card", "transfer", "loan", "account"]
    assert good["confusion"]["counts"] == [[1, 0, 0, 1, 0], [0, 1, 0, 0, 1], [0, 0, 2, 0, 0], [0, 0, 0, 2, 0]]
    assert sum(map(sum, small["confusion"]["counts"])) == 8
    shown = {(one["route"], one["slice"]): one["metric"]["value"] for one in report["slices"]}
    assert shown["up/good", "plain"] == 1 and shown["up/good", "roundabout"] == 0.5
    page = (tmp_path / "report.html").read_text()
    assert "Confusion of up/good" in page and "roundabout" in page


def test_summaries_are_graded_by_what_they_state(remote, tmp_path):
    rows = [json.loads(line) for line in (SUITES / "summaries" / "notes.jsonl").read_text().splitlines()]
    GOOD.clear()
    GOOD.update({rows[0]["prompt"]: "Strong winds: the boat was cancelled, a bus went, and tickets are good until Friday.",
                 rows[1]["prompt"]: "There is lead in 3 wells.", rows[2]["prompt"]: "A match was played."})
    report = json.loads(evaluate(remote, "run", SUITES / "summaries", "--route", "up/good", "--route", CHAT_MODEL, "--out", tmp_path,
                                 "--json").stdout)
    assert [(row["score"], row["right"]) for row in report["routes"][0]["results"]] == [(1, True), (0.5, False), (0, False)]
    for note, row in zip(rows, report["routes"][1]["results"]):
        stated = [any(re.search(rf"\b{re.escape(wording)}\b", row["answer"], re.I) for wording in ([fact] if isinstance(fact, str) else fact))
                  for fact in note["facts"]]
        assert row["score"] == pytest.approx(sum(stated) / len(stated)), row


def test_code_is_run_in_the_sandbox(remote, tmp_path):
    rows = [json.loads(line) for line in (SUITES / "functions" / "tasks.jsonl").read_text().splitlines()]
    GOOD.clear()
    GOOD.update({rows[0]["prompt"]: "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nIt adds.",
                 rows[1]["prompt"]: "def reverse(text):\n    while True:\n        pass\n",
                 rows[2]["prompt"]: f"open('{tmp_path}/escaped', 'w').write('x')\ndef vowels(text):\n    return 3\n"})
    report = json.loads(evaluate(remote, "run", SUITES / "functions", "--route", "up/good", "--route", CHAT_MODEL, "--out", tmp_path,
                                 "--json").stdout)
    good, small = report["routes"]
    assert [row["score"] for row in good["results"]] == [1, 0, 0]
    assert "did not end within 5 s" in good["results"][1]["why"] and "PermissionError" in good["results"][2]["why"]
    assert not (tmp_path / "escaped").exists()
    assert small["graded"] == 3 and all(row["score"] in (0, 0.5, 1) for row in small["results"])
