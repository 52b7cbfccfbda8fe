"""Labels scored and texts classified, compared with what /v1/completions says of the same tokens, one at a time."""
import base64
import math
import struct

import pytest
from conftest import CHAT_MODEL, Server

PROMPT = "The capital of France is"
LABELS = [" Paris", " London", " the city of Paris", " a small village in the north of Italy"]


@pytest.fixture(scope="module")
def server(models, tmp_path_factory):
    """The exact mode: what is compared here has prefixes in common, which otherwise change the last bits."""
    running = Server("[engine]\nexact = true\n", tmp=tmp_path_factory.mktemp("scores"))
    yield running
    running.stop()



def score(server, **body):
    status, headers, answer = server.post("/v1/score", {"model": CHAT_MODEL, **body})
    assert status == 200, answer
    assert headers["x-shoal-route"] == "local"
    return answer


def ids_of(server, **body):
    status, _, answer = server.post("/v1/tokenize", {"model": CHAT_MODEL, **body})
    assert status == 200, answer
    return answer["tokens"]


def forced(server, prompt, token):
    """log p of one token after others: forced by a bias, reported as the model believed it."""
    answer = server.complete(prompt, max_tokens=1, logprobs=0, logit_bias={str(token): 100})
    return answer["choices"][0]["logprobs"]["token_logprobs"][0]


def check(server, prompt_ids, data):
    for entry in data:
        assert len(entry["tokens"]) == len(entry["token_logprobs"])
        assert entry["logprob"] == pytest.approx(sum(entry["token_logprobs"]), abs=1e-4)
        for i, token in enumerate(entry["tokens"]):
            # Kernels for one token and for several round differently.
            assert entry["token_logprobs"][i] == pytest.approx(forced(server, prompt_ids + entry["tokens"][:i], token), abs=0.05)
    assert sum(e["probability"] for e in data) == pytest.approx(1, abs=1e-6)


def test_scores_are_those_of_completions(server):
    answer = score(server, prompt=PROMPT, labels=LABELS)
    assert [e["label"] for e in answer["data"]] == LABELS and [e["index"] for e in answer["data"]] == [0, 1, 2, 3]
    prompt = ids_of(server, prompt=PROMPT)
    check(server, prompt, answer["data"])
    assert answer["data"][0]["probability"] > 0.9
    assert answer["usage"]["prompt_tokens"] == len(prompt)
    assert answer["usage"]["completion_tokens"] == sum(len(e["tokens"]) for e in answer["data"])
    weights = [math.exp(e["logprob"]) for e in answer["data"]]
    assert [e["probability"] for e in answer["data"]] == [pytest.approx(w / sum(weights), rel=1e-3) for w in weights]


def test_a_label_begins_the_next_turn_of_a_conversation(server):
    messages = [{"role": "user", "content": "Is Paris in France? Say Yes or No."}]
    answer = score(server, messages=messages, labels=["Yes", "No"])
    check(server, ids_of(server, messages=messages), answer["data"])


def test_token_ids_are_the_prompt_itself(server):
    ids = ids_of(server, prompt=PROMPT)
    text, tokens = score(server, prompt=PROMPT, labels=LABELS), score(server, prompt=ids, labels=LABELS)
    for a, b in zip(text["data"], tokens["data"]):
        assert a["tokens"] == b["tokens"] and a["logprob"] == pytest.approx(b["logprob"], abs=0.05)


def test_many_labels_and_a_kept_prompt(server):
    labels = [f" number {i} of many" for i in range(200)]
    first = score(server, prompt=PROMPT * 5, labels=labels)
    again = score(server, prompt=PROMPT * 5, labels=labels[:3])
    assert len(first["data"]) == 200 and sum(e["probability"] for e in first["data"]) == pytest.approx(1)
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == again["usage"]["prompt_tokens"] - 1
    for a, b in zip(first["data"], again["data"]):
        assert a["logprob"] == pytest.approx(b["logprob"], abs=0.1)
    check(server, ids_of(server, prompt=PROMPT * 5), again["data"])


def test_the_mean_and_the_calibration_are_what_they_say(server):
    plain = score(server, prompt=PROMPT, labels=LABELS)["data"]
    mean = score(server, prompt=PROMPT, labels=LABELS, normalize="mean")["data"]
    weights = [math.exp(e["logprob"] / len(e["tokens"])) for e in plain]
    assert [e["probability"] for e in mean] == [pytest.approx(w / sum(weights), abs=0.02) for w in weights]
    free = score(server, prompt="N/A", labels=LABELS)["data"]
    calibrated = score(server, prompt=PROMPT, labels=LABELS, calibrate="contextual", content_free="N/A")["data"]
    weights = [math.exp(p["logprob"] - f["logprob"]) for p, f in zip(plain, free)]
    for entry, weight, f in zip(calibrated, weights, free):
        assert entry["content_free_logprob"] == pytest.approx(f["logprob"], abs=0.1)
        assert entry["probability"] == pytest.approx(weight / sum(weights), abs=0.05)


def test_classes(server):
    body = {"model": CHAT_MODEL, "input": ["I love this film, it is wonderful!", "I hate this film, it is awful."],
            "labels": ["positive", "negative"], "calibrate": "contextual"}
    status, _, answer = server.post("/v1/classify", body)
    assert status == 200, answer
    assert answer["labels"] == body["labels"] and len(answer["data"]) == 2
    for entry in answer["data"]:
        assert sum(entry["probs"]) == pytest.approx(1) and entry["num_classes"] == 2
        assert entry["label"] == answer["labels"][entry["probs"].index(max(entry["probs"]))]
        assert entry["margin"] == pytest.approx(abs(entry["probs"][0] - entry["probs"][1]))
    positive = [entry["probs"][0] for entry in answer["data"]]
    assert positive[0] > positive[1]


