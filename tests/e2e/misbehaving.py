"""A provider that does everything wrong, in OpenAI's dialect: the model of a request names the fault.

    upstream = Misbehaving().start()      # upstream.port; a thread of its own
    upstream.asked["reset_in_body"]       # requests that named it

By hand: `python3 tests/e2e/misbehaving.py 9000`, and a provider with base_url = "http://127.0.0.1:9000/v1", local = true.
A target that begins with /early/ is answered before its body is read. `storm` behaves well four times out of five.
"""
import asyncio
import collections
import gzip
import json
import random
import socket
import struct
import sys
import threading
import time
from email.utils import formatdate

TEXT = "Hello there"
USAGE = {"prompt_tokens": 100, "completion_tokens": 3, "total_tokens": 103}
FAULTS = {}


def fault(*names):
    def add(function):
        for name in names or (function.__name__,):
            FAULTS[name] = function
        return function

    return add


# --- what a proper answer is made of

def reply(**changes):
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    return {"id": "up-1", "object": "chat.completion", "model": "m", "choices": [choice], "usage": USAGE, **changes}


def head(status="200 OK", *lines, kind="application/json", keep=False):
    lines = [*lines] if keep else [*lines, "Connection: close"]
    return "\r\n".join([f"HTTP/1.1 {status}", f"Content-Type: {kind}", *lines, "", ""]).encode()


def whole(body, status="200 OK", *lines, kind="application/json", keep=False):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return head(status, f"Content-Length: {len(data)}", *lines, kind=kind, keep=keep) + data


def refusal(status, *lines, message="no", **members):
    return whole({"error": {"message": message, **members}}, status, *lines)


SSE_HEAD = head("200 OK", "Transfer-Encoding: chunked", kind="text/event-stream")
SSE_KEEP = head("200 OK", "Transfer-Encoding: chunked", kind="text/event-stream", keep=True)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(data):
    return chunk(b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n")


def delta(content=None, finish=None, **more):
    piece = {"index": 0, "delta": {"content": content} if content is not None else more, "finish_reason": finish}
    return event({"id": "up-1", "object": "chat.completion.chunk", "choices": [piece]})


ROLE = delta(role="assistant")
HELLO = SSE_HEAD + ROLE + delta("Hello")
FINISH = delta(finish="stop")
COUNTED = event({"id": "up-1", "object": "chat.completion.chunk", "choices": [], "usage": USAGE})
DONE = event(b"[DONE]") + chunk(b"")
GOOD_STREAM = SSE_KEEP + ROLE + delta("Hello") + delta(" there") + FINISH + COUNTED + DONE


class Exchange:
    """One request. `stream`: it asks for one."""

    def __init__(self, upstream, reader, writer, path, headers, body):
        self.upstream, self.reader, self.writer, self.path, self.headers = upstream, reader, writer, path, headers
        self.request = json.loads(body) if body else {}
        self.stream = bool(self.request.get("stream"))
        self.key = headers.get("authorization", "").removeprefix("Bearer ")
        self.keep = False

    async def send(self, data):
        self.writer.write(data)
        await self.writer.drain()

    async def good(self):
        await self.send(GOOD_STREAM if self.stream else whole(reply(), keep=True))
        self.keep = True

    async def silence(self):
        await self.reader.read()

    def reset(self):
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def forever(self, piece, pause_s=0.0):
        while True:
            await self.send(piece)
            await asyncio.sleep(pause_s)


# --- connections

@fault()
async def good(x):
    await x.good()


@fault()
async def slow_good(x):
    await x.send(HELLO)
    await asyncio.sleep(0.3)
    await x.send(FINISH + COUNTED + DONE)


@fault()
async def no_headers(x):
    await x.silence()


@fault()
async def slow_headers(x):
    for byte in head() * 100:
        await x.send(bytes([byte]))
        await asyncio.sleep(0.02)


@fault()
async def endless_headers(x):
    await x.send(b"HTTP/1.1 200 OK\r\n")
    await x.forever(b"x-more: " + b"a" * 1000 + b"\r\n")


@fault()
async def reset_after_request(x):
    x.reset()


@fault()
async def close_after_request(x):
    pass


@fault()
async def reset_in_headers(x):
    await x.send(head()[:30])
    await asyncio.sleep(0.02)
    x.reset()


@fault()
async def reset_in_body(x):
    await x.send(HELLO if x.stream else whole(reply())[:150])
    await asyncio.sleep(0.02)
    x.reset()


@fault()
async def reset_before_content(x):
    await x.send(SSE_HEAD + ROLE)
    await asyncio.sleep(0.02)
    x.reset()


@fault()
async def half_close(x):
    await x.send(HELLO if x.stream else whole(reply())[:150])
    x.writer.write_eof()
    await x.silence()


@fault()
async def stall_in_body(x):
    await x.send(HELLO if x.stream else whole(reply())[:150])
    await x.silence()


@fault()
async def stall_before_content(x):
    await x.send(SSE_HEAD + ROLE)
    await x.silence()


@fault()
async def pings_without_content(x):
    await x.send(SSE_HEAD + ROLE)
    await x.forever(chunk(b": ping\n\n"), 0.05)


@fault()
async def trickle(x):
    await x.send(head("200 OK", "Content-Length: 100000"))
    await x.forever(b" ", 0.05)


@fault()
async def stale(x):
    """Serves a connection once and closes it when it is used again."""
    if x.upstream.served[x.writer] == 1:
        await asyncio.sleep(0.2)
        await x.good()


# --- HTTP

@fault()
async def not_http(x):
    await x.send(b"SSH-2.0-OpenSSH_9.2\r\n")


@fault()
async def bad_status_line(x):
    await x.send(b"HTTP/1.1 abc OK\r\n\r\n")


@fault()
async def length_short(x):
    data = json.dumps(reply()).encode()
    await x.send(head("200 OK", f"Content-Length: {len(data) - 20}") + data)


@fault()
async def length_long(x):
    data = json.dumps(reply()).encode()
    await x.send(head("200 OK", f"Content-Length: {len(data) + 20}") + data)


@fault()
async def length_twice(x):
    await x.send(whole(reply(), "200 OK", "Content-Length: 7"))


@fault()
async def length_negative(x):
    await x.send(head("200 OK", "Content-Length: -1") + b"{}")


@fault()
async def chunk_broken(x):
    await x.send(HELLO + b"zz\r\nno chunk\r\n")


@fault()
async def chunk_endless_size(x):
    await x.send(HELLO + b"f" * 40 + b"\r\n")


@fault()
async def http10(x):
    await x.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(reply()).encode())


