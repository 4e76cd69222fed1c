"""``medpo import``, ``export`` and ``check --pairs`` from the shell."""

import json
from pathlib import Path

import pytest
from conftest_cli import Run

GOOD, BAD = "There is a small left pleural effusion.", "There is a small right pleural effusion."


def row(number: int, **change: object) -> dict[str, object]:
    made: dict[str, object] = {
        "id": f"r{number}", "images": [f"{number}.png"], "prompt": "SECRET question", "chosen": GOOD, "rejected": BAD,
    }  # fmt: skip
    return made | change


@pytest.fixture
def rows(folder: Path) -> Path:
    """Three usable rows and two that are not."""
    data = folder / "data"
    data.mkdir()
    lines = [row(0), row(1, rejected=GOOD), row(2), "broken", row(3)]
    path = data / "rows.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_import_counts_rejects_and_moves_paths(medpo: Run, rows: Path, folder: Path) -> None:
    done = medpo("import", "trl", str(rows), "--images", "images", "-o", "pairs.jsonl", "--rejects", "bad.jsonl")
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "rows.jsonl: row 2 $.rejected: chosen and rejected are the same text" in done.stderr
    assert "3 records, 2 rejected" in done.stderr
    records = [json.loads(line) for line in (folder / "pairs.jsonl").read_text().splitlines()]
    assert [record.get("id") for record in records] == ["r0", "r2", "r3", None]
    assert records[0]["image"]["path"] == "data/images/0.png"
    assert (records[-1]["schema"], records[-1]["rejected"]) == ("medpo.end/1", 2)
    bad = [json.loads(line) for line in (folder / "bad.jsonl").read_text().splitlines()]
    assert [(one["line"], one["code"]) for one in bad[:-1]] == [(2, "same-text"), (4, "row-malformed")]
    assert "SECRET" not in done.stderr + (folder / "bad.jsonl").read_text()
    checked = medpo("check", "--no-files", "pairs.jsonl")
    assert checked.returncode == 0, checked.stderr


def test_import_to_a_pipe_and_export_again(medpo: Run, rows: Path, folder: Path) -> None:
    imported = medpo("import", "trl", str(rows.relative_to(folder)))
    (folder / "pairs.jsonl").write_text(imported.stdout)
    refused = medpo("export", "trl", "pairs.jsonl")
    assert refused.returncode == 2
    assert "--drop-spans" in refused.stderr
    done = medpo("export", "llama-factory", "pairs.jsonl", "--drop-spans", "-o", "out.jsonl")
    assert done.returncode == 0, done.stderr
    first = json.loads((folder / "out.jsonl").read_text().splitlines()[0])
    assert first["images"] == ["data/0.png"]
    assert first["chosen"] == {"from": "gpt", "value": GOOD}
    assert medpo("export", "llama-factory", "pairs.jsonl", "--drop-spans", "-o", "out.jsonl").returncode == 73
    tagged = medpo("export", "fire-mpo", "pairs.jsonl")
    assert "<mask>left</mask>" in tagged.stdout


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("import", "nonsense", "data/rows.jsonl"), 2),
        (("import", "trl", "none.jsonl"), 66),
        (("import", "trl", "data/rows.jsonl", "--on-bad", "fail"), 65),
        (("import", "trl", "data/rows.jsonl", "-o", "data/rows.jsonl/x.jsonl"), 73),
        (("export", "nonsense", "data/rows.jsonl"), 2),
        (("export", "fire-mpo", "none.jsonl"), 66),
        (("check", "data/rows.jsonl", "--json"), 2),
    ],
)
def test_bad_calls(medpo: Run, rows: Path, words: tuple[str, ...], code: int) -> None:
    done = medpo(*words)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


def test_check_pairs_says_what_they_would_teach(medpo: Run, rows: Path, folder: Path) -> None:
    medpo("import", "trl", str(rows), "-o", "pairs.jsonl")
    done = medpo("check", "--no-files", "--pairs", "pairs.jsonl")
    assert done.returncode == 0, done.stderr
    assert "share within two words" in done.stdout
    found = json.loads(medpo("check", "--no-files", "--pairs", "--json", "pairs.jsonl").stdout)
    assert found["pairs"] == 3
    assert found["statistics"]["words in chosen"] == 7
    assert found["warnings"] == {}
