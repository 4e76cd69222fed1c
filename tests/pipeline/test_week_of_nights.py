"""A week of recipes/nightly.sh on the demo: a kill, a second start, a closed gate, bad cases, a full disk, no cases."""

import os
import sys
from pathlib import Path

import pytest
from data.nights import END, Folder, wait_for

from medpo_cli.demo import MODEL
from medpo_cli.demo.cases import write_cases

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]
SETTINGS = f"""model = "{MODEL}"
[sample]
max_tokens = 64
[align]
rank = 8
lr = 1e-3
batch = 2
checkpoint_every = 1
curves = false
[eval]
max_tokens = 64
bootstrap = 100
grounding = false
"""
OPEN = '[[bound]]\nmetric = "report.finding_accuracy"\nmin = 0.0\n'
CLOSED = '[[bound]]\nmetric = "report.finding_accuracy"\nmin = 1.1\n'


@pytest.fixture
def week(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("NIGHT_LOCK", str(tmp_path / "gpu.lock"))
    work = tmp_path / "work"
    write_cases(work, split="validation", images=4, seed=3).rename(work / "cases.jsonl")
    write_cases(work, split="test", images=2, seed=3).rename(work / "test.jsonl")
    (work / "medpo.toml").write_text(SETTINGS)
    (work / "gate.toml").write_text(OPEN)
    return Folder(work, tmp_path / "stub")


def adapter(week: Folder, name: str) -> bytes:
    return (week.path / "nights" / name / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_week(week: Folder) -> None:
    cases = (week.path / "cases.jsonl").read_text()

    # Monday: all is well.
    monday = week.new_day()
    assert week.night() == (0, f"nightly: promoted {monday}\n", "")
    assert week.promoted == monday

    # Tuesday: the power goes in the middle of training. A second start in the meantime does nothing.
    tuesday = week.new_day()
    process = week.start()
    wait_for(lambda: len(list(week.path.glob(f"nights/{tuesday}/adapter.checkpoints/step-*"))) > 0, process)
    code, _, error = week.night()
    assert code == 75
    assert "another night is running" in error
    week.kill(process)
    assert (week.promoted, week.state(tuesday)) == (monday, "")

    # Wednesday goes on with it; the adapter is that of a night that nobody disturbed, byte for byte.
    assert week.again() == (0, f"nightly: goes on; promoted {tuesday}\n", "")
    assert week.names() == [monday, tuesday]
    undisturbed = adapter(week, monday)
    assert adapter(week, tuesday) == undisturbed
    assert week.log(tuesday).count("medpo sample: answers: whole") == 1

    # Thursday: the gate stays closed.
    (week.path / "gate.toml").write_text(CLOSED)
    thursday = week.new_day()
    code, out, error = week.night()
    assert (code, out) == (3, "")
    assert "not promoted: gate: report.finding_accuracy: " in error
    assert "is below 1.1" in error
    assert (week.promoted, week.state(thursday)) == (tuesday, "held")
    (week.path / "gate.toml").write_text(OPEN)

    # Friday: a torn line and a picture that is not there.
    lines = cases.splitlines(keepends=True)
    lost = lines[0].replace("images/", "images/gone-", 1)
    (week.path / "cases.jsonl").write_text("{\n" + lost.replace('"id":"', '"id":"lost-', 1) + "".join(lines))
    friday = week.new_day()
    code, out, error = week.night()
    assert (code, out) == (3, "")
    assert f"nightly: promoted {friday}; 2 records rejected, see nights/{friday}/*.rejects.jsonl\n" == error
    assert (week.path / "nights" / friday / "samples.jsonl.rejects.jsonl").read_text().count("medpo.reject/1") == 2
    assert "cases.jsonl:1" in week.log(friday)
    (week.path / "cases.jsonl").write_text(cases)

    # Saturday: the disk takes no more (here: no file may grow beyond 8 KiB); Sunday there is room again.
    saturday = week.new_day()
    code, _, error = week.night("bash", "-c", 'ulimit -f 8; exec "$@"', "-")
    assert code == 74
    assert "sample stopped (exit 74)" in error
    assert (week.promoted, week.state(saturday)) == (friday, "")
    assert week.again(NIGHT_KEEP="2") == (0, f"nightly: goes on; promoted {saturday}\n", "")
    assert week.names() == [friday, saturday]
    assert adapter(week, saturday) == undisturbed

    # Monday: the export brought no cases.
    (week.path / "cases.jsonl").write_text(END)
    monday = week.new_day()
    code, _, error = week.night(NIGHT_KEEP="2")
    assert code == 65
    assert "align failed (exit 65): medpo align: error: no usable record to align with" in error
    assert (week.promoted, week.state(monday)) == (saturday, "failed")
    assert len((week.path / "current" / "adapter_model.safetensors").read_bytes()) > 0
