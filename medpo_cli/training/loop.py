"""The training loop: read it top to bottom."""

import math
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from medpo_cli.errors import ConfigError, UnavailableError
from medpo_cli.io.context import Context
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.memory import memory_is_temporary
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import Step
from medpo_cli.training.batches import Example
from medpo_cli.training.checkpoint import Checkpoints
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.metrics import names_of, step_record
from medpo_cli.training.schedule import batch_of, learning_rate, seed_of, steps_in
from medpo_cli.training.setup import make_engine


def train(
    vlm: VisionLanguageModel,
    examples: Sequence[Example],
    terms: Sequence[Term],
    encoder: Encoder,
    config: AlignConfig,
    context: Context,
    accelerator: Accelerator,
    *,
    checkpoints: Path,
    fingerprint: str,
    resume: bool,
) -> Iterator[Step]:
    """Train the adapters of ``vlm`` in place; one record for each optimizer step.

    The loss of a step is the mean over its records. On several processes each takes every n-th record of
    the batch and gradients are summed, which gives the one-process result.

    Raises:
        TryLaterError: the time limit has passed; the state is saved.
        ConfigError: loss or gradient is not finite; the last good state is saved.
        UnavailableError: an adapter gets no gradient at the first step.
    """
    parameters = {name: p for name, p in vlm.model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=config.lr, weight_decay=0.0)
    main = accelerator.is_main_process
    saved = Checkpoints(checkpoints, vlm.model, optimizer, fingerprint, keep_last=config.keep_last, write=main)
    _enable_dropout(vlm)

    engine = make_engine(vlm, examples, terms, encoder, config, accelerator, context.progress)

    per_epoch = math.ceil(len(examples) / config.batch)
    total = steps_in(len(examples), config)
    start = saved.restore() if resume else 0
    if not resume:
        saved.clear()
    _refill(engine, examples, config, range(min(start, per_epoch)), accelerator)

    context.progress.start("align", total - start)
    with (
        saved.kept(),
        engine.kept(),
        memory_is_temporary("use --qlora, smaller images or a larger card; the state is saved"),
    ):
        for step in range(start, total):
            context.check_time()
            began = time.perf_counter()
            batch = batch_of(examples, step, config)
            rate = learning_rate(step, total, config)
            for group in optimizer.param_groups:
                group["lr"] = rate

            optimizer.zero_grad(set_to_none=True)
            torch.manual_seed(seed_of("dropout", config.seed, step, accelerator.process_index))
            share = batch[accelerator.process_index :: accelerator.num_processes]
            tally = engine.accumulate(share, 1.0 / len(batch))
            _sum_gradients(parameters.values(), accelerator)
            if step == 0:
                _require_gradients(parameters)
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
            means = tally.means(len(batch), accelerator, names_of(terms))
            if not math.isfinite(float(norm) + means["loss"]):
                ids = ", ".join(example.id for example in batch)
                raise ConfigError(
                    f"training diverged at step {step + 1} (records {ids}): lower lr; state before it kept"
                )

            saved.done = None
            optimizer.step()
            saved.done = step + 1
            if saved.done % config.checkpoint_every == 0 or saved.done == total:
                saved.save(saved.done)
            context.progress.advance()
            yield step_record(
                means,
                terms,
                records=len(batch),
                step=saved.done,
                epoch=saved.done / per_epoch,
                grad_norm=float(norm),
                lr=rate,
                began=began,
            )


def _enable_dropout(vlm: VisionLanguageModel) -> None:
    """Train mode for the dropout of the trained adapter only: the frozen model stays as it answers."""
    for name, module in vlm.model.named_modules():
        if name.endswith("lora_dropout.default"):  # not that of a frozen reference
            module.train()


def _refill(
    engine: Engine, examples: Sequence[Example], config: AlignConfig, steps: range, accelerator: Accelerator
) -> None:
    """After a resume: what the first epoch had left in the reference's memory, from the same micro-batches."""
    if not engine.reference.store.used:
        return
    for step in steps:
        share = batch_of(examples, step, config)[accelerator.process_index :: accelerator.num_processes]
        for layout in engine.layouts([unit for example in share for unit in example.units]):
            engine.reference.get(layout, engine.features.get(layout.prompts))


def _sum_gradients(parameters: Collection[Tensor], accelerator: Accelerator) -> None:
    if accelerator.num_processes == 1:
        return
    for parameter in parameters:
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = accelerator.reduce(own, reduction="sum")


def _require_gradients(parameters: dict[str, Tensor]) -> None:
    """At the first step every adapter must learn: B by its gradient (that of A is 0 while B is 0)."""
    for name, parameter in parameters.items():
        if parameter.grad is None or ("lora_B" in name and not parameter.grad.any()):
            raise UnavailableError(f"adapter {name} gets no gradient at the first step: this model cannot be aligned")
