"""Models whose state cannot be cut anywhere: a recurrent one (Mamba) and one with a sliding window (Gemma 2). Both are
made here, small and of random weights, because what is tested is the bookkeeping. No prefix may be kept, the log says
so, and an answer is the same alone, again, beside others and beside others that go away."""
import json
import socket
import threading
import time

import gguf
import numpy as np
import pytest
from conftest import WEIGHTS, Server

pytestmark = pytest.mark.usefixtures("stories")
EMBEDDING, LAYERS, HEADS, WINDOW = 64, 3, 4, 32


def begin(path, architecture):
    """A writer with the vocabulary of the stories."""
    reader = gguf.GGUFReader(WEIGHTS / "stories260K-f32.gguf")
    writer = gguf.GGUFWriter(path, architecture)
    for field in reader.fields.values():
        if field.name.startswith("tokenizer."):
            kind = field.types[0]
            writer.add_key_value(field.name, field.contents(), kind, sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_context_length(4096)
    writer.add_embedding_length(EMBEDDING)
    writer.add_block_count(LAYERS)
    writer.add_layer_norm_rms_eps(1e-5)
    return writer, len(reader.fields["tokenizer.ggml.tokens"].contents())


def end(writer, tensors):
    rng = np.random.default_rng(20261121)
    for name, shape in tensors.items():
        if name.endswith("norm.weight"):
            values = np.ones(shape)
        elif name.endswith("ssm_a"):
            values = -np.tile(np.arange(1, shape[1] + 1), (shape[0], 1))  # as a new Mamba has it
        else:
            # Small embeddings, else the last token, which they also predict, outweighs all that is computed.
            values = rng.normal(0, 0.02 if name.startswith("token_embd") else 0.3, shape)
        writer.add_tensor(name, values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def mamba(path):
    inner, state, rank, kernel = 2 * EMBEDDING, 8, 4, 4
    writer, vocabulary = begin(path, "mamba")
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_ssm_conv_kernel(kernel)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    tensors = {"token_embd.weight": (vocabulary, EMBEDDING), "output_norm.weight": (EMBEDDING,)}
    for n in range(LAYERS):
        tensors |= {f"blk.{n}.{name}": shape for name, shape in {
            "attn_norm.weight": (EMBEDDING,), "ssm_in.weight": (2 * inner, EMBEDDING), "ssm_conv1d.weight": (inner, kernel),
            "ssm_conv1d.bias": (inner,), "ssm_x.weight": (rank + 2 * state, inner), "ssm_dt.weight": (inner, rank),
            "ssm_dt.bias": (inner,), "ssm_a": (inner, state), "ssm_d": (inner,), "ssm_out.weight": (EMBEDDING, inner)}.items()}
    end(writer, tensors)


def gemma2(path):
    head, feed_forward = EMBEDDING // HEADS, 128
    writer, vocabulary = begin(path, "gemma2")
    writer.add_feed_forward_length(feed_forward)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_sliding_window(WINDOW)
    tensors = {"token_embd.weight": (vocabulary, EMBEDDING), "output_norm.weight": (EMBEDDING,)}
    for n in range(LAYERS):
        tensors |= {f"blk.{n}.{name}": shape for name, shape in {
            "attn_norm.weight": (EMBEDDING,), "attn_q.weight": (EMBEDDING, EMBEDDING), "attn_k.weight": (EMBEDDING // 2, EMBEDDING),
            "attn_v.weight": (EMBEDDING // 2, EMBEDDING), "attn_output.weight": (EMBEDDING, EMBEDDING),
            "post_attention_norm.weight": (EMBEDDING,), "ffn_norm.weight": (EMBEDDING,), "ffn_gate.weight": (feed_forward, EMBEDDING),
            "ffn_up.weight": (feed_forward, EMBEDDING), "ffn_down.weight": (EMBEDDING, feed_forward),
            "post_ffw_norm.weight": (EMBEDDING,)}.items()}
    end(writer, tensors)


MODELS = {"tiny-mamba": mamba, "tiny-gemma2": gemma2}


@pytest.fixture(scope="module", params=[False, True], ids=["fast", "exact"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("states")
    for name, make in MODELS.items():
        make(folder / f"{name}.gguf")
    running = Server(f'[engine]\nslots = 4\ncontext_length = 8192\nexact = {str(request.param).lower()}\n'
                     f'[models]\nfound = false\ndirs = ["{folder}"]\n', tmp=folder)
    yield running
    running.stop()


def prompt(n, tokens=300):
    rng = np.random.default_rng(n)
    return [int(t) for t in rng.integers(260, 500, tokens)]


def ask(server, model, ids, **more):
    body = {"model": model, "prompt": ids, "max_tokens": 24, "temperature": 0, "ignore_eos": True, "logprobs": 0, **more}
    status, _, answer = server.post("/v1/completions", body)
    assert status == 200, answer
    return answer


def tokens(answer, choice=0):
    return answer["choices"][choice]["logprobs"]["tokens"]


def text_of(server, model, token):
    status, _, answer = server.post("/v1/detokenize", {"model": model, "tokens": [300, token]})
    assert status == 200, answer
    status, _, before = server.post("/v1/detokenize", {"model": model, "tokens": [300]})
    return answer["prompt"][len(before["prompt"]):]


@pytest.mark.parametrize("model", MODELS)
def test_no_prefix_is_kept_and_the_log_says_why(server, model):
    first, again = (ask(server, model, prompt(1)) for _ in range(2))
    for answer in first, again:
        assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert tokens(first) == tokens(again)
    assert len(set(tokens(first))) > 1
    assert tokens(ask(server, model, prompt(2))) != tokens(first)
    lines = [json.loads(line) for line in server.log().splitlines() if line.startswith("{")]
    said = [line for line in lines if line["event"] == "prompt prefixes are not kept" and line["model"] == model]
    assert len(said) == 1 and "recurrent or sliding-window" in said[0]["why"]


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_the_same_beside_others(server, model):
    alone = [tokens(ask(server, model, prompt(n, 40 + 60 * n))) for n in range(8)]
    beside = [None] * len(alone)

    def one(n):
        beside[n] = tokens(ask(server, model, prompt(n, 40 + 60 * n)))

    threads = [threading.Thread(target=one, args=(n,)) for n in range(len(alone))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert beside == alone


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_the_same_beside_others_that_go_away(server, model):
    alone = tokens(ask(server, model, prompt(3), max_tokens=200))
    done = threading.Event()

    def cancels():
        for n in range(1000):
            if done.is_set():
                return
            body = json.dumps({"model": model, "prompt": prompt(100 + n, 1500), "max_tokens": 50, "stream": True}).encode()
            with socket.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                               b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                time.sleep(0.003 + 0.002 * (n % 5))

    thread = threading.Thread(target=cancels)
    thread.start()
    try:
        for _ in range(3):
            assert tokens(ask(server, model, prompt(3), max_tokens=200)) == alone
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("model", MODELS)
def test_several_choices_and_labels(server, model):
    alone = tokens(ask(server, model, prompt(4)))
    answer = ask(server, model, prompt(4), n=3)
    assert [tokens(answer, n) for n in range(3)] == [alone] * 3

    status, _, scored = server.post("/v1/score", {"model": model, "prompt": prompt(4), "labels": ["a", "b", "c"]})
    assert status == 200, scored
    assert sum(e["probability"] for e in scored["data"]) == pytest.approx(1, abs=1e-6)
    status, _, refused = server.post("/v1/score", {"model": model, "prompt": prompt(4), "labels": ["a long label", "b"]})
    assert status == 422 and "labels may have one token each" in refused["error"]["message"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("server", [True], indirect=True, ids=["exact"])
def test_guessed_tokens_leave_nothing_behind(server, model):
    """An answer of three different tokens repeats what it said, so its next tokens are guessed, often wrongly."""
    few = {"logit_bias": {str(token): 100 for token in (300, 301, 302)}}
    ids = prompt(5, 20)
    answer = tokens(ask(server, model, ids, max_tokens=60, **few))
    assert len(set(answer)) == 3
    of_text = {token: number for number in (300, 301, 302) for token in [text_of(server, model, number)]}
    for n, token in enumerate(answer):
        assert tokens(ask(server, model, ids + [of_text[t] for t in answer[:n]], max_tokens=1, **few)) == [token], n


@pytest.mark.parametrize("model", [*MODELS, "stories260K-f32"])
def test_what_does_not_fit_together_waits(serve, tmp_path, model):
    """Without kept prefixes, too, an answer that began has room to end."""
    if model in MODELS:
        MODELS[model](tmp_path / f"{model}.gguf")
        context, ids, answer = 1024, prompt(6, 100), 500
    else:
        (tmp_path / f"{model}.gguf").symlink_to(WEIGHTS / f"{model}.gguf")
        context, ids, answer = 128, prompt(6, 20), 60
    server = serve(f'[engine]\nslots = 4\ncontext_length = {context}\nprefix_cache = false\n'
                   f'[models]\nfound = false\ndirs = ["{tmp_path}"]\n')
    ended = []

    def one():
        ended.append(ask(server, model, ids, max_tokens=answer)["usage"]["completion_tokens"])

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended == [answer] * 8


LOUD = 499  # a token whose keys are larger than a 16-bit float holds


def overflowing(path):
    """A Llama whose keys overflow for one token: its embedding is the one direction that a row of attn_k multiplies."""
    head = EMBEDDING // HEADS
    writer, vocabulary = begin(path, "llama")
    writer.add_feed_forward_length(128)
    writer.add_head_count(HEADS)
    writer.add_rope_dimension_count(head)
    rng = np.random.default_rng(20261121)

    def random(*shape):
        return rng.normal(0, 0.3, shape).astype(np.float32)

    table = random(vocabulary, EMBEDDING)
    table[:, 0] = 0
    table[LOUD] = 0
    table[LOUD, 0] = 1
    writer.add_tensor("token_embd.weight", table)
    writer.add_tensor("output.weight", random(vocabulary, EMBEDDING))
    writer.add_tensor("output_norm.weight", np.ones(EMBEDDING, np.float32))
    for n in range(LAYERS):
        keys = random(EMBEDDING, EMBEDDING)
        keys[:, 0] = 1e6 if n == 0 else 0
        for name, values in {"attn_q": random(EMBEDDING, EMBEDDING), "attn_k": keys, "attn_v": random(EMBEDDING, EMBEDDING),
                             "attn_output": random(EMBEDDING, EMBEDDING), "ffn_gate": random(128, EMBEDDING),
                             "ffn_up": random(128, EMBEDDING), "ffn_down": random(EMBEDDING, 128)}.items():
            writer.add_tensor(f"blk.{n}.{name}.weight", values)
        for name in "attn_norm", "ffn_norm":
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(EMBEDDING, np.float32))
    end(writer, {})


@pytest.mark.parametrize("exact", [False, True], ids=["fast", "exact"])
def test_a_key_that_overflows_spoils_its_own_request_only(serve, tmp_path, exact):
    overflowing(tmp_path / "loud.gguf")
    server = serve(f'[engine]\nslots = 1\ncontext_length = 2048\nexact = {str(exact).lower()}\n'
                   f'[models]\nfound = false\ndirs = ["{tmp_path}"]\n')
    quiet = tokens(ask(server, "loud", prompt(7, 20)))
    for _ in range(3):
        status, _, answer = server.post("/v1/completions", {"model": "loud", "prompt": prompt(8, 200) + [LOUD] * 3, "max_tokens": 5})
        assert status == 503 and answer["error"]["code"] == "numeric_fault", answer
        assert tokens(ask(server, "loud", prompt(7, 20))) == quiet
        assert len(tokens(ask(server, "loud", prompt(9, 100)))) == 24
