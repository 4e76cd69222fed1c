"""``medpo corrupt``: destroy the evidence of each record, and an equal region elsewhere as a control."""

from collections.abc import Iterable, Iterator

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.io.files import remove_leftovers
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case
from medpo_cli.stages.corrupter import Corrupter


def run(records: Iterable[Case], config: CorruptConfig, context: Context) -> Iterator[Case]:
    """Yield each record with ``corrupted`` and ``control`` where it has a region to destroy.

    A record without such a region passes unchanged, unless ``config.fallback`` is ``whole``. With
    ``config.ladder`` a record with a region also gets ``ext.align.ladder``: that many images from the clean
    to the corrupted one, evenly spaced. Order and bytes do not depend on ``config.jobs``.
    """
    worker = Corrupter(config, context)
    remove_leftovers(worker.folder)
    context.progress.start("corrupt", context.expected)
    try:
        for name, done in _results(records, worker):
            if isinstance(done, RecordError):
                context.reject(name, done)
            else:
                yield done
            context.progress.advance()
    finally:
        worker.sync()
    for message, count in sorted(worker.counts.items()):
        context.progress.note(f"{message}: {count} of {worker.seen} records")


def _results(records: Iterable[Case], worker: Corrupter) -> Iterator[tuple[str, Case | RecordError]]:
    if worker.config.jobs > 1:
        from medpo_cli.stages.corrupt_jobs import spread

        yield from spread(records, worker)
        return
    for record in records:
        worker.context.check_time()
        yield record.id, worker.attempt(record)
