"""Tokens per second: streams, mixed, single, exact, optimise."""
import json
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import servers
from common import SHOAL, model_path, third_party
from load import Plan, decode_rate, wall_s
from servers import CHAT, COMPLETION, STREAM, Llama, Model, Shoal, chat, complete, knows, settle
from stats import SEED, Pairs

ENDINGS = ["the sea", "a mountain village", "how bread is made", "the history of maps", "a walk in the rain", "old clocks"]


def ids(rng, count):
    """A prompt of exactly that many tokens, unlike every other; past the control tokens of each vocabulary here."""
    return [rng.randrange(300, 6000) for _ in range(count)]


def question(rng):
    """A short question that no other prompt begins like."""
    return f"{rng.randrange(10**6)}: tell me about {rng.choice(ENDINGS)}."


def ask_chats(side, rng, streams, tokens, each=1, **more):
    plan = Plan()
    for n in range(streams * each):
        plan.add(n % streams, CHAT, chat(side, question(rng), tokens, **more))
    return plan.run(side.port)


def ask_prompts(side, rng, streams, prompt_tokens):
    plan = Plan()
    for n in range(streams):
        plan.add(n, COMPLETION, complete(side, ids(rng, prompt_tokens), 1))
    return plan.run(side.port)


# What else runs on a shared machine changes within seconds, so a pair has rounds, in turns, while they are short.
ROUNDS, ROUNDS_S = 3, 25


def alternate(run, sides, measure):
    """`measure(side, pairs, rng)` in fresh servers for every pair. Both are up; in turns one of them works. The pair's
    figures are the medians of its rounds."""
    pairs = Pairs(sides[0].name, sides[1].name)
    for pair in range(run.pairs):
        rounds = Pairs(sides[0].name, sides[1].name)
        with sides[0], sides[1]:
            end = time.monotonic() + ROUNDS_S
            for n in range(ROUNDS):
                for side in sides if (pair + n) % 2 == 0 else reversed(sides):
                    for each in sides:
                        settle(each)
                    measure(side, rounds, random.Random(SEED + pair * ROUNDS + n))
                if time.monotonic() > end:
                    break
        pairs.add_medians(rounds)
    return pairs


def completion_tokens(results):
    return sum(r.usage()["completion_tokens"] for r in results)


def bench_streams(run):
    """chats of 32 tokens, decoding and prefill at 1, 4 and 16 streams"""
    def measure(side, pairs, rng):
        each = 4 if side.model.label == "minimind2-26m" else 1
        for streams in (1, 4, 16):
            bar = 0.97 if streams < 16 else None
            results = ask_chats(side, rng, streams, 32, each)
            pairs.add(side.name, f"chats of 32, {streams} streams", completion_tokens(results) / wall_s(results), "tokens/s")
            results = ask_chats(side, rng, streams, 96 if each > 1 else 48, **STREAM)
            pairs.add(side.name, f"decode, {streams} streams", decode_rate(results), "tokens/s", bar=bar)
            results = ask_prompts(side, rng, streams, 256)
            pairs.add(side.name, f"prefill of 256, {streams} streams", streams * 256 / wall_s(results), "tokens/s", bar=bar)

    for model in run.models("minimind2-26m", "smollm2-135m", "tinyllama-1.1b"):
        sides = Shoal(model, 16, 16384), Llama(model, 16, 16384)
        run.report(model, sides, alternate(run, sides, measure))


def bench_mixed(run):
    """16 streams, prompts of 20 to 600 tokens, answers of 16 to 96, all different"""
    def measure(side, pairs, rng):
        plan = Plan()
        for n in range(64 if side.model.label == "minimind2-26m" else 32):
            plan.add(n % 16, COMPLETION, complete(side, ids(rng, rng.randint(20, 600)), rng.randint(16, 96)))
        results = plan.run(side.port)
        prompts = sum(r.usage()["prompt_tokens"] for r in results)
        pairs.add(side.name, "answers", completion_tokens(results) / wall_s(results), "tokens/s", bar=1.15)
        pairs.add(side.name, "prompts and answers", (prompts + completion_tokens(results)) / wall_s(results), "tokens/s")
        pairs.add(side.name, "all done after", wall_s(results), "s", higher=False)

    for model in run.models("minimind2-26m", "smollm2-135m"):
        sides = Shoal(model, 16, 16384), Llama(model, 16, 16384)
        run.report(model, sides, alternate(run, sides, measure))


def ask_answer(side, rng, tokens):
    plan = Plan()
    plan.add(0, COMPLETION, complete(side, ids(rng, 1), tokens))
    return plan.run(side.port)[0]


