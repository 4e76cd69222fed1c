"""``align``: pairs in, one step record per optimizer step out, an adapter folder at the end."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from medpo_cli.errors import BadInputError, RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Case, Pair, Step

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel
    from medpo_cli.training.batches import Encoder, Example
    from medpo_cli.training.objectives.methods import Term
    from medpo_cli.training.views import Views

WITHOUT_EFFECT = {
    "checkpoint_every", "checkpoint_minutes", "keep_last", "max_grad_growth",
    "verify", "device", "curves", "tensorboard",
}  # fmt: skip
"""Settings that may differ between a run and its resumption."""


def run(
    records: Iterable[Case], config: AlignConfig, context: Context, *, output: Path, resume: bool = False
) -> Iterator[Step]:
    """Align a model with ``records`` and save its adapter to ``output``.

    All records are read first, because training shuffles them; the model is loaded after the last one.
    Checkpoints lie beside the adapter in ``OUTPUT.checkpoints``, the curves of the run in ``OUTPUT.curves.png``.

    Args:
        records: pairs; other records are rejected.
        config: objective, adapter and training.
        context: root, rejects, progress, time limit.
        output: adapter folder, written whole at the end (a plain PEFT folder); replaced if it exists.
        resume: go on from the newest checkpoint; steps done before are not repeated as records.

    Yields:
        One record for each optimizer step.

    Raises:
        ConfigError: settings that do not fit together or another run's checkpoint; training diverged.
        BadInputError: no usable pair.
        TryLaterError: the time limit has passed; the state is saved.
        UnavailableError: the model cannot be loaded or aligned.
    """
    from medpo_cli.models.lora import save_adapter
    from medpo_cli.training.batches import Encoder
    from medpo_cli.training.board import require_tensorboard
    from medpo_cli.training.checkpoint import replace_folder
    from medpo_cli.training.curves import write_curves
    from medpo_cli.training.heldout import choose, divide
    from medpo_cli.training.lengths import longest_of
    from medpo_cli.training.loop import train
    from medpo_cli.training.processes import start_accelerator
    from medpo_cli.training.views import Views

    accelerator = start_accelerator(config.device)
    if config.tensorboard:
        require_tensorboard()
    terms = _terms(config)
    views = Views(context)
    pairs = _spool(records, terms, config, context, views)
    if not pairs:
        raise BadInputError("no usable pair to align with")
    terms = _without_visual(terms, pairs, context)

    alone = accelerator.num_processes == 1
    vlm = _model(config, config.device if alone else str(accelerator.device))
    context.facts |= vlm.facts
    encoder = Encoder(vlm, terms, views)
    examples = list(_examples(pairs, encoder, config.max_length or longest_of(vlm), context))
    if not examples:
        raise BadInputError("no usable pair to align with")
    training, held_out = divide(examples, choose(pairs, config.held_out, config.seed))
    context.progress.note(_image_tokens(examples))
    if held_out:
        context.progress.note(f"{len(held_out)} of {len(examples)} pairs are held out")
    history = yield from train(
        vlm,
        training,
        held_out,
        terms,
        encoder,
        config,
        context,
        accelerator,
        checkpoints=output.with_name(output.name + ".checkpoints"),
        fingerprint=_fingerprint(pairs, examples, config, vlm),
        resume=resume,
    )
    if accelerator.is_main_process:
        with replace_folder(output) as folder:
            save_adapter(vlm, folder)
        if config.curves:
            write_curves(output.with_name(output.name + ".curves.png"), history, context.progress)
    accelerator.wait_for_everyone()


def _terms(config: AlignConfig) -> "tuple[Term, ...]":
    from medpo_cli.training.objectives.methods import resolve

    return resolve(
        config.method,
        beta=config.beta,
        gamma=config.gamma,
        alpha=config.alpha,
        kl_forward=config.kl_forward,
        kl_scope=config.kl_scope,
        nll=config.nll,
    )


def _spool(
    records: Iterable[Case], terms: "Sequence[Term]", config: AlignConfig, context: Context, views: "Views"
) -> list[Pair]:
    """All pairs that have the fields and images that the objective needs."""
    from medpo_cli.training.batches import check_fields

    visual = any(name.startswith("'") for term in terms for name in term.sequences)
    pairs = []
    context.progress.start("read pairs")
    for record in records:
        try:
            pair = check_fields(record, terms, config.method)
            for ref in pair.images:
                views(ref, "$.image")
            if visual and pair.corrupted:
                views(pair.corrupted.image, "$.corrupted.image")
        except RecordError as error:
            context.reject(record.id, error)
        else:
            pairs.append(pair)
        context.progress.advance()
    return pairs


def _without_visual(terms: "tuple[Term, ...]", pairs: Sequence[Pair], context: Context) -> "tuple[Term, ...]":
    """The objective; its terms under the corrupted image leave it where no pair has one."""
    seen = sum(pair.corrupted is not None for pair in pairs)
    kept = tuple(term for term in terms if seen or not term.sequences[0].startswith("'"))
    if len(kept) < len(terms):
        context.progress.note("no pair has a corrupted image: the visual term is off (medpo corrupt makes them)")
    elif any(term.sequences[0].startswith("'") for term in terms):
        context.progress.note(f"{seen} of {len(pairs)} pairs have a corrupted image")
    return kept


def _model(config: AlignConfig, device: str) -> "VisionLanguageModel":
    """The model with trainable adapters: new ones, or those of ``config.adapter`` with a frozen copy."""
    from medpo_cli.models.load import load_configured
    from medpo_cli.models.lora import add_lora, continue_adapter

    vlm = load_configured(config, device=device, quantize="nf4" if config.qlora and not config.lora else "")
    if config.adapter:
        continue_adapter(vlm, config.adapter)
    else:
        add_lora(
            vlm,
            rank=config.rank,
            alpha=config.lora_alpha,
            dropout=config.lora_dropout,
            use_rslora=config.use_rslora,
            seed=config.seed,
        )
    return vlm


def _examples(pairs: Sequence[Pair], encoder: "Encoder", longest: int, context: Context) -> "Iterator[Example]":
    """The pairs as tokens, those of at most ``longest`` tokens."""
    from medpo_cli.training.lengths import check_length

    context.progress.start("encode pairs", len(pairs))
    for number, pair in enumerate(pairs):
        try:
            yield check_length(encoder.example(pair, number), longest)
        except RecordError as error:
            context.reject(pair.id, error)
        context.progress.advance()


def _image_tokens(examples: "Sequence[Example]") -> str:
    """One line on how many tokens the images take: the size of the experiment hangs on it."""
    counts = {
        sum(j >= 0 for j in answer.prompt.tokens.image_at)
        for example in examples
        for unit in example.units
        for answer in unit.answers[:1]
    }
    low, high = min(counts), max(counts)
    return f"{len(examples)} pairs, {low if low == high else f'{low}-{high}'} image tokens each"


def _fingerprint(
    pairs: Sequence[Pair], examples: "Sequence[Example]", config: AlignConfig, vlm: "VisionLanguageModel"
) -> str:
    """Hash of all that decides the adapter: pairs, pixels, settings, model."""
    settings = {name: value for name, value in msgspec.to_builtins(config).items() if name not in WITHOUT_EFFECT}
    settings["model"], settings["adapter"] = vlm.digest, vlm.adapter_digest
    key = hashlib.blake2b(msgspec.json.encode(settings, order="sorted"), digest_size=16)
    for pair in pairs:
        key.update(msgspec.json.encode(pair) + b"\n")
    for example in examples:
        for unit in example.units:
            key.update(unit.answers[0].prompt.content.encode())
    return key.hexdigest()
