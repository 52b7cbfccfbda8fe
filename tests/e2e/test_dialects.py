"""The codecs of src/shoal/wire against the vendors' own SDKs: every request that is printed is valid by their types, every
stream and answer that they read is read the same, and what is printed for a client of OpenAI's is read by its SDK.

The codecs are reached through tests/support/wire_convert.cpp. No model and no `shoal serve` is needed.
"""
import base64
import collections.abc
import http.server
import importlib
import itertools
import json
import pkgutil
import re
import subprocess
import threading
import typing

import anthropic
import openai
import pydantic
import pytest
import typing_extensions
from anthropic.types import message_create_params
from conftest import BUILD, ROOT
from google import genai
from google.genai import models as genai_models
from google.genai import types as genai_types
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types import chat, completion_create_params as text_params
from openai.types.chat import ChatCompletion, ChatCompletionChunk, completion_create_params
from openai.types.shared_params import FunctionDefinition, ResponseFormatJSONObject, ResponseFormatJSONSchema, ResponseFormatText
from openai.types.shared_params.response_format_json_schema import JSONSchema

FIXTURES = ROOT / "tests" / "fixtures" / "dialects"
PNG = "iVBORw0KGgo="


class Converter:
    def __init__(self):
        self.process = subprocess.Popen([BUILD / "tests" / "wire_convert"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def __call__(self, dialect, operation, argument):
        text = argument if isinstance(argument, str) else json.dumps(argument, ensure_ascii=False)
        assert "\n" not in text
        self.process.stdin.write(f"{dialect} {operation} {text}\n".encode())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def convert():
    converter = Converter()
    yield converter
    converter.process.stdin.close()
    assert converter.process.wait(10) == 0


class Replay:
    """A server that answers every request with the same bytes, and keeps what was asked."""

    def __init__(self):
        replay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                replay.path = self.path
                replay.headers = self.headers
                replay.request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Type", replay.kind)
                self.send_header("Content-Length", str(len(replay.body)))
                self.end_headers()
                self.wfile.write(replay.body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set(self, body, kind="text/event-stream"):
        self.body, self.kind = body, kind


@pytest.fixture(scope="module")
def replay():
    running = Replay()
    yield running
    running.server.shutdown()


# --- the vendors' types, as strict as they are written


def exhaust(value):
    """Pydantic checks the items of an Iterable only when somebody takes them."""
    if isinstance(value, dict):
        return {k: exhaust(v) for k, v in value.items()}
    if isinstance(value, (str, bytes)) or not isinstance(value, collections.abc.Iterable):
        return value
    return [exhaust(v) for v in value]


def validator(streaming, whole):
    adapters = pydantic.TypeAdapter(streaming), pydantic.TypeAdapter(whole)
    # TypedDicts let keys pass that they do not know: a misspelt parameter would be valid.
    return lambda body: exhaust(adapters[0 if body.get("stream") else 1].validate_python(body, extra="forbid"))


openai_request = validator(completion_create_params.CompletionCreateParamsStreaming,
                           completion_create_params.CompletionCreateParamsNonStreaming)
anthropic_request = validator(message_create_params.MessageCreateParamsStreaming,
                              message_create_params.MessageCreateParamsNonStreaming)
GEMINI = genai.Client(api_key="unused")


def gemini_request(body):
    """Taken apart into the SDK's types, and said again by the SDK: the same body."""
    known = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig"}
    assert set(body) <= known, body
    generation = genai_types.GenerationConfig.model_validate(body["generationConfig"])
    config = generation.model_dump(exclude_none=True)
    for ours, theirs, kind in (("systemInstruction", "system_instruction", genai_types.Content),
                               ("toolConfig", "tool_config", genai_types.ToolConfig)):
        if ours in body:
            config[theirs] = kind.model_validate(body[ours])
    if "tools" in body:
        config["tools"] = [genai_types.Tool.model_validate(t) for t in body["tools"]]
    parameters = genai_types._GenerateContentParameters(
        model="the-model", contents=[genai_types.Content.model_validate(c) for c in body["contents"]],
        config=genai_types.GenerateContentConfig(**config))
    said = genai_models._GenerateContentParameters_to_mldev(GEMINI._api_client, parameters, None, parameters)
    said = {k: v for k, v in said.items() if not k.startswith("_")}
    assert plain(said) == plain({k: v for k, v in body.items() if v != {}}), "the SDK says it otherwise"


def plain(value):
    """As JSON, with the SDK's models and enums as what they stand for, bytes as base64."""
    if isinstance(value, pydantic.BaseModel):
        return plain(value.model_dump(by_alias=True, exclude_none=True, mode="json"))
    if isinstance(value, bytes):
        return base64.urlsafe_b64encode(value).decode()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return getattr(value, "value", value)


VALIDATE = {"openai": openai_request, "anthropic": anthropic_request, "gemini": gemini_request}

# --- requests

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "The weather.", "parameters": SCHEMA}},
         {"type": "function", "function": {"name": "now"}}]
