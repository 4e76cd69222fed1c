"""``corrupt`` in several processes: records go out in runs that share an image and come back in order.

Each image's bytes follow from its content alone, so it does not matter who makes it, nor if two do.
"""

import contextlib
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import TYPE_CHECKING

from medpo_cli.errors import RecordError, TryLaterError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case

if TYPE_CHECKING:
    from medpo_cli.stages.corrupter import Corrupter

RUN = 16
"""Records of one image that a worker gets at once."""
AHEAD = 2
"""Runs waiting for each worker."""

Refusal = tuple[str, str, str | None]


@dataclass(frozen=True)
class Result:
    """What a worker made of a run: records or refusals in order, counts, and names of files to force to the disk."""

    done: list[tuple[str, Case | Refusal]]
    counts: Counter[str]
    files: set[str]


def spread(records: Iterable[Case], parent: "Corrupter") -> Iterator[tuple[str, Case | RecordError]]:
    """Results of all records in their order, worked out by ``parent.config.jobs`` processes.

    Raises:
        TryLaterError: a worker was ended from outside (memory), or the time is over.
    """
    context = parent.context
    place = (parent.config, str(context.root.resolve()), context.allow_outside)
    # A fork would copy threads' locks in whatever state they are.
    pool = ProcessPoolExecutor(parent.config.jobs, get_context("spawn"), _begin, place)
    waiting: deque[Future[Result]] = deque()
    try:
        for run in _runs(records):
            context.check_time()
            with _workers_without_ctrl_c():
                waiting.append(pool.submit(_work, run))
            if len(waiting) > parent.config.jobs * AHEAD:
                yield from _collected(waiting.popleft(), parent)
        while waiting:
            context.check_time()
            yield from _collected(waiting.popleft(), parent)
    except BrokenProcessPool:
        raise TryLaterError("a worker process was ended from outside (memory?); run again with --resume") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _workers_without_ctrl_c() -> Iterator[None]:
    """A process started here never sees Ctrl-C, not even in its first lines: that is the parent's to handle."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _runs(records: Iterable[Case]) -> Iterator[list[Case]]:
    """Neighbouring records about one image, at most ``RUN``."""
    run: list[Case] = []
    for record in records:
        if run and (len(run) == RUN or record.images[0].path != run[0].images[0].path):
            yield run
            run = []
        run.append(record)
    if run:
        yield run


def _collected(future: "Future[Result]", parent: "Corrupter") -> Iterator[tuple[str, Case | RecordError]]:
    result = future.result()
    parent.counts.update(result.counts)
    parent.unsynced |= result.files
    for name, done in result.done:
        parent.seen += 1
        yield name, RecordError(*done) if isinstance(done, tuple) else done


# --- in the worker -------------------------------------------------------------------------------

_workers: list["Corrupter"] = []


def _begin(config: CorruptConfig, root: str, allow_outside: bool) -> None:
    """Set a worker up, so that it does not outlive the parent."""
    from medpo_cli.stages.corrupter import Corrupter

    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _workers[:] = [Corrupter(config, Context(Path(root), allow_outside=allow_outside))]


def _leave_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(run: list[Case]) -> Result:
    worker = _workers[0]
    worker.counts.clear()
    worker.unsynced.clear()
    found: list[tuple[str, Case | Refusal]] = []
    for record in run:
        done = worker.attempt(record)
        found.append((record.id, (done.reason, done.message, done.path) if isinstance(done, RecordError) else done))
    return Result(found, Counter(worker.counts), set(worker.unsynced))
