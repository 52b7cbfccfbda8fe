"""A provider in front of which Shoal stands: a second Shoal and llama-server, with real models; and what is paid,
refused and written down when it costs money."""
import json
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest
from conftest import CHAT_MODEL, ROOT, SHOAL, STORE, Server, wait_for

KEY = "sk-canary-5d41402abc4b2a76b9719d911017c592"
QUESTION = "What is the capital of France?"


def provider(name, base_url, extra=""):
    return f'[provider.{name}]\nbase_url = "{base_url}"\nlocal = true\n{extra}\n'


def price(name, model="*", rate="1.00"):
    return (f'[[price]]\nprovider = "{name}"\nmodel = "{model}"\nfrom = "2026-01-01"\ninput_usd = "{rate}"\n'
            f'output_usd = "{rate}"\n')


@pytest.fixture(scope="module")
def other(models, tmp_path_factory):
    """The second Shoal; what it answers is compared with what comes through the first."""
    server = Server("[engine]\nprefix_cache = false\nspeculation = false\n", tmp=tmp_path_factory.mktemp("other"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def front(other, tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    server = Server(provider("other", other.base_url), args=["--no-models"], tmp=folder, data_dir=folder / "data")
    yield server
    server.stop()


@pytest.fixture
def in_front(serve, tmp_path):
    """A factory of servers without models, each with a data folder of its own."""
    def start(config, **kwargs):
        return serve(config, args=["--no-models"], data_dir=tmp_path / "data", **kwargs)

    return start


def ask(server, model, **params):
    return server.post("/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": QUESTION}],
                                                "temperature": 0, "max_tokens": 12, **params})


def test_an_answer_is_the_providers_with_our_receipt(front, other):
    status, headers, body = ask(front, f"other/{CHAT_MODEL}")
    theirs = ask(other, CHAT_MODEL)[2]
    assert status == 200
    assert body["choices"] == theirs["choices"]
    assert body["usage"]["completion_tokens"] == theirs["usage"]["completion_tokens"]
    assert body["model"] == CHAT_MODEL
    assert headers["x-shoal-model"] == f"other/{CHAT_MODEL}"
    assert headers["x-shoal-route"] == "remote"
    assert headers["x-shoal-egress"] == "other"
    receipt = body["x_shoal"]
    assert receipt["route"] == "remote" and receipt["egress"] == "other"
    assert receipt["decision_id"] == headers["x-shoal-decision-id"]
    assert receipt["cost_usd"] == "0.000000" and receipt["durability"] == "batch"


def test_a_stream_through_the_sdk_is_the_same_text(front, other):
    client = openai.OpenAI(base_url=front.base_url, api_key="unused", max_retries=0)
    whole = ask(other, CHAT_MODEL)[2]["choices"][0]["message"]["content"]
    chunks = list(client.chat.completions.create(model=f"other/{CHAT_MODEL}", stream=True, temperature=0, max_tokens=12,
                                                 messages=[{"role": "user", "content": QUESTION}]))
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == whole
    assert chunks[-1].choices[0].finish_reason is not None
    assert chunks[-1].model_extra["x_shoal"]["route"] == "remote"
    assert all(c.usage is None for c in chunks), "usage was not asked for"
    asked = list(client.chat.completions.create(model=f"other/{CHAT_MODEL}", stream=True, temperature=0, max_tokens=12,
                                                messages=[{"role": "user", "content": QUESTION}],
                                                stream_options={"include_usage": True}))
    assert asked[-1].usage.completion_tokens == 12 and not asked[-1].choices


def test_text_completions_pass_too(front, other):
    body = {"model": f"other/{CHAT_MODEL}", "prompt": "Once upon a time", "temperature": 0, "max_tokens": 8}
    status, _, answer = front.post("/v1/completions", body)
    assert status == 200
    assert answer["choices"][0]["text"] == other.post("/v1/completions", body | {"model": CHAT_MODEL})[2]["choices"][0]["text"]


def test_an_error_of_the_request_is_told_in_the_providers_words(front):
    status, _, body = ask(front, f"other/{CHAT_MODEL}", max_tokens=1_000_000)
    assert status == 400 and body["error"]["code"] == "context_length_exceeded"
    assert body["error"]["message"].startswith("other says: ")
    status, headers, body = ask(front, "other/no-such-model")
    assert status == 404 and "no-such-model" in body["error"]["message"]


