"""LiteLLM's proxy as a provider, by its OpenAI surface and by its Anthropic surface, with a second Shoal behind it, so that
the answers are a real model's. `tests/prepare --litellm` installs it (700 MB)."""
import os
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import openai
import pytest
from conftest import CHAT_MODEL, ROOT, Server

KEY = "sk-litellm-canary-1234"
QUESTION = [{"role": "user", "content": "Name three colours."}]


@pytest.fixture(scope="module")
def litellm(models, tmp_path_factory):
    """(front, second): Shoal before LiteLLM, which is before the second Shoal."""
    program = Path(os.environ.get("SHOAL_TEST_LITELLM", ROOT / "build/litellm")) / "bin/litellm"
    if not program.exists():
        pytest.skip("no LiteLLM: `tests/prepare --litellm` installs it")
    folder = tmp_path_factory.mktemp("litellm")
    (folder / "second").mkdir()
    second = Server("[engine]\nprefix_cache = false\nspeculation = false\n", tmp=folder / "second")
    (folder / "proxy.yaml").write_text(
        f"model_list:\n- model_name: tiny\n  litellm_params:\n    model: openai/{CHAT_MODEL}\n"
        f"    api_base: {second.base_url}\n    api_key: unused\n"
        f"litellm_settings:\n  drop_params: true\n  use_chat_completions_url_for_anthropic_messages: true\n  telemetry: false\ngeneral_settings:\n  master_key: {KEY}\n")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "proxy.log").open("wb")
    proxy = subprocess.Popen([program, "--config", folder / "proxy.yaml", "--port", str(port), "--host", "127.0.0.1"],
                             stdout=log, stderr=log, cwd=folder,
                             env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*"})
    for _ in range(900):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health/liveliness", timeout=1)
            break
        except OSError:
            assert proxy.poll() is None, (folder / "proxy.log").read_text()[-2000:]
            time.sleep(0.1)
    front = Server(f'[provider.lite]\nbase_url = "http://127.0.0.1:{port}/v1"\nlocal = true\nkey_env = ["LITE_KEY"]\n'
                   f'[provider.messages]\nkind = "anthropic"\nbase_url = "http://127.0.0.1:{port}/v1"\nlocal = true\n'
                   'key_env = ["LITE_KEY"]\n', args=["--no-models"], tmp=folder, data_dir=folder / "data",
                   env={"LITE_KEY": KEY})
    yield front, second
    front.stop()
    proxy.kill()
    proxy.wait()
    second.stop()


@pytest.mark.parametrize("provider", ["lite", "messages"])
def test_it_says_what_the_model_behind_it_says(litellm, provider):
    front, second = litellm
    body = {"messages": QUESTION, "temperature": 0, "max_tokens": 12}
    expected = second.post("/v1/chat/completions", body | {"model": CHAT_MODEL})[2]
    status, headers, answer = front.post("/v1/chat/completions", body | {"model": f"{provider}/tiny"})
    assert status == 200, answer
    assert answer["choices"][0]["message"]["content"] == expected["choices"][0]["message"]["content"]
    assert answer["choices"][0]["finish_reason"] == expected["choices"][0]["finish_reason"]
    assert answer["usage"]["prompt_tokens"] == expected["usage"]["prompt_tokens"]
    assert answer["usage"]["completion_tokens"] == expected["usage"]["completion_tokens"] == 12
    assert headers["x-shoal-egress"] == provider and answer["x_shoal"]["egress"] == provider

    client = openai.OpenAI(base_url=front.base_url, api_key="unused", max_retries=0)
    chunks = list(client.chat.completions.create(model=f"{provider}/tiny", stream=True, **body,
                                                 stream_options={"include_usage": True}))
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == expected["choices"][0]["message"]["content"]
    assert [c.choices[0].finish_reason for c in chunks if c.choices and c.choices[0].finish_reason] == ["length"]
    assert chunks[-1].usage.completion_tokens == 12


@pytest.mark.parametrize("provider", ["lite", "messages"])
def test_its_refusals_are_told(litellm, provider):
    front, _ = litellm
    status, _, body = front.post("/v1/chat/completions", {"model": f"{provider}/no-such-model", "messages": QUESTION,
                                                          "max_tokens": 4})
    assert status in (400, 404) and "no-such-model" in body["error"]["message"], body
    assert KEY not in str(body) and KEY not in front.log()
