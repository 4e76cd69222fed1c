"""``align``: pairs or rankings in, one step record per optimizer step out, an adapter folder at the end."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from medpo_cli.errors import BadInputError, RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Case, ImageRef, Step

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel
    from medpo_cli.schema.objectives import Term
    from medpo_cli.training.batches import Example
    from medpo_cli.training.encoder import Encoder
    from medpo_cli.training.views import Views

WITHOUT_EFFECT = {
    "checkpoint_every", "checkpoint_minutes", "keep_last", "max_grad_growth", "verify", "device", "curves",
    "tensorboard", "estimate", "merge",
}  # fmt: skip
"""Settings that may differ between a run and its resumption."""


def run(
    records: Iterable[Case], config: AlignConfig, context: Context, *, output: Path, resume: bool = False
) -> Iterator[Step]:
    """Align a model with ``records`` and save its adapter to ``output``.

    All records are read first, because training shuffles them; the model is loaded after the last one.
    Checkpoints lie beside the adapter in ``OUTPUT.checkpoints``, the curves of the run in ``OUTPUT.curves.png``.

    Args:
        records: pairs or rankings, as the objective asks; other records are rejected.
        config: objective, adapter and training.
        context: root, rejects, progress, time limit.
        output: adapter folder, written whole at the end (a plain PEFT folder); replaced if it exists.
        resume: go on from the newest checkpoint; steps done before are not repeated as records.

    Yields:
        One record for each optimizer step.

    Raises:
        ConfigError: settings that do not fit together or another run's checkpoint; training diverged.
        BadInputError: no usable record.
        TryLaterError: the time limit has passed; the state is saved.
        UnavailableError: the model cannot be loaded or aligned.
    """
    from medpo_cli.models.lora import save_adapter, trainable_note
    from medpo_cli.models.merge import check_full_precision
    from medpo_cli.schema.objectives import KTO
    from medpo_cli.training.auxiliary import add_head
    from medpo_cli.training.board import require_tensorboard
    from medpo_cli.training.checkpoint import replace_folder
    from medpo_cli.training.curves import write_curves
    from medpo_cli.training.encoder import Encoder, with_mismatches
    from medpo_cli.training.fit import estimate
    from medpo_cli.training.heldout import choose, divide
    from medpo_cli.training.loop import train
    from medpo_cli.training.processes import start_accelerator
    from medpo_cli.training.setup import add_second, check_references
    from medpo_cli.training.views import Views

    accelerator = start_accelerator(config.device)
    if config.tensorboard:
        require_tensorboard()
    terms = _terms(config)
    check_references(terms, config)
    if config.merge:
        check_full_precision(config.model)
    views = Views(context)
    taken = _spool(records, terms, config, context, views)
    if not taken:
        raise BadInputError("no usable record to align with")
    terms = _of_use(terms, taken, context)

    alone = accelerator.num_processes == 1
    vlm = _model(config, config.device if alone else str(accelerator.device))
    context.progress.note(trainable_note(vlm))
    add_second(vlm, config)
    add_head(vlm, terms)
    context.facts |= vlm.facts
    encoder = Encoder(vlm, terms, views)
    examples = list(_examples(taken, encoder, config.max_length or vlm.longest, context))
    if not examples:
        raise BadInputError("no usable record to align with")
    training, held_out = divide(examples, choose(taken, config.held_out, config.seed))
    if any(isinstance(term, KTO) for term in terms):
        training, held_out = with_mismatches(training), with_mismatches(held_out)
    context.progress.note(_image_tokens(examples))
    if held_out:
        context.progress.note(f"{len(held_out)} of {len(examples)} records are held out")
    if config.estimate:
        estimate(vlm, examples, terms, encoder, config, context)
        return
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
        fingerprint=_fingerprint(taken, examples, config, vlm),
        resume=resume,
    )
    if accelerator.is_main_process:
        with replace_folder(output) as folder:
            save_adapter(vlm, folder)
        if config.curves:
            write_curves(output.with_name(output.name + ".curves.png"), history, context.progress)
        if config.merge:
            _merge(config, output, context)
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
        papo=config.papo,
        composed=config.terms,
    )


def _spool(
    records: Iterable[Case], terms: "Sequence[Term]", config: AlignConfig, context: Context, views: "Views"
) -> list[Case]:
    """All records that have the fields and images that the objective needs."""
    from medpo_cli.training.needs import check_fields

    taken = []
    objective = "composed" if config.terms else config.method
    context.progress.start("read records", context.expected)
    for record in records:
        try:
            check_fields(record, terms, objective)
            for ref, field in _images(record, terms):
                views(ref, field)
        except RecordError as error:
            context.reject(record.id, error)
        else:
            taken.append(record)
        context.progress.advance()
    return taken


def _images(record: Case, terms: "Sequence[Term]") -> "Iterator[tuple[ImageRef, str]]":
    """All images that the objective shows with ``record``, with their fields."""
    from medpo_cli.schema.extras import extras

    names = {name for term in terms for name in term.sequences}
    yield from ((ref, "$.image") for ref in record.images)
    if record.corrupted and any(name.startswith("'") for name in names):
        yield record.corrupted.image, "$.corrupted.image"
    more = extras(record)
    if any(name.startswith("2:") for name in names):
        yield from more.twin_images()
    if "#" in names:
        yield from more.ladder_images()


def _of_use(terms: "tuple[Term, ...]", taken: Sequence[Case], context: Context) -> "tuple[Term, ...]":
    """The objective; optional terms under the corrupted image leave it where no record has one."""
    seen = sum(record.corrupted is not None for record in taken)
    kept = tuple(term for term in terms if seen or not term.optional)
    if len(kept) < len(terms):
        context.progress.note("no pair has a corrupted image: the visual term is off (medpo corrupt makes them)")
    elif any(term.optional for term in terms):
        context.progress.note(f"{seen} of {len(taken)} pairs have a corrupted image")
    return kept


def _model(config: AlignConfig, device: str) -> "VisionLanguageModel":
    """The model with trainable adapters: new ones, or those of ``config.adapter`` with a frozen copy."""
    from medpo_cli.models.load import load_configured
    from medpo_cli.models.lora import add_lora, continue_adapter
    from medpo_cli.models.skeleton import has_weights, load_skeleton

    if config.estimate and not has_weights(config.model):
        vlm = load_skeleton(config)
    else:
        vlm = load_configured(config, device=device, quantize="nf4" if config.qlora and not config.lora else "")
    if config.adapter and vlm.device.type != "meta":
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


def _merge(config: AlignConfig, adapter: Path, context: Context) -> None:
    from medpo_cli.models.merge import merge_adapter
    from medpo_cli.training.checkpoint import replace_folder

    context.progress.start("merge")
    with replace_folder(Path(config.merge)) as folder:
        lost = merge_adapter(config.model, adapter, folder, trust_remote_code=config.trust_remote_code)
    context.progress.note(f"merged model in {config.merge}; rounding lost {lost:.1%} of the adapter's change")


def _examples(taken: Sequence[Case], encoder: "Encoder", longest: int, context: Context) -> "Iterator[Example]":
    """The records as tokens, those of at most ``longest`` tokens."""
    from medpo_cli.training.lengths import check_length

    context.progress.start("encode records", len(taken))
    for number, record in enumerate(taken):
        try:
            yield check_length(encoder.example(record, number), longest)
        except RecordError as error:
            context.reject(record.id, error)
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
    return f"{len(examples)} records, {low if low == high else f'{low}-{high}'} image tokens each"


def _fingerprint(
    taken: Sequence[Case], examples: "Sequence[Example]", config: AlignConfig, vlm: "VisionLanguageModel"
) -> str:
    """Hash of all that decides the adapter: records, pixels, settings, model."""
    from medpo_cli.models.folder import digest

    settings = {name: value for name, value in msgspec.to_builtins(config).items() if name not in WITHOUT_EFFECT}
    settings["model"], settings["adapter"] = vlm.digest, vlm.adapter_digest
    settings["reference_cache"] = bool(config.reference_cache)  # where it lies does not matter
    if config.reference_adapter:
        settings["reference_adapter"] = digest(Path(config.reference_adapter))
    key = hashlib.blake2b(msgspec.json.encode(settings, order="sorted"), digest_size=16)
    for record in taken:
        key.update(msgspec.json.encode(record) + b"\n")
    for example in examples:
        for unit in example.units:
            for answer in unit.answers:
                key.update(answer.prompt.content.encode())
    return key.hexdigest()
