"""The documentation says what is so: its commands run, its links lead somewhere, and every error code, command and
configuration key is in the reference.

A block of shell in README.md or docs/ begins with ```sh test (it is run, line by line it must succeed) or with
```sh no-test REASON. In a block that is run, http://localhost:8080 is the test's server and `shoal` the built program.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, SHOAL, STORE

PAGES = sorted(p for p in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if p.exists())
TOP = [p for p in sorted(ROOT.glob("*.md")) if p not in PAGES]
FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page):
    """(line, info string, text) of every fenced block."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match.group(1).strip(), match.group(2)


def runnable():
    for page in PAGES:
        for line, info, text in blocks(page):
            if info.split()[:2] == ["sh", "test"]:
                yield pytest.param(text, id=f"{name_of(page)}:{line}")


def slugs_of(page):
    """The anchors that GitHub gives to the headings of a page."""
    prose = FENCE.sub("", page.read_text())
    titles = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def run_shoal(*args):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    return subprocess.run([str(SHOAL), *args], capture_output=True, text=True, timeout=60, env=environment)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_shell_block_says_whether_it_is_run(page):
    silent = []
    for line, info, _ in blocks(page):
        words = info.split()
        if words[:1] in (["bash"], ["shell"], ["console"]) or words == ["sh"]:
            silent.append(f"{line}: ```{info}")
        elif words[:1] == ["sh"] and not (words == ["sh", "test"] or (words[1] == "no-test" and len(words) > 2)):
            silent.append(f"{line}: ```{info}")
    assert not silent, "write ```sh test, or ```sh no-test REASON"


@pytest.mark.parametrize("script", list(runnable()))
def test_block_runs(server, tmp_path, script):
    programs = tmp_path / "bin"
    programs.mkdir()
    # Commands see the models of the test store and, through the admin socket, the server.
    wrapper = programs / "shoal"
    wrapper.write_text(f'#!/bin/sh\nexec "{SHOAL}" "$@"\n')
    wrapper.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    environment |= {
        "PATH": f"{programs}:{Path(sys.executable).parent}:{environment['PATH']}",
        "SHOAL_SERVER__DATA_DIR": str(STORE),
        "SHOAL_SERVER__PORT": str(server.port),
        "XDG_RUNTIME_DIR": str(server.tmp),
        "HOME": str(tmp_path),
    }
    address = server.base_url.removesuffix("/v1")
    script = script.replace("http://localhost:8080", address).replace("http://127.0.0.1:8080", address)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=300,
                          cwd=tmp_path, env=environment)
    assert done.returncode == 0, f"{script}\n--- out\n{done.stdout}\n--- err\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES + TOP, ids=name_of)
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if re.match(r"[a-z][a-z+.-]*:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        if not to.exists():
            broken.append(f"{target}: no such file")
        elif anchor and to.suffix == ".md" and anchor not in slugs_of(to):
            broken.append(f"{target}: no such heading")
    assert not broken


@pytest.mark.parametrize(("page", "command"), [
    ("errors.md", ("explain", "--markdown")),
    ("configuration.md", ("config", "reference")),
])
def test_generated_page_is_fresh(page, command):
    made = run_shoal(*command)
    assert made.returncode == 0, made.stderr
    assert (ROOT / "docs" / "reference" / page).read_text() == made.stdout, f"shoal {' '.join(command)} > {page}"


def commands_of(words=()):
    """Every command, from the help that the program prints."""
    shown = run_shoal(*words, "--help").stdout
    section = re.search(r"^Subcommands:\n((?:  .*\n)+)", shown, re.MULTILINE)
    if not section:
        return [" ".join(words)]
    children = re.findall(r"^  ([a-z]+) ", section.group(1), re.MULTILINE)
    return [found for child in children for found in commands_of((*words, child))]


def test_every_command_is_documented():
    titles = set(re.findall(r"^#+ shoal (.+)$", (ROOT / "docs/reference/cli.md").read_text(), re.MULTILINE))
    assert set(commands_of()) - titles == set()
    groups = {command.rsplit(" ", 1)[0] for command in commands_of()}
    assert titles - set(commands_of()) - groups == set(), "documented, but not a command"


@pytest.mark.parametrize("command", commands_of() if SHOAL.exists() else [])
def test_every_option_is_documented(command):
    page = (ROOT / "docs/reference/cli.md").read_text()
    section = re.search(rf"^#+ shoal {command}\n(.*?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert section, f"no section `shoal {command}`"
    common = {"--help", "--config", "--data-dir", "--json"}
    options = set(re.findall(r"^ +(?:-\w,)?(--[a-z-]+)", run_shoal(*command.split(), "--help").stdout, re.MULTILINE))
    assert {o for o in options - common if f"`{o}" not in section.group(1)} == set()


def test_every_path_and_parameter_is_documented(server):
    page = (ROOT / "docs/reference/http-api.md").read_text()
    _, _, document = server.get("/openapi.json")
    assert [path for path in document["paths"] if f"`{path}`" not in page and f" {path}`" not in page] == []
    schemas = document["components"]["schemas"]
    missing = [f"{schema}.{name}" for schema in ("ChatRequest", "CompletionRequest", "EmbeddingRequest", "Message")
               for name in schemas[schema]["properties"] if f"`{name}`" not in page]
    assert missing == []


def test_every_metric_is_documented(server):
    page = (ROOT / "docs/reference/metrics.md").read_text()
    server.chat("Hi", max_tokens=1)
    _, _, text = server.get("/metrics")
    names = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    assert names, text
    assert {name for name in names if f"`{name}`" not in page} == set()
