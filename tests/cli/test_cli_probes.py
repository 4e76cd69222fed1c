"""``medpo import probes`` from the shell: records, rejects, exit codes, what goes with what."""

import json
from pathlib import Path

import pytest
from conftest_cli import Run

TEXT = "There is a small left pleural effusion. SECRET. No pneumothorax. No nodule."


def line(name: str, **changes: object) -> str:
    fields: dict[str, object] = {
        "schema": "medpo.case/1", "id": name, "image": {"path": f"{name}.png"}, "prompt": "Describe.",
        "reference": TEXT, "task": "report", "group": name,
    }  # fmt: skip
    return json.dumps({key: value for key, value in (fields | changes).items() if value is not None}) + "\n"


@pytest.fixture
def reports(folder: Path) -> Path:
    data = folder / "data"
    data.mkdir()
    path = data / "reports.jsonl"
    path.write_text(line("a") + "{broken\n" + line("b", reference=None) + line("a") + line("c"))
    return path


def test_probes_of_good_reports_and_rejects_of_bad_ones(medpo: Run, reports: Path, folder: Path) -> None:
    done = medpo("import", "probes", str(reports), "--style", "probmed", "-o", "probes.jsonl", "--rejects", "bad.jsonl")
    assert done.returncode == 3, done.stderr
    assert "12 records: 6 pairs of 3 reports, 3 rejected" in done.stderr
    records = [json.loads(row) for row in (folder / "probes.jsonl").read_text().splitlines()]
    assert (records[-1]["schema"], records[-1]["records"], records[-1]["rejected"]) == ("medpo.end/1", 12, 3)
    assert records[0]["image"]["path"] == "data/a.png"
    bad = [json.loads(row) for row in (folder / "bad.jsonl").read_text().splitlines()][:-1]
    assert [(one["line"], one["code"]) for one in bad] == [
        (2, "not-json"), (3, "reference-missing"), (4, "duplicate-id")
    ]  # fmt: skip
    assert "SECRET" not in done.stderr + (folder / "bad.jsonl").read_text()
    again = medpo("import", "probes", str(reports), "--style", "probmed", "-o", "again.jsonl")
    assert again.returncode == 3
    assert (folder / "again.jsonl").read_bytes() == (folder / "probes.jsonl").read_bytes()
    assert medpo("check", "--no-files", "probes.jsonl").returncode == 0
    assert medpo("import", "probes", str(reports), "-o", "probes.jsonl").returncode == 73
    assert medpo("import", "probes", str(reports), "--on-bad", "fail").returncode == 65


def test_what_cannot_be_probed_is_refused(medpo: Run, reports: Path, folder: Path) -> None:
    questions = folder / "questions.jsonl"
    questions.write_text(line("q", task="vqa-open"))
    nothing = medpo("import", "probes", str(questions))
    assert nothing.returncode == 65
    assert "holds no case with task report" in nothing.stderr
    assert medpo("import", "probes", "none.jsonl").returncode == 66
    assert medpo("import", "probes", str(reports), "--negatives", "odd").returncode == 2
    assert medpo("import", "probes", str(reports), "--images", "x").returncode == 2
    assert medpo("import", "probes", str(reports), "--key", "x").returncode == 2
    assert medpo("import", "trl", str(reports), "--seed", "1").returncode == 2
    assert medpo("import", "probes", str(reports), "--lexicon", "none.toml").returncode == 78


def test_attention_goes_with_a_model_only(medpo: Run, folder: Path) -> None:
    (folder / "scores.jsonl").write_text("")
    done = medpo("eval", "scores.jsonl", "--compare", "scores.jsonl", "--attention")
    assert done.returncode == 2
    assert "--compare reads scores" in done.stderr
