"""A model without its weights: sizes, tokenizer and processor, enough to plan a run."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from medpo_cli.errors import UnavailableError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.folder import PICKLES, WEIGHTS_INDEX
from medpo_cli.models.load import check_config, find_processor, quiet, resolve_dtype
from medpo_cli.schema.config import ModelSettings


def has_weights(folder: Path | str) -> bool:
    """Whether the folder holds weights of any kind, whole or not."""
    names = ("model.safetensors", WEIGHTS_INDEX, *PICKLES)
    return any(next(Path(folder).glob(name), None) for name in names)


def load_skeleton(config: ModelSettings) -> VisionLanguageModel:
    """The model that a stage's settings name, on the meta device: every size, no number.

    The device need not be there: ``dtype`` ``auto`` means what it would mean on it.

    Raises:
        UnavailableError: configuration, tokenizer or processor are missing.
    """
    folder = Path(config.model)
    if not (folder / "config.json").is_file():
        raise UnavailableError(f"{folder.name} has no config.json: give the folder of a Hugging Face image-text model")
    device = torch.device("cuda" if config.device.startswith("cuda") else "cpu")
    dtype = torch.bfloat16 if config.dtype == "auto" and device.type == "cuda" else resolve_dtype(config.dtype, device)
    with quiet():
        check_config(folder, config.trust_remote_code)
        processor = find_processor(folder, config.trust_remote_code)
        settings = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=config.trust_remote_code)
        return VisionLanguageModel(bare_model(settings, dtype), processor, name=folder.resolve().name)


def bare_model(settings: Any, dtype: torch.dtype) -> Any:
    """The transformers image-text model of a configuration, on the meta device."""
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(settings, dtype=dtype)
    return model.requires_grad_(False)
