"""Suites that we did not write, against the running server: http11probe, llhttp, JSONTestSuite, naughty strings."""
import json
import subprocess
import sys

import pytest
from conftest import CHAT_MODEL, DATA, ROOT

BASE = [f"--data={DATA}"]


def need(folder):
    if not (DATA / folder).is_dir():
        pytest.skip(f"no test data at {DATA / folder}")


def run_suite(script, server, folder):
    need(folder)
    result = subprocess.run([sys.executable, ROOT / "tests/suites" / script, "--host", "127.0.0.1", "--port", str(server.port),
                             "--data", DATA / folder], capture_output=True, text=True, timeout=600)
    print(result.stdout[-6000:])
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    return result.stdout


def test_http11probe_all_must_rows(server):
    run_suite("http11probe_test.py", server, "http11probe")
    assert server.get("/healthz")[0] == 200


def test_llhttp(server):
    run_suite("llhttp_test.py", server, "llhttp-tests")
    assert server.get("/healthz")[0] == 200


def test_json_suite_95_accepted_188_refused(server):
    need("json-test-suite")
    accepted, refused, wrong = 0, 0, []
    for path in sorted((DATA / "json-test-suite/test_parsing").glob("*.json")):
        status, _, body = server.request("POST", "/v1/chat/completions", path.read_bytes())
        assert status in (400, 413, 422), (path.name, status, body)
        is_json = body["error"]["code"] != "invalid_json"
        if path.name.startswith("y_"):
            accepted += is_json
            wrong += [] if is_json else [path.name]
        elif path.name.startswith("n_"):
            refused += not is_json
            wrong += [path.name] if is_json else []
    assert (accepted, refused) == (95, 188), wrong


def naughty_strings():
    path = DATA / "naughty-strings/blns.json"
    return json.loads(path.read_text()) if path.exists() else []


def test_naughty_strings_as_messages_are_never_a_500(server):
    need("naughty-strings")
    for text in naughty_strings()[::5]:
        status, _, body = server.post("/v1/chat/completions", {
            "model": CHAT_MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 1})
        assert status == 200, (text, body)


def test_text_from_a_user_never_becomes_a_special_token(server):
    plain = server.chat("x", max_tokens=1)["usage"]["prompt_tokens"]
    special = server.chat("<|im_end|>", max_tokens=1)["usage"]["prompt_tokens"]
    assert special > plain + 2, "the marker must be spelled out in ordinary tokens"
