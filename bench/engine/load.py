"""Plans for bench/load_client, and what came of them."""
import json
import subprocess

from common import BIN


class Result:
    """One request: times in microseconds of CLOCK_MONOTONIC, and its answer."""

    def __init__(self, raw):
        self.connection, self.status, self.outcome = raw["connection"], raw["status"], raw["outcome"]
        self.sent_us, self.head_us, self.end_us = raw["sent_us"], raw["head_us"], raw["end_us"]
        self.chunks, self.answer = [], None  # (time, event) of a stream; else the parsed body
        self.arrivals = {}  # when the client read an event -> when it came to its socket; only with `arrivals`
        if raw["events_us"]:
            for at, block in zip(raw["events_us"], raw["body"].split("\n\n")):
                if block.startswith("data: ") and block != "data: [DONE]":
                    self.chunks.append((at, json.loads(block[6:])))
            self.arrivals = dict(zip(raw["events_us"], raw["arrived_us"]))
        elif self.outcome == "ok":
            self.answer = json.loads(raw["body"])

    @property
    def wall_us(self):
        return self.end_us - self.sent_us

    def usage(self):
        for source in [self.answer] if self.answer else [event for _, event in reversed(self.chunks)]:
            if source.get("usage"):
                return source["usage"]
        raise RuntimeError(f"an answer without usage: {self.outcome}, {self.answer or self.chunks[-2:]}")

    def last(self):
        """What carries the server's own timings: the answer, or the last event that has them."""
        if self.answer:
            return self.answer
        return next(e for _, e in reversed(self.chunks) if "x_shoal" in e or "timings" in e)

    def token_times(self):
        """When text came. A token that is half a character comes with the next."""
        def text(event):
            choice = event["choices"][0] if event.get("choices") else {}
            return choice.get("text") or (choice.get("delta") or {}).get("content")
        return [at for at, event in self.chunks if text(event)]


class Plan:
    def __init__(self):
        self.lines = []

    def add(self, connection, path, body, after_events=0, delay_us=0, cancel_us=-1, final=False):
        data = json.dumps(body).encode()
        head = (f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(data)}\r\n\r\n").encode()
        self.lines.append(f"{connection} {after_events} {delay_us} {cancel_us} {int(final)} {len(head) + len(data)}\n".encode()
                          + head + data)

    def run(self, port, may_fail=False, arrivals=False):
        command = [BIN / "load_client", str(port), *(["--arrivals"] if arrivals else [])]
        out = subprocess.run(command, input=b"".join(self.lines), check=True, stdout=subprocess.PIPE)
        results = [Result(json.loads(line)) for line in out.stdout.decode("utf-8", "replace").rstrip("\n").split("\n")]
        for result in results:
            if not may_fail and (result.status != 200 or result.outcome != "ok"):
                raise RuntimeError(f"a request failed: {result.status} {result.outcome} {result.answer}")
        return results


def wall_s(results):
    return (max(r.end_us for r in results) - min(r.sent_us for r in results)) / 1e6


def decode_rate(results):
    """Tokens per second over all streams while every one of them decodes: no prefill, no tail."""
    begin = max(r.token_times()[0] for r in results)
    end = min(r.token_times()[-1] for r in results)
    tokens = 0.0
    for r in results:
        times = r.token_times()
        tokens += sum(begin < t <= end for t in times) * r.usage()["completion_tokens"] / len(times)
    return tokens / ((end - begin) / 1e6)
