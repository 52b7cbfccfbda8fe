"""What a worker was predicted to need before it was loaded, and what it takes; caches of other types than f16."""
import concurrent.futures
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from conftest import CHAT_MODEL, EMBED_MODEL, PRESET, SHOAL, WEIGHTS

pytestmark = pytest.mark.skipif(PRESET not in ("release", "dev"), reason="sanitizers need memory of their own")

MIB = 2**20
# Of the prediction, and for models of a few MiB, whose worker is mostly the process itself.
MARGIN, FLOOR_MIB = 0.05, 2.0


def worker(server, model):
    """The row of the model in `shoal ps --json`."""
    out = subprocess.run([SHOAL, "ps", "--json"], env={**os.environ, "XDG_RUNTIME_DIR": str(server.tmp)}, check=True,
                         capture_output=True, text=True).stdout
    [row] = [row for row in json.loads(out)["workers"] if row["model"] == model]
    return row


def status_mib(pid, field):
    return int(re.search(rf"{field}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def send(server, path, body):
    status, _, answer = server.post(path, body, timeout=600)  # a machine that is busy is slow
    assert status == 200, answer
    return answer


def fill(server, model, context, slots):
    """Takes every cell of the cache: as many sequences side by side as there are slots."""
    each, answer = context // slots, context // slots // 8
    bodies = [{"model": model, "prompt": [3 + (7 * i + slot) % 200 for i in range(each - answer)], "max_tokens": answer,
               "temperature": 0, "ignore_eos": True} for slot in range(slots)]
    with concurrent.futures.ThreadPoolExecutor(slots) as pool:
        list(pool.map(lambda body: send(server, "/v1/completions", body), bodies))


def start(serve, context, slots, ubatch, kv_type="f16", exact=False):
    return serve(f"[engine]\ncontext_length = {context}\nslots = {slots}\nubatch = {ubatch}\nkv_type = \"{kv_type}\"\n"
                 f"prefix_cache_mib = 0\nexact = {str(exact).lower()}\n"
                 f"[models]\ndirs = [{json.dumps(str(WEIGHTS))}]\n")


def assert_predicted(row, peak_mib):
    predicted = row["predicted_bytes"] / MIB
    assert abs(peak_mib - predicted) <= max(MARGIN * predicted, FLOOR_MIB), f"peak {peak_mib:.1f}, predicted {predicted:.1f} MiB"


# Steps of 128 tokens: on a machine that is busy, the worker cuts prompts into chunks that are smaller than larger ones,
# and does not come to take what it may. ggml's numbers for steps of up to 2048 are in the unit tests.
@pytest.mark.parametrize("model, context, slots, ubatch, kv_type", [
    (CHAT_MODEL, 512, 4, 128, "f16"),
    (CHAT_MODEL, 2048, 1, 128, "f16"),
    (CHAT_MODEL, 2048, 4, 128, "q8_0"),
    (CHAT_MODEL, 2048, 4, 128, "q4_0"),
    ("minimind2-small-26m-q4_0", 8192, 4, 128, "f16"),
    ("minimind2-small-26m-q4_0", 8192, 4, 128, "q8_0"),
    ("minimind2-small-26m-q4_0", 512, 4, 128, "q4_0"),
    ("stories15M-q4_0", 512, 4, 128, "f16"),
    ("stories260K-f32", 512, 4, 128, "f16"),
])
def test_the_peak_of_a_full_cache_is_predicted(serve, models, model, context, slots, ubatch, kv_type):
    if model != CHAT_MODEL and not (WEIGHTS / f"{model}.gguf").exists():
        pytest.skip(f"no test weights at {WEIGHTS}")
    server = start(serve, context, slots, ubatch, kv_type)
    fill(server, model, context, slots)
    row = worker(server, model)
    assert row["kv_type"] == kv_type
    assert_predicted(row, status_mib(row["pid"], "VmHWM"))


@pytest.mark.parametrize("model", [EMBED_MODEL, "all-MiniLM-L6-v2-q8_0"])
def test_the_peak_of_an_embedder_is_predicted(serve, models, model):
    if model != EMBED_MODEL and not (WEIGHTS / f"{model}.gguf").exists():
        pytest.skip(f"no test weights at {WEIGHTS}")
    server = start(serve, 512, 4, 128)
    send(server, "/v1/embeddings", {"model": model, "input": ["word " * 510] * 4})
    row = worker(server, model)
    assert row["kv_type"] == ""
    assert_predicted(row, status_mib(row["pid"], "VmHWM"))


def test_the_peak_of_the_exact_mode_is_predicted(serve, models):
    server = start(serve, 2048, 4, 128, exact=True)
    fill(server, CHAT_MODEL, 2048, 4)
    row = worker(server, CHAT_MODEL)
    assert_predicted(row, status_mib(row["pid"], "VmHWM"))


def test_a_quantised_cache_is_smaller_and_answers_the_same(serve, models):
    """q8_0 is next to lossless; q4_0 may change words, and must still write the same kind of text."""
    prompts = ["The capital of France is", "Water boils at", "Once upon a time, there was a little", "1, 2, 3, 4,"]
    answers, full = {}, {}
    for kv_type in ("f16", "q8_0", "q4_0"):
        server = start(serve, 2048, 4, 128, kv_type)
        answers[kv_type] = [server.complete(prompt, max_tokens=24, logprobs=0)["choices"][0]["logprobs"]["tokens"] for prompt in prompts]
        pid = worker(server, CHAT_MODEL)["pid"]
        before = status_mib(pid, "RssAnon")
        fill(server, CHAT_MODEL, 2048, 4)
        full[kv_type] = status_mib(pid, "RssAnon") - before
        server.stop()
    # 30 layers, 3 heads of 64, keys and values: 11,520 numbers for each of 2,048 cells.
    numbers = 2048 * 11_520 / MIB
    for kv_type, bytes_each in (("q8_0", 34 / 32), ("q4_0", 18 / 32)):
        assert full["f16"] - full[kv_type] == pytest.approx(numbers * (2 - bytes_each), rel=0.15), full
    same = {kv_type: sum(a == b for mine, exact in zip(answers[kv_type], answers["f16"]) for a, b in zip(mine, exact)) /
            sum(map(len, answers["f16"])) for kv_type in ("q8_0", "q4_0")}
    print(same, full)
    assert same["q8_0"] >= 0.75, (same, answers)
    assert [tokens[0] for tokens in answers["q4_0"]] == [tokens[0] for tokens in answers["f16"]], answers


def test_heads_that_no_block_divides_keep_f16_and_it_is_said(serve, models):
    """The heads of stories260K are 8 wide; a block of q8_0 has 32 values."""
    if not (WEIGHTS / "stories260K-f32.gguf").exists():
        pytest.skip(f"no test weights at {WEIGHTS}")
    server = start(serve, 512, 4, 128, "q8_0")
    send(server, "/v1/completions", {"model": "stories260K-f32", "prompt": "Once", "max_tokens": 4})
    assert worker(server, "stories260K-f32")["kv_type"] == "f16"
    assert "the KV cache stays f16" in server.log()


def test_an_unknown_cache_type_is_refused_with_those_there_are(serve):
    server = serve('[engine]\nkv_type = "q5_1"\n', wait=False)
    assert server.process.wait(20) == 3
    assert 'one of "f16", "q8_0", "q4_0"' in server.log()
