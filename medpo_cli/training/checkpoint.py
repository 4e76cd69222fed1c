"""Checkpoints that survive kill -9: a temporary folder, fsync, one rename. No pickle.

A checkpoint is ``step-NNNNNN/`` with ``state.safetensors`` (adapter's masters, optimizer, the best adapter so
far), ``steps.jsonl`` (the records of all steps) and ``state.json`` (step, fingerprint of data and settings).
Learning rate, order of the records and dropout's seed are functions of the step, alarms and early stop of the
step records; so a resumed run goes on as if it had never stopped.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from medpo_cli.errors import BadInputError, ConfigError, OutputError
from medpo_cli.io.files import sync_file, translate_os_error
from medpo_cli.schema.records import Step
from medpo_cli.training.optimizer import MasterOptimizer

TENSORS, STATE, STEPS = "state.safetensors", "state.json", "steps.jsonl"
BEST = "best/"


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``folder`` that takes its place when the block succeeds.

    Raises:
        CannotCreateError, OutputError: the disk refuses; nothing is left behind.
    """
    new, old = (folder.with_name(f".{folder.name}.{part}") for part in ("new", "old"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        new.mkdir()
        yield new
        for file in new.iterdir():
            sync_file(file)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync_file(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise translate_os_error(error, folder.name) from error
    except SafetensorError as error:
        raise OutputError(f"{folder.name}: the tensors cannot be written (disk full?)") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: holds the ``step-`` folders.
        optimizer: with its masters the state.
        fingerprint: of everything that decides the result; another one is refused on resume.
        keep_last: how many stay.
        write: False on all processes but the first.

    Attributes:
        done: steps that the model has taken; None while one is being taken.
        saved: steps in the newest checkpoint.
        history: the record of every step taken.
        best: the adapter that early stopping would keep, by name, on the CPU.
    """

    def __init__(
        self,
        folder: Path,
        optimizer: MasterOptimizer,
        fingerprint: str,
        *,
        keep_last: int,
        write: bool = True,
    ) -> None:
        self.folder, self.optimizer = folder, optimizer
        self.fingerprint, self.keep_last, self.write = fingerprint, keep_last, write
        self.done: int | None = 0
        self.saved = 0
        self.history: list[Step] = []
        self.best: dict[str, Tensor] = {}
        self._since = time.monotonic()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Save before any exception leaves the block: a signal, the time limit, a reader that went away."""
        try:
            yield
        except BaseException:
            if self.done is not None and self.done != self.saved:
                self.save(self.done)
            raise

    def due(self, steps: int, minutes: float) -> bool:
        """Whether a multiple of ``steps`` is done, or ``minutes`` (0: off) have passed since the last checkpoint."""
        over = 0 < 60 * minutes <= time.monotonic() - self._since
        return over or (self.done or 0) % steps == 0

    def save(self, step: int) -> None:
        """Write the state after ``step`` optimizer steps; drop the oldest beyond ``keep_last``."""
        if not self.write:
            return
        self._since = time.monotonic()
        with replace_folder(self.folder / f"step-{step:06d}") as new:
            best = {BEST + name: tensor for name, tensor in self.best.items()}
            save_file(self.optimizer.state() | best, new / TENSORS)
            (new / STEPS).write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in self.history))
            (new / STATE).write_text(json.dumps({"step": step, "fingerprint": self.fingerprint}), encoding="utf-8")
        self.saved = step
        self._remove_all_but(self._all()[-self.keep_last :])

    def clear(self) -> None:
        """Forget the checkpoints of an earlier run."""
        if not self.write:
            return
        self._remove_all_but([])

    def restore(self) -> int:
        """Load the newest checkpoint; the number of steps done, 0 where there is none.

        Raises:
            ConfigError: it was made with other data or settings.
            BadInputError: it is damaged.
        """
        found = self._all()
        if not found:
            return 0
        try:
            state = json.loads((found[-1] / STATE).read_text(encoding="utf-8"))
            tensors = load_file(found[-1] / TENSORS)
            step, fingerprint = int(state["step"]), state["fingerprint"]
            lines = (found[-1] / STEPS).read_bytes().splitlines()
            history = [msgspec.json.decode(line, type=Step) for line in lines]
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise BadInputError(
                f"checkpoint {found[-1].name} is damaged: remove it to resume from the one before"
            ) from error
        if fingerprint != self.fingerprint:
            raise ConfigError(f"checkpoint {found[-1].name} was made with other data, model or settings")
        self.optimizer.load(tensors)
        self.best = {name.removeprefix(BEST): part for name, part in tensors.items() if name.startswith(BEST)}
        self.history = history
        self.done = self.saved = step
        return step

    def _remove_all_but(self, kept: list[Path]) -> None:
        """Also what a process left that was killed while it saved or removed."""
        for folder in [*self.folder.glob("step-*"), *self.folder.glob(".step-*")]:
            if folder not in kept:
                shutil.rmtree(folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        """Finished checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if (path / STATE).is_file())
