"""Routers that are learned from outcomes by the real binary: on a table of our own, and on RouteLLM's MMLU."""
import csv
import json
import os
import random
import subprocess

import pytest
from conftest import CHAT_MODEL, DATA, SHOAL, STORE, Server

MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def run(*args, data_dir, timeout=120):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    return subprocess.run([str(SHOAL), "route", *map(str, args), "--data-dir", str(data_dir)], capture_output=True, text=True,
                          timeout=timeout, env=clean)


def table(folder, rows=600, seed=1):
    draw = random.Random(seed)
    path = folder / "outcomes.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["prompt", "topic", "small", "large"])
        for i in range(rows):
            hard = i % 2
            prompt = f"Add {draw.randrange(900)} and {draw.randrange(900)} please?" if hard else \
                f"Is {draw.choice(['Rome', 'Oslo', 'Lima'])} a capital, yes or no, {draw.choice('abcdef')}?"
            out.writerow([prompt, "sums" if hard else "capitals", draw.random() < (0.2 if hard else 0.9), draw.random() < 0.95])
    return path


def train(folder, *args, name="mine"):
    return run("train", name, "--outcomes", folder / "outcomes.csv", "--group-column", "topic", "--weak", "small", "--strong",
               "large", *args, data_dir=folder / "data")


def test_a_router_learns_what_gains_and_shows_why(tmp_path):
    table(tmp_path)
    done = train(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["rows"] == 600 and report["apgr"] > 0.68 and report["apgr"] > report["length_apgr"]
    shares = [point["share"] for point in report["curve"]]
    assert shares == sorted(shares) and shares[-1] == 1
    half = next(point for point in report["curve"] if point["share"] >= 0.5)
    assert half["score"] > report["strong_score"] - 0.07, "half of the requests bring nearly all of the gap"
    sum_ = json.loads(run("show", "mine", "Add 17 and 25 please?", "--json", data_dir=tmp_path / "data").stdout)
    capital = json.loads(run("show", "mine", "Is Rome a capital, yes or no?", "--json", data_dir=tmp_path / "data").stdout)
    assert sum_["sha256"] == report["sha256"]
    assert sum_["gain"] > 0.55 > 0.3 > capital["gain"]
    assert sum_["gain"] == pytest.approx(sum_["mean_gain"] + sum(sum_["parts"]), abs=1e-12)
    text = run("show", "mine", "Add", "17", "please", data_dir=tmp_path / "data").stdout
    assert "Expected gain" in text and "LEAST GAIN" in text and "cross-validated" in text


def test_the_same_table_makes_the_same_router_bit_for_bit(tmp_path):
    table(tmp_path)
    one = json.loads(train(tmp_path, "--json", "--robust", name="one").stdout)
    two = json.loads(train(tmp_path, "--json", "--robust", name="two").stdout)
    files = [(tmp_path / "data" / "routers" / f"{name}.router").read_bytes() for name in ("one", "two")]
    assert files[0].replace(b"train one", b"train two") == files[1]
    assert one["curve"] == two["curve"]


def test_faults_say_what_was_wanted(tmp_path):
    table(tmp_path, rows=120)
    done = train(tmp_path)
    assert done.returncode == 2 and "120 rows are too few: 275 are needed" in done.stderr and "155 more" in done.stderr
    table(tmp_path, rows=400)
    done = train(tmp_path, name="../mine")
    assert done.returncode == 2 and "`../mine`" in done.stderr
    done = run("show", "mine", data_dir=tmp_path / "data")
    assert done.returncode == 5 and "`shoal route train NAME` makes one" in done.stderr
    assert train(tmp_path).returncode == 0
    done = run("show", "mien", data_dir=tmp_path / "data")
    assert done.returncode == 5 and "there are: mine" in done.stderr
    file = tmp_path / "data" / "routers" / "mine.router"
    file.write_bytes(file.read_bytes()[:1000])
    done = run("show", "mine", data_dir=tmp_path / "data")
    assert done.returncode == 3 and str(file) in done.stderr
    (tmp_path / "blocked").write_text("")
    done = run("train", "mine", "--outcomes", tmp_path / "outcomes.csv", "--weak", "small", "--strong", "large",
               data_dir=tmp_path / "blocked")
    assert done.returncode == 1 and "blocked" in done.stderr


def answered(folder, rows=480, seed=2):
    """Sums; two of five answers of the small model are off by seven, and cannot be told by the question."""
    draw = random.Random(seed)
    path = folder / "answered.csv"
    with path.open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["prompt", "small", "large", "small_response"])
        for i in range(rows):
            a, b, off = draw.randrange(10, 90), draw.randrange(10, 90), 7 * (draw.random() < 0.4)
            out.writerow([f"Add {a} and {b} for customer {i}.", not off, draw.random() < 0.9, f"{a} + {b} = {a + b + off}\n#### {a + b + off}"])
    return path


def judge(folder, *args, name="judge"):
    return run("train", name, "--outcomes", folder / "answered.csv", "--weak", "small", "--strong", "large", "--after-answer",
               "--folds", 2, *args, data_dir=folder / "data")


