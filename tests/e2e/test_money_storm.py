"""Money under load and under `kill -9`, over HTTP, with an upstream that keeps its own count: never a cent too many, never
a request forgotten. SHOAL_TEST_KILLS=500 makes the second test the long one."""
import json
import os
import random
import signal
import sqlite3
import subprocess
import time
import urllib.request

import pytest
from conftest import BUILD, Server

RATE = 1  # dollars per million tokens of an answer: a token is a micro-dollar
MAX_TOKENS = 64


@pytest.fixture
def mock():
    process = subprocess.Popen([BUILD / "bin/mock_upstream"], stdout=subprocess.PIPE, text=True)
    yield int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def config(port, ledger=""):
    return (f'[log]\nlevel = "error"\n[provider.mock]\nbase_url = "http://127.0.0.1:{port}/v1"\nlocal = true\n'
            'durability = "batch"\n[[price]]\nprovider = "mock"\nmodel = "*"\nfrom = "2026-01-01"\ninput_usd = "0"\n'
            f'output_usd = "{RATE}"\n{ledger}')


def load_command(port, model, *arguments):
    return [BUILD / "bin/proxy_load", str(port), "--model", f"mock/{model}", "--max-tokens", str(MAX_TOKENS),
            *map(str, arguments)]


def count(port, model):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/count") as answer:
        return json.loads(answer.read())["models"].get(model, {"requests": 0, "completion_tokens": 0})


@pytest.mark.parametrize("model, passes", [
    ("exact", 31_337),
    # Each gives half back: one more fits in as long as what it reserves is still there.
    ("half", (31_337 * MAX_TOKENS - MAX_TOKENS) // (MAX_TOKENS // 2) + 1)])
def test_of_100000_requests_as_many_pass_as_the_budget_is_for(serve, tmp_path, mock, model, passes):
    budget = 31_337 * MAX_TOKENS
    server = serve(config(mock, f'[ledger]\ndaily_usd = "{budget / 1e6:.6f}"\n'), args=["--no-models"],
                   data_dir=tmp_path / "data")
    out = subprocess.run(load_command(server.port, model, "--connections", 64, "--requests", 100_000),
                         stdout=subprocess.PIPE, check=True, timeout=240)
    told = json.loads(out.stdout)
    assert told["asked"] == 100_000
    assert told["requests"] == passes and told["errors"] == {"status 402": 100_000 - passes}
    upstream = count(mock, model)
    assert upstream["requests"] == passes, "what was refused did not leave"
    assert upstream["completion_tokens"] <= budget
    if model == "exact":
        assert upstream["completion_tokens"] == budget, "to the last micro-dollar"


def rows(data):
    """Of each attempt: state, tokens of the answer, what it committed and what was reserved, in micro-dollars."""
    with sqlite3.connect(f"file:{data / 'store' / 'receipts.db'}?mode=ro", uri=True) as store:
        return {row[0]: row[1:] for row in store.execute(
            "SELECT id, state, output, committed_micro, reserved_milli * 1000 + reserved_pico / 1000000 "
            "FROM attempt JOIN bill USING (sequence)")}


def test_no_kill_loses_a_request_or_invents_one(tmp_path, mock):
    """The server dies at random moments under load. Each attempt that reached the upstream is in the store: settled with
    the upstream's own count, or unknown at all that was reserved. The budget after it all is their sum."""
    chance = random.Random(5)
    data = tmp_path / "data"
    for kill in range(int(os.environ.get("SHOAL_TEST_KILLS", "15"))):
        folder = tmp_path / f"run{kill}"
        folder.mkdir()
        server = Server(config(mock), args=["--no-models"], data_dir=data, tmp=folder)
        load = subprocess.Popen(load_command(server.port, "each", "--connections", 16, "--requests", 1_000_000),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.02, 0.25))
        server.stop(signal.SIGKILL)
        load.kill()
        load.wait()
    last = tmp_path / "last"
    last.mkdir()
    server = Server(config(mock), args=["--no-models"], data_dir=data, tmp=last)
    # A page of receipts is given when all that is on disk was applied.
    assert server.get("/v1/shoal/receipts?limit=1")[0] == 200
    server.stop()
    kept = rows(data)
    with urllib.request.urlopen(f"http://127.0.0.1:{mock}/each") as answer:
        upstream = {line.split()[0]: int(line.split()[1]) for line in answer.read().decode().splitlines()}
    assert len(upstream) > 1000
    missing = upstream.keys() - kept.keys()
    assert not missing, f"{len(missing)} attempts reached the upstream and are in no row"
    states = {"settled": 0, "unknown": 0, "not_sent": 0}
    for attempt, (state, output, committed, reserved) in kept.items():
        states[state] += 1
        if state == "settled":
            assert output == upstream[attempt] == committed, attempt
        elif state == "unknown":
            assert committed == reserved == MAX_TOKENS, attempt
        else:
            assert attempt not in upstream and committed == 0, attempt
    assert states["settled"] > 1000 and states["unknown"] > 0, states
    spent = sum(committed for _, _, committed, _ in kept.values())
    capped_folder = tmp_path / "capped"
    capped_folder.mkdir()
    # Room for one more, and for no second one.
    capped = Server(config(mock, f'[ledger]\ndaily_usd = "{(spent + 2 * MAX_TOKENS - 1) / 1e6:.6f}"\n'),
                    args=["--no-models"], data_dir=data, tmp=capped_folder)
    body = {"model": "mock/exact", "max_tokens": MAX_TOKENS, "messages": [{"role": "user", "content": "x"}]}
    assert [capped.post("/v1/chat/completions", body)[0] for _ in range(2)] == [200, 402]
    capped.stop()