def test_classes_by_batch_are_divided_by_what_all_inputs_get(server):
    texts = ["what a lovely film", "what a dreadful film", "best thing I ever saw", "worst thing I ever saw", "I smiled throughout",
             "I slept throughout", "great music", "awful music", "a joy to watch", "a pain to watch"]
    body = {"model": CHAT_MODEL, "input": texts, "labels": ["negative", "positive"]}
    plain, batch = (server.post("/v1/classify", body | more)[2] for more in ({}, {"calibrate": "batch"}))
    usual = [sum(one["probs"][k] for one in plain["data"]) / 10 for k in range(2)]
    for before, after in zip(plain["data"], batch["data"], strict=True):
        weights = [p / u for p, u in zip(before["probs"], usual)]
        assert after["probs"] == [pytest.approx(w / sum(weights), abs=1e-6) for w in weights]
    said = [one["label"] for one in batch["data"]]
    assert 3 <= said.count("positive") <= 7 and batch["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]
    # None of them is said to all.
    assert sum((s == "positive") == (i % 2 == 0) for i, s in enumerate(said)) >= 7, said


@pytest.mark.parametrize("path,body,param", [
    ("/v1/score", {"prompt": "x", "labels": ["a", "a"]}, "labels[1]"),
    ("/v1/score", {"prompt": "x", "labels": [""]}, "labels[0]"),
    ("/v1/score", {"prompt": "", "labels": ["a"]}, "prompt"),
    ("/v1/score", {"prompt": "x", "labels": ["a"] + [f"b{i}" for i in range(256)]}, "labels"),
    ("/v1/score", {"prompt": "x", "labels": ["long " * 9000]}, "prompt"),
    ("/v1/classify", {"input": "x", "labels": ["a"]}, "labels"),
    ("/v1/classify", {"input": ["x", "y"], "labels": ["a", "b"], "calibrate": "batch"}, "input"),
])
def test_what_is_wrong_is_named(server, path, body, param):
    status, _, answer = server.post(path, {"model": CHAT_MODEL, **body})
    assert status == 400 and answer["error"]["param"] == param, answer


def test_an_embedder_scores_nothing(server):
    status, _, answer = server.post("/v1/score", {"model": "all-minilm-l6-v2", "prompt": "x", "labels": ["a", "b"]})
    assert status == 422 and answer["error"]["param"] == "model", answer


# --- whether the answer is true, and hidden states


def test_p_true_leaves_the_answer_and_the_next_one_alone(server):
    question = "What is the capital of France?"
    plain = server.chat(question)
    asked = server.chat(question, x_shoal={"p_true": True})
    [signals] = asked["x_shoal"]["signals"]
    assert 0 < signals["p_true"] < 1
    assert asked["choices"] == plain["choices"] and asked["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": asked["choices"][0]["message"]["content"]},
                {"role": "user", "content": "And of Italy?"}]
    next_turn = {"model": CHAT_MODEL, "messages": messages, "temperature": 0, "max_tokens": 16}
    after = server.post("/v1/chat/completions", next_turn)[2]
    server.chat(question)
    assert after["choices"] == server.post("/v1/chat/completions", next_turn)[2]["choices"]


def test_p_true_is_what_scoring_the_two_replies_says(server):
    question = "Hello!"
    asked = server.chat(question, max_tokens=200, x_shoal={"p_true": True})
    assert asked["choices"][0]["finish_reason"] == "stop"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": asked["choices"][0]["message"]["content"]},
                {"role": "user", "content": "Is your answer above true? Reply with one word, True or False."}]
    data = score(server, messages=messages, labels=["True", "False"])["data"]
    first = [math.exp(e["token_logprobs"][0]) for e in data]
    assert asked["x_shoal"]["signals"][0]["p_true"] == pytest.approx(first[0] / sum(first), abs=0.02)


def test_p_true_in_a_stream_and_after_a_text(server):
    body = {"model": CHAT_MODEL, "prompt": "Paris is the capital of", "temperature": 0, "max_tokens": 3, "stream": True,
            "x_shoal": {"p_true": True}}
    chunks = [e for e in server.events("/v1/completions", body) if isinstance(e, dict)]
    assert 0 < chunks[-1]["x_shoal"]["signals"][0]["p_true"] < 1


def test_a_hidden_state_leaves_the_answer_alone(server):
    plain = server.complete(PROMPT, logprobs=0)
    floats = server.complete(PROMPT, logprobs=0, x_shoal={"hidden_state": True})
    [state] = floats["x_shoal"]["hidden_states"]
    assert len(state) == 576 and floats["choices"] == plain["choices"]
    [coded] = server.complete(PROMPT, x_shoal={"hidden_state": "base64"})["x_shoal"]["hidden_states"]
    raw = base64.b64decode(coded)
    assert list(struct.unpack(f"<{len(raw) // 4}f", raw)) == pytest.approx(state, abs=0.2, rel=0.05)
    other = server.complete("Once upon a time", x_shoal={"hidden_state": True})["x_shoal"]["hidden_states"][0]
    assert other != state
