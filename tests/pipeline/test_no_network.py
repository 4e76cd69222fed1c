"""A stage that loads a model opens no connection of any kind."""

import os
import subprocess
import sys
from pathlib import Path

from medpo_cli.demo.cases import write_cases

GUARD = """
import socket
def refuse(self, address):
    open({seen!r}, "a").write(f"{{address}}\\n")
    raise OSError("blocked")
socket.socket.connect = refuse
socket.socket.connect_ex = refuse
def no_names(host, *rest, **named):
    open({seen!r}, "a").write(f"name {{host}}\\n")
    raise OSError("blocked")
socket.getaddrinfo = no_names
"""


def test_sample_opens_no_connection(tmp_path: Path) -> None:
    write_cases(tmp_path, split="validation", images=2, seed=1)
    seen = tmp_path / "seen"
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD.format(seen=str(seen)))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    done = subprocess.run(
        [str(Path(sys.executable).parent / "medpo"), "sample", "validation.jsonl"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(tmp_path / "guard")},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 9
    assert not seen.exists()
    program = "import socket; socket.create_connection(('127.0.0.1', 9))"
    guarded = {**environment, "PYTHONPATH": str(tmp_path / "guard")}
    subprocess.run([sys.executable, "-c", program], env=guarded, capture_output=True)
    assert seen.exists(), "the guard itself must work"