HI = [{"role": "user", "content": "Hi"}]
CALLS = [{"role": "user", "content": "Weather and time?"},
         {"role": "assistant", "content": None, "tool_calls": [
             {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Zürich"}'}},
             {"id": "call_2", "type": "function", "function": {"name": "now", "arguments": ""}}]},
         {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
         {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "12:00"}]},
         {"role": "user", "content": "Thanks"}]
IMAGE = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}

# What every dialect can say.
REQUESTS = {
    "text": {"messages": HI},
    "unicode": {"messages": [{"role": "user", "content": "Grüße 世界 🌍 \u2028 \"quoted\" \\ \t\n"}]},
    "system": {"messages": [{"role": "system", "content": "Be brief."}, {"role": "developer", "content": "In French."}, *HI]},
    "turns": {"messages": [*HI, {"role": "assistant", "content": "Hello."}, {"role": "user", "content": "And?"}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]},
    "image": {"messages": [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]}]},
    "stream": {"messages": HI, "stream": True},
    "limits": {"messages": HI, "max_tokens": 7, "stop": ["\n", "END"]},
    "newer_limit": {"messages": HI, "max_completion_tokens": 9, "stop": "END"},
    "tools": {"messages": HI, "tools": TOOLS},
    "tools_none": {"messages": HI, "tools": TOOLS, "tool_choice": "none"},
    "tools_required": {"messages": HI, "tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": True},
    "tools_named": {"messages": HI, "tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "now"}}},
    "calls": {"messages": CALLS, "tools": TOOLS},
    "schema": {"messages": HI, "response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}},
    "effort": {"messages": HI, "reasoning_effort": "low"},
    "user": {"messages": HI, "user": "u-1"},
}
# What only some can.
SOME = {
    "sampling": {"messages": HI, "temperature": 0.25, "top_p": 0.5, "seed": 7, "n": 2, "presence_penalty": 0.5, "frequency_penalty": -0.5},
    "json": {"messages": HI, "response_format": {"type": "json_object"}},
    "one_call": {"messages": HI, "tools": TOOLS, "parallel_tool_calls": False},
    "strict_tool": {"messages": HI, "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA, "strict": True}}]},
    "image_by_address": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]}]},
    "late_system": {"messages": [*HI, {"role": "system", "content": "Be brief."}, *HI]},
    "no_effort": {"messages": HI, "reasoning_effort": "none"},
    "highest_effort": {"messages": HI, "reasoning_effort": "xhigh"},
    "logprobs": {"messages": HI, "logprobs": True, "top_logprobs": 3},
    "bias": {"messages": HI, "logit_bias": {"5": -100, "7": 2}},
    "name": {"messages": [{"role": "user", "content": "Hi", "name": "bob"}]},
}
CANNOT = {
    "sampling": {"anthropic"}, "json": {"anthropic"}, "one_call": {"gemini"}, "strict_tool": {"gemini"},
    "image_by_address": {"gemini"}, "late_system": {"gemini"}, "no_effort": {"gemini"}, "highest_effort": set(), "logprobs": {"anthropic", "gemini"},
    "bias": {"anthropic", "gemini"}, "name": {"anthropic", "gemini"},
}


@pytest.mark.parametrize("name", [*REQUESTS, *SOME])
@pytest.mark.parametrize("dialect", VALIDATE)
def test_a_request_is_valid_by_the_vendors_types(convert, dialect, name):
    asked = (REQUESTS | SOME)[name]
    openai_request({"model": "m", **asked})  # it is one that a client of OpenAI's may send
    body = convert(dialect, "request", asked)
    if dialect in CANNOT.get(name, ()):
        assert body["error"]["code"] == "unsupported_parameter" and body["error"]["param"], body
        return
    assert "error" not in body, body
    VALIDATE[dialect](body)


