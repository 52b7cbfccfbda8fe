"""How often kept answers are wrong: a provider is asked for some of them afterwards, everything needed is in the journal,
and what the server estimates is what anybody computes from that, after two kills, too. The provider is a script that
repeats or contradicts what the local model says, so that the true risk is known."""
import concurrent.futures
import hashlib
import http.client
import json
import math
import os
import random
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import SHOAL, wait_for
from test_certify import certify, tales  # noqa: F401

# 5,000 requests take half a minute; what they show of kills and sums, some hundreds show too.
REQUESTS = int(os.environ.get("SHOAL_TEST_AUDIT_REQUESTS", "600"))
SHARE, SEED = 0.2, 7
KEYS = "sk-alice-0123456789abcdef\nsk-bob-0123456789abcdef"
PLACES = ["park", "garden", "kitchen", "forest", "shop", "school", "lake", "farm"]
NAMES = ["Lily", "Tom", "Mia", "Ben", "Sue", "Max"]
SURE = [f"One day, {name} went to the {place}. {name} was" for name in NAMES for place in PLACES]
UNSURE = [f"One day, {name} went to the {place} with a big" for name in NAMES for place in PLACES]


def shoal(*args, data_dir, tmp=None, code=0):
    env = {"PATH": "/usr/bin:/bin", "HOME": str(data_dir), "XDG_RUNTIME_DIR": str(tmp or data_dir), "TEST_KEYS": KEYS}
    done = subprocess.run([SHOAL, *map(str, args), "--data-dir", data_dir], capture_output=True, text=True, timeout=120,
                          env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


class Oracle:
    """The large model: wrong in a share of the cases that only depends on the question's kind and chance."""

    def __init__(self):
        self.answers, self.drawn, self.asked = {}, random.Random(3), {}
        self.risk = {"sure": 0.1, "unsure": 0.6}
        oracle = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Else the answer waits for the acknowledgement of its head.
            disable_nagle_algorithm = True

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prompt = body["prompt"]
                kind = "sure" if prompt in SURE else "unsure"
                wrong = oracle.drawn.random() < oracle.risk[kind]
                attempt = self.headers["x-request-id"]
                oracle.asked[attempt] = (prompt, wrong)
                text = " something else" if wrong else oracle.answers[prompt].upper() + " "
                choice = {"index": 0, "text": text, "finish_reason": "stop", "logprobs": None}
                usage = {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22}
                data = json.dumps({"id": "c1", "object": "text_completion", "created": 1, "model": "big",
                                   "choices": [choice], "usage": usage}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def oracle():
    one = Oracle()
    yield one
    one.http.shutdown()


@pytest.fixture
def tiny(stories, tmp_path):
    data_dir = tmp_path / "data"
    shoal("models", "import", stories, "--name", "tiny", data_dir=data_dir)
    return data_dir


def tables(data_dir, bias, mean, commit_tokens=16):
    """The confidence of a whole answer is the logistic function of bias + mean * (mean log-probability)."""
    shown = json.loads(shoal("models", "show", "tiny", "--json", data_dir=data_dir))
    key = {"weights": shown["sha256"], "quantisation": shown["quantisation"], "chat_template": "none", "sampler": "greedy",
           "task": "general"}
    held_out = {"answers": 300, "right": 0.5, "brier": 0.2, "log_loss": 0.6, "ece": 0.0, "auroc": 0.5, "bins": []}
    (data_dir / "calibration").mkdir(exist_ok=True)
    for tokens in (0, commit_tokens):
        table = {"format": "shoal-calibration-1", "model": "tiny", "date": "2026-11-22", "command": "", "data": "",
                 "grader": "exact", "key": key | {"tokens": tokens}, "fitted_on": 1000, "fitted_right": 0.5,
                 "logistic": {"center": [0, 0, 0, 0], "spread": [1, 1, 1, 1], "weight": [0, mean, 0, 0], "bias": bias},
                 "steps": [], "held_out": held_out}
        (data_dir / "calibration" / f"{tokens}.json").write_text(json.dumps(table))
    return key


def config(oracle, route="", share=SHARE, commit_tokens=16):
    return (f'[provider.large]\nbase_url = "http://127.0.0.1:{oracle.port}/v1"\nlocal = true\n'
            '[[price]]\nprovider = "large"\nmodel = "*"\nfrom = "2026-01-01"\ninput_usd = "1"\noutput_usd = "2"\n'
            '[route.shoal-auto]\npolicy = "slm_first"\nlocal = "tiny"\nremote = ["large/big"]\n'
            f'commit_tokens = {commit_tokens}\ncommit_ms = 60000\naudit_share = {share}\naudit_seed = {SEED}\n{route}\n')


class Client:
    """One connection that is kept; a server that is killed under it is no error of the test."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(self, prompt, headers=None, **more):
        body = json.dumps({"prompt": prompt, "temperature": 0, "max_tokens": 4, **more})
        self.connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json", **(headers or {})})
        response = self.connection.getresponse()
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer


def metric(server, name, **labels):
    text = server.get("/metrics")[2]
    for line in text.splitlines():
        if line.startswith(name) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            return float(line.rsplit(" ", 1)[1])
    return 0.0


def journal(data_dir):
    """The records of the journal, read by another program: JSON between bytes."""
    found, decoder = [], json.JSONDecoder()
    for path in sorted((data_dir / "journal").rglob("*")):
        if not path.is_file():
            continue
        text = path.read_bytes().decode("latin-1")
        at = text.find('{"v":')
        while at >= 0:
            try:
                record, end = decoder.raw_decode(text, at)
                found.append(record)
            except json.JSONDecodeError:
                end = at + 1
            at = text.find('{"v":', end)
    return found


# --- the estimate, by another's arithmetic

def incomplete_beta(a, b, x):
    """I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 1000):
        for term in (m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
                     -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1 / (1 + term * d)
            c = 1 + term / c
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * value


def beta_quantile(p, a, b):
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if incomplete_beta(a, b, middle) < p else (low, middle)
    return (low + high) / 2


def share_interval(share, size):
    k = share * size
    low = 0.0 if k <= 0 else beta_quantile(0.025, k, size - k + 1)
    high = 1.0 if k >= size else beta_quantile(0.975, k + 1, size - k)
    return min(low, share), max(high, share)


def hajek(labels):
    """labels: (propensity, wrong) of those audited."""
    weights = [1 / q for q, _ in labels]
    total = sum(weights)
    risk = sum(w for w, (_, wrong) in zip(weights, labels) if wrong) / total
    variance = sum((w * (wrong - risk)) ** 2 for w, (_, wrong) in zip(weights, labels)) / total**2
    flat = variance <= 0 or risk <= 0 or risk >= 1
    size = total**2 / sum(w * w for w in weights) if flat else risk * (1 - risk) / variance
    return risk, *share_interval(risk, size)


def draw(decision):
    return (int(hashlib.sha256(f"{SEED}:{decision}".encode()).hexdigest()[:16], 16) >> 11) * 2.0**-53


def test_what_is_estimated_is_what_anybody_computes_after_two_kills(tiny, oracle, serve):
    tables(tiny, bias=14.8, mean=20)
    seen = {}

    def start():
        return serve(config(oracle), data_dir=tiny)

    def serve_some(server, count, kill=False):
        """What clients saw. With `kill`, the server is killed while they ask."""
        stop = threading.Event()
        kinds = random.Random(len(seen))

        def work(prompts):
            client = Client(server.port)
            for prompt in prompts:
                try:
                    answer = client.ask(prompt)
                except (OSError, http.client.HTTPException):
                    assert stop.is_set()
                    return
                seen[answer["x_shoal"]["decision_id"]] = answer

        prompts = [kinds.choice(SURE if kinds.random() < 0.8 else UNSURE) for _ in range(count)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            parts = [pool.submit(work, prompts[i::4]) for i in range(4)]
            if kill:
                before = len(seen)
                wait_for(lambda: len(seen) > before + count // 2, 60)
                stop.set()
                server.process.send_signal(signal.SIGKILL)
                server.process.wait()
            for part in parts:
                part.result()

    server = start()
    client = Client(server.port)
    for prompt in SURE + UNSURE:
        answer = client.ask(prompt, headers={"x-shoal-privacy": "local_only"})
        oracle.answers[prompt] = answer["choices"][0]["text"]
    kinds = {prompt: client.ask(prompt)["x_shoal"]["route"] for prompt in (SURE[0], UNSURE[0])}
    assert kinds == {SURE[0]: "local", UNSURE[0]: "escalated"}, kinds
    serve_some(server, REQUESTS // 3, kill=True)
    server = start()
    serve_some(server, REQUESTS // 3, kill=True)
    server = start()
    serve_some(server, REQUESTS // 3)
    wait_for(lambda: metric(server, "shoal_audits_waiting") == 0, 30)

    def risk(*args):
        return shoal("route", "risk", "shoal-auto", "--config", server.config, *args, data_dir=tiny, tmp=server.tmp)

    told = json.loads(risk("--json"))
    assert metric(server, "shoal_judged_total", action="kept") > 0
    assert server.stop() == 0

    records = journal(tiny)
    receipts = {r["request"]: r for r in records if r.get("judged")}
    labels = {(r["request"], r["kind"]): r["right"] for r in records if "kind" in r and "right" in r}
    # The client's answers are in the journal, but for a few that were acknowledged in the moment of a kill.
    missing = [d for d, answer in seen.items() if answer["x_shoal"].get("threshold") and d not in receipts]
    assert len(missing) <= 16, len(missing)
    kept = {d: r["judged"] for d, r in receipts.items() if r["judged"][0] == "kept" and r["judged"][5] == "open"}
    drawn = {d for d in kept if draw(d) < SHARE}
    assert drawn == {d for d, judged in kept.items() if judged[3]}, "the draw can be made again from the id"
    assert all(judged[2] == SHARE for judged in kept.values())
    assert all(r["judged"][2] == 1 for r in receipts.values() if r["judged"][0] == "escalated")
    for decision, answer in seen.items():
        if decision in receipts:
            assert receipts[decision]["confidence"] == pytest.approx(answer["x_shoal"]["confidence"])
    audited = {d: labels[d, "audit"] for d in drawn if (d, "audit") in labels}
    assert 0.7 * len(drawn) < len(audited) <= len(drawn), "only kills lose audits"
    for decision, right in audited.items():
        prompt, wrong = oracle.asked[decision + "-audit"]
        assert right == (not wrong), "the label is what the large model said"
    # What left is what was drawn, or escalated, and nothing else.
    assert {a.removesuffix("-audit") for a in oracle.asked if a.endswith("-audit")} <= drawn

    stratum = next(s for s in told["strata"] if s["name"] == "open")
    assert (stratum["kept"], stratum["drawn"], stratum["audited"]) == (len(kept), len(drawn), len(audited))
    assert stratum["wrong"] == sum(not right for right in audited.values())
    expected, low, high = hajek([(SHARE, not right) for right in audited.values()])
    shown = stratum["hajek"]
    assert (shown["risk"], shown["low"], shown["high"]) == pytest.approx((expected, low, high), abs=1e-9)
    compared = [labels[d, "escalation"] for d, r in receipts.items() if (d, "escalation") in labels]
    biased = told["escalated_only"]
    assert (biased["compared"], biased["wrong"]) == (len(compared), compared.count(False)) and biased["biased"]
    assert shown["high"] < biased["low"], "the escalated ones tell another story than the kept ones"
    assert shown["low"] <= oracle.risk["sure"] <= shown["high"]
    # The store is made again from the journal: the same, to the last digit.
    assert json.loads(risk("--json"))["strata"] == told["strata"], "where no server runs, too"
    for path in (tiny / "store").glob("receipts.db*"):
        path.unlink()
    again = json.loads(risk("--json"))
    assert again | {"drift": None} == told | {"drift": None}
    text = risk()
    assert f"{len(audited)} audited" in text and "NOT the risk" in text


# --- feedback

@pytest.fixture
def keyed(tiny, oracle, serve):
    """A server with two keys, and one answer that the first has got."""
    tables(tiny, bias=4, mean=0)
    text = config(oracle, share=0) + '[server]\napi_keys_env = "TEST_KEYS"\n'
    server = serve(text, data_dir=tiny, env={"TEST_KEYS": KEYS})
    alice = {"Authorization": "Bearer sk-alice-0123456789abcdef"}
    status, headers, answer = server.post("/v1/completions", {"prompt": SURE[0], "temperature": 0, "max_tokens": 2},
                                          headers=alice)
    assert status == 200, answer
    return server, alice, headers["x-shoal-decision-id"], text


def test_feedback_is_durable_said_once_and_ones_own(keyed, tiny, serve):
    server, alice, decision, text = keyed

    def say(right, headers=alice, **more):
        body = {"decision_id": decision, "right": right, "source": "nurse"} | more
        return server.post("/v1/shoal/feedback", body, headers=headers)

    def labels():
        return [(label["right"], label["source"], label["note"])
                for label in server.get(f"/v1/shoal/receipts/{decision}", headers=alice)[2]["labels"]]

    status, _, body = say(True, note="as I thought")
    assert (status, body) == (200, {"object": "shoal.feedback", "decision_id": decision, "right": True, "recorded": True})
    assert say(True, note="as I thought")[2]["recorded"] is False
    assert labels() == [(True, "nurse", "as I thought")]
    assert say(False)[2]["recorded"] is True, "another word takes the place of the first"
    assert say(True, source="doctor")[2]["recorded"] is True
    assert sorted(labels()) == [(False, "nurse", ""), (True, "doctor", "")]
    records = [r for r in journal(tiny) if r.get("kind") == "feedback"]
    assert len(records) == 3, "what was said twice is written once"

    for wrong, code, param in ((say(True, headers={"Authorization": "Bearer sk-bob-0123456789abcdef"}), 404, None),
                               (say(True, decision_id="nobody"), 404, None),
                               (say(True, note="x" * 501), 400, "note"), (say(True, source=""), 400, "source"),
                               (say(True, source="x" * 65), 400, "source"), (say("yes"), 400, "right"),
                               (say(True, sauce="x"), 422, "sauce")):
        assert wrong[0] == code, wrong
        assert wrong[2]["error"]["param"] == param
    assert server.post("/v1/shoal/feedback", {"decision_id": decision, "right": True}, headers=alice)[0] == 400
    assert server.post("/v1/shoal/feedback", {})[0] == 401

    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = serve(text, data_dir=tiny, env={"TEST_KEYS": KEYS})
    assert sorted(labels()) == [(False, "nurse", ""), (True, "doctor", "")]
    shown = shoal("receipts", decision, "--config", server.config, data_dir=tiny, tmp=server.tmp)
    assert "label by nurse (feedback): wrong" in shown and "label by doctor (feedback): right" in shown
    told = json.loads(shoal("route", "risk", "shoal-auto", "--json", "--config", server.config, data_dir=tiny,
                            tmp=server.tmp))
    assert told["feedback"] == {"of_kept": {"right": 1, "wrong": 1}, "of_others": {"right": 0, "wrong": 0}}
    assert [s["name"] for s in told["strata"]] == ["unaudited"], "nobody was asked, and feedback estimates nothing"


def test_a_route_that_is_not_there_is_told(tiny):
    text = shoal("route", "risk", "shoal-outo", data_dir=tiny, code=5)
    assert "no route is called" in text and "shoal-auto" in text


# --- drift, late misses and what one key may escalate

def test_an_alarm_makes_the_threshold_stricter_for_good(tales, oracle, serve):
    certify(tales)
    data_dir = tales[0] / "data"
    route = 'task = "tales"\nrisk = 0.05\n'
    text = config(oracle, route, share=1, commit_tokens=2).replace(f"audit_seed = {SEED}\n", "")
    server = serve(text, data_dir=data_dir)
    sure = "One day, Pat ran to the park with a ball. Pat was"
    oracle.answers[sure] = "nothing that a small model says"  # a world in which it is always wrong

    def ask():
        return Client(server.port).ask(sure, max_tokens=4)["x_shoal"]

    def told():
        return json.loads(shoal("route", "risk", "shoal-auto", "--json", "--config", server.config, data_dir=data_dir,
                                tmp=server.tmp))

    first = ask()
    assert first["route"] == "local" and "stricter" not in first["reasons"][0]["effect"], first
    local_only = server.post("/v1/completions", {"prompt": sure, "temperature": 0, "max_tokens": 4},
                             headers={"x-shoal-privacy": "local_only"})[2]["x_shoal"]
    assert local_only["route"] == "local"
    for _ in range(40):
        ask()
        wait_for(lambda: metric(server, "shoal_audits_waiting") == 0)
        if metric(server, "shoal_drift_alarms") > 0:
            break
    assert metric(server, "shoal_drift_alarms") == 1 and metric(server, "shoal_audits_total", outcome="wrong") < 40
    assert "no longer describes what runs" in server.log() and '"signal":"audits"' in server.log()
    strict = ask()
    assert strict["threshold"] > first["threshold"] and "1 stricter after as many alarms" in strict["reasons"][0]["effect"]
    wait_for(lambda: metric(server, "shoal_audits_waiting") == 0)
    state = told()
    assert state["drift"][0]["alarms"] + state["drift"][-1]["alarms"] >= 1
    assert {gate["threshold"] for gate in state["gates"]} >= {first["threshold"]}
    assert [s["kept"] for s in state["strata"] if s["name"] == "local_only"] == [1], "a stratum apart"
    assert not any(r.get("purpose") == "audit" and r["request"] == local_only["decision_id"] for r in journal(data_dir))

    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    server = serve(text, data_dir=data_dir)
    assert metric(server, "shoal_drift_alarms") == 1
    assert told()["drift"] == state["drift"], "made again from the records"
    assert ask()["threshold"] == strict["threshold"]


def test_what_one_key_may_escalate(tiny, oracle, serve):
    tables(tiny, bias=-4, mean=0)  # never sure
    oracle.answers.update({prompt: "large" for prompt in SURE})
    server = serve(config(oracle, "escalations_per_hour = 2", share=0), data_dir=tiny)
    routes = [Client(server.port).ask(SURE[0])["x_shoal"] for _ in range(4)]
    assert [r["route"] for r in routes] == ["escalated", "escalated", "local", "local"]
    assert {"signal": "escalations", "value": "used up", "rule": "escalations_per_hour 2", "effect": "keep"} in \
        routes[3]["reasons"]
    assert metric(server, "shoal_escalations_refused_total") == 2
    assert metric(server, "shoal_judged_total", action="kept_unsure") == 2
    server.stop()
    strict = serve(config(oracle, 'escalations_per_hour = 1\non_budget = "fail"', share=0), data_dir=tiny)
    body = {"prompt": SURE[0], "temperature": 0, "max_tokens": 2}
    assert strict.post("/v1/completions", body)[0] == 200
    status, _, answer = strict.post("/v1/completions", body)
    assert status == 402 and answer["error"]["code"] == "budget_exhausted", answer
