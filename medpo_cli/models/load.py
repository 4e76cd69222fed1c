"""Loading an image-text model from a local folder, frozen, quiet, offline; in 4 bit if asked.

Every refusal is an UnavailableError that names the cure. Weights come from safetensors only.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
from transformers.utils import logging

from medpo_cli.errors import MedpoError, UnavailableError
from medpo_cli.models.adapter import check_patterns
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import check_kind
from medpo_cli.models.folder import check_adapter_folder, check_model_folder, digest
from medpo_cli.models.memory import memory_is_temporary
from medpo_cli.models.processor import load_processor
from medpo_cli.models.quantize import compute_alike_everywhere, nf4_settings, settle_quantized
from medpo_cli.models.sizes import check_sizes
from medpo_cli.models.template import check_template
from medpo_cli.schema.config import ModelSettings


def load_configured(config: ModelSettings, *, device: str = "", quantize: str = "") -> VisionLanguageModel:
    """The model that a stage's settings name; ``device`` and ``quantize`` stand in for theirs."""
    return load_model(
        config.model,
        adapter=config.adapter,
        quantize=quantize or config.quantize,
        device=device or config.device,
        dtype=config.dtype,
        trust_remote_code=config.trust_remote_code,
    )


def load_model(
    folder: str | Path,
    *,
    adapter: str | Path = "",
    quantize: str = "none",
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
) -> VisionLanguageModel:
    """An image-text model ready to answer and to be aligned; every parameter frozen, eval mode.

    Args:
        folder: local Hugging Face folder with weights, tokenizer, processor and chat template.
        adapter: PEFT adapter folder to put on top.
        quantize: ``nf4``: linears of the language model in 4 bit with double quantisation; tower, projector
            and head stay as they are.
        device: ``auto`` (first GPU, else CPU), ``cpu``, ``cuda``, ``cuda:N``.
        dtype: ``auto`` (float32 on CPU, bfloat16 on a GPU), ``float32``, ``bfloat16``, ``float64``.
        trust_remote_code: run code in the folder.

    Raises:
        UnavailableError: the folder, the device or a package will not do; the message says what would.
        TryLaterError: not enough GPU memory now.
    """
    path = Path(folder)
    check_model_folder(path)
    if adapter:
        check_adapter_folder(Path(adapter))
    where = _device(device)
    with quiet(), memory_is_temporary("free some, or load in 4 bit (--quantize nf4)"):
        check_config(path, trust_remote_code)
        processor = find_processor(path, trust_remote_code)
        model = _model(path, quantize, where, resolve_dtype(dtype, where), trust_remote_code)
        if adapter:
            model = _with_adapter(model, Path(adapter))
        loaded = VisionLanguageModel(
            model.requires_grad_(False),
            processor,
            name=path.resolve().name,
            digest=digest(path, code=trust_remote_code),
            adapter_digest=digest(Path(adapter)) if adapter else None,
        )
        _dry_run(loaded, path)
    return loaded


@contextmanager
def quiet() -> Iterator[None]:
    """No bars, no log lines, no warnings from the libraries while loading."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _device(name: str) -> torch.device:
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda:0" if available else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UnavailableError("unknown device: use auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and not (available and (device.index or 0) < torch.cuda.device_count()):
        raise UnavailableError(f"device {name} is not there: {torch.cuda.device_count()} GPUs found; use --device cpu")
    return device


def resolve_dtype(name: str, device: torch.device) -> torch.dtype:
    """The type that ``dtype`` stands for on ``device``."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def check_config(folder: Path, trust_remote_code: bool) -> None:
    """Refuse configurations that transformers does not know as image-text models, or medpo cannot use."""
    check_sizes(folder)
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=trust_remote_code)
    except Exception as error:  # whatever a damaged file makes the library raise
        raise UnavailableError(
            f"transformers does not know the model in {folder.name} (config.json, model_type): "
            "update transformers, or give --trust-remote-code if the folder brings its own code and you trust it"
        ) from error
    if config.model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and not trust_remote_code:
        raise UnavailableError(
            f"{folder.name} holds a {config.model_type} model, which takes no images: give an image-text model "
            "such as LLaVA, Qwen-VL, Gemma 3 or SmolVLM"
        )
    check_kind(config)


