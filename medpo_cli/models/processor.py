"""Processors of image-text models, with or without the packages that only their video parts need.

Several processors demand a video part, and that part demands torchvision; SmolVLM's also wants num2words.
medpo shows still images only, so where a package is missing a processor without the video part is used.
"""

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor, Idefics3Processor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def image_only(processor_class: type[Any]) -> type[Any]:
    """The processor class without a video part; same name, so that a saved folder stays an ordinary one."""

    def attributes(cls: type[Any]) -> list[str]:
        return [name for name in processor_class.get_attributes() if name != "video_processor"]

    return type(processor_class.__name__, (processor_class,), {"get_attributes": classmethod(attributes)})


def pixtral() -> type[Any]:
    """The processor of Pixtral towers (Mistral 3, some LLaVA).

    Its file takes one small function from a file that demands torchvision; the twin for Pillow has it too.
    """
    package = "transformers.models.pixtral"
    if find_spec("torchvision") is None:
        sys.modules[f"{package}.image_processing_pixtral"] = importlib.import_module(
            f"{package}.image_processing_pil_pixtral"
        )
    try:
        found: type[Any] = importlib.import_module(f"{package}.processing_pixtral").PixtralProcessor
    finally:
        if find_spec("torchvision") is None:
            del sys.modules[f"{package}.image_processing_pixtral"]
    return found


def load_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The processor of a model folder; without its video part where a package for that is missing.

    Raises:
        OSError, ValueError, ImportError: what transformers raises when files are missing or wrong.
    """
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    config = AutoConfig.from_pretrained(folder, **options)
    return (_stills(config) or AutoProcessor).from_pretrained(folder, **options)


def _stills(config: Any) -> type[Any] | None:
    """The class that does without the missing packages; None: nothing that the library's own needs is missing."""
    torchvision = find_spec("torchvision") is not None
    if config.model_type == "smolvlm":
        # Idefics3's writes the same placeholders for the same tiles, and never had a video part.
        return None if torchvision and find_spec("num2words") else Idefics3Processor
    if torchvision:
        return None
    if getattr(getattr(config, "vision_config", None), "model_type", None) == "pixtral":
        return pixtral()
    known = type(config) in PROCESSOR_MAPPING and PROCESSOR_MAPPING[type(config)]
    return image_only(known) if known and "video_processor" in known.get_attributes() else None
