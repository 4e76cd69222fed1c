"""``medpo corrupt`` with workers and limits, and ``medpo check --images`` on what it wrote."""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest_cli import END, MEDPO, Run, case


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_workers_change_neither_records_nor_run_and_resume_may_use_others(medpo: Run, folder: Path) -> None:
    assert medpo("corrupt", "cases.jsonl", "-o", "one.jsonl").returncode == 0
    assert medpo("corrupt", "cases.jsonl", "-o", "two.jsonl", "--jobs", "2").returncode == 0
    assert (folder / "one.jsonl").read_bytes() == (folder / "two.jsonl").read_bytes()
    whole = (folder / "one.jsonl").read_bytes()
    (folder / "two.jsonl").rename(folder / "two.jsonl.part")
    (folder / "two.jsonl.part").write_bytes(whole[: len(whole) // 3])
    done = medpo("corrupt", "cases.jsonl", "-o", "two.jsonl", "--jobs", "1", "--resume")
    assert done.returncode == 0, done.stderr
    assert (folder / "two.jsonl").read_bytes() == whole


def test_check_images_passes_what_corrupt_wrote_and_exits_3_when_a_file_was_touched(medpo: Run, folder: Path) -> None:
    medpo("corrupt", "cases.jsonl", "-o", "v.jsonl")
    done = medpo("check", "--images", "v.jsonl")
    assert done.returncode == 0, done.stderr
    assert "images compared" in done.stdout
    first = next((folder / "corrupted").iterdir())
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    done = medpo("check", "--images", "v.jsonl")
    assert done.returncode == 3
    assert "SECRET" not in done.stderr
    assert medpo("check", "v.jsonl").returncode == 0  # without --images only the presence of files is looked at
    first.unlink()
    done = medpo("check", "--images", "v.jsonl")
    assert done.returncode == 3
    assert len([line for line in done.stderr.splitlines() if "file not found" in line]) == len(done.stderr.splitlines())


def test_limits_make_rejects(medpo: Run, folder: Path) -> None:
    flags = ("--operator", "gaussian", "--sigma", "2", "--max-remaining", "0.1")
    done = medpo("corrupt", "cases.jsonl", "-o", "v.jsonl", *flags)
    assert done.returncode == 3
    codes = {row.get("code") for row in records(folder / "v.jsonl.rejects.jsonl")} - {None}
    assert codes == {"evidence-left"}
    assert "SECRET" not in (folder / "v.jsonl.rejects.jsonl").read_text()


def test_bad_settings_name_the_flag(medpo: Run, folder: Path) -> None:
    for flags, word in (
        (("--operator", "nosie"), "operator"),
        (("--sigma", "0"), "sigma"),
        (("--timestep", "1000"), "timestep"),
        (("--patch-share", "1.5"), "patch-share"),
        (("--jobs", "0"), "jobs"),
    ):
        done = medpo("corrupt", "cases.jsonl", *flags)
        assert done.returncode == 2, flags
        assert word in done.stderr
    done = medpo("corrupt", "cases.jsonl", "--max-tell", "0.5")
    assert done.returncode == 78
    assert "max_tell" in done.stderr


def test_an_unreadable_mask_is_one_problem_of_check(medpo: Run, folder: Path) -> None:
    medpo("corrupt", "cases.jsonl", "-o", "v.jsonl")
    lines = (folder / "v.jsonl").read_text().splitlines()
    record = json.loads(lines[0])
    record["regions"] = [{"label": "nodule", "box": [500, 500, 510, 510]}]
    (folder / "w.jsonl").write_text(json.dumps(record) + "\n" + END)
    done = medpo("check", "--images", "w.jsonl")
    assert done.returncode == 3
    assert "no voxel inside" in done.stderr


def children_of(process: int) -> set[int]:
    """Direct children of a process."""
    found = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            found |= {int(entry.name)} if parent == process else set()
    return found


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def many(folder: Path, count: int) -> Path:
    path = folder / "many.jsonl"
    lines = [case(number % 3, id=f"many-{number}") for number in range(count)]
    path.write_text("".join(lines) + END)
    return path


@pytest.mark.parametrize(("signal_number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_no_worker_outlives_the_command(folder: Path, signal_number: int, code: int) -> None:
    many(folder, 20000)
    words = [MEDPO, "corrupt", "many.jsonl", "-o", "out.jsonl", "--jobs", "2"]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        part = folder / "out.jsonl.part"
        wait_until(lambda: part.exists() and part.stat().st_size > 1000)
        workers = children_of(process.pid)
        assert len(workers) >= 2
        process.send_signal(signal_number)
        process.wait(30)
        assert process.returncode == code
    wait_until(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


def test_a_worker_that_is_killed_ends_the_run_with_75_and_resume_goes_on(medpo: Run, folder: Path) -> None:
    many(folder, 3000)
    words = [MEDPO, "corrupt", "many.jsonl", "-o", "out.jsonl", "--jobs", "2"]
    with subprocess.Popen(words, cwd=folder, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        part = folder / "out.jsonl.part"
        wait_until(lambda: part.exists() and part.stat().st_size > 1000)
        for worker in children_of(process.pid):
            if b"spawn_main" in Path(f"/proc/{worker}/cmdline").read_bytes():
                os.kill(worker, signal.SIGKILL)
                break
        _, err = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "worker" in err
    assert "Traceback" not in err
    done = medpo("corrupt", "many.jsonl", "-o", "out.jsonl", "--resume")
    assert done.returncode == 0, done.stderr
    medpo("corrupt", "many.jsonl", "-o", "again.jsonl")
    assert (folder / "out.jsonl").read_bytes() == (folder / "again.jsonl").read_bytes()
