"""Predicted memory of an align step against what torch allocates, on a random model of some 50 M parameters.

    OMP_NUM_THREADS=1 python benchmarks/memory.py
    python benchmarks/memory.py --device cuda --hidden 2560 --layers 12 --intermediate 9728 --side 256

LLaVA (hidden 640, 8 layers, 257 image tokens unless told), adapters of rank 32, one row at a time. "allocated": tensors
alive before a step plus the highest point of torch's allocator during forward and backward (torch.profiler on the CPU,
torch.cuda.max_memory_allocated on a GPU); "predicted": what ``medpo align --estimate`` says. The last columns are what
a step adds to the standing tensors.
"""

import argparse
import gc
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch.profiler import ProfilerActivity, profile

from medpo_cli.io.context import Silent
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora
from medpo_cli.models.tiny import build_llava, save
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Corrupted, ImageRef, Pair, RegionProof, Span
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.fit import fit
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.optimizer import MasterOptimizer
from medpo_cli.training.reference import Reference

CHOSEN, REJECTED = "Yes, there is a small left pleural effusion.", "Yes, there is a small right pleural effusion."
PROOF = RegionProof(
    mask="0" * 64, voxels=4, fraction=0.1, changed=1.0, outside="0" * 64, contrast_before=9.0, contrast_after=0.0
)
PAIR = Pair(
    id="0",
    image=ImageRef(path="clean"),
    prompt="Is there a pleural effusion?",
    task="report",
    chosen=CHOSEN,
    rejected=REJECTED,
    origin="corrected",
    spans=[Span(kind="side", chosen=(22, 26), rejected=(22, 27), source="rule")],
    corrupted=Corrupted(
        image=ImageRef(path="bad"), operator="none", parameters={}, seed=0, region=PROOF, route="lesion"
    ),
)


def picture(ref: ImageRef, _field: str = "") -> np.ndarray:
    """A random picture."""
    return np.random.default_rng(list(ref.path.encode())).integers(0, 256, (128, 128, 3), dtype=np.uint8)


def alive(device: str) -> int:
    """Bytes of all tensors that Python knows, on a GPU of all that are allocated."""
    gc.collect()
    if device != "cpu":
        return torch.cuda.memory_allocated()
    found = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            storage = thing.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def highest(work: Callable[[], Any], device: str) -> int:
    """Most bytes that torch's allocator held during ``work`` beyond those at its start."""
    if device != "cpu":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    held = top = 0
    events = (event for event in trace.profiler.kineto_results.events() if event.name() == "[memory]")
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        top = max(top, held)
    return top


def compared(vlm: VisionLanguageModel, config: AlignConfig, before: int) -> tuple[int, int, int, int]:
    """Allocated and predicted bytes: of the whole run, and of what a step adds."""
    terms = resolve("fire-mpo")
    optimizer = MasterOptimizer(vlm, config.optimizer, 1e-4)
    encoder = Encoder(vlm, terms, picture)
    examples = [encoder.example(PAIR, 0)]
    features = FeatureCache(vlm, encoder.encode_prompt)
    run = Engine(vlm, terms, features, Reference(vlm, 0), Accelerator(cpu=config.device == "cpu"), forest=True)
    run.budget = 1
    predicted = fit(run, examples, config, Silent()).memory
    run.budget = 1  # the gradients of the first row are there while the second one runs
    run.accumulate(examples, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    resting = alive(config.device) - before
    added = highest(lambda: run.accumulate(examples, 1.0), config.device)
    moving = predicted.gradients + predicted.activations + predicted.logits + predicted.workspace
    return resting + added, predicted.total, added, moving


def settings() -> Iterator[tuple[str, str, Any, Any]]:
    """dtype, quantisation, optimizer, checkpointing."""
    for dtype in ("float32", "bfloat16"):
        for quantize, optimizer in (("none", "adamw"), ("nf4", "adamw8bit")):
            for checkpointing in ("off", "on"):
                yield dtype, quantize, optimizer, checkpointing


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    for name, default in (("hidden", 640), ("layers", 8), ("intermediate", 2560), ("side", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| weights | optimizer | recomputed | allocated MiB | predicted MiB | off | a step adds | predicted | off |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    sizes = {"hidden": chosen.hidden, "layers": chosen.layers, "intermediate": chosen.intermediate}
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder), *build_llava(image_size=chosen.side, patch_size=8, heads=8, kv_heads=4, **sizes))
        for dtype, quantize, optimizer, again in settings():
            before = alive(chosen.device)
            vlm = load_model(folder, device=chosen.device, dtype=dtype, quantize=quantize)
            add_lora(vlm, rank=32)
            config = AlignConfig(device=chosen.device, rank=32, optimizer=optimizer, checkpointing=again)
            total, predicted, added, moving = compared(vlm, config, before)
            whole = f"{total / 2**20:.1f} | {predicted / 2**20:.1f} | {predicted / total - 1:+.1%}"
            step = f"{added / 2**20:.1f} | {moving / 2**20:.1f} | {moving / added - 1:+.1%}"
            print(f"| {dtype}{', nf4' * (quantize == 'nf4')} | {optimizer} | {again} | {whole} | {step} |", flush=True)
            del vlm


if __name__ == "__main__":
    main()
