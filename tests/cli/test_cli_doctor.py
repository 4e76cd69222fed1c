"""``medpo doctor`` from the shell: lines, JSON, exit codes, no torch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest_cli import Run


def test_a_healthy_machine(medpo: Run) -> None:
    done = medpo("doctor")
    assert done.returncode == 0, done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("ready")
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    assert done.stderr == ""


def test_no_heavy_import_without_deep(folder: Path) -> None:
    code = (
        "import sys; from medpo_cli.cli import main; sys.argv = ['medpo', 'doctor']\n"
        "try: main.main()\nexcept SystemExit: pass\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'numpy', 'pydicom', 'peft'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize(
    ("words", "code", "subject"),
    [
        (("--model", "nowhere"), 69, "folder"),
        (("--adapter", "nowhere"), 69, "adapter"),
        (("--config", "bad.toml"), 78, "configuration"),
        (("--config", "bad.toml", "--model", "nowhere"), 78, "configuration"),
    ],
)
def test_errors_have_a_cure_and_the_code_of_a_stage(
    medpo: Run, folder: Path, words: tuple[str, ...], code: int, subject: str
) -> None:
    (folder / "bad.toml").write_text("[align]\nlearning_rate = 1\n")
    done = medpo("doctor", "--json", *words)
    assert done.returncode == code, done.stderr
    found = json.loads(done.stdout)
    assert (found["schema"], found["exit_code"]) == ("medpo.doctor/1", code)
    first = next(one for one in found["found"] if one["state"] == "error")
    assert (first["subject"], first["code"]) == (subject, code)
    assert first["cure"]
    plain = medpo("doctor", *words)
    assert plain.returncode == code
    assert "not ready" in plain.stdout


def test_a_configuration_that_is_not_there(medpo: Run) -> None:
    assert medpo("doctor", "--config", "none.toml").returncode == 66


def test_deep_loads_the_configured_model(medpo: Run, folder: Path, demo_model: Path) -> None:
    (folder / "medpo.toml").write_text(f'model = "{demo_model}"\n')
    done = medpo("doctor", "--deep", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    states = {one["subject"]: one["state"] for one in found["found"] if one["area"] == "loaded"}
    assert states == dict.fromkeys(("model", "image tokens", "template", "offsets", "frozen", "4 bit"), "ok")
    assert found["deep"] is True


def test_deep_waits_for_the_folder_to_be_whole(medpo: Run) -> None:
    done = medpo("doctor", "--deep", "--model", "nowhere")
    assert done.returncode == 69
    assert done.stdout.rstrip().endswith("not loaded: the errors above come first")
