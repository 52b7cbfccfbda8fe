"""Several models at once on the cores of one machine."""
import concurrent.futures
import json
import os
import subprocess
import time

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
    server = serve(f'[models]\ndirs = ["{stories.parent}"]\n', data_dir=tmp_path)
    asked = [(model, prompt) for prompt in PROMPTS for model in MODELS]
    alone = {pair: answer(server, *pair) for pair in asked}
    for _ in range(3):
        with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
            together = dict(zip(asked, pool.map(lambda pair: answer(server, *pair), asked)))
        assert together == alone


def test_no_more_threads_than_cores_and_none_at_rest(serve, stories, tmp_path):
    server = serve(f'[models]\ndirs = ["{stories.parent}"]\n', data_dir=tmp_path)
    for model in MODELS:
        answer(server, model, "Once", 2)
    with concurrent.futures.ThreadPoolExecutor(len(MODELS)) as pool:
        running = [pool.submit(answer, server, model, "Once", 120) for model in MODELS for _ in range(4)]
        seen = []
        while not all(future.done() for future in running):
            seen.append([workers(server)[model]["threads"] for model in MODELS])
        for future in running:
            future.result()
    assert seen and max(map(sum, seen)) <= len(os.sched_getaffinity(0)), seen
    end = time.monotonic() + 20
    while any(row["threads"] for row in workers(server).values()):
        assert time.monotonic() < end, "an idle worker holds cores"
