"""`shoal eval run` and `shoal eval gate` with a real server and a real model: what is asked is asked once, a killed run goes
on, reports have the numbers of the answers, and the gate has three ways to end."""
import json
import os
import signal
import subprocess
import time

import pytest
from conftest import CHAT_MODEL, ROOT, SHOAL, STORE, wait_for

SUITE = ROOT / "tests" / "fixtures" / "suites" / "capitals"
QUESTIONS = [json.loads(line) for line in (SUITE / "questions.jsonl").read_text().splitlines()]


def command(server, *args):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    environment |= {"SHOAL_CONFIG": str(server.config), "XDG_RUNTIME_DIR": str(server.tmp)}
    return [str(SHOAL), "eval", *map(str, args)], environment


def evaluate(server, *args, code=0, timeout=240):
    argv, environment = command(server, *args)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, env=environment)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done


def asked_of(server):
    """Chat completions that the server answered."""
    text = server.get("/metrics")[2]
    lines = [line for line in text.splitlines() if line.startswith("shoal_http_requests_total{") and "/v1/chat/completions" in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def journal(folder):
    path = folder / "answers.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


@pytest.fixture(scope="module")
def result(server, tmp_path_factory):
    """The suite, run once: its folder."""
    folder = tmp_path_factory.mktemp("eval")
    evaluate(server, "run", SUITE, "--route", CHAT_MODEL, "--out", folder)
    return folder


def test_a_run_that_is_killed_goes_on_and_asks_nothing_twice(server, tmp_path):
    before = asked_of(server)
    argv, environment = command(server, "run", SUITE, "--route", CHAT_MODEL, "--out", tmp_path, "--parallel", 2)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        wait_for(lambda: journal(tmp_path) >= 8, timeout_s=60)
        running.send_signal(signal.SIGKILL)
    there = journal(tmp_path)
    assert 8 <= there < len(QUESTIONS)
    # A request that was under way when it died is the server's to end, and was not answered to anybody.
    time.sleep(1)
    at_kill = asked_of(server) - before
    assert there <= at_kill <= there + 2
    evaluate(server, "run", SUITE, "--route", CHAT_MODEL, "--out", tmp_path)
    assert asked_of(server) - before - at_kill == len(QUESTIONS) - there
    assert journal(tmp_path) == len(QUESTIONS)
    again = evaluate(server, "run", SUITE, "--route", CHAT_MODEL, "--out", tmp_path)
    assert f"0 asked now, {len(QUESTIONS)} were there" in again.stdout
    assert asked_of(server) - before - at_kill == len(QUESTIONS) - there


def test_reports_have_the_numbers_of_the_answers(server, result):
    report = json.loads((result / "result.json").read_text())
    assert report["format"] == "shoal-eval-1" and report["ended"] == "complete"
    (route,) = report["routes"]
    shown = json.loads(subprocess.run([SHOAL, "models", "show", CHAT_MODEL, "--json", "--data-dir", STORE], check=True,
                                      capture_output=True, text=True).stdout)
    # Other weights under the same name would be asked anew.
    assert json.loads(route["identity"])["models"] == [{"model": CHAT_MODEL, "weights": shown["sha256"]}]
    assert [row["id"] for row in route["results"]] == [question["id"] for question in QUESTIONS]
    right = 0
    for question, row in zip(QUESTIONS, route["results"]):
        wanted = question.get("answers") or [question["answer"]]
        # Independent of the grader: the words are there.
        assert row["right"] == any(one.lower() in row["answer"].lower() for one in wanted), (question, row)
        assert row["decision"] == "local" and row["latency_ms"] > 0 and row["completion_tokens"] > 0
        right += row["right"]
    assert 0 < right < len(QUESTIONS), "a suite that nobody fails, or nobody passes, shows nothing"
    accuracy = route["accuracy"]
    assert accuracy["value"] == pytest.approx(right / len(QUESTIONS))
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert route["completion_tokens"] == sum(row["completion_tokens"] for row in route["results"])
    shown = f"{100 * right / len(QUESTIONS):.1f} %"
    assert shown in (result / "report.md").read_text() and shown in (result / "report.html").read_text()
    receipt = server.get(f"/v1/shoal/receipts/{route['results'][0]['receipt']}")
    assert receipt[0] == 200
    # The server's own answer to the same request.
    body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": QUESTIONS[0]["prompt"]}], "max_tokens": 24,
            "temperature": 0}
    said = server.post("/v1/chat/completions", body)[2]["choices"][0]["message"]["content"]
    assert said == route["results"][0]["answer"]


