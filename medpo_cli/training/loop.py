"""The training loop: read it top to bottom."""

import math
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from medpo_cli.errors import UnavailableError
from medpo_cli.io.context import Context
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.memory import memory_is_temporary
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import Step
from medpo_cli.training import watch
from medpo_cli.training.batches import Example
from medpo_cli.training.board import event_files
from medpo_cli.training.checkpoint import Checkpoints
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.fit import fit
from medpo_cli.training.heldout import HeldOut, best_step, measurements_since_best, set_dropout
from medpo_cli.training.metrics import names_of, step_record
from medpo_cli.training.optimizer import MasterOptimizer
from medpo_cli.training.processes import check_time
from medpo_cli.training.schedule import batch_of, learning_rate, seed_of, steps_in
from medpo_cli.training.setup import make_engine, make_judge


def train(
    vlm: VisionLanguageModel,
    examples: Sequence[Example],
    held_out: Sequence[Example],
    terms: Sequence[Term],
    encoder: Encoder,
    config: AlignConfig,
    context: Context,
    accelerator: Accelerator,
    *,
    checkpoints: Path,
    fingerprint: str,
    resume: bool,
) -> Generator[Step, None, list[Step]]:
    """Train the adapters of ``vlm`` in place; one record for each optimizer step.

    The loss of a step is the mean over its records. On several processes each takes every n-th record of
    the batch and gradients are summed, which gives the one-process result.

    Returns:
        The records of all steps, those of earlier sittings included.

    Raises:
        TryLaterError: the time limit has passed; the state is saved.
        ConfigError: loss or gradient is not finite, or the gradient explodes; the last good state is saved.
        UnavailableError: an adapter gets no gradient at the first step.
    """
    optimizer = MasterOptimizer(vlm, config.optimizer, config.lr)
    parameters = optimizer.masters
    main = accelerator.is_main_process
    saved = Checkpoints(checkpoints, optimizer, fingerprint, keep_last=config.keep_last, write=main)

    engine = make_engine(vlm, examples, terms, encoder, config, accelerator, context.progress)
    set_dropout(vlm, on=True)  # not before: forest and rows are compared without it
    fit(engine, examples, config, context.progress)

    per_epoch = math.ceil(len(examples) / config.batch)
    total = steps_in(len(examples), config)
    held = HeldOut(make_judge(engine, config), held_out, config, per_epoch, total)
    start = saved.restore() if resume else 0
    if not resume:
        saved.clear()
    _refill(engine, examples, config, range(min(start, per_epoch)), accelerator)
    warned = False

    context.progress.start("align", total - start)
    with (
        saved.kept(),
        engine.kept(),
        memory_is_temporary("use --qlora, smaller images or a larger card; the state is saved"),
        event_files(config.tensorboard if main else "", start) as write_events,
    ):
        for step in range(start, total):
            if config.early_stop and measurements_since_best(saved.history) >= config.early_stop:
                context.progress.note(f"no better held-out loss in {config.early_stop} measurements: stopped early")
                break
            check_time(context, accelerator)
            measure, last = held.due(step + 1), step + 1 == total
            if measure and saved.saved != step:
                saved.save(step)  # a signal during the measurement must not cost the steps before
            began = time.perf_counter()
            batch = batch_of(examples, step, config)
            rate = learning_rate(step, total, config)
            for group in optimizer.param_groups:
                group["lr"] = rate

            optimizer.zero_grad()
            torch.manual_seed(seed_of("dropout", config.seed, step, accelerator.process_index))
            share = batch[accelerator.process_index :: accelerator.num_processes]
            tally = engine.accumulate(share, 1.0 / len(batch))
            _sum_gradients(parameters.values(), accelerator)
            if step == 0:
                _require_gradients(parameters)
            norm = torch.nn.utils.clip_grad_norm_(parameters.values(), config.max_grad_norm)
            means = tally.means(len(batch), accelerator, names_of(terms))
            if step == 0 and (note := watch.check_start(means, terms, config)):
                context.progress.note(note)
            watch.check_step(float(norm), means["loss"], saved.history, batch, config)

            saved.done = None
            optimizer.step()
            record = step_record(
                means,
                terms,
                records=len(batch),
                step=step + 1,
                epoch=(step + 1) / per_epoch,
                grad_norm=float(norm),
                lr=rate,
                began=began,
            )
            if measure:
                record = held.added_to(record)
            saved.history.append(record)
            if measure and config.early_stop and measurements_since_best(saved.history) == 0:
                saved.best = {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
            saved.done = step + 1
            if measure or last or saved.due(config.checkpoint_every, config.checkpoint_minutes):
                saved.save(saved.done)

            if not warned and watch.chosen_falls(saved.history):
                context.progress.warn(watch.CHOSEN_FALLS)
                warned = True
            write_events(record)
            context.progress.advance()
            yield record
    if saved.best:
        context.progress.note(f"kept the adapter of step {best_step(saved.history)}, the best on held-out pairs")
        _copy(saved.best, parameters)
    optimizer.settle()
    return saved.history


@torch.no_grad()
def _copy(tensors: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        parameters[name].copy_(tensor)


def _refill(
    engine: Engine, examples: Sequence[Example], config: AlignConfig, steps: range, accelerator: Accelerator
) -> None:
    """After a resume: what the first epoch had left in the references' memory, from the same micro-batches."""
    if not engine.reference.store.used:
        return
    for step in steps:
        share = batch_of(examples, step, config)[accelerator.process_index :: accelerator.num_processes]
        engine.recall(share)


def _sum_gradients(parameters: Collection[Tensor], accelerator: Accelerator) -> None:
    if accelerator.num_processes == 1:
        return
    for parameter in parameters:
        own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        parameter.grad = accelerator.reduce(own, reduction="sum")


def _require_gradients(parameters: Mapping[str, Tensor]) -> None:
    """At the first step every adapter must learn: B by its gradient (that of A is 0 while B is 0)."""
    for name, parameter in parameters.items():
        if parameter.grad is None or ("lora_B" in name and not parameter.grad.any()):
            raise UnavailableError(f"adapter {name} gets no gradient at the first step: this model cannot be aligned")
