"""The ledger as its owner sees it: receipts, costs, keys and budgets, over restarts and kills, with a real provider."""
import json
import signal
import socket
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import CHAT_MODEL, SHOAL, STORE, Server, wait_for
from test_providers import ask, price, provider


@pytest.fixture(scope="module")
def other(models, tmp_path_factory):
    server = Server("[engine]\nprefix_cache = false\nspeculation = false\n", tmp=tmp_path_factory.mktemp("other"))
    yield server
    server.stop()


@pytest.fixture
def front(serve, tmp_path):
    """A factory of servers without models; those of one test have one data folder."""
    def start(config, **kwargs):
        server = serve(config, args=["--no-models"], data_dir=tmp_path / "data", **kwargs)
        server.data = tmp_path / "data"
        return server

    return start


def shoal(server, *args, ok=True):
    """A command beside that server; what it prints, as JSON when it was asked for that."""
    done = subprocess.run([SHOAL, *args, "--config", server.config, "--data-dir", server.data],
                          capture_output=True, text=True, env={"XDG_RUNTIME_DIR": str(server.tmp), "PATH": "/usr/bin:/bin",
                                                               "HOME": str(server.tmp)})
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    if not ok:
        return done.stderr
    return json.loads(done.stdout) if "--json" in args else done.stdout


def micro(usd):
    return round(float(usd) * 1_000_000)


@pytest.fixture
def counting():
    """A factory of providers that say that they counted `usage`: None, nothing at all. With `finish` None they break off
    and bill it all the same; a stream goes on until `go_on`."""
    started = []

    def start():
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                head = {"id": "c1", "created": 1, "model": "m"}
                usage = {"usage": up.usage} if up.usage else {}
                self.send_response(200)
                if not asked.get("stream"):
                    choice = {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": up.finish}
                    body = json.dumps({**head, "object": "chat.completion", "choices": [choice], **usage}).encode()
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                    return
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()

                def chunk(choices, **more):
                    event = {**head, "object": "chat.completion.chunk", "choices": choices, **more}
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())

                chunk([{"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}])
                while not up.go_on.wait(0.05):
                    chunk([{"index": 0, "delta": {"content": "."}, "finish_reason": None}])
                chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}])
                if usage:
                    chunk([], **usage)
                self.wfile.write(b"data: [DONE]\n\n")
                self.close_connection = True

            def log_message(self, *_):
                pass

        up = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        up.daemon_threads = True
        up.usage, up.finish = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}, "stop"
        up.go_on = threading.Event()
        up.go_on.set()
        up.url = f"http://127.0.0.1:{up.server_port}/v1"
        threading.Thread(target=up.serve_forever, daemon=True).start()
        started.append(up)
        return up

    yield start
    for up in started:
        up.go_on.set()
        up.shutdown()


def hang_up(server, config):
    server.config.write_text(config)
    seen = server.log().count("configuration")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: server.log().count("configuration") > seen)


