"""Masters in float32, working copies in bfloat16, moments in 8 bit; what a checkpoint holds of them."""

from pathlib import Path

import pytest
import torch
from bitsandbytes.optim import AdamW8bit
from data.training_pairs import PAIRS, encode, engine, tiny
from safetensors.torch import load_file, save_file

from medpo_cli.errors import ConfigError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import add_lora
from medpo_cli.training.auxiliary import NAME, add_head
from medpo_cli.training.loop import _require_gradients
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.optimizer import MasterOptimizer

TERMS = resolve("fire-mpo")
PAPER_LR = 1e-6


def wide(dtype: torch.dtype) -> VisionLanguageModel:
    """Rank 128 on 32 hidden units: 4096 elements, from which on moments are kept in 8 bit."""
    vlm = tiny("llava", dtype)
    base = VisionLanguageModel(vlm.model.unload(), vlm.processor, name="llava", digest="0" * 64)
    add_lora(base, rank=128, alpha=256.0, seed=0)
    return base


def learn(vlm: VisionLanguageModel, optimizer: MasterOptimizer | torch.optim.Optimizer, steps: int) -> None:
    encoder, examples = encode(vlm, TERMS, PAIRS[:1])
    run = engine(vlm, TERMS, encoder, forest=True)
    for _ in range(steps):
        optimizer.zero_grad()
        run.accumulate(examples, 1.0)
        optimizer.step()


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> float:
    """Share of the elements of A that changed."""
    names = [name for name in before if "lora_A" in name]
    changed = sum(int((before[name] != after[name]).sum()) for name in names)
    return changed / sum(before[name].numel() for name in names)


def values(parameters: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in parameters.items()}


def test_bfloat16_adapters_alone_stand_still_where_masters_move() -> None:
    """The paper's rate of 1e-6 for 50 steps; A is about 0.1, where neighbours in bfloat16 lie 5e-4 apart."""
    plain = tiny("llava", torch.bfloat16)
    bare = {name: p for name, p in plain.model.named_parameters() if p.requires_grad}
    for p in bare.values():
        p.data = p.data.bfloat16()
    start = values(bare)
    learn(plain, torch.optim.AdamW(bare.values(), lr=PAPER_LR, weight_decay=0.0), 50)
    assert moved(start, values(bare)) < 0.05

    vlm = tiny("llava", torch.bfloat16)
    ours = MasterOptimizer(vlm, "adamw", PAPER_LR)
    begun = values(ours.masters)
    learn(vlm, ours, 50)
    assert moved(begun, values(ours.masters)) > 0.99
    ours.settle()
    assert {p.dtype for p in vlm.model.parameters() if p.requires_grad} == {torch.float32}
    trained = {name: p for name, p in vlm.model.named_parameters() if p.requires_grad}
    assert all(torch.equal(trained[name], p) for name, p in ours.masters.items())


