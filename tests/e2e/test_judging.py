"""Local answers that are judged by how sure they are, with real models: kept ones stream while the model still writes, the
others are the provider's; tables are fitted, loaded, refused; and the demo does what it prints."""
import json
import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import CACHE, CHAT_MODEL, SHOAL, STORE, Server

QUESTION = "What is the capital of France?"
LARGE = "tinyllama-1.1b-chat"


def model_key(data_dir):
    """What a table must say to be for the chat model as it runs here."""
    shown = json.loads(subprocess.run([SHOAL, "models", "show", CHAT_MODEL, "--json", "--data-dir", data_dir], check=True,
                                      capture_output=True, text=True).stdout)
    return {"weights": shown["sha256"], "quantisation": shown["quantisation"], "chat_template": shown["template_sha256"],
            "sampler": "greedy", "task": "general"}


def table(key, tokens, bias, mean=0.0):
    """The confidence is the logistic function of bias + mean * (mean log-probability)."""
    held_out = {"answers": 300, "right": 0.5, "brier": 0.2, "log_loss": 0.6, "ece": 0.0, "auroc": 0.5, "bins": []}
    return {"format": "shoal-calibration-1", "model": CHAT_MODEL, "date": "2026-11-22", "command": "", "data": "",
            "grader": "exact", "key": key | {"tokens": tokens}, "fitted_on": 1000, "fitted_right": 0.5,
            "logistic": {"center": [0, 0, 0, 0], "spread": [1, 1, 1, 1], "weight": [0, mean, 0, 0], "bias": bias},
            "steps": [], "held_out": held_out}


def write_tables(data_dir, *tables):
    folder = data_dir / "calibration"
    folder.mkdir(exist_ok=True)
    for i, one in enumerate(tables):
        (folder / f"{i}.json").write_text(one if isinstance(one, str) else json.dumps(one))


