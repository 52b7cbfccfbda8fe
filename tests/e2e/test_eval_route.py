"""Routers scored from outcome tables by the real binary: faults of files, and the numbers of RouteLLM's own data, which were
computed by other programs before."""
import json
import os
import subprocess

import pytest
from conftest import DATA, SHOAL

MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"


def run(*args):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
    return subprocess.run([str(SHOAL), "eval", "route", *map(str, args)], capture_output=True, text=True, timeout=120, env=clean)


def result(*args):
    done = run(*args, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return report, {router["router"]: router for router in report["routers"]}


def table(folder, rows=400):
    """Subjects `hard`, where only the large model is right, and `easy`, where both are; long prompts are hard."""
    lines = ["prompt,subject,small,large,large_cost"]
    for i in range(rows):
        hard = i % 2
        lines.append(f'"question {i}, {"very " * hard * 5}hard",{"hard" if hard else "easy"},{1 - hard},1,0.01')
    path = folder / "table.csv"
    path.write_text("\n".join(lines))
    return path


def test_a_table_of_ones_own(tmp_path):
    report, routers = result("--outcomes", table(tmp_path), "--weak", "small", "--strong", "large", "--group-column", "subject",
                             "--weak-usd", 0.1, "--strong-usd", 5)
    assert (report["rows"], report["groups"], report["gain"], report["harm"]) == (400, 2, pytest.approx(0.5), 0)
    # All that is gained lies in the half that each of them finds: the curve is at 1 from 0.5 on.
    for name in ("length", "group", "oracle", "oracle-difficulty"):
        assert routers[name]["apgr"] == pytest.approx(0.75)
        assert routers[name]["cpt50"] == pytest.approx(0.25)
        assert routers[name]["verdict"] == "better"
        assert routers[name]["auroc_difficulty"] == 1
    assert abs(routers["random"]["apgr"] - 0.5) < 0.08
    points = routers["oracle"]["arena"]
    assert [p["share"] for p in points[:5]] == [0, 0.25, 0.5, 0.75, 1]
    assert points[4]["usd_per_1k"] == pytest.approx(10), "the table's own cost wins over the price"
    assert points[0]["usd_per_1k"] == pytest.approx(0.1)


def test_scores_of_another_program(tmp_path):
    path = table(tmp_path)
    scores = tmp_path / "scores.jsonl"
    scores.write_text("".join(json.dumps({"prompt": f'QUESTION {i} {"very " * (i % 2) * 5}hard', "score": -(i % 2),
                                          "confidence": 0.9 - 0.8 * (i % 2)}) + "\n" for i in range(400)))
    args = ("--outcomes", path, "--weak", "small", "--strong", "large", "--router", "random", "--router")
    _, routers = result(*args, f"scores:{scores}")
    found = routers[f"scores:{scores}"]
    assert found["apgr"] == pytest.approx(0.25) and found["verdict"] == "worse"
    assert found["confidence"]["brier"] == pytest.approx(0.01) and found["confidence"]["ece"] == pytest.approx(0.1)
    scores.write_text('{"prompt": "question 0, hard", "score": 1}\n')
    done = run(*args, f"scores:{scores}")
    assert done.returncode == 2 and "399 of 400 rows of the table have no score" in done.stderr
    done = run(*args, "grup")
    assert done.returncode == 2 and "did you mean `group`" in done.stderr


def test_the_same_twice_and_another_with_another_seed(tmp_path):
    args = ("--outcomes", table(tmp_path), "--weak", "small", "--strong", "large", "--router", "random", "--json", "--seeds", 1)
    assert run(*args).stdout == run(*args).stdout
    assert run(*args).stdout != run(*args, "--seed", 2).stdout


@pytest.mark.parametrize("text, fault", [
    ("prompt,small,large\na,1,0\nb,maybe,1\n", "line 3, column `small`: an outcome is True, False or a number from 0 to 1, not `maybe`"),
    ('prompt,small,large\n"a,1,0\n', "line 2, column 1: the quoted field that begins here does not end"),
    ("prompt,small,large\na,1\n", "line 2: 2 fields, but the first line names 3 columns"),
    ("prompt,small,large\na,1,0\nb,1,1\n", "the right way round"),
    ("prompt,small,large\na,0,1\n", "fewer different prompts than the 5 folds"),
    ("text,small,large\na,0,1\n", "no column `prompt` or `question`; there are: text, small, large"),
])
def test_faults_say_where_they_are(tmp_path, text, fault):
    (tmp_path / "x.csv").write_text(text)
    done = run("--outcomes", tmp_path / "x.csv", "--weak", "small", "--strong", "large")
    assert done.returncode == 2 and fault in done.stderr and done.stdout == "", done.stderr


def needs(path):
    if not path.exists():
        pytest.skip(f"no test data at {path}")
    return path


def test_mmlu_is_as_computed_elsewhere():
    data = needs(DATA / "routellm")
    args = ("--outcomes", data / "mmlu_responses", "--weak", MIXTRAL, "--strong", GPT4, "--exclude",
            data / "mmlu_contaminated_prompts.jsonl")
    report, routers = result(*args, "--seeds", 5, "--published", "mmlu")
    assert (report["rows"], report["excluded"], report["groups"]) == (14_037, 5, 57)
    assert report["weak_accuracy"] == pytest.approx(0.681, abs=5e-4) and report["strong_accuracy"] == pytest.approx(0.806, abs=5e-4)
    assert report["gain"] == pytest.approx(0.178, abs=5e-4) and report["harm"] == pytest.approx(0.053, abs=5e-4)
    assert routers["oracle"]["apgr"] == pytest.approx(1.285, abs=1e-3)
    assert routers["oracle-difficulty"]["apgr"] == pytest.approx(1.052, abs=1e-3)
    assert routers["length"]["apgr"] == pytest.approx(0.586, abs=1e-3)
    # One partition has a standard deviation of 0.0033, the mean of many 0.678.
    assert routers["group"]["apgr"] == pytest.approx(0.678, abs=4 * 0.0033 / 5**0.5)
    assert routers["random"]["apgr"] == pytest.approx(0.5, abs=4 * 0.009 / 5**0.5)
    assert routers["random"]["by_row"]["standard_error"] == pytest.approx(0.009, abs=1e-3)
    assert routers["group"]["by_group"]["standard_error"] > 3 * routers["group"]["by_row"]["standard_error"]
    assert routers["group"]["verdict"] == "better" and report["difference_by"] == "group"
    # The script's integral is close to ours, and theirs stand beside it for the very same rows.
    assert routers["group"]["apgr_routellm"] == pytest.approx(routers["group"]["apgr"], abs=0.005)
    assert report["published"]["rows"] == report["rows"]
    assert max(router["apgr_routellm"] for router in report["published"]["routers"]) == 0.603
    # Of a subject that is new a look-up knows nothing; inside a fold all of its scores are the same.
    _, held_out = result(*args, "--by-group", "--router", "group", "--resamples", 50)
    assert held_out["group"]["mean_of_folds"] == pytest.approx(0.5)


def test_gsm8k_is_as_computed_elsewhere():
    data = needs(DATA / "routellm" / "gsm8k")
    report, routers = result("--outcomes", data / "gsm8k_responses.csv", "--weak", MIXTRAL, "--strong", GPT4, "--exclude",
                             data / "contaminated_prompts.jsonl")
    assert (report["rows"], report["excluded"], report["groups"]) == (1_307, 12, 1)
    assert routers["oracle"]["apgr"] == pytest.approx(1.121, abs=1e-3)
    assert routers["oracle-difficulty"]["apgr"] == pytest.approx(0.982, abs=1e-3)
    assert routers["length"]["apgr"] == pytest.approx(0.598, abs=1e-3)
    assert routers["length"]["by_group"] is None and "group" not in routers


def test_a_pair_in_which_difficulty_misleads():
    data = needs(DATA / "zeroeval_outcomes")
    report, routers = result("--outcomes", data / "math-l5_outcomes.csv", "--weak", "gemma-2-2b-it", "--strong", "gpt-4o-2024-08-06")
    assert report["rows"] == 721
    assert routers["oracle"]["apgr"] == pytest.approx(0.755, abs=1e-3)
    assert routers["oracle-difficulty"]["apgr"] == pytest.approx(0.531, abs=1e-3)


@pytest.mark.parametrize("task, model, auroc", [("gsm", "gemma-2-2b-it", 0.5965), ("gsm", "Phi-3.5-mini-instruct", 0.6791),
                                                ("crux", "Qwen2.5-3B-Instruct", 0.6670), ("math-l5", "gemma-2-2b-it", 0.6104)])
def test_a_pair_joined_with_the_lengths_of_its_answers(task, model, auroc):
    data = needs(DATA / "zeroeval_outcomes")
    _, routers = result("--outcomes", data / f"{task}_outcomes.csv", "--join", data / f"{task}_output_chars.csv", "--weak", model,
                        "--strong", "gpt-4o-2024-08-06", "--router", "random", "--router", f"column:{model}")
    found = routers[f"column:{model}"]
    assert found["auroc_difficulty"] == pytest.approx(auroc, abs=1e-4)
    assert 0.01 < found["auroc_by_row"]["standard_error"] < 0.06
    assert found["auroc_difference"]["value"] == pytest.approx(auroc - routers["random"]["auroc_difficulty"], abs=0.1)


def test_the_answer_is_worth_more_than_the_question():
    """What `shoal eval route` says of GSM8K when the weak model's answer is judged: one partition of three folds, whose bound
    holds for any draw. docs/how-to/learn-a-router.md has the figures of five folds."""
    data = needs(DATA / "routellm" / "gsm8k")
    _, routers = result("--outcomes", data / "gsm8k_responses.csv", "--weak", MIXTRAL, "--strong", GPT4, "--exclude",
                        data / "contaminated_prompts.jsonl", "--router", "answer-length", "--router", "learned-answer",
                        "--folds", 3, "--seeds", 1, "--resamples", 200)
    found = routers["learned-answer"]
    assert 0.78 < found["apgr"] < 0.92
    assert found["verdict"] == "better" and found["difference"]["low"] > 0.15
    assert found["confidence"]["auroc"] > 0.76 and found["confidence"]["ece"] < 0.05
    assert routers["answer-length"]["confidence"] is None


def test_a_length_is_judged_beside_the_question():
    data = needs(DATA / "zeroeval_outcomes")
    model = "Phi-3.5-mini-instruct"
    args = ("--outcomes", data / "gsm_outcomes.csv", "--join", data / "gsm_output_chars.csv", "--weak", model, "--strong",
            "gpt-4o-2024-08-06", "--router", "answer-length", "--seeds", 1, "--resamples", 200)
    _, routers = result(*args, "--answer-length", model, "--router", "learned-answer-wrong")
    assert routers["answer-length"]["auroc_difficulty"] == pytest.approx(0.6791, abs=1e-4)
    found = routers["learned-answer-wrong"]
    assert found["auroc_difference"]["value"] > 0.015
    assert found["confidence"]["auroc"] == pytest.approx(found["auroc_difficulty"], abs=0.01)
    done = run(*args)
    assert done.returncode == 2 and "--answer-length" in done.stderr
    done = run(*args, "--answer-length", "nobody")
    assert done.returncode == 2 and "`nobody`" in done.stderr