@pytest.mark.parametrize("dialect", VALIDATE)
def test_the_vendors_types_refuse_what_is_wrong(convert, dialect):
    """Otherwise the test above shows nothing."""
    body = convert(dialect, "request", REQUESTS["calls"])
    VALIDATE[dialect](body)
    for path in list(places(body)):
        broken = json.loads(json.dumps(body))
        holder = broken
        for key in path:
            holder = holder[key]
        holder["no_such_key"] = 1
        if any(p in ("args", "input", "response", "parametersJsonSchema", "input_schema", "parameters") for p in path):
            continue  # objects of the caller's
        with pytest.raises((pydantic.ValidationError, AssertionError, TypeError, ValueError)):
            VALIDATE[dialect](broken)
            pytest.fail(f"accepted at {path}")


def places(value, path=()):
    if isinstance(value, dict):
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


@pytest.mark.parametrize("name", [*REQUESTS, *SOME])
def test_a_clients_own_bytes_stay_valid(convert, name):
    asked = (REQUESTS | SOME)[name] | {"x_shoal": {}}
    body = convert("openai", "patch", asked)
    openai_request(body)
    wanted = {k: v for k, v in asked.items() if k != "x_shoal"} | {"model": "the-model"}
    if not {"max_tokens", "max_completion_tokens"} & set(asked):
        wanted["max_completion_tokens"] = 1000
    if asked.get("stream"):
        wanted["stream_options"] = {"include_usage": True}
    assert body == wanted


def test_targets_and_headers_are_the_sdks(convert, replay):
    replay.set(b"{}", "application/json")
    client = anthropic.Anthropic(base_url=replay.url, api_key="k", max_retries=0)
    client.messages.create(model="the-model", max_tokens=1, messages=HI)
    # This SDK sends its key as a bearer token; the API's documentation says x-api-key.
    target, _, version_header, version = convert("anthropic", "target", REQUESTS["text"])
    assert replay.path == "/v1" + target and replay.headers[version_header] == version
    gemini = genai.Client(api_key="k", http_options={"base_url": replay.url})
    for name in ("text", "stream"):
        if name == "text":
            gemini.models.generate_content(model="the-model", contents="Hi")
        else:
            replay.set(b"", "text/event-stream")
            list(gemini.models.generate_content_stream(model="the-model", contents="Hi"))
        target, key = convert("gemini", "target", REQUESTS[name])
        assert replay.path == "/v1" + target and replay.headers[key] == "k"


# --- streams

Script = typing.NamedTuple("Script", [("dialect", str), ("name", str), ("n", int), ("sdk", bool), ("body", str)])


def scripts():
    for path in sorted(FIXTURES.glob("*/*.sse")):
        body = path.read_bytes().decode()
        head = json.loads(body.split("\n", 1)[0][2:])
        yield Script(path.parent.name, path.stem, head["n"], head["sdk"], body)


SCRIPTS = list(scripts())
READABLE = [s for s in SCRIPTS if s.sdk]
script = pytest.mark.parametrize("script", READABLE, ids=lambda s: f"{s.dialect}-{s.name}")


def openai_answers(completion):
    return [{"text": c.message.content or "", "reasoning": getattr(c.message, "reasoning_content", None) or "",
             "refusal": c.message.refusal or "", "finish": c.finish_reason,
             "tool_calls": [{"id": t.id, "name": t.function.name, "arguments": t.function.arguments}
                            for t in c.message.tool_calls or []]} for c in completion.choices]


def openai_usage(usage):
    if usage is None:
        return None
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    reasoning = usage.completion_tokens_details.reasoning_tokens if usage.completion_tokens_details else 0
    return [usage.prompt_tokens, usage.completion_tokens, cached or 0, 0, 0, reasoning or 0]


def read_by_openai(replay, script):
    replay.set(script.body.encode())
    client = openai.OpenAI(base_url=replay.url + "/v1", api_key="k", max_retries=0)
    state = ChatCompletionStreamState()
    for chunk in client.chat.completions.create(model="m", messages=HI, stream=True, n=script.n):
        state.handle_chunk(chunk)
    # Not get_final_completion(), which raises for answers that are cut or filtered.
    completion = state.current_completion_snapshot
    return openai_answers(completion), openai_usage(completion.usage)


