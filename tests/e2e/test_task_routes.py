"""Routes that have a trained task in place of a local model: what it is sure of is its label, and nobody is asked; the rest
goes to a provider, in the same request. Sure is what the task's certificate says, of the very score that /v1/classify has."""
import json
import os
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import EMBED_MODEL, SHOAL, STORE, wait_for
from test_tune_certify import noisy_rows, slot_rows
from test_tune_probe import report, shoal, some_rows, write

SURE = "please freeze my stolen card"
PROMPT = "Reply with card, weather or music."


@pytest.fixture
def large():
    """A provider that has an opinion of its own, and notes what it was sent."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            upstream.seen.append(asked)
            choice = {"index": 0, "message": {"role": "assistant", "content": upstream.says}, "finish_reason": "stop"}
            body = json.dumps({"id": "x", "object": "chat.completion", "created": 1, "model": "big", "choices": [choice],
                               "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    upstream.daemon_threads = True
    upstream.seen, upstream.says = [], "large"
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    yield upstream
    upstream.shutdown()


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two tasks of the same texts: one with a certificate, and one without."""
    folder = tmp_path_factory.mktemp("home")
    train = write(folder / "train.jsonl", noisy_rows(240, 1))
    for task in ("kinds", "unproven"):
        report("tune", "probe", train, "--task", task, "--no-embedder", "--data-dir", folder)
    report("tune", "certify", "kinds", write(folder / "held.jsonl", noisy_rows(400, 7)), "--risk", "0.05", "--data-dir", folder)
    report("tune", "probe", write(folder / "slots.jsonl", slot_rows(120, 1)), "--task", "booking", "--data-dir", folder)
    return folder


@pytest.fixture(scope="module")
def unsure(home):
    """What the certified task is least sure of."""
    rows = write(home / "some.jsonl", texts := noisy_rows(120, 9))
    report("tune", "test", "kinds", rows, "--scores", home / "scores.jsonl", "--data-dir", home)
    scores = [json.loads(line)["score"] for line in (home / "scores.jsonl").read_text().splitlines()]
    return texts[scores.index(min(scores))]["text"]


def config(port, *routes):
    return (f'[provider.large]\nbase_url = "http://127.0.0.1:{port}/v1"\nlocal = true\n'
            '[[price]]\nprovider = "large"\nmodel = "*"\nfrom = "2026-01-01"\ninput_usd = "1"\noutput_usd = "2"\n' + "".join(routes))


def route(name="kinds", *more, task="kinds"):
    return f'[route.{name}]\nlocal_task = "{task}"\n' + "".join(f"{one}\n" for one in more)


REMOTE = 'remote = ["large/big"]'
PROMISE = "risk = 0.05"


@pytest.fixture
def start(serve, large, home):
    def started(*routes, **more):
        return serve(config(large.server_port, *routes), data_dir=home, **({"args": ["--no-models"]} | more))
    return started


def ask(server, text, headers=None, code=200, **fields):
    body = {"model": "kinds", "messages": [{"role": "user", "content": text}]} | fields
    status, _, answer = server.post("/v1/chat/completions", body, headers=headers or {})
    assert status == code, answer
    return answer


def said(answer):
    return answer["choices"][0]["message"]["content"]


def reason(answer, signal):
    return next((one for one in answer["x_shoal"]["reasons"] if one["signal"] == signal), None)


def test_what_is_sure_stays_and_the_rest_goes_up_in_the_same_request(start, large, unsure):
    server = start(route("kinds", REMOTE, PROMISE, f'system_prompt = "{PROMPT}"'))
    texts = [row["text"] for row in noisy_rows(120, 9)] + [SURE, unsure]
    _, _, classes = server.post("/v1/classify", {"task": "kinds", "input": texts})
    threshold, kept = classes["certificate"]["threshold"], 0
    for text, one in zip(texts, classes["data"], strict=True):
        before = len(large.seen)
        answer = ask(server, text)
        # The route and /v1/classify have one score, to the bit, and one threshold.
        assert answer["x_shoal"]["confidence"] == one["score"] and answer["x_shoal"]["threshold"] == threshold
        if one["keep"]:
            kept += 1
            assert said(answer) == one["label"] and answer["model"] == "kinds" and len(large.seen) == before
            assert answer["x_shoal"]["route"] == "local" and answer["x_shoal"]["egress"] == "none"
        else:
            assert said(answer) == "large" and answer["x_shoal"]["route"] == "escalated" and answer["x_shoal"]["egress"] == "large"
            assert large.seen[before:][0]["messages"] == [{"role": "system", "content": PROMPT}, {"role": "user", "content": text}]
    assert 60 < kept < len(texts) - 3
    sure = ask(server, SURE)
    assert said(sure) == "card" and reason(sure, "certificate")["effect"] == f"threshold {threshold}"
    assert reason(sure, "confidence")["effect"] == "keep" and reason(ask(server, unsure), "confidence")["effect"] == "escalate"
    receipt = server.get(f"/v1/shoal/receipts/{sure['x_shoal']['decision_id']}")[2]
    assert receipt["model"] == "kinds" and receipt["confidence"] == sure["x_shoal"]["confidence"]
    # 34 and 28 bytes asked and 4 said, at four bytes a token: 16 tokens at 1 dollar a million, one at 2.
    assert (len(PROMPT), len(SURE)) == (34, 28) and sure["x_shoal"]["baseline_usd"] == "0.000018" == receipt["baseline_usd"]


