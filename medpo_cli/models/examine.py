"""``medpo doctor --deep``: a model is loaded as a stage would load it, and tried on one image and a few sentences."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.quantizers.quantizers_utils import should_convert_module

from medpo_cli.errors import MedpoError, UnavailableError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family.base import language_prefix
from medpo_cli.models.load import load_configured, quiet
from medpo_cli.models.lora import add_lora, trainable_note
from medpo_cli.models.quantize import count_4bit, outside_language_model
from medpo_cli.models.template import render
from medpo_cli.schema.config import ModelSettings
from medpo_cli.schema.diagnosis import Diagnosis, error, note, ok, warning

AREA = "loaded"
ORIGINAL = "copy the processor and tokenizer files of the original model into the folder"
SENTENCES = (
    "There is a 1.5 cm nodule in the right upper lobe.",
    "No pleural effusion; heart size is normal (CTR 0.48).",
    "Übersicht: T2-hyperintense Läsion, 12×8 mm, ~30 % größer.",
)
"""Sides, sizes, signs, letters beyond ASCII: what spans are made of."""
SHAPES = ((64, 64), (336, 448))
"""Heights and widths of the images tried: a square, and a radiograph's proportions."""


def torch_and_devices() -> Iterator[Diagnosis]:
    """What torch itself sees; a driver that is too old shows here and not in nvidia-smi."""
    built = torch.version.cuda
    if not torch.cuda.is_available():
        text = f"torch {torch.__version__} sees no GPU"
        cure = (
            "update the driver, or install a torch for its CUDA version"
            if built
            else "on a machine with a GPU install torch with CUDA"
        )
        yield note("torch", "devices", text, cure)
        return
    for number in range(torch.cuda.device_count()):
        name, bf16 = torch.cuda.get_device_name(number), torch.cuda.is_bf16_supported(including_emulation=False)
        free, total = torch.cuda.mem_get_info(number)
        text = f"{name}, CUDA {built}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
        if bf16:
            yield ok("torch", f"cuda:{number}", text)
        else:
            yield warning(
                "torch",
                f"cuda:{number}",
                f"{text}, no bfloat16",
                "give --dtype float32: half the speed, twice the memory",
            )


def examine(folder: Path, settings: ModelSettings) -> Iterator[Diagnosis]:
    """Load the model and try what every stage relies on.

    Args:
        folder: of the model; stands in for ``settings.model``.
        settings: adapter, device, type, quantisation.

    Raises:
        UnavailableError, TryLaterError: it cannot be loaded; the message says why and what to do.
    """
    vlm = load_configured(msgspec.structs.replace(settings, model=str(folder)))
    kind = vlm.base.config.model_type
    text = f"{kind} on {vlm.device}, {str(vlm.dtype).removeprefix('torch.')}, family {type(vlm.family).__name__}"
    if vlm.forest:
        yield ok(AREA, "model", f"{text}; answers share one row (engine forest)")
    else:
        yield note(
            AREA, "model", f"{text}; each answer takes a row (engine rows)", "nothing: results are the same, slower"
        )
    for check in (image_tokens, template, offsets, frozen):
        yield from _guarded(check, vlm)
    yield four_bit(folder, vlm, trust_remote_code=settings.trust_remote_code)


def _guarded(
    check: Callable[[VisionLanguageModel], Iterator[Diagnosis]], vlm: VisionLanguageModel
) -> Iterator[Diagnosis]:
    """A check's findings; what the library throws at it becomes one."""
    try:
        yield from check(vlm)
    except torch.cuda.OutOfMemoryError:
        raise
    except (MedpoError, ValueError, RuntimeError, TypeError, KeyError, IndexError) as problem:
        text = str(problem) if isinstance(problem, MedpoError) else f"failed ({type(problem).__name__})"
        yield error(AREA, check.__name__.replace("_", " "), text, ORIGINAL)


@torch.no_grad()
def image_tokens(vlm: VisionLanguageModel) -> Iterator[Diagnosis]:
    """As many placeholders as features, for each shape; the logits of a whole pass are numbers."""
    counts = []
    for height, width in SHAPES:
        prompt = vlm.encode_prompt("?", [np.full((height, width, 3), 96, np.uint8)])
        features = vlm.image_features([prompt])
        counts.append((int(prompt.image_positions.sum()), sum(map(len, features[0].tokens))))
        ids, positions = prompt.input_ids[None].to(vlm.device), vlm.row_positions([prompt], len(prompt))
        logits = vlm.forward(ids, features=features, position_ids=positions, logits_to_keep=1)
        if not bool(logits.isfinite().all()):
            yield error(AREA, "forward", "the logits are not finite", "another --dtype; else download the folder again")
            return
    # A family that cannot reuse features hands the images over, and the model itself compares the two numbers.
    if any(made not in (0, placeholders) for placeholders, made in counts):
        yield error(AREA, "image tokens", f"placeholders and features differ: {counts}", ORIGINAL)
        return
    shown = ", ".join(f"{n} for {w} x {h} pixels" for (n, _), (h, w) in zip(counts, SHAPES, strict=True))
    yield ok(AREA, "image tokens", f"as many as features: {shown}")


