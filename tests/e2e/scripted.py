"""A provider in OpenAI's dialect that answers what a function says, and counts what it was asked.

    upstream = Scripted(lambda model, text: "yes").start()
    config = upstream.config("large")            # [provider.large], a local one
    upstream.asked                               # [(model, text of the last message)]
"""
import http.server
import json
import threading


class Scripted:
    def __init__(self, answer):
        self.answer, self.asked, self.lock = answer, [], threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.server.daemon_threads = True

    def start(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def config(self, name, models=(), output_usd="0"):
        """Each completion has one token: one of a million costs `output_usd`."""
        out = f'[provider.{name}]\nbase_url = "http://127.0.0.1:{self.server.server_port}/v1"\nlocal = true\n'
        for model in models:
            out += f'[[price]]\nprovider = "{name}"\nmodel = "{model}"\nfrom = 2026-01-01\ninput_usd = "0"\noutput_usd = "{output_usd}"\n'
        return out

    def _handler(scripted):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                model, text = body["model"], body["messages"][-1]["content"]
                with scripted.lock:
                    scripted.asked.append((model, text))
                said = scripted.answer(model, text)
                if isinstance(said, int):
                    return self.reply(said, {"error": {"message": "scripted", "code": said}})
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
                self.reply(200, {"id": "x", "object": "chat.completion", "created": 1, "model": model, "choices": [choice],
                                 "usage": usage})

            def reply(self, status, body):
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        return Handler
