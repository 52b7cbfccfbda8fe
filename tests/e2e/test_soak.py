"""A minute of mixed load with cancels, kill -9 of workers and two models in a budget that holds one (20 minutes with
SHOAL_SOAK_SECONDS=1200): memory stays bounded, no slot is stuck, every request ends in an answer or a typed error."""
import collections
import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import threading
import time

import pytest
from conftest import PRESET, SHOAL, WEIGHTS

MODELS = ["minimind2-small-26m-q4_0", "stories15M-q4_0"]
SECONDS = float(os.environ.get("SHOAL_SOAK_SECONDS", "60"))
SEED = int(os.environ.get("SHOAL_TEST_SEED", "20261121"))
CLIENTS = 12
SWAP_S = max(4, SECONDS / 15)    # the model that all ask for changes; the other is evicted as soon as it is idle
KILL_S = max(17, SECONDS / 12)   # a model that is lost five times in a minute is given up, by design
GROWTH_MIB = 6                   # of a process once it is warm
WARM_S = 20                      # by then a worker has touched its cache
TYPED = {"worker_crashed", "model_loading", "overloaded", "insufficient_memory"}
# A small context and little memory for prefixes, so that both are full before growth is measured.
CONFIG = f'[models]\nfound = false\ndirs = ["{WEIGHTS}"]\n[engine]\ndefault_model = "{MODELS[0]}"\nslots = 4\nthreads = 1\ncontext_length = 1024\nprefix_cache_mib = 1\nmax_queue = 8\n'


def workers(server):
    """`shoal ps`: the rows of the models of this test."""
    out = subprocess.run([SHOAL, "ps", "--json"], capture_output=True, check=True, env={"XDG_RUNTIME_DIR": str(server.tmp)})
    return {row["model"]: row for row in json.loads(out.stdout)["workers"] if row["model"] in MODELS}


@pytest.fixture
def swapping(serve):
    """A server whose budget holds either model but not both, and the larger of their predictions."""
    if not all((WEIGHTS / f"{m}.gguf").exists() for m in MODELS):
        pytest.skip(f"no test weights at {WEIGHTS}")
    roomy = serve(CONFIG)
    for model in MODELS:
        status, _, answer = roomy.post("/v1/completions", {"model": model, "prompt": "Once", "max_tokens": 2})
        assert status == 200, answer
    needs = [row["predicted_bytes"] / 2**20 for row in workers(roomy).values()]
    assert roomy.stop() == 0
    budget = int(max(needs) * 1.1) + 1
    assert budget < sum(needs), needs
    return serve(f"{CONFIG}memory_budget_mib = {budget}\n"), max(needs)


def resident_mib(pid):
    try:
        return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) / 1024
    except (OSError, AttributeError):
        return None  # it has ended


def ask(port, rng, model):
    """One request by hand; how it ended."""
    kind = rng.choice(["short", "short", "long prompt", "stream", "cut", "cut in prefill"])
    body = {"model": model, "prompt": "Once upon a time " * (20 if "prefill" in kind or kind == "long prompt" else 2),
            "max_tokens": rng.randint(1, 40), "stream": kind in ("stream", "cut"), "ignore_eos": True, "seed": rng.randrange(1000)}
    data = json.dumps(body).encode()
    with socket.create_connection(("127.0.0.1", port), timeout=300) as sock:
        sock.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Connection: close\r\nContent-Length: " + str(len(data)).encode() + b"\r\n\r\n" + data)
        if kind == "cut in prefill":
            return "cut"
        received = b""
        while chunk := sock.recv(65536):
            received += chunk
            if kind == "cut" and b"\r\n\r\n" in received:
                return "cut"
    return outcome(received)


