"""What a client gets, what is booked and what is written down when a provider does everything wrong: each fault of
misbehaving.py against its promise, and ten thousand requests of which a fifth meets one."""
import asyncio
import concurrent.futures
import http.client
import json
import os
import re
import signal
import time
from dataclasses import dataclass

import pytest
from conftest import Server, wait_for
from misbehaving import FAULTS, STORM_BEGINS, Misbehaving

DEADLINE_MS = 10_000
SLACK_S = 2.5  # a busy machine is no fault; a hang is
TIMEOUTS = "connect_timeout_ms = 400\nheaders_timeout_ms = 400\nfirst_token_timeout_ms = 400\ntoken_timeout_ms = 400\n"
PRICE = '[[price]]\nprovider = "{}"\nmodel = "*"\nfrom = "2026-01-01"\ninput_usd = "1.00"\noutput_usd = "1.00"\n'


@dataclass
class Promise:
    """`status` 200 and a `code`: an error frame in a stream. `booked`: what each attempt cost, "exact", "estimate",
    "nothing". `attempts`: None for any number."""
    status: int
    code: str = ""
    booked: str = "nothing"
    attempts: int | None = 3
    message: str = ""
    deadline_ms: int = DEADLINE_MS


def fails(status, code, booked="estimate", attempts=3, **more):
    return Promise(status, code, booked, attempts, **more)


def breaks(code, **more):
    """After the first content: nothing is asked again, and the client sees an error frame."""
    return Promise(200, code, "estimate", 1, **more)


def answers(booked="exact", attempts=1, **more):
    return Promise(200, "", booked, attempts, **more)


GONE = fails(503, "unreachable")
BAD = fails(502, "bad_answer")
LATE = fails(504, "deadline_exceeded", attempts=1, deadline_ms=1_200)
REFUSED = fails(502, "upstream_refused", "nothing", 1, message="refused the key")

WHOLE = {
    "good": answers(), "early_hints": answers(), "http10": answers(), "two_responses": answers(),
    "wrong_content_type": answers(), "no_headers": LATE, "slow_headers": LATE, "trickle": LATE,
    "interim_flood": GONE, "endless_headers": GONE, "reset_after_request": GONE, "close_after_request": GONE,
    "reset_in_headers": GONE, "reset_in_body": GONE, "half_close": GONE, "stall_in_body": GONE, "not_http": GONE,
    "bad_status_line": GONE, "length_long": GONE, "length_twice": GONE, "length_negative": GONE,
    "length_short": BAD, "switching_protocols": BAD, "redirect": BAD, "no_content": BAD, "gzip_unasked": BAD,
    "endless_whitespace": fails(502, "bad_answer", deadline_ms=20_000), "html_in_200": BAD, "empty_body": BAD,
    "no_choices": BAD, "no_finish": BAD, "bad_utf8": BAD, "deep_json": BAD,
    "error_in_200": fails(502, "upstream_failed"),
    "status_500": fails(502, "upstream_failed", "nothing"), "status_502": fails(502, "upstream_failed", "nothing"),
    "status_503": fails(502, "upstream_failed", "nothing"), "status_529": fails(502, "upstream_failed", "nothing"),
    "status_408": fails(502, "upstream_failed", "nothing"), "html_500": fails(502, "upstream_failed", "nothing"),
    "status_400": fails(400, "invalid_request", "nothing", 1, message="org-7 says 400"),
    "status_404": fails(404, "model_not_found", "nothing", 1), "status_413": fails(413, "payload_too_large", "nothing", 1),
    "status_422": fails(422, "unsupported_parameter", "nothing", 1),
    "status_401": REFUSED, "status_403": REFUSED,
    "status_402": fails(502, "upstream_refused", "nothing", 1, message="account"),
    "billing": fails(502, "upstream_refused", "nothing", 1, message="account"),
    "too_long": fails(400, "context_length_exceeded", "nothing", 1),
    "limited_seconds": fails(429, "rate_limited", "nothing", 1, deadline_ms=6_000), "limited_date": fails(429, "rate_limited", "nothing", 1),
    "limited_absurd": fails(429, "rate_limited", "nothing", 1), "limited_past": fails(429, "rate_limited", "nothing"),
    "limited_word": fails(429, "rate_limited", "nothing"), "limited_bare": fails(429, "rate_limited", "nothing"),
    "down_once": Promise(200, "", "exact", 2), "usage_missing": answers("estimate"),
    "usage_negative": answers("estimate"), "usage_huge": answers("estimate"),
}
STREAM = {
    "good": answers(), "early_hints": answers(), "after_done": answers(), "content_after_finish": answers(),
    "tool_index_twice": answers(), "down_once": Promise(200, "", "exact", 2),
    "no_headers": GONE, "slow_headers": GONE, "reset_after_request": GONE, "reset_before_content": GONE,
    "stall_before_content": GONE, "pings_without_content": GONE, "endless_whitespace": GONE, "interim_flood": GONE,
    "reset_in_body": breaks("unreachable"), "half_close": breaks("unreachable"), "stall_in_body": breaks("unreachable"),
    "chunk_broken": breaks("unreachable"), "chunk_endless_size": breaks("unreachable"),
    "malformed_event": breaks("bad_answer"), "end_without_marker": breaks("bad_answer"),
    "done_before_finish": breaks("bad_answer"), "event_too_long": breaks("bad_answer"),
    "second_answer_unasked": breaks("bad_answer"), "error_mid_stream": breaks("upstream_failed"),
    "endless_stream": breaks("deadline_exceeded", deadline_ms=1_000),
    "error_first_in_stream": fails(502, "upstream_failed"), "malformed_first_event": BAD, "bad_utf8": BAD,
    "empty_stream": BAD, "done_without_content": BAD, "stream_as_json": BAD, "html_in_200": BAD, "http10": BAD,
    "status_500": fails(502, "upstream_failed", "nothing"), "status_401": REFUSED,
    "usage_missing": answers("estimate"), "usage_negative": answers("estimate"),
}
CASES = [(name, False, promise) for name, promise in WHOLE.items()]
CASES += [(name, True, promise) for name, promise in STREAM.items()]


