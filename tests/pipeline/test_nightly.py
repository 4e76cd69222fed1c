"""recipes/nightly.sh with a program in medpo's place that keeps the contract: what the script does by itself."""

import os
import signal
from pathlib import Path

import pytest
from data.nights import END, Folder, wait_for

MEDPO = """#!/bin/bash
# Keeps the contract of a stage: a file $STUB/STAGE holds its exit code, or "hang".
[[ $1 != --version ]] || { echo 1; exit; }
stage=$1 output='' code=0
while (($#)); do [[ $1 != -o ]] || output=$2; shift; done
echo "$stage ${output#nights/*/} offline=$HF_HUB_OFFLINE" >> "$STUB/calls"
[[ ! -e $STUB/$stage ]] || code=$(cat "$STUB/$stage")
if [[ $code == hang ]]; then
    trap 'touch "$STUB/saved"; exit 143' TERM
    touch "$STUB/hanging"
    while :; do sleep 0.01; done
fi
((code == 0)) || echo "medpo $stage: error: ${SAY:-something}" >&2
((code != 3)) || echo '{"schema":"medpo.reject/1"}' > "$output.rejects.jsonl"
((code != 0 && code != 3)) || if [[ $stage == align ]]; then mkdir "$output"; else echo "$stage" > "$output"; fi
exit "$code"
"""
STAGES = ["sample", "edit", "corrupt", "align", "corrupt", "eval"]


class Stubbed(Folder):
    def plan(self, stage: str, what: object) -> None:
        (self.stub / stage).write_text(str(what))

    def well(self) -> None:
        for stage in STAGES:
            (self.stub / stage).unlink(missing_ok=True)

    def calls(self) -> list[str]:
        """The stages that were started since the last look."""
        path = self.stub / "calls"
        said = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        assert all(line.endswith("offline=1") for line in said)
        return [line.split()[0] for line in said]


@pytest.fixture
def nights(tmp_path: Path) -> Stubbed:
    """A folder that has what a night needs, before the first."""
    (tmp_path / "work").mkdir()
    for name in ("cases.jsonl", "test.jsonl", "medpo.toml", "gate.toml"):
        (tmp_path / "work" / name).write_text(END)
    folder = Stubbed(tmp_path / "work", tmp_path / "stub")
    folder.program("medpo", MEDPO)
    return folder


def test_a_good_night_says_one_line_and_promotes(nights: Stubbed) -> None:
    assert nights.again() == (0, "nightly: promoted 2030-01-01T010000Z\n", "")
    assert nights.calls() == STAGES
    assert nights.promoted == "2030-01-01T010000Z"
    assert os.readlink(nights.path / "current") == "nights/2030-01-01T010000Z/adapter"  # the folder can be moved
    assert nights.log("2030-01-01T010000Z").endswith("nightly: promoted 2030-01-01T010000Z (exit 0)\n")


def test_a_bound_that_fails_holds_the_adapter_back(nights: Stubbed) -> None:
    nights.again()
    nights.plan("eval", 3)
    code, out, error = nights.again(SAY="gate: report.hallucination: 0.2 is above 0.1")
    assert (code, out) == (3, "")
    assert "not promoted: gate: report.hallucination: 0.2 is above 0.1" in error
    assert nights.promoted == "2030-01-01T010000Z"
    assert nights.state("2030-01-02T010000Z") == "held"


def test_test_cases_that_are_rejected_hold_it_back_too(nights: Stubbed) -> None:
    nights.plan("eval", 3)
    code, _, error = nights.again()
    assert code == 3
    assert "not promoted: test cases were rejected; 1 records rejected" in error
    assert nights.promoted == ""


def test_rejected_cases_are_told_and_do_not_hold_it_back(nights: Stubbed) -> None:
    nights.plan("sample", 3)
    code, out, error = nights.again()
    assert (code, out) == (3, "")
    assert "promoted 2030-01-01T010000Z; 1 records rejected, see nights/2030-01-01T010000Z/*.rejects.jsonl" in error
    assert nights.promoted == "2030-01-01T010000Z"


@pytest.mark.parametrize("code", [69, 73, 74, 75, 143])
@pytest.mark.parametrize("stage", ["sample", "align"])
def test_an_unfinished_night_is_gone_on_with(nights: Stubbed, stage: str, code: int) -> None:
    nights.plan(stage, code)
    stopped, out, error = nights.again()
    assert (stopped, out) == (code, "")
    assert f"{stage} stopped (exit {code}): medpo {stage}: error: something; the next night goes on in 2030" in error
    nights.well()
    nights.calls()
    assert nights.again()[:2] == (0, "nightly: goes on; promoted 2030-01-01T010000Z\n")
    assert nights.calls() == STAGES[STAGES.index(stage) :]  # what was finished is not done again
    assert nights.names() == ["2030-01-01T010000Z"]