class LlamaBench:
    name = "llama-bench"

    def __init__(self, model, prompt, answer):
        self.model = model
        self.flags = ["-p", str(prompt), "-n", str(answer), "-t", str(servers.threads), "-r", "1", "-fa", "1", "-o", "json"]
        self.configuration = " ".join(self.flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    @staticmethod
    def worker():
        return None  # each call is a process of its own

    def rates(self):
        """(prefill, decode) in tokens per second."""
        program = third_party("llama_bench") / "llama-bench"
        out = subprocess.run([program, "-m", self.model.path, *self.flags], check=True, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, env={**os.environ, "LD_LIBRARY_PATH": str(program.parent)}).stdout
        rows = {row["n_prompt"] > 0: row["avg_ts"] for row in json.loads(out)}
        return rows[True], rows[False]


def bench_single(run):
    """a single stream, through the whole server, beside llama-bench"""
    prompt, answer = 512, 128

    def measure(side, pairs, rng):
        if side.name == "llama-bench":
            prefill, decode = side.rates()
        else:
            # The difference of two: what a request costs beyond the prompt or the answer is measured by `overhead`.
            short, long = (min(ask_prompts(side, rng, 1, n)[0].wall_us for _ in range(3)) for n in (8, prompt + 8))
            prefill = prompt / ((long - short) / 1e6)
            # Whole: what a client takes to read a stream it takes from the cores that compute.
            few, many = (statistics.median(ask_answer(side, rng, n).wall_us for _ in range(3)) for n in (8, answer + 8))
            decode = answer / ((many - few) / 1e6)
            plan = Plan()
            plan.add(0, COMPLETION, complete(side, ids(rng, 1), answer, **STREAM))
            pairs.add(side.name, f"decode of {answer}, streamed to a client on these cores", decode_rate(plan.run(side.port)), "tokens/s")
        pairs.add(side.name, f"prefill of {prompt}", prefill, "tokens/s", bar=0.97)
        pairs.add(side.name, f"decode of {answer}", decode, "tokens/s", bar=0.97)

    for model in run.models("minimind2-26m", "smollm2-135m", "tinyllama-1.1b"):
        # llama-bench guesses nothing.
        sides = Shoal(model, 1, 2048, speculation=False), LlamaBench(model, prompt, answer)
        run.report(model, sides, alternate(run, sides, measure))


def bench_exact(run):
    """what the exact mode costs beside the fast one"""
    if not knows("config", "explain", "engine.exact"):
        return run.unsupported("engine.exact")

    def measure(side, pairs, rng):
        for streams in (1, 4, 16):
            results = ask_chats(side, rng, streams, 64, **STREAM)
            pairs.add(side.name, f"decode, {streams} streams", decode_rate(results), "tokens/s")
        for prompt in (256, 1000):
            results = ask_prompts(side, rng, 1, prompt)
            pairs.add(side.name, f"prefill of {prompt}, 1 stream", prompt / wall_s(results), "tokens/s")

    for model in run.models("minimind2-26m", "smollm2-135m"):
        sides = Shoal(model, 16, 32768, exact=True), Shoal(model, 16, 32768)
        sides[0].name, sides[1].name = "exact", "fast"
        run.report(model, sides, alternate(run, sides, measure))


def bench_optimise(run):
    """SmolLM2 as it is shipped, and rewritten by `shoal models optimise`"""
    if not knows("models", "optimise", "--help"):
        return run.unsupported("shoal models optimise")
    [model] = run.models("smollm2-135m")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(model.store / "models", Path(folder) / "models")
        subprocess.run([SHOAL, "models", "optimise", model.name, "--data-dir", folder, *run.optimise_flags], check=True)
        rewritten = Model("smollm2-135m, optimised", model.name, model_path(model.name, folder), folder)
        sides = Shoal(rewritten, 16, 16384), Shoal(model, 16, 16384)
        sides[0].name, sides[1].name = "optimised", "as shipped"

        def measure(side, pairs, rng):
            for streams in (1, 16):
                results = ask_chats(side, rng, streams, 32)
                pairs.add(side.name, f"chats of 32, {streams} streams", completion_tokens(results) / wall_s(results), "tokens/s",
                          bar=2 if streams == 16 else None)
                results = ask_chats(side, rng, streams, 48, **STREAM)
                pairs.add(side.name, f"decode, {streams} streams", decode_rate(results), "tokens/s")
            results = ask_prompts(side, rng, 1, 512)
            pairs.add(side.name, "prefill of 512", 512 / wall_s(results), "tokens/s")

        run.report(model, sides, alternate(run, sides, measure))
