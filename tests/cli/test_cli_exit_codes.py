"""One test per exit code of the contract (section 3), each through a real process."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest_cli import END, MEDPO, Run, case


def test_0_done(medpo: Run, folder: Path) -> None:
    done = medpo("corrupt", "cases.jsonl")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["schema"] for line in lines] == ["medpo.case/1"] * 4 + ["medpo.end/1"]
    assert lines[-1] | {"run": ""} == {
        "schema": "medpo.end/1", "stage": "corrupt", "run": "", "records": 4, "rejected": 0
    }  # fmt: skip
    assert all((folder / line["corrupted"]["image"]["path"]).exists() for line in lines[:-1])


def test_2_usage(medpo: Run) -> None:
    assert medpo("corrupt").returncode == 2
    assert medpo("corrupt", "--no-such-flag").returncode == 2
    assert medpo("corrupt", "--seed", "-1").returncode == 2
    assert medpo("nothing").returncode == 2


def test_3_some_records_rejected(medpo: Run, folder: Path) -> None:
    (folder / "bad.jsonl").write_text(case(0) + case(9) + case(1) + "{\n" + END)
    done = medpo("corrupt", "bad.jsonl", "-o", "out.jsonl")
    assert done.returncode == 3
    assert "medpo corrupt: warning: bad.jsonl:2 (id case-9): $.image.path: file not found under the root" in done.stderr
    rejects = [json.loads(line) for line in (folder / "out.jsonl.rejects.jsonl").read_text().splitlines()]
    assert [(r["line"], r["code"]) for r in rejects[:-1]] == [(2, "file-not-found"), (4, "not-json")]
    assert json.loads((folder / "out.jsonl").read_text().splitlines()[-1])["rejected"] == 2
    assert json.loads((folder / "out.jsonl.run.json").read_text())["exit_code"] == 3


def test_65_cut_off_or_bad_input(medpo: Run, folder: Path) -> None:
    text = (folder / "cases.jsonl").read_text()
    (folder / "half.jsonl").write_text(text[: len(text) // 2])
    done = medpo("corrupt", "half.jsonl", "--require-end", "-o", "out.jsonl")
    assert done.returncode == 65
    assert "cut off" in done.stderr
    assert not (folder / "out.jsonl").exists()
    (folder / "bad.jsonl").write_text("{\n" + case(0) + END)
    assert medpo("corrupt", "bad.jsonl", "--on-bad", "fail").returncode == 65


def test_66_no_input(medpo: Run) -> None:
    done = medpo("corrupt", "absent.jsonl")
    assert done.returncode == 66
    assert "absent.jsonl" in done.stderr
    assert medpo("corrupt", "cases.jsonl", "--config", "absent.toml").returncode == 66


def test_69_model_missing(medpo: Run, folder: Path) -> None:
    done = medpo("sample", "--model", "absent", "cases.jsonl")
    assert done.returncode == 69
    assert "Traceback" not in done.stderr
    (folder / "empty").mkdir()
    assert medpo("sample", "--model", "empty", "cases.jsonl").returncode == 69


def test_70_internal_error_without_text_or_traceback(folder: Path) -> None:
    program = (
        "import sys\n"
        "from medpo_cli.stages import corrupt\n"
        "def broken(records, config, context):\n"
        "    try:\n"
        "        int('SEC' + 'RET')\n"
        "    except ValueError as error:\n"
        "        raise KeyError('SEC' + 'RET') from error\n"
        "    yield\n"
        "corrupt.run = broken\n"
        "sys.argv = ['medpo', 'corrupt', 'cases.jsonl', *sys.argv[1:]]\n"
        "from medpo_cli.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 70
    assert "internal error (a bug in medpo): KeyError at" in done.stderr
    assert "SECRET" not in done.stderr
    assert "Traceback" not in done.stderr
    done = subprocess.run([sys.executable, "-c", program, "--debug"], capture_output=True, text=True, cwd=folder)
    assert (done.returncode, done.stderr.count("Traceback")) == (70, 2)
    assert "\nValueError\nTraceback" in done.stderr
    assert done.stderr.endswith("\nKeyError\n")
    assert "SECRET" not in done.stderr


def test_70_also_where_a_library_panics_past_exception(folder: Path) -> None:
    program = (
        "import sys\n"
        "from medpo_cli.stages import corrupt\n"
        "class PanicException(BaseException): pass\n"
        "def broken(records, config, context):\n"
        "    raise PanicException('SEC' + 'RET')\n"
        "    yield\n"
        "corrupt.run = broken\n"
        "sys.argv = ['medpo', 'corrupt', 'cases.jsonl', '-o', 'out.jsonl']\n"
        "from medpo_cli.cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 70
    assert "Traceback" not in done.stderr
    assert "SECRET" not in done.stderr
    assert json.loads((folder / "out.jsonl.run.json").read_text())["exit_code"] == 70


def test_73_output_exists_or_cannot_be_made(medpo: Run, folder: Path) -> None:
    (folder / "out.jsonl").write_text("mine")
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl").returncode == 73
    assert (folder / "out.jsonl").read_text() == "mine"
    assert medpo("corrupt", "cases.jsonl", "-o", "images/0.png/out.jsonl").returncode == 73
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--force").returncode == 0


def test_74_disk_full(folder: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [MEDPO, "corrupt", "cases.jsonl"], stdout=full, stderr=subprocess.PIPE, text=True, cwd=folder
        )
    assert done.returncode == 74
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_75_lock_held_or_out_of_time(medpo: Run, folder: Path) -> None:
    import fcntl

    with open(folder / "x.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert medpo("corrupt", "cases.jsonl", "--lock", "./x.lock").returncode == 75
    assert medpo("corrupt", "cases.jsonl", "--lock", "./x.lock").returncode == 0
    with open(folder / ".adapter.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert medpo("align", "cases.jsonl").returncode == 75
    done = medpo("corrupt", "cases.jsonl", "-o", "slow.jsonl", "--max-minutes", "0.000001")
    assert done.returncode == 75
    assert not (folder / "slow.jsonl").exists()
    assert medpo("corrupt", "cases.jsonl", "-o", "slow.jsonl", "--resume").returncode == 0


def test_78_configuration(medpo: Run, folder: Path) -> None:
    (folder / "medpo.toml").write_text("[corrupt]\nsigmma = 1.0\n")
    done = medpo("corrupt", "cases.jsonl")
    assert done.returncode == 78
    assert "did you mean sigma?" in done.stderr
    (folder / "medpo.toml").unlink()
    assert medpo("corrupt", "cases.jsonl", MEDPO_CORRUPT_OPERATOR="blurr").returncode == 78
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl").returncode == 0
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--resume", "--seed", "5").returncode == 78


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_128_plus_n_signals_keep_what_is_finished(folder: Path, number: signal.Signals) -> None:
    process = subprocess.Popen(
        [MEDPO, "corrupt", "-", "-o", "out.jsonl"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    assert process.stdin is not None
    process.stdin.write(case(0))
    process.stdin.flush()
    part = folder / "out.jsonl.part"
    for _ in range(600):
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}" in errors
    assert json.loads(part.read_text())["id"] == "case-0"
    assert json.loads((folder / "out.jsonl.run.json").read_text())["exit_code"] == 128 + number
    left = {path.name for path in (folder / "corrupted").iterdir()}
    assert all(name.endswith(".nii.gz") for name in left)


def test_141_the_reader_went_away(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [MEDPO, "corrupt", "cases.jsonl"], stdout=writer, stderr=subprocess.PIPE, text=True, cwd=folder
    )
    os.close(writer)
    assert done.returncode == 141
    assert "Traceback" not in done.stderr
