"""``medpo eval --wording --metrics`` from the shell: exit codes, what is said, and what is not."""

import json
import sys
from pathlib import Path

import pytest
from conftest_cli import END, Run

STUB = Path(__file__).parents[1] / "data" / "metrics.py"


@pytest.fixture
def reports(folder: Path) -> Path:
    lines = [
        {
            "schema": "medpo.sample/1", "id": f"q{number}", "image": {"path": "x.png"}, "prompt": "SECRET",
            "task": "report", "reference": "SECRET No effusion.",
            "policy": {"model": "m", "digest": "0" * 64, "decoding": {}, "seed": 0},
            "responses": [{"text": answer, "logprob": -1.0, "tokens": 2, "finish": "stop"}],
        }
        for number, answer in enumerate(["SECRET No effusion.", "BAD SECRET"])
    ]  # fmt: skip
    (folder / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + END)
    (folder / "m.toml").write_text(
        f'[metric.stub]\ncommand = "{sys.executable} {STUB} crash"\n'
        '[metric.other]\ncommand = "x"\nweights = "nowhere/w8s"\n'
    )
    return folder


def test_a_skipped_metric_is_said_and_a_required_one_ends_with_69(medpo: Run, reports: Path) -> None:
    done = medpo("eval", "s.jsonl", "-o", "scores.jsonl", "--metrics", "m.toml", "--wording", "--bootstrap", "200")
    assert done.returncode == 0, done.stderr
    for line in (
        "metric other skipped: weights not found (w8s)",
        "metric stub: no value for 1 of 2 answers (crash: 1)",
        "Reports, by other programs",
        "CIDEr, 0 to 10",
        "stub: stub 1",
    ):
        assert line in done.stderr
    assert "SECRET" not in done.stderr
    assert "nowhere" not in done.stderr
    again = medpo("eval", "--compare", "scores.jsonl", "scores.jsonl", "--bootstrap", "200")
    assert again.returncode == 0, again.stderr
    assert "CIDEr" in again.stderr
    required = medpo("eval", "s.jsonl", "-o", "b.jsonl", "--metrics", "m.toml", "--require", "other")
    assert required.returncode == 69
    assert "metric other (--require): weights not found (w8s)" in required.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("s.jsonl", "--require", "stub"), 2, "--require needs --metrics"),
        (("s.jsonl", "--compare", "s.jsonl", "--wording"), 2, "measure them when you score"),
        (("s.jsonl", "--metrics", "none.toml"), 66, "metrics none.toml not found"),
        (("s.jsonl", "--metrics", "m.toml", "--require", "stubb"), 78, "has no metric stubb"),
    ],
)
def test_what_cannot_be_is_refused(medpo: Run, reports: Path, words: tuple[str, ...], code: int, said: str) -> None:
    done = medpo("eval", *words, "-o", "x.jsonl")
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
