"""What a model folder on disk must hold, checked before anything is loaded, and its digest.

The checks read names, sizes and headers only, so that a half downloaded model is refused in milliseconds.
"""

import hashlib
import json
import re
import struct
from pathlib import Path

from medpo_cli.errors import UnavailableError
from medpo_cli.models.adapter import check_adapter_config

WEIGHTS_INDEX = "model.safetensors.index.json"
DEFINING = {
    "config.json",
    "generation_config.json",
    "processor_config.json",
    "preprocessor_config.json",
    "video_preprocessor_config.json",
    "chat_template.json",
    "chat_template.jinja",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    WEIGHTS_INDEX,
    "adapter_config.json",
}
READ = frozenset({".json", ".jinja", ".txt", ".model", ".py", ".safetensors"})
"""Endings of files that transformers may read."""
LARGEST = 2**30
"""Bytes of a file other than weights."""
_WEIGHTS = re.compile(r"[\w.+-]{1,200}\.safetensors", re.ASCII)
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def check_model_folder(folder: Path) -> None:
    """Refuse a folder that is no complete Hugging Face model with safetensors weights.

    Raises:
        UnavailableError: with the cure; folder missing, no configuration, weights missing, cut off or pickled.
    """
    if not folder.is_dir():
        raise UnavailableError(f"model folder {folder.name} not found: give a local folder (nothing is downloaded)")
    _check_files(folder)
    if not (folder / "config.json").is_file():
        raise UnavailableError(f"{folder.name} has no config.json: give the folder of a Hugging Face image-text model")
    _check_json(folder / "config.json")
    shards = _shards(folder)
    missing = [name for name in shards if not (folder / name).is_file()]
    if missing:
        raise UnavailableError(
            f"{folder.name} is half downloaded: {len(missing)} of {len(shards)} weight files are missing "
            f"(first: {missing[0]}); download the folder again"
        )
    for name in shards:
        check_safetensors(folder / name)


def check_adapter_folder(folder: Path) -> None:
    """Refuse a folder that is no PEFT adapter in safetensors.

    Raises:
        UnavailableError: with the cure.
    """
    if not folder.is_dir():
        raise UnavailableError(f"adapter folder {folder.name} not found")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).is_file():
            raise UnavailableError(f"{folder.name} is not a complete LoRA adapter: {name} is missing")
    _check_files(folder)
    _check_json(folder / "adapter_config.json")
    check_adapter_config(folder)
    check_safetensors(folder / "adapter_model.safetensors")


def check_safetensors(path: Path) -> None:
    """Refuse a safetensors file whose length is not what its header says.

    Raises:
        UnavailableError: cut off, or a pointer of a large-file store instead of the weights.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start == b"version ":
            raise UnavailableError(
                f"{path.parent.name}/{path.name} is a Git LFS pointer, not weights: run 'git lfs pull' in the folder"
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        header = file.read(length) if length <= size - 8 else b""
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        expected = 8 + length + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        expected = -1
    if size != expected:
        raise UnavailableError(f"{path.parent.name}/{path.name} is cut off or damaged: download it again")


def digest(folder: Path, *, code: bool = False) -> str:
    """Hex sha256 over the files that define a model or adapter, names sorted.

    Covers configuration, safetensors weights, tokenizer, processor and chat template (with ``code`` also
    ``*.py``): for each file its name and its own sha256.
    """
    names = [
        path.name
        for path in folder.iterdir()
        if path.name in DEFINING or path.suffix == ".safetensors" or (code and path.suffix == ".py")
    ]
    total = hashlib.sha256()
    for name in sorted(names):
        with (folder / name).open("rb") as file:
            total.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return total.hexdigest()


def _check_files(folder: Path) -> None:
    """Refuse what cannot be read to its end, is no configuration by its size, or lies elsewhere under a link.

    The hub's own cache holds links into its ``blobs``; weights may be links to anywhere, for they are only weights.
    """
    inside = folder.resolve()
    homes = [inside, inside.parents[1] / "blobs"] if inside.parent.name == "snapshots" else [inside]
    for path in folder.iterdir():
        if path.name not in DEFINING and path.suffix not in READ:
            continue
        if not path.is_file():
            raise UnavailableError(f"{folder.name}/{path.name} is not a regular file: download it again")
        if path.suffix == ".safetensors":
            continue
        if path.stat().st_size > LARGEST:
            raise UnavailableError(f"{folder.name}/{path.name} is larger than {LARGEST >> 20} MiB: download it again")
        if path.is_symlink() and not any(path.resolve().is_relative_to(home) for home in homes):
            raise UnavailableError(f"{folder.name}/{path.name} is a link out of the folder: copy the file into it")


def _shards(folder: Path) -> list[str]:
    """Names of the weight files the folder should hold."""
    if (folder / "model.safetensors").is_file():
        return ["model.safetensors"]
    if (folder / WEIGHTS_INDEX).is_file():
        try:
            names = sorted(set(_check_json(folder / WEIGHTS_INDEX)["weight_map"].values()))
            strange = not all(_WEIGHTS.fullmatch(name) for name in names)
        except (KeyError, AttributeError, TypeError) as error:
            raise UnavailableError(f"{folder.name}/{WEIGHTS_INDEX} names no weights: download it again") from error
        if strange:
            raise UnavailableError(
                f"{folder.name}/{WEIGHTS_INDEX} names files that are no safetensors of this folder: download it again"
            )
        return names
    if any(next(folder.glob(pattern), None) for pattern in PICKLES):
        raise UnavailableError(
            f"{folder.name} holds pickled weights only, which can run code when read: "
            "convert them to safetensors (save_pretrained of a current transformers writes it)"
        )
    raise UnavailableError(f"{folder.name} holds no weights (model.safetensors): download the folder again")


def _check_json(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UnavailableError(f"{path.parent.name}/{path.name} is not valid JSON: download it again") from error
    if not isinstance(content, dict):
        raise UnavailableError(f"{path.parent.name}/{path.name} is not a JSON object: download it again")
    return content