@pytest.fixture(scope="module")
def upstream():
    return Misbehaving().start()


def configuration(port, extra="", name="bad"):
    return (f'[provider.{name}]\nbase_url = "http://127.0.0.1:{port}/v1"\nlocal = true\nmax_concurrent = 500\n'
            f'{TIMEOUTS}{extra}\n{PRICE.format(name)}')


def provider_of(name, stream):
    """Each case has its own: the retries of the others are not its business."""
    return ("s-" if stream else "w-") + name


@dataclass
class Got:
    status: int
    headers: dict
    body: dict  # or the error frame of a stream
    seconds: float
    text: str = ""
    done: bool = False


def ask(server, model, stream, request_id, deadline_ms=DEADLINE_MS, content="Hello", prompt=None):
    started = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = {"model": model, "max_tokens": 10, "stream": stream}
    body |= {"prompt": prompt} if prompt else {"messages": [{"role": "user", "content": content}]}
    connection.request("POST", "/v1/completions" if prompt else "/v1/chat/completions", json.dumps(body),
                       {"Content-Type": "application/json", "x-request-id": request_id,
                        "x-shoal-timeout-ms": str(deadline_ms)})
    response = connection.getresponse()
    raw = response.read()
    connection.close()
    got = Got(response.status, dict(response.headers), {}, time.monotonic() - started)
    if not response.headers["Content-Type"].startswith("text/event-stream"):
        got.body = json.loads(raw)
        return got
    for line in raw.decode().splitlines():
        if line == "data: [DONE]":
            got.done = True
        elif line.startswith("data: "):
            data = json.loads(line[6:])
            if "error" in data:
                got.body = data
            got.text += "".join(c.get("text") or c.get("delta", {}).get("content") or "" for c in data.get("choices", []))
    return got


def journal(folder):
    """Intents, outcomes and receipts, by the client's id of their request."""
    text = b"".join(path.read_bytes() for path in sorted((folder / "journal").iterdir())).decode("utf-8", "replace")
    records, decoder, at = [], json.JSONDecoder(), 0
    while (at := text.find('{"v":', at)) >= 0:
        try:
            record, end = decoder.raw_decode(text, at)
            records.append(record)
            at = end
        except json.JSONDecodeError:
            at += 1
    attempts = [r for r in records if "attempt" in r]
    receipts = {r["detail"]["client_request"]: r for r in records if "detail" in r}
    return {name: (receipt, [r for r in attempts if r.get("request") == receipt["request"]],
                   [r for r in attempts if "kind" in r and r["attempt"].rsplit("-", 1)[0] == receipt["request"]])
            for name, receipt in receipts.items()}


