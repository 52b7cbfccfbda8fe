#!/usr/bin/env python3
"""Runs the request cases of llhttp (github.com/nodejs/llhttp, MIT) against a server.

A case that llhttp marks as an error must not be answered as a request more often than llhttp completes one, and
must end the connection. A case that it parses must be answered, unless Shoal is stricter for a reason below.

    llhttp_test.py --host 127.0.0.1 --port 8080 --data data/llhttp-tests [--verbose]
"""
import json
import pathlib
import re
import sys
from concurrent.futures import ThreadPoolExecutor

from http_probe import Exchange, options_of

# Valid for llhttp, refused by Shoal: part of the case's name, and why.
STRICTER = {
    "`Content-Length` with zeroes": "leading zeros: some parsers read them as octal",
    "`Content-Length` with follow-up headers": "leading zeros: some parsers read them as octal",
    "M-SEARCH request": "the target `*` is for OPTIONS only (RFC 9112 3.2.4)",
    "SOURCE request with ICE": "not HTTP",
    "request with RTSP": "not HTTP",
    "No HTTP version": "HTTP/0.9",
    "POST with `chunked` as last transfer-encoding": "a coding before `chunked`: nothing here would undo it",
    "Quotes in URI": "a double quote is not a character of a URI (RFC 3986)",
    "Fragment in URI": "a target has no fragment (RFC 9112 3.2)",
    "uri / Host terminated by a query string": "an absolute target that names another host than the Host field",
    "uri / `host:port` terminated by": "an absolute target that names another host than the Host field",
    "uri / `host:port` and basic auth": "user information in a target (RFC 9110 4.2.4)",
}
# An error for llhttp, answered by Shoal: any method that is a token is read, and answered 405 if nothing offers it.
LOOSER = {"HTTP protocol and ANNOUNCE method", "invalid / Invalid method"}

REQUEST_LINE = re.compile(rb"(?m)^([A-Z][A-Z-]*) (\S+) HTTP/1\.([01])\r\n")


def unescape(block):
    """As llhttp's own runner reads a block: a line end is CRLF, a backslash at the end of a line joins it."""
    text = block.removesuffix("\n").replace("\\\n", "")
    text = text.replace("\n", "\r\n")
    text = text.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t").replace("\\f", "\f")
    text = re.sub(r"\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), text)
    return text.encode("latin-1", "replace")


def with_host(data):
    """llhttp does not look at Host. Each request gets one that this server answers to, so that it is judged by the rest."""
    data = re.sub(rb"(?mi)^host:[^\r\n]*\r\n", b"", data)
    return REQUEST_LINE.sub(lambda m: m[0] + b"Host: localhost\r\n", data)


class Case:
    def __init__(self, name, meta, data, log):
        self.name, self.meta, self.data, self.log = name, meta, data, log
        self.error = re.search(r'error code=(\d+) reason="([^"]*)"', log)
        self.paused = bool(self.error) and self.error[1] in ("21", "22", "23", "24")  # paused, upgrade: no error of the input
        self.complete = log.count("message complete")
        self.methods = re.findall(r'span\[method\]="([^"]*)"', log)

    def listed(self, table):
        return any(part in self.name for part in table)

    def check(self, host, port):
        """None, or what is wrong."""
        heads = {i for i, method in enumerate(self.methods) if method == "HEAD"}
        lenient = "lenient" in self.meta.get("type", "")
        exchange = Exchange(host, port, [with_host(self.data)], heads=heads)
        answered = sum(r.reached_application() for r in exchange.final)
        shown = exchange.raw[:100].decode("latin-1").encode("unicode_escape").decode()
        if any(not r.complete for r in exchange.responses):
            return f"a broken response: {shown}"
        if answered > self.complete and not self.listed(LOOSER):
            return f"{answered} answers to {self.complete} requests: {shown}"
        if lenient:
            return None
        if self.error and not self.paused:
            if not exchange.closed and not self.listed(LOOSER) and answered >= self.complete and exchange.final:
                return f"{self.error[2]}: the connection stays open: {shown}"
            return None
        if answered < self.complete and not self.paused and not self.listed(STRICTER):
            return f"{answered} answers to {self.complete} requests: {shown}"
        if answered >= self.complete and self.listed(STRICTER):
            return "listed as refused, but it is answered"
        return None


def load(data):
    cases = []
    for path in sorted((pathlib.Path(data) / "test/request").glob("*.md")):
        headings = ["", "", "", "", "", ""]
        pattern = re.compile(r"^(#+) (.*?)$|<!--\s*meta=(\{.*?\})\s*-->|```(http|log)\n(.*?)```", re.M | re.S)
        meta, block = {}, None
        for match in pattern.finditer(path.read_text()):
            if match[1]:
                level = len(match[1])
                headings[level:] = [match[2].strip()] + [""] * (5 - level)
            elif match[3]:
                meta, block = json.loads(match[3]), None
            elif match[4] == "http":
                block = unescape(match[5])
            elif block is not None:
                name = " / ".join([path.stem] + [h for h in headings[2:] if h])
                if "skipBody" not in meta:  # an option of the parser, not of the bytes
                    cases.append(Case(name, meta, block, match[5]))
                block = None
    return cases


def main():
    options = options_of(__doc__)
    cases = load(options.data)
    with ThreadPoolExecutor(24) as pool:
        problems = list(pool.map(lambda case: case.check(options.host, options.port), cases))
    for case, problem in zip(cases, problems):
        if problem:
            print(f"FAIL {case.name}: {problem}")
        elif options.verbose:
            print(f"ok   {case.name}")
    failed = sum(problem is not None for problem in problems)
    stricter = sum(case.listed(STRICTER) for case in cases)
    print(f"llhttp: {len(cases) - failed} of {len(cases)} passed; {stricter} valid ones refused on purpose")
    return 1 if failed or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
