"""Stages killed and ended at random moments, then resumed: the bytes of a run that nobody disturbed.

A moment is either somewhere in the start-up, or shortly after a random number of records has been written, or after
the last one. After each the unfinished output must be the beginning of the whole one, to the byte.
"""

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from data import stage_runs

OUT = "out.jsonl"
RUNS = {
    "sample": stage_runs.words("sample"),
    "edit": stage_runs.words("edit", "--audit", "audit"),
    "masks": stage_runs.words("masks"),
    "corrupt": stage_runs.words("corrupt", "--ladder", "3"),
    "corrupt --jobs 2": stage_runs.words("corrupt", "--jobs", "2"),
    "eval": stage_runs.words("eval"),
    "eval, a model and a page": stage_runs.words("eval", "--html", "page.html", "--batch", "4", source="cases.jsonl"),
}
RECORDS = 60
HOWS = [signal.SIGKILL, signal.SIGTERM]


def there(path: Path) -> bytes | None:
    """The bytes of a file; None if it is not there, or was renamed just now by a run (or its last worker)."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


class Victim:
    """A folder in which one stage is started again and again on one output."""

    def __init__(self, words: list[str], folder: Path) -> None:
        self.words, self.folder = words, folder
        begun = time.monotonic()
        assert self.start().wait() == 3
        self.seconds = time.monotonic() - begun
        self.whole = self.files()
        self.clear()

    def start(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [*self.words, "-o", OUT, "--resume", "--quiet"], cwd=self.folder, env=stage_runs.environment(),
            stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def files(self) -> dict[str, bytes]:
        """All that the runs have written, the manifest (which holds times) by its name alone."""
        found = {}
        for path in sorted(self.folder.rglob("*")):
            name = str(path.relative_to(self.folder))
            if path.is_file() and not name.startswith(("images/", "llava/", "cases.", "samples.", "pairs.")):
                data = there(path)
                if data is not None:
                    found[name] = b"" if name.endswith(".run.json") else data
        return found

    def clear(self) -> None:
        for name in self.files():
            (self.folder / name).unlink()

    def written(self) -> int:
        """Whole lines of the output so far."""
        for name in (OUT, f"{OUT}.part"):
            data = there(self.folder / name)
            if data is not None:
                return data.count(b"\n")
        return 0

    def end_somewhere(self, how: signal.Signals, draw: random.Random) -> int:
        """Start it and signal it at a random moment; its exit code."""
        process = self.start()
        if draw.random() < 0.3:
            time.sleep(draw.random() * self.seconds)
        else:
            behind = self.written() + draw.randrange(RECORDS // 6)
            while process.poll() is None and self.written() <= behind and not (self.folder / OUT).exists():
                time.sleep(0.001)
            time.sleep(draw.random() * 0.005)
        process.send_signal(how)
        return process.wait()

    def unfinished_is_a_beginning(self) -> None:
        data = there(self.folder / f"{OUT}.part")
        if data is not None:
            whole = data[: data.rfind(b"\n") + 1]
            assert self.whole[OUT].startswith(whole)
        assert (self.folder / OUT).exists() <= (self.whole[OUT] == self.read(OUT))

    def read(self, name: str) -> bytes:
        return there(self.folder / name) or b""

    def finish(self) -> None:
        """Resume to the end: every file is there again, no other is, and each has its bytes."""
        assert self.start().wait() == 3
        found = self.files()
        assert found.keys() == self.whole.keys()
        assert [name for name in found if found[name] != self.whole[name]] == []
        self.clear()


def survives(name: str, folder: Path, kills: int, how: signal.Signals) -> None:
    stage_runs.write_inputs(folder, RECORDS, bad=True, model="model" in name or name == "sample")
    victim, draw, killed = Victim(RUNS[name], folder), random.Random(f"{name} {how}"), 0
    codes = {-how} if how == signal.SIGKILL else {-how, 128 + how}
    finished = 0
    while killed < kills:
        code = victim.end_somewhere(how, draw)
        victim.unfinished_is_a_beginning()
        killed += code in codes
        assert code in {*codes, 0, 3}, code
        if code in {0, 3}:  # the signal came after the end
            victim.finish()
            finished += 1
    victim.finish()
    print(f"{name}: {killed} times {how.name}, {finished + 1} whole outputs")


@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.name)
@pytest.mark.parametrize("name", ["edit", "masks", "corrupt", "eval"])
def test_some_moments(tmp_path: Path, name: str, how: signal.Signals) -> None:
    survives(name, tmp_path, 2, how)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("how", HOWS, ids=lambda how: how.name)
@pytest.mark.parametrize("name", RUNS)
def test_many_moments(tmp_path: Path, name: str, how: signal.Signals) -> None:
    survives(name, tmp_path, 50, how)