def test_a_route_is_compared_with_the_baseline_on_pairs(server, tmp_path):
    # Two names of one model and a greedy answer: no difference that could be told.
    config = f'[route.same]\npolicy = "slm_only"\nlocal = "{CHAT_MODEL}"\n'
    server.config.write_text(config)
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "same" in json.dumps(server.get("/v1/models")[2]))
    done = evaluate(server, "run", SUITE, "--route", "same", "--baseline", CHAT_MODEL, "--out", tmp_path, "--limit", 12, "--json")
    report = json.loads(done.stdout)
    assert report == json.loads((tmp_path / "result.json").read_text())
    (comparison,) = report["comparisons"]
    assert comparison["rows"] == 12 and comparison["verdict"] == "cannot tell"
    assert "cannot tell same from" in (tmp_path / "report.html").read_text()


def test_what_is_wrong_is_told_before_anything_is_asked(server, tmp_path):
    before = asked_of(server)
    unknown = evaluate(server, "run", SUITE, "--route", "no-such-model", "--out", tmp_path, code=5)
    assert "no-such-model" in unknown.stderr
    (tmp_path / "suite.toml").write_text('name = "x"\ndata = "rows.jsonl"\n[grader]\nkind = "exactly"\n')
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a"}\n')
    bad = evaluate(server, "run", tmp_path, "--route", CHAT_MODEL, code=3)
    assert "suite.toml:4: `grader.kind`" in bad.stderr and "rows.jsonl:1:" in bad.stderr
    nobody = evaluate(server, "run", SUITE, "--route", CHAT_MODEL, "--url", "http://127.0.0.1:9", "--out", tmp_path, code=6)
    assert "shoal serve" in nobody.stderr
    assert asked_of(server) == before


def test_an_interrupt_keeps_what_is_there(server, tmp_path):
    argv, environment = command(server, "run", SUITE, "--route", CHAT_MODEL, "--out", tmp_path, "--parallel", 1,
                                "--url", server.base_url)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: journal(tmp_path) >= 3, timeout_s=60)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 130 and "interrupted" in err, (out, err)
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["ended"] == "interrupted"
    assert report["routes"][0]["graded"] == journal(tmp_path) < len(QUESTIONS)


def planted(result, to, change):
    report = json.loads((result / "result.json").read_text())
    for number, row in enumerate(report["routes"][0]["results"]):
        change(number, row)
    to.write_text(json.dumps(report))
    return to


def set_right(row, right):
    row["right"], row["score"] = right, float(right)


