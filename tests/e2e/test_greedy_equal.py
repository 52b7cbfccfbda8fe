"""Greedy output equals llama-server's, token for token, on 20 prompts: same GGUF and template, one stream, same
threads. And what the exact mode promises, on the same prompts."""
import concurrent.futures
import json
import subprocess
import time
import urllib.request

import pytest
from conftest import CHAT_MODEL, ROOT, SHOAL, STORE

PROMPTS = [
    "What is the capital of France?", "Write a haiku about the sea.", "Explain photosynthesis to a child.",
    "List five animals that live in the ocean.", "Translate 'good morning' into Spanish.", "What is 17 plus 25?",
    "Write a Python function that reverses a string.", "Who wrote Romeo and Juliet?", "Give me a recipe for pancakes.",
    "What causes rain?", "Summarise: the meeting was moved to Tuesday because the room was taken.",
    "Why is the sky blue?", "Name three primary colours.", "Write an email asking for a refund.",
    "What is a prime number?", "Tell me a joke about computers.", "How do I tie a bow tie?",
    "Describe a sunset in one sentence.", "What is the largest planet?", "Give two reasons to learn music.",
]


@pytest.fixture(scope="module")
def llama_server(tmp_path_factory):
    binary = subprocess.run([ROOT / "tools/third_party.py", "path", "llama_server", "--quick"], check=True, capture_output=True,
                            text=True).stdout.strip()
    shown = subprocess.run([SHOAL, "models", "show", CHAT_MODEL, "--json", "--data-dir", STORE], check=True,
                           capture_output=True, text=True).stdout
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("llama") / "log"
    process = subprocess.Popen([binary, "-m", json.loads(shown)["path"], "--port", str(port), "-np", "1", "-t", "2", "-c", "4096",
                                "--jinja"], stdout=log.open("wb"), stderr=subprocess.STDOUT)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
            break
        except OSError:
            time.sleep(0.1)
    yield port
    process.kill()
    process.wait()


def theirs(port, prompt):
    body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 48, "logprobs": True,
            "cache_prompt": False}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=120))


def test_equal_on_twenty_prompts(llama_server, serve, models):
    # A kept prefix and guessed tokens change the order of some sums.
    server = serve("[engine]\nthreads = 2\nprefix_cache = false\nspeculation = false\n")
    different = []
    for prompt in PROMPTS:
        expected = theirs(llama_server, prompt)
        got = server.chat(prompt, max_tokens=48, logprobs=True)
        want = [bytes(t["bytes"]) for t in expected["choices"][0]["logprobs"]["content"] if t["bytes"]]
        have = [bytes(t["bytes"]) for t in got["choices"][0]["logprobs"]["content"] if t["bytes"]]
        if want != have or got["usage"]["prompt_tokens"] != expected["usage"]["prompt_tokens"]:
            different.append((prompt, expected["choices"][0]["message"]["content"], got["choices"][0]["message"]["content"]))
    assert not different, f"{len(different)} of {len(PROMPTS)} differ: {different[:2]}"


def test_in_the_exact_mode_neighbours_and_kept_prefixes_change_no_bit(serve, models):
    def answer(server, prompt):
        got = server.chat(prompt, max_tokens=24, logprobs=True)
        assert got["x_shoal"]["mode"] == "exact"
        return [(t["token"], t["logprob"]) for t in got["choices"][0]["logprobs"]["content"]], got["usage"]

    cold = serve("[engine]\nthreads = 2\nexact = true\nprefix_cache = false\nspeculation = false\n")
    alone = [answer(cold, prompt) for prompt in PROMPTS]
    warm = serve("[engine]\nthreads = 2\nexact = true\n")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda prompt: answer(warm, prompt), PROMPTS))
    assert [tokens for tokens, _ in together] == [tokens for tokens, _ in alone]
    assert all(usage["prompt_tokens_details"]["cached_tokens"] == 0 for _, usage in alone)
    assert sum(usage["prompt_tokens_details"]["cached_tokens"] > 0 for _, usage in together) == len(PROMPTS) - 1