@pytest.fixture(scope="module")
def run(upstream, tmp_path_factory):
    """Every case, sixteen at a time; then the server is stopped, and what it wrote down is read."""
    folder = tmp_path_factory.mktemp("faults")
    config = "".join(configuration(upstream.port, name=provider_of(name, stream)) for name, stream, _ in CASES)
    server = Server(config, args=["--no-models"], tmp=folder, data_dir=folder / "data")
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        futures = {(name, stream): pool.submit(ask, server, f"{provider_of(name, stream)}/{name}", stream,
                                              f"{name}-{stream}", promise.deadline_ms)
                   for name, stream, promise in CASES}
        got = {case: future.result() for case, future in futures.items()}
    metrics = idle(server)
    assert server.stop() == 0
    return got, journal(folder / "data"), metrics, upstream.asked.copy(), server.log()


def metric(text, name):
    return {match[1] or "": float(match[2])
            for match in re.finditer(rf"^{name}(\{{[^}}]*\}})? ([0-9.e+]+)$", text, re.M)}


def idle(server, descriptors=None):
    """The metrics, when nothing runs and nothing is held any more."""
    end = time.monotonic() + 10
    while True:
        text = server.get("/metrics")[2]
        running = sum(metric(text, "shoal_provider_running").values())
        holds = sum(metric(text, "shoal_ledger_holds").values())
        fds = len(os.listdir(f"/proc/{server.process.pid}/fd"))
        if running == 0 and holds == 0 and (descriptors is None or fds <= descriptors):
            return text
        assert time.monotonic() < end, f"{running} answers run, {holds} holds, {fds} descriptors"
        time.sleep(0.1)


@pytest.mark.parametrize("name, stream, promise", CASES, ids=[f"{n}-{'stream' if s else 'whole'}" for n, s, _ in CASES])
def test_each_fault_has_its_promised_outcome(run, name, stream, promise):
    got, written, _, _, _ = run
    answer = got[name, stream]
    # A stream that has waited for a second has its status line already.
    opened = stream and promise.status >= 500 and answer.seconds > 1
    assert answer.status == (200 if opened and answer.status == 200 else promise.status), answer
    assert answer.seconds < promise.deadline_ms / 1000 + SLACK_S
    error = answer.body.get("error", {})
    if promise.code:
        assert error.get("code") == promise.code, answer
        assert promise.message in error["message"]
        assert not answer.done
    else:
        assert not error and (answer.done if stream else answer.body["choices"])
    if promise.code == "upstream_refused":
        assert "org-7" not in json.dumps(answer.body)
    if answer.status >= 500:
        assert answer.headers["x-should-retry"] == "false", "Shoal asked again itself, or it would not help"

    receipt, intents, outcomes = written[f"{name}-{stream}"]
    intents = [r for r in intents if "body_sha256" in r]
    assert len(intents) == len(outcomes)
    if promise.attempts is not None:
        assert len(intents) == promise.attempts
    assert receipt["egress"] == provider_of(name, stream)
    if answer.status != 200 or not promise.code:
        assert receipt["status"] == answer.status
    reserved = sum(int(r["reserved_pico"]) for r in intents)
    kinds = {r["kind"] for r in outcomes}
    if promise.booked == "nothing":
        assert kinds == {"settled"} and receipt["billed_micro"] == 0
    elif promise.booked == "exact":
        assert outcomes[-1]["kind"] == "settled" and receipt["billed_micro"] == 103
    else:
        assert kinds == {"unknown"}
        assert receipt["billed_micro"] == -(-reserved // 1_000_000)
    if len(intents) > 1:
        reasons = [r["effect"] for r in receipt["detail"]["reasons"]]
        assert sum("ask again" in effect for effect in reasons) >= len(intents) - 1


def test_there_are_at_least_thirty_faults():
    assert len(FAULTS) >= 30
    unused = set(FAULTS) - set(WHOLE) - set(STREAM) - {"storm", "stale", "first_key_refused", "slow_good"}
    assert not unused


def test_the_server_lives_on_and_is_idle(run):
    _, _, metrics, _, log = run
    assert sum(metric(metrics, "shoal_provider_attempts_total").values()) > len(CASES)
    assert "did not end in time" not in log


def test_waits_are_told_within_bounds(run):
    got = run[0]
    assert got["limited_seconds", False].headers["Retry-After"] == "7"
    assert 50 <= int(got["limited_date", False].headers["Retry-After"]) <= 60
    assert got["limited_absurd", False].headers["Retry-After"] == "120"
    for name in ("limited_seconds", "limited_date", "limited_absurd"):
        assert got[name, False].headers["x-should-retry"] == "true"


def test_a_redirect_is_not_followed(run):
    assert "redirected" not in run[3]


# --- one at a time

@pytest.fixture
def in_front(serve, tmp_path):
    def start(config, **kwargs):
        return serve(config, args=kwargs.pop("args", ["--no-models"]), data_dir=tmp_path / "data", **kwargs)

    return start


def test_a_refused_key_is_left_out_and_named_by_its_place(in_front, upstream):
    keys = {"FIRST": "sk-canary-one", "SECOND": "sk-canary-two"}
    server = in_front(configuration(upstream.port, 'key_env = ["FIRST", "SECOND"]'), env=keys)
    for _ in range(4):
        assert ask(server, "bad/first_key_refused", False, "keys").status == 200
    attempts = metric(server.get("/metrics")[2], "shoal_provider_attempts_total")
    assert attempts == {'{target="bad/first_key_refused"}': 5}
    assert metric(server.get("/metrics")[2], "shoal_provider_keys_usable") == {'{provider="bad"}': 1}
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in server.log())
    assert ask(server, "bad/first_key_refused", False, "keys").status == 200
    assert sum(metric(server.get("/metrics")[2], "shoal_provider_failures_total").values()) == 1, "a reload forgets nothing"
    assert "1 of 2" in server.log()
    assert "canary" not in server.log()


