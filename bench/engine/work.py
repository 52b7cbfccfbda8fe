"""Work that is done or spared: sharing, cancel, idle, signals."""
import json
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import servers
from common import BIN, Serve, computed_ns, request
from load import Plan
from servers import COMPLETION, Llama, Shoal, complete, settle
from stats import SEED, Pairs
from throughput import alternate, ids

PREFIX, SUFFIX = 1500, 20


def bench_sharing(run):
    """16 parallel requests with a common prefix of 1,500 tokens"""
    def measure(side, pairs, rng):
        prefix = ids(rng, PREFIX)
        plan = Plan()
        for n in range(16):
            plan.add(n, COMPLETION, complete(side, prefix + ids(rng, SUFFIX), 8))
        results = plan.run(side.port)
        computed = sum(r.usage()["prompt_tokens"] - side.cached_tokens(r) for r in results)
        pairs.add(side.name, "prompt tokens computed, of unique", computed / (PREFIX + 16 * SUFFIX), "x", higher=False)
        settle(side)
        prefix = ids(rng, PREFIX)  # a new one: cold
        first = []
        for _ in range(2):
            plan = Plan()
            plan.add(0, COMPLETION, complete(side, prefix + ids(rng, SUFFIX), 1))
            first.append(plan.run(side.port)[0].wall_us / 1e3)
        pairs.add(side.name, "first token, cold", first[0], "ms", higher=False)
        pairs.add(side.name, "first token, second request", first[1], "ms", higher=False)
        pairs.add(side.name, "second of cold", first[1] / first[0], "share", higher=False)

    for model in run.models("minimind2-26m", "smollm2-135m"):
        if not keeps_prefixes(model):
            run.note(f"{model.label}: a prefix cache is not supported by this build: the same prompt twice had no cached_tokens")
        sides = Shoal(model, 16, 32768), Llama(model, 16, 32768)
        run.report(model, sides, alternate(run, sides, measure))
    run.note("bars: at most 1.05 x the unique tokens, second at most 0.10 of cold")


def keeps_prefixes(model):
    with Shoal(model, 1, 2048) as side:
        plan = Plan()
        for _ in range(2):
            plan.add(0, COMPLETION, complete(side, ids(random.Random(SEED), 200), 1))
        return side.cached_tokens(plan.run(side.port)[1]) > 0


def sleeps(pid):
    """True when no thread of the process runs or wants to."""
    for stat in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            if stat.read_text().rpartition(")")[2].split()[0] in "RD":
                return False
        except OSError:
            pass  # the thread is gone
    return True


def until_asleep_ms(pid, began, quiet_s=0.01):
    """From `began` until every thread slept, and went on sleeping for `quiet_s`."""
    asleep_at = None
    while True:
        now = time.perf_counter()
        if not sleeps(pid):
            asleep_at = None
        elif asleep_at is None:
            asleep_at = now
        elif now - asleep_at >= quiet_s:
            return (asleep_at - began) * 1e3
        time.sleep(0.0002)  # a loop that spins would take a core from those it measures


def send_raw(side, body):
    data = json.dumps(body).encode()
    sock = socket.create_connection(("127.0.0.1", side.port))
    sock.sendall(f"POST {COMPLETION} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                 f"Content-Length: {len(data)}\r\n\r\n".encode() + data)
    return sock


def until_computing(pid):
    """A thread may sleep for a moment between two steps."""
    end = time.perf_counter() + 10
    while sleeps(pid):
        if time.perf_counter() > end:
            raise RuntimeError("the worker does not compute what it was asked")
        time.sleep(0.0002)


def cancel_once(side, rng, body):
    """Goes away while the server computes; returns how long it computed on."""
    sock = send_raw(side, body)
    until_computing(side.worker_pid)
    time.sleep(0.01 + rng.random() * 0.08)
    until_computing(side.worker_pid)
    began = time.perf_counter()
    sock.close()
    return until_asleep_ms(side.worker_pid, began)


def bench_cancel(run):
    """a client goes away in mid-prefill, and in mid-answer: how long the worker computes on"""
    runs = 50 if run.quick else 500
    for model in run.models("smollm2-135m", "minimind2-26m"):
        rng = random.Random(SEED)
        # A heartbeat would be taken for work that goes on.
        side = Shoal(model, 4, 8192, heartbeat_ms=600000, heartbeat_timeout_ms=600000)
        peer = Llama(model, 4, 32768, flags=("--poll", "0"))  # its threads would spin on after the work
        run.configuration(model, [side, peer])
        for server, count in ((side, runs), (peer, max(10, runs // 25))):
            with server:
                server.worker_pid = server.worker()
                settle(server)
                prefill = [cancel_once(server, rng, complete(server, ids(rng, 7000), 1)) for _ in range(count)]
                answer = [cancel_once(server, rng, complete(server, ids(rng, 8), 2000, stream=True)) for _ in range(max(10, count // 10))]
            run.figure(f"{server.name}: mid-prefill to all threads asleep", prefill, "ms")
            run.figure(f"{server.name}: mid-answer to all threads asleep", answer, "ms")
    run.note("bar: at most 10 ms p99 in mid-prefill")


def bench_idle(run):
    """8 idle workers: their share of a core"""
    [model] = run.models("minimind2-26m")
    seconds = 5 if run.quick else 30
    with tempfile.TemporaryDirectory() as folder:
        for n in range(8):
            shutil.copy(model.path, Path(folder) / f"copy{n}.gguf")
        config = (f'[engine]\nslots = 4\ncontext_length = 4096\nidle_unload_ms = 0\n[models]\nfound = false\ndirs = ["{folder}"]\n')
        server = Serve(config=config)
        for n in range(8):
            status, data = request(server.port, "POST", COMPLETION, {"model": f"copy{n}", "prompt": "Hi", "max_tokens": 2})
            assert status == 200, data
        workers = server.workers()
        assert len(workers) == 8, workers
        time.sleep(1)
        before, began = [computed_ns(pid) for pid in [server.process.pid, *workers]], time.perf_counter()
        time.sleep(seconds)
        after, took = [computed_ns(pid) for pid in [server.process.pid, *workers]], time.perf_counter() - began
        server.stop()
    shares = [100 * (b - a) / 1e9 / took for a, b in zip(before, after)]
    run.note(f"{model.label}, 8 copies; slots = 4, context_length = 4096, idle_unload_ms = 0, over {took:.0f} s")
    run.figure("8 workers together", [sum(shares[1:])], "% of a core")
    run.figure("the gateway", shares[:1], "% of a core")
    run.note("bar: at most 0.5 % for the workers")


def bench_signals(run):
    """the confidence signals of a token, as a share of a decode step"""
    program = BIN / "signals_bench"
    if not program.exists():
        return run.unsupported(f"{program.name} (build it with `ninja -C build/release {program.name}`)")
    for model in run.models("minimind2-26m", "smollm2-135m"):
        subprocess.run([program, model.path, str(servers.threads)], check=True)
    run.note("bar: at most 1 % of a decode step")
