"""A model folder and an adapter folder as files: names, sizes and headers, no weight is read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpo_cli.errors import UnavailableError
from medpo_cli.models.folder import PICKLES, check_adapter_folder, check_model_folder
from medpo_cli.schema.diagnosis import Diagnosis, error, note, ok, warning

AREA = "model"
GB = 10**9
CHOOSE = "give a complete local image-text model folder with safetensors (--model, or model in medpo.toml)"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
PROCESSORS = ("processor_config.json", "preprocessor_config.json")


def look(folder: Path, *, embedded: bool = False, trust_remote_code: bool = False) -> Iterator[Diagnosis]:
    """What can be said of a model folder without loading it.

    Args:
        folder: of the model.
        embedded: it is the demo's own, because none is configured.
        trust_remote_code: its code may run.
    """
    try:
        check_model_folder(folder)
    except UnavailableError as problem:
        yield error(AREA, "folder", str(problem), CHOOSE)
        return
    config = _json(folder / "config.json")
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    text = f"{folder.name}: {config.get('model_type', 'no model_type')}, {weights / GB:.3g} GB of weights"
    if embedded:
        yield note(AREA, "folder", f"none configured, the embedded demo: {text}", CHOOSE)
    else:
        yield ok(AREA, "folder", text)
    yield from _parts(folder)
    yield from _code(folder, config, trusted=trust_remote_code)


def _parts(folder: Path) -> Iterator[Diagnosis]:
    """Processor, tokenizer, template: what is missing most often in merged or converted folders."""
    copy = "copy it from the original model's folder"
    if not any((folder / name).is_file() for name in PROCESSORS):
        yield error(AREA, "processor", "neither processor_config.json nor preprocessor_config.json", copy)
    if not (folder / "tokenizer.json").is_file():
        cure = "AutoTokenizer.from_pretrained(folder).save_pretrained(folder) writes it from the slow tokenizer"
        yield error(AREA, "tokenizer", "no tokenizer.json: characters cannot be mapped to tokens", cure)
    inside = "chat_template" in _json(folder / "tokenizer_config.json")
    inside = inside or "chat_template" in _json(folder / PROCESSORS[0])
    if not inside and not any((folder / name).is_file() for name in TEMPLATES):
        yield error(AREA, "template", "no chat template", f"chat_template.jinja is missing: {copy}")


def _code(folder: Path, config: dict[str, Any], *, trusted: bool) -> Iterator[Diagnosis]:
    if "auto_map" in config or next(folder.glob("*.py"), None):
        if trusted:
            cure = "read it before you run it, and keep the folder where nobody else can write"
            yield warning(AREA, "code", "the folder's own Python code will run", cure)
        else:
            cure = "nothing, if transformers knows the model; else --trust-remote-code, after reading the code"
            yield note(AREA, "code", "the folder brings Python code, which will not run", cure)
    if any(next(folder.glob(pattern), None) for pattern in PICKLES):
        yield note(AREA, "pickles", "pickled weights lie beside the safetensors; they are never read", "delete them")


def look_adapter(folder: Path) -> Iterator[Diagnosis]:
    """What can be said of an adapter folder without loading it."""
    try:
        check_adapter_folder(folder)
    except UnavailableError as problem:
        yield error(AREA, "adapter", str(problem), "give the folder that medpo align -o wrote")
        return
    config = _json(folder / "adapter_config.json")
    yield ok(AREA, "adapter", f"{folder.name}: {config.get('peft_type', 'LORA')}, rank {config.get('r', '?')}")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