def test_a_reload_reads_the_keys_again(in_front, upstream, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("sk-one\n")
    server = in_front(configuration(upstream.port, f'key_file = "{keys}"'))
    for _ in range(2):
        got = ask(server, "bad/first_key_refused", False, "keys")
        assert got.status == 502 and got.body["error"]["code"] == "upstream_refused"
    keys.write_text("sk-one\nsk-two\n")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in server.log())
    assert ask(server, "bad/first_key_refused", False, "keys").status == 200
    attempts = metric(server.get("/metrics")[2], "shoal_provider_attempts_total")
    assert attempts == {'{target="bad/first_key_refused"}': 2}, "the first key is still out"


def test_a_connection_that_was_closed_meanwhile_is_no_failure(in_front, upstream):
    server = in_front(configuration(upstream.port))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:  # four connections, all of which will break
        first = [pool.submit(ask, server, "bad/stale", False, "stale") for _ in range(4)]
        assert [one.result().status for one in first] == [200] * 4
    for _ in range(5):
        assert ask(server, "bad/stale", False, "stale").status == 200
    metrics = server.get("/metrics")[2]
    assert metric(metrics, "shoal_provider_failures_total") == {}


def test_a_refusal_before_the_body_was_read_is_heard(in_front, upstream):
    config = configuration(upstream.port).replace("/v1\"", "/early/v1\"")
    server = in_front(config)
    got = ask(server, "bad/anything", False, "early", content="a" * 4_000_000)
    assert got.status == 413 and got.body["error"]["code"] == "payload_too_large"


def test_a_provider_that_is_down_is_left_alone_and_says_when_to_come_back(in_front, upstream):
    server = in_front(configuration(upstream.port))
    before = upstream.asked["status_503"]
    statuses = [ask(server, "bad/status_503", False, "down").status for _ in range(20)]
    assert statuses[0] == 502 and statuses[-1] == 503
    last = ask(server, "bad/status_503", False, "down")
    assert last.body["error"]["code"] == "provider_down"
    assert 5 <= int(last.headers["Retry-After"]) <= 17 and last.headers["x-should-retry"] == "true"
    assert upstream.asked["status_503"] - before <= 20
    state = metric(server.get("/metrics")[2], "shoal_provider_breaker_state")
    assert state == {'{target="bad/status_503"}': 2}
    assert ask(server, "bad/good", False, "other").status == 200, "another model of the same provider"


@pytest.mark.parametrize("name", ["status_500", "reset_after_request", "no_headers", "malformed_first_event", "status_401",
                                  "limited_seconds", "done_without_content", "stall_before_content", "interim_flood"])
