"""`make run` offers the provider whose key is set: on a terminal, with a cap, and never without being told to."""
import os
import pty
import subprocess

import pytest
from conftest import ROOT, SHOAL


def offer(tmp_path, key, answer, terminal=True):
    """(exit code, what was said, what stands in the configuration or None)."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), key: "sk-canary-5d41402abc4b2a76"}
    ours, theirs = pty.openpty()
    process = subprocess.Popen([ROOT / "tools/offer_provider", SHOAL], env=environment, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, stdin=theirs if terminal else subprocess.DEVNULL, text=True)
    os.write(ours, f"{answer}\n".encode())
    said = process.communicate(timeout=30)[0]
    os.close(ours)
    os.close(theirs)
    config = tmp_path / ".config/shoal/config.toml"
    return process.returncode, said, config.read_text() if config.exists() else None


@pytest.mark.parametrize("key, target", [("OPENAI_API_KEY", "openai/gpt-4o-mini"),
                                         ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
                                         ("GEMINI_API_KEY", "gemini/gemini-2.5-flash")])
def test_an_amount_writes_a_configuration_that_works(tmp_path, key, target):
    code, said, config = offer(tmp_path, key, "2.50")
    assert code == 0 and target in said
    assert 'daily_cap_usd = "2.50"' in config and f'remote = ["{target}"]' in config and f'key_env = ["{key}"]' in config
    assert "canary" not in config + said, "a key is named, never written"
    path = tmp_path / ".config/shoal/config.toml"
    checked = subprocess.run([SHOAL, "config", "check", "--config", path], capture_output=True, text=True,
                             env={**os.environ, key: "sk-canary"})
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert offer(tmp_path, key, "9")[1:] == ("", config), "asked once"


def test_nothing_is_written_without_an_amount(tmp_path):
    assert offer(tmp_path, "OPENAI_API_KEY", "")[::2] == (0, None)
    assert offer(tmp_path, "OPENAI_API_KEY", "a lot")[::2] == (2, None)
    code, said, config = offer(tmp_path, "OPENAI_API_KEY", "1", terminal=False)
    assert (code, config) == (0, None) and "use-a-provider.md" in said
    assert offer(tmp_path, "SOME_OTHER_KEY", "1") == (0, "", None)