def test_only_the_last_words_of_the_user_are_asked_about_and_streams_and_completions_work(start, large):
    server = start(route("kinds", REMOTE))
    turns = [{"role": "user", "content": "please play a song"}, {"role": "assistant", "content": "music"}, {"role": "user", "content": SURE}]
    answer = ask(server, "", messages=turns)
    assert said(answer) == "card" and answer["usage"]["completion_tokens"] == 0
    assert reason(answer, "certificate") is None and reason(answer, "confidence")["rule"] == "at least 0.80"
    events = server.events("/v1/chat/completions", {"model": "kinds", "stream": True, "messages": turns})
    assert "".join(c["delta"].get("content") or "" for e in events if isinstance(e, dict) for c in e["choices"]) == "card"
    status, _, answer = server.post("/v1/completions", {"model": "kinds", "prompt": "what a sunny forecast, no rain"})
    assert status == 200 and answer["choices"][0]["text"] == "weather" and not large.seen
    plan = server.post("/v1/shoal/route", {"model": "kinds", "messages": turns})[2]
    assert plan["candidates"][0]["model"] == "kinds" and plan["refusal"] is None and not large.seen


def test_without_a_certificate_a_promise_keeps_nothing(start, large):
    server = start(route("kinds", REMOTE, PROMISE, task="unproven"), route("strict", REMOTE, "risk = 0.01"),
                   route("kept", REMOTE, PROMISE, 'on_null_confidence = "keep"', task="unproven"))
    answer = ask(server, SURE)
    assert said(answer) == "large" and answer["x_shoal"]["confidence"] is None
    assert server.log().count("no certificate shows what a route promises") == 3
    assert reason(answer, "certificate")["value"] == "none" and "tune certify unproven" in reason(answer, "certificate")["rule"]
    answer = ask(server, SURE, model="strict")
    assert said(answer) == "large" and "risk 0.01" in reason(answer, "certificate")["value"]
    answer = ask(server, SURE, model="kept")
    assert said(answer) == "card" and answer["x_shoal"]["confidence"] is None


def test_what_may_not_leave_is_kept_or_refused(start, large, unsure):
    server = start(route("kinds", REMOTE, PROMISE), route("here"))
    local = {"x-shoal-privacy": "local_only"}
    assert said(ask(server, SURE, local)) == "card"
    assert ask(server, unsure, local, code=503)["error"]["code"] == "low_confidence"
    # A route without anybody else says what it thinks.
    assert said(ask(server, unsure, model="here")) in ("card", "music", "weather")
    assert not large.seen


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}, {"response_format": {"type": "json_object"}},
                                    {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]}],
                         ids=lambda fields: next(iter(fields)))
def test_what_a_task_cannot_do_a_provider_does(start, large, fields):
    server = start(route("kinds", REMOTE), route("here"))
    assert said(ask(server, SURE, **fields)) == "large" and len(large.seen) == 1
    refused = ask(server, SURE, code=422, model="here", **fields)["error"]
    assert refused["code"] == "unsupported_parameter" and refused["param"] == next(iter(fields)), refused


def test_what_a_label_does_not_heed_is_in_the_receipt(start):
    server = start(route("kinds", REMOTE))
    assert reason(ask(server, SURE), "parameters") is None
    said_of = {"max_tokens": 5, "stop": ["c"], "temperature": 1, "top_p": 0.5, "presence_penalty": 0.1, "seed": 3, "logit_bias": {"5": 1}}
    answer = ask(server, SURE, **said_of)
    ignored = reason(answer, "parameters")
    assert said(answer) == "card" and ignored["value"] == ", ".join(said_of) and ignored["effect"] == "ignored"


