"""What the HTTP suites share: a raw client that sees every byte, and a splitter of responses."""
import argparse
import json
import re
import socket

# The codes with which Shoal's HTTP layer refuses a request before anything reads it. Any other answer means
# that the request was understood and reached the application.
HTTP_LAYER_CODES = {"invalid_http", "uri_too_long", "headers_too_large", "payload_too_large", "expectation_failed",
                    "http_version_unsupported", "request_timeout", "origin_denied"}


def options_of(description):
    """The options that every suite takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--verbose", action="store_true")
    return parser.parse_args()


class Response:
    def __init__(self, status, fields, body, complete):
        self.status, self.fields, self.body, self.complete = status, fields, body, complete

    def field(self, name):
        return next((v for n, v in self.fields if n.lower() == name.lower()), None)

    def reached_application(self):
        """2xx, or an error that the application and not the HTTP layer gave."""
        if 200 <= self.status < 400:
            return True
        try:
            return json.loads(self.body)["error"]["code"] not in HTTP_LAYER_CODES
        except (ValueError, KeyError, TypeError):
            return self.status in (404, 405)


def split_responses(data, heads=()):
    """The responses in `data`; `heads` says which of them answer a HEAD request and so have no body."""
    out = []
    while data:
        end = data.find(b"\r\n\r\n")
        match = re.match(rb"HTTP/1\.[01] (\d{3})", data)
        if end < 0 or not match:
            out.append(Response(-1, [], data, False))
            break
        fields = [tuple(part.strip() for part in line.decode("latin-1").split(":", 1))
                  for line in data[:end].split(b"\r\n")[1:] if b":" in line]
        response = Response(int(match[1]), fields, b"", True)
        data = data[end + 4:]
        index = sum(1 for r in out if r.status >= 200)
        bodiless = response.status < 200 or response.status in (204, 304) or index in heads
        length = int(response.field("Content-Length") or 0)
        if not bodiless and (response.field("Transfer-Encoding") or "") == "chunked":
            response.body, data = data, b""
        elif not bodiless:
            response.complete = len(data) >= length
            response.body, data = data[:length], data[length:]
        out.append(response)
    return out


class Exchange:
    """Sends the steps on one connection, reads until the server closes or is silent."""

    def __init__(self, host, port, steps, silence_s=3.0, heads=()):
        self.closed = False
        received = b""
        with socket.create_connection((host, port), timeout=silence_s) as sock:
            for step in steps:
                try:
                    sock.sendall(step)
                except OSError:
                    pass
                try:
                    while True:
                        part = sock.recv(65536)
                        if not part:
                            self.closed = True
                            break
                        received += part
                except TimeoutError:
                    pass
                except OSError:
                    self.closed = True
                if self.closed:
                    break
        self.raw = received
        self.responses = split_responses(received, heads)
        self.final = [r for r in self.responses if r.status >= 200]
        self.status = self.final[0].status if self.final else None

    def refused(self):
        """An error of the HTTP layer or a close, and nothing after it."""
        if not self.closed or len(self.final) > 1:
            return False
        return self.status is None or (self.status >= 400 and not self.final[0].reached_application())
