"""Milliseconds: overhead, hop, ttft, stall."""
import statistics
import struct
import subprocess
import tempfile
from pathlib import Path

from common import BIN
from load import Plan
from servers import CHAT, COMPLETION, STREAM, Llama, Shoal, chat, complete, settle
from stats import Pairs, percentile
from throughput import alternate, ids, question


def floor_ms(requests):
    """The rig alone: its client against a server that answers at once."""
    echo = subprocess.Popen([BIN / "load_client", "--echo", "700"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(echo.stdout.readline())
        plan = Plan()
        for _ in range(requests):
            plan.add(0, CHAT, {"messages": [{"role": "user", "content": "x" * 60}]})
        return statistics.median(r.wall_us for r in plan.run(port)) / 1e3
    finally:
        echo.kill()
        echo.wait()


def bench_overhead(run):
    """a chat, and a completion, of one token: wall time at the client less the model's own"""
    requests = 50 if run.quick else 200

    def measure(side, pairs, rng):
        walls = {}
        for kind, path in (("chat", CHAT), ("completion", COMPLETION)):
            plan = Plan()
            for _ in range(requests):
                # Both prompts have about 30 tokens on the 26M model; the chat's go through the template.
                body = chat(side, question(rng), 1) if kind == "chat" else complete(side, question(rng) + " It is far away and old", 1)
                plan.add(0, path, body)
            results = plan.run(side.port)
            walls[kind] = statistics.median(r.wall_us for r in results) / 1e3
            own = statistics.median(r.wall_us / 1e3 - side.model_ms(r.last()) for r in results)
            pairs.add(side.name, f"{kind}, wall", walls[kind], "ms", higher=False)
            pairs.add(side.name, f"{kind}, beyond the model's own time", own, "ms", higher=False)

    for model in run.models("minimind2-26m"):
        sides = Shoal(model, 4, 8192), Llama(model, 4, 8192)
        pairs = alternate(run, sides, measure)
        run.report(model, sides, pairs)
    run.note(f"the rig's own floor, against a server that answers at once: {floor_ms(requests):.3f} ms in each of them")
    run.note("the model's own time is what each server says of it: queue, prefill and decode of ours, prompt and predicted of theirs")
    run.note("bar: at most 0.9 ms for a chat")


def bench_hop(run):
    """from the worker's write of a token to the client's socket, and to the client's read of it"""
    tokens = 100 if run.quick else 400
    with tempfile.TemporaryDirectory() as folder:
        clock = Path(folder) / "clock"
        wrapper = Path(folder) / "shoal-worker"
        wrapper.write_text(f'#!/bin/sh\nLD_PRELOAD="{BIN}/frame_clock.so" SHOAL_FRAME_CLOCK="{clock}" exec "{BIN}/shoal-worker" "$@"\n')
        wrapper.chmod(0o755)
        for model in run.models("minimind2-26m", "smollm2-135m"):
            # A heartbeat is a token frame of nobody.
            side = Shoal(model, 16, 16384, worker_path=str(wrapper), heartbeat_ms=600000, heartbeat_timeout_ms=600000)
            run.configuration(model, [side])
            for streams in (1, 4, 16):
                clock.unlink(missing_ok=True)
                with side:
                    settle(side)
                    for more in {}, {"logprobs": 0}:
                        sent, arrived, read = timed_tokens(side, clock, streams, tokens, more)
                        if len(read) == len(sent):
                            break
                if len(read) != len(sent):
                    run.note(f"{streams} streams: {len(sent)} frames but {len(read)} events; not comparable")
                    continue
                # In order of time: with several streams the k-th frame is the k-th event but for swaps within a step.
                for where, came in ("socket", arrived), ("read", read):
                    hops = [at - ns / 1e3 for at, ns in zip(came, sorted(sent))]
                    run.figure(f"{streams} streams, to the client's {where}{', with logprobs' if more else ''}", hops, "us")
            # Where the model lies in memory does not matter, how much of it passes through the caches does.
            wakes = subprocess.run([BIN / "load_client", "--wake", "1000", str(model.path.stat().st_size >> 20)], check=True,
                                   stdout=subprocess.PIPE, text=True).stdout
            run.figure("waking a process, after so much memory was read", [float(line) for line in wakes.split()], "us")
    run.note("a token takes one of those to the socket, where the gateway is woken, and one more to the client's read")
    run.note("a token of half a character has an event of its own only with logprobs, so they are asked for where there is one")
    run.note("bar: at most 40 us for each token, to the socket. The clock is read in the worker's write(), by a preloaded library,")
    run.note("and by the kernel when the bytes come to the client's socket (SO_TIMESTAMPNS); worker, sandbox, gateway and client are real")


def timed_tokens(side, clock, streams, tokens, more):
    """When the worker wrote each token, when its event came to the client's socket, and when the client had read it."""
    before = len(frame_times(clock))
    plan = Plan()
    for n in range(streams):
        plan.add(n, COMPLETION, complete(side, f"Story {n}. Once upon a time there was", tokens, **more, **STREAM))
    results = plan.run(side.port, arrivals=True)
    def carriers(r):
        if not more:
            return r.token_times()
        return [at for at, event in r.chunks if event.get("choices") and event["choices"][0].get("logprobs")]
    read = sorted(at for r in results for at in carriers(r))
    arrived = sorted(r.arrivals[at] for r in results for at in carriers(r))
    return frame_times(clock)[before:], arrived, read


def frame_times(clock):
    data = clock.read_bytes()
    count = struct.unpack_from("<Q", data)[0]
    return list(struct.unpack_from(f"<{count}q", data, 8))


def bench_ttft(run):
    """time to first token, warm, of a prompt of 50 tokens"""
    def measure(side, pairs, rng):
        plan = Plan()
        for _ in range(5 if run.quick else 20):
            plan.add(0, COMPLETION, complete(side, ids(rng, 50), 2, **STREAM))
        times = [((r.token_times() or [r.end_us])[0] - r.sent_us) / 1e3 for r in plan.run(side.port)]
        pairs.add(side.name, "first token, median", statistics.median(times), "ms", higher=False)
        pairs.add(side.name, "first token, slowest", max(times), "ms", higher=False)

    for model in run.models("minimind2-26m", "smollm2-135m", "tinyllama-1.1b"):
        sides = Shoal(model, 4, 8192), Llama(model, 4, 8192)
        run.report(model, sides, alternate(run, sides, measure))
    run.note("bar: SmolLM2 at most 150 ms")


def bench_stall(run):
    """a prompt of 8,000 tokens that arrives beside 4 decoding streams"""
    prompt = 8000

    def measure(side, pairs, rng):
        plan = Plan()
        plan.add(0, COMPLETION, complete(side, ids(rng, prompt), 1, **STREAM))
        [alone] = plan.run(side.port)
        settle(side)
        plan = Plan()
        for n in range(4):
            plan.add(n, CHAT, chat(side, question(rng), 2500, **STREAM))
        plan.add(4, COMPLETION, complete(side, ids(rng, prompt), 1, **STREAM), after_events=200, final=True)
        *streams, long = plan.run(side.port, may_fail=True)
        if long.status != 200 or long.outcome != "ok":
            raise RuntimeError(f"the long prompt failed: {long.status} {long.outcome} {long.answer}")
        before, gaps = [], []
        for r in streams:
            times = r.token_times()
            for a, b in zip(times, times[1:]):
                (before if b < long.sent_us else gaps).append((b - a) / 1e3)
            gaps.append((long.end_us - times[-1]) / 1e3)
        pairs.add(side.name, "worst gap between tokens", max(gaps), "ms", higher=False)
        pairs.add(side.name, "median gap meanwhile", statistics.median(gaps), "ms", higher=False)
        pairs.add(side.name, "median gap before", statistics.median(before), "ms", higher=False)
        pairs.add(side.name, "first token of the long prompt", long.wall_us / 1e3, "ms", higher=False)
        pairs.add(side.name, "prefill beside the four, of alone", alone.wall_us / long.wall_us, "share")

    for model in run.models("minimind2-26m"):
        # One cache for all, so that the long prompt fits beside the others.
        sides = Shoal(model, 5, 24576), Llama(model, 5, 24576, unified=True)
        run.report(model, sides, alternate(run, sides, measure))
    run.note("bars: worst gap at most 60 ms, prefill at least 0.85 of alone")