FINISH = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length", "tool_use": "tool_calls", "refusal": "content_filter",
          "STOP": "stop", "MAX_TOKENS": "length", "SAFETY": "content_filter"}


def anthropic_answer(message):
    kinds = lambda kind: [b for b in message.content if b.type == kind]
    details = message.stop_details
    usage = message.usage
    written = usage.cache_creation
    w5, w1 = (written.ephemeral_5m_input_tokens, written.ephemeral_1h_input_tokens) if written else (usage.cache_creation_input_tokens or 0, 0)
    read = usage.cache_read_input_tokens or 0
    thinking = usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0
    return [{"text": "".join(b.text for b in kinds("text")), "reasoning": "".join(b.thinking for b in kinds("thinking")),
             "refusal": (details.explanation or "") if details else "", "finish": FINISH[message.stop_reason],
             "tool_calls": [{"id": b.id, "name": b.name, "arguments": b.input} for b in kinds("tool_use")]}], \
        [usage.input_tokens + read + w5 + w1, usage.output_tokens, read, w5, w1, thinking]


def read_by_anthropic(replay, script):
    replay.set(script.body.encode())
    client = anthropic.Anthropic(base_url=replay.url, api_key="k", max_retries=0)
    with client.messages.stream(model="m", max_tokens=9, messages=HI) as stream:
        return anthropic_answer(stream.get_final_message())


def gemini_answers(responses, n):
    """The SDK joins nothing: what its chunks have, in their order."""
    answers = [{"text": "", "reasoning": "", "refusal": "", "finish": None, "tool_calls": []} for _ in range(n)]
    usage = None
    for response in responses:
        for candidate in response.candidates or []:
            answer = answers[candidate.index or 0]
            for part in (candidate.content and candidate.content.parts) or []:
                answer["reasoning" if part.thought else "text"] += part.text or ""
                if part.function_call:
                    call = part.function_call
                    answer["tool_calls"].append({"id": call.id or "", "name": call.name, "arguments": call.args or {}})
            if candidate.finish_reason:
                called = candidate.finish_reason == "STOP" and answer["tool_calls"]
                answer["finish"] = "tool_calls" if called else FINISH[candidate.finish_reason.value]
        if response.prompt_feedback and response.prompt_feedback.block_reason:
            answers = [a | {"finish": "content_filter"} for a in answers]
        u = response.usage_metadata
        if u:
            thoughts = u.thoughts_token_count or 0
            usage = [u.prompt_token_count + (u.tool_use_prompt_token_count or 0), (u.candidates_token_count or 0) + thoughts,
                     u.cached_content_token_count or 0, 0, 0, thoughts]
    return answers, usage


def read_by_gemini(replay, script):
    # This SDK knows no comments.
    replay.set("".join(line for line in script.body.splitlines(keepends=True) if not line.startswith(":")).encode())
    client = genai.Client(api_key="k", http_options={"base_url": replay.url})
    return gemini_answers(client.models.generate_content_stream(model="m", contents="Hi"), script.n)


READ = {"openai": read_by_openai, "anthropic": read_by_anthropic, "gemini": read_by_gemini}


def as_objects(answers, *, ids=True):
    """Arguments as what they say: vendors hand out objects. Ids that Shoal made up are left out."""
    def call(c):
        arguments = c["arguments"]
        return c | {"arguments": json.loads(arguments) if isinstance(arguments, str) else arguments} | ({} if ids else {"id": ""})
    return [a | {"tool_calls": [call(c) for c in a["tool_calls"]]} for a in answers]


def test_there_are_enough_scripts():
    for dialect in VALIDATE:
        assert sum(s.dialect == dialect for s in SCRIPTS) >= 12
        assert sum(s.dialect == dialect for s in READABLE) >= 10


@script
def test_a_stream_says_to_us_what_it_says_to_the_sdk(convert, replay, script):
    ours = convert(script.dialect, "stream", [script.n, script.body])
    assert ours["complete"] and not ours["error"], ours
    answers, usage = READ[script.dialect](replay, script)
    ids = script.name != "tools_without_id"
    assert as_objects(ours["answers"], ids=ids) == as_objects(answers, ids=ids)
    assert ours["usage"] == usage


