#!/usr/bin/env python3
"""Runs the cases of Http11Probe (github.com/MDA2AV/Http11Probe, MIT) against a server.

Each page of the data set holds the raw bytes to send and the outcomes that RFC 9110/9112 allow. Rows that the
requirement dashboard lists under MUST decide the exit code; the others are printed.

    http11probe_test.py --host 127.0.0.1 --port 8080 --data data/http11probe [--verbose]
"""
import pathlib
import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor

from http_probe import Exchange, options_of

# Bytes that a page describes in words or abbreviates.
GENERATED = {
    "MAL-BINARY-GARBAGE": lambda: random.Random(42).randbytes(256),
    "MAL-EMPTY-REQUEST": lambda: b"",
    "MAL-LONG-HEADER-NAME": lambda: get(b"A" * 100_000 + b": value\r\n"),
    "MAL-LONG-HEADER-VALUE": lambda: get(b"X-Big: " + b"B" * 100_000 + b"\r\n"),
    "MAL-LONG-METHOD": lambda: b"A" * 100_000 + b" / HTTP/1.1\r\nHost: localhost:8080\r\n\r\n",
    "MAL-LONG-URL": lambda: get(b"", b"/" + b"A" * 100_000),
    "COMP-LONG-URL-OK": lambda: get(b"", b"/" + b"a" * 7900),
    "MAL-MANY-HEADERS": lambda: get(b"".join(b"X-H-%d: value\r\n" % i for i in range(10_000))),
    "MAL-RANGE-OVERLAPPING": lambda: get(b"Range: bytes=" + b",".join(b"0-" for _ in range(1000)) + b"\r\n"),
    "MAL-CHUNK-EXT-64K": lambda: b"POST / HTTP/1.1\r\nHost: localhost:8080\r\nTransfer-Encoding: chunked\r\n\r\n5;ext="
                                 + b"a" * 65_536 + b"\r\nhello\r\n0\r\n\r\n",
    "COOK-MANY-PAIRS": lambda: get(b"Cookie: " + b"; ".join(b"k%d=v%d" % (i, i) for i in range(1000)) + b"\r\n", b"/echo"),
    "COOK-OVERSIZED": lambda: get(b"Cookie: big=" + b"A" * 65_536 + b"\r\n", b"/echo"),
}
# Outcomes that are right although the page does not list them.
ALSO_ALLOWED = {
    "MAL-POST-CL-HUGE-NO-BODY": ({413}, "RFC 9110 15.5.14: 413 is the answer to a body over the limit"),
    "COMP-TRACE-SENSITIVE": ({405}, "TRACE is not offered at all"),
}
# What no inference API has: static files with validators, cookies.
NOT_APPLICABLE = ("CAP-", "COOK-ECHO", "COOK-MULTI", "COOK-PARSED")


def get(fields, target=b"/"):
    return b"GET " + target + b" HTTP/1.1\r\nHost: localhost:8080\r\n" + fields + b"\r\n"


def unescape(block):
    """The bytes of a block: line ends are spelled out, those of the page itself mean nothing."""
    text = "".join(line for line in block.split("\n")).replace("[TAB]", "\\t")
    escapes = {"r": "\r", "n": "\n", "t": "\t", "0": "\0"}
    text = re.sub(r"\\x([0-9a-fA-F]{2})|\\([rnt0])", lambda m: chr(int(m[1], 16)) if m[1] else escapes[m[2]], text)
    return text.encode("latin-1", "replace")