def find_processor(folder: Path, trust_remote_code: bool) -> Any:
    """The processor in ``folder`` with a fast tokenizer and a chat template, or UnavailableError with the cure."""
    try:
        processor = load_processor(folder, trust_remote_code=trust_remote_code)
    except Exception as error:
        raise UnavailableError(
            f"{folder.name} has no usable processor ({type(error).__name__}): processor_config.json or "
            "preprocessor_config.json and the tokenizer files must lie beside the weights; copy them from the "
            "original model"
        ) from error
    if getattr(processor, "image_processor", None) is None or getattr(processor, "tokenizer", None) is None:
        raise UnavailableError(
            f"{folder.name} has a tokenizer but no image processor: copy processor_config.json or "
            "preprocessor_config.json from the original model"
        )
    if not processor.tokenizer.is_fast:
        raise UnavailableError(
            f"{folder.name} has a slow tokenizer, which cannot map characters to tokens: add tokenizer.json "
            "(AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it)"
        )
    if not processor.chat_template:
        processor.chat_template = processor.tokenizer.chat_template
    if not processor.chat_template:
        raise UnavailableError(
            f"{folder.name} has no chat template, so nobody knows how it expects questions: "
            "put chat_template.jinja of the original model into the folder"
        )
    check_template(processor.chat_template)
    return processor


def _model(folder: Path, quantize: str, device: torch.device, dtype: torch.dtype, trust_remote_code: bool) -> Any:
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "dtype": dtype}
    options |= {"trust_remote_code": trust_remote_code, "device_map": {"": device}, "output_loading_info": True}
    if quantize == "nf4":
        options["quantization_config"] = nf4_settings(folder, dtype, trust_remote_code=trust_remote_code)
    try:
        model, info = AutoModelForImageTextToText.from_pretrained(folder, **options)
    except ImportError as error:
        what = "bitsandbytes is missing: pip install bitsandbytes, or drop --quantize nf4"
        if quantize != "nf4":
            what = f"{folder.name} needs a package that is not installed, for its quantization or its attention"
        raise UnavailableError(what) from error
    except (MedpoError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise UnavailableError(
            f"the weights in {folder.name} do not fit its config.json ({type(error).__name__}): download it again"
        ) from error
    if info["missing_keys"]:
        raise UnavailableError(
            f"{folder.name} lacks {len(info['missing_keys'])} weights of its model, which would be random: "
            "download the folder again"
        )
    compute_alike_everywhere(model)
    if quantize == "nf4":
        settle_quantized(model)
    return model


def _with_adapter(model: Any, adapter: Path) -> Any:
    from peft import PeftModel

    check_patterns(adapter, (name for name, _ in model.named_modules()))
    try:
        return PeftModel.from_pretrained(model, str(adapter), is_trainable=False, local_files_only=True)
    except (MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a damaged folder makes the library raise
        raise UnavailableError(
            f"adapter {adapter.name} does not fit this model: give the model it was trained on"
        ) from error


def _dry_run(model: VisionLanguageModel, folder: Path) -> None:
    """Refuse a processor that writes another number of image tokens than the tower makes."""
    image = np.zeros((64, 64, 3), np.uint8)
    try:
        prompt = model.encode_prompt("?", [image])
        tokens = int(prompt.image_positions.sum())
        features = model.image_features([prompt])
        model.forward(
            prompt.input_ids[None].to(model.device),
            features=features,
            position_ids=model.row_positions([prompt], len(prompt)),
            logits_to_keep=1,
        )
    except (MedpoError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:  # no memory for this small picture either
        raise UnavailableError(
            f"processor and model in {folder.name} disagree about images ({type(error).__name__}): copy the processor "
            "and tokenizer files of the original model"
        ) from error
    if not tokens:
        raise UnavailableError(f"the chat template in {folder.name} writes no image placeholder: copy the original one")