def test_working_copies_are_the_rounded_masters() -> None:
    vlm = tiny("llava", torch.bfloat16)
    optimizer = MasterOptimizer(vlm, "adamw", 1e-2)
    learn(vlm, optimizer, 2)
    working = {name: p for name, p in vlm.model.named_parameters() if p.requires_grad}
    assert {p.dtype for p in working.values()} == {torch.bfloat16}
    assert {p.dtype for p in optimizer.masters.values()} == {torch.float32}
    assert all(torch.equal(p, optimizer.masters[name].bfloat16()) for name, p in working.items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_in_full_precision_trains_its_parameters_themselves(dtype: torch.dtype) -> None:
    vlm = tiny("llava", dtype)
    optimizer = MasterOptimizer(vlm, "adamw", 1e-2)
    trained = {name: p for name, p in vlm.model.named_parameters() if p.requires_grad}
    assert all(optimizer.masters[name] is p for name, p in trained.items())
    assert {p.dtype for p in trained.values()} == {dtype}


def test_gradients_of_a_bfloat16_model_are_summed_in_float32() -> None:
    """Two micro-batches: the masters hold the float32 sum of both bfloat16 gradients."""
    vlm = tiny("llava", torch.bfloat16)
    optimizer = MasterOptimizer(vlm, "adamw", 1e-2)
    encoder, examples = encode(vlm, TERMS, PAIRS[:2])
    run = engine(vlm, TERMS, encoder, forest=True)
    alone = []
    for example in examples:
        optimizer.zero_grad()
        run.accumulate([example], 0.5)
        alone.append({name: p.grad.clone() for name, p in optimizer.masters.items() if p.grad is not None})
    optimizer.zero_grad()
    for example in examples:
        run.accumulate([example], 0.5)
    _require_gradients(optimizer.masters)
    for name, p in optimizer.masters.items():
        assert p.grad is not None
        assert p.grad.dtype == torch.float32
        assert torch.equal(p.grad, alone[0][name] + alone[1][name])
    assert all(p.grad is None for p in vlm.model.parameters() if p.requires_grad)
    norm = torch.nn.utils.clip_grad_norm_(optimizer.masters.values(), 1e-3)
    total = torch.stack([p.grad.norm() for p in optimizer.masters.values() if p.grad is not None]).norm()
    assert float(norm) > 1e-3
    assert float(total) == pytest.approx(1e-3, rel=1e-3)


def test_untrained_bfloat16_copies_give_a_margin_of_exactly_zero() -> None:
    vlm = tiny("llava", torch.bfloat16, adapted=False)
    MasterOptimizer(vlm, "adamw", 1e-2)
    encoder, examples = encode(vlm, TERMS, PAIRS)
    tally = engine(vlm, TERMS, encoder, forest=True).accumulate(examples, 1.0)
    assert tally.sums["chosen"].item() == tally.sums["rejected"].item() == tally.sums["kl"].item() == 0.0


def test_an_auxiliary_head_of_a_bfloat16_model_is_its_own_master() -> None:
    vlm = tiny("llava", torch.bfloat16)
    head = add_head(vlm, resolve("spo"))
    optimizer = MasterOptimizer(vlm, "adamw", 1e-2)
    assert head is not None
    assert head.weight.dtype == torch.float32
    assert optimizer.masters[f"{NAME}.weight"] is head.weight
    assert f"adapter/{NAME}.weight" in optimizer.state()
    head.weight.grad = torch.ones_like(head.weight)
    optimizer.step()
    assert head.weight.any()


@pytest.mark.parametrize("kind", ["adamw", "adamw8bit"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_killed_and_resumed_gives_the_same_bits(dtype: torch.dtype, kind: str, tmp_path: Path) -> None:
    vlm = wide(dtype)
    whole = MasterOptimizer(vlm, kind, 1e-3)
    learn(vlm, whole, 2)
    save_file(whole.state(), tmp_path / "state.safetensors")
    learn(vlm, whole, 2)

    fresh = wide(dtype)
    resumed = MasterOptimizer(fresh, kind, 1e-3)
    resumed.load(load_file(tmp_path / "state.safetensors"))
    learn(fresh, resumed, 2)
    expected, found = whole.state(), resumed.state()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_moments_are_kept_in_8_bit_and_train_alike() -> None:
    """AdamW8bit after four steps is within a tenth of a step of AdamW at nearly every element."""
    ends = []
    for kind in ("adamw", "adamw8bit"):
        vlm = wide(torch.float32)
        optimizer = MasterOptimizer(vlm, kind, 1e-3)
        learn(vlm, optimizer, 4)
        ends.append(torch.cat([p.detach().flatten() for p in optimizer.masters.values()]))
    state = optimizer.state()
    assert isinstance(optimizer.inner, AdamW8bit)
    assert state["optimizer/0/state1"].dtype == torch.uint8
    assert state["optimizer/0/absmax1"].shape == (4096 // 256,)
    close = ((ends[0] - ends[1]).abs() < 4 * 0.1 * 1e-3).float().mean()
    assert float(close) > 0.9


def test_8_bit_moments_of_a_float64_model_are_refused() -> None:
    with pytest.raises(ConfigError, match="adamw8bit takes float32"):
        MasterOptimizer(tiny("llava", torch.float64), "adamw8bit", 1e-3)
