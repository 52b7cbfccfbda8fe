"""Client, gateway and upstream in three network namespaces. What is local_only is answered here, and not one packet, no DNS
query and no ARP crosses the link to the upstream; the control shows that all of them would have been seen."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from conftest import SHOAL

REQUESTS = 1000
KEY = "0123456789abcdef-namespaces"

# Answers every question for an A record with the address of the upstream, and every POST like a provider.
UPSTREAM = textwrap.dedent("""
    import json, socket, threading
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    def names():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("10.77.2.2", 53))
        while True:
            query, client = server.recvfrom(512)
            end = query.index(b"\\0", 12) + 5
            is_a = query[end - 4:end - 2] == b"\\0\\1"
            answer = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\1\\0\\4" + socket.inet_aton("10.77.2.2") if is_a else b""
            server.sendto(query[:2] + b"\\x81\\x80\\0\\1" + (b"\\0\\1" if is_a else b"\\0\\0") + b"\\0\\0\\0\\0"
                          + query[12:end] + answer, client)
    threading.Thread(target=names, daemon=True).start()
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"id": "u", "object": "text_completion", "created": 1, "model": "big", "choices": [
                {"index": 0, "text": "from afar", "finish_reason": "stop", "logprobs": None}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_):
            pass
    ThreadingHTTPServer(("10.77.2.2", 8000), Handler).serve_forever()
""")

# Prints a line for each packet on the upstream's end of the link: its ethertype, and protocol and port where it is IPv4.
WATCH = textwrap.dedent("""
    import socket
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    sniffer.bind(("u0", 0))
    print("watching", flush=True)
    while True:
        packet = sniffer.recv(65535)
        kind = packet[12:14].hex()
        port = int.from_bytes(packet[36:38], "big") if kind == "0800" else 0
        print(kind, packet[23] if kind == "0800" else 0, port, flush=True)
""")

ASK = textwrap.dedent("""
    import http.client, json, sys
    count, headers = int(sys.argv[1]), json.loads(sys.argv[2])
    connection = http.client.HTTPConnection("10.77.1.1", 8080, timeout=60)
    seen = {}
    for _ in range(count):
        connection.request("POST", "/v1/completions", json.dumps({"prompt": "Once", "max_tokens": 1, "temperature": 0}),
                           {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        body = json.loads(answer.read())
        told = (answer.status, body.get("x_shoal", {}).get("egress") or json.dumps(body))
        seen[str(told)] = seen.get(str(told), 0) + 1
    print(json.dumps(seen))
""")


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def namespaces():
    """client --10.77.1.0/24-- gateway --10.77.2.0/24-- upstream; `in_one(name)` is how a command begins there."""
    tag = f"shoal{os.getpid()}"
    names = {name: f"{tag}{name[0]}" for name in ("client", "gateway", "upstream")}
    resolver = f"/etc/netns/{names['gateway']}"
    in_one = lambda name: ["ip", "netns", "exec", names[name]]
    try:
        for name in names.values():
            ip("netns", "add", name)
            # The kernel would look for routers by itself.
            subprocess.run(["ip", "netns", "exec", name, "sh", "-c",
                            "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up"], check=True)
        for one, other, net in (("client", "gateway", "10.77.1"), ("gateway", "upstream", "10.77.2")):
            near, far = ("c0", "g0") if one == "client" else ("g1", "u0")
            ip("link", "add", near, "netns", names[one], "type", "veth", "peer", "name", far, "netns", names[other])
            for name, link, address in ((one, near, "2" if one == "client" else "1"),
                                        (other, far, "1" if one == "client" else "2")):
                ip("-n", names[name], "address", "add", f"{net}.{address}/24", "dev", link)
                ip("-n", names[name], "link", "set", link, "up")
        os.makedirs(resolver)
        with open(f"{resolver}/resolv.conf", "w") as file:
            file.write("nameserver 10.77.2.2\n")
        yield in_one
    finally:
        for name in names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)
        shutil.rmtree(resolver, ignore_errors=True)


def need_namespaces():
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    if subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode != 0:
        pytest.skip("this system lets nobody make network namespaces")


@contextlib.contextmanager
def running(command, **options):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stdout.close()


def test_what_is_local_only_sends_no_packet(tmp_path, stories):
    need_namespaces()
    subprocess.run([SHOAL, "models", "import", stories, "--name", "stories", "--in-place", "--data-dir", tmp_path / "data"],
                   check=True, capture_output=True)
    (tmp_path / "config.toml").write_text(
        '[server]\nhost = "10.77.1.1"\nport = 8080\napi_keys_env = "KEYS"\n[log]\nlevel = "error"\n'
        '[provider.far]\nbase_url = "http://upstream.test:8000/v1"\nlocal = true\n'
        '[route.shoal-auto]\npolicy = "llm_first"\nlocal = "stories"\nremote = ["far/big"]\n')
    environment = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "KEYS": KEY}
    with namespaces() as in_one, contextlib.ExitStack() as stack:
        stack.enter_context(running([*in_one("upstream"), sys.executable, "-c", UPSTREAM]))
        watch = stack.enter_context(running([*in_one("upstream"), sys.executable, "-c", WATCH]))
        assert watch.stdout.readline() == "watching\n"
        os.set_blocking(watch.stdout.fileno(), False)
        serve = [SHOAL, "serve", "--config", tmp_path / "config.toml", "--data-dir", tmp_path / "data"]
        gateway = stack.enter_context(running([*in_one("gateway"), *map(str, serve)], env=environment))
        for line in gateway.stdout:
            if re.search(r"listens on http://10\.77\.1\.1:8080", line):
                break

        def ask(count, headers):
            out = subprocess.run([*in_one("client"), sys.executable, "-c", ASK, str(count),
                                  json.dumps({"Authorization": f"Bearer {KEY}", **headers})],
                                 capture_output=True, text=True, timeout=120)
            assert out.returncode == 0, out.stderr
            return json.loads(out.stdout)

        def packets():
            time.sleep(0.2)  # for what is on the link
            return [line.split() for line in watch.stdout.readlines()]

        assert ask(REQUESTS, {"x-shoal-privacy": "local_only"}) == {"(200, 'none')": REQUESTS}
        assert packets() == [], "nothing crossed the link"
        assert ask(3, {}) == {"(200, 'far')": 3}
        seen = packets()
        kinds = {tuple(packet) for packet in seen}
        assert ("0800", "17", "53") in kinds, "the name was asked for"
        assert ("0800", "6", "8000") in kinds, "and the upstream"
        assert any(packet[0] == "0806" for packet in seen), "and its hardware address"
