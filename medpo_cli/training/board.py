"""TensorBoard event files under the names that people know."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from medpo_cli.errors import UnavailableError
from medpo_cli.schema.records import Step


def require_tensorboard() -> None:
    """Raise UnavailableError, naming the cure, if the optional package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise UnavailableError("--tensorboard needs the package tensorboard: pip install 'medpo[tensorboard]'")


def scalars(record: Step) -> dict[str, float]:
    """The numbers of a step by tag, as TRL and its dashboards name them; terms keep their own names."""
    return {
        "loss": record.loss,
        **{f"rewards/{side}": value for side, value in record.rewards.items()},
        "rewards/accuracies": record.accuracy,
        "rewards/margins": record.margin,
        "grad_norm": record.grad_norm,
        "learning_rate": record.lr,
        "epoch": record.epoch,
        **record.terms,
    }


@contextmanager
def event_files(folder: str, start: int) -> Iterator[Callable[[Step], None]]:
    """A function that writes a step into event files in ``folder``; without a folder it does nothing.

    Args:
        folder: made if absent.
        start: steps done before; events after them are of a run that was killed and are purged.

    Raises:
        UnavailableError: the package tensorboard is missing.
    """
    if not folder:
        yield lambda _record: None
        return
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder, purge_step=start + 1 if start else None)

    def write(record: Step) -> None:
        for tag, value in scalars(record).items():
            writer.add_scalar(tag, value, record.step)

    try:
        yield write
    finally:
        writer.close()
