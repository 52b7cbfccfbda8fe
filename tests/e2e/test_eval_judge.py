"""Judges: through a real server, with a provider whose answers are known."""
import json
import re
import signal
import subprocess

import pytest
from conftest import Server, wait_for
from scripted import Scripted
from test_eval_run import command, evaluate, journal

MODELS = ("good", "short", "judge", "coin", "first", "mad", "dear")


def block(text, name):
    return re.search(rf"<{name}-(\w+)>\n(.*?)\n</{name}-\1>", text, re.S).group(2)


def answer(model, text):
    """`good` and `short` answer; the others judge: by length, by a coin, the first one, and in rambling words."""
    if model == "good":
        return "a long and thorough answer"
    if model == "short":
        return "no"
    first, second = block(text, "answer-A"), block(text, "answer-B")
    if model in ("judge", "dear"):
        return "Let me see.\nVerdict: " + ("A" if len(first) > len(second) else "B" if len(second) > len(first) else "tie")
    if model == "coin":
        chosen = (max if int(block(text, "question")[-1]) % 2 else min)(first, second)
        return "Verdict: " + ("A" if chosen == first else "B")
    return "Verdict: A" if model == "first" else "Both are good, but Verdict: A I would say."


@pytest.fixture(scope="module")
def upstream():
    running = Scripted(answer).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def remote(upstream, tmp_path_factory):
    config = upstream.config("up", [m for m in MODELS if m != "dear"])
    config += '[[price]]\nprovider = "up"\nmodel = "dear"\nfrom = 2026-01-01\ninput_usd = "0"\noutput_usd = "1000"\n'
    tmp = tmp_path_factory.mktemp("serve")
    running = Server(config, tmp=tmp, data_dir=tmp / "data")
    yield running
    assert running.stop() == 0, running.log()


