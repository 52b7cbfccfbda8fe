"""The OpenAI Python SDK, unmodified: chat, stream, embed, list, abort, and its own error classes."""
import time

import openai
import pytest
from conftest import CHAT_MODEL, EMBED_MODEL

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


@pytest.fixture
def client(server):
    return openai.OpenAI(base_url=server.base_url, api_key="unused", max_retries=0)


def test_chat(client):
    answer = client.chat.completions.create(model=CHAT_MODEL, messages=MESSAGES, temperature=0, max_tokens=24)
    # What this 135M model says, greedily; llama-server says the same (test_greedy_equal.py).
    assert answer.choices[0].message.content.startswith("L'Étoile")
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer.usage.prompt_tokens_details.cached_tokens >= 0


def test_stream_equals_whole_answer(client):
    whole = client.chat.completions.create(model=CHAT_MODEL, messages=MESSAGES, temperature=0, max_tokens=24)
    chunks = list(client.chat.completions.create(
        model=CHAT_MODEL, messages=MESSAGES, temperature=0, max_tokens=24, stream=True,
        stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    finishes = [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason]
    assert finishes == [whole.choices[0].finish_reason]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage
    assert all(c.usage is None for c in chunks[:-1])


def test_completions(client):
    answer = client.completions.create(model=CHAT_MODEL, prompt="The capital of France is", temperature=0, max_tokens=8)
    assert "Paris" in answer.choices[0].text


def test_embeddings(client):
    # The SDK asks for base64 by itself and decodes it.
    one = client.embeddings.create(model=EMBED_MODEL, input="a happy person")
    many = client.embeddings.create(model=EMBED_MODEL, input=["a happy person", "a sunny day"])
    assert len(one.data[0].embedding) == 384
    assert [d.index for d in many.data] == [0, 1]
    # A neighbour in the batch may change the last bits of a sum, never the vector.
    assert one.data[0].embedding == pytest.approx(many.data[0].embedding, abs=1e-4)
    assert sum(x * x for x in one.data[0].embedding) == pytest.approx(1.0, abs=1e-4)
    floats = client.embeddings.create(model=EMBED_MODEL, input="a happy person", encoding_format="float")
    assert floats.data[0].embedding == pytest.approx(one.data[0].embedding, abs=1e-6)


def test_models(client):
    names = [m.id for m in client.models.list()]
    assert CHAT_MODEL in names and EMBED_MODEL in names
    assert client.models.retrieve(CHAT_MODEL).id == CHAT_MODEL


def test_abort_stops_the_computation(client, server):
    stream = client.chat.completions.create(model=CHAT_MODEL, messages=MESSAGES, max_tokens=1500,
                                            extra_body={"ignore_eos": True}, stream=True)
    for _, _ in zip(range(5), stream):
        pass
    stream.close()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        running = [line for line in server.get("/metrics")[2].splitlines() if line.startswith("shoal_engine_running")]
        if running and all(line.rsplit(" ", 1)[1] == "0" for line in running):
            server.chat("Hi", max_tokens=1)  # the worker has heard of the end, too
            assert "graph_compute" not in server.log(), "what was asked to stop is no error"
            return
    pytest.fail(f"still running 10 s after the client went away: {running}")


def test_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as raised:
        client.chat.completions.create(model="smolm2-135m-instruct", messages=MESSAGES)
    assert raised.value.code == "model_not_found"
    assert CHAT_MODEL in raised.value.message


def test_bad_parameter_is_bad_request(client):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=CHAT_MODEL, messages=MESSAGES, temperature=9)
    assert raised.value.param == "temperature"


def test_a_body_of_50_megabytes_is_told_why_it_is_refused(client):
    with pytest.raises(openai.APIStatusError) as raised:
        client.with_options(max_retries=0).chat.completions.create(
            model=CHAT_MODEL, messages=[{"role": "user", "content": "x" * 50_000_000}])
    assert raised.value.status_code == 413 and raised.value.code == "payload_too_large"


def test_what_is_not_honoured_is_refused_by_name(client):
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        client.chat.completions.create(model=CHAT_MODEL, messages=MESSAGES, extra_body={"temprature": 1})
    assert raised.value.code == "unsupported_parameter"
    assert raised.value.param == "temprature" and "temperature" in raised.value.message


def test_too_long_a_prompt_names_both_numbers(client):
    with pytest.raises(openai.BadRequestError) as raised:
        client.chat.completions.create(model=CHAT_MODEL, messages=[{"role": "user", "content": "word " * 9000}])
    assert raised.value.code == "context_length_exceeded"
    numbers = [int(n) for n in "".join(c if c.isdigit() else " " for c in raised.value.message).split()]
    assert any(n >= 9000 for n in numbers) and any(1024 <= n <= 8192 for n in numbers), raised.value.message


def test_wrong_key(serve, models, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("right-key-0123456789abcdef\n")
    keys.chmod(0o600)
    guarded = serve(f'[server]\napi_keys_file = "{keys}"\n')
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=guarded.base_url, api_key="wrong", max_retries=0).models.list()
    assert openai.OpenAI(base_url=guarded.base_url, api_key="right-key-0123456789abcdef").models.list().data
