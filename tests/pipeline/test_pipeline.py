"""The stages chained: in Python, through pipes, and the four lines of the contract as they stand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

from medpo_cli.demo import MODEL
from medpo_cli.demo.cases import write_cases
from medpo_cli.demo.recipe import SETTINGS
from medpo_cli.io.context import Context
from medpo_cli.io.stream import encode, read_all
from medpo_cli.schema.config import AlignConfig, CorruptConfig, EditConfig, EvalConfig, SampleConfig
from medpo_cli.schema.records import Case, Record
from medpo_cli.stages import align, corrupt, edit, sample
from medpo_cli.stages import eval as evaluation

BIN = str(Path(sys.executable).parent)


def shell(folder: Path, line: str) -> str:
    """Run one line as a user would, with nothing on standard input; returns standard output."""
    environment = {**os.environ, "PATH": BIN + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", "set -o pipefail; " + line],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def lines(records: Iterable[Record]) -> list[str]:
    return [encode(record).decode() for record in records]


def untimed(text: str) -> list[dict[str, object]]:
    """Step records without what the clock and the allocator say."""
    records = [json.loads(line) for line in text.splitlines()]
    return [{k: v for k, v in record.items() if k not in ("seconds", "peak_bytes")} for record in records]


def test_nested_calls_equal_the_pipe_byte_for_byte(tmp_path: Path) -> None:
    cases = write_cases(tmp_path, split="validation", images=6, seed=3)
    context = Context(tmp_path)
    model = str(MODEL)

    piped = shell(tmp_path, "medpo sample validation.jsonl | medpo edit | medpo corrupt").splitlines()
    with cases.open("rb") as stream:
        asked = sample.run(read_all(stream, "cases", (Case,)), SampleConfig(model=model, **SETTINGS["sample"]), context)
        pairs = list(corrupt.run(edit.run(asked, EditConfig(), context), CorruptConfig(), context))
    assert piped[:-1] == lines(pairs)
    assert json.loads(piped[-1])["schema"] == "medpo.end/1"

    (tmp_path / "pairs.v.jsonl").write_text("\n".join(piped) + "\n")
    steps = shell(tmp_path, "medpo align --lora")
    nested = align.run(pairs, AlignConfig(model=model, **SETTINGS["align"]), context, output=tmp_path / "nested")
    assert untimed(steps)[:-1] == untimed("\n".join(lines(nested)))
    first, second = (tmp_path / name / "adapter_model.safetensors" for name in ("adapter", "nested"))
    assert first.read_bytes() == second.read_bytes()

    facts = json.loads((tmp_path / "adapter.run.json").read_text())
    assert (facts["device"], facts["model"], len(facts["model_digest"])) == ("cpu", "phantom-llava", 64)

    scores = shell(tmp_path, "medpo eval --adapter adapter --bootstrap 200 validation.jsonl").splitlines()
    with cases.open("rb") as stream:
        config = EvalConfig(model=model, adapter=str(tmp_path / "adapter"), bootstrap=200, **SETTINGS["eval"])
        judged = lines(evaluation.run(read_all(stream, "cases", (Case,)), config, context))
    assert scores[:-1] == judged


def test_the_four_lines_in_an_empty_folder(tmp_path: Path) -> None:
    shell(tmp_path, "medpo sample | medpo edit > pairs.jsonl")
    shell(tmp_path, "medpo corrupt pairs.jsonl > pairs.v.jsonl")
    shell(tmp_path, "medpo align --lora pairs.v.jsonl -o adapter > steps.jsonl")
    shell(tmp_path, "medpo eval --adapter adapter > scores.jsonl")
    for name in ("pairs.jsonl", "pairs.v.jsonl", "steps.jsonl", "scores.jsonl"):
        assert json.loads((tmp_path / name).read_text().splitlines()[-1])["schema"] == "medpo.end/1"
    summaries = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    change = next(s for s in summaries if s.get("against") == "base")["metrics"]["report.finding_accuracy"]
    assert change["low"] > 0

    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    model = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(MODEL), tmp_path / "adapter")
    assert any("lora_B" in name and bool(value.abs().sum() > 0) for name, value in model.named_parameters())


@pytest.mark.parametrize("domain", ["ct"])
def test_every_stage_runs_on_real_ct(tmp_path: Path, domain: str) -> None:
    cases = write_cases(tmp_path, domain=domain, split="test", images=4, seed=0)
    assert cases.exists()
    shell(tmp_path, "medpo sample test.jsonl | medpo edit | medpo corrupt > pairs.v.jsonl || [ $? -eq 3 ]")
    shell(tmp_path, "medpo align --lora --rank 4 > steps.jsonl")
    shell(tmp_path, "medpo corrupt test.jsonl > test.v.jsonl")
    shell(tmp_path, "medpo eval --adapter adapter test.v.jsonl > scores.jsonl")
    records = [json.loads(line) for line in (tmp_path / "pairs.v.jsonl").read_text().splitlines()]
    assert any("corrupted" in record for record in records)


def test_head_closes_the_pipe_quietly(tmp_path: Path) -> None:
    write_cases(tmp_path, split="validation", images=6, seed=3)
    environment = {**os.environ, "PATH": BIN + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        ["bash", "-c", "medpo corrupt validation.jsonl | head -1; exit ${PIPESTATUS[0]}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in (0, 141)
    assert len(done.stdout.splitlines()) == 1
    assert "Traceback" not in done.stderr
