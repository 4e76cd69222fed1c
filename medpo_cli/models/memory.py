"""GPU memory that runs out is nobody's mistake: it becomes an error that says what to do later."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from medpo_cli.errors import TryLaterError


@contextmanager
def memory_is_temporary(cure: str) -> Iterator[None]:
    """Turn a GPU out-of-memory error into TryLaterError (exit 75) with the cure."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise TryLaterError(f"not enough GPU memory: {cure}") from error