def test_a_provider_that_fails_leaves_the_label(start, large, unsure):
    server = start(route("kinds", 'remote = ["gone/big"]', PROMISE), '[provider.gone]\nbase_url = "http://127.0.0.1:9/v1"\nlocal = true\n')
    answer = ask(server, unsure)
    assert said(answer) in ("card", "music", "weather") and answer["x_shoal"]["route"] == "failed_over"
    assert reason(answer, "certificate")["value"] == "void: kept though it is not sure enough"


def test_answers_are_audited_and_drift_takes_the_promise_back(serve, large, home, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(home / "tasks", data / "tasks")
    server = serve(config(large.server_port, route("kinds", REMOTE, PROMISE, "audit_share = 1")), data_dir=data, args=["--no-models"])
    large.says = " CARD. "
    for i in range(40):
        assert ask(server, f"please freeze my stolen card number {i}")["x_shoal"]["route"] == "local"

    def risk():
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")} | {"XDG_RUNTIME_DIR": str(server.tmp)}
        command = [SHOAL, "route", "risk", "kinds", "--json", "--config", server.config, "--data-dir", data]
        done = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        return next((one for one in told["strata"] if one["name"] == "open"), {"audited": 0}) | {"alarms": told["drift"][0]["alarms"] if told["drift"] else 0}
    assert wait_for(lambda: risk()["audited"] == 40), risk()
    assert risk()["wrong"] == 0 and len(large.seen) == 40
    # From now on the provider says that all of it is wrong: the promise is taken back, step by step.
    large.says = "music"
    end, i, seen = time.monotonic() + 30, 0, set()
    while time.monotonic() < end:
        last = ask(server, f"please block my lost card number {i}")
        promise, i = reason(last, "certificate"), i + 1
        seen.add(promise["effect"].split(",")[-1])
        if last["x_shoal"]["route"] != "local":
            break
    # In the end nothing is kept any more: too unsure for the strictest threshold, or that drifted, too.
    assert said(last) == "music" and any("stricter after" in one for one in seen), (last, seen)
    assert "drifted" in promise["value"] or last["x_shoal"]["confidence"] < last["x_shoal"]["threshold"]
    assert risk()["alarms"] > 0 and server.log().count("its threshold is stricter now") > 0


def test_with_an_embedder_and_when_it_is_gone(serve, large, models, tmp_path):
    (tmp_path / "models").symlink_to(STORE / "models")
    common = ["--data-dir", tmp_path]
    report("tune", "probe", write(tmp_path / "train.jsonl", some_rows(240, 1)), "--task", "kinds", "--embedder", EMBED_MODEL, *common)
    report("tune", "certify", "kinds", write(tmp_path / "held.jsonl", some_rows(300, 7)), "--risk", "0.05", *common)
    routes = config(large.server_port, route("kinds", REMOTE, PROMISE), route("rule", REMOTE))
    server = serve(routes, data_dir=tmp_path)
    fused = ask(server, SURE)
    _, _, classes = server.post("/v1/classify", {"task": "kinds", "input": SURE})
    assert classes["data"][0]["embedded"] and fused["x_shoal"]["confidence"] == classes["data"][0]["score"]
    assert said(fused) == "card" and fused["usage"]["prompt_tokens"] == classes["usage"]["prompt_tokens"] > 0
    server.stop()
    server = serve(routes, data_dir=tmp_path, args=["--no-models"])
    gone = ask(server, SURE)
    assert said(gone) == "large" and "is not here" in reason(gone, "embedding")["rule"]
    assert "of the hashed one" in reason(gone, "confidence")["rule"] and gone["x_shoal"]["confidence"] is None
    hashed = ask(server, SURE, model="rule")
    assert said(hashed) == "card" and hashed["x_shoal"]["confidence"] > 0.8 and reason(hashed, "embedding")["effect"] == "the hashed part answers alone"


def test_faults_of_the_configuration_are_told(large, home):
    def refused(*routes):
        path = home / "bad.toml"
        path.write_text(config(large.server_port, *routes))
        done = [shoal(*command, "--data-dir", home) for command in (("serve", "--port", 0, "--config", path), ("config", "check", "--config", path))]
        assert [one.returncode for one in done] == [3, 3], [one.stderr for one in done]
        assert done[0].stderr and ("route." in done[0].stderr)
        return done[0].stderr + done[1].stdout
    assert "no trained task is called kind" in (text := refused(route(task="kind"))) and "kinds" in text
    assert "finds slots" in refused(route(task="booking"))
    assert "has `local` too" in refused(route("kinds", 'local = "x"'))
    assert "no path" in refused(route(task="../kinds"))
    assert "has its own" in refused(route("kinds", 'task = "general"'))
