"""What bench/gateway/run puts between its clients and its provider: how each is configured, started and looked at."""
import http.client
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from common import BIN, computed_ns, free_port

KEY = "sk-bench-0123456789abcdef"  # all are sent it; some look at it
MODELS = ("gpt", "paced-50fps")  # of mock_upstream
LOAD_CORE, GATEWAY_CORE = "0", "1"

NGINX = """daemon off; worker_processes 1; {user} pid {folder}/pid; error_log stderr;
events {{ worker_connections 20000; }}
http {{
  access_log {access_log}; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  upstream mock {{ server 127.0.0.1:{mock}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000000; keepalive_timeout 300s;
    location / {{ proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""

SHOAL = """[server]
port = {port}
max_connections = 20000
data_dir = "{folder}/data"
{keys}
[provider.mock]
kind = "openai"
base_url = "http://127.0.0.1:{mock}/v1"
local = true
models = [{models}]
durability = "{durability}"
max_concurrent = 10000
"""

SHOAL_MONEY = """
[[price]]
provider = "mock"
model = "*"
from = "2026-01-01"
input_usd = "0.15"
output_usd = "0.60"

[ledger]
daily_usd = "1000000"
"""

SHOAL_QUIET = """
[log]
level = "warn"

[audit]
receipts = "paid"
"""

BUSBAR = """listen: "127.0.0.1:{port}"
admin_listen: "127.0.0.1:{admin}"
auth: {{ chain: [] }}
providers: {{ mock: {{ api_key: {{ env: MOCK_KEY }} }} }}
models:
{models}
pools: {{}}
"""


def request(port, method, path, body=None, timeout=30):
    """Status and body, with the key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request(method, path, json.dumps(body) if body else None,
                           {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def processes():
    """All of them: pid -> (parent, whether it is a thread of the kernel, ticks of children that ended)."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue  # it ended
            found[int(entry)] = (int(fields[1]), bool(int(fields[6]) & 0x200000), int(fields[13]) + int(fields[14]))
    return found


def family(pid):
    """The process and all below it."""
    below, everyone = [pid], processes()
    for parent in below:
        below += [child for child, (its, _, _) in everyone.items() if its == parent]
    return below


class Server:
    """A process on a core of its own, with a folder; ended with the run, whatever happens."""

    name, health, start_s, environment = "", "/healthz", 30, {}
    model_prefix = ""  # before the name of a model, in what clients ask for
    binary, version_argument = None, "--version"

    @classmethod
    def find(cls, _options):
        """The program, or None when it is not here."""
        return cls.binary

    def __init__(self, folder, mock_port):
        self.folder, self.mock_port, self.port = folder / self.name, mock_port, free_port()
        self.folder.mkdir()
        self.log = self.folder / "log"
        self.logs = [self.log]
        self.process = None

    def start(self):
        command = self.command()
        self.process = subprocess.Popen(["taskset", "-c", GATEWAY_CORE, *map(str, command)], stdin=subprocess.DEVNULL,
                                        stdout=self.log.open("a"), stderr=subprocess.STDOUT, cwd=self.folder,
                                        start_new_session=True, env={**os.environ, **self.environment})
        until = time.monotonic() + self.start_s
        while self.status("GET", self.health) != 200:
            if self.process.poll() is not None or time.monotonic() > until:
                self.fail("did not start")
            time.sleep(0.02)
        body = {"model": self.model_prefix + "gpt", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64}
        if (status := self.status("POST", "/v1/chat/completions", body)) != 200:
            self.fail(f"answers a chat with {status}")

    def status(self, *what):
        try:
            return request(self.port, *what)[0]
        except OSError:
            return None

    def fail(self, what):
        self.stop()
        raise RuntimeError(f"{self.name} {what}; the end of its log:\n{self.log.read_text()[-1500:]}")

    def version(self):
        """", what it says of itself", or nothing."""
        if not self.version_argument:
            return ""
        out = subprocess.run([self.binary, self.version_argument], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**os.environ, **self.environment})
        return ", " + out.stdout.strip().splitlines()[-1] if out.returncode == 0 and out.stdout.strip() else ""

    def pids(self):
        return family(self.process.pid) if self.process else []

    def memory(self):
        """Resident and proportional set size of all its processes, in bytes."""
        totals = {"Rss": 0, "Pss": 0}
        for pid in self.pids():
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.split(":")[0] in totals:
                    totals[line.split(":")[0]] += int(line.split()[1]) * 1024
        return totals["Rss"], totals["Pss"]

    def forget_log(self):
        """Log lines of the last cell are thrown away before the disk gets to write them."""
        for file in self.logs:
            os.truncate(file, 0)

    def stop(self):
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None


class Direct(Server):
    """No gateway: what the clients and the provider take by themselves."""
    name, binary, configuration = "direct", BIN / "mock_upstream", "clients ask mock_upstream itself"
    version_argument = None

    def start(self):
        self.port, self.logs = self.mock_port, []


class Nginx(Server):
    name, health, access_log, version_argument = "nginx", "/v1/models", "off", "-v"

    @classmethod
    def find(cls, _options):
        cls.binary = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
        return cls.binary

    def command(self):
        file = self.folder / "nginx.conf"
        self.configuration = NGINX.format(folder=self.folder, mock=self.mock_port, port=self.port, access_log=self.access_log,
                                          user="user root;" if os.geteuid() == 0 else "")
        file.write_text(self.configuration)
        if self.access_log != "off":
            self.logs = [self.log, self.folder / self.access_log]
        return [self.binary, "-p", self.folder, "-c", file, "-e", "stderr"]


class NginxLog(Nginx):
    name, access_log = "nginx-log", "access_log"


class Shoal(Server):
    """Relays, and writes nothing down, as Busbar does here."""
    name, model_prefix, durability, money, quiet = "shoal", "mock/", "none", "", True
    version_argument = "version"

    @classmethod
    def find(cls, options):
        cls.binary = options.shoal.resolve() if options.shoal.exists() else None
        return cls.binary

    def command(self):
        keys = self.folder / "keys"
        keys.write_text(KEY + "\n")
        keys.chmod(0o600)
        self.configuration = SHOAL.format(
            port=self.port, folder=self.folder, mock=self.mock_port, durability=self.durability,
            models=", ".join(f'"{model}"' for model in MODELS), keys=f'api_keys_file = "{keys}"\n' if self.money else "",
        ) + self.money + (SHOAL_QUIET if self.quiet else "")
        file = self.folder / "config.toml"
        file.write_text(self.configuration)
        self.environment = {"SHOAL_CONFIG": str(file), "XDG_RUNTIME_DIR": str(self.folder)}
        return [self.binary, "serve", "--no-models"]


class ShoalReceipts(Shoal):
    """As it is by itself: a line of the log and a receipt for each request."""
    name, quiet = "shoal-receipts", False


class ShoalAll(ShoalReceipts):
    """And a key, a reservation, an intent on disk before the request leaves, its outcome, a row of the ledger."""
    name, durability, money = "shoal-all", "batch", SHOAL_MONEY


class Busbar(Server):
    """github.com/GetBusbar/busbar, as an open relay: no keys, no limits."""
    name, environment = "busbar", {"MOCK_KEY": "sk-mock"}

    @classmethod
    def find(cls, options):
        cls.binary = shutil.which(str(options.busbar))
        return cls.binary

    def command(self):
        models = "\n".join(f"  {model}: {{ provider: mock, max_concurrent: 20000 }}" for model in MODELS)
        self.configuration = BUSBAR.format(port=self.port, admin=free_port(), models=models)
        (self.folder / "config.yaml").write_text(self.configuration)
        (self.folder / "providers.yaml").write_text(
            f"mock: {{ protocol: openai, base_url: 'http://127.0.0.1:{self.mock_port}' }}\n")
        self.environment = {**self.environment, "BUSBAR_CONFIG": str(self.folder / "config.yaml"), "RUST_LOG": "warn"}
        return [self.binary]


class LiteLlm(Server):
    """PyPI litellm[proxy], one worker, no database, the key as its master key."""
    name, health, start_s = "litellm", "/health/liveliness", 180
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "LITELLM_MASTER_KEY": KEY}

    @classmethod
    def find(cls, options):
        cls.binary = shutil.which(str(options.litellm / "bin/litellm") if options.litellm else "litellm")
        return cls.binary

    def command(self):
        models = [{"model_name": model, "litellm_params": {"model": f"openai/{model}", "api_key": "sk-mock",
                                                           "api_base": f"http://127.0.0.1:{self.mock_port}/v1"}} for model in MODELS]
        self.configuration = json.dumps({"model_list": models})  # JSON is YAML
        (self.folder / "config.yaml").write_text(self.configuration)
        return [self.binary, "--config", self.folder / "config.yaml", "--host", "127.0.0.1", "--port", self.port,
                "--num_workers", "1"]


KINDS = {kind.name: kind for kind in (Direct, Nginx, NginxLog, Shoal, ShoalReceipts, ShoalAll, Busbar, LiteLlm)}


class Mock:
    """mock_upstream, on the core of the clients."""

    def __init__(self):
        self.process = subprocess.Popen(["taskset", "-c", LOAD_CORE, BIN / "mock_upstream"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def requests(self):
        return json.loads(request(self.port, "GET", "/count")[1])["requests"]

    def stop(self):
        self.process.kill()
        self.process.wait()


class ForeignCpu:
    """Processor time that others take while this is open, in seconds: all processes but `ours` and the threads of the
    kernel, which work for us; children that they waited for; and what the host stole."""

    def __init__(self, ours):
        self.ours = {os.getpid(), *ours}
        self.before = self.snapshot()

    def snapshot(self):
        """Seconds so far, of each process with its children that ended."""
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        taken = {"host": int(Path("/proc/stat").read_text().split(maxsplit=9)[8]) * tick_s}
        for pid, (_, kernel, children_ticks) in processes().items():
            if not kernel and pid not in self.ours:
                taken[pid] = computed_ns(pid) / 1e9 + children_ticks * tick_s
        return taken

    def seconds(self):
        # What one that ended had taken before is in the sum of its parent now.
        return max(0.0, sum(self.snapshot().values()) - sum(self.before.values()))
