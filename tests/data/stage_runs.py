"""Small inputs for every stage, and the words that run it: for tests of what the stages have in common."""

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from medpo_cli.models.tiny import build_llava, save

PLUGIN = Path(__file__).parent / "mask_plugin.py"
ROOT = Path(__file__).parents[2]
END = '{"schema":"medpo.end/1","stage":"demo","run":"r","records":0,"rejected":0}\n'
INPUTS = {
    "sample": "cases.jsonl", "edit": "samples.jsonl", "masks": "cases.jsonl", "corrupt": "cases.jsonl",
    "align": "pairs.jsonl", "eval": "samples.jsonl",
}  # fmt: skip
OPTIONS = {
    "sample": "--model llava --device cpu --batch 4 --max-tokens 6",
    "edit": "",
    "masks": f"--targets opacity --mask-cmd {shlex.quote(shlex.join([sys.executable, str(PLUGIN), 'good']))}",
    "corrupt": "--operator gaussian --grow 0",
    "align": "--model llava --device cpu --rank 2 --batch 2 --epochs 1 --no-curves",
    "eval": "--model llava --device cpu --bootstrap 100",
}
NAMES = list(INPUTS)


def words(stage: str, *more: str, source: str = "") -> list[str]:
    """``medpo`` and what runs the stage on its input."""
    return [sys.executable, "-m", "medpo_cli", stage, source or INPUTS[stage], *shlex.split(OPTIONS[stage]), *more]


def environment() -> dict[str, str]:
    """Of a process of this working tree."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def record(kind: str, number: int, **change: Any) -> dict[str, Any]:
    """A case about image ``number`` with a bright spot, and what other kinds add: an answer with a wrong side."""
    fields: dict[str, Any] = {
        "schema": f"medpo.{kind}/1",
        "id": f"case-{number}",
        "image": {"path": f"images/{number % 4}.png"},
        "prompt": f"SECRET question {number}",
        "reference": "There is a small left pleural effusion.",
        "task": "report",
        "group": f"g{number}",
        "regions": [{"label": "nodule", "box": [10, 12, 20, 22]}],
    }
    wrong = "There is a small right pleural effusion."
    if kind == "sample":
        fields["policy"] = {"model": "m", "digest": "0" * 64}
        fields["responses"] = [{"text": wrong}]
    if kind == "pair":
        span = {"kind": "side", "chosen": [17, 21], "rejected": [17, 22], "source": "rules"}
        fields |= {"chosen": fields["reference"], "rejected": wrong, "origin": "corrected", "spans": [span]}
    return {**fields, **change}


def lines(kind: str, count: int, *, bad: bool) -> str:
    """A file of so many records; if ``bad`` with one line in four that no stage can use."""
    found = []
    for number in range(count):
        found.append(json.dumps(record(kind, number)))
        if bad and number % 3 == 1:
            lost = {"reference": None} if kind == "sample" else {"image": {"path": "images/gone.png"}}
            found.append("{" if number % 2 else json.dumps(record(kind, 1000 + number, **lost)))
    return "\n".join(found) + "\n" + END


def write_inputs(folder: Path, count: int, *, bad: bool = False, model: bool = True) -> None:
    """Images, the three input files and a model of random weights."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir()
    for number in range(4):
        picture = rng.integers(60, 90, (48, 48), dtype=np.uint8)
        picture[12:22, 10:20] += 120
        Image.fromarray(picture).save(folder / "images" / f"{number}.png")
    for kind in ("case", "sample", "pair"):
        (folder / f"{kind}s.jsonl").write_text(lines(kind, count, bad=bad))
    if model:
        save(folder / "llava", *build_llava())