def template(vlm: VisionLanguageModel) -> Iterator[Diagnosis]:
    """The chat template shows the question, opens an answer, and ends a turn with a token that stops generation."""
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": SENTENCES[0]}]}]
    asked, opened = (render(vlm.processor, turns, add_generation_prompt=opening) for opening in (False, True))
    end = vlm.tokenizer.convert_ids_to_tokens(vlm.end_id)
    if SENTENCES[0] not in asked:
        yield error(AREA, "template", "the chat template drops the question", ORIGINAL)
    elif opened == asked:
        yield warning(AREA, "template", "the chat template opens no answer (add_generation_prompt)", ORIGINAL)
    else:
        yield ok(AREA, "template", f"question, image, opened answer; a turn ends with {end}")


def offsets(vlm: VisionLanguageModel) -> Iterator[Diagnosis]:
    """Offsets cover every letter, in order, and ids decode to the text: spans rest on both."""
    for sentence in SENTENCES:
        answer = vlm.encode_answer(sentence)
        covered = {place for start, end in answer.offsets for place in range(start, end)}
        letters = {place for place, letter in enumerate(sentence) if not letter.isspace()}
        starts = [start for start, _ in answer.offsets]
        if letters - covered or starts != sorted(starts):
            yield error(AREA, "offsets", "the tokenizer's offsets do not cover the text in order", ORIGINAL)
            return
        if vlm.decode(answer.ids[:-1].tolist()).strip() != sentence:
            text = "tokens do not decode to the text they were made of (a small vocabulary, or a normaliser)"
            yield warning(AREA, "offsets", text, "look at generated answers before training; else another model")
            return
    yield ok(AREA, "offsets", f"characters map to tokens and back in {len(SENTENCES)} sentences")


def frozen(vlm: VisionLanguageModel) -> Iterator[Diagnosis]:
    """Adapters go into the language model only; tower, projector and head stay as they are."""
    if vlm.adapter_digest is None:
        add_lora(vlm, rank=1)
        yield ok(AREA, "frozen", f"with adapters of rank 1: {trainable_note(vlm)}")
        return
    trainable = [name for name, parameter in vlm.base.named_parameters() if parameter.requires_grad]
    prefix = vlm.family.language_prefix + "."
    astray = [n for n, _ in vlm.base.named_parameters() if "lora_" in n and not n.startswith(prefix)]
    if trainable or astray:
        text = f"{len(astray)} adapter tensors outside the language model, {len(trainable)} parameters not frozen"
        yield error(AREA, "frozen", text, "train the adapter again with medpo align")
    else:
        yield ok(AREA, "frozen", "the adapter lies in the language model only; nothing is trainable")


def four_bit(folder: Path, vlm: VisionLanguageModel, *, trust_remote_code: bool = False) -> Diagnosis:
    """The layers that ``--quantize nf4`` would convert, by transformers' own rule, are the language model's linears."""
    if vlm.quantization != "none":
        inside, outside = count_4bit(vlm.base)
        return ok(AREA, "4 bit", f"{inside} layers of the language model in 4 bit, {outside} outside it")
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        return error(
            AREA, "4 bit", "bitsandbytes cannot be imported", "pip install bitsandbytes, or keep --quantize none"
        )
    try:
        skeleton = _skeleton(folder, trust_remote_code)
        inside, astray, left = conversions(skeleton, outside_language_model(skeleton))
    except (ValueError, RuntimeError, UnavailableError) as problem:
        return warning(AREA, "4 bit", f"cannot be planned ({type(problem).__name__})", "keep --quantize none")
    if astray or left:
        text = f"{astray} layers outside the language model would be converted, {left} inside would not"
        return error(AREA, "4 bit", text, "keep --quantize none, and report the model's family")
    return ok(AREA, "4 bit", f"nf4 would take {inside} layers of the language model and none outside it")


def conversions(skeleton: torch.nn.Module, skipped: list[str]) -> tuple[int, int, int]:
    """What transformers would convert under a list of skipped modules.

    Returns:
        Linears converted inside the language model, converted outside it, and left out inside it.
    """
    prefix = language_prefix(skeleton) + "."
    inside = astray = left = 0
    for name, module in skeleton.named_modules():
        if isinstance(module, torch.nn.Linear):
            converted, ours = should_convert_module(name, skipped), name.startswith(prefix)
            inside += converted and ours
            astray += converted and not ours
            left += ours and not converted
    return inside, astray, left


def _skeleton(folder: Path, trust_remote_code: bool) -> torch.nn.Module:
    with quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
        model: torch.nn.Module = AutoModelForImageTextToText.from_config(config, trust_remote_code=trust_remote_code)
    return model
