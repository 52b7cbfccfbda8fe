"""Domains: what is of one area is answered by that area's route, with its prompt; what is of several, or unclear, by the
provider of the route that was asked."""
import json
import os
import random
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import CHAT_MODEL, SHOAL, STORE

WORDS = {"bank": ["balance", "account", "transfer", "deposit", "savings"], "travel": ["flight", "hotel", "luggage", "visa", "airport"]}
BANK = "please transfer my savings to the deposit account"
TRIP = "please book a flight and a hotel near the airport"
ANSWER = {"id": "x", "object": "chat.completion", "created": 1, "model": "big", "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
          "choices": [{"index": 0, "message": {"role": "assistant", "content": "large"}, "finish_reason": "stop"}]}


def shoal(*args):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    return subprocess.run([str(SHOAL), *map(str, args)], capture_output=True, text=True, timeout=120, env=clean)


@pytest.fixture(scope="module")
def large():
    """A provider that notes what it was sent."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            upstream.seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps(ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    upstream.daemon_threads = True
    upstream.seen = []
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    yield upstream
    upstream.shutdown()


@pytest.fixture(scope="module")
def data(models, tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    (folder / "models").symlink_to(STORE / "models")
    draw = random.Random(3)
    with (folder / "areas.jsonl").open("w") as file:
        for i in range(160):
            area = sorted(WORDS)[i % 2]
            print(json.dumps({"text": "please " + " ".join(draw.choice(WORDS[area]) for _ in range(5)), "label": area}), file=file)
        for i in range(40):
            print(json.dumps({"text": f"zebras quarrel over vexing quartz {i}", "label": "oos"}), file=file)
    done = shoal("tune", "probe", folder / "areas.jsonl", "--task", "areas", "--no-embedder", "--out-of-scope", "oos", "--data-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder


def config(port, more='domain_routes = ["bank=bank", "travel=trips"]\n'):
    return (f'[provider.large]\nbase_url = "http://127.0.0.1:{port}/v1"\nlocal = true\n'
            f'[route.shoal-auto]\nlocal = "{CHAT_MODEL}"\nremote = ["large/front"]\non_null_confidence = "keep"\ndomains = "areas"\n{more}'
            f'[route.bank]\nlocal = "{CHAT_MODEL}"\nsystem_prompt = "You work for a bank."\n'
            f'[route.trips]\npolicy = "llm_first"\nremote = ["large/guide"]\nsystem_prompt = "You plan \\"trips\\"."\n')


@pytest.fixture
def server(serve, large, data):
    return serve(config(large.server_port), data_dir=data)


def ask(server, *turns, **fields):
    messages = [turn if isinstance(turn, dict) else {"role": "user", "content": turn} for turn in turns]
    status, headers, answer = server.post("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 4} | fields)
    assert status == 200, answer
    return answer


def reason(answer, signal):
    return next((one for one in answer["x_shoal"]["reasons"] if one["signal"] == signal), None)


def test_each_area_is_answered_by_its_own_route_with_its_own_prompt(server, large):
    bank = ask(server, BANK)
    assert bank["model"] == CHAT_MODEL and bank["x_shoal"]["egress"] == "none"
    assert reason(bank, "domain")["effect"] == "answer by the route bank"
    assert reason(bank, "domain")["value"].startswith("bank 0.") and reason(bank, "domain")["rule"] == "areas, at least 0.8"
    assert reason(bank, "system_prompt")["effect"] == "added"
    # The model reads what it would if the client had said it.
    said = ask(server, {"role": "system", "content": "You work for a bank."}, BANK, model=CHAT_MODEL)
    assert bank["usage"]["prompt_tokens"] == said["usage"]["prompt_tokens"] and bank["choices"] == said["choices"]
    assert ask(server, BANK, model=CHAT_MODEL)["usage"]["prompt_tokens"] != said["usage"]["prompt_tokens"]
    before = len(large.seen)
    trip = ask(server, TRIP, user="somebody")
    assert trip["choices"][0]["message"]["content"] == "large" and reason(trip, "domain")["effect"] == "answer by the route trips"
    assert len(large.seen) == before + 1
    assert large.seen[-1]["model"] == "guide" and large.seen[-1]["user"] == "somebody"
    assert large.seen[-1]["messages"] == [{"role": "system", "content": 'You plan "trips".'}, {"role": "user", "content": TRIP}]


def test_the_prompt_of_the_client_stays_alone(server, large):
    own = {"role": "system", "content": "Answer in French."}
    trip = ask(server, own, TRIP)
    assert large.seen[-1]["messages"] == [own, {"role": "user", "content": TRIP}]
    assert reason(trip, "system_prompt") is None and reason(trip, "domain")["effect"] == "answer by the route trips"


@pytest.mark.parametrize(("text", "value"), [(f"{BANK} and {TRIP}", "bank and travel"), ("zebras quarrel over vexing quartz", "like texts of none")])
def test_what_is_of_no_one_area_goes_up(server, large, text, value):
    answer = ask(server, text)
    assert answer["choices"][0]["message"]["content"] == "large" and large.seen[-1]["model"] == "front"
    assert large.seen[-1]["messages"] == [{"role": "user", "content": text}], "no area's prompt is added"
    assert value in reason(answer, "domain")["value"] and reason(answer, "domain")["effect"] == "ask a provider first"


def test_what_goes_up_unread_is_bounded_for_each_key(serve, large, data):
    more = 'domain_routes = ["bank=bank", "travel=trips"]\nescalations_per_hour = 2\n'
    server = serve(config(large.server_port, more), data_dir=data)
    before = len(large.seen)
    answers = [ask(server, f"{BANK} and {TRIP}") for _ in range(4)]
    assert [answer["x_shoal"]["egress"] for answer in answers] == ["large", "large", "none", "none"]
    assert len(large.seen) == before + 2
    assert reason(answers[1], "escalations") is None
    assert reason(answers[2], "escalations") == {"signal": "escalations", "value": "used up", "rule": "escalations_per_hour 2", "effect": "draft here"}
    status, _, plan = server.post("/v1/shoal/route", {"messages": [{"role": "user", "content": f"{BANK} and {TRIP}"}]})
    assert status == 200 and any(one["signal"] == "escalations" for one in plan["reasons"]), "the plan tells it, too"
    assert "shoal_escalations_refused_total 2" in server.get("/metrics")[2]
    assert ask(server, TRIP)["x_shoal"]["egress"] == "large", "what the route of its area asks a provider for is no escalation"
    server.stop()
    strict = serve(config(large.server_port, more + 'on_budget = "fail"\n').replace('"keep"', '"escalate"'), data_dir=data)
    body = {"messages": [{"role": "user", "content": f"{BANK} and {TRIP}"}], "temperature": 0, "max_tokens": 4}
    assert [strict.post("/v1/chat/completions", body)[0] for _ in range(3)] == [200, 200, 402]


def test_what_may_not_leave_stays(server, large):
    before = len(large.seen)
    for text in (f"{BANK} and {TRIP}", BANK):
        status, _, answer = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 4},
                                        headers={"x-shoal-privacy": "local_only"})
        assert status == 200 and answer["x_shoal"]["egress"] == "none"
    assert len(large.seen) == before


def test_the_plan_tells_the_same_and_sends_nothing(server, large):
    before = len(large.seen)
    status, _, plan = server.post("/v1/shoal/route", {"messages": [{"role": "user", "content": TRIP}], "temperature": 0})
    assert status == 200 and plan["reasons"][0]["effect"] == "answer by the route trips"
    assert len(large.seen) == before


def test_faults_name_the_label_and_the_task(data, large):
    def start(more):
        path = data / "bad.toml"
        path.write_text(config(large.server_port, more))
        return shoal("serve", "--config", path, "--port", 0, "--data-dir", data)

    done = start('domain_routes = ["bnk=bank"]\n')
    assert done.returncode == 3 and 'no label "bnk"' in done.stderr and "bank, travel" in done.stderr
    done = start('domain_routes = ["bank=nobody"]\n')
    assert done.returncode == 3 and 'no route is called "nobody"' in done.stderr
    path = data / "bad.toml"
    path.write_text(config(large.server_port).replace('domains = "areas"', 'domains = "arias"'))
    done = shoal("serve", "--config", path, "--port", 0, "--data-dir", data)
    assert done.returncode == 3 and "route.shoal-auto.domains" in done.stderr and "areas" in done.stderr
