"""medpo edit through real processes: audit and review, tokenizer, histogram."""

import json
from pathlib import Path

import pytest
from conftest_cli import END, Run

from medpo_cli.demo import MODEL

TRUTH = "The heart is enlarged. There is a small left pleural effusion. No pneumothorax. SECRETWORD."


def sample(number: int, answer: str, **more: object) -> str:
    record = {
        "schema": "medpo.sample/1", "id": f"s{number}", "image": {"path": "images/0.png"}, "prompt": "Describe.",
        "reference": TRUTH, "task": "report", "policy": {"model": "m", "digest": "0" * 64},
        "responses": [{"text": answer}], **more,
    }  # fmt: skip
    return json.dumps(record) + "\n"


@pytest.fixture
def samples(folder: Path) -> Path:
    answers = [TRUTH, TRUTH.replace("left", "right"), "I cannot interpret images.", "Kein Erguss links.", "", " "]
    path = folder / "samples.jsonl"
    path.write_text("".join(sample(number, answer) for number, answer in enumerate(answers)) + END)
    return path


def ids(path: Path) -> list[str]:
    return [record["id"] for record in map(json.loads, path.read_text().splitlines()) if "id" in record]


def test_reasons_are_counted_at_the_end_and_in_the_manifest(medpo: Run, samples: Path) -> None:
    done = medpo("edit", "samples.jsonl", "-o", "pairs.jsonl")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "medpo edit: rejected: no-answer: 2, language: 1, refusal: 1"
    manifest = json.loads(Path("pairs.jsonl.run.json").read_text())
    assert manifest["reject_codes"] == {"no-answer": 2, "language": 1, "refusal": 1}
    assert list(manifest["reject_codes"]) == ["no-answer", "language", "refusal"]


def test_without_rejects_no_reasons_are_said(medpo: Run, folder: Path) -> None:
    (folder / "good.jsonl").write_text(sample(1, TRUTH) + END)
    done = medpo("edit", "good.jsonl")
    assert done.returncode == 0
    assert "rejected" not in done.stderr


def test_an_audit_and_its_review(medpo: Run, samples: Path, folder: Path) -> None:
    done = medpo("edit", "samples.jsonl", "-o", "pairs.jsonl", "--audit", "audit.csv")
    assert done.returncode == 3
    assert "audit: 3 pairs in audit.csv and audit.html" in done.stderr
    made = ids(folder / "pairs.jsonl")
    table = (folder / "audit.csv").read_text("utf-8-sig")
    lines = [line.replace('"",""', '"reject",""') if f'"{made[1]}"' in line else line for line in table.splitlines()]
    (folder / "audit.csv").write_text("\n".join(lines))
    done = medpo("edit", "--apply-review", "audit.csv", "pairs.jsonl", "-o", "reviewed.jsonl")
    assert done.returncode == 3
    assert ids(folder / "reviewed.jsonl") == [made[0], made[2]]
    reject = json.loads((folder / "reviewed.jsonl.rejects.jsonl").read_text().splitlines()[0])
    assert (reject["id"], reject["code"]) == (made[1], "review")
    assert "review: 0 accept, 1 reject, 0 unsure, 2 not judged" in done.stderr
    before, after = (
        {line for line in (folder / name).read_text().splitlines() if "medpo.pair/1" in line}
        for name in ("pairs.jsonl", "reviewed.jsonl")
    )
    assert after < before
    written = done.stderr + (folder / "reviewed.jsonl.rejects.jsonl").read_text()
    assert "SECRETWORD" not in written + (folder / "reviewed.jsonl.run.json").read_text()


def test_an_audit_changes_no_pair_and_a_resumed_run_gives_the_same_audit(
    medpo: Run, samples: Path, folder: Path
) -> None:
    medpo("edit", "samples.jsonl", "-o", "plain.jsonl")
    medpo("edit", "samples.jsonl", "-o", "pairs.jsonl", "--audit", "a", "--audit-size", "2")
    pairs = [(folder / name).read_text().splitlines()[:-1] for name in ("plain.jsonl", "pairs.jsonl")]
    assert pairs[0] == pairs[1]
    audit = (folder / "a.csv").read_bytes(), (folder / "a.html").read_bytes()
    whole = (folder / "pairs.jsonl").read_text()
    (folder / "pairs.jsonl.part").write_text(whole.splitlines(keepends=True)[0])
    (folder / "pairs.jsonl").unlink()
    done = medpo("edit", "samples.jsonl", "-o", "pairs.jsonl", "--audit", "a", "--audit-size", "2", "--resume")
    assert done.returncode == 3
    assert (folder / "pairs.jsonl").read_text() == whole
    assert ((folder / "a.csv").read_bytes(), (folder / "a.html").read_bytes()) == audit


def test_an_existing_audit_is_replaced_only_by_force(medpo: Run, samples: Path, folder: Path) -> None:
    (folder / "a.html").write_text("verdicts of a week")
    done = medpo("edit", "samples.jsonl", "--audit", "a")
    assert (done.returncode, done.stdout) == (73, "")
    assert "a.html exists" in done.stderr
    assert medpo("edit", "samples.jsonl", "--audit", "a", "--force").returncode == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["pairs.jsonl", "--apply-review", "none.csv"], 66, "review none.csv not found"),
        (["pairs.jsonl", "--apply-review", "cases.jsonl"], 65, "columns id and verdict"),
        (["samples.jsonl", "--apply-review", "good.csv"], 65, "judges pairs that are not in the input: row 2"),
        (["samples.jsonl", "--tokenizer", "images"], 69, "holds no tokenizer"),
        (["samples.jsonl", "--tokenizer", "none"], 69, "not found"),
        (["samples.jsonl", "--audit", "a", "--emit", "ranking"], 78, "only for pairs"),
        (["samples.jsonl", "--audit-size", "0"], 2, "audit-size"),
    ],
)
def test_bad_use_has_its_exit_code(
    medpo: Run, samples: Path, folder: Path, words: list[str], code: int, message: str
) -> None:
    medpo("edit", "samples.jsonl", "-o", "pairs.jsonl")
    (folder / "good.csv").write_text("id,verdict\ns0.0.0,reject\n")
    done = medpo("edit", *words)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_pairs_hold_on_the_tokenizer_of_the_demo_model(medpo: Run, samples: Path, folder: Path) -> None:
    medpo("edit", "samples.jsonl", "-o", "plain.jsonl")
    done = medpo("edit", "samples.jsonl", "-o", "pairs.jsonl", "--tokenizer", str(MODEL))
    assert done.returncode == 3
    assert ids(folder / "pairs.jsonl") == ids(folder / "plain.jsonl")
