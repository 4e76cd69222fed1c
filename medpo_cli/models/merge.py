"""Base model and adapter as one ordinary model folder."""

import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForImageTextToText

from medpo_cli.errors import UnavailableError
from medpo_cli.models.folder import DEFINING, WEIGHTS_INDEX, check_adapter_folder, check_model_folder
from medpo_cli.models.load import quiet

WRITTEN = {"config.json", "adapter_config.json", WEIGHTS_INDEX}
"""Defining files that are not copied: saving writes its own, or the merged model has none."""


def merge_adapter(base: Path | str, adapter: Path | str, folder: Path, *, trust_remote_code: bool = False) -> float:
    """Write ``base`` with ``adapter`` worked into its weights to ``folder``, an ordinary model folder.

    The base is loaded anew on the CPU in the type it is stored in, also after training in 4 bit: 4-bit
    weights cannot take an adapter without another rounding. Sums are made in float32 and rounded once.
    Tokenizer, processor and chat template are copied from the base.

    Args:
        base: model folder that the adapter was trained on.
        adapter: PEFT folder.
        folder: an empty folder to write to.
        trust_remote_code: run code in the base's folder.

    Returns:
        How much of the adapter's change rounding lost, as a share of the change's norm: 0 in float32, large in
        bfloat16 if the change is small against the weights.

    Raises:
        UnavailableError: a folder will not do, or the base is quantised in its folder.
    """
    check_full_precision(base)
    check_adapter_folder(Path(adapter))
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    with quiet():
        model = AutoModelForImageTextToText.from_pretrained(base, dtype="auto", use_safetensors=True, **options)
        tuned = PeftModel.from_pretrained(model, str(adapter), local_files_only=True)
        lost = _add_changes(tuned)
        tuned.unload().save_pretrained(folder)
    for file in Path(base).iterdir():
        if file.name in DEFINING - WRITTEN or (trust_remote_code and file.suffix == ".py"):
            shutil.copyfile(file, folder / file.name)
    return lost


def check_full_precision(base: Path | str) -> None:
    """Refuse a base that no adapter can be merged into, before hours of training.

    Raises:
        UnavailableError: with the cure.
    """
    check_model_folder(Path(base))
    if '"quantization_config"' in (Path(base) / "config.json").read_text("utf-8"):
        raise UnavailableError(f"{Path(base).name} holds a quantised model: --merge needs the model in full precision")


@torch.no_grad()
def _add_changes(tuned: Any) -> float:
    """Add every adapter to its layer; the share of the change that rounding to the layer's type lost."""
    change = error = 0.0
    for layer in tuned.modules():
        if isinstance(layer, LoraLayer):
            weight = layer.get_base_layer().weight
            delta = layer.get_delta_weight("default").float()
            wanted = weight.float() + delta
            weight.copy_(wanted)
            change += float(delta.square().sum())
            error += float((weight.float() - wanted).square().sum())
    return (error / change) ** 0.5 if change else 0.0