@fault()
async def two_responses(x):
    await x.send(whole(reply(), keep=True) + whole(reply(id="up-2"), keep=True))
    x.keep = True


@fault()
async def early_hints(x):
    await x.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
    await x.good()


@fault()
async def interim_flood(x):
    await x.forever(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


@fault()
async def switching_protocols(x):
    await x.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
    await x.silence()


@fault()
async def redirect(x):
    await x.send(whole({}, "302 Found", f"Location: http://127.0.0.1:{x.upstream.port}/v1/redirected"))


@fault()
async def no_content(x):
    await x.send(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")


@fault()
async def gzip_unasked(x):
    await x.send(whole(gzip.compress(json.dumps(reply()).encode()), "200 OK", "Content-Encoding: gzip"))


@fault()
async def wrong_content_type(x):
    await x.send(whole(json.dumps(reply()).encode(), kind="text/plain"))


@fault()
async def stream_as_json(x):
    await x.send(GOOD_STREAM.replace(b"text/event-stream", b"application/json"))


@fault()
async def endless_whitespace(x):
    if x.stream:
        await x.send(SSE_HEAD + ROLE)
        await x.forever(chunk(b"\n" * 1000))
    await x.send(head("200 OK", "Transfer-Encoding: chunked"))
    await x.forever(chunk(b" " * 65536))


# --- refusals

@fault("status_500", "status_502", "status_503", "status_529", "status_408", "status_400", "status_404", "status_413",
       "status_422", "status_403", "status_402", "status_401")
async def status(x):
    code = x.request["model"].removeprefix("status_")
    await x.send(refusal(f"{code} Fault", message=f"org-7 says {code}"))


@fault()
async def html_500(x):
    await x.send(whole(b"<html><title>Bad gateway</title></html>", "502 Bad Gateway", kind="text/html"))


@fault()
async def too_long(x):
    await x.send(refusal("400 Bad Request", code="context_length_exceeded", message="maximum context length is 8"))


@fault()
async def billing(x):
    await x.send(refusal("429 Too Many Requests", "Retry-After: 1", code="insufficient_quota"))


@fault("limited_seconds", "limited_date", "limited_past", "limited_absurd", "limited_word", "limited_bare")
async def limited(x):
    wait = {"seconds": "7", "date": formatdate(time.time() + 60, usegmt=True), "past": formatdate(0, usegmt=True),
            "absurd": "99999999999999999999", "word": "soon"}.get(x.request["model"].removeprefix("limited_"))
    await x.send(refusal("429 Too Many Requests", *([f"Retry-After: {wait}"] if wait else [])))


@fault()
async def first_key_refused(x):
    await x.send(refusal("401 Unauthorized", message="bad key")) if x.key.endswith("one") else await x.good()


@fault()
async def down_once(x):
    await x.send(refusal("503 Service Unavailable")) if x.number == 0 else await x.good()


# --- bodies

@fault()
async def error_in_200(x):
    await x.send(whole({"error": {"message": "out of cheese", "type": "server_error"}}))


@fault()
async def html_in_200(x):
    await x.send(whole(b"<html><body>Welcome to the captive portal</body></html>", kind="text/html"))


@fault()
async def empty_body(x):
    await x.send(whole(b""))


@fault()
async def no_choices(x):
    await x.send(whole(reply(choices=[])))


@fault()
async def no_finish(x):
    await x.send(whole(reply(choices=[{"index": 0, "message": {"role": "assistant", "content": TEXT}}])))


@fault()
async def bad_utf8(x):
    bad = json.dumps(reply()).encode().replace(b"Hello", b"\xff\xfe\xc3")
    await x.send(SSE_HEAD + event(bad) + DONE if x.stream else whole(bad))


@fault()
async def deep_json(x):
    await x.send(whole(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}"))


@fault()
async def usage_missing(x):
    await x.send(HELLO + FINISH + DONE if x.stream else whole({k: v for k, v in reply().items() if k != "usage"}))


@fault("usage_negative", "usage_huge")
async def usage_wrong(x):
    count = -5 if x.request["model"].endswith("negative") else 10**18
    usage = {"prompt_tokens": count, "completion_tokens": count, "total_tokens": 2 * count}
    await x.send(HELLO + FINISH + event({"choices": [], "usage": usage}) + DONE if x.stream
                 else whole(reply(usage=usage)))


# --- streams

@fault()
async def malformed_event(x):
    await x.send(HELLO + event(b"{not json") + FINISH + DONE)


@fault()
async def malformed_first_event(x):
    await x.send(SSE_HEAD + event(b"{not json") + FINISH + DONE)


@fault()
async def error_mid_stream(x):
    await x.send(HELLO + event({"error": {"message": "overloaded", "type": "server_error", "code": 500}}) + chunk(b""))


@fault()
async def error_first_in_stream(x):
    await x.send(SSE_HEAD + event({"error": {"message": "overloaded", "type": "server_error", "code": 500}}) + chunk(b""))


@fault()
async def end_without_marker(x):
    await x.send(HELLO + chunk(b""))


@fault()
async def empty_stream(x):
    await x.send(SSE_HEAD + chunk(b""))


@fault()
async def done_without_content(x):
    await x.send(SSE_HEAD + DONE)


@fault()
async def done_before_finish(x):
    await x.send(HELLO + DONE)


@fault()
async def event_too_long(x):
    await x.send(HELLO + chunk(b"data: "))
    await x.forever(chunk(b"a" * 65536))


@fault()
async def endless_stream(x):
    await x.send(HELLO)
    await x.forever(delta(" more"), 0.005)


@fault()
async def after_done(x):
    await x.send(HELLO + FINISH + COUNTED + event(b"[DONE]") + delta("more") + chunk(b""))


@fault()
async def content_after_finish(x):
    await x.send(HELLO + FINISH + delta("more") + COUNTED + DONE)


@fault()
async def second_answer_unasked(x):
    more = event({"id": "up-1", "choices": [{"index": 5, "delta": {"content": "six"}, "finish_reason": None}]})
    await x.send(HELLO + more + FINISH + COUNTED + DONE)


@fault()
async def tool_index_twice(x):
    call = lambda name: {"index": 0, "id": f"call-{name}", "type": "function",
                         "function": {"name": name, "arguments": "{}"}}
    await x.send(SSE_HEAD + ROLE + delta(tool_calls=[call("a")]) + delta(tool_calls=[call("b")])
                 + delta(finish="tool_calls") + COUNTED + DONE)


# --- storm

STORM = ["status_500", "status_529", "reset_after_request", "reset_in_body", "half_close", "close_after_request",
         "not_http", "empty_body", "error_in_200", "length_long", "html_in_200", "end_without_marker", "malformed_event",
         "stall_in_body", "no_headers", "limited_bare", "bad_utf8", "chunk_broken"]

STORM_BEGINS = 50  # requests that are answered before it


@fault()
async def storm(x):
    if x.upstream.asked["storm"] <= STORM_BEGINS or x.upstream.dice.random() >= 0.2:
        return await x.good()
    x.upstream.faults += 1
    name = x.upstream.dice.choice(STORM)
    x.request["model"] = name
    await FAULTS[name](x)


class Misbehaving:
    def __init__(self, seed=7):
        self.asked = collections.Counter()
        self.seen = collections.Counter()    # by name, streamed or not
        self.served = collections.Counter()  # by connection
        self.open = 0
        self.faults = 0
        self.dice = random.Random(seed)

    async def handle(self, reader, writer):
        self.open += 1
        try:
            while await self.exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self.open -= 1
            self.served.pop(writer, None)
            writer.close()

    async def exchange(self, reader, writer):
        try:
            lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:
            return False
        path = lines[0].split(" ")[1]
        headers = dict((name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:-2]))
        if path.startswith("/early/"):
            self.asked["early"] += 1
            writer.write(refusal("413 Payload Too Large", message="too large"))
            await writer.drain()
            return False
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        x = Exchange(self, reader, writer, path, headers, body)
        name = x.request.get("model", "")
        x.number = self.seen[name, x.stream]
        self.seen[name, x.stream] += 1
        self.asked[name] += 1
        self.served[writer] += 1
        await FAULTS.get(name, FAULTS["status_404"])(x)
        return x.keep

    async def serve(self, port, ready=None):
        server = await asyncio.start_server(self.handle, "127.0.0.1", port, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        if ready:
            ready.set()
        async with server:
            await server.serve_forever()

    def start(self):
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self.serve(0, ready)), daemon=True).start()
        ready.wait()
        return self


if __name__ == "__main__":
    asyncio.run(Misbehaving().serve(int(sys.argv[1])))
