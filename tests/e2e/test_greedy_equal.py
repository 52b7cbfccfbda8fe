"""Greedy output equals llama-server's, token for token, on 20 prompts: same GGUF and template, one stream,
same threads."""
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


def start_llama_server(folder, *more):
    binary = subprocess.run([ROOT / "tools/third_party.py", "path", "llama_server"], check=True, capture_output=True,
                            text=True).stdout.strip()
    shown = subprocess.run([SHOAL, "models", "show", CHAT_MODEL, "--json", "--data-dir", STORE], check=True,
                           capture_output=True, text=True).stdout
    import socket
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "log"
    process = subprocess.Popen([binary, "-m", json.loads(shown)["path"], "--port", str(port), "-np", "1", "-t", "2", "-c", "4096",
                                "--jinja", *more], stdout=log.open("wb"), stderr=subprocess.STDOUT)
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
            break
        except OSError:
            time.sleep(0.1)
    return process, port


def theirs(port, prompt):
    body = {"messages": [{"role": "user", "content": prompt}], "temperature": 0, "max_tokens": 48, "logprobs": True,
            "cache_prompt": False}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    return json.load(urllib.request.urlopen(request, timeout=120))


# In the fast mode a kept prefix changes the order of some sums, so it is compared without. In the exact one it changes
# nothing: every prompt after the first begins with what the first computed.
@pytest.mark.parametrize("config, theirs_is_told, cached", [
    ("prefix_cache = false\nspeculation = false", [], False), ("exact = true", ["-fa", "off"], True)], ids=["fast", "exact"])
def test_equal_on_twenty_prompts(serve, models, tmp_path, config, theirs_is_told, cached):
    process, port = start_llama_server(tmp_path, *theirs_is_told)
    try:
        compare(serve(f"[engine]\nthreads = 2\n{config}\n"), port, cached)
    finally:
        process.kill()
        process.wait()


def compare(server, port, cached):
    different = []
    found = 0
    for prompt in PROMPTS:
        expected = theirs(port, prompt)
        got = server.chat(prompt, max_tokens=48, logprobs=True)
        want = [bytes(t["bytes"]) for t in expected["choices"][0]["logprobs"]["content"] if t["bytes"]]
        have = [bytes(t["bytes"]) for t in got["choices"][0]["logprobs"]["content"] if t["bytes"]]
        if want != have or got["usage"]["prompt_tokens"] != expected["usage"]["prompt_tokens"]:
            different.append((prompt, expected["choices"][0]["message"]["content"], got["choices"][0]["message"]["content"]))
        found += got["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    assert not different, f"{len(different)} of {len(PROMPTS)} differ: {different[:2]}"
    assert found == (len(PROMPTS) - 1 if cached else 0)
