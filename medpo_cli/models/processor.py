"""Processors of image-text models, with or without torchvision.

Several processors demand a video part, and that part demands torchvision. medpo shows still images only,
so where torchvision is missing the same processor class is used without its video part.
"""

import importlib.util
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoProcessor
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING


def image_only(processor_class: type[Any]) -> type[Any]:
    """The processor class without a video part; same name, so that a saved folder stays an ordinary one."""

    def attributes(cls: type[Any]) -> list[str]:
        return [name for name in processor_class.get_attributes() if name != "video_processor"]

    return type(processor_class.__name__, (processor_class,), {"get_attributes": classmethod(attributes)})


def load_processor(folder: Path, *, trust_remote_code: bool = False) -> Any:
    """The processor of a model folder; without its video part where torchvision is missing.

    Raises:
        OSError, ValueError, ImportError: what transformers raises when files are missing or wrong.
    """
    options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": trust_remote_code}
    if importlib.util.find_spec("torchvision") is None:
        config = AutoConfig.from_pretrained(folder, **options)
        known = type(config) in PROCESSOR_MAPPING and PROCESSOR_MAPPING[type(config)]
        if known and "video_processor" in known.get_attributes():
            return image_only(known).from_pretrained(folder, **options)
    return AutoProcessor.from_pretrained(folder, **options)
