"""Ctrl-C from the first lines on: no traceback, the right exit code, and no signal is ever lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

UP = "import sys, medpo_cli.__main__ as m\nprint('up', flush=True)\nm.main()"
LOST = """
import os, signal, time, weakref
from medpo_cli.cli import signals
class Thing: pass
thing = Thing()
reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
signals.install()
try:
    del thing
    print("lost", flush=True)
    time.sleep(20)
except signals.SignalledError as error:
    print("ended by", error.number)
"""
SWALLOWED = """
import os, signal
from medpo_cli.cli import signals
signals.install()
signals.check()
try:
    os.kill(os.getpid(), signal.SIGTERM)
except BaseException:
    pass
try:
    signals.check()
except signals.SignalledError as error:
    print("ended by", error.number)
"""
TWICE = """
import os, signal
from medpo_cli.cli import signals
signals.install()
try:
    os.kill(os.getpid(), signal.SIGINT)
except signals.SignalledError:
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""


def python(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, timeout=60)


def test_the_entry_point_takes_the_interpreters_handler_away_before_anything_else() -> None:
    done = python(
        "import sys; import medpo_cli.__main__\n"
        "print(sorted(name for name in sys.modules if name.startswith('medpo_cli') or name == 'typer'), flush=True)\n"
        "import os; os.kill(os.getpid(), 2); print('still here')"
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")
    assert done.stdout == "['medpo_cli', 'medpo_cli.__main__']\n"


def test_a_signal_that_a_callback_dropped_comes_again() -> None:
    done = python(LOST)
    assert (done.stdout, done.stderr) == ("lost\nended by 2\n", "")


def test_a_signal_that_other_code_swallowed_is_found_at_the_next_record() -> None:
    assert python(SWALLOWED).stdout == "ended by 15\n"


def test_a_second_signal_ends_at_once_whichever_it_is() -> None:
    done = python(TWICE)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")


def interrupted(folder: Path, moments: list[float], *words: str) -> None:
    """Ctrl-C to the whole group, as a terminal sends it, so many seconds after the first line of medpo."""
    for seconds in moments:
        process = subprocess.Popen(
            [sys.executable, "-c", UP, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=folder, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)  # ours until communicate() has waited for it
        _, errors = process.communicate(timeout=60)
        assert process.returncode in {130, -signal.SIGINT, 0}, (seconds, errors)
        assert b"Traceback" not in errors, (seconds, errors)
        assert b"ignored" not in errors, (seconds, errors)


def test_ctrl_c_at_some_moments(folder: Path) -> None:
    draw = random.Random(0)
    interrupted(folder, [draw.random() for _ in range(6)], "corrupt", "cases.jsonl")


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_at_many_moments(folder: Path, jobs: str) -> None:
    draw = random.Random(int(jobs))
    interrupted(folder, [draw.random() * 2.5 for _ in range(60)], "corrupt", "cases.jsonl", "--jobs", jobs)
