"""What broke under kill -9, full disks, closed streams and hostile records once, and must not again."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest_cli import END, MEDPO, Run, case

from medpo_cli.io.files import remove_leftovers
from medpo_cli.io.output import FileOutput


def shell(line: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(line.replace("medpo", MEDPO, 1), shell=True, capture_output=True, text=True, cwd=folder)


@pytest.mark.parametrize("image", [{"path": "loop.png"}, {"path": "a" * 1000}, []])
def test_a_path_that_no_file_can_have_is_a_reject(medpo: Run, folder: Path, image: object) -> None:
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "bad.jsonl").write_text(case(0) + case(1, image=image) + END)
    for command in (["corrupt", "bad.jsonl"], ["check", "bad.jsonl"]):
        done = medpo(*command)
        assert done.returncode == 3, done.stderr
        assert "internal error" not in done.stderr


@pytest.mark.parametrize("words", ["--help", "--version", "check cases.jsonl", "schema pair", "corrupt cases.jsonl"])
@pytest.mark.parametrize("target", [">&-", "> /dev/full"])
def test_standard_output_closed_or_full_is_74_in_one_line(folder: Path, words: str, target: str) -> None:
    done = shell(f"medpo {words} {target}", folder)
    assert done.returncode == 74
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", ["--help", "schema pair"])
def test_141_for_help_and_helpers(folder: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([MEDPO, *words.split()], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=folder)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["2>&-", "2> /dev/full", "<&-"])
def test_other_streams_may_be_closed(folder: Path, closed: str) -> None:
    done = shell(f"medpo corrupt cases.jsonl {closed}", folder)
    assert done.returncode == 0
    assert [json.loads(line)["schema"] for line in done.stdout.splitlines()][-1] == "medpo.end/1"


def test_a_run_killed_before_its_manifest_can_be_resumed(medpo: Run, folder: Path) -> None:
    (folder / "out.jsonl.part").touch()
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--resume").returncode == 0


def test_temporary_files_of_killed_runs_go(medpo: Run, folder: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (folder / "corrupted").mkdir()
    left = [folder / "corrupted" / f".ab.nii.gz.{gone.pid}.tmp", folder / f".out.jsonl.run.json.{gone.pid}.tmp"]
    for path in left:
        path.touch()
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl").returncode == 0
    assert not any(path.exists() for path in left)


def test_temporary_files_of_running_processes_stay(tmp_path: Path) -> None:
    mine = tmp_path / f".x.{os.getpid()}.tmp"
    mine.touch()
    remove_leftovers(tmp_path)
    assert mine.exists()


def test_resume_cuts_the_part_and_never_empties_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"schema": "medpo.score/1", "id": "a", "metrics": {}, "profile": "p"}).encode() + b"\n"
    part = tmp_path / "o.jsonl.part"
    part.write_bytes(line + END.encode() + b'{"torn')
    monkeypatch.setattr(FileOutput, "_put", lambda *_: pytest.fail("the part was written anew"))
    output = FileOutput(tmp_path / "o.jsonl", resume=True)
    assert (part.read_bytes(), output.count) == (line, 1)
    output.close()


def test_resume_with_a_changed_input_is_refused_by_name(medpo: Run, folder: Path) -> None:
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl").returncode == 0
    lines = (folder / "out.jsonl").read_text().splitlines(keepends=True)
    (folder / "out.jsonl").unlink()
    (folder / "out.jsonl.part").write_text("".join(lines[:2]))
    (folder / "cases.jsonl").write_text(case(0) + case(1, prompt="SECRET other") + case(2) + case(3) + END)
    done = medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--resume")
    assert done.returncode == 78
    assert "cannot resume out.jsonl: the input has changed (cases.jsonl:2 (id case-1) is not" in done.stderr
    assert "--force starts again" in done.stderr
    assert "SECRET" not in done.stderr
    assert (folder / "out.jsonl.part").read_text() == "".join(lines[:2])
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--force").returncode == 0


def test_rejects_of_an_earlier_run_do_not_outlive_a_clean_one(medpo: Run, folder: Path) -> None:
    rejects = folder / "out.jsonl.rejects.jsonl"
    (folder / "bad.jsonl").write_text(case(0) + "{\n" + END)
    assert medpo("corrupt", "bad.jsonl", "-o", "out.jsonl").returncode == 3
    assert rejects.exists()
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--dry-run", "--force").returncode == 0
    assert rejects.exists(), "a dry run changes nothing"
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--force").returncode == 0
    assert not rejects.exists()
    assert medpo("corrupt", "bad.jsonl", "-o", "out.jsonl", "--force", "--rejects", "mine.jsonl").returncode == 3
    assert (folder / "mine.jsonl").exists()