@script
def test_what_a_client_gets_is_read_by_openais_sdk(convert, replay, script):
    ours = convert(script.dialect, "stream", [script.n, script.body])
    chunks = convert(script.dialect, "chunks", [script.n, script.body])
    assert chunks
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    body = "".join(f"data: {json.dumps(c)}\n\n" for c in chunks) + "data: [DONE]\n\n"
    answers, usage = read_by_openai(replay, script._replace(body=body))
    assert answers == ours["answers"]
    prompt, completion, cached, _, _, reasoning = ours["usage"] or [0] * 6  # writes to a cache have no place there
    assert usage == [prompt, completion, cached, 0, 0, reasoning]


# --- whole answers, made of the vendors' own models


def openai_bodies():
    function = {"name": "f", "arguments": '{"a":1}'}
    calls = [{"id": f"c{i}", "type": "function", "function": function} for i in range(2)]
    messages = [({"content": "Grüße 🌍"}, "stop"), ({"content": None, "tool_calls": calls}, "tool_calls"),
                ({"content": None, "refusal": "No."}, "stop"), ({"content": "cut"}, "length"), ({"content": ""}, "content_filter")]
    for message, finish in messages:
        yield ChatCompletion.model_validate({
            "id": "c", "object": "chat.completion", "created": 1, "model": "gpt", "choices": [
                {"index": 0, "message": {"role": "assistant", "refusal": None} | message, "logprobs": None, "finish_reason": finish}],
            "usage": {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "prompt_tokens_details": {"cached_tokens": 4},
                      "completion_tokens_details": {"reasoning_tokens": 2}}}, strict=True)


def anthropic_bodies():
    tool = lambda i: {"type": "tool_use", "id": f"t{i}", "name": "f", "input": {"a": [1, {"b": "c d"}]}}
    contents = [([{"type": "text", "text": "Grüße 🌍"}], "end_turn"), ([tool(0), tool(1)], "tool_use"), ([], "refusal"),
                ([{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a"}], "max_tokens"),
                ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "stop_sequence")]
    usage = {"input_tokens": 3, "output_tokens": 9, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 7,
             "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4}, "output_tokens_details": {"thinking_tokens": 5}}
    for content, reason in contents:
        yield anthropic.types.Message.model_validate({
            "id": "m", "type": "message", "role": "assistant", "model": "claude", "content": content, "stop_reason": reason,
            "stop_details": {"type": "refusal", "category": None, "explanation": "No."} if reason == "refusal" else None, "usage": usage})


def gemini_bodies():
    call = {"function_call": {"name": "f", "args": {"a": [1, {"b": "c d"}]}, "id": "c"}, "thought_signature": b"sig"}
    contents = [([{"text": "Grüße 🌍"}], "STOP"), ([call, call], "STOP"), ([{"text": "hm", "thought": True}, {"text": "a"}], "MAX_TOKENS"),
                (None, "SAFETY")]
    for parts, reason in contents:
        content = genai_types.Content(role="model", parts=[genai_types.Part(**p) for p in parts]) if parts else None
        yield genai_types.GenerateContentResponse(
            candidates=[genai_types.Candidate(content=content, finish_reason=reason, index=0)], model_version="gemini", response_id="r",
            usage_metadata=genai_types.GenerateContentResponseUsageMetadata(
                prompt_token_count=9, candidates_token_count=5, thoughts_token_count=7, cached_content_token_count=4, total_token_count=21))


BODIES = {"openai": openai_bodies, "anthropic": anthropic_bodies, "gemini": gemini_bodies}
BODY = [(d, i) for d in BODIES for i in range(len(list(BODIES[d]())))]


@pytest.mark.parametrize("dialect,number", BODY)
def test_a_whole_answer_says_what_the_sdk_put_into_it(convert, dialect, number):
    model = next(itertools.islice(BODIES[dialect](), number, None))
    if dialect == "openai":
        body, answers, usage = model.model_dump_json(), openai_answers(model), openai_usage(model.usage)
    elif dialect == "anthropic":
        body, (answers, usage) = model.model_dump_json(), anthropic_answer(model)
    else:
        body = model.model_dump_json(by_alias=True, exclude_none=True)
        answers, usage = gemini_answers([model], 1)
    ours = convert(dialect, "answer", body)
    assert as_objects(ours["answers"]) == as_objects(answers)
    assert ours["usage"] == usage and ours["complete"]
    printed = convert(dialect, "whole", body)
    read = ChatCompletion.model_validate({k: v for k, v in printed.items() if k != "x_shoal"}, strict=True)
    assert openai_answers(read) == ours["answers"]


# --- what only OpenAI's dialect has: the client's bytes at its providers, refused by name elsewhere

CUSTOM = {"type": "custom", "custom": {"name": "sql", "format": {"type": "text"}}}
FUNCTION = {"type": "function", "function": {"name": "now"}}
VERBATIM = {
    "moderation": {"moderation": {"model": "omni-moderation-latest", "policy": {"output": {"mode": "block"}}}},
    "prompt_cache_options": {"prompt_cache_options": {"mode": "explicit"}},
    "tools[1].custom": {"tools": [FUNCTION, CUSTOM]},
    "tool_choice.custom": {"tools": [CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "sql"}}},
    "tool_choice.allowed_tools": {"tools": [FUNCTION], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [FUNCTION]}}},
    "messages[1].tool_calls[0].custom": {"messages": [*HI, {"role": "assistant", "tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sql", "input": "x"}}]},
                                                      {"role": "tool", "tool_call_id": "c", "content": "1"}]},
    "messages[0].content[0].prompt_cache_breakpoint": {"messages": [{"role": "user", "content": [
        {"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}}]}]},
    "messages[0].content[0].cache_control": {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}]}]},
    "messages[0].content[0].image_url.detail": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "original"}}]}]},
    "stream_options.include_obfuscation": {"stream": True, "stream_options": {"include_obfuscation": True}},
}


