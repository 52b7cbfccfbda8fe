"""How sure the model was, as clients see it: x_shoal.signals of answers, and x_shoal of tokens with logprobs."""
import pytest
from conftest import CHAT_MODEL

STORY = "Once upon a time there was a small dragon who"
ASK = {"signals": True}


def near(value):
    return pytest.approx(value, abs=2e-5, rel=1e-5)


def check_summary(summary, worst, values, pick):
    window = min(16, len(values))
    means = [sum(values[i:i + window]) / window for i in range(len(values) - window + 1)]
    assert summary == {"mean": near(sum(values) / len(values)), worst: near(pick(values)), "worst_window": near(pick(means))}


def check_signals(signals, logprobs, entropies, margins, certainties):
    assert signals["tokens"] == len(logprobs) and signals["window"] == 16
    check_summary(signals["logprob"], "min", logprobs, min)
    check_summary(signals["entropy"], "max", entropies, max)
    check_summary(signals["margin"], "min", margins, min)
    check_summary(signals["self_certainty"], "min", certainties, min)
    assert all(0 <= m <= 1 for m in margins) and all(e >= 0 for e in entropies) and all(c >= 0 for c in certainties)


def of_chat(content):
    own = [t["x_shoal"] for t in content]
    return [t["logprob"] for t in content], *([o[name] for o in own] for name in ("entropy", "margin", "self_certainty"))


def test_chat_signals_are_those_of_its_tokens(server):
    answer = server.chat("Tell me about the sea.", max_tokens=40, logprobs=True, x_shoal=ASK)
    [signals] = answer["x_shoal"]["signals"]
    check_signals(signals, *of_chat(answer["choices"][0]["logprobs"]["content"]))


def test_a_stream_has_the_same_signals(server):
    whole = server.chat("Tell me about the sea.", max_tokens=24, x_shoal=ASK)
    body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Tell me about the sea."}], "temperature": 0,
            "max_tokens": 24, "stream": True, "logprobs": True, "x_shoal": ASK}
    chunks = [e for e in server.events("/v1/chat/completions", body) if isinstance(e, dict)]
    content = [t for c in chunks if c["choices"] and c["choices"][0]["logprobs"] for t in c["choices"][0]["logprobs"]["content"]]
    [own] = [c["x_shoal"] for c in chunks if "x_shoal" in c]
    check_signals(own["signals"][0], *of_chat(content))
    assert own["signals"][0]["entropy"] == {k: near(v) for k, v in whole["x_shoal"]["signals"][0]["entropy"].items()}


def test_completion_signals_are_lists_beside_the_logprobs(server):
    answer = server.complete(STORY, max_tokens=20, logprobs=0, x_shoal=ASK)
    logprobs = answer["choices"][0]["logprobs"]
    own = logprobs["x_shoal"]
    check_signals(answer["x_shoal"]["signals"][0], logprobs["token_logprobs"], own["entropy"], own["margin"], own["self_certainty"])


def test_each_answer_has_its_own(server):
    answer = server.complete([STORY, "The capital of France is"], n=2, temperature=1.2, seed=3, max_tokens=6, x_shoal=ASK)
    signals = answer["x_shoal"]["signals"]
    assert len(signals) == 4 and len({s["logprob"]["mean"] for s in signals}) == 4


def test_bias_penalties_and_temperature_do_not_change_what_the_model_believed(server):
    def first(**params):
        answer = server.complete(STORY, max_tokens=1, logprobs=0, x_shoal=ASK, **params)
        return answer["choices"][0]["text"], answer["choices"][0]["logprobs"]["x_shoal"]
    text, plain = first()
    forced_text, forced = first(logit_bias={"28": 100}, presence_penalty=2, frequency_penalty=2, repetition_penalty=1.5)
    assert forced_text != text
    assert forced == {k: [near(v[0])] for k, v in plain.items()}
    assert first(temperature=2, seed=1)[1] == {k: [near(v[0])] for k, v in plain.items()}


def test_without_being_asked_nothing_is_shown(server):
    answer = server.chat("Hi", logprobs=True)
    assert "signals" not in answer["x_shoal"]
    assert all("x_shoal" not in t for t in answer["choices"][0]["logprobs"]["content"])


def test_logprobs_are_not_needed(server):
    answer = server.chat("Hi", x_shoal=ASK)
    assert answer["choices"][0]["logprobs"] is None and answer["x_shoal"]["signals"][0]["tokens"] > 0