def test_a_judge_of_answers_is_learned_and_shows_why(tmp_path):
    answered(tmp_path)
    done = judge(tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["rows"] == 480 and report["auroc"] > 0.9
    assert report["apgr"] > report["answer_length_apgr"] + 0.15
    show = ("show", "judge", "Add 21 and 34 for customer 9.", "--answer")
    good = json.loads(run(*show, "21 + 34 = 55\n#### 55", "--json", data_dir=tmp_path / "data").stdout)
    bad = json.loads(run(*show, "21 + 34 = 62\n#### 62", "--json", data_dir=tmp_path / "data").stdout)
    assert good["sha256"] == bad["sha256"] == report["sha256"]
    assert good["confidence"] > 0.8 > 0.2 > bad["confidence"]
    assert bad["gain"] > 0.5 > 0.2 > good["gain"]
    assert bad["gain"] == pytest.approx(bad["mean_gain"] + sum(bad["parts"]), abs=1e-12)
    assert {"wrong", "wrong_share", "wrong_plain"} & {one["name"] for one in bad["seen"]}
    text = run(*show, "21 + 34 = 62\n#### 62", data_dir=tmp_path / "data").stdout
    assert "Right with probability 0." in text and "Log-odds of being wrong" in text


def test_a_judge_of_answers_is_the_same_bit_for_bit_and_says_what_it_misses(tmp_path):
    answered(tmp_path)
    assert judge(tmp_path, name="one").returncode == 0
    assert judge(tmp_path, name="two").returncode == 0
    one, two = ((tmp_path / "data" / "routers" / f"{name}.answer-router").read_bytes() for name in ("one", "two"))
    assert one.replace(b"train one", b"train two") == two
    done = run("show", "other", "a", "--answer", "b", data_dir=tmp_path / "data")
    assert done.returncode == 5 and "there are: one, two" in done.stderr
    assert judge(tmp_path, "--robust").returncode == 2
    table(tmp_path)
    done = run("train", "mine", "--outcomes", tmp_path / "outcomes.csv", "--weak", "small", "--strong", "large", "--after-answer",
               data_dir=tmp_path / "data")
    assert done.returncode == 2 and "small_response" not in done.stderr and "NAME_response" in done.stderr


CONFIG = (f'[provider.large]\nbase_url = "http://127.0.0.1:9/v1"\nlocal = true\n'
          f'[route.shoal-auto]\nlocal = "{CHAT_MODEL}"\nremote = ["large/big"]\nrouter = "mine"\nleast_gain = 0.5\non_null_confidence = "keep"\n')


def plan(server, *turns, **fields):
    status, _, answer = server.post("/v1/shoal/route", {"messages": [{"role": "user", "content": turn} for turn in turns],
                                                        "temperature": 0} | fields)
    assert status == 200, answer
    return answer


def test_the_server_decides_by_the_same_score_bit_for_bit(serve, models, tmp_path):
    table(tmp_path)
    data = tmp_path / "data"
    data.mkdir()
    (data / "models").symlink_to(STORE / "models")
    assert train(tmp_path).returncode == 0
    server = serve(CONFIG, data_dir=data)
    for question in ("Add 17 and 25 please?", "Is Rome a capital, yes or no?", "Is Lima a capital, yes or no, d?",
                     "Überlange " * 500 + "Add 3 and 4"):
        shown = json.loads(run("show", "mine", question, "--json", data_dir=data).stdout)
        answer = plan(server, question)
        reason = answer["reasons"][0]
        assert (reason["signal"], reason["rule"]) == ("gain", "router mine, at least 0.5")
        assert float(reason["value"]) == shown["gain"]
        gains = shown["gain"] >= 0.5
        assert reason["effect"] == ("ask a provider first" if gains else "draft here")
        assert answer["candidates"][0]["local"] is not gains
    # A turn later it is still about the sum.
    first = float(plan(server, "Add 17 and 25 please?")["reasons"][0]["value"])
    then = float(plan(server, "Add 17 and 25 please?", "Is Rome a capital, yes or no?")["reasons"][0]["value"])
    assert then == max(0.7 * first, float(plan(server, "Is Rome a capital, yes or no?")["reasons"][0]["value"]))
    # What may not leave stays, whatever it would gain; and an answer's receipt has the reason too.
    status, headers, answer = server.post("/v1/chat/completions", {
        "messages": [{"role": "user", "content": "Add 17 and 25 please?"}], "temperature": 0, "max_tokens": 4})
    assert status == 200, answer
    assert answer["x_shoal"]["route"] == "fallback" or answer["x_shoal"]["egress"] == "none", answer["x_shoal"]
    assert answer["x_shoal"]["reasons"][0] == plan(server, "Add 17 and 25 please?")["reasons"][0]


def test_a_server_without_its_router_does_not_start(models, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    server = Server(CONFIG, tmp=tmp_path, data_dir=data, wait=False)
    assert server.process.wait(20) == 3
    said = server.log()
    assert "route.shoal-auto.router" in said and "mine.router" in said and "`shoal route train mine` makes one" in said


@pytest.mark.skipif(not (DATA / "routellm").is_dir(), reason="needs the test data")
def test_mmlu_is_learned_as_well_as_the_benchmark_says(tmp_path):
    """A quarter of the rows of what `make bench-routing` measures: a bound that holds for any draw of the folds."""
    folder = tmp_path / "quarter"
    folder.mkdir()
    for file in sorted((DATA / "routellm" / "mmlu_responses").glob("*.csv")):
        with file.open(newline="") as source, (folder / file.name).open("w", newline="") as out:
            rows = list(csv.reader(source))
            csv.writer(out).writerows([rows[0], *rows[1::4]])
    done = run("train", "mmlu", "--outcomes", folder, "--weak", MIXTRAL, "--strong", GPT4, "--exclude",
               DATA / "routellm" / "mmlu_contaminated_prompts.jsonl", "--json", data_dir=tmp_path / "data")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["topics"] == 57
    assert report["apgr"] > 0.60
    assert report["apgr"] > report["length_apgr"]
