"""Gradient checkpointing recomputes, changes no gradient and wakes no dropout of the frozen model."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from data.training_pairs import BUILDERS, PAIRS, encode, engine, gradients, tiny
from torch import Tensor, nn

from medpo_cli.errors import UnavailableError
from medpo_cli.models import recompute
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora, trainable
from medpo_cli.models.recompute import decoder_layers, recompute_layers
from medpo_cli.models.tiny import build_llava, save
from medpo_cli.training.objectives.methods import resolve

TERMS = resolve("fire-mpo", nll=0.7)


def with_and_without(vlm: VisionLanguageModel, *, forest: bool) -> Iterator[tuple[dict[str, Tensor], int]]:
    """Gradients, and how often the first layer ran; first without, then with checkpointing."""
    encoder, examples = encode(vlm, TERMS, PAIRS)
    run = engine(vlm, TERMS, encoder, forest=forest)
    for on in (False, True):
        recompute_layers(vlm, on=on)
        calls: list[int] = []
        hook = decoder_layers(vlm)[0].mlp.register_forward_pre_hook(lambda *_, calls=calls: calls.append(1))
        torch.manual_seed(7)
        run.accumulate(examples, 1.0)
        hook.remove()
        yield gradients(vlm), len(calls)


def check_equal(vlm: VisionLanguageModel, *, forest: bool) -> None:
    (plain, twice), (again, thrice) = with_and_without(vlm, forest=forest)
    assert 2 * thrice == 3 * twice  # policy, reference, and the policy once more
    scale = max(float(gradient.abs().max()) for gradient in plain.values())
    assert max(float((again[name] - plain[name]).abs().max()) for name in plain) <= 1e-12 * scale


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_gradients_are_the_same_in_every_family(kind: str) -> None:
    vlm = tiny(kind, torch.float64)
    check_equal(vlm, forest=vlm.forest)


def test_gradients_are_the_same_on_plain_rows() -> None:
    check_equal(tiny("llava", torch.float64), forest=False)


def test_gradients_are_the_same_with_adapter_dropout() -> None:
    vlm = tiny("llava", torch.float64)
    bare = VisionLanguageModel(vlm.model.unload(), vlm.processor, name="llava", digest="0" * 64)
    add_lora(bare, rank=4, dropout=0.3)
    for parameter in trainable(bare):
        parameter.data.add_(0.1)
    for module in bare.model.modules():
        if isinstance(module, nn.Dropout):
            module.train()
    check_equal(bare, forest=True)


def test_gradients_are_the_same_in_four_bit(tmp_path: Path) -> None:
    vlm = load_model(save(tmp_path, *build_llava()), quantize="nf4")
    add_lora(vlm, rank=4)
    for parameter in trainable(vlm):
        parameter.data.add_(0.1)
    check_equal(vlm, forest=True)


def test_only_the_layers_themselves_count_as_training() -> None:
    vlm = tiny("llava")
    decoder_layers(vlm)[0].dropout = 0.5
    recompute_layers(vlm, on=True)
    awake = [module for module in vlm.model.modules() if module.training]
    assert awake == decoder_layers(vlm)
    assert decoder_layers(vlm)[0].dropout == 0.0
    assert not any(module.gradient_checkpointing for module in vlm.base.model.vision_tower.modules()
                   if hasattr(module, "gradient_checkpointing"))  # fmt: skip
    recompute_layers(vlm, on=False)
    assert not any(module.training for module in vlm.model.modules())


def test_a_model_without_such_layers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recompute, "decoder_layers", lambda _: [])
    with pytest.raises(UnavailableError, match="--checkpointing off"):
        recompute_layers(tiny("llava"), on=True)