def outcome(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head, "the connection was closed without an answer"
    if int(head.split()[1]) != 200:
        return json.loads(body)["error"]["code"]
    if b'"error"' in body:
        return json.loads(body[body.rindex(b"data: ") + 6:].split(b"\n")[0])["error"]["code"]
    assert b"data: [DONE]" in body or (b'"finish_reason"' in body and b"data:" not in body), f"cut short: {body[-300:]!r}"
    return "answer"


class Soak:
    def __init__(self, server):
        self.server, self.end = server, time.monotonic() + SECONDS
        self.outcomes, self.broken = collections.Counter(), []
        self.samples = collections.defaultdict(list)  # pid -> resident MiB, ten a second
        self.kills = 0

    def favourite(self):
        return MODELS[int(time.monotonic() / SWAP_S) % 2]

    def client(self, seed):
        rng = random.Random(seed)
        while time.monotonic() < self.end and not self.broken:
            try:
                ended = ask(self.server.port, rng, self.favourite())
            except (OSError, AssertionError, ValueError, KeyError) as error:
                self.broken.append(f"{type(error).__name__}: {error}")
                return
            self.outcomes[ended] += 1
            if ended in TYPED:
                time.sleep(0.02)  # a client that was told to come again does not do so at once

    def watch(self):
        """Samples memory, and kills a worker now and then."""
        kill_at = time.monotonic() + KILL_S / 2
        while time.monotonic() < self.end and not self.broken:
            for pid in [self.server.process.pid, *self.server.worker_pids()]:
                if (resident := resident_mib(pid)) is not None:
                    self.samples[pid].append(resident)
            if time.monotonic() >= kill_at:
                for pid in self.server.worker_pids():
                    os.kill(pid, signal.SIGKILL)
                    self.kills += 1
                kill_at += KILL_S
            time.sleep(0.1)

    def run(self):
        threads = [threading.Thread(target=self.client, args=(SEED + n,)) for n in range(CLIENTS)]
        for thread in threads:
            thread.start()
        self.watch()
        for thread in threads:
            thread.join()


def growth_mib(samples):
    """From the second third on: the median of its first tenth to that of the last tenth."""
    warm = samples[len(samples) // 3:]
    tenth = max(1, len(warm) // 10)
    return statistics.median(warm[-tenth:]) - statistics.median(warm[:tenth])


@pytest.mark.skipif(PRESET != "release", reason="memory is measured on the release build")
def test_a_minute_of_everything(swapping):
    server, most_mib = swapping
    soak = Soak(server)
    soak.run()
    print("seed", SEED, dict(soak.outcomes), "kills", soak.kills, "workers", len(soak.samples) - 1)
    assert not soak.broken, soak.broken[:3]
    assert set(soak.outcomes) <= TYPED | {"answer", "cut"}, soak.outcomes
    assert soak.outcomes["answer"] and soak.outcomes["cut"] and soak.kills, soak.outcomes
    evictions = re.findall(r"^shoal_engine_evictions_total\{.*\} (\d+)", server.get("/metrics")[2], re.M)
    assert sum(map(int, evictions)) >= 2, "the models never took turns"

    # No stuck slot: nothing runs or waits once the cancels have arrived, and both models answer.
    end = time.monotonic() + 20
    while any(row["running"] or row["queued"] for row in workers(server).values()):
        assert time.monotonic() < end, workers(server)
        time.sleep(0.05)
    for model in MODELS:
        status, _, answer = server.post("/v1/completions", {"model": model, "prompt": "After all that", "max_tokens": 4})
        assert status == 200, answer

    gateway = soak.samples.pop(server.process.pid)
    grown = growth_mib(gateway)
    print(f"gateway {gateway[-1]:.1f} MiB, grown {grown:.1f}; workers at most {max(map(max, soak.samples.values())):.1f} MiB")
    assert grown <= GROWTH_MIB, f"the gateway grew by {grown:.1f} MiB"
    for samples in soak.samples.values():
        assert max(samples) <= 1.05 * most_mib, f"a worker took {max(samples):.1f} MiB, at most {most_mib:.1f} were predicted"
        if len(samples) >= 10 * WARM_S:
            assert growth_mib(samples) <= GROWTH_MIB, f"a worker grew: {samples[::10]}"
    assert server.stop() == 0, server.log()[-3000:]
