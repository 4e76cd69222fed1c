"""Micro-batches and gradient checkpointing that fit into the memory there is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from accelerate import Accelerator

from medpo_cli.errors import ConfigError
from medpo_cli.io.context import Context, Progress
from medpo_cli.models.anatomy import Anatomy, anatomy
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import round_adapters
from medpo_cli.models.recompute import recompute_layers
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.activations import Row, counted, kept_positions, measured
from medpo_cli.training.batches import Encoder, Example, Unit
from medpo_cli.training.engine import Engine
from medpo_cli.training.memory import GPU_TOKENS, Memory, image_bytes, limit_of, size, standing
from medpo_cli.training.objectives.methods import Term
from medpo_cli.training.reference import FeatureCache, Reference
from medpo_cli.training.schedule import batch_of, steps_in

SEARCHED = 500
"""Steps whose batches are searched for the longest row."""


@dataclass(frozen=True)
class Plan:
    """How a run is carried out, and what that takes.

    Attributes:
        budget: tokens of one micro-batch; at least one row, however long, is taken.
        checkpointing: layers are computed again in the backward pass.
        memory: of a micro-batch that fills the budget, as far as a step has so much.
        row: the longest row.
    """

    budget: int
    checkpointing: bool
    memory: Memory
    row: Row

    @property
    def note(self) -> str:
        """One line on the choice."""
        again = "with" if self.checkpointing else "without"
        return (
            f"micro-batches of {self.budget} tokens, {again} gradient checkpointing: {size(self.memory.total)} at peak"
        )


def fit(engine: Engine, examples: Sequence[Example], config: AlignConfig, progress: Progress) -> Plan:
    """Choose micro-batches and gradient checkpointing for a run, and set up engine and model accordingly.

    The longest row is run forward once to see what it would keep.

    Raises:
        ConfigError: the run does not fit into ``max_memory``.
    """
    vlm, body = engine.vlm, anatomy(engine.vlm.base, nf4=_as_nf4(engine.vlm, config))
    recompute_layers(vlm, on=False)
    row = longest_row(engine, examples, body, config)
    fixed = standing(body, config, _features(engine, examples, body))
    there = fixed.weights + fixed.adapters + fixed.masters
    on_gpu = vlm.device.type == "cuda"
    chosen = plan(
        fixed,
        row,
        config,
        limit=limit_of(vlm, config, there),
        budget=GPU_TOKENS if on_gpu else engine.budget,
        most=row.tokens * config.batch * max(len(example.units) for example in examples),
        # On a CPU the sums, and so the bits, must not depend on what else the machine is doing.
        shrink=on_gpu or config.max_memory > 0,
    )
    engine.budget = chosen.budget
    recompute_layers(vlm, on=chosen.checkpointing)
    if on_gpu or config.max_memory or chosen.checkpointing or config.estimate:
        progress.note(chosen.note)
    return chosen


def estimate(
    vlm: VisionLanguageModel,
    examples: Sequence[Example],
    terms: Sequence[Term],
    encoder: Encoder,
    config: AlignConfig,
    context: Context,
) -> Memory:
    """Say what a run would take, part by part, without training.

    Raises:
        ConfigError: the run does not fit into ``max_memory``.
    """
    if vlm.dtype == torch.bfloat16:
        round_adapters(vlm)  # as the optimizer would
    forest = vlm.forest and config.engine != "rows"
    features = FeatureCache(vlm, encoder.encode_prompt)
    engine = Engine(vlm, terms, features, Reference(vlm, terms, 0), Accelerator(cpu=True), forest=forest)
    chosen = fit(engine, examples, config, context.progress)
    how = "counted from config.json" if vlm.device.type == "meta" else "activations measured"
    row = f"longest row {chosen.row.tokens} tokens, record {chosen.row.record}"
    context.progress.note(f"predicted memory ({how}; {row}):")
    for line in chosen.memory.lines():
        context.progress.note(line)
    return chosen.memory


def plan(fixed: Memory, row: Row, config: AlignConfig, *, limit: int, budget: int, most: int, shrink: bool) -> Plan:
    """The largest micro-batches within ``limit``; gradient checkpointing only if one row needs it.

    Args:
        fixed: what is there all the time.
        row: the longest row.
        config: ``checkpointing``, and ``max_memory`` (0: ``limit`` is only what the device has free).
        limit: bytes of the whole run.
        budget: tokens wanted in a micro-batch.
        most: tokens that a step has at most; more in a micro-batch are never used.
        shrink: micro-batches may be smaller than ``budget``, to fit.

    Raises:
        ConfigError: not even one row fits into ``max_memory``; the message says what would.
    """
    room = limit - fixed.total
    choices = {"off": [False], "on": [True], "auto": [False, True]}[config.checkpointing]
    fitting = [again for again in choices if row.total(checkpointing=again) <= room]
    if not fitting and config.max_memory:
        needed = fixed.total + row.total(checkpointing=choices[-1])
        least = fixed.total + row.total(checkpointing=True)
        raise ConfigError(
            f"max_memory: {config.max_memory:g} GiB will not do, the longest row ({row.tokens} tokens, record "
            f"{row.record}) needs {size(needed)}"
            + (f" ({size(least)} with --checkpointing on)" if least < needed else "")
            + "; --qlora, --optimizer adamw8bit, a smaller --rank or smaller images need less"
        )
    again = (fitting or choices[-1:])[0]
    if shrink:
        budget = min(budget, int(room / row.total(checkpointing=again) * row.tokens))
    budget = max(budget, row.tokens)
    rows = min(budget, max(most, row.tokens)) / row.tokens
    filled = replace(
        fixed,
        activations=int(row.activations(checkpointing=again) * rows),
        logits=int(row.head * rows),
        workspace=int(row.workspace * rows),
    )
    return Plan(budget, again, filled, row)


def longest_row(engine: Engine, examples: Sequence[Example], body: Anatomy, config: AlignConfig) -> Row:
    """What the longest row of a run keeps: measured, or counted for a model without weights."""
    units = _longest(engine, examples, config)
    layout = engine.layouts(units)[0]
    if engine.vlm.device.type == "meta":
        rows, tokens = layout.input_ids.shape[0], layout.input_ids.numel()
        dropout = config.lora_dropout
        row = counted(body, tokens, kept_positions(layout), rank=config.rank, dropout=dropout, rows=rows)
    else:
        row = measured(engine.vlm, layout, engine.features.get(layout.prompts), engine.terms, body)
    return replace(row, record=next(one.id for one in examples if any(unit is units[0] for unit in one.units)))


def _longest(engine: Engine, examples: Sequence[Example], config: AlignConfig) -> list[Unit]:
    """The units of the longest row; with shared prefixes all of a batch that show one image share a row."""
    groups: list[list[Unit]] = [[unit] for example in examples for unit in example.units]
    for step in range(min(SEARCHED, steps_in(len(examples), config)) if engine.forest else 0):
        shown: dict[str, list[Unit]] = {}
        for example in batch_of(examples, step, config):
            for unit in example.units:
                shown.setdefault(unit.answers[0].prompt.content, []).append(unit)
        groups += shown.values()
    return max(groups, key=_length)


def _length(units: Sequence[Unit]) -> int:
    """Tokens of a row at most: the image once, questions and answers of all units."""
    prompts = [unit.answers[0].prompt.tokens for unit in units]
    image = sum(j >= 0 for j in prompts[0].image_at)
    answers = sum(len(answer.ids) for unit in units for answer in unit.answers)
    return image + sum(len(prompt.ids) - image for prompt in prompts) + answers


def _features(engine: Engine, examples: Sequence[Example], body: Anatomy) -> int:
    """Bytes of the features of all distinct images, as far as they are kept."""
    prompts = {unit.answers[0].prompt.content: unit.answers[0].prompt for one in examples for unit in one.units}
    counts = [sum(j >= 0 for j in prompt.tokens.image_at) for prompt in prompts.values()]
    return max(image_bytes(body, max(counts)), min(image_bytes(body, sum(counts)), engine.features.limit))


def _as_nf4(vlm: VisionLanguageModel, config: AlignConfig) -> bool:
    """A model without weights is in full precision; in a real run it would be quantised."""
    return vlm.device.type == "meta" and (config.quantize == "nf4" or (config.qlora and not config.lora))
