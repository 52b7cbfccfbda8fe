"""Several models at once on the cores of one machine."""
import concurrent.futures
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from conftest import SHOAL

MODELS = ("minimind2-small-26m-q4_0", "stories15M-q4_0", "stories260K-f32")
PROMPTS = ("Once upon a time", "The sea is", "A dog and a cat")


def answer(server, model, prompt, tokens=60):
    status, _, body = server.request("POST", "/v1/completions", {"model": model, "prompt": prompt, "max_tokens": tokens,
                                     "temperature": 0, "ignore_eos": True})
    assert status == 200, body
    assert body["usage"]["completion_tokens"] == tokens
    return body["choices"][0]["text"]


def workers(server):
    out = subprocess.run([SHOAL, "ps", "--json", "--config", server.config], capture_output=True, text=True, check=True,
                         env={"XDG_RUNTIME_DIR": str(server.tmp), "PATH": "/usr/bin:/bin", "HOME": str(server.tmp)}).stdout
    return {row["model"]: row for row in json.loads(out)["workers"]}


def test_models_that_answer_at_once_say_what_they_say_alone(serve, stories, tmp_path):
    """Three models on two cores take turns; every answer is the one that the model gives when it is alone."""
    server = serve(f'[models]\ndirs = ["{stories.parent}"]\n[engine]\nexact = true\n', data_dir=tmp_path)
    asked = [(model, prompt) for prompt in PROMPTS for model in MODELS]
    alone = {pair: answer(server, *pair) for pair in asked}
    for _ in range(3):
        with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
            together = dict(zip(asked, pool.map(lambda pair: answer(server, *pair), asked)))
        assert together == alone


def test_cores_are_held_while_there_is_work_and_not_after(serve, stories, tmp_path):
    server = serve(f'[models]\ndirs = ["{stories.parent}"]\n', data_dir=tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(answer, server, MODELS[0], "Once", 1000)
        held = 0
        while not running.done():
            held = max(held, workers(server).get(MODELS[0], {}).get("threads", 0))
        running.result()
    assert held == len(os.sched_getaffinity(0)), "alone it has all of them"
    end = time.monotonic() + 60
    while workers(server)[MODELS[0]]["threads"]:
        assert time.monotonic() < end, "an idle worker holds cores"


def cores_of_threads(pid):
    return [set(os.sched_getaffinity(int(task.name))) for task in Path(f"/proc/{pid}/task").iterdir()]


def test_each_thread_that_computes_keeps_to_a_core(serve, stories, tmp_path):
    """Two on one core would take twice as long. What computes nothing goes wherever there is room."""
    every = os.sched_getaffinity(0)
    if len(every) == 1:
        pytest.skip("needs two cores")
    server = serve(f'[models]\ndirs = ["{stories.parent}"]\n', data_dir=tmp_path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(answer, server, MODELS[0], "Once", 1000)
        seen = []
        while not running.done():
            row = workers(server).get(MODELS[0], {})
            if row.get("threads") == len(every):
                seen = cores_of_threads(row["pid"])
        running.result()
    alone = [next(iter(cores)) for cores in seen if len(cores) == 1]
    assert set(alone) == every and len(alone) == len(every), seen
    assert len(seen) > len(alone) and all(cores == every for cores in seen if len(cores) != 1), seen