def test_the_gate_has_three_ways_to_end(server, result, tmp_path):
    base = result / "result.json"
    assert "Fine" in evaluate(server, "gate", base, "--baseline", base, "--margin", 0.01).stdout
    good = planted(result, tmp_path / "good.json", lambda number, row: set_right(row, True))
    worse = evaluate(server, "gate", planted(result, tmp_path / "bad.json", lambda n, row: set_right(row, n % 3 > 0)),
                     "--baseline", good, "--margin", 0.01, code=8)
    assert "Regression" in worse.stdout
    unsure = evaluate(server, "gate", planted(result, tmp_path / "one.json", lambda n, row: set_right(row, n > 0)),
                      "--baseline", good, "--margin", 0.01, "--json", code=9)
    shown = json.loads(unsure.stdout)
    assert shown["verdict"] == "cannot tell" and shown["whole"]["rows"] == len(QUESTIONS)
    # One continent alone: hidden in the whole, and found.
    europe = planted(result, tmp_path / "europe.json", lambda n, row: set_right(row, row["slices"] != ["Europe"]))
    sliced = json.loads(evaluate(server, "gate", europe, "--baseline", good, "--margin", 0.5, "--json", code=8).stdout)
    assert sliced["whole"]["verdict"] == "fine"
    assert [part["slice"] for part in sliced["slices"] if part["verdict"] == "regression"] == ["Europe"]
    assert "not a result" in evaluate(server, "gate", SUITE / "questions.jsonl", "--baseline", base, code=2).stderr


def test_a_person_compares_blind_and_goes_on_another_day(server, result, tmp_path):
    report = json.loads((result / "result.json").read_text())
    # A second route that shouts: the person can tell, the program does not say.
    loud = json.loads(json.dumps(report["routes"][0])) | {"route": "loud"}
    for row in loud["results"]:
        row["answer"] = row["answer"].upper() + "!"
    report["routes"].append(loud)
    both = tmp_path / "both.json"
    both.write_text(json.dumps(report))
    argv, environment = command(server, "compare", SUITE, both, "--first", CHAT_MODEL, "--second", "loud", "--json")

    def judge(typed):
        done = subprocess.run(argv, input=typed, capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        shown = [pair.split("\n\n")[0] for pair in done.stderr.split("--- ")[1:]]
        pairs = [(pair.split("[1]\n")[1].split("\n\n[2]\n")[0], pair.split("[2]\n")[1].split("\n\n1, 2,")[0])
                 for pair in done.stderr.split("--- ")[1:]]
        return json.loads(done.stdout), shown, pairs

    first, shown, pairs = judge("x\n=\nq\n")
    assert first["verdict"] == "cannot tell" and first["ties"] == 1
    assert len(pairs) == 3 and shown[0] == shown[1] != shown[2], "what is no answer is asked again"
    assert any(left.endswith("!") for left, _ in pairs) or any(right.endswith("!") for _, right in pairs)
    # Whichever side the quiet one is on: its pair is known from a look before.
    said, verdict = "", first
    for _ in range(30):
        verdict, _, pairs = judge(said)
        if verdict["verdict"] != "cannot tell":
            break
        left, _ = pairs[-1]
        said = "2\n" if left.endswith("!") else "1\n"
    assert verdict["verdict"] == CHAT_MODEL and verdict["second_wins"] == 0 and verdict["ties"] == 1
    assert verdict["first_wins"] < 20


def test_a_budget_is_not_passed(server, serve, tmp_path):
    config = (f'[provider.large]\nbase_url = "http://127.0.0.1:{server.port}/v1"\nlocal = true\n'
              f'[[price]]\nprovider = "large"\nmodel = "{CHAT_MODEL}"\nfrom = 2026-01-01\ninput_usd = "0"\noutput_usd = "1000"\n')
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "models").symlink_to(STORE / "models")
    priced = serve(config, data_dir=data_dir)
    route = f"large/{CHAT_MODEL}"
    done = evaluate(priced, "run", SUITE, "--route", route, "--out", tmp_path, "--max-usd", 0.1, "--json", code=7)
    report = json.loads(done.stdout)
    assert report["ended"] == "budget" and "--max-usd 0.1" in done.stderr
    (found,) = report["routes"]
    # 1,000 USD for a million tokens, 24 at most: each may cost 0.024, and the last one that was sent could.
    assert found["cost_usd"] == pytest.approx(found["completion_tokens"] / 1000)
    assert 0.1 - 0.024 - 1e-9 < found["cost_usd"] <= 0.1 and found["unasked"] > 0
    assert {row["decision"] for row in found["results"] if row["state"] == "graded"} == {"remote"}
