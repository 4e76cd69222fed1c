"""Merging: the same answers as base and adapter, a folder that loads everywhere, what cannot be merged."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from medpo_cli.errors import UnavailableError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model, quiet
from medpo_cli.models.lora import add_lora, save_adapter, trainable
from medpo_cli.models.merge import check_full_precision, merge_adapter


def logits(vlm: VisionLanguageModel, images) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """In float64: how a processor rounds would otherwise be carried on by a random model."""
    vlm.base.double()
    prompt = vlm.encode_prompt("Is there a nodule?", images[:1])
    with torch.no_grad():
        return vlm.forward(
            prompt.input_ids[None],
            features=vlm.image_features([prompt]),
            position_ids=vlm.row_positions([prompt], len(prompt)),
        )


def stirred(folder: Path, *, size: float = 0.1, rank: int = 4) -> VisionLanguageModel:
    """The model with an adapter that does something, rank-stabilised."""
    vlm = load_model(folder)
    add_lora(vlm, rank=rank, use_rslora=True)
    generator = torch.Generator().manual_seed(5)
    for parameter in trainable(vlm):
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=size)
    return vlm


def test_merged_model_answers_as_base_and_adapter(folder: Path, tmp_path: Path, images) -> None:  # type: ignore[no-untyped-def]
    vlm = stirred(folder)
    save_adapter(vlm, tmp_path / "adapter")
    lost = merge_adapter(folder, tmp_path / "adapter", tmp_path / "merged")
    assert lost < 1e-6  # float32 has 24 bits
    merged = load_model(tmp_path / "merged")
    expected = logits(vlm, images)
    torch.testing.assert_close(logits(merged, images), expected, rtol=0, atol=1e-4)
    assert not torch.allclose(logits(load_model(folder), images), expected, atol=1e-2)
    assert not any("lora" in name for name, _ in merged.base.named_parameters())
    assert merged.adapter_digest is None


def test_merged_folder_loads_with_plain_transformers(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = folders["llava"]
    save_adapter(stirred(folder), tmp_path / "adapter")
    merge_adapter(folder, tmp_path / "adapter", tmp_path / "merged")
    with quiet():
        model = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged")
        processor = AutoProcessor.from_pretrained(tmp_path / "merged")
    assert type(model).__name__ == "LlavaForConditionalGeneration"
    assert processor.chat_template
    assert processor.tokenizer("There is no nodule.")["input_ids"]
    base = {path.name for path in folder.iterdir()}
    assert {path.name for path in (tmp_path / "merged").iterdir()} == base


@pytest.mark.parametrize(("size", "low", "high"), [(0.1, 0.0, 0.05), (1e-5, 0.5, 100.0)])
def test_what_bfloat16_cannot_hold_is_told(folder: Path, tmp_path: Path, size: float, low: float, high: float) -> None:
    """A large change survives rounding; one of some 1e-5 against weights of 1e-1 does not."""
    save_adapter(stirred(folder, size=size), tmp_path / "adapter")
    with quiet():
        AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    for file in folder.iterdir():
        if not (tmp_path / "half" / file.name).exists():
            shutil.copyfile(file, tmp_path / "half" / file.name)
    lost = merge_adapter(tmp_path / "half", tmp_path / "adapter", tmp_path / "merged")
    assert low <= lost <= high
    with quiet():
        merged = AutoModelForImageTextToText.from_pretrained(tmp_path / "merged", dtype="auto")
    assert merged.dtype == torch.bfloat16


def test_a_quantised_base_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["llava"], tmp_path / "small")
    file = tmp_path / "small" / "config.json"
    settings = json.loads(file.read_text())
    file.write_text(json.dumps({**settings, "quantization_config": {"load_in_4bit": True}}))
    with pytest.raises(UnavailableError, match="--merge needs the model in full precision"):
        check_full_precision(tmp_path / "small")


def test_missing_folders_are_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="not found"):
        merge_adapter(tmp_path / "nowhere", tmp_path, tmp_path / "x")
    with pytest.raises(UnavailableError, match=r"adapter_config\.json is missing"):
        merge_adapter(folders["llava"], tmp_path, tmp_path / "x")
