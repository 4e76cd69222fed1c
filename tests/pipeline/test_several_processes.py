"""Two processes on one result: the same adapter as one process, one voice, one set of files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from data.training_pairs import PAIRS, picture
from PIL import Image
from safetensors.torch import load_file

from medpo_cli.models.tiny import build_llava, save
from medpo_cli.schema.records import End, ImageRef

BIN = Path(sys.executable).parent
TESTS = Path(__file__).parents[1]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(TESTS.parent),
    "PATH": f"{BIN}:{os.environ['PATH']}",
    "ACCELERATE_USE_CPU": "true",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TESTS_OWN_SERVER": "1",  # the processes meet on loopback, and the launcher asks there before any of them listens
}
ALIGN = ["align", "pairs.jsonl", "--model", "llava", "--rank", "4", "--lr", "1e-3", "--device", "cpu"]
HELD_OUT = ["--held-out", "0.3", "--held-out-every", "2", "--early-stop", "2", "--batch", "2", "--epochs", "12"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pairs of seven patients, the first of which cannot be used, and a tiny model."""
    folder = tmp_path_factory.mktemp("processes")
    for name in "abcdefg":
        Image.fromarray(picture(ImageRef(path=f"{name}.png"))).save(folder / f"{name}.png")
    save(folder / "llava", *build_llava())
    pairs = [msgspec.structs.replace(PAIRS[i % 5], id=f"p{i}", group=f"g{i}") for i in range(7)]
    pairs[0] = msgspec.structs.replace(pairs[0], rejected=pairs[0].chosen)
    end = End(stage="corrupt", run="r", records=7, rejected=0)
    lines = [msgspec.json.encode(record) + b"\n" for record in [*pairs, end]]
    (folder / "pairs.jsonl").write_bytes(b"".join(lines))
    return folder


def launched(folder: Path, output: str, *words: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    launch = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(processes), "--main_process_port", "0"]
    command = [*launch, "--no_python", "medpo"] if processes > 1 else ["medpo"]
    return subprocess.run(
        [*command, *ALIGN, "-o", output, *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=200,
    )


def largest_difference(one: Path, two: Path) -> float:
    a, b = (load_file(path / "adapter_model.safetensors") for path in (one, two))
    assert a.keys() == b.keys()
    assert any(tensor.abs().max() > 0 for name, tensor in a.items() if "lora_B" in name)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("three", ["--batch", "3", "--epochs", "2"]),  # 6 pairs: three on two processes
        ("four", ["--batch", "4", "--epochs", "2"]),  # 4, then 2
        ("five", ["--batch", "5", "--epochs", "2"]),  # 5, then 1: the second process has nothing
        ("held", HELD_OUT),
        ("kto", ["--method", "kto", *HELD_OUT]),  # its z is a mean over all processes, in every batch
    ],
)
def test_two_processes_give_the_adapter_of_one(folder: Path, name: str, words: list[str]) -> None:
    one = launched(folder, f"{name}-one", *words, processes=1)
    two = launched(folder, f"{name}-two", *words)
    assert one.returncode == 3, one.stderr  # one pair is rejected
    assert largest_difference(folder / f"{name}-one", folder / f"{name}-two") <= 1e-5
    first, second = ([json.loads(line) for line in done.stdout.splitlines()] for done in (one, two))
    assert [record.get("step") for record in second] == [record.get("step") for record in first]  # each once
    assert second[-1] == first[-1]
    for a, b in zip(first[:-1], second[:-1], strict=True):
        assert b["loss"] == pytest.approx(a["loss"], abs=1e-5)
        assert b["tokens"] >= a["tokens"]  # less is shared
        assert b["terms"] == pytest.approx(a["terms"], abs=1e-4, rel=1e-5)
    said = [line for line in two.stderr.splitlines() if line.startswith("medpo align")]
    assert len(said) == len(set(said))
    assert {line for line in said if "curves" not in line and "adapter" not in line} <= set(one.stderr.splitlines())
    run = json.loads((folder / f"{name}-two.run.json").read_text())
    assert (run["exit_code"], run["records"], run["rejected"]) == (3, len(second) - 1, 1)
    rejects = (folder / f"{name}-two.rejects.jsonl").read_text().splitlines()
    assert len(rejects) == 2  # and the end record


@pytest.mark.slow
def test_a_time_limit_stops_both_and_both_go_on(folder: Path) -> None:
    words = ["--batch", "3", "--epochs", "2"]
    launched(folder, "whole", *words, processes=1)
    cut = launched(folder, "cut", *words, "--max-minutes", "0.00001")
    assert cut.returncode == 1
    assert "time limit reached; state saved, run again with --resume" in cut.stderr
    assert not (folder / "cut").exists()
    launched(folder, "cut", *words, "--resume")
    assert largest_difference(folder / "whole", folder / "cut") <= 1e-5


@pytest.mark.slow
def test_what_several_processes_cannot_do(folder: Path) -> None:
    split = subprocess.run(
        ["medpo", *ALIGN, "-o", "split"],
        cwd=folder,
        env=ENVIRONMENT | {"ACCELERATE_USE_FSDP": "true"},
        capture_output=True,
        text=True,
    )
    assert split.returncode == 78
    assert "FSDP is not supported" in split.stderr
    alone = ENVIRONMENT | {"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}
    for words in (["edit", "pairs.jsonl"], ["align", "-"]):
        done = subprocess.run(["medpo", *words], cwd=folder, env=alone, capture_output=True, text=True, input="")
        assert done.returncode == 2, done.stderr
        assert "process" in done.stderr
