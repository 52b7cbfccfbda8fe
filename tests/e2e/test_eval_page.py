"""`shoal eval compare --page`: what a person votes on a page is what they would have typed, and nobody else can vote."""
import html
import http.client
import json
import re
import shutil
import signal
import subprocess
import urllib.parse

import pytest
from browser import Browser, find_chromium
from conftest import SHOAL, wait_for

EVIL = '<script>fetch("https://evil.example/")</script><img src=x onerror=alert(1)>" onclick="x" </div>\x1b[2J\u202e'


@pytest.fixture
def material(tmp_path):
    """A suite and a result with two routes; every answer of `loud` shouts."""
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "suite.toml").write_text('name = "letters"\ndata = "rows.jsonl"\n[grader]\nkind = "contains"\n')
    rows = [{"id": f"r{i}", "prompt": f"Question {i} {EVIL}", "answer": "x"} for i in range(40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    routes = [{"route": name, "results": [{"id": row["id"], "state": "graded", "score": 1, "right": True,
                                           "answer": f"{word} {row['id']} {EVIL}"} for row in rows]}
              for name, word in (("secret-quiet", "hello"), ("secret-loud", "HELLO"))]
    suite = {"name": "letters", "sha256": "0", "metric": "right", "margin": 0.01, "slices": []}
    (tmp_path / "result.json").write_text(json.dumps({"format": "shoal-eval-1", "suite": suite, "routes": routes}))
    return tmp_path


def compare_command(material, journal, *more):
    return [str(SHOAL), "eval", "compare", str(material / "suite"), str(material / "result.json"), "--first", "secret-quiet",
            "--second", "secret-loud", "--json", "--journal", str(material / journal), *more]


class Page:
    def __init__(self, material, journal="page.jsonl", *more):
        self.process = subprocess.Popen(compare_command(material, journal, "--page", *more), stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        said = ""
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)(/[0-9a-z]{26}/)\n", said)):
            line = self.process.stderr.readline()
            assert line, said
            said += line
        self.port, self.path = int(found[1]), found[2]

    def request(self, method, path=None, body=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, self.path if path is None else path, body, headers or {})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, response.headers, text

    def get(self):
        status, headers, text = self.request("GET")
        assert status == 200
        return text

    def post(self, pair, choice, **headers):
        form = urllib.parse.urlencode({"pair": pair, "choice": choice})
        return self.request("POST", self.path + "vote", form, {"Content-Type": "application/x-www-form-urlencoded", **headers})

    def verdict(self):
        out, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, err
        return json.loads(out)


def answers_of(text):
    return [html.unescape(one) for one in re.findall(r'<article.*?<div class="text">(.*?)</div></article>', text, re.S)]


def number_of(text):
    return int(re.search(r'name="pair" value="(\d+)"', text)[1])


def liking_quiet(text):
    return "left" if answers_of(text)[0].startswith("hello") else "right"


def lines(path):
    return path.read_text().splitlines() if path.exists() else []


def test_votes_on_the_page_are_those_of_the_terminal(material):
    page = Page(material)
    said = []
    for turn in range(40):
        text = page.get()
        assert "secret-" not in text, "who is who is not told while it goes on"
        choice = "tie" if turn == 1 else liking_quiet(text)
        said.append({"left": "1", "right": "2", "tie": "="}[choice])
        status, headers, text = page.post(number_of(text), choice)
        # It is kept before it is answered.
        assert len(lines(material / "page.jsonl")) == 1 + turn + 1
        if status == 200:
            break
        assert status == 303 and headers["Location"] == page.path
    assert "secret-quiet is preferred" in text and "ended" in text
    verdict = page.verdict()
    typed = subprocess.run(compare_command(material, "terminal.jsonl"), input="\n".join(said) + "\n", capture_output=True,
                           text=True, timeout=20)
    assert json.loads(typed.stdout) == verdict
    assert verdict["verdict"] == "secret-quiet" and verdict["ties"] == 1 and verdict["second_wins"] == 0
    assert lines(material / "page.jsonl") == lines(material / "terminal.jsonl")


def test_nothing_that_a_model_says_is_part_of_the_page(material):
    page = Page(material)
    status, headers, text = page.request("GET")
    body = re.sub(r'<(style|script) nonce="\w+">.*?</\1>', "", text, flags=re.S)
    assert "<script" not in body and "<img" not in body and "onclick=\"x" not in body and "\x1b" not in text and "\u202e" not in text
    assert html.escape("<script>") in body
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["Cache-Control"] == "no-store" and headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r'(src|href)=', body.replace(html.escape("src"), "").replace("src=x", "")), "nothing from elsewhere"
    nonce = re.search(r'nonce="(\w+)"', text)[1]
    assert nonce in policy and nonce not in page.get(), "a nonce is used once"
    for label in ("aria-labelledby=\"answer-1\"", "aria-labelledby=\"answer-2\"", "<html lang=\"en\">", "aria-label=\"Your choice\""):
        assert label in text
    assert page.post(0, "stop")[0] == 200
    assert page.verdict()["verdict"] == "cannot tell"


def test_nobody_else_can_vote(material):
    page = Page(material)
    own = f"http://127.0.0.1:{page.port}"
    assert page.request("GET", "/")[0] == page.request("GET", "/" + "0" * 26 + "/")[0] == 404
    assert page.request("POST", "/" + "0" * 26 + "/vote", "pair=0&choice=left", {"Content-Type": "application/x-www-form-urlencoded"})[0] == 404
    assert page.path.strip("/") not in page.request("GET", "/")[2]
    assert page.post(0, "left", Host="evil.example")[0] == 403
    assert page.post(0, "left", Origin="https://evil.example")[0] == 403
    assert page.post(0, "left", Origin="null")[0] == 403
    assert page.post(0, "left", Origin=f"http://127.0.0.1:{page.port + 1}")[0] == 403
    assert page.post(0, "left", Origin=f"http://localhost:{page.port}")[0] == 403
    assert page.post(0, "left", **{"Sec-Fetch-Site": "cross-site"})[0] == 403
    assert page.request("GET", None, None, {"Host": "evil.example"})[0] == 403
    assert page.request("POST", page.path + "vote", '{"pair":0,"choice":"left"}', {"Content-Type": "application/json"})[0] == 415
    assert page.post(0, "best")[0] == page.post("", "left")[0] == page.post("-1", "left")[0] == page.post("0x", "left")[0] == 400
    assert page.request("GET", page.path + "vote")[0] == 405
    assert page.request("POST", page.path + "vote", "x" * 5000, {"Content-Type": "application/x-www-form-urlencoded"})[0] == 413
    assert len(lines(material / "page.jsonl")) == 1, "none of them counted"
    assert page.post(0, "left", Origin=own, **{"Sec-Fetch-Site": "same-origin"})[0] == 303
    assert page.post(0, "left", Origin=own)[0] == page.post(7, "left", Origin=own)[0] == 303
    assert len(lines(material / "page.jsonl")) == 2, "a second press is not a second vote"
    page.process.send_signal(signal.SIGINT)
    assert page.verdict()["verdict"] == "cannot tell"


def test_it_goes_on_after_a_kill(material):
    page = Page(material)
    for _ in range(3):
        text = page.get()
        assert page.post(number_of(text), liking_quiet(text))[0] == 303
    following = answers_of(page.get())
    second = subprocess.run(compare_command(material, "page.jsonl"), input="", capture_output=True, text=True, timeout=20)
    assert second.returncode == 1 and "another `shoal eval compare`" in second.stderr
    page.process.send_signal(signal.SIGKILL)
    page.process.wait()
    old_path = page.path
    with (material / "page.jsonl").open("a") as half:
        half.write('{"id":"r1","choice":"perhaps"}\n{"id":"r')
    again = Page(material)
    assert again.path != old_path and answers_of(again.get()) == following
    assert "3 judged, 0 of them ties; 37 left" in again.get()
    assert again.post(0, "tie")[0] == 303
    again.process.send_signal(signal.SIGTERM)
    verdict = again.verdict()
    assert verdict["first_wins"] == 3 and verdict["ties"] == 1 and verdict["second_wins"] == 0
    done = subprocess.run(compare_command(material, "page.jsonl"), input="q\n", capture_output=True, text=True, timeout=20)
    assert json.loads(done.stdout) == verdict and "2 lines are damaged" in done.stderr


def test_a_vote_that_cannot_be_kept_does_not_count(material):
    if shutil.which("prlimit") is None:
        pytest.skip("no prlimit")
    page = Page(material)
    size = (material / "page.jsonl").stat().st_size
    # SIGXFSZ is ignored or not: a file may not grow by more than a part of a line.
    subprocess.run(["prlimit", f"--pid={page.process.pid}", f"--fsize={size + 5}:"], check=True)
    status, _, text = page.post(0, "left")
    assert status == 503 and "is not kept" in text
    assert (material / "page.jsonl").stat().st_size == size
    subprocess.run(["prlimit", f"--pid={page.process.pid}", "--fsize=unlimited:"], check=True)
    assert page.post(0, "left")[0] == 303
    page.process.send_signal(signal.SIGINT)
    verdict = page.verdict()
    assert verdict["first_wins"] + verdict["second_wins"] == 1


@pytest.mark.skipif(find_chromium() is None, reason="no chromium")
def test_keys_vote_in_a_browser_and_scripts_of_answers_do_not_run(material):
    page = Page(material)
    browser = Browser(material / "browser")
    try:
        browser.open(f"http://127.0.0.1:{page.port}{page.path}")
        assert browser.run("document.querySelectorAll('article').length") == 2
        assert browser.run("document.querySelectorAll('article script, article img').length") == 0
        assert browser.run("document.querySelector('main').innerText.includes('<script>fetch')"), "shown as text"
        for turn, (key, code) in enumerate((("1", 49), ("2", 50), ("=", 187))):
            browser.until(f"document.querySelector('[name=pair]')?.value === '{turn}' && document.readyState === 'complete'")
            browser.press(key, code, key)
            wait_for(lambda: len(lines(material / "page.jsonl")) == turn + 2, 30)
        browser.until("document.querySelector('[name=pair]')?.value === '3'")
        assert [json.loads(line)["choice"] for line in lines(material / "page.jsonl")[1:]] == ["left", "right", "tie"]
        assert {event["request"]["url"].split("/")[2] for event in browser.seen("Network.requestWillBeSent")} == {f"127.0.0.1:{page.port}"}
        assert not browser.seen("Log.entryAdded"), "nothing was refused by the policy"
    finally:
        browser.close()
        page.process.kill()
        page.process.wait()