@pytest.fixture
def data_dir(models, tmp_path):
    """A data folder of its own with the models of the shared store."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "models").symlink_to(STORE / "models")
    return folder


@pytest.fixture(scope="module")
def other(models, tmp_path_factory):
    server = Server("[engine]\nprefix_cache = false\nspeculation = false\n", tmp=tmp_path_factory.mktemp("other"))
    yield server
    server.stop()


def cascade(other, route="", port=None):
    return (f'[provider.large]\nbase_url = "http://127.0.0.1:{port or other.port}/v1"\nlocal = true\n'
            f'[route.shoal-auto]\npolicy = "slm_first"\nlocal = "{CHAT_MODEL}"\nremote = ["large/{CHAT_MODEL}"]\n'
            f'commit_ms = 60000\n{route}\n')


def chat(server, headers=None, **params):
    body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 24} | params
    status, _, answer = server.post("/v1/chat/completions", body, headers=headers)
    assert status == 200, answer
    return answer


def stream(server, **params):
    """[(seconds, text)] of what was streamed, and the receipt."""
    body = {"messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "stream": True} | params
    began, pieces, receipt = time.monotonic(), [], None
    for event in server.events("/v1/chat/completions", body):
        if not isinstance(event, dict):
            continue
        for choice in event["choices"]:
            if choice["delta"].get("content"):
                pieces.append((time.monotonic() - began, choice["delta"]["content"]))
        receipt = event.get("x_shoal", receipt)
    return pieces, receipt


def requests_of(server):
    text = server.get("/metrics")[2]
    return [line for line in text.splitlines() if line.startswith("shoal_http_requests_total{") and "chat" in line]


def test_a_kept_stream_begins_while_the_model_still_writes(serve, data_dir, other):
    key = model_key(data_dir)
    write_tables(data_dir, table(key, 0, bias=4), table(key, 8, bias=4))
    server = serve(cascade(other, "commit_tokens = 8"), data_dir=data_dir)
    chat(server)  # loads the model
    before = requests_of(other)
    pieces, receipt = stream(server, max_tokens=160)
    times = [at for at, _ in pieces]
    assert len(pieces) > 100
    # Held back for 8 of 160 tokens: had all of it been held, first and last would come together.
    assert times[0] < 0.5 * times[-1], times
    assert receipt["route"] == "local" and receipt["egress"] == "none"
    assert receipt["confidence"] == pytest.approx(0.982, abs=1e-3) and receipt["threshold"] == 0.8
    assert receipt["reasons"] == [{"signal": "confidence", "value": "0.98", "rule": "at least 0.80", "effect": "keep"}]
    assert requests_of(other) == before
    local = chat(server, headers={"x-shoal-privacy": "local_only"}, max_tokens=160)
    assert "".join(text for _, text in pieces) == local["choices"][0]["message"]["content"]


def test_what_is_not_sure_is_the_providers_and_the_client_sees_one_answer(serve, data_dir, other):
    key = model_key(data_dir)
    write_tables(data_dir, table(key, 0, bias=-4), table(key, 8, bias=0.2, mean=0.1))
    server = serve(cascade(other, "commit_tokens = 8"), data_dir=data_dir)
    theirs = other.chat(QUESTION, max_tokens=24)["choices"][0]["message"]["content"]
    pieces, receipt = stream(server, max_tokens=24)
    assert "".join(text for _, text in pieces) == theirs
    assert receipt["route"] == "escalated" and receipt["egress"] == "large"
    assert receipt["confidence"] < 0.8 and receipt["threshold"] == 0.8
    assert [r["effect"] for r in receipt["reasons"] if r["signal"] == "confidence"] == ["escalate"]
    kept = server.get(f"/v1/shoal/receipts/{receipt['decision_id']}")[2]
    assert kept["confidence"] == pytest.approx(receipt["confidence"]) and kept["detail"]["threshold"] == 0.8
    assert kept["detail"]["reasons"] == receipt["reasons"]
    answer = chat(server)
    assert answer["x_shoal"]["route"] == "escalated" and answer["choices"][0]["message"]["content"] == theirs
    # Its place in the batch is free at once.
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        shown = subprocess.run([SHOAL, "ps", "--json"], capture_output=True, text=True, check=True,
                               env=os.environ | {"SHOAL_CONFIG": str(server.config), "XDG_RUNTIME_DIR": str(server.tmp),
                                                 "SHOAL_SERVER__DATA_DIR": str(data_dir)}).stdout
        if all(worker["running"] == 0 for worker in json.loads(shown)["workers"]):
            break
        time.sleep(0.05)
    else:
        raise AssertionError(shown)


def test_a_provider_that_is_gone_leaves_the_local_answer_with_its_confidence(serve, data_dir, other):
    key = model_key(data_dir)
    write_tables(data_dir, table(key, 0, bias=-4))
    server = serve(cascade(other, port=9), data_dir=data_dir)  # nobody listens on port 9
    receipt = chat(server)["x_shoal"]
    assert receipt["route"] == "failed_over" and receipt["confidence"] == pytest.approx(0.018, abs=1e-3)
    strict = serve(cascade(other, 'on_remote_error = "fail"\non_budget = "fail"', port=9), data_dir=data_dir)
    status, _, body = strict.post("/v1/chat/completions", {"messages": [{"role": "user", "content": QUESTION}],
                                                           "temperature": 0})
    assert status == 503, body


def test_tables_come_and_go_with_a_reload_and_damage_is_told(serve, data_dir, other):
    key = model_key(data_dir)
    write_tables(data_dir, '{"format": "shoal-calib')
    server = serve(cascade(other), data_dir=data_dir)
    assert "a calibration table is not used" in server.log() and "0.json" in server.log()
    receipt = chat(server)["x_shoal"]
    assert receipt["route"] == "remote" and receipt["confidence"] is None
    assert {"signal": "confidence", "value": "null", "rule": "on_null_confidence", "effect": "escalate"} in receipt["reasons"]

    def reloaded(count):
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 20
        while server.log().count("configuration reloaded") < count and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.log().count("configuration reloaded") == count

    write_tables(data_dir, table(key, 0, bias=4))
    reloaded(1)
    assert chat(server)["x_shoal"]["route"] == "local"
    write_tables(data_dir, table(key | {"quantisation": "Q8_0", "weights": "0" * 64}, 0, bias=4))
    reloaded(2)
    receipt = chat(server)["x_shoal"]
    assert receipt["confidence"] is None and receipt["route"] == "remote"
    gap = next(r for r in receipt["reasons"] if r["signal"] == "calibration")
    assert gap["value"] == f"quantisation {key['quantisation']}" and gap["rule"] == "Q8_0"


def test_the_way_of_a_request_is_shown_and_nothing_is_computed(serve, data_dir, other):
    key = model_key(data_dir)
    write_tables(data_dir, table(key, 0, bias=-4))
    server = serve(cascade(other) + '[[price]]\nprovider = "large"\nmodel = "*"\nfrom = "2026-01-01"\ninput_usd = "1"\n'
                   'output_usd = "2"\n', data_dir=data_dir)
    before = requests_of(other)
    env = os.environ | {"SHOAL_CONFIG": str(server.config), "XDG_RUNTIME_DIR": str(server.tmp),
                        "SHOAL_SERVER__DATA_DIR": str(data_dir)}

    def test(*args):
        done = subprocess.run([SHOAL, "route", "test", QUESTION, *args], capture_output=True, text=True, env=env)
        return done.returncode, done.stdout + done.stderr

    code, text = test("--json")
    plan = json.loads(text)
    assert code == 0
    assert [(c["model"], c["judged"], c["fallback"]) for c in plan["candidates"]] == [
        (CHAT_MODEL, True, False), (f"large/{CHAT_MODEL}", False, False), (CHAT_MODEL, False, True)]
    assert 0 < float(plan["candidates"][1]["most_usd"]) < 0.02
    assert plan["calibration"]["whole"]["fitted_on"] == 1000 and plan["calibration"]["prefix"] is None
    assert test("--prefer", "remote", "--json")[1].count('"judged":true') == 0
    code, text = test("--local-only")
    assert code == 0 and f"1. {CHAT_MODEL}: here" in text and "nothing leaves" in text
    code, text = test("--route", "large/none", "--local-only")
    assert code == 7 and "policy_denied" in text
    assert requests_of(other) == before and not server.worker_pids()
    assert chat(server, headers={"x-shoal-prefer": "local"})["x_shoal"]["route"] == "local"
    assert chat(server, headers={"x-shoal-prefer": "remote"})["x_shoal"]["route"] == "remote"
    status, _, body = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]},
                                  headers={"x-shoal-prefer": "cheap"})
    assert status == 400 and body["error"]["param"] == "x-shoal-prefer"


def sums(path, count):
    """Additions: the model is right about some of them."""
    lines = []
    for i in range(count):
        a, b = i // 40, i % 40
        lines.append(json.dumps({"prompt": f"1 + 1 = 2\n2 + 5 = 7\n{a} + {b} =", "answer": str(a + b)}))
    path.write_text("\n".join(lines) + "\n")


def fit(data_dir, data, *args, **kwargs):
    return subprocess.Popen([SHOAL, "route", "fit", "--model", CHAT_MODEL, "--task", "sums", "--data", data, "--max-tokens",
                             "3", "--commit-tokens", "2", "--stop", "\n", "--data-dir", data_dir, *args],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)


def test_a_table_is_fitted_after_a_kill_and_used(serve, data_dir, other, tmp_path):
    data = tmp_path / "sums.jsonl"
    sums(data, 900)
    few = fit(data_dir, data)
    _, err = few.communicate(timeout=60)
    assert few.returncode == 2 and "528 more" in err and not (data_dir / "calibration").exists()
    sums(data, 1500)
    killed = fit(data_dir, data)
    answers = data_dir / "calibration" / "answers"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and sum(p.read_text().count("question") for p in answers.glob("*")) < 100:
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    there = sum(p.read_text().count("question") for p in answers.glob("*"))
    assert 100 <= there < 1500
    again = fit(data_dir, data, "--json")
    out, err = again.communicate(timeout=500)
    assert again.returncode == 0, err
    report = json.loads(out)
    assert report["answers"] == 1500 and 1500 - there <= report["asked"] + 1 <= 1501 - there + 1
    key = model_key(data_dir)
    for made in report["tables"]:
        assert made["key"]["weights"] == key["weights"] and made["key"]["chat_template"] == "none"
        assert made["fitted_on"] >= 1000 and made["held_out"]["answers"] >= 400
        assert sum(b["answers"] for b in made["held_out"]["bins"]) == made["held_out"]["answers"]
        assert json.loads(Path(made["file"]).read_text())["date"] == made["date"]
    graded = fit(data_dir, data, "--json", "--grader", "contains")
    assert json.loads(graded.communicate(timeout=60)[0])["asked"] == 0, "another grader asks nothing again"
    server = serve(cascade(other, 'task = "sums"\ncommit_tokens = 2'), data_dir=data_dir)
    body = {"model": "shoal-auto", "prompt": "1 + 1 = 2\n2 + 5 = 7\n3 + 4 =", "temperature": 0, "max_tokens": 3, "stop": ["\n"]}
    receipt = server.post("/v1/completions", body)[2]["x_shoal"]
    assert 0 < receipt["confidence"] < 1


def test_the_demo_keeps_one_and_escalates_the_other(serve, tmp_path, models):
    """Both command lines that it prints, run by a shell as they stand."""
    stores = [STORE, CACHE / "bench-store"]
    folder = tmp_path / "demo"
    for part in ("blobs", "names"):
        (folder / "models" / part).mkdir(parents=True)
        for store in stores:
            for file in (store / "models" / part).glob("*"):
                target = folder / "models" / part / file.name
                if not target.exists():
                    target.symlink_to(file)
    if not (folder / "models" / "names" / f"{LARGE}.json").exists():
        with pytest.raises(RuntimeError, match=f"shoal pull {LARGE}"):
            serve("", args=["--demo-cascade"], data_dir=folder)
        pytest.skip(f"{LARGE} is not in the benchmarks' store")
    server = serve("", args=["--demo-cascade"], data_dir=folder)
    deadline = time.monotonic() + 120
    while len(server.worker_pids()) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    text = server.stdout_path.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if "/v1/completions" in line]
    assert len(lines) == 2
    kept, escalated = (json.loads(subprocess.run(["bash", "-c", line + " -s"], capture_output=True, text=True, check=True,
                                                 timeout=120).stdout)["x_shoal"] for line in lines)
    assert kept["route"] == "local" and kept["confidence"] >= 0.8 and kept["egress"] == "none"
    assert escalated["route"] == "escalated" and escalated["confidence"] < 0.8
    assert escalated["egress"] == "large" and float(escalated["cost_usd"]) > 0
    assert shlex.split(lines[0])[0] == "curl"
    server.stop()
    for change, wanted in (("[egress]\nallowed = false\n", "egress.allowed is false"),
                           ('[server]\nhost = "::1"\n', "server.host is ::1")):
        with pytest.raises(RuntimeError, match=wanted):
            serve(change, args=["--demo-cascade"], data_dir=folder)
