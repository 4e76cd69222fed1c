"""LoRA: the language model only, zero at the start, off for the reference, a plain PEFT folder."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForImageTextToText

from medpo_cli.errors import MedpoError, UnavailableError
from medpo_cli.models import quantize
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import (
    add_lora,
    check_language_only,
    reference,
    save_adapter,
    trainable,
    trainable_note,
)


def logits(vlm: VisionLanguageModel, images) -> torch.Tensor:  # type: ignore[no-untyped-def]
    prompt = vlm.encode_prompt("Is there a nodule?", images[:1])
    with torch.no_grad():
        return vlm.forward(
            prompt.input_ids[None],
            features=vlm.image_features([prompt]),
            position_ids=vlm.row_positions([prompt], len(prompt)),
        )


def stir(vlm: VisionLanguageModel) -> None:
    """Give B something, so that adapters do something."""
    generator = torch.Generator().manual_seed(5)
    for parameter in trainable(vlm):
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_adapters_lie_on_the_language_model_only(folder: Path, quantize: str) -> None:
    """14 linears, A and B each: 28 trainable tensors, float32."""
    vlm = load_model(folder, quantize=quantize)
    add_lora(vlm, rank=4)
    names = [name for name, parameter in vlm.base.named_parameters() if parameter.requires_grad]
    assert len(names) == len(trainable(vlm)) == 28
    assert all(name.startswith("model.language_model.layers.") and "lora_" in name for name in names)
    assert {parameter.dtype for parameter in trainable(vlm)} == {torch.float32}


def test_a_new_adapter_changes_nothing(vlm: VisionLanguageModel, images) -> None:  # type: ignore[no-untyped-def]
    before = logits(vlm, images)
    add_lora(vlm, rank=4)
    assert torch.equal(logits(vlm, images), before)


def test_reference_is_the_model_without_adapters(vlm: VisionLanguageModel, images) -> None:  # type: ignore[no-untyped-def]
    before = logits(vlm, images)
    with reference(vlm):
        assert torch.equal(logits(vlm, images), before)
    add_lora(vlm, rank=4)
    stir(vlm)
    assert not torch.allclose(logits(vlm, images), before)
    with reference(vlm):
        assert torch.equal(logits(vlm, images), before)
    assert not torch.allclose(logits(vlm, images), before)


def test_initial_weights_depend_on_the_seed_alone(folder: Path) -> None:
    drawn = []
    for noise, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(noise)
        vlm = load_model(folder)
        add_lora(vlm, rank=4, seed=seed)
        drawn.append(torch.cat([parameter.flatten() for parameter in trainable(vlm)]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("use_rslora", "scale"), [(False, 8.0), (True, 16.0)])
def test_scale(folder: Path, use_rslora: bool, scale: float) -> None:
    """alpha 32, rank 4: 32 / 4 = 8, rank-stabilised 32 / sqrt(4) = 16."""
    vlm = load_model(folder)
    add_lora(vlm, rank=4, alpha=32.0, use_rslora=use_rslora)
    scales = {layer.scaling["default"] for layer in vlm.base.modules() if isinstance(layer, LoraLayer)}
    assert scales == {scale}


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_saved_adapter_loads_with_plain_peft(folder: Path, tmp_path: Path, images) -> None:  # type: ignore[no-untyped-def]
    vlm = load_model(folder)
    add_lora(vlm, rank=4)
    stir(vlm)
    save_adapter(vlm, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == folder.name
    plain = PeftModel.from_pretrained(AutoModelForImageTextToText.from_pretrained(folder), tmp_path)
    expected = logits(vlm, images)
    vlm.model = plain.eval()
    torch.testing.assert_close(logits(vlm, images), expected, rtol=0, atol=1e-6)


def test_a_loaded_adapter_can_be_switched_off(folder: Path, tmp_path: Path, images) -> None:  # type: ignore[no-untyped-def]
    vlm = load_model(folder)
    base = logits(vlm, images)
    add_lora(vlm, rank=4)
    stir(vlm)
    save_adapter(vlm, tmp_path)
    loaded = load_model(folder, adapter=tmp_path)
    torch.testing.assert_close(logits(loaded, images), logits(vlm, images), rtol=0, atol=1e-6)
    with reference(loaded):
        assert torch.equal(logits(loaded, images), base)
    with pytest.raises(UnavailableError, match="carries an adapter already"):
        add_lora(loaded)


def test_a_second_adapter_is_refused(vlm: VisionLanguageModel) -> None:
    add_lora(vlm, rank=2)
    with pytest.raises(UnavailableError, match="carries an adapter already"):
        add_lora(vlm, rank=2)


def test_a_trainable_tower_is_noticed(llava: VisionLanguageModel) -> None:
    next(llava.base.model.vision_tower.parameters()).requires_grad_(True)
    with pytest.raises(MedpoError, match="vision_tower"):
        check_language_only(llava)


@pytest.mark.parametrize("short", [["visual", "lm_head"], ["vision_tower", "multi_modal_projector", "lm_head"]])
def test_short_skip_names_protect_nothing_and_are_caught(
    folder: Path, short: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantize, "outside_language_model", lambda _: short)
    with pytest.raises(UnavailableError, match=r"4-bit loading went wrong: 14 layers of the language model and [1-9]"):
        load_model(folder, quantize="nf4")


def test_a_folder_with_a_quantised_tower_is_refused_before_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that were saved in 4 bit by someone else need no --quantize, so that loading does not count."""
    monkeypatch.setattr(quantize, "outside_language_model", lambda _: ["lm_head"])
    monkeypatch.setattr("medpo_cli.models.load.settle_quantized", lambda _: None)
    saved = load_model(folder, quantize="nf4")
    saved.base.save_pretrained(tmp_path)
    saved.processor.save_pretrained(tmp_path)
    vlm = load_model(tmp_path)
    with pytest.raises(UnavailableError, match=r"layers outside the language model are quantised \(first: model"):
        add_lora(vlm, rank=2)


@pytest.mark.parametrize("quantized", ["none", "nf4"])
def test_what_is_trained_is_said_by_part(folder: Path, quantized: str) -> None:
    vlm = load_model(folder, quantize=quantized)
    add_lora(vlm, rank=4)
    count = sum(parameter.numel() for parameter in trainable(vlm))
    note = trainable_note(vlm)
    assert note.startswith(f"{count / 1e6:.2f} M trainable in the language model (2 layers), 0 in tower and projector")
    assert ("14 linear layers quantised, 0 of them in tower and projector" in note) == (quantized == "nf4")


def test_adding_prints_nothing(vlm: VisionLanguageModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    add_lora(vlm, rank=2)
    save_adapter(vlm, tmp_path)
    assert capfd.readouterr() == ("", "")
