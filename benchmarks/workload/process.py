"""Children on one core with one thread: CPU seconds and largest resident memory from the kernel's own account.

The parent must stay small: on Linux a child's high-water mark starts at its parent's.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
QUIET = {
    "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
}  # fmt: skip


@dataclass(frozen=True)
class Usage:
    """What one child used: user plus system CPU seconds, largest resident memory in bytes."""

    cpu: float
    peak: int


class ChildError(Exception):
    """A child that did not end well; holds the end of what it said."""


def run(argv: list[str], *, log: Path, cwd: Path, extra: dict[str, str] | None = None, limit: float = 1800) -> Usage:
    """Run ``argv`` to its end.

    Args:
        argv: program and arguments.
        log: file for both of its output streams.
        cwd: working folder.
        extra: further environment.
        limit: seconds of wall time until it is killed.

    Raises:
        ChildError: exit status other than 0, or over the limit.
    """
    environment = {**os.environ, **QUIET, **(extra or {})}
    with open(log, "wb") as file:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd=cwd,
            env=environment,
        )
    deadline = time.monotonic() + limit
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    while pid == 0:
        if time.monotonic() > deadline:
            child.kill()
        time.sleep(0.05)
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        said = log.read_text(errors="replace").strip().splitlines()
        raise ChildError(f"status {child.returncode}: {said[-1] if said else ''} (all of it: {log})")
    return Usage(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def own(script: str, job: dict[str, Any], *, log: Path) -> Usage:
    """One of the benchmark's own children: ``script`` under benchmarks/ with ``job`` as its argument."""
    paths = {"PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    return run([sys.executable, str(HERE / script), json.dumps(job)], log=log, cwd=log.parent, extra=paths)