def test_a_local_model_answers_where_the_route_says_so(local_server, name):
    got = ask(local_server, name.replace("_", "-"), True, f"local-{name}", 20_000, prompt="Once upon")
    assert got.status == 200 and got.done and got.text, got


@pytest.fixture(scope="module")
def local_server(upstream, stories, tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    routes = "".join(f'[route."{name.replace("_", "-")}"]\npolicy = "llm_first"\nlocal = "stories260K-f32"\n'
                     f'remote = ["bad/{name}"]\n' for name in FAULTS)
    server = Server(f'[models]\ndirs = ["{stories.parent}"]\n' + configuration(upstream.port) + routes, tmp=folder,
                    data_dir=folder / "data")
    yield server
    server.stop()


def test_a_client_that_leaves_costs_what_the_provider_counted(in_front, upstream, tmp_path):
    server = in_front(configuration(upstream.port))
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    body = {"model": "bad/slow_good", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 10, "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), {"x-request-id": "left"} |
                       {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert b"Hello" in response.read1(1000) + response.read1(1000)
    response.close()
    connection.close()
    metrics = idle(server)
    assert metric(metrics, "shoal_provider_drains_total") == {
        '{outcome="settled"}': 1, '{outcome="given_up"}': 0, '{outcome="cancelled"}': 0}
    server.stop()
    receipt, _, outcomes = journal(tmp_path / "data")["left"]
    assert [r["kind"] for r in outcomes] == ["settled"] and receipt["billed_micro"] == 103


# --- storm

def test_ten_thousand_requests_with_faults_on_a_fifth_of_the_calls(in_front, upstream):
    server = in_front(configuration(upstream.port))
    while upstream.asked["storm"] < STORM_BEGINS:  # the breaker has seen it work: of its first five, three may well be faults
        assert ask(server, "bad/storm", False, "warm").status == 200
    descriptors = len(os.listdir(f"/proc/{server.process.pid}/fd")) + 80  # idle connections to the provider
    results = asyncio.run(storm(server.port, 10_000, 64))
    codes = {}
    for outcome, seconds in results:
        assert seconds < 8, outcome
        codes[outcome] = codes.get(outcome, 0) + 1
    print(codes)
    known = {"answer", "left", "unreachable", "bad_answer", "upstream_failed", "rate_limited", "provider_down",
             "deadline_exceeded"}
    assert set(codes) <= known, codes
    assert sum(codes.values()) == 10_000
    assert codes["answer"] > 8_500
    assert upstream.faults > 1_500
    idle(server, descriptors)
    assert ask(server, "bad/good", False, "after").status == 200
    assert upstream.asked["storm"] - STORM_BEGINS <= 12_500
    started = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - started < 10
    assert "did not end in time" not in server.log()


async def storm(port, count, clients):
    numbers = iter(range(count))
    results = []

    async def client():
        reader = writer = None
        for number in numbers:
            stream = number % 2 == 0
            started = time.monotonic()
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps({"model": "bad/storm", "messages": [{"role": "user", "content": "Hello"}],
                               "max_tokens": 10, "stream": stream}).encode()
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                         b"x-shoal-timeout-ms: 5000\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            if number % 50 == 49:
                await asyncio.sleep(0.001)
                writer.transport.abort()
                writer = None
                results.append(("left", 0))
                continue
            outcome, keep = await asyncio.wait_for(read_answer(reader), 10)
            results.append((outcome, time.monotonic() - started))
            if not keep:
                writer.close()
                writer = None
        if writer:
            writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return results


async def read_answer(reader):
    """How it ended, and whether the connection can go on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    status = int(head.split(" ")[1])
    if "transfer-encoding: chunked" in head:
        body = b""
        while (size := int((await reader.readline()).split(b";")[0] or b"0", 16)) > 0:
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
    else:
        body = await reader.readexactly(int(re.search(r"content-length: (\d+)", head)[1]))
    keep = "connection: close" not in head
    if "text/event-stream" not in head:
        data = json.loads(body)
        return ("answer" if status == 200 and data["choices"][0]["finish_reason"] else data["error"]["code"]), keep
    events = [line[6:] for line in body.decode().split("\n") if line.startswith("data: ")]
    if events[-1] == "[DONE]":
        return "answer", keep
    return json.loads(events[-1])["error"]["code"], False
