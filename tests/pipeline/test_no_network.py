"""A stage that loads a model opens no connection of any kind, even where the environment does not forbid it.

All tests run behind the guard of tests/guard; here the switches that the suite itself sets are taken away, so that
only medpo's own keep the libraries off the network.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medpo_cli.demo.cases import write_cases

SWITCHES = ("HF_", "TRANSFORMERS_")


@pytest.mark.parametrize("model", [(), ("--model", "org/a-model-of-the-hub")], ids=["embedded", "a name of the hub"])
def test_sample_opens_no_connection(tmp_path: Path, model: tuple[str, ...]) -> None:
    write_cases(tmp_path, split="validation", images=2, seed=1)
    seen = tmp_path / "seen"
    seen.touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith(SWITCHES)}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "medpo"), "sample", "validation.jsonl", *model],
        cwd=tmp_path,
        env={**environment, "TESTS_NETWORK_SEEN": str(seen)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == (69 if model else 0), done.stderr
    assert len(done.stdout.splitlines()) == (0 if model else 9)
    assert "Traceback" not in done.stderr
    assert seen.read_text() == ""
