"""The engine of a run, put together from its settings."""

from collections.abc import Sequence
from copy import copy
from pathlib import Path

from accelerate import Accelerator

from medpo_cli.errors import ConfigError
from medpo_cli.io.context import Progress
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.folder import digest
from medpo_cli.models.lora import SECOND, load_second
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.objectives import Rank, Term
from medpo_cli.training.auxiliary import NAME
from medpo_cli.training.batches import Example
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.reference import REFERENCE_BYTES, Reference
from medpo_cli.training.verify import choose_forest


def make_engine(
    vlm: VisionLanguageModel,
    examples: Sequence[Example],
    terms: Sequence[Term],
    encoder: Encoder,
    config: AlignConfig,
    accelerator: Accelerator,
    progress: Progress,
) -> Engine:
    """An engine that keeps what the reference says in memory if there are several epochs, on disk if asked.

    Raises:
        UnavailableError: ``engine`` is ``forest`` but prefixes cannot be shared.
    """
    features = FeatureCache(vlm, encoder.encode_prompt)
    limit = REFERENCE_BYTES if config.epochs > 1 else 0
    folder = Path(config.reference_cache) if config.reference_cache else None
    two = wants_two(terms)
    return Engine(
        vlm,
        terms,
        features,
        Reference(vlm, limit, folder),
        accelerator,
        forest=choose_forest(vlm, examples, features, config, progress),
        second=Reference(vlm, limit, folder, SECOND, digest(Path(config.reference_adapter))) if two else None,
        auxiliary=getattr(vlm.model, NAME, None),
        apart=folder is not None,
    )


def make_judge(engine: Engine, config: AlignConfig) -> Engine:
    """The same engine for held-out records, with memories of its own: training's stay a function of the step."""
    judge = copy(engine)
    if not config.reference_cache:
        limit = REFERENCE_BYTES if config.held_out else 0
        judge.reference = engine.reference.with_memory(limit)
        judge.second = engine.second and engine.second.with_memory(limit)
    return judge


def wants_two(terms: Sequence[Term]) -> bool:
    """Whether the objective has a second reference."""
    return any(isinstance(term, Rank) and term.references == 2 for term in terms)


def check_references(terms: Sequence[Term], config: AlignConfig) -> None:
    """Refuse an objective of two references without the second, and a second one without use.

    Raises:
        ConfigError: naming the setting.
    """
    if wants_two(terms) and not config.reference_adapter:
        raise ConfigError(f"reference_adapter: method {config.method} needs the folder of a second reference")
    if config.reference_adapter and not wants_two(terms):
        raise ConfigError(f"reference_adapter: method {config.method} has one reference only")


def add_second(vlm: VisionLanguageModel, config: AlignConfig) -> None:
    """Load the second reference, if there is one."""
    if config.reference_adapter:
        load_second(vlm, config.reference_adapter)
