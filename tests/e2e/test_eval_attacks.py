"""What can go wrong around `shoal eval`, done on purpose: full disks, broken files, servers that die, wrong numbers. Each
ends with a clear error or goes on, and nothing that was answered is lost or asked again."""
import json
import os
import resource
import signal
import subprocess
import threading

import pytest
from conftest import SHOAL, Server, wait_for
from scripted import Scripted
from test_eval_run import command, evaluate, journal

GATE = threading.Event()
FAULT = {}


def answer(model, text):
    if model == "slow":
        GATE.wait(30)
    if model == "broke" and text.endswith("3"):
        return FAULT["status"]
    return "yes " + text


@pytest.fixture(scope="module")
def upstream():
    running = Scripted(answer).start()
    yield running
    GATE.set()
    running.stop()


@pytest.fixture(scope="module")
def server(upstream, tmp_path_factory):
    tmp = tmp_path_factory.mktemp("serve")
    running = Server(upstream.config("up", ("fast", "slow", "broke")), tmp=tmp, data_dir=tmp / "data")
    yield running
    assert running.stop() == 0, running.log()


@pytest.fixture(autouse=True)
def forget(upstream):
    GATE.clear()
    upstream.asked.clear()


def write_suite(folder, rows=40, text=None, toml=""):
    folder.mkdir(exist_ok=True)
    (folder / "suite.toml").write_text('name = "attack"\ndata = "rows.jsonl"\n' + toml + '[grader]\nkind = "contains"\n')
    lines = text if text is not None else "".join(json.dumps({"id": f"r{i}", "prompt": f"q{i}", "answer": "yes"}) + "\n" for i in range(rows))
    (folder / "rows.jsonl").write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    return folder


