"""A web server that serves one file the way a bad day would: cut, halted, without ranges, or with other bytes."""
import http.server
import threading


class Origin:
    """Serves `content` under /model.gguf. Change the fields before or between requests."""

    def __init__(self, content):
        self.content = content
        self.ranges = True
        self.cuts = []  # the connection of each next GET ends when this many bytes of the file have been sent
        self.gates = []  # (offset, Event): bytes from this offset on wait for the event
        self.head_length = len(content)  # what HEAD says; None: nothing
        self.requests = []  # (method, path, first byte asked for)
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def base(self):
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self):
        return self.base + "/model.gguf"

    def starts(self):
        """Where each GET of the file began."""
        return [start for method, path, start in self.requests if method == "GET" and path == "/model.gguf"]

    def gate(self, offset):
        event = threading.Event()
        self.gates.append((offset, event))
        return event

    def close(self):
        for _, event in self.gates:
            event.set()
        self.server.shutdown()
        self.server.server_close()

    def handler(origin):
        class Handler(http.server.BaseHTTPRequestHandler):
            def start(self):
                asked = self.headers.get("Range", "")
                return int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0

            def answer(self, method):
                with origin.lock:
                    origin.requests.append((method, self.path, self.start()))
                    cut = origin.cuts.pop(0) if method == "GET" and origin.cuts else None
                if self.path == "/moved":
                    return self.redirect()
                if self.path != "/model.gguf":
                    return self.send_error(404)
                start = self.start() if origin.ranges else 0
                if start >= len(origin.content):
                    return self.send_error(416)
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(origin.content) - 1}/{len(origin.content)}")
                if method == "GET":
                    self.send_header("Content-Length", str(len(origin.content) - start))
                elif origin.head_length is not None:
                    self.send_header("Content-Length", str(origin.head_length))
                self.end_headers()
                if method == "GET":
                    self.send(start, cut)

            def redirect(self):
                self.send_response(302)
                self.send_header("Location", "/model.gguf")
                self.send_header("Content-Length", "5")
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(b"moved")

            def send(self, start, cut):
                end = len(origin.content) if cut is None else cut
                sent = start
                try:
                    for offset, event in [*origin.gates, (end, None)]:
                        offset = min(offset, end)
                        if offset > sent:
                            self.wfile.write(origin.content[sent:offset])
                            sent = offset
                        if event and offset < end:
                            event.wait()
                except OSError:  # the client went away
                    pass

            def do_HEAD(self):
                self.answer("HEAD")

            def do_GET(self):
                self.answer("GET")

            def log_message(self, *args):
                pass

        return Handler
