"""Predicted memory against what torch allocates, the choice of micro-batches, estimates without weights."""

import gc
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from data.training_pairs import BUILDERS, PAIRS, encode, engine, gradients, tiny
from torch.profiler import ProfilerActivity, profile

from medpo_cli.errors import ConfigError, UnavailableError
from medpo_cli.io.context import Context, Silent
from medpo_cli.models.anatomy import anatomy, weight_bytes
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora
from medpo_cli.models.recompute import decoder_layers
from medpo_cli.models.skeleton import has_weights, load_skeleton
from medpo_cli.models.tiny import build_llava, build_qwen2_5_vl, save
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.activations import Row, counted, kept_positions, measured
from medpo_cli.training.engine import Engine
from medpo_cli.training.fit import estimate, fit, plan
from medpo_cli.training.memory import Memory, free_memory, size, standing
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.optimizer import MasterOptimizer

TERMS = resolve("fire-mpo")
MIB = 2**20


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


def middle(dtype: torch.dtype, rank: int = 16) -> VisionLanguageModel:
    """4.6 M parameters, 257 image tokens: large enough that activations outweigh index tensors."""
    model, processor = build_llava(
        hidden=256, layers=4, heads=4, kv_heads=2, intermediate=768, image_size=128, patch_size=8
    )
    vlm = VisionLanguageModel(model.to(dtype).requires_grad_(False), processor, name="middle", digest="0" * 64)
    add_lora(vlm, rank=rank)
    return vlm