def test_local_only_never_leaves(front):
    status, _, body = front.post("/v1/chat/completions", {"model": f"other/{CHAT_MODEL}", "messages": [
        {"role": "user", "content": QUESTION}]}, headers={"x-shoal-privacy": "local_only"})
    assert status == 403 and body["error"]["code"] == "policy_denied"
    for misread in ("secret", "", "any, local_only"):
        status, _, body = front.post("/v1/chat/completions", {"model": f"other/{CHAT_MODEL}", "messages": [
            {"role": "user", "content": QUESTION}]}, headers={"x-shoal-privacy": misread})
        assert status == 400, "a wish for privacy is never misread"


def test_a_route_that_may_not_be_meant_is_told(serve, models, scripted):
    server = serve(provider("acme", scripted.url) + f'[route.{CHAT_MODEL}]\npolicy = "llm_first"\nremote = ["acme/m"]\n'
                   + f'[route.typo]\nlocal = "{CHAT_MODEL[:-1]}"\nremote = ["acme/m"]\n')
    assert "a route has the name of a local model" in server.log()
    assert f'"route":"typo","model":"{CHAT_MODEL[:-1]}","meant":"{CHAT_MODEL}"' in server.log()
    names = [model["id"] for model in server.get("/v1/models")[2]["data"]]
    assert len(names) == len(set(names)) and CHAT_MODEL in names


def test_a_header_that_nothing_reads_is_refused(front):
    for header, meant in (("x-shoal-privicy", "x-shoal-privacy"), ("X-Shoal-Threshold", "")):
        status, _, body = front.post("/v1/chat/completions", {"model": f"other/{CHAT_MODEL}", "messages": [
            {"role": "user", "content": QUESTION}]}, headers={header: "local_only"})
        assert status == 400 and header in body["error"]["message"] and meant in body["error"]["message"]


def test_a_route_to_itself_ends(in_front):
    front = in_front("")
    front.config.write_text(front.config.read_text() + provider("self", front.base_url)
                            + '[route.loop]\npolicy = "llm_first"\nremote = ["self/loop"]\nmax_attempts = 1\n')
    front.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "configuration reloaded" in front.log())
    status, _, body = ask(front, "loop")
    assert status == 502 and "self" in body["error"]["message"], body
    front.stop()
    assert front.log().count('"route":"/v1/chat/completions"') == 6, "four more than the first, and one that is refused"


def test_a_price_is_paid_to_the_micro_dollar(in_front, other):
    front = in_front(provider("other", other.base_url) + price("other", rate="2.50"))
    _, _, body = ask(front, f"other/{CHAT_MODEL}")
    tokens = body["usage"]["prompt_tokens"] + body["usage"]["completion_tokens"]
    micro = -(-tokens * 25 // 10)
    assert body["x_shoal"]["cost_usd"] == f"0.{micro:06d}"


def test_a_budget_refuses_before_anything_leaves(in_front, other):
    front = in_front(provider("other", other.base_url) + price("other") + '[ledger]\ndaily_usd = "0.0001"\n')
    before = other.get("/metrics")[2]
    status, _, body = ask(front, f"other/{CHAT_MODEL}")
    assert status == 402 and body["error"]["code"] == "budget_exhausted"
    assert "0.0001" in body["error"]["message"]
    count = lambda text: [line for line in text.splitlines() if line.startswith("shoal_http_requests_total{")
                          and "chat" in line]
    assert count(other.get("/metrics")[2]) == count(before)


def test_an_unknown_price_lets_no_byte_leave(in_front):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.5)
        base = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        front = in_front(f'[provider.acme]\nbase_url = "{base}"\n')
        status, _, body = ask(front, "acme/big")
        assert status == 503 and body["error"]["code"] == "unknown_price"
        assert "[[price]]" in body["error"]["message"]
        with pytest.raises(TimeoutError):
            listener.accept()


def test_a_private_address_needs_to_be_declared(in_front):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.5)
        base = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        front = in_front(f'[provider.acme]\nbase_url = "{base}"\n' + price("acme"))
        status, _, body = ask(front, "acme/big")
        assert status == 403 and "no public address" in body["error"]["message"]
        with pytest.raises(TimeoutError):
            listener.accept()


