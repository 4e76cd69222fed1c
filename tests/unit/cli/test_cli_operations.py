"""recipes/operations and the scripts: what of them can be checked without cron, systemd, Slurm and a container."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from medpo_cli.cli.recipe import files, find, summary
from medpo_cli.cli.settings import STAGES
from medpo_cli.evaluation.gate import load_gate
from medpo_cli.schema.config import StreamConfig

SHELF = Path(__file__).parents[3] / "recipes"
HERE = SHELF / "operations"
SCRIPTS = sorted(SHELF.rglob("*.sh"))
UNIT = HERE / "medpo-nightly.service"
REGISTRY = re.compile(r"[\w-]+\.(io|com|org|dev)/", re.IGNORECASE)


def names(path: Path) -> str:
    return str(path.relative_to(SHELF))


@pytest.mark.parametrize("script", SCRIPTS, ids=names)
def test_bash_can_read_every_script(script: Path) -> None:
    assert script.read_text().startswith("#!/bin/bash\n")
    assert "\nset -euo pipefail\n" in script.read_text()
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
@pytest.mark.parametrize("script", SCRIPTS, ids=names)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.stdout == ""


def flags(stage: str) -> set[str]:
    fields = {field.name for kind in (STAGES[stage], StreamConfig) for field in msgspec.structs.fields(kind)}
    return {f"--{name.replace('_', '-')}" for name in fields}


def used(script: Path) -> list[tuple[str, str]]:
    """Stages that a script starts, each with the options that it gives there or to all of them."""
    text = re.sub(r"\s*\\\n\s*", " ", script.read_text())
    starts = r"^\s*(?:medpo|run|step(?: \S+)?|[^#\n]*--no_python medpo) (\w+) ([^#\n]*)"
    everywhere = " ".join(re.findall(r"^(?:common=\(| +medpo \"\$@\")(.*)$", text, re.MULTILINE))
    found = [
        (stage, f"{rest} {everywhere}") for stage, rest in re.findall(starts, text, re.MULTILINE) if stage in STAGES
    ]
    return [(stage, word) for stage, rest in found for word in re.findall(r"--[a-z][a-z-]*", rest)]


def test_every_option_in_a_script_is_one_of_its_stage() -> None:
    given = {(script.name, *pair) for script in SCRIPTS for pair in used(script)}
    assert [words for words in sorted(given) if words[2] not in flags(words[1])] == []
    assert {name for name, *_ in given} == {script.name for script in SCRIPTS}
    assert {stage for _, stage, _ in given} == {"sample", "edit", "corrupt", "align", "eval"}


def test_all_are_described_and_listed() -> None:
    there = files(SHELF)
    readme = (SHELF / "README.md").read_text()
    for path in HERE.iterdir():
        name = f"operations/{path.name}"
        assert len(summary(there[name])) > 20
        assert f"]({name})" in readme
        assert find(name) == path


def test_the_example_of_a_gate_is_one() -> None:
    bounds = load_gate(HERE / "gate.toml")
    assert {bound.metric for bound in bounds} >= {"report.finding_accuracy", "report.hallucination"}


def unit(path: Path) -> dict[str, list[str]]:
    """Settings of a unit file with all their values, by ``Section.Key``."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match[1]
        elif line and not line.startswith("#"):
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(f"{section}.{key}", []).append(value)
    return found


