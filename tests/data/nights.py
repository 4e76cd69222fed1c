"""A folder for recipes/nightly.sh, and a clock that moves from night to night: for tests of one night and of a week."""

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "recipes" / "nightly.sh"
END = '{"schema":"medpo.end/1","stage":"demo","run":"r","records":0,"rejected":0}\n'
CLOCK = """#!/bin/bash
# Stands in for date: the day is read from a file.
if [[ ${*: -1} == *%H%M%SZ ]]; then echo "$(cat "$STUB/day")T010000Z"; else exec /bin/date "$@"; fi
"""


class Folder:
    """FOLDER of ``nightly.sh`` with one start a night.

    Attributes:
        path: what the script is given.
        stub: programs that stand in for others come first in PATH, and find here what they must do.
    """

    def __init__(self, path: Path, stub: Path) -> None:
        self.path, self.stub, self._day = path, stub, 0
        (stub / "bin").mkdir(parents=True)
        self.program("date", CLOCK)

    def program(self, name: str, text: str) -> None:
        (self.stub / "bin" / name).write_text(text)
        (self.stub / "bin" / name).chmod(0o755)

    def new_day(self) -> str:
        self._day += 1
        day = f"2030-01-{self._day:02}"
        (self.stub / "day").write_text(day)
        return f"{day}T010000Z"

    def start(self, *before: str, **environment: str) -> "subprocess.Popen[str]":
        """The script in a session of its own; ``before`` are words in front of it."""
        known = {"PATH": f"{self.stub / 'bin'}:{os.environ['PATH']}", "STUB": str(self.stub), "NIGHT_LEAST_MIB": "1"}
        return subprocess.Popen(
            [*before, "bash", str(SCRIPT), str(self.path)], env={**os.environ, **known, **environment}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def night(self, *before: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of a start that is left alone."""
        process = self.start(*before, **environment)
        out, error = process.communicate(timeout=600)
        return process.returncode, out, error

    def again(self, **environment: str) -> tuple[int, str, str]:
        """The same on the next day."""
        self.new_day()
        return self.night(**environment)

    def kill(self, process: "subprocess.Popen[str]") -> None:
        """Kill -9 the script and all that it started, as a power cut would, and wait until they are dead."""
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        with (self.path / "nights" / ".lock").open() as lock:
            for _ in range(1000):
                with contextlib.suppress(BlockingIOError):
                    return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                time.sleep(0.02)
        raise AssertionError("something that the night started is still alive")

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.path / "nights").glob("2*Z"))

    def state(self, name: str) -> str:
        path = self.path / "nights" / name / "state"
        return path.read_text().strip() if path.exists() else ""

    def log(self, name: str) -> str:
        return (self.path / "nights" / name / "night.log").read_text()

    @property
    def promoted(self) -> str:
        """The night that ``current`` leads to."""
        current = self.path / "current"
        return current.resolve(strict=True).parent.name if current.is_symlink() else ""


def wait_for(there: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 300) -> None:
    """Wait until it is so; the process must live on until then."""
    end = time.monotonic() + seconds
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.005)
