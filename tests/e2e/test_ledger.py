"""The ledger as its owner sees it: receipts, costs, keys and budgets, over restarts and kills, with a real provider."""
import json
import signal
import socket
import subprocess
import threading

import pytest
from conftest import CHAT_MODEL, SHOAL, Server
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
    names = {row["name"] for row in shoal(server, "costs", "--by", "key", "--json")["rows"]}
    assert {made["id"], capped["id"], ""} == names

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
