"""``medpo eval --compare`` and ``--gate`` as cron would run them."""

import json
from pathlib import Path

import pytest
from conftest_cli import END, Run

QUESTIONS = 12


def _samples(folder: Path, name: str, right: int) -> Path:
    """Recorded answers to closed questions, the first ``right`` of them right."""
    lines = []
    for number in range(QUESTIONS):
        record = {
            "schema": "medpo.sample/1",
            "id": f"q{number}",
            "image": {"path": "x.png"},
            "prompt": "SECRET question?",
            "reference": "yes",
            "task": "vqa-closed",
            "policy": {"model": "m", "digest": "0" * 64, "decoding": {}, "seed": 0},
            "responses": [
                {"text": "Yes." if number < right else "No.", "logprob": -1.0, "tokens": 2, "finish": "stop"}
            ],
        }
        lines.append(json.dumps(record) + "\n")
    path = folder / name
    path.write_text("".join(lines) + END)
    return path


@pytest.fixture
def runs(medpo: Run, folder: Path) -> Path:
    """Scores a0 (3 right), b0, b1 and b2 (9, 10 and 8 right)."""
    for name, right in {"a0": 3, "b0": 9, "b1": 10, "b2": 8}.items():
        samples = _samples(folder, f"{name}.samples.jsonl", right)
        done = medpo("eval", str(samples), "-o", str(folder / f"{name}.jsonl"))
        assert done.returncode == 0, done.stderr
    return folder


def test_one_run_against_one(medpo: Run, runs: Path) -> None:
    done = medpo("eval", "--compare", "a0.jsonl", "b0.jsonl", "--declare", "closed.accuracy,closed.f1")
    assert done.returncode == 0, done.stderr
    difference = json.loads(done.stdout.splitlines()[2])
    found = difference["metrics"]["closed.accuracy"]
    assert (found["value"], found["fixed"], found["broken"]) == (0.5, 6, 0)
    assert found["mcnemar"] == 0.03125  # 2 / 2**6
    assert found["p_holm"] >= found["p"]
    assert "profile medpo/1" in done.stderr
    assert "* adjusted for the 2 measures that were declared (Holm)" in done.stderr
    assert "SECRET" not in done.stdout + done.stderr


def test_several_seeds(medpo: Run, runs: Path) -> None:
    done = medpo("eval", "--compare", "a0.jsonl", "b0.jsonl", "--runs", "b1.jsonl,b2.jsonl")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[1])["metrics"]["closed.accuracy"]
    assert found["value"] == pytest.approx(0.75)
    assert found["seeds"] == pytest.approx([9 / 12, 10 / 12, 8 / 12])
    assert "mean over training seeds (B 3)" in done.stderr


@pytest.mark.parametrize(("bound", "code"), [("min = 0.7", 0), ("min = 0.8", 3)])
def test_the_gate_decides_the_exit_code(medpo: Run, runs: Path, bound: str, code: int) -> None:
    (runs / "gate.toml").write_text(f'[[bound]]\nmetric = "closed.accuracy"\n{bound}\n')
    done = medpo("eval", "b0.samples.jsonl", "--gate", "gate.toml")
    assert done.returncode == code, done.stderr
    assert ("gate: closed.accuracy: 0.75 is below 0.8" in done.stderr) is (code == 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--compare", "none.jsonl", "b0.jsonl"), 66, "none.jsonl"),
        (("--compare", "a0.jsonl", "b0.jsonl", "--runs", "b1.jsonl,b1.jsonl"), 2, "named twice"),
        (("--compare", "a0.jsonl", "b0.jsonl", "--declare", "closed.acuracy"), 78, "did you mean closed.accuracy"),
        (("--compare", "a0.jsonl", "b0.jsonl", "--gate", "none.toml"), 66, "gate none.toml not found"),
        (("b0.samples.jsonl", "--runs", "b1.jsonl"), 2, "--runs needs --compare"),
    ],
)
def test_bad_comparisons(medpo: Run, runs: Path, arguments: tuple[str, ...], code: int, message: str) -> None:
    done = medpo("eval", *arguments)
    assert done.returncode == code, done.stderr
    assert message in done.stderr


def test_scores_of_several_models_in_one_file(medpo: Run, runs: Path) -> None:
    mixed = (runs / "a0.jsonl").read_text()
    lines = [json.loads(line) for line in mixed.splitlines()]
    summary = next(line for line in lines if line["schema"] == "medpo.summary/1")
    summary["versions"] |= {"model": "other"}
    (runs / "mixed.jsonl").write_text(json.dumps(summary) + "\n" + mixed)
    done = medpo("eval", "--compare", "mixed.jsonl", "b0.jsonl")
    assert done.returncode == 65
    assert "mixed.jsonl mixes runs of several models" in done.stderr
