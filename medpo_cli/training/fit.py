"""Micro-batches and gradient checkpointing that fit into the memory there is."""

import math
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
from medpo_cli.schema.objectives import Term
from medpo_cli.training.activations import Row, counted, kept_positions, measured
from medpo_cli.training.batches import Example, Unit
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.memory import GPU_TOKENS, Memory, image_bytes, limit_of, size, standing
from medpo_cli.training.reference import Reference


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
        most=row.tokens * (1 if engine.apart else config.batch * max(len(example.units) for example in examples)),
        # On a CPU the sums, and so the bits, must not depend on what else the machine is doing.
        shrink=on_gpu or config.max_memory > 0,
    )
    engine.budget = chosen.budget
    engine.room = chosen.budget if on_gpu or config.max_memory else math.inf
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
    engine = Engine(vlm, terms, features, Reference(vlm, 0), Accelerator(cpu=True), forest=forest)
    chosen = fit(engine, examples, config, context.progress)
    how = "counted from config.json" if vlm.device.type == "meta" else "activations measured"
    row = f"longest row {chosen.row.tokens} tokens, record {chosen.row.record}"
    context.progress.note(f"predicted memory ({how}; {row}):")
    for line in chosen.memory.lines():
        context.progress.note(line)
    saved = (chosen.memory.masters or chosen.memory.adapters) + chosen.memory.optimizer
    context.progress.note(f"{'checkpoint':<12}{size(saved):>12} on disk, {config.keep_last} kept")
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
        workspace=int(row.beyond(checkpointing=again) * rows),
    )
    return Plan(budget, again, filled, row)


def longest_row(engine: Engine, examples: Sequence[Example], body: Anatomy, config: AlignConfig) -> Row:
    """What the longest row of a run keeps: measured, or counted for a model without weights."""
    example, unit = max(((one, unit) for one in examples for unit in one.units), key=lambda pair: _size(pair[1]))
    layout = engine.layouts([unit])[0]
    if engine.vlm.device.type == "meta":
        rows, tokens = layout.input_ids.shape[0], layout.input_ids.numel()
        dropout = config.lora_dropout
        row = counted(body, tokens, kept_positions(layout), rank=config.rank, dropout=dropout, rows=rows)
    else:
        row = measured(engine.vlm, layout, engine.features.get(layout.prompts), body)
    return replace(row, record=example.id)


def _size(unit: Unit) -> int:
    """Tokens of a unit's rows, padding included, if nothing is shared beyond the question."""
    widths: dict[str, int] = {}
    for answer in unit.answers:
        content = answer.prompt.content
        widths[content] = widths.get(content, len(answer.prompt.tokens.ids)) + len(answer.ids)
    return len(widths) * max(widths.values())


def _features(engine: Engine, examples: Sequence[Example], body: Anatomy) -> int:
    """Bytes of the features of all distinct images, as far as they are kept."""
    answers = (answer for example in examples for unit in example.units for answer in unit.answers)
    prompts = {answer.prompt.content: answer.prompt for answer in answers}
    counts = [sum(j >= 0 for j in prompt.tokens.image_at) for prompt in prompts.values()]
    return max(image_bytes(body, max(counts)), min(image_bytes(body, sum(counts)), engine.features.limit))


def _as_nf4(vlm: VisionLanguageModel, config: AlignConfig) -> bool:
    """A model without weights is in full precision; in a real run it would be quantised."""
    return vlm.device.type == "meta" and (config.quantize == "nf4" or (config.qlora and not config.lora))