@pytest.mark.parametrize("param", VERBATIM)
def test_what_only_openais_dialect_has_goes_there_as_it_came(convert, param):
    asked = {"messages": HI} | VERBATIM[param]
    if "cache_control" not in param:  # OpenRouter's and LiteLLM's
        openai_request({"model": "m", **asked})
    body = convert("openai", "patch", asked)
    wanted = asked | {"model": "the-model", "max_completion_tokens": 1000}
    if "stream_options" in asked:
        wanted["stream_options"] = asked["stream_options"] | {"include_usage": True}
    assert body == wanted
    for dialect in ("anthropic", "gemini"):
        error = convert(dialect, "request", asked).get("error")
        assert error and error["code"] == "unsupported_parameter" and error["param"].startswith(param.split(".")[0]), error


HINTS = {"metadata": {"a": "b"}, "safety_identifier": "s", "prompt_cache_key": "k"}


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
def test_hints_change_nothing_and_stay_here(convert, dialect):
    """docs/how-to/use-a-provider.md lists them."""
    told = (ROOT / "docs/how-to/use-a-provider.md").read_text()
    said = {"role": "assistant", "content": "a"}
    for name, value in HINTS.items():
        assert convert(dialect, "request", {"messages": HI, name: value}) == convert(dialect, "request", {"messages": HI}), name
        assert f"`{name}`" in told
    for name, value in {"annotations": [], "parsed": {"a": 1}, "reasoning_content": "b", "reasoning": "b", "reasoning_details": []}.items():
        assert convert(dialect, "request", {"messages": [*HI, said | {name: value}]}) == convert(dialect, "request", {"messages": [*HI, said]}), name
        assert f"`{name}`" in told


def keys_of(*modules):
    """Those of all the dictionaries that the modules define."""
    keys = set()
    for module in modules:
        keys |= {k for d in vars(module).values() if typing_extensions.is_typeddict(d) and d.__module__ == module.__name__ for k in d.__annotations__}
    return keys


