"""``medpo recipe tune`` as a user's shell runs it."""

import json
from pathlib import Path

import pytest
from conftest_cli import END, Run

RUNS = {"right": (0.9, 0.2), "grounded": (0.7, 0.8), "beaten": (0.6, 0.1)}


def _line(run: str, accuracy: float, grounding: float) -> str:
    metrics = {"report.finding_accuracy": accuracy, "report.specificity": grounding}
    return json.dumps({"schema": "medpo.trial/1", "run": run, "metrics": metrics}) + "\n"


@pytest.fixture
def table(folder: Path) -> Path:
    (folder / "runs.jsonl").write_text("".join(_line(run, *values) for run, values in RUNS.items()) + END)
    return folder


def test_answers_from_a_pipe_name_one_run_on_stdout(medpo: Run, table: Path) -> None:
    first = medpo("recipe", "tune", "runs.jsonl", stdin="what?\n1\n")
    second = medpo("recipe", "tune", "runs.jsonl", stdin="2\n")
    assert first.returncode == second.returncode == 0
    assert {first.stdout, second.stdout} == {"right\n", "grounded\n"}
    assert "Pareto front: 2 of 3 runs" in first.stderr
    assert "beaten\n" not in first.stderr
    assert "70.0 %" in first.stderr
    assert medpo("recipe", "tune", "runs.jsonl", stdin="2\n").stderr == second.stderr


def test_a_utility_asks_nothing_and_saved_weights_are_one(medpo: Run, table: Path) -> None:
    asked = medpo("recipe", "tune", "runs.jsonl", "--save", "u.toml", stdin="1\n")
    told = medpo("recipe", "tune", "runs.jsonl", "--utility", "u.toml")
    assert told.returncode == 0
    assert told.stdout == asked.stdout
    assert "Question" not in told.stderr
    assert medpo("recipe", "tune", "runs.jsonl", "--save", "u.toml", stdin="1\n").returncode == 73
    assert medpo("recipe", "tune", "runs.jsonl", "--save", "u.toml", "--force", stdin="1\n").returncode == 0


def test_silence_is_not_an_answer(medpo: Run, table: Path) -> None:
    done = medpo("recipe", "tune", "runs.jsonl")
    assert done.returncode == 2
    assert done.stdout == ""
    assert "give --utility FILE" in done.stderr


def test_bad_rows_are_said_with_their_line_and_counted(medpo: Run, table: Path) -> None:
    text = (table / "runs.jsonl").read_text().replace('"report.specificity": 0.8', '"report.specificity": "SECRET"')
    (table / "runs.jsonl").write_text(text)
    (table / "u.toml").write_text("[weights]\naccuracy = 1\n")
    done = medpo("recipe", "tune", "runs.jsonl", "--utility", "u.toml")
    assert done.returncode == 3
    assert "runs.jsonl:2" in done.stderr
    assert "SECRET" not in done.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["none.jsonl"], 66),
        (["cases.jsonl"], 65),
        (["runs.jsonl", "--utility", "none.toml"], 66),
        (["runs.jsonl", "--utility", "cases.jsonl"], 78),
        (["runs.jsonl", "--utility", "cases.jsonl", "--save", "x.toml"], 2),
    ],
)
def test_exit_codes(medpo: Run, table: Path, words: list[str], code: int) -> None:
    assert medpo("recipe", "tune", *words).returncode == code
