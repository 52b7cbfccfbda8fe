"""The life of the server: start, health, metrics, reload, drain, memory."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest
from conftest import CHAT_MODEL, EMBED_MODEL, PRESET, SHOAL


def test_first_output_tells_what_to_do(server):
    said = server.stdout_path.read_text()
    assert f"http://127.0.0.1:{server.port}" in said and "curl" in said and "OpenAI(" in said
    assert f"export OPENAI_BASE_URL=http://127.0.0.1:{server.port}/v1" in said


def test_health_ready_metrics(server):
    assert server.get("/healthz")[0] == 200
    assert server.get("/readyz")[0] == 200
    server.chat("hi")
    metrics = server.get("/metrics")[2]
    assert re.search(r"^shoal_\w+_total\{?.* [1-9]", metrics, re.M)
    for line in metrics.splitlines():
        assert line.startswith("#") or re.fullmatch(r'[a-z_]+(\{[^}]*\})? [-+0-9.eEinfNa]+', line), line


def test_openapi_is_valid_and_true(server):
    from openapi_spec_validator import validate
    document = server.get("/openapi.json")[2]
    validate(document)
    ids = {"/v1/shoal/receipts/{id}": server.chat("hi")["x_shoal"]["decision_id"]}
    for path, operations in document["paths"].items():
        for method in operations:
            concrete = re.sub(r"\{[^}]+\}", ids.get(path, CHAT_MODEL), path)
            status = server.request(method.upper(), concrete, b"{}" if method == "post" else None)[0]
            assert status not in (404, 405, 500, 501), (method, path, status)


def test_chat_page_is_self_contained(server):
    status, headers, page = server.get("/")
    assert status == 200 and "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.search(r'(src|href)="(https?:)?//', page)
    for asset in re.findall(r'(?:src|href)="(/[^"]+)"', page):
        assert server.get(asset)[0] == 200, asset


def test_models_show_their_state(server):
    server.chat("hi")
    entries = {m["id"]: m for m in server.get("/v1/models")[2]["data"]}
    assert entries[CHAT_MODEL]["x_shoal"]["state"] == "ready"
    assert EMBED_MODEL in entries


def test_drain_lets_the_running_answer_finish(serve, models):
    server = serve()
    server.chat("warm up")
    body = {"model": CHAT_MODEL, "prompt": "Once upon a time", "max_tokens": 100, "ignore_eos": True, "stream": True}
    events = server.events("/v1/completions", body)
    first = next(events)
    server.process.send_signal(signal.SIGTERM)
    rest = list(events)
    assert rest[-1] == "[DONE]", rest[-2:]
    assert first and server.process.wait(30) == 0


def test_second_signal_ends_at_once(serve, models):
    server = serve()
    server.chat("warm up")
    events = server.events("/v1/completions", {"model": CHAT_MODEL, "prompt": "Once", "max_tokens": 1800,
                                               "ignore_eos": True, "stream": True})
    next(events)
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(OSError):  # the listener is closed: the first signal has arrived
        while True:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(5) != 0
    # No worker outlives its gateway.
    assert not server.worker_pids()


def test_reload_is_all_or_nothing(serve):
    server = serve('[log]\nlevel = "info"\n', args=["--no-models"])
    server.config.write_text('[log]\nlevel = "loud"\n')
    server.process.send_signal(signal.SIGHUP)
    wait_for_log(server, "loud")
    assert server.get("/healthz")[0] == 200
    server.config.write_text('[server]\nport = 1\n[log]\nlevel = "debug"\n')
    server.process.send_signal(signal.SIGHUP)
    wait_for_log(server, "server.port")


def wait_for_log(server, word, timeout_s=10):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if word in server.stderr_path.read_text():
            return
        time.sleep(0.02)
    raise AssertionError(f"{word!r} not in the log:\n{server.log()}")


@pytest.mark.skipif(PRESET != "release", reason="memory is measured on the release build")
def test_idle_gateway_without_a_model_is_small(serve, tmp_path):
    # A folder of its own: the shared one may have trained tasks, which are kept in memory.
    server = serve(args=["--no-models"], data_dir=tmp_path)
    assert server.get("/healthz")[0] == 200
    status = open(f"/proc/{server.process.pid}/status").read()
    resident_kib = int(re.search(r"VmRSS:\s+(\d+)", status).group(1))
    print("resident KiB", resident_kib)
    # 13 MB, of which 2 are the process's own and the rest pages of the program and its libraries, TLS among them.
    assert resident_kib * 1024 <= 13_000_000


def test_logs_never_hold_prompts(serve, models):
    server = serve('[log]\nlevel = "debug"\n')
    server.chat("canary-7f3a9 tell me", max_tokens=2)
    server.post("/v1/chat/completions", {"model": CHAT_MODEL, "messages": [{"role": "canary-7f3a9", "content": "x"}]})
    assert "canary-7f3a9" not in server.stderr_path.read_text()


def test_keys_are_needed_and_never_logged(serve, models, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("secret-canary-0123456789\n")
    keys.chmod(0o600)
    server = serve(f'[server]\napi_keys_file = "{keys}"\n[log]\nlevel = "debug"\n')
    assert server.get("/v1/models")[0] == 401
    assert server.get("/v1/models", headers={"Authorization": "Bearer wrong"})[0] == 401
    assert server.get("/v1/models", headers={"Authorization": "Bearer secret-canary-0123456789"})[0] == 200
    assert server.get("/healthz")[0] == 200
    assert "secret-canary" not in server.log()


def test_two_models_side_by_side(server):
    done = {}

    def embed():
        done["embed"] = server.post("/v1/embeddings", {"model": EMBED_MODEL, "input": ["x"] * 8})[0]

    thread = threading.Thread(target=embed)
    thread.start()
    done["chat"] = server.chat("hello")["object"]
    thread.join()
    assert done == {"embed": 200, "chat": "chat.completion"}


def test_a_model_that_is_imported_while_the_server_runs_answers(serve, stories, tmp_path):
    store, folder = tmp_path / "store", tmp_path / "folder"
    folder.mkdir()
    shutil.copy(stories, folder / "tale.gguf")
    server = serve(f'[models]\ndirs = ["{folder}"]\n', data_dir=store)

    def names():
        return sorted(entry["id"] for entry in server.get("/v1/models")[2]["data"])

    def ask(model):
        return server.post("/v1/completions", {"model": model, "prompt": "Once", "max_tokens": 4, "temperature": 0})

    assert names() == ["tale"], "a file of models.dirs, used where it is"
    assert ask("stories")[0] == 404
    command = [SHOAL, "models", "import", stories, "--name", "stories", "--data-dir", store]
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    assert names() == ["stories", "tale"]
    status, headers, answer = ask("stories")
    assert status == 200 and headers["x-shoal-model"] == "stories"
    assert answer["choices"][0]["text"] == ask("tale")[2]["choices"][0]["text"]
    subprocess.run([str(SHOAL), "models", "rm", "stories", "--data-dir", str(store)], check=True, capture_output=True)
    assert names() == ["tale"]
    assert ask("stories")[0] == 404


def test_an_alias_is_answered_under_the_models_own_name(server):
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
    status, headers, answer = server.post("/v1/chat/completions", body)
    assert (status, headers["x-shoal-model"], answer["model"]) == (200, CHAT_MODEL, CHAT_MODEL)
    assert answer["x_shoal"]["model"] == CHAT_MODEL
    assert server.get("/v1/models/smollm2")[2]["id"] == CHAT_MODEL