def limited(size):
    """As a disk that is full after `size` bytes of a file."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return limit


def test_a_full_disk_ends_the_run_and_loses_nothing(server, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite")
    argv, environment = command(server, "run", suite, "--route", "up/fast", "--out", tmp_path / "out", "--parallel", 3)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, preexec_fn=limited(3000))
    assert done.returncode == 1 and "answers.jsonl" in done.stderr and "the same command goes on" in done.stderr, done.stderr
    kept = (tmp_path / "out" / "answers.jsonl").read_text()
    assert kept.endswith("\n") and all(json.loads(line)["answer"] for line in kept.splitlines()), "no half lines"
    there, asked = journal(tmp_path / "out"), len(upstream.asked)
    assert 5 < there < 40 and there < asked <= there + 3, "what was answered and could not be kept is asked again"
    again = evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path / "out")
    assert f"{40 - there} asked now, {there} were there" in again.stdout and "damaged" not in again.stderr


def test_a_report_that_does_not_fit_is_an_error_and_the_old_one_stays(server, tmp_path):
    suite = write_suite(tmp_path / "suite", rows=10)
    evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path)
    before = (tmp_path / "result.json").read_text()
    argv, environment = command(server, "run", suite, "--route", "up/fast", "--out", tmp_path)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, preexec_fn=limited(len(before) - 50))
    assert done.returncode == 1 and "cannot write" in done.stderr and "result.json" in done.stderr and "File too large" in done.stderr
    assert (tmp_path / "result.json").read_text() == before and not list(tmp_path.glob("*.partial"))


def test_broken_lines_of_the_cache_are_told_and_asked_again(server, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite", rows=10)
    evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path)
    lines = (tmp_path / "answers.jsonl").read_bytes().splitlines(keepends=True)
    lines[0] = lines[0].replace(b'"answer":"yes', b'"answer":5,"was":"yes')
    lines[1] = lines[1][:-20] + b"\n"
    lines[2] = lines[2].replace(b"yes", b"\xff\xfe\xfd")
    lines[3] = b"\x00" * 100 + b"\n"
    lines[4] = b"[" * 100_000 + b"\n"
    (tmp_path / "answers.jsonl").write_bytes(b"".join(lines) + b'{"key":')
    upstream.asked.clear()
    again = evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path)
    assert "6 lines are damaged" in again.stderr and "5 asked now, 5 were there" in again.stdout
    assert len(upstream.asked) == 5 and "100.0 %" in again.stdout


@pytest.mark.parametrize("rows, said", [
    (b'{"id":"a","prompt":"p","answer":"x"}\n' * 2, 'rows.jsonl:2: the id "a" has come before'),
    (b'{"prompt":"p","answer":"x"}\n{"prompt":"\xff","answer":"x"}\n', "rows.jsonl:2: it is not a JSON object"),
    (b'{"prompt":"p","answer":' + b"[" * 200_000 + b"\n", "rows.jsonl:1: it is not a JSON object"),
    (b"", "there is no question in it"), (b"\xef\xbb\xbf\r\n\r\n", "there is no question in it"),
    (b"\x00\x00", "rows.jsonl:1: it is not a JSON object"), ("{}\n".encode("utf-16"), "rows.jsonl:1: it is not a JSON object"),
    (b"\n".join(b"{" for _ in range(1000)), "and 980 more")])
def test_a_suite_that_is_broken_says_where(server, tmp_path, rows, said):
    suite = write_suite(tmp_path / "suite", text=rows)
    told = evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path, code=3)
    assert said in told.stderr and len(told.stderr) < 8000


def test_a_suite_of_another_system_is_read(server, tmp_path):
    text = "\ufeff" + "".join(json.dumps({"prompt": f"q{i}", "answer": "yes"}) + "\r\n" for i in range(5))
    suite = write_suite(tmp_path / "suite", text=text.encode())
    (suite / "suite.toml").write_bytes(b"\xef\xbb\xbf" + (suite / "suite.toml").read_bytes().replace(b"\n", b"\r\n"))
    assert "5 asked now" in evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path).stdout


def test_a_million_questions_are_read(server, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite", text="".join(f'{{"id":"r{i}","prompt":"question {i}","answer":"yes"}}\n' for i in range(1_000_000)))
    done = evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path, "--limit", 3)
    assert "3 asked now" in done.stdout and len(upstream.asked) == 3


def test_requests_that_fail_are_no_wrong_answers(server, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite")
    FAULT["status"] = 500
    done = evaluate(server, "run", suite, "--route", "up/broke", "--out", tmp_path, "--attempts", 1, "--parallel", 1, code=1)
    report = json.loads((tmp_path / "result.json").read_text())
    assert report["routes"][0]["errors"] == 4 and "4 failed" in done.stdout
    assert {row["state"] for row in report["routes"][0]["results"]} == {"graded", "error"}


def test_a_server_that_dies_in_the_middle_ends_the_run(upstream, tmp_path):
    dying = Server(upstream.config("up", ("fast", "slow")), tmp=tmp_path, data_dir=tmp_path / "data")
    suite = write_suite(tmp_path / "suite")
    out = tmp_path / "out"
    argv, environment = command(dying, "run", suite, "--route", "up/fast", "--route", "up/slow", "--out", out, "--parallel", 2, "--attempts", 1)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: sum(model == "slow" for model, _ in upstream.asked) == 2)
        kept = journal(out)
        dying.process.send_signal(signal.SIGKILL)
        said = running.communicate(timeout=60)[1]
    assert running.returncode == 6, said
    assert "the same command goes on" in said or kept == 0
    # An answer that nobody heard is no answer; that it failed may be noted while the server dies.
    assert kept == (out / "answers.jsonl").read_text().count('"answer":') == 2
    GATE.set()
    alive = Server(upstream.config("up", ("fast", "slow")), tmp=tmp_path, data_dir=tmp_path / "data")
    upstream.asked.clear()
    try:
        again = evaluate(alive, "run", suite, "--route", "up/fast", "--route", "up/slow", "--out", out)
        assert f"{80 - kept} asked now, {kept} were there" in again.stdout and len(upstream.asked) == 80 - kept
    finally:
        alive.stop()


def test_two_runs_do_not_share_a_folder_and_ctrl_c_ends_one(server, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite")
    argv, environment = command(server, "run", suite, "--route", "up/slow", "--out", tmp_path)
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for(lambda: upstream.asked)
        told = evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path, code=1)
        assert "another `shoal eval run` writes" in told.stderr and "--out" in told.stderr
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
    evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path)


def test_code_that_is_being_graded_can_be_interrupted(server, upstream, tmp_path):
    suite = write_suite(tmp_path / "suite", text="".join(
        json.dumps({"id": f"r{i}", "prompt": f"q{i}", "tests": ["import time; time.sleep(30)"]}) + "\n" for i in range(20)))
    (suite / "suite.toml").write_text('name = "attack"\ndata = "rows.jsonl"\n[grader]\nkind = "code"\ntimeout_s = 2\n')
    upstream.answer = lambda model, text: "pass"
    try:
        argv, environment = command(server, "run", suite, "--route", "up/fast", "--out", tmp_path, "--parallel", 2)
        with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            wait_for(lambda: journal(tmp_path) == 20)
            running.send_signal(signal.SIGINT)
            said = running.communicate(timeout=10)
        assert running.returncode == 130, said
        report = json.loads((tmp_path / "result.json").read_text())
        assert report["ended"] == "interrupted" and report["routes"][0]["ungraded"] >= 16
    finally:
        upstream.answer = answer


@pytest.mark.parametrize("more", [("--limit", "0"), ("--limit", "-1"), ("--limit", "1.5"), ("--max-usd", "nan"), ("--max-usd", "-1"),
                                  ("--max-usd", "inf"), ("--parallel", "0"), ("--attempts", "0"), ("--route", "up/fast")])
def test_wrong_numbers_are_refused(server, upstream, tmp_path, more):
    suite = write_suite(tmp_path / "suite", rows=2)
    told = evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path, *more, code=2)
    assert more[0] in told.stderr and not upstream.asked


def test_gates_of_files_that_are_none(server, tmp_path):
    suite = write_suite(tmp_path / "suite", rows=3)
    evaluate(server, "run", suite, "--route", "up/fast", "--out", tmp_path)
    result = tmp_path / "result.json"
    gone = subprocess.run([SHOAL, "eval", "gate", result, "--baseline", tmp_path / "none.json"], capture_output=True, text=True)
    assert gone.returncode not in (0, 8, 9) and "none.json" in gone.stderr and "No such file" in gone.stderr
    folder = subprocess.run([SHOAL, "eval", "gate", result, "--baseline", tmp_path], capture_output=True, text=True)
    assert folder.returncode not in (0, 8, 9) and str(tmp_path) in folder.stderr
    for name, text in {"empty": "", "cut": result.read_text()[:-300], "deep": "[" * 100_000, "other": "{}",
                       "bytes": "\udcff"}.items():
        (tmp_path / name).write_bytes(os.fsencode(text))
        told = subprocess.run([SHOAL, "eval", "gate", result, "--baseline", tmp_path / name], capture_output=True, text=True)
        assert told.returncode == 2 and name in told.stderr, (name, told.stderr)
    for margin in ("nan", "-0.1", "2", "x"):
        told = subprocess.run([SHOAL, "eval", "gate", result, "--baseline", result, "--margin", margin], capture_output=True, text=True)
        assert told.returncode == 2 and "--margin" in told.stderr, margin
    missing = subprocess.run([SHOAL, "eval", "gate", result], capture_output=True, text=True)
    assert missing.returncode == 2 and "--baseline" in missing.stderr
    spoilt = json.loads(result.read_text())
    for row in spoilt["routes"][0]["results"]:
        row["score"] = 1e6
    (tmp_path / "spoilt.json").write_text(json.dumps(spoilt))
    told = subprocess.run([SHOAL, "eval", "gate", tmp_path / "spoilt.json", "--baseline", result], capture_output=True, text=True)
    assert told.returncode == 2 and "r0" in told.stderr and "score" in told.stderr