def write_suite(folder, judge, gold=200, mode=""):
    folder.mkdir(exist_ok=True)
    (folder / "suite.toml").write_text(f'name = "letters"\ndata = "rows.jsonl"\nslices = ["tone"]\n[grader]\nkind = "judge"\n'
                                       f'judge = "{judge}"\nrubric = "Longer is better."\ngold = "gold.jsonl"\nmax_tokens = 10\n{mode}')
    rows = [{"id": f"r{i}", "prompt": f"Write letter {i}", "answer": "a letter", "tone": "warm" if i % 2 else "cold"} for i in range(8)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pairs = []
    for i in range(gold):
        both = [f"a good and long answer, number {i}", f"short {i}"]
        pairs.append({"prompt": f"question {i}", "a": both[i % 2], "b": both[1 - i % 2], "better": "ab"[i % 2]})
    (folder / "gold.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    return folder


def test_a_judge_that_agrees_with_people_judges_in_both_orders(remote, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite", "up/judge")
    upstream.asked.clear()
    out = tmp_path / "out"
    run = ("run", suite, "--route", "up/good", "--route", "up/short", "--baseline", "up/short", "--out", out)
    text = evaluate(remote, *run).stdout
    judged = [asked for model, asked in upstream.asked if model == "judge"]
    assert len(judged) == len(set(judged)) == 2 * 200 + 2 * 16, "each pair in both orders, and none twice"
    report = json.loads((out / "result.json").read_text())
    assert report["judge"]["agreed"] == report["judge"]["pairs"] == 200 and report["judge"]["usable"]
    assert report["judge"]["low"] == pytest.approx(0.05 ** (1 / 200))
    assert report["judged"] == {"judged": 16, "garbled": 0, "failed": 0, "unasked": 0, "flips": 0, "flips_to_first": 0}
    good, short = ([row["score"] for row in route["results"]] for route in sorted(report["routes"], key=lambda r: r["route"]))
    assert good == [1] * 8 and short == [0] * 8
    assert report["comparisons"][0]["verdict"] == "better" and len(report["slices"]) == 4
    for where in (text, (out / "report.md").read_text().replace("\\", ""), (out / "report.html").read_text()):
        assert "agrees with people on 200 of 200 labelled pairs" in where and "0 of 16 verdicts changed with the order" in where
    (kept,) = out.glob("judge-*.json")
    assert json.loads(kept.read_text()) == report["judge"] and kept.stem == "judge-" + report["judge"]["key"][:16]
    upstream.asked.clear()
    assert "0 asked now, 48 were there" in evaluate(remote, *run).stdout
    assert not upstream.asked, "all is kept, verdicts too"
    # Results of two judges are not compared.
    other = write_suite(tmp_path / "other", "up/dear")
    evaluate(remote, "run", other, "--route", "up/good", "--out", tmp_path / "o2")
    refused = evaluate(remote, "gate", tmp_path / "o2" / "result.json", "--baseline", out / "result.json", "--route", "up/good", code=2)
    assert "two judges" in refused.stderr


@pytest.mark.parametrize("judge, said", [("coin", "may not judge"), ("first", "200 of 200 verdicts changed with the order"),
                                         ("mad", "200 garbled")])
def test_a_judge_that_is_no_better_than_a_coin_is_refused(remote, upstream, tmp_path, judge, said):
    suite = write_suite(tmp_path / "suite", f"up/{judge}")
    upstream.asked.clear()
    refused = evaluate(remote, "run", suite, "--route", "up/good", "--out", tmp_path, "--json", code=8)
    assert said in refused.stderr and "at least" in refused.stderr and "fix:" in refused.stderr
    numbers = json.loads(refused.stdout)
    assert not numbers["usable"] and numbers["low"] < 0.5 and numbers["pairs"] == 200
    assert {model for model, _ in upstream.asked} == {judge}, "no question was asked"
    assert not (tmp_path / "result.json").exists()


def test_too_few_labels_are_told_before_anything_is_asked(remote, upstream, tmp_path):
    upstream.asked.clear()
    suite = write_suite(tmp_path / "suite", "up/judge", gold=199)
    few = evaluate(remote, "run", suite, "--route", "up/good", "--out", tmp_path, code=3)
    assert "gold.jsonl:1: people decided 199 pairs, and a judge needs at least 200" in few.stderr
    unknown = write_suite(tmp_path / "suite", "no-such-model")
    assert "no-such-model" in evaluate(remote, "run", unknown, "--route", "up/good", "--out", tmp_path, code=5).stderr
    suite = write_suite(tmp_path / "suite", "up/judge")
    evaluate(remote, "run", suite, "--route", "no-such-model", "--out", tmp_path, code=5)
    assert not upstream.asked


def test_a_judge_is_paid_from_the_budget_and_goes_on(remote, upstream, tmp_path):
    # 0.001 USD an answer, and at most 0.01 of ten tokens: the trial alone takes 400.
    suite = write_suite(tmp_path / "suite", "up/dear")
    run = ("run", suite, "--route", "up/good", "--out", tmp_path)
    upstream.asked.clear()
    stopped = evaluate(remote, *run, "--max-usd", 0.1, code=7)
    assert "--max-usd 0.1" in stopped.stderr and "not tried on all labelled pairs" in stopped.stderr
    first = len(upstream.asked)
    assert 85 <= first <= 100 and not (tmp_path / "result.json").exists()
    evaluate(remote, *run, "--max-usd", round((400 - first) / 1000 + 0.02, 3), code=7)
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["ended"] == "budget" and report["judge"]["usable"] and report["judged"]["unasked"] > 0
    assert report["routes"][0]["ungraded"] == report["judged"]["unasked"]
    evaluate(remote, *run)
    judged = [text for model, text in upstream.asked if model == "dear"]
    assert len(judged) == len(set(judged)) == 2 * 200 + 2 * 8


def test_a_killed_trial_goes_on_and_asks_nothing_twice(remote, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite", "up/judge")
    argv, environment = command(remote, "run", suite, "--route", "up/good", "--out", tmp_path, "--parallel", 2)
    upstream.asked.clear()
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        wait_for(lambda: journal(tmp_path) >= 50)
        running.send_signal(signal.SIGKILL)
    kept = journal(tmp_path)
    assert 50 <= kept < 400
    evaluate(remote, "run", suite, "--route", "up/good", "--out", tmp_path)
    # Two were under way when it died, and nobody heard their answers.
    assert 416 <= sum(model == "judge" for model, _ in upstream.asked) <= 418
    assert journal(tmp_path) == 400 + 8 + 16