@pytest.mark.parametrize("code", [2, 65, 66, 70, 78])
def test_a_night_without_hope_is_not_gone_on_with(nights: Stubbed, code: int) -> None:
    nights.plan("align", code)
    failed, _, error = nights.again()
    assert failed == code
    assert f"align failed (exit {code})" in error
    nights.well()
    assert nights.again()[0] == 0
    assert [nights.state(name) for name in nights.names()] == ["failed", "promoted"]


@pytest.mark.parametrize("changed", ["cases.jsonl", "test.jsonl", "medpo.toml", "gate.toml"])
def test_an_unfinished_night_of_other_inputs_is_left(nights: Stubbed, changed: str) -> None:
    nights.plan("align", 75)
    nights.again()
    nights.well()
    (nights.path / changed).write_text("changed" + END)
    assert nights.again()[0] == 0
    assert [nights.state(name) for name in nights.names()] == ["abandoned", "promoted"]


def test_kill_9_then_the_next_night_goes_on(nights: Stubbed) -> None:
    nights.plan("align", "hang")
    nights.new_day()
    process = nights.start()
    wait_for((nights.stub / "hanging").exists, process)
    nights.kill(process)
    nights.well()
    nights.calls()
    assert nights.again()[0] == 0
    assert nights.calls() == ["align", "corrupt", "eval"]


def test_the_gate_is_asked_again_where_a_kill_hid_its_answer(nights: Stubbed) -> None:
    nights.plan("eval", 75)
    nights.again()
    (nights.path / "nights" / nights.names()[0] / "scores.jsonl").write_text("whole, but of a gate that did not open")
    nights.plan("eval", 3)
    assert nights.again()[0] == 3
    assert nights.promoted == ""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_script_alone_reaches_the_stage(nights: Stubbed, how: signal.Signals) -> None:
    nights.plan("sample", "hang")
    nights.new_day()
    process = nights.start()
    wait_for((nights.stub / "hanging").exists, process)
    os.kill(process.pid, how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 143  # the stage's, which was sent SIGTERM
    assert "sample stopped (exit 143)" in error
    assert (nights.stub / "saved").exists()
    assert nights.calls() == ["sample"]


def test_a_second_start_leaves_the_first_alone(nights: Stubbed) -> None:
    nights.plan("sample", "hang")
    nights.new_day()
    process = nights.start()
    wait_for((nights.stub / "hanging").exists, process)
    code, out, error = nights.again()
    assert (code, out, error) == (75, "", "nightly: another night is running in this folder; nothing done\n")
    assert process.poll() is None
    nights.kill(process)
    assert len(nights.names()) == 1
    nights.well()
    assert nights.again()[0] == 0  # the lock died with its holder


def test_the_last_nights_stay_and_the_promoted_one_always(nights: Stubbed) -> None:
    nights.again()
    nights.plan("eval", 3)
    for _ in range(4):
        nights.again(NIGHT_KEEP="2")
    assert [name[8:10] for name in nights.names()] == ["01", "04", "05"]
    assert nights.promoted == "2030-01-01T010000Z"
    nights.well()
    nights.again(NIGHT_KEEP="2")
    assert [name[8:10] for name in nights.names()] == ["05", "06"]
    assert nights.promoted == "2030-01-06T010000Z"


def test_nothing_begins_on_a_full_disk(nights: Stubbed) -> None:
    code, _, error = nights.again(NIGHT_LEAST_MIB="999999999")
    assert code == 74
    assert "the disk is nearly full" in error
    assert nights.calls() == nights.names() == []


@pytest.mark.parametrize(("name", "code"), [("cases.jsonl", 66), ("gate.toml", 66), ("nights", 73)])
def test_what_a_night_lacks_is_named(nights: Stubbed, name: str, code: int) -> None:
    if name == "nights":
        (nights.path / name).write_text("a file where the folder should be")
    else:
        (nights.path / name).unlink()
    failed, out, error = nights.again()
    assert (failed, out) == (code, "")
    assert name in error
    assert nights.calls() == []


def test_usage_folder_and_medpo(nights: Stubbed) -> None:
    nights.program("medpo", "")
    (nights.stub / "bin" / "medpo").unlink()
    code, _, error = nights.again(PATH=f"{nights.stub / 'bin'}:/usr/bin:/bin")
    assert code == 69
    assert "medpo is not in PATH" in error
    nights.path = nights.path / "gone"
    assert nights.night()[0] == 66
