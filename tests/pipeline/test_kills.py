"""A real ``medpo align`` killed and ended at random moments gives the bytes of one that nobody disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from data.training_pairs import PAIRS, picture
from PIL import Image

from medpo_cli.models.tiny import build_llava, save
from medpo_cli.schema.records import ImageRef

MEDPO = str(Path(sys.executable).parent / "medpo")
ROOT = Path(__file__).parents[2]
KILLS = 50
# Dropout, reference memory, held-out pairs and a best adapter: everything that a resumed run must restore.
ALIGN = (
    "align pairs.jsonl --model llava --rank 4 --lr 3e-3 --device cpu --batch 2 --epochs 60 --lora-dropout 0.1 "
    "--held-out 0.3 --held-out-every 4 --early-stop 1000 --checkpoint-every 3 --no-curves --quiet"
).split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kills")
    for name in "abcdefg":
        Image.fromarray(picture(ImageRef(path=f"{name}.png"))).save(folder / f"{name}.png")
    save(folder / "llava", *build_llava())
    pairs = [msgspec.structs.replace(PAIRS[i % 5], id=f"p{i}", group=f"g{i}") for i in range(10)]
    (folder / "pairs.jsonl").write_bytes(b"".join(msgspec.json.encode(pair) + b"\n" for pair in pairs))
    whole = start(folder, "whole")
    assert whole.communicate()[0].count(b"medpo.step") == 240  # 7 pairs to train on: 4 steps, 60 epochs
    assert whole.returncode == 0
    return folder


def start(folder: Path, output: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [MEDPO, *ALIGN, "-o", output, "--resume"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def end_somewhere(process: "subprocess.Popen[bytes]", how: signal.Signals, moment: random.Random) -> int:
    """Signal ``process`` after a random number of steps and a random part of a step; the steps seen."""
    assert process.stdout is not None
    seen = 0
    for _ in range(moment.randrange(12)):
        seen += b"medpo.step" in process.stdout.readline()
    time.sleep(moment.random() * 0.05 if seen else moment.random() * 8)  # in training, or in the start-up
    process.send_signal(how)
    process.communicate()
    return seen


def steps(folder: Path, output: str) -> list[tuple[float, ...]]:
    """What the last checkpoint remembers of every step, without the times."""
    newest = sorted((folder / f"{output}.checkpoints").glob("step-*"))[-1]
    records = [json.loads(line) for line in (newest / "steps.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss"], record["grad_norm"], *record["terms"].values()) for record in records]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_killed_at_random_moments(folder: Path) -> None:
    moment, run, kills = random.Random(0), 0, 0
    while kills < KILLS:
        how = moment.choice([signal.SIGKILL, signal.SIGTERM])
        process = start(folder, f"cut{run}")
        seen = end_somewhere(process, how, moment)
        newest = sorted(path.name for path in (folder / f"cut{run}.checkpoints").glob("step-*"))[-1:]
        print(f"{how.name} after {seen} steps: exit code {process.returncode}, checkpoint {newest}")
        if process.returncode == 0:  # it was at its end before the signal came: another one
            check_whole(folder, f"cut{run}")
            run += 1
            continue
        assert process.returncode in {-signal.SIGKILL, 128 + signal.SIGTERM, -signal.SIGTERM}
        kills += 1
    last = start(folder, f"cut{run}")
    last.communicate()
    assert last.returncode == 0
    check_whole(folder, f"cut{run}")


def check_whole(folder: Path, cut: str) -> None:
    """Steps, adapter and checkpoints are those of the run that nobody disturbed."""
    assert steps(folder, cut) == steps(folder, "whole")
    one, two = ((folder / name / "adapter_model.safetensors").read_bytes() for name in ("whole", cut))
    assert one == two
    assert sorted(path.name for path in (folder / f"{cut}.checkpoints").iterdir()) == sorted(
        path.name for path in (folder / "whole.checkpoints").iterdir()
    )
