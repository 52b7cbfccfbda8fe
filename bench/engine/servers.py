"""The two servers that are compared, each behind the same few methods; what differs between them is all here."""
import atexit
import os
import subprocess
import tempfile
import time
from pathlib import Path

from common import CACHE, SHOAL, STORE, WEIGHTS, Serve, computed_ns, free_port, model_path, third_party, until_healthy
from load import Plan

BENCH_STORE = CACHE / "bench-store"  # what `--pull` fetches; the tests' store stays as they know it
threads = os.cpu_count()  # of both servers; set by the command line


class Model:
    def __init__(self, label, name, path, store=STORE):
        self.label, self.name, self.path, self.store = label, name, path, store


def find_model(label, pull=False):
    """The model of that name, or None when it is not on this machine."""
    if label == "minimind2-26m":
        path = WEIGHTS / "minimind2-small-26m-q4_0.gguf"
        return Model(label, path.stem, path) if path.exists() else None
    name = {"smollm2-135m": "smollm2-135m-instruct", "tinyllama-1.1b": "tinyllama-1.1b-chat"}[label]
    for store in (STORE, BENCH_STORE):
        if path := model_path(name, store):
            return Model(label, name, path, store)
    if pull:
        # As it is shipped: what `optimise` makes of it is another benchmark.
        subprocess.run([SHOAL, "pull", name, "--data-dir", BENCH_STORE], check=True,
                       env={**os.environ, "SHOAL_MODELS__OPTIMISE": "off"})
        return find_model(label)
    return None


def knows(*command):
    """True when this build has that configuration key or that command."""
    return subprocess.run([SHOAL, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Shoal:
    name = "shoal"

    def __init__(self, model, slots=16, context=16384, data_dir=None, log_level="info", **engine):
        self.model = model
        self.data_dir = data_dir or model.store
        settings = {"slots": slots, "context_length": context, "threads": threads, **engine}
        toml = lambda value: str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, (str, Path)) else value
        lines = [f"{key} = {toml(value)}" for key, value in settings.items()]
        self.configuration = "[engine] " + ", ".join(lines)
        self.config = "\n".join(["[engine]", f'default_model = "{model.name}"', *lines, "[models]", "found = false",
                                 f'dirs = ["{model.path.parent}"]' if model.path.suffix == ".gguf" else "", ""])

    def __enter__(self):
        self.server = Serve(config=self.config, data_dir=self.data_dir)
        self.port = self.server.port
        warm(self)
        return self

    def __exit__(self, *_):
        self.server.stop()

    def worker(self):
        [pid] = self.server.workers()
        return pid

    @staticmethod
    def model_ms(last):
        own = last["x_shoal"]
        return own["queue_ms"] + own["prefill_ms"] + own["decode_ms"]

    @staticmethod
    def cached_tokens(result):
        return result.usage()["prompt_tokens_details"]["cached_tokens"]


class Llama:
    name = "llama-server"
    binary = None  # set by the command line

    def __init__(self, model, slots=16, context=16384, unified=False, flags=()):
        self.model = model
        arguments = ["-np", str(slots), "-c", str(context), "-t", str(threads), *(["--kv-unified"] if unified else []), *flags]
        self.configuration = " ".join(arguments)
        self.arguments = arguments

    def __enter__(self):
        if Llama.binary is None:
            Llama.binary = third_party("llama_server")
        self.log = tempfile.NamedTemporaryFile(suffix=".log")
        self.port = free_port()
        # The libraries beside it, whatever path it was linked with.
        environment = {**os.environ, "LD_LIBRARY_PATH": str(Llama.binary.parent)}
        self.process = subprocess.Popen([Llama.binary, "-m", self.model.path, "--port", str(self.port), *self.arguments],
                                        stdout=self.log, stderr=subprocess.STDOUT, env=environment)
        atexit.register(self.process.kill)
        until_healthy(self.process, self.port, "/health", Path(self.log.name))
        warm(self)
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def worker(self):
        return self.process.pid

    @staticmethod
    def model_ms(last):
        return last["timings"]["prompt_ms"] + last["timings"]["predicted_ms"]

    @staticmethod
    def cached_tokens(result):
        return result.last()["timings"]["cache_n"]


def chat(side, text, tokens, **more):
    return {"model": side.model.name, "messages": [{"role": "user", "content": text}], "max_tokens": tokens,
            "temperature": 0, "ignore_eos": True, **more}


def complete(side, prompt, tokens, **more):
    return {"model": side.model.name, "prompt": prompt, "max_tokens": tokens, "temperature": 0, "ignore_eos": True, **more}


CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
STREAM = {"stream": True, "stream_options": {"include_usage": True}}


def warm(side):
    """Loads the model and touches what the first request would."""
    for path, body in ((CHAT, chat(side, "Hello.", 8)), (COMPLETION, complete(side, [300] * 200, 2))):
        plan = Plan()
        plan.add(0, path, body)
        plan.run(side.port)


def settle(side, quiet_s=0.05, at_most_s=2.0):
    """Waits until the server computes nothing: idle threads of llama-server spin on for a while after each graph."""
    if side.worker() is None:
        return
    end = time.monotonic() + at_most_s
    before = computed_ns(side.worker())
    while time.monotonic() < end:
        time.sleep(quiet_s)
        if (now := computed_ns(side.worker())) - before < 1_000_000:
            return
        before = now