GOOD = {"id": "c1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "message": {"role": "assistant", "content": "Paris"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}}


@pytest.fixture
def scripted():
    """A provider that answers with `status` and `body`, or not at all, and notes what it was sent."""
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            sent = self.rfile.read(int(self.headers["Content-Length"]))
            upstream.seen.append((dict(self.headers), json.loads(sent)))
            upstream.go_on.wait()
            body = json.dumps(upstream.body).encode()
            self.send_response(upstream.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    upstream.daemon_threads = True
    upstream.seen, upstream.status, upstream.body, upstream.go_on = [], 200, GOOD, threading.Event()
    upstream.go_on.set()
    upstream.url = f"http://127.0.0.1:{upstream.server_port}/v1"
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    yield upstream
    upstream.go_on.set()
    upstream.shutdown()


def test_a_key_is_sent_and_stands_nowhere_else(in_front, scripted, tmp_path):
    """The canary: the key goes to the provider, which repeats it in all of its errors, and to nobody else."""
    front = in_front(provider("acme", scripted.url, 'key_env = ["ACME_KEY"]'), env={"ACME_KEY": KEY})
    scripted.body = {"error": {"message": f"Incorrect API key provided: Bearer {KEY}", "code": "no", "param": KEY}}
    said = []
    for scripted.status, status in ((200, 502), (400, 400), (404, 404), (422, 422), (500, 502), (401, 502)):
        came, headers, body = ask(front, "acme/big", stream=scripted.status == 422)
        said += [json.dumps(body), str(headers)]
        assert came == status, body
        assert scripted.seen[-1][0]["Authorization"] == f"Bearer {KEY}"
    assert body["error"]["code"] == "upstream_refused"
    front.stop()
    shown = subprocess.run([SHOAL, "config", "show"], capture_output=True, text=True,
                           env={"SHOAL_CONFIG": str(front.config), "ACME_KEY": KEY, "PATH": "/usr/bin:/bin"}).stdout
    journal = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    for text in (*said, front.log(), shown, journal.decode(errors="replace")):
        assert KEY not in text


def test_a_key_that_gemini_refuses_is_left_out(in_front, scripted):
    front = in_front(f'[provider.g]\nkind = "gemini"\nbase_url = "{scripted.url}"\nlocal = true\n'
                     'key_env = ["ONE", "TWO"]\n', env={"ONE": "key-number-one", "TWO": "key-number-two"})
    scripted.status, scripted.body = 400, {"error": {
        "code": 400, "message": "API key not valid", "status": "INVALID_ARGUMENT",
        "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]}}
    status, _, body = ask(front, "g/gemini-2.5-flash")
    assert status == 502 and body["error"]["code"] == "upstream_refused"
    assert [sent["x-goog-api-key"] for sent, _ in scripted.seen] == ["key-number-one", "key-number-two"]
    assert "none of" not in json.dumps(ask(front, "g/gemini-2.5-flash")[2]) and len(scripted.seen) == 2


def test_the_limit_has_the_name_that_the_provider_knows(in_front, scripted):
    front = in_front(provider("old", scripted.url) + price("old") + price("new")
                     + provider("new", scripted.url, 'limit_parameter = "max_completion_tokens"'))
    for name, limit in (("old", "max_tokens"), ("new", "max_completion_tokens")):
        assert ask(front, f"{name}/m", max_tokens=None)[0] == 200
        assert {"max_tokens": scripted.seen[-1][1].get("max_tokens"),
                "max_completion_tokens": scripted.seen[-1][1].get("max_completion_tokens")}[limit] == 4096


def test_a_provider_that_hangs_is_not_waited_for(in_front, scripted):
    """Without a stream, too: the next one of the route answers."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        front = in_front(
            provider("mute", f"http://127.0.0.1:{mute.getsockname()[1]}/v1", "answer_timeout_ms = 300")
            + provider("acme", scripted.url) + '[route.both]\npolicy = "llm_first"\nremote = ["mute/m", "acme/m"]\n')
        status, headers, body = ask(front, "both")
        assert status == 200 and headers["x-shoal-model"] == "acme/m", body
        assert {"signal": "error", "value": "unreachable", "rule": "mute/m", "effect": "go on with acme/m"} in \
            body["x_shoal"]["reasons"]
        status, _, body = ask(front, "mute/m")
        assert status == 503 and "mute did not answer within 300 ms" in body["error"]["message"]
        assert "127.0.0.1" not in body["error"]["message"], "where a provider is is no client's business"


def test_what_serve_would_refuse_check_refuses(in_front, tmp_path):
    keys = tmp_path / "keys"
    for text, wanted in (("", "has no key in it"), ("# none\n\n", "has no key in it"), ("a b\n", "has a blank"),
                         (None, "No such file")):
        if text is not None:
            keys.write_text(text)
        config = tmp_path / "c.toml"
        path = keys if text is not None else tmp_path / "nowhere"
        config.write_text(f'[provider.acme]\nbase_url = "https://acme.example"\nkey_file = "{path}"\n')
        done = subprocess.run([SHOAL, "config", "check", "--config", config], capture_output=True, text=True)
        assert done.returncode == 3 and wanted in done.stdout + done.stderr, (text, done)
    keys.write_text("sk-one-0123456789\n")
    front = in_front(f'[provider.acme]\nbase_url = "https://acme.example"\nkey_file = "{keys}"\n')
    keys.write_text("")
    front.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "has no key in it" in front.log())


def test_prices_are_known_by_the_host(in_front):
    front = in_front('[provider.openai-work]\nbase_url = "https://api.openai.com/v1"\ndaily_cap_usd = "0.000001"\n')
    status, _, body = ask(front, "openai-work/gpt-4o-mini")
    assert status == 402 and body["error"]["code"] == "budget_exhausted", "its price is known, and its cap holds"


def test_a_journal_that_cannot_be_written_is_told(in_front, scripted):
    front = in_front(provider("acme", scripted.url) + price("acme") + '[log]\nlevel = "warn"\n')
    for _ in range(150):
        assert ask(front, "acme/m")[0] == 200
    assert "\nshoal_journal_failed 0" in front.get("/metrics")[2]
    limit = 48 * 1024
    subprocess.run(["prlimit", "--pid", str(front.process.pid), f"--fsize={limit}:{limit}"], check=True)
    refused = wait_for(lambda: next((body for status, _, body in [ask(front, "acme/m")] if status == 503), None))
    assert refused["error"]["code"] == "journal_failed"
    seen = len(scripted.seen)
    assert ask(front, "acme/m")[0] == 503 and len(scripted.seen) == seen, "no byte leaves"
    assert "\nshoal_journal_failed 1" in front.get("/metrics")[2]
    assert "the journal cannot be written" in front.log()


def test_llama_server_is_a_provider(in_front, models):
    binary = subprocess.run([ROOT / "tools/third_party.py", "path", "llama_server", "--quick"], check=True, capture_output=True,
                            text=True).stdout.strip()
    shown = subprocess.run([SHOAL, "models", "show", CHAT_MODEL, "--json", "--data-dir", STORE], check=True,
                           capture_output=True, text=True).stdout
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([binary, "-m", json.loads(shown)["path"], "--port", str(port), "-np", "1", "-t", "2",
                                "-c", "2048", "--jinja"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                break
            except OSError:
                time.sleep(0.1)
        front = in_front(provider("llama", f"http://127.0.0.1:{port}/v1"))
        status, _, body = ask(front, "llama/anything")
        assert status == 200 and body["usage"]["completion_tokens"] == 12
        client = openai.OpenAI(base_url=front.base_url, api_key="unused", max_retries=0)
        chunks = list(client.chat.completions.create(model="llama/anything", stream=True, temperature=0, max_tokens=12,
                                                     messages=[{"role": "user", "content": QUESTION}]))
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        assert text == body["choices"][0]["message"]["content"]
        assert chunks[-1].model_extra["x_shoal"]["egress"] == "llama"
    finally:
        process.kill()
        process.wait()


def test_routes_and_what_a_provider_offers_are_listed_as_models(in_front, other):
    front = in_front(provider("other", other.base_url, f'models = ["{CHAT_MODEL}"]')
                     + f'[route.careful]\npolicy = "llm_first"\nremote = ["other/{CHAT_MODEL}"]\n')
    listed = {m["id"]: (m["owned_by"], m["x_shoal"].get("kind")) for m in front.get("/v1/models")[2]["data"]}
    assert listed["careful"] == ("shoal", "route") and listed[f"other/{CHAT_MODEL}"] == ("other", "provider")
    for name in ("careful", f"other/{CHAT_MODEL}"):
        assert front.get(f"/v1/models/{name}")[2]["id"] == name
        assert ask(front, name)[0] == 200, "what is listed can be asked"
