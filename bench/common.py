"""What bench/run and bench/engine share: the build that is measured, a server to measure, /proc, and how figures look."""
import atexit
import http.client
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build/release"
BIN = BUILD / "bin"
SHOAL = BIN / "shoal"
CACHE = Path(os.environ.get("SHOAL_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "shoal")
WEIGHTS = Path(os.environ.get("SHOAL_TEST_WEIGHTS", ROOT.parent / "shared/weights"))
STORE = Path(os.environ.get("SHOAL_TEST_STORE", CACHE / "test-store"))


def show(name, values, unit, note=""):
    values = sorted(values)
    print(f"{name:<52} {values[0]:10.2f} {statistics.median(values):10.2f} {values[-1]:10.2f} {unit:<9} n={len(values)} {note}", flush=True)


def machine():
    """One line: commit, whether the tree differs from it, processor, kernel, load."""
    git = lambda *args: subprocess.run(["git", "-C", ROOT, *args], capture_output=True, text=True).stdout.strip()
    changed = " and changes" if git("status", "--porcelain", "--untracked-files=no") else ""
    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text()).group(1)
    return (f"commit {git('rev-parse', '--short', 'HEAD')}{changed}, {os.cpu_count()} cores of {cpu}, "
            f"Linux {os.uname().release}, load {os.getloadavg()[0]:.2f}")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def request(port, method, path, body=None, timeout=300):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response.status, data


def until_healthy(process, port, path, log):
    """Polls until the server answers 200; ends the program, with the log, when it ends before."""
    while True:
        try:
            if request(port, "GET", path, timeout=5)[0] == 200:
                return
        except OSError:
            pass
        if process.poll() is not None:
            sys.exit(f"bench: the server ended with {process.returncode} before it was ready:\n" + log.read_text()[-4000:])
        time.sleep(0.0005)


class Serve:
    """One `shoal serve` on a port of its own, with a folder for its configuration and log."""

    def __init__(self, *args, config="", data_dir=STORE):
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "config.toml"
        file.write_text(config)
        self.log = Path(self.folder.name) / "log"
        self.port = free_port()
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [SHOAL, "serve", "--config", file, "--port", str(self.port), "--data-dir", data_dir, *args],
            stdout=subprocess.DEVNULL, stderr=self.log.open("w"), env=self.environment())
        atexit.register(self.process.kill)  # a benchmark that fails leaves no server
        until_healthy(self.process, self.port, "/healthz", self.log)
        self.healthy_ms = (time.perf_counter() - self.began) * 1e3

    def environment(self):
        return {**os.environ, "XDG_RUNTIME_DIR": self.folder.name}

    def events(self, name):
        """Lines of the log with this event."""
        lines = map(json.loads, self.log.read_text().splitlines())
        return [line for line in lines if line["event"] == name]

    def workers(self):
        out = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout
        return [int(l.split()[0]) for l in out.splitlines() if "shoal-worker" in l]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)  # it lets answers end for 30 s
        self.folder.cleanup()


def computed_ns(pid):
    """CPU time of all threads, in nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        total += int(task.read_text().split()[0])
    return total


def model_path(name, store=STORE):
    """The file of a model of the store, or None."""
    shown = subprocess.run([SHOAL, "models", "show", name, "--json", "--data-dir", store], capture_output=True, text=True)
    return Path(json.loads(shown.stdout)["path"]) if shown.returncode == 0 else None


def third_party(name):
    """The path that tools/third_party.py prints; it builds what is not there."""
    return Path(subprocess.run([ROOT / "tools/third_party.py", "path", name], check=True, stdout=subprocess.PIPE, text=True).stdout.strip())
