"""recipes/rounds.sh on the demo: rounds build on one another and stop when little is left to correct."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medpo_cli.demo import MODEL
from medpo_cli.demo.cases import write_cases

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[2] / "recipes" / "rounds.sh"


def run(folder: Path, *words: str) -> str:
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
    done = subprocess.run(
        ["bash", str(SCRIPT), str(folder), *words], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_rounds_correct_less_and_stop(tmp_path: Path) -> None:
    write_cases(tmp_path, split="validation", images=24, seed=3).rename(tmp_path / "cases.jsonl")
    (tmp_path / "medpo.toml").write_text(
        f'model = "{MODEL}"\n[sample]\nmax_tokens = 64\n[align]\nrank = 8\nlora_alpha = 16.0\nlr = 2e-3\nepochs = 4.0\n'
    )
    said = run(tmp_path, "2")
    counts = [int(found) for found in re.findall(r"round \d: (\d+) of", said)]
    assert len(counts) == 2
    assert counts[1] < counts[0]
    assert "adapter: round" in said
    assert (tmp_path / "round1.adapter" / "adapter_model.safetensors").is_file()
    assert said.count("round 1") == run(tmp_path, "2", "100").count("round 1") == 1
    assert "adapter: none" in run(tmp_path, "2", "100")