def alive() -> int:
    """Bytes of all tensors that Python knows."""
    gc.collect()
    found = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):  # isinstance would wake lazy objects
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def highest(work: Callable[[], Any]) -> int:
    """Most bytes that torch's CPU allocator held during ``work`` beyond those at its start."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    events = [event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = top = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        top = max(top, held)
    return top


@pytest.mark.parametrize("checkpointing", ["off", "on"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prediction_is_within_15_percent_of_what_is_allocated(dtype: torch.dtype, checkpointing: Any) -> None:
    """Both the peak of the whole run and what a step adds to the standing tensors."""
    before = alive()
    vlm = middle(dtype)
    optimizer = MasterOptimizer(vlm, "adamw", 1e-3)
    encoder, examples = encode(vlm, TERMS, PAIRS[:1])
    run = engine(vlm, TERMS, encoder, forest=True)
    config = AlignConfig(rank=16, checkpointing=checkpointing)
    run.budget = 1
    predicted = fit(run, examples, config, Silent()).memory
    run.budget = 1  # one row at a time: gradients of the first are there while the second one runs

    def step() -> None:
        optimizer.zero_grad()
        run.accumulate(examples, 1.0)
        optimizer.step()

    step()
    optimizer.zero_grad()
    resting = alive() - before
    added = highest(lambda: run.accumulate(examples, 1.0))
    optimizer.zero_grad()
    moving = predicted.gradients + predicted.activations + predicted.logits + predicted.workspace
    assert moving == pytest.approx(added, rel=0.15)
    assert predicted.total == pytest.approx(resting + added, rel=0.15)
    assert predicted.total - moving == pytest.approx(resting, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_counted_activations_are_within_10_percent_of_measured_ones(
    kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny(kind, dtype)
    MasterOptimizer(vlm, "adamw", 1e-3)
    encoder, examples = encode(vlm, TERMS, PAIRS[:2])
    run = engine(vlm, TERMS, encoder, forest=vlm.forest)
    run.budget = 1
    layout = run.layouts(examples[0].units)[0]
    body = anatomy(vlm.base)
    features = run.features.get(layout.prompts)
    found = measured(vlm, layout, features, body)
    expected = counted(body, found.tokens, kept_positions(layout), rank=4, rows=len(layout.input_ids))
    assert expected.layers == pytest.approx(found.layers, rel=0.1)
    assert expected.last == pytest.approx(found.last, rel=0.12)
    # Of these two layers the first one hands no gradient on and the last one works on few positions: let it be whole.
    monkeypatch.setattr(vlm.last_layer, "narrowed", lambda _keep: nullcontext())
    assert expected.layer == pytest.approx(measured(vlm, layout, features, body).layer, rel=0.1)


def test_measuring_keeps_nothing_and_changes_nothing() -> None:
    vlm = middle(torch.float32)
    encoder, examples = encode(vlm, TERMS, PAIRS[:1])
    run = engine(vlm, TERMS, encoder, forest=True)
    run.accumulate(examples, 1.0)
    expected = gradients(vlm)
    layout = run.layouts(examples[0].units[:1])[0]
    features = run.features.get(layout.prompts)
    rows: list[Row] = []
    top = highest(lambda: rows.append(measured(vlm, layout, features, anatomy(vlm.base))))
    assert top < rows[0].layers / 4
    run.accumulate(examples, 1.0)
    assert all(torch.equal(gradient, expected[name]) for name, gradient in gradients(vlm).items())


def test_dropout_is_counted() -> None:
    vlm = tiny("llava")
    bare = VisionLanguageModel(vlm.model.unload(), vlm.processor, name="llava", digest="0" * 64)
    add_lora(bare, rank=4, dropout=0.1)
    for module in bare.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.train()
    encoder, examples = encode(bare, TERMS, PAIRS[:1])
    run = engine(bare, TERMS, encoder, forest=True)
    layout = run.layouts(examples[0].units[:1])[0]
    body = anatomy(bare.base)
    found = measured(bare, layout, run.features.get(layout.prompts), body)
    expected = counted(body, found.tokens, 4, rank=4, dropout=0.1)
    assert expected.layers == pytest.approx(found.layers, rel=0.15)
    assert counted(body, found.tokens, 4, rank=4).layers < 0.8 * found.layers


def test_standing_memory_by_hand() -> None:
    """Two linears 32 -> 64 at rank 128: A 4096, B 8192 elements each."""
    body = replace(anatomy(tiny("llava").base), linears=((32, 64), (32, 64)), weights=1000, dtype=torch.bfloat16)
    elements = 2 * (4096 + 8192)
    small = standing(body, AlignConfig(rank=128, optimizer="adamw8bit"), 7)
    moments = 2 * (2 * (4096 + 4 * 16) + 2 * (8192 + 4 * 32))  # bytes, and a float32 for each block of 256
    assert small == Memory(
        weights=1000, adapters=2 * elements, masters=4 * elements, gradients=4 * elements, optimizer=moments, features=7
    )  # fmt: skip
    full = standing(replace(body, dtype=torch.float32), AlignConfig(rank=64, adapter="x"), 0)
    assert (full.adapters, full.masters, full.optimizer) == (2 * 4 * elements // 2, 0, 8 * elements // 2)
    # A holds 2048 elements at rank 64: its moments stay float32.
    tiny_a = standing(body, AlignConfig(rank=64, optimizer="adamw8bit"), 0)
    assert tiny_a.optimizer == 2 * (8 * 2048 + 2 * (4096 + 4 * 16))


ROW = Row(tokens=100, layers=800, layer=100, last=0, inputs=80, head=60, workspace=100, record="r7")
FIXED = Memory(weights=500, adapters=0, masters=0, gradients=0, optimizer=0, features=0)


@pytest.mark.parametrize(
    ("checkpointing", "limit", "again", "budget"),
    [  # a row takes 800 + 60 + 40 = 900 without checkpointing, 80 + 100 + 60 + 40 = 280 with
        ("auto", 1399, True, 321),  # 899 left: 899 / 280 rows of 100 tokens
        ("auto", 1400, False, 100),
        ("auto", 3200, False, 300),
        ("auto", 10**9, False, 1000),  # no more than wanted
        ("on", 1400, True, 321),
        ("on", 780, True, 100),
        ("off", 1400, False, 100),
    ],
)
def test_the_largest_micro_batch_that_fits(checkpointing: Any, limit: int, again: bool, budget: int) -> None:
    config = AlignConfig(checkpointing=checkpointing, max_memory=limit / 2**30)
    chosen = plan(FIXED, ROW, config, limit=limit, budget=1000, most=10**6, shrink=True)
    assert (chosen.checkpointing, chosen.budget) == (again, budget)
    assert chosen.memory.total <= limit


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    def chosen(checkpointing: Any, most: float) -> Any:
        config = AlignConfig(checkpointing=checkpointing, max_memory=most)
        row = replace(ROW, layers=800 * MIB, head=100 * MIB, inputs=80 * MIB, layer=20 * MIB)
        return plan(FIXED, row, config, limit=int(most * 2**30), budget=1, most=1, shrink=True)

    with pytest.raises(ConfigError, match=r"the longest row \(100 tokens, record r7\) needs 200.0 MiB; --qlora"):
        chosen("auto", 0.1)
    with pytest.raises(ConfigError, match=r"needs 900.0 MiB \(200.0 MiB with --checkpointing on\)"):
        chosen("off", 0.5)
    assert chosen("auto", 0.5).checkpointing


def test_without_a_limit_checkpointing_is_the_last_resort_and_bits_do_not_depend_on_free_memory() -> None:
    config = AlignConfig()
    for limit, again in ((10**9, False), (1399, True), (10, True)):
        chosen = plan(FIXED, ROW, config, limit=limit, budget=1000, most=10**6, shrink=False)
        assert (chosen.checkpointing, chosen.budget) == (again, 1000)


def small_run(vlm: VisionLanguageModel) -> tuple[Engine, Any]:
    encoder, examples = encode(vlm, TERMS, PAIRS)
    return engine(vlm, TERMS, encoder, forest=True), examples


def test_a_limit_makes_micro_batches_small_and_then_recomputes() -> None:
    vlm = middle(torch.float32)
    run, examples = small_run(vlm)
    notes = Notes()
    roomy = fit(run, examples, AlignConfig(rank=16), notes)
    assert notes.lines == []  # nothing to say about a run with room
    assert run.budget == roomy.budget
    one_row = roomy.memory.total - roomy.memory.activations // 2
    tight = fit(run, examples, AlignConfig(rank=16, max_memory=one_row / 2**30), notes)
    assert run.budget == tight.budget < roomy.budget
    assert tight.memory.total <= one_row
    assert "micro-batches of" in notes.lines[0]
    least = fit(run, examples, AlignConfig(rank=16, max_memory=40 * MIB / 2**30), notes)
    assert least.checkpointing
    assert all(layer.gradient_checkpointing for layer in decoder_layers(vlm))
    with pytest.raises(ConfigError, match=r"max_memory: 0\.02 GiB will not do"):
        fit(run, examples, AlignConfig(rank=16, max_memory=0.02), notes)


def test_four_bit_weights_are_counted_with_their_scales(tmp_path: Path) -> None:
    folder = save(tmp_path, *build_llava(hidden=256, intermediate=768, heads=4, kv_heads=4))
    packed = load_model(folder, quantize="nf4")
    skeleton = load_skeleton(AlignConfig(model=str(folder)))
    assert weight_bytes(packed.base) == pytest.approx(anatomy(skeleton.base, nf4=True).weights, rel=0.01)
    assert anatomy(packed.base).unpacked == anatomy(skeleton.base, nf4=True).unpacked == 256 * 768 * 4
    assert anatomy(skeleton.base).weights == pytest.approx(weight_bytes(load_model(folder).base), rel=0.001)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
@pytest.mark.parametrize("build", [build_llava, build_qwen2_5_vl])
def test_an_estimate_needs_no_weights(build: Any, quantize: Any, tmp_path: Path) -> None:
    """The same run, with weights (activations measured) and without (counted)."""
    folder = save(tmp_path / "full", *build())
    shutil.copytree(folder, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    assert has_weights(folder)
    assert not has_weights(tmp_path / "bare")
    config = AlignConfig(model=str(tmp_path / "bare"), rank=4, estimate=True, quantize=quantize)
    totals = []
    for vlm in (load_model(folder, quantize=quantize), load_skeleton(config)):
        add_lora(vlm, rank=4)
        encoder, examples = encode(vlm, TERMS, PAIRS)
        notes = Notes()
        totals.append(estimate(vlm, examples, TERMS, encoder, config, Context(tmp_path, progress=notes)).total)
        assert [line.split()[0] for line in notes.lines[2:]] == [
            "weights", "adapters", "masters", "gradients", "optimizer", "features", "activations", "logits",
            "workspace", "peak", "checkpoint",
        ]  # fmt: skip
    assert totals[1] == pytest.approx(totals[0], rel=0.1)


def test_an_estimate_in_bfloat16_is_what_the_run_plans_with(tmp_path: Path) -> None:
    config = AlignConfig(rank=16, dtype="bfloat16", estimate=True)
    vlm = middle(torch.bfloat16)
    encoder, examples = encode(vlm, TERMS, PAIRS)
    notes = Notes()
    told = estimate(vlm, examples, TERMS, encoder, config, Context(tmp_path, progress=notes))
    assert "longest row 280 tokens, record many" in notes.lines[1]
    vlm = middle(torch.bfloat16)
    MasterOptimizer(vlm, "adamw", 1e-3)
    run, examples = small_run(vlm)
    assert fit(run, examples, config, Silent()).memory == told


def test_a_skeleton_computes_as_its_device_would(tmp_path: Path) -> None:
    """The device need not be there."""
    folder = str(save(tmp_path, *build_llava()))
    assert load_skeleton(AlignConfig(model=folder, device="cuda")).dtype == torch.bfloat16
    assert load_skeleton(AlignConfig(model=folder, device="cpu")).dtype == torch.float32
    assert load_skeleton(AlignConfig(model=folder, dtype="float64")).dtype == torch.float64


def test_a_skeleton_needs_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"no config\.json"):
        load_skeleton(AlignConfig(model=str(tmp_path)))


def test_sizes_for_people() -> None:
    assert (size(512 * 1024), size(3 * 2**29)) == ("0.5 MiB", "1.50 GiB")
    assert free_memory() > 64 * MIB