def test_a_receipt_and_a_report_agree_with_the_bill(front, other):
    server = front(provider("other", other.base_url) + price("other", rate="2.50"))
    bills = []
    for tokens in (3, 7):
        _, headers, body = ask(server, f"other/{CHAT_MODEL}", max_tokens=tokens)
        bills.append(micro(body["x_shoal"]["cost_usd"]))
        assert body["x_shoal"]["saved_usd"] == "0.000000", "there is nothing cheaper here than the provider itself"
    status, _, receipt = server.get(f"/v1/shoal/receipts/{headers['x-shoal-decision-id']}")
    assert status == 200 and receipt["id"] == headers["x-shoal-decision-id"]
    assert receipt["route"] == "remote" and receipt["egress"] == "other" and receipt["status"] == 200
    assert micro(receipt["committed_usd"]) == micro(receipt["cost_usd"]) == bills[1]
    assert micro(receipt["detail"]["saved_usd"]) == 0
    assert "saved        0.00 USD" in shoal(server, "receipts", receipt["id"])
    (attempt,) = receipt["attempts"]
    assert attempt["state"] == "settled" and attempt["provider"] == "other" and len(attempt["body_sha256"]) == 64
    assert attempt["tokens"]["input"] == body["usage"]["prompt_tokens"]
    assert attempt["tokens"]["output"] == body["usage"]["completion_tokens"]
    assert float(attempt["cost_usd"]) <= float(attempt["reserved_usd"])
    assert shoal(server, "receipts", receipt["id"], "--json") == receipt

    page = shoal(server, "receipts", "--limit", "1", "--json")
    assert [r["id"] for r in page["receipts"]] == [receipt["id"]], "the newest first"
    older = shoal(server, "receipts", "--limit", "1", "--before", str(page["before"]), "--json")
    assert [micro(r["cost_usd"]) for r in older["receipts"]] == [bills[0]]
    assert receipt["id"] in shoal(server, "receipts")
    assert "settled" in shoal(server, "receipts", receipt["id"])

    for by in ("route", "key", "model", "day"):
        report = shoal(server, "costs", "--by", by, "--json")
        (row,) = report["rows"]
        for sums in (row, report["total"]):
            assert sums["requests"] == sums["remote"] == 2 and sums["local"] == 0
            assert micro(sums["cost_usd"]) == micro(sums["baseline_usd"]) == sum(bills) and sums["with_baseline"] == 2
    assert f"{sum(bills) / 1e6:.6f}" in shoal(server, "costs")


@pytest.mark.parametrize("kept", ["all", "paid"])
def test_what_was_free_leaves_a_receipt_or_not_as_it_is_wanted(front, other, kept):
    free = provider("free", other.base_url, 'durability = "none"')
    server = front(f'[audit]\nreceipts = "{kept}"\n' + provider("other", other.base_url) + price("other") + free)
    ids = []
    for name in ("free", "other"):
        status, headers, body = ask(server, f"{name}/{CHAT_MODEL}")
        assert status == 200 and body["x_shoal"]["egress"] == name, "the answer tells all the same"
        ids.append(headers["x-shoal-decision-id"])
    ids = ids if kept == "all" else ids[1:]
    assert [r["id"] for r in shoal(server, "receipts", "--json")["receipts"]] == ids[::-1]
    assert shoal(server, "costs", "--json")["total"]["requests"] == len(ids)


def test_what_is_wrong_is_said(front):
    server = front("")
    status, _, body = server.get("/v1/shoal/receipts/nothing")
    assert status == 404 and "x-shoal-decision-id" in body["error"]["message"]
    for query, param in (("limit=0", "limit"), ("limit=x", "limit"), ("before=-1", "before"), ("route=%zz", "route")):
        status, _, body = server.get(f"/v1/shoal/receipts?{query}")
        assert status == 400 and body["error"]["param"] == param, query
    assert "2026-13-01" in shoal(server, "costs", "--from", "2026-13-01", ok=False)
    assert "after until" in shoal(server, "costs", "--from", "2026-11-02", "--until", "2026-11-01", ok=False)
    assert "daily_usd" in shoal(server, "keys", "create", "a", "--daily-usd", "-1", ok=False)
    assert "no key" in shoal(server, "keys", "revoke", "nobody", ok=False).lower()
    assert server.get("/admin/keys")[0] == 404, "the network sees nothing of the admin routes"


def test_a_budget_outlives_a_kill(front, other):
    config = provider("other", other.base_url, 'durability = "strict"') + price("other", rate="100")
    server = front(config)
    spent = micro(ask(server, f"other/{CHAT_MODEL}", max_tokens=4)[2]["x_shoal"]["cost_usd"])
    server.stop(signal.SIGKILL)
    # Enough for nothing more.
    again = front(config + f'[ledger]\ndaily_usd = "{spent / 1e6:.6f}"\n')
    status, _, body = ask(again, f"other/{CHAT_MODEL}", max_tokens=4)
    assert status == 402 and f"{spent / 1e6:.6f}".rstrip("0") in body["error"]["message"], body
    assert micro(shoal(again, "costs", "--json")["total"]["cost_usd"]) == spent


