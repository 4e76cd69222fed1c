"""LoRA on the language model: adding, switching off for the reference, saving as a plain PEFT folder."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from medpo_cli.errors import MedpoError, UnavailableError
from medpo_cli.models.adapter import check_patterns
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.folder import check_adapter_folder
from medpo_cli.models.load import quiet
from medpo_cli.models.quantize import quantized

REFERENCE = "reference"
"""Name of the frozen copy of an adapter that training continues."""
SECOND = "second"
"""Name of a further frozen adapter: the second reference of an objective that has two."""


def add_lora(
    vlm: VisionLanguageModel,
    *,
    rank: int = 16,
    alpha: float = 32.0,
    dropout: float = 0.0,
    use_rslora: bool = False,
    seed: int = 0,
) -> None:
    """Put trainable adapters on every linear of the language model, and nowhere else.

    B starts at zero, so that the adapted model equals the base; A is drawn from ``seed`` alone. The model
    stays in eval mode. Adapters are float32 (float64 for a float64 model).

    Args:
        vlm: a model without an active adapter; changed in place.
        rank: LoRA rank r.
        alpha: numerator of the scale: alpha / r, or alpha / sqrt(r) with ``use_rslora``.
        dropout: LoRA dropout, effective in train mode only.
        use_rslora: rank-stabilised scale.
        seed: of the initial A.

    Raises:
        UnavailableError: the model carries an adapter already, or has no linear layer to adapt.
    """
    if vlm.adapter_digest is not None or vlm.model is not vlm.base:
        raise UnavailableError("the model carries an adapter already: start from the base model, without --adapter")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        lora_dropout=dropout,
        use_rslora=use_rslora,
        target_modules=language_linears(vlm),
        bias="none",
        task_type="CAUSAL_LM",
    )
    with quiet(), torch.random.fork_rng():
        torch.manual_seed(seed)
        vlm.model = get_peft_model(vlm.model, config).eval()
    check_language_only(vlm)


def continue_adapter(vlm: VisionLanguageModel, folder: Path | str) -> None:
    """Train on from the adapter that ``vlm`` was loaded with; a frozen second copy becomes the reference.

    Args:
        vlm: a model loaded with ``adapter=folder``; changed in place.
        folder: the same adapter.
    """
    with quiet():
        vlm.model.load_adapter(str(folder), REFERENCE, is_trainable=False, local_files_only=True)
        vlm.model.set_adapter("default")
    vlm.model.eval()
    check_language_only(vlm)


def load_second(vlm: VisionLanguageModel, folder: Path | str) -> None:
    """Load one more frozen adapter beside those that are there, as the second reference."""
    check_adapter_folder(Path(folder))
    check_patterns(Path(folder), (name for name, _ in vlm.base.named_modules()))
    with quiet():
        vlm.model.load_adapter(str(folder), SECOND, is_trainable=False, local_files_only=True)
        vlm.model.set_adapter("default")
    vlm.model.eval()
    check_language_only(vlm)


def language_linears(vlm: VisionLanguageModel) -> str:
    """A regular expression that matches the full names of the language model's linear layers only."""
    prefix = vlm.family.language_prefix + "."
    leaves = {
        name.rpartition(".")[2]
        for name, module in vlm.base.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(prefix)
    }
    if not leaves:
        raise UnavailableError("the language model has no linear layer to adapt: LoRA cannot be used on this model")
    return rf"{re.escape(prefix)}(.+\.)?({'|'.join(sorted(leaves))})"


def check_language_only(vlm: VisionLanguageModel) -> None:
    """Assert that tower, projector and head are frozen, carry no adapter and are not quantised.

    Raises:
        MedpoError: something outside the language model could be trained.
        UnavailableError: something outside the language model is in 4 or 8 bit.
    """
    prefix = vlm.family.language_prefix + "."
    for name, parameter in vlm.base.named_parameters():
        inside = name.startswith(prefix) and "lora_" in name
        if (parameter.requires_grad or "lora_" in name) and not inside:
            raise MedpoError(f"parameter {name} lies outside the language model but is trainable or adapted")
    outside = [name for name in quantized(vlm.base) if not name.startswith(prefix)]
    if outside:
        raise UnavailableError(
            f"{len(outside)} layers outside the language model are quantised (first: {outside[0]}), which ruins what "
            "it sees: give the full-precision model and --qlora"
        )


def trainable_note(vlm: VisionLanguageModel) -> str:
    """One line on what is trained, by part; ``check_language_only`` has made sure of the zeros."""
    count = sum(p.numel() for name, p in vlm.base.named_parameters() if p.requires_grad and "lora_" in name) / 1e6
    layers = vlm.base.config.get_text_config().num_hidden_layers
    text = f"{count:.2f} M trainable in the language model ({layers} layers), 0 in tower and projector"
    small = len(quantized(vlm.base))
    return text + (f"; {small} linear layers quantised, 0 of them in tower and projector" if small else "")


def round_adapters(vlm: VisionLanguageModel) -> None:
    """Bring all adapters, those of frozen references too, to the type that the model computes in."""
    for name, parameter in vlm.model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(vlm.dtype)


def trainable(vlm: VisionLanguageModel) -> list[nn.Parameter]:
    """The adapter parameters, in the model's order."""
    return [parameter for parameter in vlm.model.parameters() if parameter.requires_grad]


@contextmanager
def reference(vlm: VisionLanguageModel, adapter: str = "") -> Iterator[None]:
    """The frozen reference policy: adapters off, or the frozen copy of the adapter that training began with.

    A model without adapters is its own reference. ``adapter`` names another frozen adapter to speak instead.
    """
    if vlm.model is vlm.base:
        yield
        return
    other = adapter or (REFERENCE if REFERENCE in vlm.model.peft_config else "")
    if other:
        vlm.model.set_adapter(other)
        try:
            yield
        finally:
            vlm.model.set_adapter("default")
        return
    # Layer by layer: the context manager of PEFT inspects the whole model first, which costs more than
    # half a forward pass of a tiny one.
    layers = [module for module in vlm.model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save_adapter(vlm: VisionLanguageModel, folder: Path | str) -> None:
    """Write a plain PEFT folder (safetensors) that ``PeftModel.from_pretrained`` loads on the base model.

    ``base_model_name_or_path`` is the model folder's name only: paths of this machine do not travel.
    """
    config: Any = vlm.model.peft_config["default"]
    config.base_model_name_or_path = vlm.name
    with quiet():
        vlm.model.save_pretrained(str(folder), save_embedding_layers=False, selected_adapters=["default"])
    # The model card is a form full of blanks; medpo writes what there is to say into the run manifest.
    (Path(folder) / "README.md").unlink(missing_ok=True)
