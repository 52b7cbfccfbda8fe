"""The commands beside serve, run as programs: what they print, how they end, and what a broken file gets told."""
import datetime
import json
import os
import signal
import socket
import subprocess
import tomllib

import jsonschema  # comes with openapi-spec-validator
import pytest
from conftest import SHOAL


def run(*args, env=None, stdin="", timeout=30):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    clean |= {"XDG_CONFIG_HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent"} | (env or {})
    return subprocess.run([str(SHOAL), *map(str, args)], input=stdin, capture_output=True, text=True, env=clean, timeout=timeout)


COMMANDS = ["serve", "run", "chat", "embed", "ps", "top", "doctor", "config", "config check", "config show", "config schema",
            "config explain", "config reference", "explain", "version", "completion"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command):
    done = run(*command.split(), "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert f"shoal {command.split()[0]}" in done.stdout.split("Example:")[1]


@pytest.mark.parametrize("typed, meant", [("sevre", "serve"), ("vresion", "version"), ("confg", "config"), ("docter", "doctor")])
def test_unknown_commands_name_the_nearest(typed, meant):
    done = run(typed)
    assert done.returncode == 2 and done.stdout == "" and f"`shoal {meant}`" in done.stderr


def test_unknown_options_name_the_nearest():
    done = run("serve", "--prot", "80")
    assert done.returncode == 2 and "--port" in done.stderr


@pytest.mark.parametrize("args, code", [
    (["explain", "no_such_code"], 2), (["config", "explain", "no.such"], 2), (["config"], 2), (["ps"], 6), (["serve", "--port", "x"], 3),
    (["config", "check", "--config", "/nonexistent/x.toml"], 3), (["serve", "--host", "0.0.0.0"], 3), (["version"], 0)])
def test_exit_codes(args, code, tmp_path):
    data = ["--data-dir", tmp_path] if args[0] in ("serve", "ps") else []
    done = run(*args, *data)
    assert done.returncode == code, done
    assert code == 0 or (done.stdout == "" and done.stderr.startswith("error: ")) or args == ["config"]


def test_config_check_reports_everything_at_once(tmp_path):
    file = tmp_path / "shoal.toml"
    file.write_text('[server]\nprot = 80\nport = "x"\n[enigne]\n')
    done = run("config", "check", "--config", file, env={"SHOAL_LOG__LEVEL": "loud"})
    assert done.returncode == 3
    for part in (f"{file}:2:1: error: unknown key `prot`", "  2 | prot = 80\n    | ^^^^\n  did you mean `port`?", f"{file}:3:8:", f"{file}:4:2:",
                 "SHOAL_LOG__LEVEL: error:"):
        assert part in done.stderr, done.stderr
    faults = json.loads(run("config", "check", "--json", "--config", file).stdout)
    assert not faults["valid"] and [(f["line"], f["column"]) for f in faults["faults"]] == [(2, 1), (3, 8), (4, 2)]


def test_config_show_explain_and_schema_agree(tmp_path):
    file = tmp_path / "shoal.toml"
    file.write_text("[engine]\nslots = 2\n")
    keys = json.loads(run("config", "show", "--json", "--config", file).stdout)["keys"]
    assert keys["engine.slots"] == {"value": 2, "layer": "file", "place": f"{file}:2"}
    explained = json.loads(run("config", "explain", "engine.slots", "--json", "--config", file).stdout)
    assert (explained["value"], explained["default"], explained["reload"]) == (2, 4, False)
    schema = json.loads(run("config", "schema").stdout)
    records = ("provider", "route", "price")
    assert {f"{section}.{key}" for section, table in schema["properties"].items() if section not in ("version", *records)
            for key in table["properties"]} == set(keys)


RECORDS = """
[egress]
allowed = false
[provider.openai]
base_url = "https://api.openai.com/v1"
key_env = ["MY_KEY"]
models = ["gpt-4o-mini"]
[provider.rack]
base_url = "http://10.0.0.7:8000/v1"
local = true
durability = "none"
[route."notes-2.0"]
remote = ["openai/gpt-4o-mini", "rack/qwen3-32b"]
threshold = 0.9
[route.plain]
privacy = "local_only"
[[price]]
provider = "openai"
model = "gpt-4o-mini"
from = 2026-03-01
input_usd = "0.15"
output_usd = "0.60"
above_prompt_tokens = 200000
above_input_usd = "0.30"
above_output_usd = "1.20"
"""
KEY = {"MY_KEY": "secret-canary-0123456789"}


def test_records_are_shown_explained_and_overridden(tmp_path):
    file = tmp_path / "shoal.toml"
    file.write_text(RECORDS)
    shown = run("config", "show", "--json", "--config", file, env=KEY | {"SHOAL_PROVIDER__RACK__MAX_CONCURRENT": "3"})
    assert "canary" not in shown.stdout
    records = json.loads(shown.stdout)["records"]
    assert [r["name"] for r in records["provider"]] == ["openai", "rack"]
    assert records["provider"][1]["fields"]["max_concurrent"] == {
        "value": 3, "layer": "environment", "place": "SHOAL_PROVIDER__RACK__MAX_CONCURRENT"}
    assert records["route"][0]["fields"]["threshold"] == {"value": 0.9, "layer": "file", "place": f"{file}:14"}
    assert records["price"][0]["fields"]["from"]["value"] == "2026-03-01"
    explained = json.loads(run("config", "explain", "route.notes-2.0.threshold", "--json", "--config", file, env=KEY).stdout)
    assert [v["value"] for v in explained["values"]] == [0.9] and explained["default"] == 0.8
    for path in ("provider.base_url", "provider.NAME.base_url", "provider.openai.base_url"):
        assert "https://api.openai.com/v1" in run("config", "explain", path, "--config", file, env=KEY).stdout
    wrong = run("config", "explain", "provider.rak.base_url", "--config", file, env=KEY)
    assert wrong.returncode == 2 and "did you mean `provider.rack.base_url`?" in wrong.stderr
    assert "did you mean `provider.base_url`?" in run("config", "explain", "provider.bse_url").stderr


def test_a_key_in_the_file_is_not_repeated(tmp_path):
    file = tmp_path / "shoal.toml"
    file.write_text(RECORDS.replace("MY_KEY", "sk-canary-0123456789").replace("durability", 'api_key = "canary"\ndurability'))
    done = run("config", "check", "--config", file)
    assert done.returncode == 3 and f"{file}:6:12: error: `provider.openai.key_env`: this looks like a secret" in done.stderr
    assert f"{file}:11:1: error: unknown field `api_key`" in done.stderr and "canary" not in done.stderr
    assert "canary" not in run("config", "check", "--json", "--config", file).stdout


def plain(value):
    """What JSON has in place of what TOML read: dates are text."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime.date) else value


def test_the_schema_accepts_what_loads_and_refuses_what_does_not(tmp_path):
    validator = jsonschema.Draft202012Validator(json.loads(run("config", "schema").stdout))
    validator.check_schema(validator.schema)
    file = tmp_path / "shoal.toml"
    file.write_text(RECORDS)
    shown = run("config", "show", "--config", file, env=KEY).stdout
    for text in (RECORDS, shown):
        assert [e.message for e in validator.iter_errors(plain(tomllib.loads(text)))] == []
    for old, new in [('"0.15"', "0.15"), ('"0.15"', '"0,15"'), ("0.9", "1.1"), ("[provider.rack]", "[provider.Rack]"),
                     ("[route.plain]", '[route."a/b"]'), ("2026-03-01", '"1 March"'), ('base_url = "h', 'bse_url = "h'),
                     ('"none"', '"never"'), ('["MY_KEY"]', '["sk-1234"]'), ('"rack/qwen3-32b"', '"qwen3-32b"'),
                     ("local = true", 'local = "yes"'), ('output_usd = "0.60"\n', "")]:
        broken = RECORDS.replace(old, new, 1)
        file.write_text(broken)
        assert broken != RECORDS and run("config", "check", "--config", file, env=KEY).returncode == 3, new
        assert list(validator.iter_errors(plain(tomllib.loads(broken)))), new


def test_keys_are_never_shown(tmp_path):
    done = run("config", "show", env={"SHOAL_SERVER__API_KEYS_ENV": "MY_KEYS", "MY_KEYS": "secret-canary-0123456789"})
    assert done.returncode == 0 and "MY_KEYS" in done.stdout and "secret-canary" not in done.stdout


def test_every_error_code_is_explained():
    rows = [json.loads(line) for line in run("explain", "--json").stdout.splitlines()]
    assert len(rows) > 30
    row = json.loads(run("explain", rows[0]["code"], "--json").stdout)
    assert row["text"] and row["fix"] and row["http_status"] >= 400


def test_doctor_finds_nothing_wrong_here(tmp_path):
    done = run("doctor", "--json", "--data-dir", tmp_path, env={"SHOAL_SERVER__PORT": "0"})
    checks = {c["check"]: c for c in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, checks
    assert checks["sandbox"]["outcome"] == "ok" and checks["worker"]["outcome"] == "ok"


def test_models_are_known_by_their_aliases(models):
    done = run("models", "show", "smollm2", "--json", "--data-dir", models)
    assert done.returncode == 0 and json.loads(done.stdout)["name"] == "smollm2-135m-instruct"
    assert run("models", "verify", "minilm", "--data-dir", models).returncode == 0


def test_doctor_names_the_holder_of_the_port(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        done = run("doctor", "--json", "--data-dir", tmp_path, env={"SHOAL_SERVER__PORT": str(holder.getsockname()[1])})
    port = next(c for c in json.loads(done.stdout)["checks"] if c["check"] == "port")
    assert done.returncode == 1 and port["outcome"] == "failed" and str(os.getpid()) in port["text"]


def test_ps_reads_the_running_server(serve):
    server = serve(args=["--no-models"])
    done = run("ps", "--json", "--config", server.config, env={"XDG_RUNTIME_DIR": str(server.tmp)})
    assert done.returncode == 0 and json.loads(done.stdout)["workers"] == []


def test_systemd_is_told(tmp_path_factory):
    from conftest import Server
    tmp = tmp_path_factory.mktemp("notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp / "notify"))
        manager.settimeout(10)
        server = Server(args=["--no-models"], tmp=tmp, env={"NOTIFY_SOCKET": str(tmp / "notify")})
        assert "READY=1" in manager.recv(4096).decode()
        assert server.get("/healthz")[0] == 200
        assert server.stop() == 0
        said = ""
        while "STOPPING=1" not in said:
            said = manager.recv(4096).decode()


def test_sigint_ends_a_quiet_server_cleanly(serve):
    assert serve(args=["--no-models"]).stop(signal.SIGINT) == 0


def test_a_taken_port_names_its_holder(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as holder:
        done = run("serve", "--no-models", "--data-dir", tmp_path, "--port", holder.getsockname()[1])
    assert done.returncode == 6 and str(os.getpid()) in done.stderr
