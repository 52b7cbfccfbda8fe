"""The two ends of bench/gateway: mock_upstream says what its models promise, and proxy_load sees what goes wrong."""
import http.client
import json
import socket
import subprocess
import threading

import pytest
from conftest import BUILD


@pytest.fixture
def mock():
    process = subprocess.Popen([BUILD / "bin/mock_upstream"], stdout=subprocess.PIPE, text=True)
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def ask(port, model, **more):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/chat/completions", json.dumps({"messages": [], "model": model, **more}))
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, body
    return body


def events(body):
    assert body.endswith(b"data: [DONE]\n\n")
    return [json.loads(event.removeprefix("data: ")) for event in body.decode().split("\n\n")[:-2]]


def load(port, *arguments):
    out = subprocess.run([BUILD / "bin/proxy_load", str(port), *map(str, arguments)], stdout=subprocess.PIPE, check=True, timeout=60)
    return json.loads(out.stdout)


def test_a_whole_answer_has_345_bytes_whatever_the_gateway_calls_the_model(mock):
    for name in ("gpt", "mock/gpt"):
        body = ask(mock, name)
        answer = json.loads(body)
        assert (len(body), answer["model"], answer["usage"]["total_tokens"]) == (345, "gpt", 52)


def test_usage_is_what_the_name_promises_and_is_counted(mock):
    for model, tokens in (("gpt", 12), ("exact", 70), ("half-a", 35)):
        assert json.loads(ask(mock, model, max_tokens=70))["usage"]["completion_tokens"] == tokens
    assert json.loads(ask(mock, "exact", max_completion_tokens=9))["usage"]["completion_tokens"] == 9
    connection = http.client.HTTPConnection("127.0.0.1", mock, timeout=30)
    connection.request("GET", "/count")
    count = json.loads(connection.getresponse().read())
    connection.close()
    assert count["requests"] == 4
    assert count["models"]["exact"] == {"requests": 2, "completion_tokens": 79}


def test_a_stream_has_21_chunks_and_usage_only_when_asked(mock):
    plain = events(ask(mock, "gpt", stream=True))
    assert [chunk["choices"][0]["finish_reason"] for chunk in plain] == [None] * 20 + ["stop"]
    assert not any("usage" in chunk for chunk in plain)
    asked = events(ask(mock, "gpt", stream=True, stream_options={"include_usage": True}))
    assert (len(asked), asked[-1]["choices"], asked[-1]["usage"]["completion_tokens"]) == (22, [], 12)


def test_a_stream_at_a_rate_has_a_numbered_chunk_for_each_token(mock):
    texts = [chunk["choices"][0]["delta"].get("content") for chunk in events(ask(mock, "x-500fps", stream=True, max_tokens=30))]
    assert [text.split("@")[0] for text in texts[1:-1]] == [f"#{i}" for i in range(1, 31)]


def test_the_load_finds_nothing_wrong_with_the_mock(mock):
    found = load(mock, "--connections", 8, "--seconds", 0.3, "--warm", 0.1, "--stream")
    assert found["errors"] == {} and found["requests"] > 0
    assert (found["frames_lost"], found["frames_out_of_order"]) == (0, 0)
    paced = load(mock, "--connections", 20, "--once", "--over", 0.1, "--stream", "--model", "x-500fps", "--max-tokens", 30, "--frames", 30)
    assert (paced["requests"], paced["frames"], paced["frames_lost"], paced["on_the_way"]["n"]) == (20, 600, 0, 600)


def in_chunks(*data):
    parts = [f"data: {text}\n\n" for text in data]
    return ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "".join(f"{len(part):x}\r\n{part}\r\n" for part in parts) + "0\r\n\r\n").encode()


GOOD = ("#1 ", "#2 ", "#3 ", "[DONE]")


@pytest.mark.parametrize("answer, wanted", [
    (in_chunks(*GOOD), {"requests": 1, "frames": 3}),
    (in_chunks("#1 ", "#3 ", "[DONE]"), {"frames_lost": 1}),
    (in_chunks("#1 ", "[DONE]"), {"frames_lost": 2}),
    (in_chunks("#2 ", "#1 ", "#3 ", "[DONE]"), {"frames_lost": 1, "frames_out_of_order": 1}),
    (in_chunks("#1 ", "#1 ", "#2 ", "#3 ", "[DONE]"), {"frames_out_of_order": 1}),
    (in_chunks("#1 ", "#2 ", "#3 "), {"requests": 0, "errors": {"no [DONE]": 1}}),
    (in_chunks(*GOOD)[:-9], {"requests": 0, "errors": {"closed": 1}}),
    (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\n\r\n{}", {"requests": 0, "errors": {"status 502": 1}}),
    (b"", {"requests": 0, "frames_lost": 3, "errors": {"closed": 1}}),
], ids=["good", "gap", "short", "swapped", "twice", "unended", "cut", "status", "silent"])
@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_the_load_sees_what_is_wrong_with_a_stream(answer, wanted, piece):
    """One answer, in pieces of any size, after which the server closes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        client, _ = listener.accept()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.recv(65536)
        for at in range(0, len(answer), piece):
            client.sendall(answer[at:at + piece])
        client.shutdown(socket.SHUT_WR)
        while client.recv(65536):
            pass
        client.close()

    server = threading.Thread(target=serve)
    server.start()
    found = load(listener.getsockname()[1], "--once", "--stream", "--frames", 3)
    server.join()
    listener.close()
    for key, value in {"errors": {}, **wanted}.items():
        assert found[key] == value, found
