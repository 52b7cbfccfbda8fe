"""Requests of several principals, interleaved, each with a number of its own that the model repeats: nobody sees the
number of another. 1,000 requests; SHOAL_INTERLEAVED_REQUESTS says how many. Where the build has the exact mode, a
sample is asked again, alone, and answers the same."""
import collections
import concurrent.futures
import http.client
import json
import os
import random
import re
import socket
import subprocess
import threading

import pytest
from conftest import SHOAL, WEIGHTS

MODEL = "minimind2-small-26m-q4_0"
REQUESTS = int(os.environ.get("SHOAL_INTERLEAVED_REQUESTS", "1000"))
SEED = int(os.environ.get("SHOAL_TEST_SEED", "20261121"))
KEYS = [f"interleaved-key-of-principal-{n}" for n in range(5)]
CLIENTS = 24
DIGITS = 8
# Shared between requests and principals, so that prefixes are the same where they may be shared and where they may not.
SYSTEMS = [None, "你是一个复读机，只重复用户给出的数字。",
           "你是一位图书馆管理员，每天早上整理书架，下午回答读者的问题，晚上把编号记在本子上。用户给出编号时，请原样重复。"]


@pytest.fixture
def exact():
    """Whether this build promises that an answer does not depend on its neighbours."""
    return subprocess.run([SHOAL, "config", "explain", "engine.exact"], capture_output=True).returncode == 0


@pytest.fixture
def start(serve, tmp_path, exact):
    if not (WEIGHTS / f"{MODEL}.gguf").exists():
        pytest.skip(f"no test weights at {WEIGHTS}")
    keys = tmp_path / "keys"
    keys.write_text("\n".join(KEYS) + "\n")
    keys.chmod(0o600)
    return lambda: serve(f'[server]\napi_keys_file = "{keys}"\n[models]\nfound = false\ndirs = ["{WEIGHTS}"]\n[engine]\n'
                         f'default_model = "{MODEL}"\nslots = 16\ncontext_length = 8192\n'
                         # One thread: with more, each of some hundred barriers of a step waits for a core that others
                         # may use.
                         "threads = 1\n" + ("exact = true\n" if exact else ""))


class Request:
    def __init__(self, rng, number, nonce):
        self.number, self.nonce = number, nonce
        self.key, self.system = rng.choice(KEYS), rng.choice(SYSTEMS)
        self.stream = rng.random() < 0.3
        self.cancelled = self.stream and rng.random() < 0.2
        self.max_tokens = rng.randint(16, 28)

    def body(self):
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": f"请重复：{self.nonce}。{self.nonce}"})
        return {"messages": messages, "max_tokens": self.max_tokens, "temperature": 0, "stream": self.stream}


local = threading.local()


def ask(port, request):
    """The text of the answer; what had come of it when the client went away."""
    if not hasattr(local, "connection") or local.connection.port != port:
        local.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        local.connection.connect()
        local.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = local.connection
    connection.request("POST", "/v1/chat/completions", json.dumps(request.body()),
                       {"Content-Type": "application/json", "Authorization": f"Bearer {request.key}"})
    response = connection.getresponse()
    if not request.stream:
        answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer["choices"][0]["message"]["content"]
    assert response.status == 200, response.read()
    text = ""
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        assert "error" not in event, event
        text += event["choices"][0]["delta"].get("content") or ""
        if request.cancelled and len(text) > request.number % 12:
            connection.close()
            del local.connection
            return text
    return text


def foreign(text, own, nonces):
    """Numbers of other requests in the text."""
    windows = (run[i:i + DIGITS] for run in re.findall(r"\d+", text) for i in range(len(run) - DIGITS + 1))
    return [w for w in windows if w != own and w in nonces]


def test_no_answer_holds_what_another_request_said(start, exact):
    server = start()
    rng = random.Random(SEED)
    print("seed", SEED, "requests", REQUESTS, "exact", exact)
    numbers = rng.sample(range(10 ** (DIGITS - 1), 10 ** DIGITS), REQUESTS)
    requests = [Request(rng, i, str(number)) for i, number in enumerate(numbers)]
    nonces = {r.nonce for r in requests}
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        texts = list(pool.map(lambda r: ask(server.port, r), requests))

    wrong = [(r, text) for r, text in zip(requests, texts) if foreign(text, r.nonce, nonces)]
    if exact and wrong:
        # Of many numbers the model makes one up by mixing the digits of its own. Then it does so in a server, too, that
        # has never seen another request; a cancelled answer is the beginning of that.
        cold = start()
        print("asked again in a server that is cold:", [(r.nonce, text) for r, text in wrong])
        for r, _ in wrong:
            r.stream = False
        wrong = [(r, text) for r, text in wrong if not ask(cold.port, r).startswith(text)]
    wrong = [(r.number, r.nonce, text) for r, text in wrong]
    assert not wrong, f"{len(wrong)} answers hold the number of another request: {wrong[:5]}"
    # The test can only see what the model repeats.
    complete = [(r, text) for r, text in zip(requests, texts) if not r.cancelled]
    repeated = sum(r.nonce in text for r, text in complete)
    print(collections.Counter("cancelled" if r.cancelled else "complete" for r in requests), "repeated", repeated)
    assert repeated >= 0.7 * len(complete), f"the model repeated only {repeated} of {len(complete)} numbers"

    if exact:
        for r, text in rng.sample(complete, min(100, len(complete))):
            alone = ask(server.port, r)
            assert alone == text, f"request {r.number}, alone: {alone!r}; among others: {text!r}"