def modules(pattern):
    return [importlib.import_module(f"{chat.__name__}.{m.name}") for m in pkgutil.iter_modules(chat.__path__) if re.fullmatch(pattern, m.name)]


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
# Where the SDK's parameters stand; null asks for nothing, so that nothing but the name is read.
PLACES = {
    "chat": (lambda: typing_extensions.get_type_hints(completion_create_params.CompletionCreateParamsStreaming), lambda more: more | {"messages": HI}),
    "text": (lambda: typing_extensions.get_type_hints(text_params.CompletionCreateParamsStreaming), lambda more: more | {"prompt": "a"}),
    "message": (lambda: keys_of(*modules("chat_completion_(developer|system|user|tool|function)_message_param"))
                | set(chat.ChatCompletionAssistantMessageParam.__annotations__), lambda more: {"messages": [more | {"role": "assistant", "content": "a"}]}),
    "part": (lambda: {k for m in modules("chat_completion_content_part_.*_param") for d in vars(m).values()
                      if typing_extensions.is_typeddict(d) and "type" in d.__annotations__ for k in d.__annotations__},
             lambda more: {"messages": [{"role": "user", "content": [more | {"type": "text", "text": "a"}]}]}),
    "image": (lambda: chat.chat_completion_content_part_image_param.ImageURL.__annotations__,
              lambda more: {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": more | {"url": "https://example.com/a.png"}}]}]}),
    "tool": (lambda: {*chat.ChatCompletionFunctionToolParam.__annotations__, *chat.ChatCompletionCustomToolParam.__annotations__},
             lambda more: {"messages": HI, "tools": [more | FUNCTION]}),
    "function": (lambda: FunctionDefinition.__annotations__, lambda more: {"messages": HI, "tools": [{"type": "function", "function": more | {"name": "f"}}]}),
    "choice": (lambda: {*chat.ChatCompletionNamedToolChoiceParam.__annotations__, *chat.ChatCompletionNamedToolChoiceCustomParam.__annotations__,
                        *chat.ChatCompletionAllowedToolChoiceParam.__annotations__},
               lambda more: {"messages": HI, "tools": [FUNCTION], "tool_choice": more | FUNCTION}),
    "call": (lambda: {*chat.ChatCompletionMessageFunctionToolCallParam.__annotations__, *chat.ChatCompletionMessageCustomToolCallParam.__annotations__},
             lambda more: {"messages": [{"role": "assistant", "tool_calls": [more | CALL]}]}),
    "format": (lambda: {*ResponseFormatText.__annotations__, *ResponseFormatJSONObject.__annotations__, *ResponseFormatJSONSchema.__annotations__},
               lambda more: {"messages": HI, "response_format": more | {"type": "text"}}),
    "schema": (lambda: JSONSchema.__annotations__,
               lambda more: {"messages": HI, "response_format": {"type": "json_schema", "json_schema": more | {"name": "n"}}}),
    "stream": (lambda: chat.ChatCompletionStreamOptionsParam.__annotations__, lambda more: {"messages": HI, "stream": True, "stream_options": more}),
}


@pytest.mark.parametrize("place", PLACES)
def test_every_parameter_of_openais_sdk_is_known(convert, place):
    keys, body = PLACES[place]
    assert keys()
    unknown = [k for k in sorted(keys()) if "error" in convert("openai", "patch", body({k: None}))]
    assert not unknown
    assert "not a parameter here" in convert("openai", "patch", body({"no_such_key": None}))["error"]["message"]


# --- the second turn of an agent: it says what it got, and the results of the calls


THOUGHTS = [{"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}, {"type": "redacted_thinking", "data": "c2VjcmV0"}]
AGENT = [{"role": "user", "content": "Weather?"}]


def sse(events):
    return "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" if "type" in e else f"data: {json.dumps(e)}\n\n" for e in events)


def anthropic_call():
    call = {"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Bern"}}
    head = {"id": "m", "type": "message", "role": "assistant", "model": "claude", "stop_sequence": None, "usage": {"input_tokens": 3, "output_tokens": 9}}
    thinking, redacted = THOUGHTS
    blocks = [
        ({"type": "thinking", "thinking": "", "signature": ""},
         [{"type": "thinking_delta", "thinking": "h"}, {"type": "thinking_delta", "thinking": "m"}, {"type": "signature_delta", "signature": thinking["signature"]}]),
        (redacted, []),
        (call | {"input": {}}, [{"type": "input_json_delta", "partial_json": '{"city":'}, {"type": "input_json_delta", "partial_json": '"Bern"}'}])]
    events = [{"type": "message_start", "message": head | {"content": [], "stop_reason": None}}]
    for i, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": i, "content_block": block})
        events += [{"type": "content_block_delta", "index": i, "delta": d} for d in deltas]
        events.append({"type": "content_block_stop", "index": i})
    events += [{"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}, {"type": "message_stop"}]
    return head | {"content": [*THOUGHTS, call], "stop_reason": "tool_use"}, sse(events)


def gemini_call():
    parts = [{"text": "hm", "thought": True}, {"functionCall": {"id": "t1", "name": "get_weather", "args": {"city": "Bern"}}, "thoughtSignature": "c2lnbmVk"},
             {"functionCall": {"id": "t2", "name": "now", "args": {}}}]
    body = lambda parts, **more: {"candidates": [{"content": {"role": "model", "parts": parts}, "index": 0, **more}], "responseId": "r"}
    return body(parts, finishReason="STOP"), sse([body([p]) for p in parts[:-1]] + [body(parts[-1:], finishReason="STOP")])


def openai_call():
    """Of a server that shows its thoughts, as vLLM and DeepSeek do: its bytes are the client's."""
    call = {"id": "t1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Bern"}'}}
    body = lambda kind, name, more: {"id": "c", "object": kind, "created": 1, "model": "m", "choices": [
        {"index": 0, name: {"role": "assistant", "content": None, "reasoning_content": "hm", "reasoning": "hm", "tool_calls": more}, "finish_reason": "tool_calls"}]}
    return body("chat.completion", "message", [call]), sse([body("chat.completion.chunk", "delta", [{"index": 0} | call])])


AGENTS = {"openai": openai_call, "anthropic": anthropic_call, "gemini": gemini_call}


def answer_for_the_sdk(convert, source, how):
    """What a client of OpenAI's is sent for it."""
    whole, stream = AGENTS[source]()
    if source == "openai":
        return json.dumps(whole) if how == "whole" else stream + "data: [DONE]\n\n"
    if how == "whole":
        return json.dumps(convert(source, "whole", whole))
    return sse(convert(source, "chunks", [1, stream])) + "data: [DONE]\n\n"


@pytest.mark.parametrize("how", ["whole", "dumped", "streamed"])
@pytest.mark.parametrize("source", AGENTS)
def test_an_agent_gives_back_what_it_got(convert, replay, source, how):
    client = openai.OpenAI(base_url=replay.url + "/v1", api_key="k", max_retries=0)
    body = answer_for_the_sdk(convert, source, "stream" if how == "streamed" else "whole")
    replay.set(body.encode(), "text/event-stream" if how == "streamed" else "application/json")
    if how == "streamed":
        state = ChatCompletionStreamState()
        for chunk in client.chat.completions.create(model="m", messages=AGENT, stream=True):
            state.handle_chunk(chunk)
        message = state.current_completion_snapshot.choices[0].message
    else:
        message = client.chat.completions.create(model="m", messages=AGENT).choices[0].message
    calls = message.tool_calls
    assert calls and message.model_extra["reasoning_content"] == "hm"
    again = message.model_dump() if how == "dumped" else message
    results = [{"role": "tool", "tool_call_id": c.id, "content": "sunny"} for c in calls]
    replay.set(json.dumps(openai_call()[0]).encode(), "application/json")
    client.chat.completions.create(model="m", messages=[*AGENT, again, *results], tools=TOOLS)
    said = {k: v for k, v in replay.request.items() if k != "model"}

    passed_on = convert("openai", "patch", said)
    assert passed_on.get("messages") == said["messages"], passed_on
    to_anthropic, to_gemini = convert("anthropic", "request", said), convert("gemini", "request", said)
    anthropic_request(to_anthropic)
    gemini_request(to_gemini)
    content, parts = to_anthropic["messages"][1]["content"], to_gemini["contents"][1]["parts"]
    assert [b["type"] for b in content if b["type"] != "tool_use"] == ([t["type"] for t in THOUGHTS] if source == "anthropic" else [])
    if source == "anthropic":
        assert content[:2] == THOUGHTS
    assert [p["functionCall"]["name"] for p in parts] == [c.function.name for c in calls]
    # Of what another model called there is no signature: the stand-in that Google documents.
    assert parts[0]["thoughtSignature"] == ("c2lnbmVk" if source == "gemini" else "skip_thought_signature_validator")
    assert all("thoughtSignature" not in p for p in parts[1:])
