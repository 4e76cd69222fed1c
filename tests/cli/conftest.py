"""A folder of small cases, and a way to run ``medpo`` as a user's shell does."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest_cli import END, MEDPO, Run, case
from PIL import Image


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with images/0.png ... images/3.png and cases.jsonl."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number in range(4):
        picture = rng.integers(60, 90, (48, 48), dtype=np.uint8)
        picture[12:22, 10:20] += 120
        Image.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
    (tmp_path / "cases.jsonl").write_text("".join(case(n) for n in range(4)) + END)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def medpo(folder: Path) -> Run:
    """Run medpo with words; standard input is /dev/null unless given."""

    def run(*words: str, stdin: str | None = None, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [MEDPO, *words],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, **environment},
            **({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}),
            timeout=120,
        )

    return run
