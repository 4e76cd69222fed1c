"""``medpo doctor``: is this machine, this installation and this model fit to run, and if not, what to do."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from medpo_cli.errors import ExitCode, MedpoError
from medpo_cli.schema.config import ModelSettings
from medpo_cli.schema.diagnosis import Diagnosis, error
from medpo_cli.stages.doctor import machine, model_files, packages


def shallow(settings: ModelSettings, folder: Path) -> Iterator[Diagnosis]:
    """All that can be found without importing torch.

    Args:
        settings: model, adapter and device, as ``sample`` would use them.
        folder: where outputs would go.
    """
    seen = list(machine.look(os.environ, folder))
    yield from seen
    gpu = any(one.subject.startswith("gpu ") for one in seen)
    yield from packages.look(packages.requirements(), gpu=gpu)
    where, embedded = chosen(settings)
    yield from model_files.look(where, embedded=embedded, trust_remote_code=settings.trust_remote_code)
    if settings.adapter:
        yield from model_files.look_adapter(Path(settings.adapter))


def deep(settings: ModelSettings) -> Iterator[Diagnosis]:
    """Load what the settings name and try it; one entry, with the cure, if it cannot be loaded."""
    from medpo_cli.imaging.decoders import look as decoders
    from medpo_cli.models import examine

    yield from decoders()
    yield from examine.torch_and_devices()
    where, _ = chosen(settings)
    try:
        yield from examine.examine(where, settings)
    except MedpoError as problem:
        yield error("loaded", "model", str(problem), "see above; medpo doctor --json for a bug report", problem.code)


def chosen(settings: ModelSettings) -> tuple[Path, bool]:
    """The model folder, and whether it is the embedded demo's."""
    from medpo_cli.demo import MODEL

    return (Path(settings.model), False) if settings.model else (Path(str(MODEL)), True)


def exit_code(found: Sequence[Diagnosis]) -> ExitCode:
    """That of the first error, which is what a stage would end with; warnings change nothing."""
    return ExitCode(next((one.code for one in found if one.state == "error"), ExitCode.DONE))
