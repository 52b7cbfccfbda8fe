"""What a person sees: the programs on a terminal (a pty), and what they do to pipes, signals and full disks."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest
from conftest import CHAT_MODEL, SHOAL, STORE

CTRL_C, CTRL_D = b"\x03", b"\x04"
STORY = "Write a very long story about the sea."


def environment(**more):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_") and k != "NO_COLOR"}
    return clean | {"TERM": "xterm-256color", "XDG_CONFIG_HOME": "/nonexistent", "XDG_RUNTIME_DIR": "/nonexistent",
                    "SHOAL_SERVER__DATA_DIR": str(STORE)} | more


class Terminal:
    """A program with a terminal of its own, as the leader of its session: Ctrl-C on it is a real one."""

    def __init__(self, *args, rows=24, columns=80, **env):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.before = termios.tcgetattr(self.slave)
        self.process = subprocess.Popen([str(SHOAL), *map(str, args)], stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        env=environment(**env), start_new_session=True, preexec_fn=self._as_a_shell_does)
        self.seen = b""

    @staticmethod
    def _as_a_shell_does():
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup before the tests would reach to here

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def send(self, keys):
        data = keys.encode() if isinstance(keys, str) else keys
        while data:
            ready, writable, _ = select.select([self.master], [self.master], [], 60)
            assert ready or writable
            if ready:
                self._read(0)
            if writable:
                data = data[os.write(self.master, data[:1024]):]

    def _read(self, wait_s):
        if select.select([self.master], [], [], wait_s)[0]:
            self.seen += os.read(self.master, 1 << 16)

    def expect(self, pattern, timeout_s=60):
        """Waits until `pattern` comes; what came up to it is taken away and returned."""
        end = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.seen)):
            assert time.monotonic() < end and self.process.poll() is None, f"no {pattern!r} in {self.seen!r}"
            self._read(0.05)
        taken, self.seen = self.seen[:found.end()], self.seen[found.end():]
        return taken

    def end(self, timeout_s=60):
        """(exit code, the last output); the terminal must be as it was."""
        end = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < end, f"it does not end: {self.seen!r}"
            self._read(0.02)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 1 << 16)
        assert termios.tcgetattr(self.slave) == self.before
        return self.process.returncode, self.seen

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal():
    opened = []

    def open_one(*args, **kwargs):
        opened.append(Terminal(*args, **kwargs))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


@pytest.fixture(params=["server", "alone"])
def runtime(request):
    """Commands ask the running server, and without one a worker of their own."""
    if request.param == "alone":
        request.getfixturevalue("models")
        return {}
    return {"XDG_RUNTIME_DIR": str(request.getfixturevalue("server").tmp)}


PROMPT = rb"> \r\x1b\[2C$"  # drawn, and the cursor after it


def test_chat_stops_an_answer_and_goes_on(terminal, runtime):
    chat = terminal("chat", "--max-tokens", 400, **runtime)
    chat.expect(b"Talking to " + CHAT_MODEL.encode())
    chat.expect(PROMPT)
    chat.send(STORY + "\r")
    chat.expect(rb"2004l[^\x1b]{20}")
    chat.send(CTRL_C)
    chat.expect(rb"\(stopped\)")
    chat.expect(PROMPT)
    chat.send("Name a colour.\r")
    chat.expect(rb"2004l[^\x1b]{2}")
    chat.send(CTRL_C)
    chat.expect(PROMPT)
    chat.send(CTRL_D)
    assert chat.end()[0] == 0


def test_chat_sends_all_of_what_is_pasted_and_says_what_does_not_fit(terminal, server):
    text = "wörd 😀\n" * 6000 + "end"  # far more bytes than a line of a terminal holds
    status, _, answer = server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": text}], "max_tokens": 1})
    assert status == 400
    tokens = re.search(r"\d+ tokens", answer["error"]["message"])[0]

    chat = terminal("chat", "--max-tokens", 1, XDG_RUNTIME_DIR=str(server.tmp))
    chat.expect(PROMPT)
    chat.send("\x1b[200~" + text.replace("\n", "\r\n") + "\x1b[201~\r")
    assert tokens.encode() in chat.expect(rb"/clear begins")
    chat.send("/clear\rHi\r")
    chat.expect(rb"cut after 1 tokens")
    chat.send("/bye\r")
    assert chat.end()[0] == 0


def test_chat_commands_and_ctrl_c_at_the_prompt(terminal, runtime):
    chat = terminal("chat", **runtime)
    chat.expect(PROMPT)
    chat.send("/hlep\r")
    chat.expect(rb"did you mean /help\?")
    chat.send("/help\r")
    chat.expect(rb"/bye ")
    chat.expect(PROMPT)  # until then the terminal is not ours, and Ctrl-C is a signal
    chat.send("half a line")
    chat.expect(rb"half a line")
    chat.send(CTRL_C)
    chat.expect(PROMPT)
    chat.send(CTRL_C)
    chat.expect(rb"Ctrl-C again")
    chat.expect(PROMPT)
    chat.send(CTRL_C)
    assert chat.end()[0] == 130


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGHUP])
def test_chat_gives_the_terminal_back_when_it_is_killed(terminal, models, sig):
    chat = terminal("chat")
    chat.expect(PROMPT)
    chat.process.send_signal(sig)
    assert chat.end()[0] == -sig


def test_chat_knows_its_model_before_it_begins(terminal, runtime):
    code, shown = terminal("chat", "smolm2", **runtime).end()
    assert code == 5 and b"Talking" not in shown and b'did you mean "smollm2"?' in shown


def test_chat_on_a_simple_terminal_sends_no_sequences(terminal, models):
    chat = terminal("chat", "--max-tokens", 3, TERM="dumb")
    chat.expect(rb"> ")
    chat.send("Hi\n")
    chat.expect(rb"cut after 3")
    chat.send(CTRL_D)
    code, _ = chat.end()
    assert code == 0 and b"\x1b" not in chat.seen


def test_no_color_is_honoured(terminal):
    assert b"\x1b[" in terminal("run").end()[1]
    assert b"\x1b" not in terminal("run", NO_COLOR="1").end()[1]


def test_chat_from_a_pipe_prints_answers_only(runtime):
    done = subprocess.run([SHOAL, "chat", "--max-tokens", "4"], input="Hi\n\nThere\n", capture_output=True, text=True,
                          env=environment(**runtime), timeout=120)
    assert done.returncode == 0 and done.stdout and ">" not in done.stderr and "Talking" not in done.stderr


def test_run_is_interrupted_with_130(terminal, runtime):
    run = terminal("run", CHAT_MODEL, STORY, **runtime)
    run.expect(rb"\w{3}")
    run.send(CTRL_C)
    assert run.end()[0] == 130


def run_shell(script, **env):
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, errors="replace", timeout=120,
                          env=environment(SHOAL=str(SHOAL), **env))


def test_run_with_a_pipe_that_closes(runtime):
    done = run_shell(f'"$SHOAL" run smollm2 "{STORY}" | head -c 3; echo " ${{PIPESTATUS[0]}}"', **runtime)
    assert done.stdout.split()[-1] == str(128 + signal.SIGPIPE) and done.stderr == ""


def test_run_fails_in_words_and_says_nothing_else(runtime):
    done = run_shell('"$SHOAL" run zzz hi', **runtime)
    assert (done.returncode, done.stdout) == (5, "") and f", only all-minilm-l6-v2, {CHAT_MODEL}" in done.stderr
    done = run_shell(f'printf "a\\xffb" | "$SHOAL" run {CHAT_MODEL}', **runtime)
    assert (done.returncode, done.stdout) == (2, "") and "not UTF-8" in done.stderr


@pytest.mark.parametrize("command", ["version", "version --json", "explain", "config show", "models ls", "models ls --json",
                                     f"run {CHAT_MODEL} Hi --max-tokens 2"])
def test_an_output_that_cannot_be_written_is_a_failure(models, command):
    for to in ("> /dev/full", ">&-"):
        done = run_shell(f'"$SHOAL" {command} {to}')
        assert done.returncode == 1 and "cannot write to the standard output" in done.stderr, (command, to, done)


@pytest.mark.parametrize("command", [
    f"run {CHAT_MODEL} Hi --max-tokens 2 --json", "embed all-minilm-l6-v2 Hi --json", "ps --json", "top --json", "doctor --json",
    "version --json", "models --json", "models ls --json", "models ls --available --json", f"models show {CHAT_MODEL} --json",
    "config show --json", "config check --json", "config schema --json", "config explain server.port --json", "explain --json",
    "explain internal --json"])
def test_json_is_json_and_nothing_else(server, command):
    done = run_shell(f'"$SHOAL" {command}', XDG_RUNTIME_DIR=str(server.tmp))
    assert done.returncode == 0 and done.stderr == "", done
    rest = done.stdout
    assert rest.endswith("}\n")
    while rest:  # one document, or one a line
        _, end = json.JSONDecoder().raw_decode(rest)
        rest = rest[end:].lstrip("\n")


def test_top_redraws_fits_and_gives_the_screen_back(terminal, server):
    server.chat("Hi", max_tokens=1)
    top = terminal("top", columns=40, rows=10, XDG_RUNTIME_DIR=str(server.tmp))
    first = top.expect(rb"q ends\.")
    assert first.startswith(b"\x1b[?1049h") and CHAT_MODEL.encode() in first
    assert b"\n" not in first.split(b"MODEL")[0]
    assert first.count(b"\r\n") > 2
    top.resize(3, 30)
    top.expect(rb"q ends\.")
    assert top.expect(rb"q ends\.").count(b"\r\n") == 2, "more lines than the terminal has would scroll"
    top.send("q")
    code, last = top.end()
    assert code == 0 and last.endswith(b"\x1b[?1049l")


def test_top_is_interrupted_with_130(terminal, server):
    top = terminal("top", XDG_RUNTIME_DIR=str(server.tmp))
    top.expect(rb"q ends\.")
    top.send(CTRL_C)
    code, last = top.end()
    assert code == 130 and last.endswith(b"\x1b[?1049l")


def test_top_without_a_server_says_so_where_it_can_be_read(terminal, serve):
    code, shown = terminal("top").end()
    assert code == 6 and b"no running server" in shown and b"1049" not in shown
    server = serve(args=["--no-models"])
    top = terminal("top", XDG_RUNTIME_DIR=str(server.tmp))
    top.expect(rb"q ends\.")
    server.stop()
    code, shown = top.end()
    assert code == 6 and b"no running server" in shown.split(b"\x1b[?1049l")[1]


def completions(line):
    """What bash offers after `line`, with the printed script."""
    script = ('source <("$SHOAL" completion bash); COMP_LINE=$1; read -ra COMP_WORDS <<< "$1"; [[ $1 == *" " ]] && COMP_WORDS+=(""); '
              'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _shoal shoal "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"; '
              'printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(["bash", "-c", script, "bash", line], capture_output=True, text=True, env=environment(SHOAL=str(SHOAL)), timeout=30)
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout.split()


def test_bash_completes():
    assert {"serve", "run", "config", "--help"} <= set(completions("shoal "))
    assert completions("shoal ser") == ["serve"]
    assert {"check", "show"} <= set(completions("shoal config "))
    assert completions("shoal config check --conf") == ["--config"]
    assert completions("shoal serve --config ") == [], "a file: bash completes it itself"
    assert completions("shoal serve --port 80 --no") == ["--no-models"]


def test_doctor_counts_what_this_process_may_use():
    done = run_shell('taskset -c 0 "$SHOAL" doctor --json', SHOAL_SERVER__PORT="0")
    checks = {check["check"]: check["text"] for check in json.loads(done.stdout)["checks"]}
    assert checks["cpu"].startswith("1 core; x86-64") and re.fullmatch(r"workers may use [\d.]+ GiB of [\d.]+ GiB", checks["memory"])


def test_help_is_a_command_too():
    assert run_shell('"$SHOAL" help').stdout == run_shell('"$SHOAL" --help').stdout != ""
    assert run_shell('"$SHOAL" help config check').stdout == run_shell('"$SHOAL" config check --help').stdout != ""