def test_what_nobody_knows_the_end_of_counts_as_reserved(front):
    """The server is killed while a provider has the request: nobody will ever know what that cost."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        config = provider("stuck", f"http://127.0.0.1:{listener.getsockname()[1]}/v1") + price("stuck", rate="10")
        server = front(config)
        thread = threading.Thread(target=lambda: pytest.raises(Exception, ask, server, "stuck/any", max_tokens=1000))
        thread.start()
        connection, _ = listener.accept()
        assert connection.recv(4), "the request left"
        server.stop(signal.SIGKILL)
        thread.join()
        again = front(config)
        total = shoal(again, "costs", "--json")["total"]
        assert total["unknown_attempts"] == 1 and micro(total["unknown_usd"]) >= 10_000
        assert abs(micro(total["cost_usd"]) - micro(total["unknown_usd"])) <= 1, "rounded up"
        again.stop()
        capped = front(config + f'[ledger]\nmonthly_usd = "{total["cost_usd"]}"\n')
        assert ask(capped, "stuck/any", max_tokens=1)[0] == 402


def test_keys_let_in_cap_and_keep_apart(front, other):
    server = front(provider("other", other.base_url) + price("other", rate="100"))
    status, _, body = ask(server, f"other/{CHAT_MODEL}", max_tokens=2)
    assert status == 200, (body, other.process.poll(), other.port, other.log()[-1500:])
    made = shoal(server, "keys", "create", "alice", "--json")
    assert made["key"].startswith("sk-shoal-") and made["name"] == "alice"
    capped = shoal(server, "keys", "create", "bob", "--daily-usd", "0.000001", "--monthly-usd", "5", "--json")
    assert "alice" in shoal(server, "keys", "create", "alice", ok=False)
    assert ask(server, f"other/{CHAT_MODEL}")[0] == 401, "from the first key on"
    as_key = lambda key: {"headers": {"Authorization": f"Bearer {key}"}}
    body = {"model": f"other/{CHAT_MODEL}", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    status, headers, _ = server.post("/v1/chat/completions", body, **as_key(made["key"]))
    assert status == 200
    status, _, refused = server.post("/v1/chat/completions", body, **as_key(capped["key"]))
    assert status == 402 and "0.000001" in refused["error"]["message"]

    mine = headers["x-shoal-decision-id"]
    assert server.get(f"/v1/shoal/receipts/{mine}", **as_key(made["key"]))[2]["key"] == made["id"]
    assert server.get(f"/v1/shoal/receipts/{mine}", **as_key(capped["key"]))[0] == 404, "bob sees nothing of alice's"
    assert [r["id"] for r in server.get("/v1/shoal/receipts", **as_key(made["key"]))[2]["receipts"]] == [mine]
    rows = {row["name"]: row.get("id") for row in shoal(server, "costs", "--by", "key", "--json")["rows"]}
    assert rows == {"alice": made["id"], "bob": capped["id"], "": None}
    shown = shoal(server, "costs", "--by", "key")
    assert "\nalice " in shown and "\n(no key) " in shown and made["id"] not in shown
    assert '"bob"' in refused["error"]["message"] and capped["id"] not in refused["error"]["message"]

    shoal(server, "keys", "revoke", "alice")
    assert server.post("/v1/chat/completions", body, **as_key(made["key"]))[0] == 401, "at once"
    listed = {key["name"]: key for key in shoal(server, "keys", "list", "--json")["keys"]}
    assert listed["alice"]["revoked"] and listed["alice"]["last_used"] and not listed["bob"]["revoked"]
    shoal(server, "keys", "revoke", "bob")
    assert ask(server, f"other/{CHAT_MODEL}")[0] == 401, "who takes the last key away does not want everybody in"

    server.stop()
    kept = b"".join(path.read_bytes() for path in (server.data).rglob("*") if path.is_file())
    for secret in (made["key"], capped["key"]):
        assert secret.encode() not in kept and secret not in server.log(), "only a hash of it is kept"
    carol = shoal(server, "keys", "create", "carol", "--json")
    assert {key["name"] for key in shoal(server, "keys", "list", "--json")["keys"]} == {"alice", "bob", "carol"}
    again = front(server.config.read_text())
    assert again.post("/v1/chat/completions", body, **as_key(made["key"]))[0] == 401
    assert again.post("/v1/chat/completions", body, **as_key(carol["key"]))[0] == 200, "made while no server ran"


def test_a_new_price_changes_what_was(front, other):
    config = provider("other", other.base_url)
    server = front(config + price("other", rate="1"))
    ask(server, f"other/{CHAT_MODEL}")
    before = shoal(server, "costs", "--json")["total"]
    server.stop()
    server.config.write_text(config + price("other", rate="3"))
    text = shoal(server, "costs", "--reprice")
    assert text.startswith("1 attempts, 1 of them cost something else now, 0 have no price"), "no server runs"
    after = shoal(server, "costs", "--json")["total"]
    assert micro(after["cost_usd"]) == 3 * micro(before["cost_usd"]) > 0
    assert after["tokens"] == before["tokens"]


def test_a_new_price_changes_what_it_would_have_cost_and_what_is_left(front, counting):
    """Straight to the provider that savings are counted against, there is nothing to save, whatever it costs; and what was
    paid is what the budget has used, at once and after a restart."""
    up = counting()
    config = lambda rate: '[ledger]\ndaily_usd = "0.05"\n' + provider("up", up.url) + price("up", rate=rate)
    server = front(config("1"))
    for _ in range(2):
        assert ask(server, "up/big", max_tokens=1000)[0] == 200
    hang_up(server, config("10"))
    text = shoal(server, "costs", "--reprice")
    assert text.startswith("2 attempts, 2 of them cost something else now, 0 have no price; 2 requests would")
    total = shoal(server, "costs", "--json")["total"]
    assert micro(total["cost_usd"]) == micro(total["baseline_usd"]) == 40_000 and micro(total["saved_usd"]) == 0
    (newest, _) = shoal(server, "receipts", "--json")["receipts"]
    assert micro(newest["without_usd"]) == micro(newest["committed_usd"]) == 20_000
    assert micro(newest["baseline_usd"]) == micro(newest["cost_usd"]) == 2_000, "as it was told then"
    status, _, body = ask(server, "up/big", max_tokens=1000)
    assert status == 402 and "0.04 USD are committed" in body["error"]["message"], body
    server.stop()
    again = front(config("10"))
    assert ask(again, "up/big", max_tokens=1000)[2] == body, "the same after a restart"
    hang_up(again, config("1"))
    shoal(again, "costs", "--reprice")
    assert ask(again, "up/big", max_tokens=1000)[0] == 200, "a correction gives back too"
    # What the journal says stays: tables that are made again need the prices again.
    again.stop()
    server.config.write_text(config("10"))
    shoal(server, "costs", "--reprice")
    for file in (server.data / "store").glob("receipts.db*"):
        file.unlink()
    assert micro(shoal(server, "costs", "--json")["total"]["cost_usd"]) == 6_000
    shoal(server, "costs", "--reprice")
    assert micro(shoal(server, "costs", "--json")["total"]["cost_usd"]) == 60_000


@pytest.mark.parametrize("stream", [False, True])
def test_what_nobody_counted_is_compared_with_nothing(front, counting, stream):
    up = counting()
    up.usage = None
    server = front(provider("up", up.url) + price("up"))
    assert ask(server, "up/big", max_tokens=100, stream=stream)[0] == 200
    total = shoal(server, "costs", "--json")["total"]
    assert total["unknown_attempts"] == 1 and micro(total["cost_usd"]) > 0
    assert total["with_baseline"] == 0 and micro(total["saved_usd"]) == 0
    assert shoal(server, "receipts", "--json")["receipts"][0]["without_usd"] is None


def test_a_bill_stands_with_who_wrote_it(front, counting):
    """One provider breaks off and is paid, the next one answers."""
    a, b = counting(), counting()
    a.finish = None
    route = '[route.r]\nremote = ["a/x", "b/y"]\npolicy = "llm_first"\n'
    server = front(provider("a", a.url) + provider("b", b.url) + price("a", rate="1") + price("b", rate="3") + route)
    status, headers, _ = ask(server, "r", max_tokens=1000)
    assert status == 200
    receipt = shoal(server, "receipts", headers["x-shoal-decision-id"], "--json")
    paid = {attempt["provider"]: micro(attempt["cost_usd"]) for attempt in receipt["attempts"]}
    assert paid["a"] > 0 and paid["b"] == 6000 and micro(receipt["without_usd"]) == 2000
    assert ask(server, "nobody/z")[0] == 404
    rows = lambda by: {row["name"]: row for row in shoal(server, "costs", "--by", by, "--json")["rows"]}
    for by, first, second in (("model", "a/x", "b/y"), ("provider", "a", "b")):
        found = rows(by)
        assert micro(found[first]["cost_usd"]) == paid["a"] and found[first]["requests"] == 0
        assert micro(found[second]["cost_usd"]) == paid["b"] and found[second]["requests"] == 1
        assert found[first]["with_baseline"] == 0 and micro(found[second]["baseline_usd"]) == 2000
        assert micro(found[second]["saved_usd"]) == 2000 - paid["a"] - paid["b"], "of the request, which cost both"
    assert rows("provider")[""]["refused"] == 1 and "(no provider) " in shoal(server, "costs", "--by", "provider")
    (row,) = shoal(server, "costs", "--json", "--by", "day")["rows"]
    assert row["requests"] == 2 and row["refused"] == 1


def test_shares_are_of_what_was_answered(serve, tmp_path, models):
    (tmp_path / "models").symlink_to(STORE / "models")
    server = serve(data_dir=tmp_path)
    server.data = tmp_path
    assert ask(server, CHAT_MODEL, max_tokens=2)[0] == 200
    assert ask(server, CHAT_MODEL, max_tokens=1_000_000)[0] == 400, "refused: the context is too short"
    text = shoal(server, "costs")
    total = next(line.split() for line in text.splitlines() if line.startswith("total"))
    assert total[1:4] == ["2", "100.0%", "0.0%"], text
    assert "of the requests that were answered" in text


def test_a_client_that_leaves_has_a_receipt_of_what_was_paid(front, counting):
    up = counting()
    up.go_on.clear()
    server = front(provider("up", up.url) + price("up"))
    body = json.dumps({"model": "up/big", "stream": True, "max_tokens": 5000,
                       "messages": [{"role": "user", "content": "Hi"}]}).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                       b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert b"200 OK" in client.recv(4096)
    time.sleep(0.5)
    up.go_on.set()
    receipts = lambda: shoal(server, "receipts", "--json")["receipts"]
    (receipt,) = wait_for(receipts)
    assert receipt["route"] == "refused" and micro(receipt["committed_usd"]) == 2000
    assert (receipt["prompt_tokens"], receipt["completion_tokens"]) == (1000, 1000)


def test_local_answers_cost_time_and_save_money(serve, tmp_path, models):
    """A local model and a baseline: nothing leaves, and the report says what that is worth."""
    server = serve('[ledger]\nlocal_usd_per_hour = "3600"\nbaseline = "openai/gpt-4o"\n')
    _, headers, body = server.post("/v1/chat/completions", {"model": CHAT_MODEL, "max_tokens": 8, "messages": [
        {"role": "user", "content": "Hi"}]})
    shown = body["x_shoal"]
    assert shown["egress"] == "none" and micro(shown["local_usd"]) > 0, "never shown as free"
    assert micro(shown["saved_usd"]) == micro(shown["baseline_usd"]) - micro(shown["local_usd"])
    usage = body["usage"]
    expected = usage["prompt_tokens"] * 2.5 + usage["completion_tokens"] * 10
    assert micro(shown["baseline_usd"]) == -(-int(expected * 10) // 10)
