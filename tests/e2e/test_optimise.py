"""`shoal models optimise` and what `shoal pull` does of it, on a real model of 260 thousand weights whose feed-forward
rows are padded with zeros to a length that quantised types can hold. What is measured differs from run to run: the
tests look at what must be true of any measurement, and at what is left after an interruption."""
import hashlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from conftest import SHOAL, WEIGHTS

pytestmark = pytest.mark.usefixtures("stories")
SLOW = 300  # seconds, on a machine that is busy


def padded_model(path):
    """The stories of 260K weights with 192 in place of 172 feed-forward rows: the same function of its input."""
    reader = gguf.GGUFReader(WEIGHTS / "stories260K-f32.gguf")
    writer = gguf.GGUFWriter(path, "llama")
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        value = 192 if field.name == "llama.feed_forward_length" else field.contents()
        kind = field.types[0]
        writer.add_key_value(field.name, value, kind, sub_type=field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")
    for tensor in reader.tensors:
        values = np.array(tensor.data)
        if "ffn_down" in tensor.name:
            values = np.pad(values, ((0, 0), (0, 20)))
        elif "ffn_up" in tensor.name or "ffn_gate" in tensor.name:
            values = np.pad(values, ((0, 20), (0, 0)))
        writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    padded_model(path)
    return path


class Home:
    def __init__(self, folder):
        self.folder = folder
        self.models = folder / "data" / "models"
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")} | {
            "HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "LC_ALL": "C", "SHOAL_ENGINE__THREADS": "1"}

    def start(self, *args, **env):
        command = [str(SHOAL), *map(str, args), "--data-dir", str(self.folder / "data")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.env | env)

    def run(self, *args, **env):
        process = self.start(*args, **env)
        try:
            process.out, process.err = process.communicate(timeout=SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"did not end: {process.communicate()}")
        return process

    def ok(self, *args, **env):
        done = self.run(*args, **env)
        assert done.returncode == 0, done.out + done.err
        return done.out

    def show(self):
        return json.loads(self.ok("models", "show", "tiny", "--json"))

    def blobs(self):
        return {path.name.removeprefix("sha256-") for path in (self.models / "blobs").glob("*")}

    def left(self):
        """What lies in the partial folder, but for locks."""
        return [path.name for path in (self.models / "partial").iterdir() if path.suffix != ".lock"]


@pytest.fixture
def home(tmp_path, model_file):
    made = Home(tmp_path)
    made.ok("models", "import", model_file, "--name", "tiny")
    return made


def sum_of(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def report_of(out):
    return json.loads(out.splitlines()[-1])


def test_each_candidate_is_measured_beside_the_source_or_refused_with_a_reason(home, model_file):
    before = home.show()
    report = report_of(home.ok("models", "optimise", "tiny", "--dry-run", "--json"))
    assert (report["source_type"], report["source_sha256"], report["dry_run"]) == ("F32", sum_of(model_file), True)
    rows = {row["type"]: row for row in report["candidates"]}
    assert set(rows) == {"Q8_0", "Q6_K", "Q5_K", "Q5_0", "Q4_K", "IQ4_NL", "Q4_0"}
    for name in ("Q6_K", "Q5_K", "Q4_K"):
        assert re.fullmatch(rf"rows of (64|192) in \S+ are no multiple of the 256 weights of a {name} block", rows[name]["not_tested"])
    for name in ("Q8_0", "Q5_0", "IQ4_NL", "Q4_0"):
        row = rows[name]
        for side in ("source", "candidate"):
            assert all(value > 0 for value in row[side].values()), row
        assert row["candidate"]["file_bytes"] < row["source"]["file_bytes"] == model_file.stat().st_size
        assert row["speedup"] == pytest.approx((row["prefill_ratio"] * row["decode_ratio"] * row["streams16_ratio"]) ** (1 / 3))
        assert row["kl"] > 0 and 0 < row["top1_agreement"] < 1
        assert row["source"]["perplexity"] == rows["Q8_0"]["source"]["perplexity"]
    # Fewer bits are farther away.
    assert rows["Q8_0"]["kl"] < rows["Q5_0"]["kl"] < rows["Q4_0"]["kl"]
    assert rows["Q8_0"]["top1_agreement"] > rows["Q4_0"]["top1_agreement"]
    assert home.show() == before and home.blobs() == {before["sha256"]} and home.left() == []


def test_a_chosen_type_becomes_the_file_in_use_and_is_undone(home, model_file):
    source = sum_of(model_file)
    out = home.ok("models", "optimise", "tiny", "--candidate", "q8_0")
    lines = out.splitlines()
    assert lines[0].split()[:2] == ["TYPE", "FILE"] and lines[1].startswith("F32") and lines[1].endswith("the source")
    assert lines[2].startswith("Q8_0") and lines[2].endswith("chosen")
    assert "tiny is now Q8_0, made of F32: no quality is gained by that." in out
    shown = home.show()
    assert shown["sha256"] != source and home.blobs() == {source, shown["sha256"]} and home.left() == []
    assert sum_of(shown["path"]) == shown["sha256"]
    lineage = shown["rewrite"]
    assert (lineage["source_sha256"], lineage["source_type"], lineage["terms"]) == (source, "F32", "chosen by the user")
    assert lineage["measured"]["type"] == "Q8_0" and lineage["machine"] and lineage["made_at"].endswith("Z")
    assert {str(tensor.tensor_type.name) for tensor in gguf.GGUFReader(shown["path"]).tensors} == {"Q8_0", "F32"}
    text = home.ok("models", "show", "tiny")
    assert re.search(r"^rewritten +from F32 as Q8_0 \(chosen by the user\)", text, re.MULTILINE)
    assert re.search(rf"^delivered +sha256 {source}", text, re.MULTILINE)
    assert home.ok("run", "tiny", "Once upon a time", "--temperature", "0", "--max-tokens", "8").strip()

    assert home.run("models", "verify", "tiny").returncode == 0
    blob = home.models / "blobs" / f"sha256-{source}"
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    damaged = home.run("models", "verify", "tiny")
    assert damaged.returncode == 1 and f"wanted sha256 {source}" in damaged.err and "--undo" in damaged.err
    blob.write_bytes(good)

    assert source in home.ok("models", "optimise", "tiny", "--undo")
    assert home.show()["sha256"] == source and "rewrite" not in home.show() and home.blobs() == {source}
    again = home.run("models", "optimise", "tiny", "--undo")
    assert again.returncode == 2 and "as it was delivered" in again.err


def test_terms_that_no_candidate_meets_bring_the_source_back(home, model_file):
    home.ok("models", "optimise", "tiny", "--candidate", "Q4_0")
    assert "rewrite" in home.show()
    out = home.ok("models", "optimise", "tiny", "--least-speedup", "100")
    assert "tiny is again what was delivered, F32: no candidate is allowed on these terms." in out
    assert out.count(", at least 100x") == 4
    assert home.show()["sha256"] == sum_of(model_file) and home.blobs() == {sum_of(model_file)}


def test_removing_a_rewritten_model_leaves_no_file(home):
    home.ok("models", "optimise", "tiny", "--candidate", "Q8_0")
    home.ok("models", "rm", "tiny")
    assert home.blobs() == set() and home.left() == []


@pytest.mark.parametrize("arguments, code, said", [
    (["tiny", "--candidate", "Q9"], 2, 'wanted one of Q8_0, Q6_K, Q5_K, Q5_0, Q4_K, IQ4_NL, Q4_0, got "Q9"'),
    (["tiny", "--candidate", "Q4_K"], 2, "tiny cannot be written as Q4_K: rows of "),
    (["tiny", "--agree-memory", "lots"], 2, "--agree-memory"),
    (["tiny", "--undo"], 2, "tiny is as it was delivered"),
    (["tinny"], 5, 'did you mean "tiny"?')])
def test_what_cannot_be_done_is_said(home, arguments, code, said):
    done = home.run("models", "optimise", *arguments)
    assert done.returncode == code and said in done.err, done.err


def test_an_embedding_model_is_refused(home):
    embedder = WEIGHTS / "all-MiniLM-L6-v2-q8_0.gguf"
    if not embedder.exists():
        pytest.skip(f"no test weights at {embedder}")
    home.ok("models", "import", embedder, "--name", "embedder", "--in-place")
    done = home.run("models", "optimise", "embedder")
    assert done.returncode == 2 and "is an embedding model" in done.err


def workers_of(home):
    """Processes of the worker that a command of this test started."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "comm").read_text() == "shoal-worker\n":
                descriptors = [os.readlink(link) for link in (entry / "fd").iterdir()]
                found += [entry.name] if any(str(home.folder) in target for target in descriptors) else []
        except OSError:
            continue
    return found


def until(condition, what):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@pytest.mark.parametrize("sign, code", [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
@pytest.mark.parametrize("moment", ["comparing what both predict", "measuring speed"])
def test_an_interruption_leaves_the_model_as_it_was(home, model_file, sign, code, moment):
    process = home.start("models", "optimise", "tiny", "--candidate", "Q8_0")
    for line in process.stderr:
        if moment in line:
            break
    process.send_signal(sign)
    _, err = process.communicate(timeout=SLOW)
    assert process.returncode == code
    assert sign == signal.SIGKILL or "error: interrupted; tiny is as it was" in err
    until(lambda: not workers_of(home), "a worker outlives its command")
    assert home.show()["sha256"] == sum_of(model_file) and home.blobs() == {sum_of(model_file)}
    if sign == signal.SIGKILL:  # nobody could clean up: the next try does
        assert home.left() == ["tiny.optimise"]
        home.ok("models", "optimise", "tiny", "--candidate", "Q8_0")
    assert home.left() == []


class Pulled(Home):
    """A home whose catalogue has the model, as a file of this machine."""

    def __init__(self, folder, model_file):
        super().__init__(folder)
        (folder / "catalogue.toml").write_text(
            f'[model.tiny]\nlicence = "MIT"\nkind = "chat"\nsha256 = "{sum_of(model_file)}"\n'
            f'[[model.tiny.ways]]\nkind = "url"\nurl = "file://{model_file}"\n')
        self.env["SHOAL_MODELS__CATALOGUE"] = str(folder / "catalogue.toml")


def test_a_pull_rewrites_what_is_free_and_says_what_it_did(tmp_path, model_file):
    home = Pulled(tmp_path, model_file)
    done = home.run("pull", "tiny")
    assert done.returncode == 0 and re.search(r"^tiny  .* installed$", done.out, re.MULTILINE), done.err
    shown = home.show()
    if "rewrite" in shown:  # as measured now, on this machine
        assert "tiny: rewritten from F32 as Q8_0: " in done.err and "`shoal models optimise tiny --undo` goes back" in done.err
        assert shown["rewrite"]["terms"] == "free" and shown["rewrite"]["measured"]["kl"] <= 0.001
        assert shown["rewrite"]["measured"]["speedup"] >= 1.3
    else:
        assert "tiny stays F32; not free: Q8_0: " in done.err
        assert shown["sha256"] == sum_of(model_file)
    assert home.ok("models", "verify", "tiny") and home.left() == []
    assert "already here" in home.ok("pull", "tiny")


def test_a_pull_measures_nothing_when_it_is_turned_off(tmp_path, model_file):
    home = Pulled(tmp_path, model_file)
    done = home.run("pull", "tiny", SHOAL_MODELS__OPTIMISE="off")
    assert done.returncode == 0 and "Q8_0" not in done.err
    assert home.show()["sha256"] == sum_of(model_file)


@pytest.mark.parametrize("worker", ["/bin/false", "/nowhere/shoal-worker"])
def test_a_pull_is_whole_when_measuring_fails(tmp_path, model_file, worker):
    home = Pulled(tmp_path, model_file)
    done = home.run("pull", "tiny", SHOAL_ENGINE__WORKER_PATH=worker)
    assert done.returncode == 0 and "tiny stays " in done.err and worker.split("/")[-1] in done.err + "false", done.err
    assert home.show()["sha256"] == sum_of(model_file) and home.left() == []


def test_an_interrupted_pull_keeps_the_model_as_it_came(tmp_path, model_file):
    home = Pulled(tmp_path, model_file)
    process = home.start("pull", "tiny")
    for line in process.stderr:
        if "comparing what both predict" in line:
            break
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SLOW)
    assert process.returncode == 130 and "tiny is installed as it was delivered" in err
    assert home.show()["sha256"] == sum_of(model_file) and home.left() == []
