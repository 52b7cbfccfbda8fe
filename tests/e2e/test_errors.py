"""Bad input gets a clear error, always JSON, that names what came and what to do."""
import json
import socket

import pytest
from conftest import CHAT_MODEL, EMBED_MODEL


def error(server, method, path, body=None, headers=None):
    status, head, answer = server.request(method, path, body, headers)
    assert set(answer["error"]) >= {"message", "type", "param", "code"}, answer
    return status, head, answer["error"]


def test_unknown_path_names_the_likely_one(server):
    status, _, err = error(server, "POST", "/chat/completions", {})
    assert status == 404 and "/v1/chat/completions" in err["message"]


def test_wrong_method_lists_the_right_one(server):
    status, head, err = error(server, "GET", "/v1/chat/completions")
    assert status == 405 and "POST" in head["Allow"] and err["code"] == "method_not_allowed"


def test_broken_json_names_the_offset(server):
    status, _, err = error(server, "POST", "/v1/chat/completions", b'{"model": oops}')
    assert status == 400 and err["code"] == "invalid_json" and "10" in err["message"]


def test_empty_body(server):
    status, _, err = error(server, "POST", "/v1/chat/completions", b"")
    assert status == 400 and err["code"] == "invalid_json"


def test_wrong_content_type(server):
    status, _, err = error(server, "POST", "/v1/chat/completions", b"{}", {"Content-Type": "text/plain"})
    assert status == 415 and err["code"] == "unsupported_media_type"


def test_duplicate_key_is_refused_by_name(server):
    body = b'{"model":"x","model":"y","messages":[{"role":"user","content":"hi"}]}'
    status, _, err = error(server, "POST", "/v1/chat/completions", body)
    assert status == 400 and err["param"] == "model"


def test_fifty_megabyte_body_is_refused_before_it_is_read(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 52428800\r\n\r\n" + b"x" * 1000)
        answer = sock.recv(65536)
    assert b" 413 " in answer.split(b"\r\n")[0] and b"payload_too_large" in answer


def test_dns_rebinding_is_refused(server):
    status, _, err = error(server, "GET", "/v1/models", headers={"Host": "evil.example"})
    assert status == 403 and err["code"] == "origin_denied"
    status, _, err = error(server, "GET", "/v1/models", headers={"Origin": "https://evil.example"})
    assert status == 403 and err["code"] == "origin_denied"


def test_model_names_are_suggested(server):
    status, _, answer = server.post("/v1/chat/completions", {
        "model": "smollm2-135m-instrct", "messages": [{"role": "user", "content": "x"}]})
    assert status == 404 and CHAT_MODEL in json.dumps(answer)


def test_chat_with_an_embedder_and_embedding_with_a_chat_model(server):
    status, _, err = error(server, "POST", "/v1/chat/completions",
                           {"model": EMBED_MODEL, "messages": [{"role": "user", "content": "x"}]})
    assert status in (400, 404, 422) and EMBED_MODEL in err["message"]
    status, _, err = error(server, "POST", "/v1/embeddings", {"model": CHAT_MODEL, "input": "x"})
    assert status in (400, 404, 422) and CHAT_MODEL in err["message"]


def test_request_id_is_echoed_and_made(server):
    status, head, _ = server.get("/healthz", headers={"x-request-id": "abc-123"})
    assert head["x-request-id"] == "abc-123"
    assert len(server.get("/healthz")[1]["x-request-id"]) >= 16


def test_request_id_of_a_client_cannot_forge_a_header(server):
    assert server.get("/healthz", headers={"x-request-id": "a b"})[1]["x-request-id"] != "a b"


def test_killed_worker_gives_a_typed_error_and_the_next_answer_comes(serve, models):
    import os
    import signal
    import threading
    server = serve()
    server.chat("warm up")
    results = []
    body = {"model": CHAT_MODEL, "prompt": "Once", "max_tokens": 1500, "ignore_eos": True, "stream": True}
    events = server.events("/v1/completions", body)
    seen = [next(events) for _ in range(6)]
    assert seen
    [os.kill(pid, signal.SIGKILL) for pid in server.worker_pids()]
    results = [e for e in events if isinstance(e, dict)]
    assert results[-1]["error"]["code"] == "worker_crashed", results[-2:]
    assert server.chat("and again?")["choices"]


def test_deadline_header(server):
    status, _, err = error(server, "POST", "/v1/completions",
                           {"model": CHAT_MODEL, "prompt": "Once", "max_tokens": 1500, "ignore_eos": True},
                           {"x-shoal-timeout-ms": "300"})
    assert status == 504 and err["code"] == "deadline_exceeded"


def test_non_loopback_without_keys_refuses_to_start(tmp_path):
    import subprocess
    from conftest import SHOAL
    result = subprocess.run([SHOAL, "serve", "--host", "0.0.0.0", "--port", "0", "--data-dir", tmp_path, "--no-models"],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 3 and "api_keys" in result.stderr, result


def test_port_taken_names_the_holder(server, tmp_path):
    import subprocess
    from conftest import SHOAL
    result = subprocess.run([SHOAL, "serve", "--port", str(server.port), "--data-dir", tmp_path, "--no-models"],
                            capture_output=True, text=True, timeout=20)
    assert result.returncode == 6 and str(server.process.pid) in result.stderr and "--port" in result.stderr, result