def test_the_service_is_shut_in_and_may_save_its_state() -> None:
    service = unit(UNIT)
    for key, value in {
        "ProtectSystem": "strict", "ReadWritePaths": "/srv/medpo", "PrivateNetwork": "yes", "NoNewPrivileges": "yes",
        "PrivateTmp": "yes", "ProtectHome": "yes", "CapabilityBoundingSet": "", "DevicePolicy": "closed",
        "User": "medpo", "Type": "oneshot",
        "KillMode": "mixed",  # a second SIGTERM would end medpo without its checkpoint
        "TimeoutStopSec": "10min",
        "SuccessExitStatus": "75",  # and not 3
    }.items():  # fmt: skip
        assert service[f"Service.{key}"] == [value], key
    assert "Service.MemoryMax" in service
    assert "Service.MemoryDenyWriteExecute" not in service  # torch and CUDA write code while they run
    assert shlex.split(service["Service.ExecStart"][0]) == ["/bin/bash", "/opt/medpo/nightly.sh", "/srv/medpo"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_both_units(tmp_path: Path) -> None:
    units = [shutil.copy(path, tmp_path) for path in sorted(HERE.glob("medpo-nightly.*"))]
    assert len(units) == 2
    words = ["systemd-analyze", "verify", "--man=no", *map(str, units)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_timer_starts_the_service_by_its_name() -> None:
    timer = unit(HERE / "medpo-nightly.timer")
    assert "Timer.Unit" not in timer
    assert (HERE / "medpo-nightly.timer").stem == UNIT.stem
    assert timer["Install.WantedBy"] == ["timers.target"]


def test_the_crontab_is_one() -> None:
    lines = [line for line in (HERE / "crontab.example").read_text().splitlines() if line and line[0] != "#"]
    variables = dict(line.split("=", 1) for line in lines if re.match(r"\w+=", line))
    (job,) = [line for line in lines if not re.match(r"\w+=", line)]
    assert variables["SHELL"] == "/bin/bash"
    assert "PATH" in variables
    assert re.match(r"([\d*,/-]+\s+){5}\S", job)
    assert "%" not in job  # cron makes a new line of it
    known = set(re.findall(r"\$\{(NIGHT_\w+):-", (SHELF / "nightly.sh").read_text()))
    assert {name for name in variables if name.startswith("NIGHT_")} <= known


def test_the_container_installs_offline_and_runs_as_nobody_special() -> None:
    lines = re.sub(r"\\\n\s*", " ", (HERE / "Containerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    order = [name for name, _ in steps]
    known = "ARG FROM ENV RUN COPY USER WORKDIR VOLUME STOPSIGNAL ENTRYPOINT CMD".split()
    assert set(order) <= set(known)
    assert order.index("RUN") < order.index("USER") < order.index("ENTRYPOINT")
    (run,) = [rest for name, rest in steps if name == "RUN"]
    assert "--network=none" in run
    assert run.count("pip install") == run.count("--no-index --find-links /wheelhouse") == 3
    assert dict(steps)["USER"] == "${UID}"
    assert not any(REGISTRY.search(rest) for _, rest in steps)


STUB = """#!/bin/bash
echo "$(basename "$0") $*" >> "$STUB/calls"
exit "$(cat "$STUB/code" 2> /dev/null || echo 0)"
"""


class Machine:
    """Programs that stand in for those of a cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("medpo", "scontrol", "accelerate"):
            (folder / name).write_text(STUB)
            (folder / name).chmod(0o755)
        (folder / "work").mkdir()

    def run(self, script: str, *words: str, code: int = 0, **environment: str) -> tuple[int, list[str]]:
        (self.folder / "code").write_text(str(code))
        known = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "STUB": str(self.folder)}
        done = subprocess.run(
            ["bash", str(HERE / script), str(self.folder / "work"), *words], env=known | environment,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        path = self.folder / "calls"
        calls = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return done.returncode, calls


TASK = {
    "SLURM_ARRAY_JOB_ID": "7",
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_COUNT": "8",
    "SLURM_ARRAY_TASK_MIN": "1",
}


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (3, 0), (65, 65)])
def test_a_task_of_the_array_samples_its_part(tmp_path: Path, code: int, expected: int) -> None:
    ended, calls = Machine(tmp_path).run("slurm-sample.sh", code=code, **TASK)
    assert ended == expected
    (call,) = calls
    assert call.startswith("medpo sample cases.jsonl -o part-2-of-8.jsonl --shard 2/8 --resume")


def test_a_task_whose_time_is_up_is_put_back(tmp_path: Path) -> None:
    _, calls = Machine(tmp_path).run("slurm-sample.sh", code=75, **TASK)
    assert calls[1:] == ["scontrol requeue 7_2"]


def test_an_array_counts_from_one(tmp_path: Path) -> None:
    assert Machine(tmp_path).run("slurm-sample.sh", **TASK | {"SLURM_ARRAY_TASK_MIN": "0"}) == (2, [])


def test_the_last_job_merges_the_parts_and_not_their_rejects(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    for name in ("part-1-of-2.jsonl", "part-2-of-2.jsonl", "part-2-of-2.jsonl.rejects.jsonl"):
        (tmp_path / "work" / name).touch()
    merge = "medpo merge cases.jsonl part-1-of-2.jsonl part-2-of-2.jsonl -o samples.jsonl"
    assert machine.run("slurm-sample.sh", "merge") == (0, [merge])


@pytest.mark.parametrize(
    ("launcher", "manifest", "expected"),
    [(0, "0", 0), (1, "3", 3), (1, "75", 75), (1, "null", 1), (1, "0", 1), (1, "", 1)],
)
def test_the_code_of_several_gpus_is_medpos_own(tmp_path: Path, launcher: int, manifest: str, expected: int) -> None:
    machine = Machine(tmp_path)
    if manifest:
        (tmp_path / "work" / "adapter.run.json").write_text(f'{{\n  "exit_code": {manifest},\n  "records": 4\n}}\n')
    code, calls = machine.run("align-gpus.sh", "4", code=launcher)
    assert code == expected
    assert "--num_processes 4" in calls[0]
