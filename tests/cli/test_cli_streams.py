"""Streams, resume, configuration and privacy of stage commands, through real processes."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest_cli import END, MEDPO, Run, case


def test_help_is_instant_and_imports_nothing_heavy(folder: Path) -> None:
    before = os.times()
    done = subprocess.run([MEDPO, "--help"], capture_output=True, text=True, cwd=folder, check=True)
    assert "corrupt" in done.stdout
    assert os.times().children_user >= before.children_user
    program = (
        "import sys\nsys.argv = ['medpo', 'align', '--help']\nfrom medpo_cli.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'numpy', 'scipy', 'SimpleITK', 'pydicom', 'nibabel'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))"
    )
    python = str(Path(MEDPO).parent / "python")
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=folder, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("command", ["sample", "edit", "corrupt", "align", "eval", "demo", "check", "show", "schema"])
def test_every_command_has_help(medpo: Run, command: str) -> None:
    done = medpo(command, "--help")
    assert done.returncode == 0
    assert f"medpo {command}" in done.stdout


def test_version(medpo: Run) -> None:
    from medpo_cli import __version__

    assert medpo("--version").stdout == f"medpo {__version__}\n"


def test_pipe_and_file_give_the_same_records(medpo: Run, folder: Path) -> None:
    text = (folder / "cases.jsonl").read_text()
    piped = medpo("corrupt", stdin=text)
    assert piped.returncode == 0
    assert medpo("corrupt", "cases.jsonl", "-o", "out.jsonl").returncode == 0
    assert (folder / "out.jsonl").read_text() == piped.stdout
    assert medpo("corrupt", "-", stdin=text).stdout == piped.stdout


def test_only_records_go_to_standard_output(medpo: Run) -> None:
    done = medpo("corrupt", "cases.jsonl", stdin=None, FORCE_COLOR="1", PYTHONIOENCODING="ascii")
    assert all(json.loads(line)["schema"] for line in done.stdout.splitlines())
    assert "\x1b" not in done.stderr


def test_no_record_text_in_any_message_or_manifest(medpo: Run, folder: Path) -> None:
    (folder / "bad.jsonl").write_text(
        case(0)
        + case(1, prompt=7)
        + case(2, image={"path": "../SECRET.png"})
        + case(3, task="SECRET")
        + "SECRET\n"
        + END
    )
    done = medpo("corrupt", "bad.jsonl", "-o", "out.jsonl", "--log-file", "run.log")
    assert done.returncode == 3
    written = done.stderr + "".join(
        (folder / name).read_text() for name in ("out.jsonl.rejects.jsonl", "out.jsonl.run.json", "run.log")
    )
    assert "SECRET" not in written
    codes = [json.loads(line).get("code") for line in (folder / "out.jsonl.rejects.jsonl").read_text().splitlines()]
    assert codes[:-1] == ["bad-record", "path-escape", "bad-record", "not-json"]


def test_missing_end_warns_but_goes_on(medpo: Run) -> None:
    done = medpo("corrupt", stdin=case(0))
    assert done.returncode == 0
    assert "without an end record" in done.stderr


def test_kill_9_loses_no_finished_record_and_resume_makes_the_same_file(medpo: Run, folder: Path) -> None:
    text = (folder / "cases.jsonl").read_text()
    whole = medpo("corrupt", "cases.jsonl", "-o", "whole.jsonl")
    assert whole.returncode == 0
    process = subprocess.Popen([MEDPO, "corrupt", "-", "-o", "out.jsonl"], stdin=subprocess.PIPE, text=True, cwd=folder)
    assert process.stdin is not None
    process.stdin.write(case(0) + case(1))
    process.stdin.flush()
    part = folder / "out.jsonl.part"
    for _ in range(600):
        if part.exists() and part.read_text().count("\n") == 2:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with part.open("a") as stream:
        stream.write('{"schema":"medpo.ca')
    assert medpo("corrupt", "-", "-o", "out.jsonl", stdin=text).returncode == 73
    done = medpo("corrupt", "-", "-o", "out.jsonl", "--resume", stdin=text)
    assert done.returncode == 0, done.stderr
    assert "resuming behind 2 finished records" in done.stderr
    assert (folder / "out.jsonl").read_text() == (folder / "whole.jsonl").read_text()


def test_paths_follow_the_output(medpo: Run, folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "images").rename(folder / "data" / "images")
    (folder / "cases.jsonl").rename(folder / "data" / "cases.jsonl")
    done = medpo("corrupt", "data/cases.jsonl")
    record = json.loads(done.stdout.splitlines()[0])
    assert record["image"]["path"] == "data/images/0.png"
    assert record["corrupted"]["image"]["path"].startswith("corrupted/")
    assert medpo("check", "-", stdin="").returncode == 66
    (folder / "out.jsonl").write_text(done.stdout)
    assert medpo("check", "out.jsonl").returncode == 0


def test_dry_run_writes_nothing(medpo: Run, folder: Path) -> None:
    before = sorted(os.listdir(folder))
    done = medpo("corrupt", "cases.jsonl", "-o", "out.jsonl", "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert "4 records can be used" in done.stderr
    assert sorted(os.listdir(folder)) == before


def test_estimate_says_the_memory_and_writes_nothing(medpo: Run, folder: Path) -> None:
    words = {"origin": "corrected", "chosen": "A nodule.", "rejected": "No nodule.", "schema": "medpo.pair/1"}
    span = {"kind": "finding", "chosen": [0, 1], "rejected": [0, 2], "source": "rule", "confidence": 1.0}
    (folder / "pairs.jsonl").write_text(case(0, **words, spans=[span]) + END)
    before = sorted(folder.rglob("*"))
    done = medpo("align", "pairs.jsonl", "--estimate", "--rank", "4")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "medpo align: activations" in done.stderr
    assert "medpo align: peak" in done.stderr
    assert sorted(folder.rglob("*")) == before


def test_manifest_of_a_pipe(medpo: Run, folder: Path) -> None:
    assert medpo("corrupt", "cases.jsonl", "--manifest", "m.json").returncode == 0
    facts = json.loads((folder / "m.json").read_text())
    assert (facts["stage"], facts["records"], facts["exit_code"]) == ("corrupt", 4, 0)
    assert len(facts["input_sha256"]) == 64


def test_check_names_what_is_wrong(medpo: Run, folder: Path) -> None:
    (folder / "bad.jsonl").write_text(case(0) + case(8) + case(0) + END)
    done = medpo("check", "bad.jsonl")
    assert done.returncode == 3
    assert "bad.jsonl:2 (id case-8): $.image[0].path: file not found" in done.stderr
    assert "bad.jsonl:3 (id case-0): $.id: id already on line 1" in done.stderr
    (folder / "cut.jsonl").write_text(case(0))
    assert medpo("check", "cut.jsonl").returncode == 65


def test_check_looks_for_the_images_of_ext_align(medpo: Run, folder: Path) -> None:
    def extra(**align: object) -> str:
        return case(len(align), ext={"align": align})

    there, gone = {"path": "images/0.png"}, {"path": "gone.png"}
    (folder / "good.jsonl").write_text(extra(ladder=[there, there], twin={"image": there, "answer": "SECRET"}) + END)
    assert medpo("check", "good.jsonl").returncode == 0
    twin = extra(degree={"chosen": 0, "rejected": 1}, ladder=[there, there], twin={"image": gone, "answer": "SECRET"})
    (folder / "bad.jsonl").write_text(extra(ladder=[there, gone]) + twin + extra(laddr=[], ladder=[there, there]) + END)
    done = medpo("check", "bad.jsonl")
    assert done.returncode == 3
    assert "bad.jsonl:1 (id case-1): $.ext.align.ladder[1].path: file not found" in done.stderr
    assert "bad.jsonl:2 (id case-3): $.ext.align.twin.image.path: file not found" in done.stderr
    assert "bad.jsonl:3 (id case-2): $.ext.align: ext.align is not what align reads" in done.stderr
    assert "SECRET" not in done.stderr


def test_show_writes_a_page_without_text_unless_asked(medpo: Run, folder: Path) -> None:
    assert medpo("show", "cases.jsonl", "-o", "page.html").returncode == 0
    page = (folder / "page.html").read_text()
    assert "data:image/png" in page
    assert "SECRET" not in page
    assert medpo("show", "cases.jsonl", "-o", "page.html").returncode == 73
    assert medpo("show", "cases.jsonl", "-o", "page.html", "--with-text", "--force").returncode == 0
    assert "SECRET question" in (folder / "page.html").read_text()
    (folder / "bad.jsonl").write_text(case(0) + case(9) + END)
    assert medpo("show", "bad.jsonl", "-o", "bad.html").returncode == 3


def test_schema_command(medpo: Run) -> None:
    assert "pair" in medpo("schema").stdout.split()
    assert json.loads(medpo("schema", "pair").stdout)["$ref"]
    assert medpo("schema", "nothing").returncode == 2


def test_config_file_environment_and_print_config(medpo: Run, folder: Path) -> None:
    (folder / "medpo.toml").write_text('[corrupt]\ninput = "cases.jsonl"\noperator = "gaussian"\n')
    done = medpo("corrupt", "--sigma", "20")
    record = json.loads(done.stdout.splitlines()[0])
    assert record["corrupted"]["operator"] == "gaussian"
    shown = medpo("corrupt", "--print-config", MEDPO_SEED="3").stdout
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert lines["operator"].endswith("# medpo.toml [corrupt] operator")
    assert lines["seed"].endswith("# MEDPO_SEED")