class Case:
    def __init__(self, name, page, must):
        self.name, self.must = name, must
        self.expected = re.search(r"\*\*Expected\*\* \| (.*?) \|$", page, re.M)[1]
        before = page.split("## What the RFC")[0]
        blocks = [unescape(b) for b in re.findall(r"```http\n(.*?)```", before, re.S)]
        self.steps = [GENERATED[name]()] if name in GENERATED else blocks
        self.codes = {int(code) for quoted in re.findall(r"`([^`]*)`", self.expected) for code in re.findall(r"\b\d{3}\b", quoted)}
        self.codes |= {400} if "reject" in self.expected.lower() else set()
        self.codes |= ALSO_ALLOWED.get(name, (set(), ""))[0]

    def check(self, host, port):
        """None, or what is wrong."""
        heads = {0} if self.steps and self.steps[0].startswith(b"HEAD") else set()
        exchange = Exchange(host, port, self.steps, heads=heads)
        problem = self.judge(exchange)
        if problem is None:
            return None
        first = exchange.raw[:120].decode("latin-1").encode("unicode_escape").decode()
        return f"{problem}; wanted {self.expected}; got status {exchange.status}, closed {exchange.closed}: {first}"

    def judge(self, exchange):
        special = {"COMP-DATE-HEADER": self.has_date, "COMP-DATE-FORMAT": self.has_date, "COMP-405-ALLOW": self.has_allow, "COMP-HEAD-NO-BODY": self.no_body,
                   "COMP-CONNECTION-CLOSE": self.closes, "COMP-NO-1XX-HTTP10": self.no_interim,
                   "COMP-NO-CL-IN-204": self.no_length_in_204, "COMP-LONG-URL-OK": lambda e: None if e.status not in (None, 414) else "refused"}
        if self.name in special:
            return special[self.name](exchange)
        text = self.expected.lower()
        if "101" in text:
            return "switched protocols" if any(r.status == 101 for r in exchange.responses) or exchange.status is None else None
        accepts = "2xx" in text or 200 in self.codes or "any" in text
        if exchange.status is None:
            allowed = ("close" in text and exchange.closed) or "timeout" in text
            return None if allowed else "no answer"
        if exchange.status in self.codes:
            # After a refusal nobody knows where the next request starts.
            if exchange.status >= 400 and exchange.status not in (405, 501, 416, 406, 415) and not exchange.closed:
                return "refused, but the connection stays open"
            return "an answer after the refusal" if exchange.status == 400 and len(exchange.final) > 1 else None
        if accepts and exchange.final[0].reached_application():
            must_close = "close" in text and " or close" not in text
            return "accepted, but the connection stays open" if must_close and not exchange.closed else None
        return "wrong status"

    @staticmethod
    def has_date(exchange):
        pattern = r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
        return None if exchange.final and re.fullmatch(pattern, exchange.final[0].field("Date") or "") else "no Date"

    @staticmethod
    def has_allow(exchange):
        return None if exchange.status == 405 and exchange.final[0].field("Allow") else "no 405 with Allow"

    @staticmethod
    def no_body(exchange):
        ok = exchange.status is not None and exchange.status < 500 and exchange.raw.endswith(b"\r\n\r\n") and len(exchange.responses) == 1
        return None if ok else "a body"

    @staticmethod
    def closes(exchange):
        return None if exchange.final and exchange.final[0].reached_application() and exchange.closed else "not closed"

    @staticmethod
    def no_interim(exchange):
        return None if exchange.responses and all(r.status >= 200 for r in exchange.responses) else "an interim response"

    @staticmethod
    def no_length_in_204(exchange):
        wrong = any(r.status == 204 and r.field("Content-Length") for r in exchange.responses)
        return "Content-Length in a 204" if wrong or exchange.status is None else None


def load(data):
    """The cases, with the MUST rows as the dashboard counts them."""
    docs = pathlib.Path(data) / "docs/content/docs"
    dashboard = (docs / "rfc-requirement-dashboard.md").read_text()
    section = dashboard.split("## MUST-Level")[1].split("\n## ")[0]
    must = set(re.findall(r"^\| \d+ \| `([^`]+)`", section, re.M))
    cases = []
    for path in sorted(docs.glob("*/*.md")):
        page = path.read_text()
        match = re.search(r"\*\*Test ID\*\* \| `([^`]+)`", page)
        if match:
            cases.append(Case(match[1], page, match[1] in must))
    missing = must - {case.name for case in cases}
    if missing:
        sys.exit(f"pages without bytes for {sorted(missing)}")
    return cases


def main():
    options = options_of(__doc__)
    cases = [c for c in load(options.data) if c.must or not c.name.startswith(NOT_APPLICABLE)]
    with ThreadPoolExecutor(24) as pool:
        problems = list(pool.map(lambda case: case.check(options.host, options.port), cases))
    failed = 0
    for case, problem in zip(cases, problems):
        if problem and (case.must or options.verbose):
            print(f"{'FAIL' if case.must else 'note'} {case.name}: {problem}")
        failed += bool(problem and case.must)
    must = sum(case.must for case in cases)
    other = [problem for case, problem in zip(cases, problems) if not case.must]
    print(f"http11probe: MUST {must - failed} of {must}; other {other.count(None)} of {len(other)} as the page prefers")
    return 1 if failed or must == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
