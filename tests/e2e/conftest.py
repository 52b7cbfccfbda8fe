"""Fixtures for the end-to-end tests: the real binary, the real worker, a real model, on a port of its own.

Environment (set by tools/run_tests): SHOAL_TEST_PRESET, SHOAL_TEST_DATA, SHOAL_TEST_WEIGHTS.
"""
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PRESET = os.environ.get("SHOAL_TEST_PRESET", "release")
BUILD = ROOT / "build" / PRESET
SHOAL = BUILD / "bin" / "shoal"
DATA = Path(os.environ.get("SHOAL_TEST_DATA", ROOT.parent / "shared" / "data"))
WEIGHTS = Path(os.environ.get("SHOAL_TEST_WEIGHTS", ROOT.parent / "shared" / "weights"))
CACHE = Path(os.environ.get("SHOAL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shoal")
STORE = Path(os.environ.get("SHOAL_TEST_STORE", CACHE / "test-store"))
CHAT_MODEL = "smollm2-135m-instruct"
EMBED_MODEL = "all-minilm-l6-v2"


class Server:
    """One `shoal serve`, stopped with SIGTERM at the end; its log is shown when a test fails."""

    def __init__(self, config="", *, args=(), data_dir=None, env=None, wait=True, tmp=None):
        self.tmp = tmp
        self.config = tmp / "config.toml"
        self.config.write_text(config)
        self.stdout_path, self.stderr_path = tmp / "stdout.txt", tmp / "stderr.txt"
        command = [SHOAL, "serve", "--config", self.config, "--port", "0", "--data-dir", data_dir or STORE, *args]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
        environment |= {k: v for k, v in os.environ.items() if k in ("SHOAL_CACHE",)}
        environment |= {"XDG_RUNTIME_DIR": str(tmp), **(env or {})}
        self.process = subprocess.Popen([str(c) for c in command], stdout=self.stdout_path.open("wb"),
                                        stderr=self.stderr_path.open("wb"), env=environment, cwd=tmp)
        self.port = None
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout_s=60):
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            match = re.search(r"http://[\w.\[\]:]+?:(\d+)", self.stdout_path.read_text())
            if match:
                self.port = int(match.group(1))
                return
            if self.process.poll() is not None:
                raise RuntimeError(f"serve ended with {self.process.returncode}\n{self.log()}")
            time.sleep(0.01)
        raise RuntimeError(f"serve said no address in {timeout_s} s\n{self.log()}")

    def log(self):
        return self.stdout_path.read_text() + self.stderr_path.read_text()

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def request(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, parsed body or text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        send = {"Content-Type": "application/json", **(headers or {})} if data is not None else headers or {}
        connection.request(method, path, data, send)
        response = connection.getresponse()
        raw = response.read()
        connection.close()
        kind = response.headers.get("Content-Type", "")
        return response.status, response.headers, json.loads(raw) if "json" in kind and raw else raw.decode("utf-8", "replace")

    def post(self, path, body, **kwargs):
        return self.request("POST", path, body, **kwargs)

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def chat(self, text, **params):
        body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 16}
        status, _, answer = self.post("/v1/chat/completions", body | params)
        assert status == 200, answer
        return answer

    def complete(self, prompt, **params):
        body = {"model": CHAT_MODEL, "prompt": prompt, "temperature": 0, "max_tokens": 16}
        status, _, answer = self.post("/v1/completions", body | params)
        assert status == 200, answer
        return answer

    def events(self, path, body, timeout=120):
        """The events of a stream: parsed `data:` objects, "[DONE]", and comments as (":", text)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        for line in response:
            line = line.decode().rstrip("\r\n")
            if line.startswith("data: "):
                yield line[6:] if line == "data: [DONE]" else json.loads(line[6:])
            elif line.startswith(":"):
                yield (":", line[1:].strip())
            elif line:
                raise AssertionError(f"not an SSE line of ours: {line!r}")
        connection.close()

    def worker_pids(self):
        out = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout
        return [int(line.split()[0]) for line in out.splitlines() if "shoal-worker" in line]

    def stop(self, sig=signal.SIGTERM, timeout_s=30):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError(f"serve did not stop in {timeout_s} s\n{self.log()}")


def wait_for(holds, timeout_s=10):
    """What `holds()` returns once that is true."""
    end = time.monotonic() + timeout_s
    while not (held := holds()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return held


@pytest.fixture(scope="session")
def stories():
    """A real model of 1 MiB."""
    path = WEIGHTS / "stories260K-f32.gguf"
    if not path.exists():
        pytest.skip(f"no test weights at {path}")
    return path


@pytest.fixture(scope="session")
def models():
    if not (STORE / "models").is_dir():
        pytest.skip(f"no model store at {STORE}; tests/prepare fills it")
    return STORE


@pytest.fixture
def serve(tmp_path_factory):
    """A factory: serve(config, args=...) -> Server; all are stopped at the end."""
    servers = []

    def start(config="", **kwargs):
        servers.append(Server(config, tmp=tmp_path_factory.mktemp("serve"), **kwargs))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """One server with the default model, shared by the tests of a file."""
    running = Server(tmp=tmp_path_factory.mktemp("serve"))
    yield running
    code = running.stop()
    assert code == 0, f"serve ended with {code}\n{running.log()}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed and "server" in item.funcargs:
        report.sections.append(("server log", item.funcargs["server"].log()[-4000:]))
