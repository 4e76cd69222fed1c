"""``--shard I/N`` and ``medpo merge``: the parts of a run make the bytes of the whole."""

import json
from pathlib import Path

import pytest
from conftest_cli import END, Run, case

CASES, TOTAL = 11, 3


@pytest.fixture
def cases(folder: Path) -> Path:
    """Cases about four images with two lines that are no records, a repeated id, and one without its image."""
    lines = [case(n, id=f"c{n}", image={"path": f"images/{n % 4}.png"}) for n in range(CASES)]
    lines.insert(3, "broken\n")
    lines.insert(7, case(0, id="c1"))
    lines.insert(9, case(0, id="gone", image={"path": "images/none.png"}))
    path = folder / "many.jsonl"
    path.write_text("".join(lines) + END)
    return path


def both_ways(medpo: Run, stage: str, folder: Path, source: str, *words: str, total: int = TOTAL) -> None:
    whole = medpo(stage, source, "-o", "whole.jsonl", *words)
    parts = []
    for number in range(1, total + 1):
        parts.append(f"part{number}.jsonl")
        done = medpo(stage, source, "-o", parts[-1], "--shard", f"{number}/{total}", *words)
        assert done.returncode in (0, 3), done.stderr
    merged = medpo("merge", source, *reversed(parts), "-o", "merged.jsonl")
    assert merged.returncode == whole.returncode, merged.stderr
    assert (folder / "merged.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    sizes = [len((folder / part).read_text().splitlines()) for part in parts]
    assert max(sizes) < len((folder / "whole.jsonl").read_text().splitlines())
    if whole.returncode == 3:
        ours, theirs = (
            sorted((folder / f"{name}.jsonl.rejects.jsonl").read_text().splitlines()[:-1])
            for name in ("merged", "whole")
        )
        assert ours == theirs


def test_corrupt_in_parts(medpo: Run, cases: Path, folder: Path) -> None:
    both_ways(medpo, "corrupt", folder, cases.name)
    end = json.loads((folder / "merged.jsonl").read_text().splitlines()[-1])
    assert (end["records"], end["rejected"]) == (CASES, 3)


@pytest.mark.parametrize("words", [("--batch", "2"), ("--batch", "4", "-n", "2", "--temperature", "1")])
def test_sample_in_parts(medpo: Run, cases: Path, folder: Path, demo_model: Path, words: tuple[str, ...]) -> None:
    both_ways(medpo, "sample", folder, cases.name, "--model", str(demo_model), "--max-tokens", "12", *words)


def test_more_parts_than_records(medpo: Run, folder: Path) -> None:
    both_ways(medpo, "corrupt", folder, "cases.jsonl", total=6)


@pytest.fixture
def parts(medpo: Run, folder: Path) -> list[str]:
    for number in (1, 2):
        assert medpo("corrupt", "cases.jsonl", "-o", f"p{number}.jsonl", "--shard", f"{number}/2").returncode == 0
    return ["p1.jsonl", "p2.jsonl"]


def test_merge_to_a_pipe(medpo: Run, parts: list[str], folder: Path) -> None:
    done = medpo("merge", "cases.jsonl", *parts)
    assert done.returncode == 0, done.stderr
    assert [json.loads(line).get("id") for line in done.stdout.splitlines()] == [*(f"case-{n}" for n in range(4)), None]


def test_a_part_that_is_missing_cut_off_doubled_or_of_another_run(medpo: Run, parts: list[str], folder: Path) -> None:
    (folder / "other.jsonl").write_text("".join(case(n) for n in range(1, 4)) + END)
    cut = folder / "cut.jsonl"
    cut.write_text("".join((folder / "p2.jsonl").read_text().splitlines(keepends=True)[:-1]))
    assert medpo("corrupt", "cases.jsonl", "-o", "q2.jsonl", "--shard", "2/2", "--seed", "5").returncode == 0
    bad = {
        "one is missing": ("cases.jsonl", "p1.jsonl"),
        "this shard is not finished": ("cases.jsonl", "p1.jsonl", "cut.jsonl"),
        "holds records that INPUT has not": ("other.jsonl", *parts),
        "other settings": ("cases.jsonl", "p1.jsonl", "q2.jsonl"),
        "in another order": ("cases.jsonl", *parts, "p1.jsonl"),
    }
    for words, files in bad.items():
        done = medpo("merge", *files, "-o", "out.jsonl", "--force")
        assert done.returncode == 65, words
        assert words in done.stderr
        assert not (folder / "out.jsonl").exists()


def test_what_is_there_is_not_written_over(medpo: Run, parts: list[str]) -> None:
    assert medpo("merge", "cases.jsonl", *parts, "-o", "out.jsonl").returncode == 0
    assert medpo("merge", "cases.jsonl", *parts, "-o", "out.jsonl").returncode == 73
    assert medpo("merge", "none.jsonl", *parts, "-o", "x.jsonl").returncode == 66


@pytest.mark.parametrize(("name", "code"), [("0/2", 2), ("2", 2), ("a/b", 2), ("3/2", 78)])
def test_names_of_parts_that_make_no_sense(medpo: Run, name: str, code: int) -> None:
    assert medpo("corrupt", "cases.jsonl", "--shard", name).returncode == code


def test_a_part_is_not_resumed_as_another(medpo: Run, parts: list[str]) -> None:
    done = medpo("corrupt", "cases.jsonl", "-o", "p1.jsonl", "--shard", "2/2", "--resume")
    assert done.returncode == 78
    assert medpo("corrupt", "cases.jsonl", "-o", "p1.jsonl", "--shard", "1/2", "--resume").returncode == 0
